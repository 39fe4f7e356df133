//! Lists of prompts, a page at a time.
//!
//! A list walks along one index: that of the filter's narrowest equality, or that of the order. What else the filter asks is looked
//! at row by row on the way, and a page looks at a bounded number of rows: a filter that takes few of them holds up no reader.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use sea_orm::Value;

use super::find::{Bodies, Found, complete};
use super::names;
use super::rows::{self, PROMPT_COLUMNS, PromptRow};
use super::{conversations, index, marks, sql};
use crate::answer::Budget;
use crate::clock;
use crate::error::Result;
use crate::services::prompts::domain::{NameKind, OTHER_NAME, Prompt};
use crate::services::prompts::filter::{Filter, Key, KeyValue, Next, Order, OrderBy};
use crate::storage::{Db, places, row};

/// Rows of one piece.
pub(super) const PIECE_ROWS: usize = 128;

/// Bodies that are read together.
const BODY_ROWS: usize = 16;

/// How much of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Those behind this one.
    pub after: Option<Key>,
    /// Leave out so many.
    pub skip: usize,
    /// Stop then, however few were found.
    pub until: Option<Instant>,
    /// At most so many.
    pub rows_max: usize,
    /// At most about so many bytes, but one prompt at least.
    pub budget: Budget,
    /// Rows that are looked at.
    pub scan_rows_max: usize,
    /// Whether bodies are read.
    pub bodies: Bodies,
}

/// A page of prompts; and where the next one begins.
pub async fn list(
    db: &Db<'_>,
    filter: &Filter,
    order: Order,
    page: &Page,
) -> Result<(Vec<Prompt>, Option<Next>)> {
    let Some(wanted) = Wanted::of(db, filter).await? else { return Ok((Vec::new(), None)) };
    let walk = wanted.walk(filter, order);
    let mut found = Found::new(page.rows_max, page.budget);
    let mut after = page.after;
    let mut position = page.after.map_or(Position::Start, Position::Ties);
    let (mut looked_at, mut skip) = (0, page.skip);
    let step = if filter.needs_body() { BODY_ROWS } else { PIECE_ROWS };
    let next = |after: Option<Key>, skip: usize| after.map(|after| Next { after, skip });
    loop {
        let (query, values) = piece_query(&walk, order, filter, position);
        let piece: Vec<PromptRow> = db.rows(&query, values).await?;
        let (count, last) = (piece.len(), piece.last().and_then(|row| row.key(order.by())));
        let taken = piece.into_iter().filter(|row| wanted.takes(filter, row)).collect();
        let taken = with_tags(db, filter, &walk, taken).await?;
        for rows in taken.chunks(step) {
            let behind_all = rows.last().and_then(|row| row.key(order.by()));
            let rows = with_bodies(db, filter, rows).await?;
            let skipped = skip.min(rows.len());
            skip -= skipped;
            let mut rest = &rows[skipped..];
            while let Some((fitting, behind)) = found.fitting(rest, page.bodies) {
                for (row, prompt) in fitting.iter().zip(complete(db, fitting, page.bodies).await?) {
                    if !found.take(prompt)? {
                        return Ok((found.prompts, next(after, 0)));
                    }
                    after = row.key(order.by());
                }
                rest = behind;
            }
            after = behind_all.or(after);
            if page.until.is_some_and(|until| clock::instant() >= until) {
                return Ok((found.prompts, next(after, skip)));
            }
        }
        after = last.or(after);
        position = match (last, position) {
            (Some(last), _) if count == PIECE_ROWS => Position::Ties(last),
            (_, Position::Ties(key)) => Position::Behind(key.value),
            _ => return Ok((found.prompts, None)),
        };
        looked_at += count;
        if looked_at >= page.scan_rows_max.saturating_add(page.skip) {
            return Ok((found.prompts, next(after, skip)));
        }
    }
}

/// Where the next piece of a list begins. Rows that are equal in what they are put in order by are a piece of their own: an index
/// finds its beginning among many of them, which it does not by a comparison of both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Position {
    /// At the first row.
    Start,
    /// Behind this row, among those that are equal to it.
    Ties(Key),
    /// Behind all of this value.
    Behind(KeyValue),
}

/// What a filter asks for by the numbers of rows.
pub(super) struct Wanted {
    names: Vec<WantedName>,
    conversation: Option<i64>,
    status: Option<i64>,
}

/// A name that a filter asks for.
struct WantedName {
    kind: NameKind,
    text: String,
    /// The number of rows that have it; that of the others if it has none of its own.
    number: i64,
    /// Whether other rows may have it as well: some were saved when their kind had as many names as it may have.
    is_scattered: bool,
}

