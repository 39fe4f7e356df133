//! Judges a history: which promises of the queue does it break?
//!
//! The rules come from `docs/queue.md` and the protocol. They hold what was answered against what was answered before, by
//! the order of real time: a call happens at some moment between its start and its answer. Where an answer is not known the
//! span is wider, but nothing is excused that no moment in it can explain. No rule asks for more than is promised, so whatever
//! is found is a fault.

mod book;
mod finale;
mod lease;
mod log;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_queue;
mod rules;
#[cfg(test)]
mod seeded;
#[cfg(test)]
mod story;
mod words;

use std::fmt;

use super::history::History;
use book::Book;

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A task whose enqueue was acknowledged is not there.
    Lost,
    /// One item of one request became two tasks.
    EnqueuedTwice,
    /// A task that nobody enqueued, or a claim that nobody made.
    FromNowhere,
    /// A token that was given before, or a smaller one after a larger one.
    TokenBack,
    /// A claim was given while another one lasted.
    HeldTwice,
    /// A claim before the task's time.
    TooEarly,
    /// A second outcome was recorded.
    RecordedTwice,
    /// A claim of a task that had come to its end.
    ClaimedAfterEnd,
    /// An outcome was recorded with a token whose claim was over.
    StaleAccepted,
    /// An outcome was refused though its claim lasted.
    WronglyRefused,
    /// A worker was told that it is dead while it beat.
    WorkerLost,
    /// What is found is not what was answered.
    StateDisagrees,
    /// The audit log is not what was answered.
    LogDisagrees,
}

/// What is wrong with a task, not yet told with its events.
struct Found {
    fault: Fault,
    words: String,
}

impl Found {
    fn of(fault: Fault, words: String) -> Self {
        Self { fault, words }
    }
}

/// What is wrong, with all that happened to the task.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) fault: Fault,
    pub(crate) task: Option<i64>,
    words: String,
    events: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.map_or_else(|| "the run".to_owned(), |task| format!("task {task}"));
        writeln!(f, "{:?}: {task}: {}", self.fault, self.words)?;
        self.events.iter().try_for_each(|event| writeln!(f, "    {event}"))
    }
}

/// All that happened to a task.
pub(crate) fn tell(history: &History, task: i64) -> Vec<String> {
    let book = Book::of(history);
    book.tasks.get(&task).map(|line| words::tell(&book, line)).unwrap_or_default()
}

/// All that is wrong with a history; nothing: it is as promised.
pub(crate) fn check(history: &History) -> Vec<Finding> {
    let book = Book::of(history);
    let mut found: Vec<(Option<i64>, Found)> = Vec::new();
    for (task, line) in &book.tasks {
        let wrong = rules::judge(&book, line).into_iter().chain(finale::judge(line));
        found.extend(wrong.map(|wrong| (Some(*task), wrong)));
    }
    found.extend(rules::workers(&book).into_iter().map(|wrong| (None, wrong)));
    found.extend(finale::tickets(&book));
    found.extend(finale::unseen_tokens(&book));
    let tell = |(task, found): (Option<i64>, Found)| Finding {
        fault: found.fault,
        task,
        words: found.words,
        events: task
            .and_then(|task| book.tasks.get(&task))
            .map(|line| words::tell(&book, line))
            .unwrap_or_default(),
    };
    found.into_iter().map(tell).collect()
}
