//! Indexes of words: FTS5 on SQLite, `tsvector` with a GIN index on PostgreSQL.
//!
//! A service cuts texts into words and says which words it looks for; here this becomes what the database understands. A word
//! is made of letters and digits only (ASCII ones in lower case), so none can be taken for a part of a query. An index holds no
//! text, and can be made anew from what it was made of.
//!
//! FTS5 has no bounds. A vector of PostgreSQL has: a megabyte, 16,383 places, 256 places of one word. What exceeds the megabyte is left out;
//! a word behind the last place is found by itself and in no phrase. Such an entry is *truncated*, and says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DbBackend, FromQueryResult, Statement, Value};

use super::{Db, Tx, chunks, places, row};
use crate::clock;
use crate::error::{Error, Result};

/// Fields that an entry may have, in the order of their weight.
pub const FIELDS: usize = 3;

/// Places of one word that a vector holds: MAXNUMPOS, less one.
const PLACES_MAX: usize = 255;

/// The last place at which words have neighbours.
const PLACE_MAX: usize = 16_381;

/// The place of all words behind: the last of a vector (MAXENTRYPOS), two behind [`PLACE_MAX`], so that no phrase reaches it.
const FAR_PLACE: usize = 16_383;

/// Bytes of a vector, of the 1,048,575 that there may be (MAXSTRPOS).
const VECTOR_BYTES_MAX: usize = 1_000_000;

/// Bytes of a word in a vector beside its letters: their alignment, the number of its places, and the first of them.
const WORD_OVERHEAD_BYTES: usize = 6;

/// Bytes of a further place.
const PLACE_BYTES: usize = 2;

/// Words side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// In their order.
    pub words: Vec<String>,
    /// Whether the last one is the beginning of a word.
    pub is_prefix: bool,
}

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// All of these.
    pub all: Vec<Phrase>,
    /// None of these.
    pub none: Vec<Phrase>,
}

/// An index: the name of its table.
#[derive(Clone, Copy, Debug)]
pub struct TextIndex {
    /// The table.
    pub table: &'static str,
    /// The names of its fields, the weightiest first.
    pub fields: [&'static str; FIELDS],
}

row! {
    struct Id {
        id: i64,
    }
}

row! {
    struct Changes {
        changes: i64,
    }
}

/// Pages of 4 KiB that one statement merges: one to two milliseconds.
const MERGE_PAGES: i64 = 16;

/// An entry that matches.
#[derive(Clone, Copy, Debug, PartialEq, FromQueryResult)]
pub struct Match {
    /// Its number.
    pub id: i64,
    /// How well it matches: more is better; means something within one query only.
    pub rank: f64,
}

/// The words of an entry: for each field its words in their order, a space between two.
#[derive(Clone, Debug)]
pub struct Document([String; FIELDS]);

impl Document {
    /// Of the words of each field.
    pub fn new(fields: &[Vec<String>; FIELDS]) -> Self {
        Self(fields.each_ref().map(|words| words.join(" ")))
    }

    fn words(&self) -> [impl Iterator<Item = &str>; FIELDS] {
        self.0.each_ref().map(|words| words.split(' ').filter(|word| !word.is_empty()))
    }
}

impl TextIndex {
    /// Puts entries in, each in place of the one that has its number. A number comes once.
    pub async fn put(&self, tx: &Tx<'_>, entries: &[(i64, &Document)]) -> Result<()> {
        let Self { table, fields: [first, second, third] } = self;
        if is_fts5(tx) {
            let sql = format!(
                r#"INSERT OR REPLACE INTO "{table}" (rowid, "{first}", "{second}", "{third}") VALUES ($1, $2, $3, $4)"#
            );
            for (id, document) in entries {
                let mut values = vec![Value::from(*id)];
                values.extend(document.0.iter().map(|words| Value::from(words.as_str())));
                execute(tx, sql.clone(), values).await?;
            }
            return Ok(());
        }
        for entries in chunks(entries) {
            let places = (0..entries.len()).map(|row| {
                format!("(${}, CAST(${} AS tsvector), ${})", 3 * row + 1, 3 * row + 2, 3 * row + 3)
            });
            let sql = format!(
                r#"INSERT INTO "{table}" ("id", "document", "truncated") VALUES {}
                ON CONFLICT ("id") DO UPDATE SET "document" = excluded."document", "truncated" = excluded."truncated""#,
                places.collect::<Vec<_>>().join(", ")
            );
            let values = entries.iter().flat_map(|(id, document)| {
                let Vector { text, is_truncated } = vector(document);
                [Value::from(*id), text.into(), is_truncated.into()]
            });
            execute(tx, sql, values.collect()).await?;
        }
        Ok(())
    }