impl WantedName {
    /// None: no row has it.
    async fn of(db: &Db<'_>, kind: NameKind, text: &str) -> Result<Option<Self>> {
        let number = names::number(db, kind, text).await?;
        let is_scattered = number != Some(names::OTHER) && names::has_other(db, kind).await?;
        let wanted =
            |number: i64, is_scattered: bool| Self { kind, text: text.to_owned(), number, is_scattered };
        Ok(match number {
            Some(number) => Some(wanted(number, is_scattered)),
            None => is_scattered.then(|| wanted(names::OTHER, false)),
        })
    }

    fn takes(&self, row: &PromptRow) -> bool {
        match row.name(self.kind) {
            (Some(names::OTHER), text) => self.text == OTHER_NAME || text == Some(&self.text),
            (number, _) => number == Some(self.number),
        }
    }
}

impl Wanted {
    /// The numbers of a filter's names; none: one of them has no number, so nothing has it.
    pub(super) async fn of(db: &Db<'_>, filter: &Filter) -> Result<Option<Self>> {
        let mut wanted = Vec::new();
        for (kind, name) in names::of(&filter.names) {
            let Some(name) = WantedName::of(db, kind, name).await? else { return Ok(None) };
            wanted.push(name);
        }
        let mut conversation = None;
        if !filter.conversation_id.is_empty() {
            conversation = conversations::number(db, &filter.conversation_id).await?;
            if conversation.is_none() {
                return Ok(None);
            }
        }
        let status = filter.status.map(rows::status_number);
        Ok(Some(Self { names: wanted, conversation, status }))
    }

    /// What the list walks along: the narrowest of what is asked for.
    fn walk(&self, filter: &Filter, order: Order) -> Walk {
        if order.by() != OrderBy::Time {
            return Walk::All;
        }
        let name = |kind: NameKind| {
            let name = self.names.iter().find(|name| name.kind == kind && !name.is_scattered);
            name.map(|name| Walk::Name(kind, name.number))
        };
        let narrowest = [
            self.conversation.map(Walk::Conversation),
            filter.tags.first().cloned().map(Walk::Tag),
            name(NameKind::Model),
            name(NameKind::Framework),
            name(NameKind::Backend),
            name(NameKind::Provider),
        ];
        narrowest.into_iter().flatten().next().unwrap_or(Walk::All)
    }

    /// Whether the filter takes a row, as far as the row tells.
    pub(super) fn takes(&self, filter: &Filter, row: &PromptRow) -> bool {
        let is = |asked: Option<i64>, has: Option<i64>| asked.is_none() || asked == has;
        self.names.iter().all(|name| name.takes(row))
            && is(self.conversation, row.conversation_id)
            && is(self.status, Some(row.status))
            && filter.takes_time(row.prompt_time)
            && filter.takes_measures(&row.measures())
            && (row.has_body || !filter.needs_body())
    }
}

/// What a list walks along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// A conversation, by its number.
    Conversation(i64),
    /// A tag.
    Tag(String),
    /// A name of a kind, by its number.
    Name(NameKind, i64),
    /// All prompts that have a place in the order.
    All,
}

