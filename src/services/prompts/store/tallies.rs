//! Numbers of prompts by hour, day and month: noted with every change, added up now and then.
//!
//! A change is a row of its own, so nobody who saves waits for another. Adding up takes some of these rows, adds them to those of
//! their spans, in the order of their keys, and removes them, in one transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::Value;

use super::sql;
use crate::clock;
use crate::error::{Error, Result};
use crate::services::prompts::sketch::Sketch;
use crate::services::prompts::statistics::{Changes, Key, Numbers, Span};
use crate::storage::{Db, Tx, chunks, places, row, rows_of_places};

/// Changes that are added up between two looks at the clock.
const PIECE_ROWS: i64 = 32;

/// The columns of [`NumbersRow`].
pub(super) const COLUMNS: &str = r#""start_time", "backend_id", "model_id", "framework_id", "prompt_count", "failed_count", "confidence_count",
    "confidence_micros", "latency_count", "latency_us", "prompt_tokens", "completion_tokens", "cost_micros", "latency_high", "prompt_tokens_high",
    "completion_tokens_high", "cost_high", "latencies""#;

const VALUES: usize = 18;

/// The factor of the column `high` of a sum.
const HIGH: i128 = 1 << 62;

/// Those of them that are the key.
const KEYS: usize = 4;

const FIND: &str = r#"FROM "prompt_stats" WHERE "span" = $1 AND "start_time" = $2 AND "backend_id" = $3 AND "model_id" = $4
    AND "framework_id" = $5"#;

/// What a span is stored as.
pub(super) fn span_number(span: Span) -> i64 {
    match span {
        Span::Hour => 1,
        Span::Day => 2,
        Span::Month => 3,
    }
}

row! {
    /// A row of either table.
    pub(super) struct NumbersRow {
        start_time: i64,
        backend_id: i64,
        model_id: i64,
        framework_id: i64,
        prompt_count: i64,
        failed_count: i64,
        confidence_count: i64,
        confidence_micros: i64,
        latency_count: i64,
        latency_us: i64,
        prompt_tokens: i64,
        completion_tokens: i64,
        cost_micros: i64,
        latency_high: i64,
        prompt_tokens_high: i64,
        completion_tokens_high: i64,
        cost_high: i64,
        latencies: Vec<u8>,
    }
}

impl NumbersRow {
    /// What it says.
    pub(super) fn numbers(&self) -> Result<(Key, Numbers)> {
        let sketch = Sketch::from_bytes(&self.latencies).ok_or_else(|| Error::CorruptRow {
            table: "prompt_stats",
            column: "latencies",
            row: self.start_time,
            cause: "it is no sketch".into(),
        })?;
        let key = Key {
            start_us: self.start_time,
            backend_id: self.backend_id,
            model_id: self.model_id,
            framework_id: self.framework_id,
        };
        let numbers = Numbers {
            prompts: self.prompt_count,
            failed: self.failed_count,
            confidences: self.confidence_count,
            confidence_micros: self.confidence_micros,
            latencies: self.latency_count,
            latency_us: joined(self.latency_high, self.latency_us),
            prompt_tokens: joined(self.prompt_tokens_high, self.prompt_tokens),
            completion_tokens: joined(self.completion_tokens_high, self.completion_tokens),
            cost_micros: joined(self.cost_high, self.cost_micros),
            sketch,
        };
        Ok((key, numbers))
    }
}

row! {
    struct Id {
        id: i64,
    }
}

/// Notes what a transaction changes.
pub(super) async fn note(tx: &Tx<'_>, changes: &Changes) -> Result<()> {
    let all: Vec<(&Key, &Numbers)> = changes.0.iter().filter(|(_, numbers)| !numbers.is_nothing()).collect();
    for chunk in chunks(&all) {
        let values = chunk.iter().flat_map(|(key, numbers)| values(key, numbers)).collect();
        tx.run(&note_query(chunk.len()), values).await?;
    }
    Ok(())
}

