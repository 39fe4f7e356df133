//! Those who enqueue: singly and in batches, never far ahead of the workers.

use std::time::Duration;

use super::caller::Caller;
use super::history::*;

/// So many tasks may wait.
const AHEAD: u64 = 1_500;

/// Enqueues until so many tasks are acknowledged, while all of the run's producers together have made `shares` times as many.
pub(crate) async fn enqueue_all(mut caller: Caller, tasks: u64, shares: u64) {
    let mut made = 0;
    while made < tasks {
        while made * shares > caller.recorder.finished() + AHEAD {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let batch = if caller.chance.once_in(2) { 1 } else { 1 + caller.chance.below(100) };
        let specs: Vec<_> = (0..batch.min(tasks - made)).map(|_| spec(&mut caller)).collect();
        // Some do not ask again when they get no answer: then nobody knows whether the tasks are there.
        let again = !caller.chance.once_in(10);
        if let Answer::Given(Reply::Enqueued(results)) = caller.enqueue(specs, again).await {
            made += results.iter().filter(|result| result.is_ok()).count() as u64;
        }
    }
}

fn spec(caller: &mut Caller) -> Spec {
    let ticket = caller.recorder.ticket();
    let chance = &mut caller.chance;
    Spec {
        ticket,
        max_retries: if chance.once_in(20) { 0 } else { 3 + chance.below(20) as u32 },
        timeout: chance.once_in(30).then_some(400_000),
        delay: if chance.once_in(20) { chance.below(500_000) } else { 0 },
    }
}
