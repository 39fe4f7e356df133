//! What jobs are told of the tasks that are their items.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::ends::Ending;
use super::rows::Current;
use crate::error::{Error, Result};
use crate::services::jobs::{self, Failure, NewResult};
use crate::services::queue::domain::State;
use crate::storage::{Db, Tx};

/// Results of items whose tasks have ended in a transaction, by job.
#[derive(Default)]
pub(super) struct JobResults(BTreeMap<Uuid, Vec<NewResult>>);

impl JobResults {
    /// Notes the end of a task, if it is an item of a job.
    pub(super) fn note(&mut self, row: &Current, state: State, ending: &Ending<'_>, now_us: i64) {
        let Some(job_id) = row.job_id else { return };
        let failed = |code: &str| Failure {
            code: code.to_owned(),
            message: ending.error.unwrap_or_default().to_owned(),
        };
        self.0.entry(job_id).or_default().push(NewResult {
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
        for (job_id, results) in self.0 {
            match jobs::add_results_in(tx, job_id, &results, true, now_us).await {
                Err(error) if is_refusal(&error) => {
                    tracing::debug!(%job_id, error = %error, "a job takes no results of its tasks any more");
                }
                other => drop(other?),
            }
        }
        Ok(())
    }
}

/// Why no task may be added for a job, if it may not.
pub(super) async fn refusal(db: &Db<'_>, job_id: Uuid) -> Result<Option<Error>> {
    match jobs::refuse_unless_open(db, job_id).await {
        Err(error) if is_refusal(&error) => Ok(Some(error)),
        other => other.map(|()| None),
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::JobNotFound | Error::JobEnded { .. } | Error::JobCountTooLarge { .. })
}

/// A job's results have JSON objects as their data; any other JSON becomes the member `result` of one.
fn object(result: &str) -> String {
    if result.trim_start().starts_with('{') { result.to_owned() } else { format!(r#"{{"result":{result}}}"#) }
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn results_become_objects_as_they_were_given() {
        assert_eq!(object(" {\"a\": 1.0}"), " {\"a\": 1.0}");
        assert_eq!(object("[1, 2]"), r#"{"result":[1, 2]}"#);
        assert_eq!(object(r#""text""#), r#"{"result":"text"}"#);
    }
}
