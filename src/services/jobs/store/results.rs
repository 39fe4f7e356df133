//! Recording results: the items and the job's counts advance together, under the job's lock.

use std::collections::HashMap;

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, Set, Value};
use uuid::Uuid;

use super::{Metadata, lock, rows, save};
use crate::error::Result;
use crate::services::jobs::domain::{AddOutcome, Counts, Job, NewResult};
use crate::services::jobs::entity::results;
use crate::storage::{Db, Tx, chunks, places, row, rows_that_share};

row! {
    /// A recorded result, as far as another one for its item needs to know it.
    struct Recorded {
        item_key: Option<String>,
        number: i64,
        error_code: Option<String>,
    }
}

pub(super) const SUCCESS: &str = r#"SELECT "number" FROM "job_results" WHERE "job_row_id" = $1 AND "item_key" = $2
    AND "error_code" IS NULL LIMIT 1"#;

row! {
    struct Found {
        number: i64,
    }
}

/// Records `new` results of a job and counts them; answers with an outcome for each, and with the job without its metadata.
///
/// A result for an item that has one is a duplicate and changes nothing, unless that one is a failure and `replace_failed`
/// says so. A batch of nothing but duplicates is answered though the job has ended: it is one that came again.
/// Errors, each before anything is written: JobNotFound, JobEnded, JobCountTooLarge.
pub async fn add_results(
    tx: &Tx<'_>,
    id: Uuid,
    new: &[NewResult],
    replace_failed: bool,
    now_us: i64,
) -> Result<(Vec<AddOutcome>, Job)> {
    let before = lock(tx, id, Metadata::Left).await?;
    let recorded = recorded(tx, before.row_id, new).await?;
    let plan = plan(new, &recorded, replace_failed);
    if plan.added.is_empty() && plan.replaced.is_empty() {
        return Ok((plan.outcomes, before));
    }
    let mut job = before.clone();
    job.count_results(plan.change, now_us).map_err(rows::refused)?;
    // Results are numbered as they are counted.
    let first_number = before.recorded().processed() + 1;
    insert(tx, before.row_id, first_number, &plan.added, now_us).await?;
    for (number, result) in plan.replaced {
        replace(tx, before.row_id, number, result, now_us).await?;
    }
    let job = save(tx, &before, job, now_us).await?;
    Ok((plan.outcomes, job))
}

/// The recorded results of the items of `new`.
async fn recorded(tx: &Tx<'_>, job_row_id: i64, new: &[NewResult]) -> Result<HashMap<String, Recorded>> {
    let mut found = HashMap::new();
    let keys: Vec<&str> = new.iter().filter_map(|result| result.item_key.as_deref()).collect();
    for chunk in chunks(&keys) {
        let (sql, values) = of_items(job_row_id, chunk);
        let rows = tx.rows::<Recorded>(&sql, values).await?;
        found.extend(rows.into_iter().filter_map(|row| Some((row.item_key.clone()?, row))));
    }
    Ok(found)
}

/// Written out like the insert below: building it with values would cost more than running it.
pub(super) fn of_items(job_row_id: i64, items: &[&str]) -> (String, Vec<Value>) {
    let sql = format!(
        r#"SELECT "item_key", "number", "error_code" FROM "job_results" WHERE "job_row_id" = $1 AND "item_key" IN ({})"#,
        places(2, items.len())
    );
    let mut values: Vec<Value> = vec![job_row_id.into()];
    values.extend(items.iter().map(|item| Value::from(*item)));
    (sql, values)
}

/// Whether an item has a successful result.
pub async fn has_success(db: &Db<'_>, row_id: i64, item_key: &str) -> Result<bool> {
    let values = vec![row_id.into(), item_key.into()];
    Ok(db.row::<Found>(SUCCESS, values).await?.is_some_and(|found| found.number > 0))
}

/// What is to be written for a batch.
#[derive(Default)]
struct Plan<'n> {
    outcomes: Vec<AddOutcome>,
    added: Vec<&'n NewResult>,
    replaced: Vec<(i64, &'n NewResult)>,
    change: Counts,
}

fn plan<'n>(new: &'n [NewResult], recorded: &HashMap<String, Recorded>, replace_failed: bool) -> Plan<'n> {
    let mut plan = Plan::default();
    let mut seen = std::collections::HashSet::with_capacity(new.len());
    for result in new {
        // Of two for one item, the first counts.
        let key = result.item_key.as_deref();
        let outcome = match key.and_then(|key| recorded.get(key)) {
            _ if key.is_some_and(|key| !seen.insert(key)) => AddOutcome::Duplicate,
            None => {
                plan.added.push(result);
                plan.change = plan.change.plus(result.counts());
                AddOutcome::Added
            }
            Some(former) if replace_failed && former.error_code.is_some() => {
                plan.replaced.push((former.number, result));
                plan.change = plan.change.plus(result.counts()).plus(Counts { successful: 0, failed: -1 });
                AddOutcome::Replaced
            }
            Some(_) => AddOutcome::Duplicate,
        };
        plan.outcomes.push(outcome);
    }
    plan
}

async fn insert(
    tx: &Tx<'_>,
    job_row_id: i64,
    first_number: i64,
    added: &[&NewResult],
    now_us: i64,
) -> Result<()> {
    let mut numbers = first_number..;
    for chunk in chunks(added) {
        let mut values: Vec<Value> = vec![job_row_id.into(), now_us.into()];
        for (result, number) in chunk.iter().zip(&mut numbers) {
            values.extend([
                number.into(),
                result.item_key.as_deref().into(),
                result.url.as_str().into(),
                result.error.as_ref().map(|error| error.code.as_str()).into(),
                result.error.as_ref().map(|error| error.message.as_str()).into(),
                result.processing_us.into(),
                result.data_json.as_str().into(),
            ]);
        }
        tx.run(&insert_of(chunk.len()), values).await?;
    }
    Ok(())
}

/// The insert of so many rows.
fn insert_of(rows: usize) -> String {
    format!(
        r#"INSERT INTO "job_results" ("job_row_id", "create_time", "number", "item_key", "url", "error_code",
        "error_message", "processing_us", "data_json") VALUES {}"#,
        rows_that_share(2, rows, 7)
    )
}

async fn replace(tx: &Tx<'_>, job_row_id: i64, number: i64, result: &NewResult, now_us: i64) -> Result<()> {
    let row = results::ActiveModel {
        url: Set(result.url.clone()),
        error_code: Set(result.error.as_ref().map(|error| error.code.clone())),
        error_message: Set(result.error.as_ref().map(|error| error.message.clone())),
        processing_us: Set(result.processing_us),
        create_time: Set(now_us),
        data_json: Set(result.data_json.clone()),
        ..Default::default()
    };
    results::Entity::update_many()
        .set(row)
        .filter(results::Column::JobRowId.eq(job_row_id))
        .filter(results::Column::Number.eq(number))
        .exec(&**tx)
        .await?;
    Ok(())
}