impl Walk {
    /// The column and the value that all its rows have.
    fn equality(&self) -> Option<(&'static str, Value)> {
        match self {
            Self::Conversation(number) => Some((r#"p."conversation_id""#, (*number).into())),
            Self::Tag(tag) => Some((r#"t."tag""#, tag.as_str().into())),
            Self::Name(kind, number) => {
                let column = match kind {
                    NameKind::Backend => r#"p."backend_id""#,
                    NameKind::Model => r#"p."model_id""#,
                    NameKind::Framework => r#"p."framework_id""#,
                    NameKind::Provider => r#"p."provider_id""#,
                };
                Some((column, (*number).into()))
            }
            Self::All => None,
        }
    }
}

/// The next rows of a list, and the values.
pub(super) fn piece_query(
    walk: &Walk,
    order: Order,
    filter: &Filter,
    position: Position,
) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions: Vec<String> = Vec::new();
    if let Some((column, value)) = walk.equality() {
        values.push(value);
        conditions.push(format!("{column} = $1"));
    }
    let from = match walk {
        Walk::Tag(_) => {
            conditions.push(r#"p."id" = t."prompt_id""#.to_owned());
            // CROSS JOIN: SQLite begins with the tags, whatever it thinks of them.
            r#""prompt_tags" t CROSS JOIN "prompts" p"#
        }
        _ => r#""prompts" p"#,
    };
    let (column, id) = match (order.by(), walk) {
        (OrderBy::Time, Walk::Tag(_)) => (r#"t."prompt_time""#, r#"t."prompt_id""#),
        (OrderBy::Time, _) => (r#"p."prompt_time""#, r#"p."id""#),
        (OrderBy::Latency, _) => (r#"p."latency_us""#, r#"p."id""#),
        (OrderBy::Confidence, _) => (r#"p."confidence""#, r#"p."id""#),
    };
    if order.by() != OrderBy::Time {
        conditions.push(format!("{column} IS NOT NULL"));
    }
    let (than, direction) = if order.is_ascending() { (">", "ASC") } else { ("<", "DESC") };
    let mut bound = |column: &str, operator: &str, value: Value| {
        values.push(value);
        conditions.push(format!("{column} {operator} ${}", values.len()));
    };
    let [low, high] = bounds(order.by(), filter);
    let [near, far] = if order.is_ascending() { [low, high] } else { [high, low] };
    // Where the list goes on, it is past the near bound, and equal rows are not past the far one.
    let (near, far) = match position {
        Position::Start => (near, far),
        Position::Behind(value) => (Some((than, value_of(value))), far),
        Position::Ties(key) => {
            bound(column, "=", value_of(key.value));
            bound(id, than, key.id.into());
            (None, None)
        }
    };
    for (operator, value) in [near, far].into_iter().flatten() {
        bound(column, operator, value);
    }
    let filter =
        if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let query = format!(
        "SELECT {PROMPT_COLUMNS} FROM {from} {filter} ORDER BY {column} {direction}, {id} {direction} LIMIT {PIECE_ROWS}"
    );
    (query, values)
}

fn value_of(value: KeyValue) -> Value {
    match value {
        KeyValue::Us(us) => us.into(),
        KeyValue::Share(share) => share.into(),
    }
}

/// The bounds that a filter sets to what rows are put in order by.
fn bounds(by: OrderBy, filter: &Filter) -> [Option<(&'static str, Value)>; 2] {
    let (low, high) = match by {
        OrderBy::Time => (filter.start_us.map(Value::from), filter.end_us.map(Value::from)),
        OrderBy::Latency => (filter.latency_us_min.map(Value::from), filter.latency_us_max.map(Value::from)),
        OrderBy::Confidence => {
            (filter.confidence_min.map(Value::from), filter.confidence_max.map(Value::from))
        }
    };
    let below = if by == OrderBy::Time { "<" } else { "<=" };
    [low.map(|low| (">=", low)), high.map(|high| (below, high))]
}

/// Those of some rows that have all tags of a filter.
pub(super) async fn with_tags(
    db: &Db<'_>,
    filter: &Filter,
    walk: &Walk,
    mut rows: Vec<PromptRow>,
) -> Result<Vec<PromptRow>> {
    let is_walked = |tag: &String| matches!(walk, Walk::Tag(walked) if walked == tag);
    let wanted: Vec<&String> = filter.tags.iter().filter(|tag| !is_walked(tag)).collect();
    if wanted.is_empty() || rows.is_empty() {
        return Ok(rows);
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut tags: HashMap<i64, HashSet<String>> = HashMap::new();
    for row in marks::tags(db, &ids).await? {
        tags.entry(row.prompt_id).or_default().insert(row.tag);
    }
    rows.retain(|row| tags.get(&row.id).is_some_and(|tags| wanted.iter().all(|tag| tags.contains(*tag))));
    Ok(rows)
}

row! {
    struct MetadataRow {
        prompt_id: i64,
        metadata_json: String,
    }
}

pub(super) fn metadata_query(count: usize) -> String {
    let places = places(1, count);
    format!(r#"SELECT "prompt_id", "metadata_json" FROM "prompt_bodies" WHERE "prompt_id" IN ({places})"#)
}

/// Those of some rows whose bodies are as a filter asks.
pub(super) async fn with_bodies(db: &Db<'_>, filter: &Filter, rows: &[PromptRow]) -> Result<Vec<PromptRow>> {
    let mut rows = rows.to_vec();
    if !filter.metadata.is_empty() {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let metadata: Vec<MetadataRow> = sql::all_of_ids(db, metadata_query, &ids).await?;
        let takes = |row: &&MetadataRow| filter.takes_metadata(&row.metadata_json);
        let taken: HashSet<i64> = metadata.iter().filter(takes).map(|row| row.prompt_id).collect();
        rows.retain(|row| taken.contains(&row.id));
    }
    if let Some(needle) = &filter.substring {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let texts = index::texts(db, &ids).await?;
        let has = |row: &&index::TextsRow| row.texts().into_iter().any(|text| needle.is_in(text));
        let taken: HashSet<i64> = texts.iter().filter(has).map(|row| row.prompt_id).collect();
        rows.retain(|row| taken.contains(&row.id));
    }
    Ok(rows)
}
