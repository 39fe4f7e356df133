//! The names that prompts share: a number in each prompt's row, and a row for each name.
//!
//! A name beyond `prompts.names_max` of its kind has the number [`OTHER`], and its text stays in the prompt's row. Maintenance deletes
//! names without prompts. A save locks the rows of its names, so no name is deleted that a transaction is about to use.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::Value;
use sha2::{Digest as _, Sha256};

use super::sql;
use crate::error::{Error, Result};
use crate::services::prompts::domain::{NameKind, Names, OTHER_NAME};
use crate::storage::{Db, Tx, chunks, places, row, rows_of_places};

/// The number of every name beyond the limit of its kind.
pub(super) const OTHER: i64 = -1;

/// Names that one step of [`free_names`] looks at.
const STEP_ROWS: i64 = 256;

/// Bytes of the hash in a name's key.
const HASH_BYTES: usize = 16;

pub(super) const COUNT: &str = r#"SELECT count(*) AS "count" FROM "prompt_names" WHERE "kind" = $1"#;
pub(super) const NEXT: &str = r#"SELECT "id" FROM "prompt_names" WHERE "id" > $1 ORDER BY "id" LIMIT $2"#;
const INSERT: &str = r#"INSERT INTO "prompt_names" ("kind", "key", "name") VALUES ($1, $2, $3)"#;

/// How many names each kind may have.
#[derive(Debug)]
pub struct NameLimits {
    names_max: i64,
    /// Whether a kind was seen to have that many; until [`Self::reset`] its names are not counted again.
    is_full: [AtomicBool; NameKind::ALL.len()],
}

impl NameLimits {
    /// The same limit for each kind.
    pub fn new(names_max: u64) -> Self {
        Self { names_max: i64::try_from(names_max).unwrap_or(i64::MAX), is_full: Default::default() }
    }

    /// Names may have been deleted.
    pub fn reset(&self) {
        self.is_full.iter().for_each(|is_full| is_full.store(false, Ordering::Relaxed));
    }

    fn of(&self, kind: NameKind) -> &AtomicBool {
        &self.is_full[kind as usize]
    }
}

/// What a kind is stored as.
fn kind_number(kind: NameKind) -> i64 {
    match kind {
        NameKind::Backend => 1,
        NameKind::Model => 2,
        NameKind::Framework => 3,
        NameKind::Provider => 4,
    }
}

/// The columns of `prompts` with the number and the text of a name of this kind.
pub(super) fn columns(kind: NameKind) -> (&'static str, &'static str) {
    match kind {
        NameKind::Backend => ("backend_id", "backend_text"),
        NameKind::Model => ("model_id", "model_text"),
        NameKind::Framework => ("framework_id", "framework_text"),
        NameKind::Provider => ("provider_id", "provider_text"),
    }
}

/// The key of a name: the first 16 bytes of the SHA-256 of the kind's number, a byte, and the name; in base64 without padding.
/// The backend `anthropic`: `8xDvQ4irQeo1e5bEqSCCwA`.
fn key(kind: NameKind, name: &str) -> String {
    let kind = u8::try_from(kind_number(kind)).unwrap_or_default();
    let hash = Sha256::new().chain_update([kind]).chain_update(name.as_bytes()).finalize();
    URL_SAFE_NO_PAD.encode(&hash[..HASH_BYTES])
}

row! {
    struct Known {
        id: i64,
        key: String,
    }
}

row! {
    struct Count {
        count: i64,
    }
}

row! {
    struct Id {
        id: i64,
    }
}

row! {
    struct Text {
        id: i64,
        name: String,
    }
}

/// A name of a kind.
pub(super) type Name<'n> = (NameKind, &'n str);