fn note_query(rows: usize) -> String {
    format!(r#"INSERT INTO "prompt_stat_changes" ({COLUMNS}) VALUES {}"#, rows_of_places(rows, VALUES))
}

/// Whether there is something to add up.
pub async fn has_changes(db: &Db<'_>) -> Result<bool> {
    let first = r#"SELECT "id" FROM "prompt_stat_changes" ORDER BY "id" LIMIT 1"#;
    Ok(db.row::<Id>(first, Vec::new()).await?.is_some())
}

/// Adds changes up, until there are no more or the step has taken its time; whether there may be more.
pub async fn add_up(tx: &Tx<'_>, step: Duration) -> Result<bool> {
    let until = clock::instant() + step;
    loop {
        let has_more = add_piece(tx).await?;
        if !has_more || clock::instant() >= until {
            return Ok(has_more);
        }
    }
}

async fn add_piece(tx: &Tx<'_>) -> Result<bool> {
    // Other sidecars add up others meanwhile; rows that are committed late are seen the next time.
    let taken = r#"SELECT "id" FROM "prompt_stat_changes" ORDER BY "id" LIMIT $1"#;
    let ids = tx.rows::<Id>(&tx.competing(taken), vec![PIECE_ROWS.into()]).await?;
    let ids: Vec<i64> = ids.into_iter().map(|row| row.id).collect();
    let mut sums: BTreeMap<(Span, Key), Numbers> = BTreeMap::new();
    for row in sql::all_of_ids::<NumbersRow>(tx, changes_query, &ids).await? {
        let (key, numbers) = row.numbers()?;
        for span in Span::ALL {
            sums.entry((span, key.over(span))).or_default().merge(&numbers);
        }
    }
    for ((span, key), numbers) in sums {
        add(tx, span, key, numbers).await?;
    }
    for ids in ids.chunks(sql::IDS_MAX) {
        let values = sql::padded(ids);
        tx.run(&remove_query(values.len()), values).await?;
    }
    Ok(ids.len() as u64 >= PIECE_ROWS.unsigned_abs())
}

pub(super) fn changes_query(count: usize) -> String {
    format!(r#"SELECT {COLUMNS} FROM "prompt_stat_changes" WHERE "id" IN ({})"#, places(1, count))
}

fn remove_query(count: usize) -> String {
    format!(r#"DELETE FROM "prompt_stat_changes" WHERE "id" IN ({})"#, places(1, count))
}

async fn add(tx: &Tx<'_>, span: Span, key: Key, mut numbers: Numbers) -> Result<()> {
    let at =
        [span_number(span), key.start_us, key.backend_id, key.model_id, key.framework_id].map(Value::from);
    let find = format!("SELECT {COLUMNS} {FIND}");
    let known = tx.row::<NumbersRow>(&tx.locking(&find), at.to_vec()).await?;
    if let Some(row) = &known {
        numbers.merge(&row.numbers()?.1);
    }
    let (statement, values) = match (known.is_some(), numbers.is_nothing()) {
        (false, true) => return Ok(()),
        (true, true) => (format!("DELETE {FIND}"), at.to_vec()),
        (true, false) => (update_query(), [&values(&key, &numbers)[KEYS..], &at].concat()),
        (false, false) => (insert_query(), [&at[..1], &values(&key, &numbers)].concat()),
    };
    tx.run(&statement, values).await.map(drop)
}

fn insert_query() -> String {
    format!(r#"INSERT INTO "prompt_stats" ("span", {COLUMNS}) VALUES {}"#, rows_of_places(1, VALUES + 1))
}

pub(super) fn update_query() -> String {
    let columns: Vec<&str> = COLUMNS.split(',').skip(KEYS).map(str::trim).collect();
    let set: Vec<String> =
        (1..).zip(&columns).map(|(place, column)| format!("{column} = ${place}")).collect();
    let keys = [r#""span""#].into_iter().chain(COLUMNS.split(',').take(KEYS).map(str::trim));
    let at = (columns.len() + 1..).zip(keys).map(|(place, column)| format!("{column} = ${place}"));
    format!(r#"UPDATE "prompt_stats" SET {} WHERE {}"#, set.join(", "), at.collect::<Vec<_>>().join(" AND "))
}

/// A sum from its two columns.
fn joined(high: i64, low: i64) -> i128 {
    i128::from(high) * HIGH + i128::from(low)
}

/// The two columns of a sum, `high` and the other one. 2^62 + 3: 1 and 3; -5: 0 and -5.
fn split(sum: i128) -> (i64, i64) {
    // A table with 2^63 rows of the greatest number is below 2^126.
    let part = |part: i128| i64::try_from(part).unwrap_or(if part < 0 { i64::MIN } else { i64::MAX });
    (part(sum / HIGH), part(sum % HIGH))
}

fn values(key: &Key, numbers: &Numbers) -> [Value; VALUES] {
    let (latency_high, latency_us) = split(numbers.latency_us);
    let (prompt_tokens_high, prompt_tokens) = split(numbers.prompt_tokens);
    let (completion_tokens_high, completion_tokens) = split(numbers.completion_tokens);
    let (cost_high, cost_micros) = split(numbers.cost_micros);
    [
        key.start_us.into(),
        key.backend_id.into(),
        key.model_id.into(),
        key.framework_id.into(),
        numbers.prompts.into(),
        numbers.failed.into(),
        numbers.confidences.into(),
        numbers.confidence_micros.into(),
        numbers.latencies.into(),
        latency_us.into(),
        prompt_tokens.into(),
        completion_tokens.into(),
        cost_micros.into(),
        latency_high.into(),
        prompt_tokens_high.into(),
        completion_tokens_high.into(),
        cost_high.into(),
        numbers.sketch.to_bytes().into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_two_columns_is_what_it_was() {
        for sum in [0, 5, -5, HIGH - 1, HIGH, HIGH + 3, -HIGH - 3, 9_000 << 50, -(9_000 << 50), 1 << 100] {
            let (high, low) = split(sum);
            assert_eq!(joined(high, low), sum);
        }
        assert_eq!((split(HIGH + 3), split(-5)), ((1, 3), (0, -5)));
    }
}