    /// Takes entries out, as far as they are there.
    pub async fn remove(&self, tx: &Tx<'_>, ids: &[i64]) -> Result<()> {
        let key = if is_fts5(tx) { "rowid" } else { "\"id\"" };
        for ids in chunks(ids) {
            let sql = format!(r#"DELETE FROM "{}" WHERE {key} IN ({})"#, self.table, places(1, ids.len()));
            execute(tx, sql, ids.iter().copied().map(Value::from).collect()).await?;
        }
        Ok(())
    }

    /// Merges segments of the index, a few pages at least, until the step's time is over. Returns whether more may be merged.
    ///
    /// On SQLite each commit with new entries leaves a segment, and a search reads all of them. PostgreSQL keeps one tree.
    pub async fn merge(&self, tx: &Tx<'_>, step: Duration) -> Result<bool> {
        if !is_fts5(tx) {
            return Ok(false);
        }
        let until = clock::instant() + step;
        let merge = format!(r#"INSERT INTO "{0}" ("{0}", "rank") VALUES ('merge', $1)"#, self.table);
        loop {
            let before = changes(tx).await?;
            tx.run(&merge, vec![MERGE_PAGES.into()]).await?;
            // The statement itself is one change.
            if changes(tx).await? - before < 2 {
                return Ok(false);
            }
            if clock::instant() >= until {
                return Ok(true);
            }
        }
    }

    /// Those of some entries that are truncated.
    pub async fn truncated(&self, db: &Db<'_>, ids: &[i64]) -> Result<Vec<i64>> {
        let mut found = Vec::new();
        if is_fts5(db) {
            return Ok(found);
        }
        for ids in chunks(ids) {
            let sql = format!(
                r#"SELECT "id" FROM "{}" WHERE "truncated" AND "id" IN ({})"#,
                self.table,
                places(1, ids.len())
            );
            let rows: Vec<Id> = db.rows(&sql, ids.iter().copied().map(Value::from).collect()).await?;
            found.extend(rows.into_iter().map(|row| row.id));
        }
        Ok(found)
    }

    /// Whether an entry is truncated.
    pub async fn has_truncated(&self, db: &Db<'_>) -> Result<bool> {
        if is_fts5(db) {
            return Ok(false);
        }
        let sql = format!(r#"SELECT "id" FROM "{}" WHERE "truncated" LIMIT 1"#, self.table);
        Ok(db.row::<Id>(&sql, Vec::new()).await?.is_some())
    }

    /// The entries that match, the newest `matches_max` of those up to the number `until`, the newest first.
    pub async fn matches(
        &self,
        db: &Db<'_>,
        wanted: &Wanted,
        until: i64,
        matches_max: i64,
    ) -> Result<Vec<Match>> {
        let Some((sql, values)) = self.query(is_fts5(db), wanted, until, matches_max) else {
            return Ok(Vec::new());
        };
        if !is_fts5(db) {
            // A plan for any words whatever would walk through all entries to find a rare one, or sort all that have a common one.
            db.execute_unprepared("SET LOCAL plan_cache_mode = force_custom_plan").await?;
        }
        let rows =
            db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values)).await?;
        rows.iter().map(|row| Ok(Match::from_query_result(row, "")?)).collect()
    }

    /// The query of [`Self::matches`]; none if there is nothing to look for.
    pub(crate) fn query(
        &self,
        is_fts5: bool,
        wanted: &Wanted,
        until: i64,
        matches_max: i64,
    ) -> Option<(String, Vec<Value>)> {
        if wanted.all.is_empty() {
            return None;
        }
        let table = self.table;
        let (sql, text) = match is_fts5 {
            // The smaller the better is what bm25() says.
            true => (
                format!(
                    r#"SELECT rowid AS "id", -bm25("{table}", 4.0, 2.0, 1.0) AS "rank" FROM "{table}"
                    WHERE "{table}" MATCH $1 AND rowid <= $2 ORDER BY rowid DESC LIMIT $3"#
                ),
                match_text(wanted),
            ),
            // Weights are those of D, C, B, A; 1 divides by the logarithm of the length.
            false => (
                format!(
                    r#"SELECT "id", CAST(ts_rank_cd('{{0.1, 0.25, 0.5, 1.0}}', "document", CAST($1 AS tsquery), 1) AS double precision) AS "rank"
                    FROM (SELECT "id", "document" FROM "{table}" WHERE "document" @@ CAST($1 AS tsquery) AND "id" <= $2
                    ORDER BY "id" DESC LIMIT $3) AS "newest" ORDER BY "id" DESC"#
                ),
                tsquery(wanted),
            ),
        };
        Some((sql, vec![text.into(), until.into(), matches_max.into()]))
    }
}

/// Rows that the connection has changed since it was opened.
async fn changes(tx: &Tx<'_>) -> Result<i64> {
    let row: Option<Changes> = tx.row(r#"SELECT total_changes() AS "changes""#, Vec::new()).await?;
    row.map(|row| row.changes).ok_or_else(|| Error::internal("total_changes() returned no row"))
}

fn is_fts5(db: &Db<'_>) -> bool {
    db.get_database_backend() == DbBackend::Sqlite
}

async fn execute(tx: &Tx<'_>, sql: String, values: Vec<Value>) -> Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await?;
    Ok(())
}

/// What FTS5 is asked: `("blue whale" AND "sing" *) NOT "sea"`.
fn match_text(wanted: &Wanted) -> String {
    let shown = |phrase: &Phrase| {
        let star = if phrase.is_prefix { " *" } else { "" };
        format!("\"{}\"{star}", phrase.words.join(" "))
    };
    let all: Vec<String> = wanted.all.iter().map(shown).collect();
    let mut text = format!("({})", all.join(" AND "));
    for phrase in &wanted.none {
        // Writing to a String cannot fail.
        let _ = write!(text, " NOT {}", shown(phrase));
    }
    text
}

/// What PostgreSQL is asked: `'blue'<->'whale' & 'sing':* & !('sea')`.
fn tsquery(wanted: &Wanted) -> String {
    let shown = |phrase: &Phrase| {
        let words: Vec<String> = phrase.words.iter().map(|word| format!("'{word}'")).collect();
        format!("({}{})", words.join("<->"), if phrase.is_prefix { ":*" } else { "" })
    };
    let all = wanted.all.iter().map(shown);
    all.chain(wanted.none.iter().map(|phrase| format!("!{}", shown(phrase)))).collect::<Vec<_>>().join("&")
}

/// An entry as PostgreSQL stores it.
#[derive(Debug, PartialEq, Eq)]
struct Vector {
    text: String,
    /// Whether a bound was met: not all words are in it, or not all of their places.
    is_truncated: bool,
}

/// `'blue':1A,7B 'whale':2A`: the entry "blue whale", "… blue". A place between two fields stays empty: no phrase crosses it.
fn vector(document: &Document) -> Vector {
    // The places of each word as a text, and their number.
    let mut found: BTreeMap<&str, (String, usize)> = BTreeMap::new();
    let (mut place, mut bytes, mut is_truncated) = (0, 0, false);
    for (words, weight) in document.words().into_iter().zip(["A", "B", "C"]) {
        for word in words {
            place += 1;
            is_truncated |= place > PLACE_MAX;
            let of_word = found.get_mut(word);
            let is_known = of_word.is_some();
            let more = if is_known { PLACE_BYTES } else { word.len() + WORD_OVERHEAD_BYTES };
            let has_room =
                of_word.as_ref().is_none_or(|(_, count)| *count < PLACES_MAX && place <= PLACE_MAX);
            if !has_room || bytes + more > VECTOR_BYTES_MAX {
                is_truncated = true;
                continue;
            }
            bytes += more;
            let at = if place > PLACE_MAX { FAR_PLACE } else { place };
            match of_word {
                // Writing to a String cannot fail.
                Some((places, count)) => {
                    *count += 1;
                    let _ = write!(places, ",{at}{weight}");
                }
                None => {
                    found.insert(word, (format!("{at}{weight}"), 1));
                }
            }
        }
        place += 1;
    }
    let mut text = String::new();
    for (word, (places, _)) in found {
        let _ = write!(text, "'{word}':{places} ");
    }
    Vector { text, is_truncated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(words: &str, is_prefix: bool) -> Phrase {
        Phrase { words: words.split(' ').map(str::to_owned).collect(), is_prefix }
    }

    fn fields(texts: [&str; FIELDS]) -> [Vec<String>; FIELDS] {
        texts.map(|text| text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn a_query_is_written_for_each_database() {
        let wanted = Wanted {
            all: vec![phrase("blue whale", false), phrase("sing", true)],
            none: vec![phrase("sea", false), phrase("big so", true)],
        };
        assert_eq!(match_text(&wanted), r#"("blue whale" AND "sing" *) NOT "sea" NOT "big so" *"#);
        assert_eq!(tsquery(&wanted), "('blue'<->'whale')&('sing':*)&!('sea')&!('big'<->'so':*)");
    }

    #[test]
    fn an_entry_has_places_and_weights_and_a_gap_between_fields() {
        let fields = fields(["blue whale", "", "whale sings blue"]);
        let document = Document::new(&fields);
        let text = "'blue':1A,7C 'sings':6C 'whale':2A,5C ".to_owned();
        assert_eq!(vector(&document), Vector { text, is_truncated: false });
    }

    #[test]
    fn an_entry_holds_all_words_and_a_vector_says_what_it_leaves_out() {
        let many = [vec!["a".to_owned(); 20_000], vec!["b".into()], vec![]];
        let document = Document::new(&many);
        let [first, second, _] = document.words().map(Iterator::count);
        assert_eq!((first, second), (20_000, 1));
        let Vector { text, is_truncated } = vector(&document);
        assert!(is_truncated && text.ends_with("'b':16383B "), "{}", &text[text.len() - 20..]);
        assert_eq!(text.matches('A').count(), PLACES_MAX);
        let in_bounds = Document::new(&[vec!["a".to_owned(); PLACES_MAX], vec![], vec![]]);
        assert!(!vector(&in_bounds).is_truncated);
        for length in [3, 64] {
            let words = (0..200_000).map(|number| format!("{number:0length$x}")).collect();
            let Vector { text, is_truncated } = vector(&Document::new(&[words, vec![], vec![]]));
            let stored: usize = text.split(' ').map(|word| word.split(':').next().unwrap().len()).sum();
            assert!(is_truncated && stored < VECTOR_BYTES_MAX, "{stored}");
        }
    }
}
