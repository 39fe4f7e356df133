//! The audit log of a task, held against what was answered: each claim ended once, and as it was told.

use super::book::Timeline;
use super::{Fault, Found as Wrong};
use crate::queue::history::*;

/// How a claim ended, if this is an end.
fn is_end(kind: TaskEventKind) -> bool {
    use TaskEventKind::*;
    matches!(kind, Completed | Retried | Failed | Released | Snoozed | LeaseExpired | WorkerDied | Forgotten)
}

/// What the log says of an outcome that was recorded.
fn said_of(kind: Kind, state: TaskState) -> Option<TaskEventKind> {
    match kind {
        Kind::Complete => Some(TaskEventKind::Completed),
        Kind::Fail { .. } if state == TaskState::Failed => Some(TaskEventKind::Failed),
        Kind::Fail { .. } => Some(TaskEventKind::Retried),
        Kind::Release => Some(TaskEventKind::Released),
        Kind::Snooze { .. } => Some(TaskEventKind::Snoozed),
        Kind::Start | Kind::Extend { .. } | Kind::Held => None,
    }
}

pub(super) fn judge(line: &Timeline<'_>, found: &Found, log: &[(TaskEventKind, i64)]) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut say = |fault, words: String| wrong.push(Wrong::of(fault, words));
    let of = |kind: TaskEventKind| log.iter().filter(move |event| event.0 == kind).count();
    for (kind, state) in
        [(TaskEventKind::Completed, TaskState::Completed), (TaskEventKind::Failed, TaskState::Failed)]
    {
        let due = usize::from(found.state == state);
        if of(kind) != due {
            let (kind, state) = (kind.as_str_name(), found.state.as_str_name());
            say(Fault::LogDisagrees, format!("its log has {kind} {} times, and it is {state}", log.len()));
        }
    }
    for token in 1..=found.token {
        let ends: Vec<_> = log.iter().filter(|event| event.1 == token && is_end(event.0)).collect();
        if ends.len() > 1 {
            say(Fault::RecordedTwice, format!("its log has {} ends of token {token}", ends.len()));
        }
        if ends.is_empty() && token < found.token {
            say(Fault::LogDisagrees, format!("its log has no end of token {token}"));
        }
    }
    for sent in &line.sent {
        let Some(due) = sent.recorded().and_then(|state| said_of(sent.outcome.kind, state)) else { continue };
        if !log.contains(&(due, sent.outcome.token)) {
            let (due, token) = (due.as_str_name(), sent.outcome.token);
            say(Fault::LogDisagrees, format!("its log has no {due} of token {token}, which was answered"));
        }
    }
    if log.windows(2).any(|pair| pair[1].1 != 0 && pair[0].1 > pair[1].1) {
        say(Fault::LogDisagrees, "its log's tokens do not grow".to_owned());
    }
    wrong
}