/// The numbers of names, which are given one if they have none.
pub(super) async fn ensure<'n>(
    tx: &Tx<'_>,
    limits: &NameLimits,
    names: &BTreeSet<Name<'n>>,
) -> Result<HashMap<Name<'n>, i64>> {
    let keyed: Vec<(Name<'n>, String)> = names
        .iter()
        .filter(|(_, name)| *name != OTHER_NAME)
        .map(|name| (*name, key(name.0, name.1)))
        .collect();
    let mut known: HashMap<String, i64> = HashMap::with_capacity(keyed.len());
    for chunk in chunks(&keyed) {
        let values = chunk.iter().map(|(_, key)| Value::from(key.as_str())).collect();
        let rows: Vec<Known> = tx.rows(&tx.sharing(&known_query(chunk.len())), values).await?;
        known.extend(rows.into_iter().map(|row| (row.key, row.id)));
    }
    let mut numbers = HashMap::with_capacity(names.len());
    let mut counts = HashMap::new();
    let mut missing: Vec<(Name<'n>, String)> = Vec::new();
    for (name, key) in keyed {
        if let Some(number) = known.get(&key) {
            numbers.insert(name, *number);
        } else if admits(tx, limits, &mut counts, name.0).await? {
            missing.push((name, key));
        } else {
            numbers.insert(name, OTHER);
        }
    }
    let inserted = insert(tx, &missing).await?;
    numbers.extend(missing.iter().map(|(name, _)| *name).zip(inserted));
    Ok(numbers)
}

/// Whether a kind may have one more name, which is counted then.
async fn admits(
    tx: &Tx<'_>,
    limits: &NameLimits,
    counts: &mut HashMap<NameKind, i64>,
    kind: NameKind,
) -> Result<bool> {
    if limits.of(kind).load(Ordering::Relaxed) {
        return Ok(false);
    }
    let count = match counts.get(&kind) {
        Some(count) => *count,
        None => {
            let row = tx.row::<Count>(COUNT, vec![kind_number(kind).into()]).await?;
            row.map_or(0, |row| row.count)
        }
    };
    if count >= limits.names_max {
        limits.of(kind).store(true, Ordering::Relaxed);
        return Ok(false);
    }
    counts.insert(kind, count + 1);
    Ok(true)
}

/// Inserts names in the order of kinds and names, in which every save inserts them; their numbers.
async fn insert(tx: &Tx<'_>, names: &[(Name<'_>, String)]) -> Result<Vec<i64>> {
    let ids = if names.len() > 1 { tx.next_ids("prompt_names", names.len()).await? } else { None };
    let Some(ids) = ids else {
        let mut numbers = Vec::with_capacity(names.len());
        for name in names {
            numbers.push(tx.insert_written_out(INSERT, values(name).to_vec()).await?);
        }
        return Ok(numbers);
    };
    let rows: Vec<([Value; 3], i64)> = names.iter().map(values).zip(ids.iter().copied()).collect();
    for chunk in chunks(&rows) {
        let mut all: Vec<Value> = Vec::with_capacity(chunk.len() * 4);
        for (name, id) in chunk {
            all.extend(name.iter().cloned());
            all.push((*id).into());
        }
        let places = rows_of_places(chunk.len(), 4);
        let insert = format!(r#"INSERT INTO "prompt_names" ("kind", "key", "name", "id") VALUES {places}"#);
        tx.run(&insert, all).await?;
    }
    Ok(ids)
}

fn values(name: &(Name<'_>, String)) -> [Value; 3] {
    let ((kind, text), key) = name;
    [kind_number(*kind).into(), key.as_str().into(), (*text).into()]
}

pub(super) fn known_query(count: usize) -> String {
    let places = places(1, count);
    format!(r#"SELECT "id", "key" FROM "prompt_names" WHERE "key" IN ({places})"#)
}

/// The number of a name, if it has one of its own.
pub(super) async fn number(db: &Db<'_>, kind: NameKind, name: &str) -> Result<Option<i64>> {
    if name == OTHER_NAME {
        return Ok(Some(OTHER));
    }
    let row = db.row::<Known>(&known_query(1), vec![key(kind, name).into()]).await?;
    Ok(row.map(|row| row.id))
}

/// Whether a prompt has a name of this kind that has no number of its own.
pub(super) async fn has_other(db: &Db<'_>, kind: NameKind) -> Result<bool> {
    Ok(db.row::<Id>(&other_query(kind), vec![OTHER.into()]).await?.is_some())
}

pub(super) fn other_query(kind: NameKind) -> String {
    let (column, _) = columns(kind);
    format!(r#"SELECT "id" FROM "prompts" WHERE "{column}" = $1 LIMIT 1"#)
}

/// The texts of names by their numbers.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<i64, String>);

impl Texts {
    /// Those of some numbers.
    pub(super) async fn of(db: &Db<'_>, numbers: BTreeSet<i64>) -> Result<Self> {
        let numbers: Vec<i64> = numbers.into_iter().filter(|number| *number > 0).collect();
        let rows: Vec<Text> = sql::all_of_ids(db, texts_query, &numbers).await?;
        Ok(Self(rows.into_iter().map(|row| (row.id, row.name)).collect()))
    }

    /// That of a row's number and text; empty where the row has no name of the kind.
    pub(super) fn get(&self, number: Option<i64>, text: Option<&str>) -> Result<String> {
        let Some(number) = number.filter(|number| *number != 0) else { return Ok(String::new()) };
        if number == OTHER {
            return Ok(text.unwrap_or(OTHER_NAME).to_owned());
        }
        self.0.get(&number).cloned().ok_or_else(|| Error::CorruptRow {
            table: "prompt_names",
            column: "id",
            row: number,
            cause: "others name this row, and it is not there".into(),
        })
    }
}

pub(super) fn texts_query(count: usize) -> String {
    let places = places(1, count);
    format!(r#"SELECT "id", "name" FROM "prompt_names" WHERE "id" IN ({places})"#)
}

/// The names of a prompt that is to be saved.
pub(super) fn of(names: &Names) -> impl Iterator<Item = Name<'_>> {
    NameKind::ALL.into_iter().map(|kind| (kind, names.get(kind))).filter(|(_, name)| !name.is_empty())
}

/// The next names behind `after`, as far as no prompt has them; and the last one that was looked at, if there may be more.
pub async fn unused_names(db: &Db<'_>, after: i64) -> Result<(Vec<i64>, Option<i64>)> {
    let rows: Vec<Id> = db.rows(NEXT, vec![after.into(), STEP_ROWS.into()]).await?;
    let ids: Vec<i64> = rows.into_iter().map(|row| row.id).collect();
    let last = ids.last().copied().filter(|_| ids.len() as u64 >= STEP_ROWS.unsigned_abs());
    Ok((unused(db, &ids).await?, last))
}

/// Deletes names that no prompt has; answers with their number.
pub async fn free_names(tx: &Tx<'_>, ids: &[i64]) -> Result<u64> {
    let mut freed = 0;
    for ids in ids.chunks(sql::IDS_MAX) {
        let values = sql::padded(ids);
        // The lock comes first: what a save committed before is then seen.
        let locked: Vec<Id> = tx.rows(&tx.excluding(&ids_query(values.len())), values).await?;
        let locked: Vec<i64> = locked.into_iter().map(|row| row.id).collect();
        let unused = unused(tx, &locked).await?;
        if !unused.is_empty() {
            let values = sql::padded(&unused);
            freed += tx.run(&delete_query(values.len()), values).await?;
        }
    }
    Ok(freed)
}

async fn unused(db: &Db<'_>, ids: &[i64]) -> Result<Vec<i64>> {
    let rows: Vec<Id> = sql::all_of_ids(db, unused_query, ids).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

fn ids_query(count: usize) -> String {
    format!(r#"SELECT "id" FROM "prompt_names" WHERE "id" IN ({}) ORDER BY "id""#, places(1, count))
}

pub(super) fn unused_query(count: usize) -> String {
    let is_free = NameKind::ALL.map(|kind| {
        let (column, _) = columns(kind);
        format!(r#"NOT EXISTS (SELECT 1 FROM "prompts" p WHERE p."{column}" = n."id")"#)
    });
    let places = places(1, count);
    format!(r#"SELECT n."id" FROM "prompt_names" n WHERE n."id" IN ({places}) AND {}"#, is_free.join(" AND "))
}

fn delete_query(count: usize) -> String {
    format!(r#"DELETE FROM "prompt_names" WHERE "id" IN ({})"#, places(1, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_kind_and_name_and_is_short() {
        assert_eq!(key(NameKind::Backend, "anthropic"), "8xDvQ4irQeo1e5bEqSCCwA");
        assert_ne!(key(NameKind::Model, "anthropic"), key(NameKind::Backend, "anthropic"));
        assert_eq!(key(NameKind::Model, &"x".repeat(4_096)).len(), 22);
    }
}
