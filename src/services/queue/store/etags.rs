//! Etags of tasks: whether a task has changed since a watch has sent it.

use std::collections::HashMap;

use super::sql;
use crate::error::Result;
use crate::services::queue::domain::State;
use crate::storage::{Db, row};

static MARKS: sql::Listed = sql::Listed::new(|| {
    let marks = r#"SELECT t."id", t."state", t."token", t."failure_count", t."is_cancelling",
        (SELECT max(l."id") FROM "queue_task_logs" l WHERE l."task_id" = t."id") AS "log_id"
        FROM "queue_tasks" t WHERE t."id" IN"#;
    sql::listed(marks, 1, "")
});

row! {
    struct Mark {
        id: i64,
        state: i64,
        token: i64,
        failure_count: i64,
        is_cancelling: bool,
        log_id: Option<i64>,
    }
}

/// The version of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etag {
    /// Another text with every change that a caller can see. Example: `3.2.1.0.77`, RUNNING under the token 2 after one failure, with the
    /// log's row 77.
    pub text: String,
    /// Whether the task has come to its end.
    pub is_finished: bool,
}

/// The etags of those tasks that are there.
pub async fn etags(db: &Db<'_>, task_ids: &[i64]) -> Result<HashMap<i64, Etag>> {
    let mut found = HashMap::with_capacity(task_ids.len());
    for chunk in sql::chunks(task_ids) {
        let values = chunk.iter().map(|id| (*id).into()).collect();
        for mark in db.rows::<Mark>(MARKS.text(chunk.len()), values).await? {
            let (state, token, failures) = (mark.state, mark.token, mark.failure_count);
            let (is_cancelling, log_id) = (i64::from(mark.is_cancelling), mark.log_id.unwrap_or(0));
            let text = format!("{state}.{token}.{failures}.{is_cancelling}.{log_id}");
            let is_finished = State::of(state).is_some_and(State::is_finished);
            found.insert(mark.id, Etag { text, is_finished });
        }
    }
    Ok(found)
}

#[cfg(test)]
pub(super) fn marks() -> &'static str {
    MARKS.text(1)
}
