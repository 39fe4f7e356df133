//! The order of claims: strict priority, ageing, FIFO and LIFO, per queue and per claim.

use pannier_proto::queue::v1 as pb;

use super::calls::{claiming, failed, item, numbered, numbers, released, seconds};
use crate::harness::{Pannier, pannier};

fn urgent(priority: i32, number: i64) -> pb::EnqueueItem {
    pb::EnqueueItem { priority, ..numbered("a", number) }
}

async fn make_lifo(pannier: &Pannier) {
    let queue = pb::Queue { order: pb::Order::Lifo.into(), ..Default::default() };
    assert_eq!(pannier.update_queue(queue, &["order"]).await.order(), pb::Order::Lifo);
}

#[tokio::test]
async fn the_highest_priority_goes_first_and_equals_in_the_order_they_came() {
    let pannier = pannier().await;
    let items = [(1, 0), (5, 1), (10, 2), (0, 3), (10, 4), (6, 5)];
    pannier.enqueue_all(items.map(|(priority, number)| urgent(priority, number)).to_vec()).await;
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [2, 4, 5, 1, 3, 0]);
}

#[tokio::test]
async fn priorities_hold_across_types() {
    let pannier = pannier().await;
    for (number, kind) in (0..30).zip(["a", "b", "c"].into_iter().cycle()) {
        let priority = i32::try_from(number % 10).unwrap() + 1;
        pannier.enqueue(pb::EnqueueItem { priority, ..numbered(kind, number) }).await;
    }
    let mut priorities = Vec::new();
    for count in [1, 3, 1, 7, 100] {
        priorities.extend(pannier.claim(&[], count).await.into_iter().map(|task| task.priority));
    }
    assert_eq!(priorities.len(), 30);
    assert!(priorities.is_sorted_by(|a, b| a >= b), "{priorities:?}");
}

#[tokio::test]
async fn without_ageing_the_highest_priority_goes_first_however_long_others_have_waited() {
    let pannier = pannier().await;
    pannier.enqueue(urgent(1, 1)).await;
    pannier.advance_s(365 * 24 * 3_600);
    pannier.enqueue(urgent(2, 2)).await;
    pannier.advance_s(3_600);
    pannier.enqueue(urgent(10, 3)).await;
    let stats = &pannier.queue_stats().await[0];
    let waits: Vec<_> = stats
        .priority_waits
        .iter()
        .map(|wait| (wait.priority, wait.oldest_wait.unwrap().seconds / 3_600))
        .collect();
    assert_eq!(waits, [(10, 0), (2, 1), (1, 365 * 24 + 1)], "the oldest wait of each priority");
    assert_eq!(stats.next_task_wait.unwrap().seconds, 0);
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [3, 2, 1]);
}

async fn let_age(pannier: &Pannier, seconds_each: i64) {
    let queue = pb::Queue { ageing: Some(seconds(seconds_each)), ..Default::default() };
    let queue = pannier.update_queue(queue, &["ageing"]).await;
    assert_eq!(queue.ageing, Some(seconds(seconds_each)));
}

#[tokio::test]
async fn with_ageing_a_level_of_priority_is_worth_so_much_waiting() {
    let pannier = pannier().await;
    let_age(&pannier, 3_600).await;
    pannier.enqueue(urgent(1, 1)).await;
    pannier.advance_s(9 * 3_600 - 1);
    pannier.enqueue(urgent(10, 2)).await;
    pannier.advance_s(2);
    pannier.enqueue(urgent(10, 3)).await;
    let head = pannier.queue_stats().await[0].next_task_wait.unwrap();
    assert_eq!(head.seconds, 2, "the task that is claimed next");
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [2, 1, 3]);
}

#[tokio::test]
async fn with_ageing_the_least_urgent_is_claimed_in_time_under_a_flood_of_urgent_tasks() {
    let pannier = pannier().await;
    let_age(&pannier, 3_600).await;
    pannier.enqueue(urgent(1, 0)).await;
    // Every ten minutes two urgent tasks come and one is claimed: there is always an urgent one in line.
    let mut rounds = 0;
    loop {
        pannier.enqueue_all(vec![urgent(10, 1), urgent(10, 1)]).await;
        let task = pannier.claim_one().await;
        pannier.try_complete(&task).await.unwrap();
        if numbers(&[task]) == [0] {
            break;
        }
        rounds += 1;
        assert!(rounds < 200, "it starves");
        pannier.advance_s(600);
    }
    // It is passed by those that came within nine hours after it: twice 54, of which one a round was claimed.
    assert!((106..=111).contains(&rounds), "after {rounds} rounds");
}

