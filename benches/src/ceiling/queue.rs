//! The queue's ceiling: one compact table of tasks; a claim is the head of the line by an index and an update, a completion an
//! update under the token.
//!
//! Two shapes: `Lean` has the index that claims go by and no other; `Queue` has besides what a queue cannot do without that gives
//! back a dead worker's tasks and removes finished ones.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, params};

use super::{Inline, Sync, Table, Writer, now};
use crate::Fallible;
use crate::queue::{Counts, Held, Queue, States, parameters};

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS task (
        id INTEGER PRIMARY KEY,
        type INTEGER NOT NULL,
        state INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        token INTEGER NOT NULL,
        order_key INTEGER NOT NULL,
        claimed INTEGER,
        finished INTEGER,
        worker INTEGER,
        parameters TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS task_line ON task (type, order_key) WHERE state = 0;";
const INDEXES: &str = "
    CREATE INDEX IF NOT EXISTS task_held ON task (worker) WHERE state = 2;
    CREATE INDEX IF NOT EXISTS task_finished ON task (type, state, finished) WHERE finished IS NOT NULL;";
const INSERT: &str = "
    INSERT INTO task (type, state, priority, token, order_key, parameters) VALUES (1, 0, 5, 0, ?1, ?2)";
const HEAD: &str = "
    SELECT id, token, priority, order_key, parameters FROM task WHERE type = 1 AND state = 0 ORDER BY order_key, id LIMIT ?1";
const TAKE: &str = "UPDATE task SET state = 2, token = token + 1, worker = ?2, claimed = ?3 WHERE id = ?1";
const FINISH: &str = "UPDATE task SET state = 4, finished = ?3 WHERE id = ?1 AND state = 2 AND token = ?2";
const COUNT: &str = "SELECT sum(state = 0), sum(state = 4), sum(state NOT IN (0, 4)) FROM task";

/// Which indexes the table has.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    Lean,
    Queue,
}

/// The table of tasks.
pub(crate) struct Tasks;

/// What is done with it.
pub(crate) enum Step {
    /// Adds a task for each of the parameters.
    Enqueue(Vec<String>),
    /// So many, for this worker.
    Claim(usize, i64),
    Complete(Vec<Held>),
    Count,
}

/// What became of it.
pub(crate) enum Answer {
    Done,
    Claimed(Vec<Held>),
    Counted(States),
}

impl Table for Tasks {
    type Step = Step;
    type Answer = Answer;

    fn apply(&mut self, connection: &Connection, steps: Vec<Step>) -> Fallible<Vec<Answer>> {
        let now = now()?;
        let step = |step| match step {
            Step::Enqueue(tasks) => enqueue(connection, &tasks, now),
            Step::Claim(count, worker) => claim(connection, count, worker, now),
            Step::Complete(held) => complete(connection, &held, now),
            Step::Count => count(connection),
        };
        steps.into_iter().map(step).collect()
    }
}

fn enqueue(connection: &Connection, tasks: &[String], now: i64) -> Fallible<Answer> {
    let mut insert = connection.prepare_cached(INSERT)?;
    for parameters in tasks {
        insert.execute(params![now, parameters])?;
    }
    Ok(Answer::Done)
}

fn claim(connection: &Connection, count: usize, worker: i64, now: i64) -> Fallible<Answer> {
    let mut held = Vec::with_capacity(count);
    let mut head = connection.prepare_cached(HEAD)?;
    let mut rows = head.query([count as i64])?;
    while let Some(row) = rows.next()? {
        let numbers: (i64, i64) = (row.get(2)?, row.get(3)?);
        let parameters: String = row.get(4)?;
        std::hint::black_box((numbers, parameters));
        held.push(Held { id: row.get(0)?, token: row.get::<_, i64>(1)? + 1 });
    }
    let mut take = connection.prepare_cached(TAKE)?;
    for held in &held {
        take.execute(params![held.id, worker, now])?;
    }
    Ok(Answer::Claimed(held))
}

fn complete(connection: &Connection, held: &[Held], now: i64) -> Fallible<Answer> {
    let mut finish = connection.prepare_cached(FINISH)?;
    for held in held {
        if finish.execute(params![held.id, held.token, now])? != 1 {
            return Err("a task that was held could not be completed".into());
        }
    }
    Ok(Answer::Done)
}

fn count(connection: &Connection) -> Fallible<Answer> {
    let number =
        |row: &rusqlite::Row<'_>, index| row.get::<_, Option<i64>>(index).map(|n| n.unwrap_or(0) as u64);
    let states = connection.query_row(COUNT, [], |row| {
        Ok(States { queued: number(row, 0)?, completed: number(row, 1)?, others: number(row, 2)? })
    })?;
    Ok(Answer::Counted(states))
}

/// A handle to the ceiling's queue.
#[derive(Clone)]
pub(crate) struct CeilingQueue {
    writer: Writer<Tasks>,
    counts: Arc<Counts>,
    worker: i64,
}

impl CeilingQueue {
    /// Opens a database in the folder, always with fsync, and its writer thread.
    pub(crate) fn open(folder: &Path, shape: Shape) -> Fallible<Self> {
        let schema = if shape == Shape::Queue { format!("{TABLE} {INDEXES}") } else { TABLE.to_owned() };
        let writer = Inline::open(folder, Sync::Full, &schema, Tasks)?.into_writer();
        Ok(Self { writer, counts: Arc::default(), worker: 0 })
    }

    /// For another worker.
    pub(crate) fn of_worker(&self, worker: i64) -> Self {
        Self { worker, ..self.clone() }
    }
}

#[tonic::async_trait]
impl Queue for CeilingQueue {
    fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    async fn enqueue(&mut self, count: usize) -> Fallible<()> {
        let from = self.counts.enqueued.fetch_add(count as u64, Ordering::Relaxed);
        let tasks = (from..from + count as u64).map(parameters).collect();
        self.writer.run(Step::Enqueue(tasks)).await.map(drop)
    }

    async fn arrive(&mut self) -> Fallible<()> {
        Ok(())
    }

    async fn claim(&mut self, count: usize) -> Fallible<Vec<Held>> {
        match self.writer.run(Step::Claim(count, self.worker)).await? {
            Answer::Claimed(held) if held.len() == count => Ok(held),
            _ => Err("the ceiling has fewer tasks than were asked for".into()),
        }
    }

    async fn complete(&mut self, held: &[Held]) -> Fallible<()> {
        self.writer.run(Step::Complete(held.to_vec())).await?;
        self.counts.completed.fetch_add(held.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn leave(&mut self) -> Fallible<()> {
        Ok(())
    }

    async fn states(&mut self) -> Fallible<States> {
        match self.writer.run(Step::Count).await? {
            Answer::Counted(states) => Ok(states),
            _ => Err("the ceiling did not count".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_is_claimed_once_and_completed_under_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = CeilingQueue::open(folder.path(), Shape::Queue).unwrap();
        queue.enqueue(3).await.unwrap();
        let held = queue.claim(2).await.unwrap();
        assert_ne!(held[0].id, held[1].id);
        queue.complete(&held).await.unwrap();
        let states = queue.states().await.unwrap();
        assert_eq!(states, States { queued: 1, completed: 2, others: 0 });
        crate::queue::agree(&mut queue).await.unwrap();
        let last = queue.claim(1).await.unwrap()[0];
        assert!(queue.complete(&[Held { token: last.token + 1, ..last }]).await.is_err());
    }
}
