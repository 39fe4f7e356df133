//! What is there at the end: every task by List, and once more by Get, and what its log says.

use std::collections::BTreeMap;

use pannier_proto::queue::v1 as pb;

use super::history::*;
use super::wire::{Client, QUEUE, number_in};

/// Logs are read of this many tasks at most, spread over all.
const LOGS_MAX: usize = 10_000;
/// Calls at once.
const READERS: usize = 16;

/// The first task that has not come to its end, if there is one.
pub(crate) async fn first_unfinished(client: &mut Client) -> Option<pb::Task> {
    use TaskState::*;
    for state in [Queued, Scheduled, Blocked, Claimed, Running] {
        if let Some(task) = list(client, state, 1).await.pop() {
            return Some(task);
        }
    }
    None
}

/// Tasks in a state, so many at most.
async fn list(client: &mut Client, state: TaskState, tasks_max: usize) -> Vec<pb::Task> {
    let (mut tasks, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListRequest {
            queue: QUEUE.to_owned(),
            states: if state == TaskState::Unspecified { Vec::new() } else { vec![state.into()] },
            page_size: tasks_max.min(1_000) as i32,
            page_token,
            ..Default::default()
        };
        let answer = client.list(request).await.expect("a page").into_inner();
        tasks.extend(answer.tasks);
        if answer.next_page_token.is_empty() || tasks.len() >= tasks_max {
            return tasks;
        }
        page_token = answer.next_page_token;
    }
}

/// Every task.
pub(crate) async fn survey(client: &mut Client) -> BTreeMap<i64, Found> {
    let listed = list(client, TaskState::Unspecified, usize::MAX).await;
    let logs_each = listed.len().div_ceil(LOGS_MAX).max(1);
    let numbered: Vec<_> = listed.into_iter().enumerate().collect();
    let mut readers = tokio::task::JoinSet::new();
    for part in numbered.chunks(numbered.len().div_ceil(READERS).max(1)) {
        let (part, mut client) = (part.to_vec(), client.clone());
        readers.spawn(async move {
            let mut found = Vec::new();
            for (number, listed) in part {
                found.push((listed.id, look(&mut client, &listed, number % logs_each == 0).await));
            }
            found
        });
    }
    readers.join_all().await.into_iter().flatten().collect()
}

async fn look(client: &mut Client, listed: &pb::Task, with_log: bool) -> Found {
    let request = pb::GetRequest { task_id: listed.id };
    let task = client.get(request).await.expect("a task that was listed").into_inner().task.expect("a task");
    Found {
        ticket: number_in(&task.parameters_json, "ticket").unwrap_or_default(),
        state: task.state(),
        listed: listed.state(),
        token: task.token,
        failures: task.failure_count as u32,
        result: number_in(&task.result_json, "outcome"),
        error: task.error.parse().ok(),
        log: if with_log { Some(log(client, task.id).await) } else { None },
    }
}

async fn log(client: &mut Client, task_id: i64) -> Vec<(TaskEventKind, i64)> {
    let (mut events, mut page_token): (Vec<pb::TaskEvent>, _) = (Vec::new(), String::new());
    loop {
        let request = pb::LogsRequest { task_id, page_size: 1_000, page_token };
        let answer = client.logs(request).await.expect("a log").into_inner();
        events.extend(answer.events);
        if answer.next_page_token.is_empty() {
            return one_by_one(&events);
        }
        page_token = answer.next_page_token;
    }
}

/// Events that stand for several claims, as those of each.
fn one_by_one(events: &[pb::TaskEvent]) -> Vec<(TaskEventKind, i64)> {
    let claims = |event: &pb::TaskEvent| (event.first_token, event.token);
    let mut single = Vec::new();
    for group in events.chunk_by(|one, next| one.count > 1 && claims(one) == claims(next)) {
        for token in group[0].first_token..=group[0].token {
            single.extend(group.iter().map(|event| (event.kind(), token)));
        }
    }
    single
}