#[tokio::test]
async fn a_claim_may_choose_its_order() {
    use pb::ClaimOrder::{Fifo, Lifo, Priority, QueueDefault, Unspecified};
    let priorities = [5, 1, 10, 5, 10, 1];
    let cases = [
        (Unspecified, false, [2, 4, 0, 3, 1, 5]),
        (QueueDefault, true, [4, 2, 3, 0, 5, 1]),
        (Priority, false, [2, 4, 0, 3, 1, 5]),
        (Fifo, true, [0, 1, 2, 3, 4, 5]),
        (Lifo, false, [5, 4, 3, 2, 1, 0]),
    ];
    for kinds in [&["a"][..], &["a", "b"]] {
        for (order, is_lifo, expected) in cases {
            for count in [1, 2, 6] {
                let pannier = pannier().await;
                if is_lifo {
                    make_lifo(&pannier).await;
                }
                for (number, priority) in (0..).zip(priorities) {
                    let kind = kinds[number as usize % kinds.len()].into();
                    pannier.enqueue(pb::EnqueueItem { r#type: kind, ..urgent(priority, number) }).await;
                }
                let mut taken = Vec::new();
                for _ in 0..6 {
                    let claim = pb::Claiming { order: order.into(), ..claiming(&[], count) };
                    taken.extend(numbers(&pannier.try_claim(claim).await.unwrap()));
                }
                assert_eq!(taken, expected, "{order:?} {kinds:?} {count}");
            }
        }
    }
}

#[tokio::test]
async fn blocked_tasks_come_back_in_the_order_of_their_queue() {
    for (is_lifo, ageing_s, expected) in
        [(false, 0, [1, 3, 0, 2]), (true, 0, [3, 1, 2, 0]), (false, 6, [0, 1, 2, 3])]
    {
        let pannier = pannier().await;
        if is_lifo {
            make_lifo(&pannier).await;
        }
        let_age(&pannier, ageing_s).await;
        let limits = Some(pb::KeyLimits { held_max: 1, ..Default::default() });
        pannier.update_queue(pb::Queue { key_limits: limits, ..Default::default() }, &["key_limits"]).await;
        let keyed = |priority, number| pb::EnqueueItem { limit_key: "k".into(), ..urgent(priority, number) };
        pannier.enqueue(keyed(5, 9)).await;
        let mut held = pannier.claim_one().await;
        for (number, priority) in (0..).zip([4, 5, 4, 5]) {
            pannier.enqueue(keyed(priority, number)).await;
            pannier.advance_s(10);
        }
        let mut taken = Vec::new();
        for _ in 0..4 {
            pannier.try_complete(&held).await.unwrap();
            held = pannier.claim_one().await;
            taken.extend(numbers(std::slice::from_ref(&held)));
        }
        assert_eq!(taken, expected, "is_lifo {is_lifo} ageing {ageing_s}");
    }
}

#[tokio::test]
async fn in_a_lifo_queue_the_newest_goes_first_and_priority_still_counts() {
    let pannier = pannier().await;
    make_lifo(&pannier).await;
    pannier.enqueue_all(vec![urgent(5, 0), urgent(5, 1), urgent(7, 2), urgent(5, 3)]).await;
    pannier.enqueue(urgent(5, 4)).await;
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [2, 4, 3, 1, 0]);
}

#[tokio::test]
async fn a_change_of_order_holds_for_all_that_is_queued() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![urgent(5, 0), urgent(5, 1)]).await;
    make_lifo(&pannier).await;
    pannier.enqueue_all(vec![urgent(5, 2), urgent(5, 3)]).await;
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [3, 2, 1, 0]);
}

#[tokio::test]
async fn the_time_a_task_was_enqueued_is_told_in_both_orders_and_after_retries() {
    let pannier = pannier().await;
    for is_lifo in [false, true] {
        if is_lifo {
            make_lifo(&pannier).await;
        }
        let id = pannier.enqueue(urgent(8, 0)).await;
        let created = pannier.task(id).await.create_time;
        assert!((super::calls::us(created.as_ref()).unwrap() - pannier.now_us()).abs() < 1_000);
        for what in [released(), failed("e")] {
            pannier.advance_s(10);
            let task = pannier.claim_one().await;
            assert_eq!((task.id, task.create_time), (id, created));
            pannier.tell(&task, what).await;
            assert_eq!(pannier.task(id).await.create_time, created);
        }
        pannier.advance_s(10);
        let task = pannier.claim_one().await;
        pannier.try_complete(&task).await.unwrap();
        assert_eq!(pannier.task(id).await.create_time, created);
    }
}

#[tokio::test]
async fn a_batch_claim_takes_as_many_as_there_are_up_to_its_number() {
    let pannier = pannier().await;
    pannier
        .enqueue_all((0..700).map(|number| numbered(["a", "b"][number as usize % 2], number)).collect())
        .await;
    let first = pannier.claim(&[], 600).await;
    assert_eq!(numbers(&first), (0..600).collect::<Vec<_>>());
    let rest = pannier.claim(&["b", "a"], 600).await;
    assert_eq!(numbers(&rest), (600..700).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_claim_ends_where_its_answer_would_be_too_large() {
    let pannier = crate::harness::pannier_with(|settings| {
        settings.queue.parameters_bytes_max = 1_000;
        settings.queue.result_bytes_max = 1_000;
        settings.server.response_bytes_max = 4_000;
    })
    .await;
    let large = pb::EnqueueItem { parameters_json: format!("\"{}\"", "x".repeat(998)), ..item("a") };
    pannier.enqueue_all(vec![large; 5]).await;
    for expected in [2, 2, 1, 0] {
        assert_eq!(pannier.try_claim(claiming(&[], 5)).await.unwrap().len(), expected);
    }
}
