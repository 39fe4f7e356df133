//! What jobs are told of the tasks that are their items.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::ends::Ending;
use super::rows::Current;
use super::sql;
use crate::error::{Error, Result};
use crate::services::jobs::{self, Failure, NewResult};
use crate::services::queue::domain::{JobItem, NewTask, State};
use crate::storage::Tx;

/// A task of an item that is unfinished or done.
pub(super) const TASK_OF_ITEM: &str = r#"SELECT max("id") AS "number" FROM "queue_tasks" WHERE "job_row_id" = $1
    AND "job_row_id" IS NOT NULL AND "job_item_key" = $2 AND "state" NOT IN (5, 6)"#;

/// Results of items whose tasks have ended in a transaction, by the id and the row of the job.
#[derive(Default)]
pub(super) struct JobResults(BTreeMap<(Uuid, i64), Vec<NewResult>>);

impl JobResults {
    /// Notes the end of a task, if it is an item of a job.
    pub(super) fn note(&mut self, row: &Current, state: State, ending: &Ending<'_>, now_us: i64) {
        let Some(job) = row.job_id.zip(row.job_row_id) else { return };
        let failed = |code: &str| Failure {
            code: code.to_owned(),
            message: ending.error.unwrap_or_default().to_owned(),
        };
        self.0.entry(job).or_default().push(NewResult {
            item_key: Some(row.job_item_key.clone().unwrap_or_else(|| row.id.to_string())),
            url: String::new(),
            error: match state {
                State::Failed => Some(failed("TASK_FAILED")),
                State::Cancelled => Some(failed("TASK_CANCELLED")),
                _ => None,
            },
            processing_us: row.claim_time.map(|claim_us| (now_us - claim_us).max(0)),
            data_json: ending.result.map(object).unwrap_or_default(),
        });
    }

    /// Records what was noted, job after job in the order of their ids. A job that has ended, or is gone, is left alone: its tasks end
    /// all the same.
    pub(super) async fn record(self, tx: &Tx<'_>, now_us: i64) -> Result<()> {
        for ((job_id, row_id), results) in self.0 {
            match jobs::add_results_of_tasks_in(tx, (job_id, row_id), &results, now_us).await {
                Err(error) if is_refusal(&error) => {
                    tracing::debug!(%job_id, error = %error, "a job takes no results of its tasks any more");
                }
                other => other?,
            }
        }
        Ok(())
    }
}

/// Jobs that tasks are to be added for: their rows, or why they take no tasks. The jobs are locked in the order of their ids.
pub(super) struct OpenJobs(BTreeMap<Uuid, Result<i64>>);

impl OpenJobs {
    /// Locks the jobs of some tasks.
    pub(super) async fn lock(tx: &Tx<'_>, tasks: &[NewTask]) -> Result<Self> {
        let ids: BTreeSet<Uuid> =
            tasks.iter().filter_map(|task| task.job_item.as_ref()).map(|item| item.job_id).collect();
        let mut jobs = BTreeMap::new();
        for job_id in ids {
            let open = match jobs::lock_open_in(tx, job_id).await {
                Err(error) if is_refusal(&error) => Err(error),
                other => Ok(other?),
            };
            jobs.insert(job_id, open);
        }
        Ok(Self(jobs))
    }

    /// The row of an item's job. Errors, which are the item's: the job takes no tasks; the item has one.
    pub(super) async fn admit(&self, tx: &Tx<'_>, item: &JobItem) -> Result<Result<i64>> {
        let open = self.0.get(&item.job_id).ok_or_else(|| Error::internal("a job is not locked"))?;
        let row_id = match open {
            Ok(row_id) => *row_id,
            Err(error) => return Ok(Err(error.clone())),
        };
        let Some(key) = &item.key else { return Ok(Ok(row_id)) };
        let values = vec![row_id.into(), key.as_str().into()];
        let by = match sql::number(tx, TASK_OF_ITEM, values).await? {
            Some(task_id) => Some(format!("task {task_id}")),
            None => jobs::has_success_in(tx, row_id, key).await?.then(|| "a result".to_owned()),
        };
        Ok(match by {
            Some(by) => Err(Error::JobItemDuplicate { item_key: key.clone(), by }),
            None => Ok(row_id),
        })
    }
}

/// Bytes of a task's result as the data of a job's result.
pub(super) fn data_bytes(result: &str) -> usize {
    result.len() + if is_object(result) { 0 } else { r#"{"result":}"#.len() }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::JobNotFound | Error::JobEnded { .. } | Error::JobCountTooLarge { .. })
}

/// A job's results have JSON objects as their data; any other JSON becomes the member `result` of one.
fn object(result: &str) -> String {
    if is_object(result) { result.to_owned() } else { format!(r#"{{"result":{result}}}"#) }
}

fn is_object(result: &str) -> bool {
    result.trim_start().starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::{data_bytes, object};

    #[test]
    fn results_become_objects_as_they_were_given() {
        assert_eq!(object(" {\"a\": 1.0}"), " {\"a\": 1.0}");
        assert_eq!(object("[1, 2]"), r#"{"result":[1, 2]}"#);
        for result in ["{}", "[1, 2]", "7"] {
            assert_eq!(data_bytes(result), object(result).len());
        }
        assert_eq!(object(r#""text""#), r#"{"result":"text"}"#);
    }
}
