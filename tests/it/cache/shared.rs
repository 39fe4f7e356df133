//! Two sidecars on one database: what is written through one is read through the other, and what one holds the other
//! respects. The memory of each may be older than the database by `cache.shared_age_ms_max` and no more.

use std::collections::HashSet;
use std::time::Duration;

use pannier_proto::cache::v1 as pb;
use pannier_proto::cache::v1::put_item::Condition;
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::items::{seconds, value_item, value_of};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

/// The default of `cache.shared_age_ms_max`.
const AGE_MAX: Duration = Duration::from_millis(1_000);

async fn two() -> (Pannier, Pannier) {
    let first = pannier().await;
    let second = first.beside().await;
    (first, second)
}

async fn value(pannier: &Pannier, key: &str) -> Option<Vec<u8>> {
    pannier.get("n", key).await.map(|entry| value_of(&entry).to_vec())
}

/// Nothing has analysed the tables yet; they grow under statements that were planned when they were empty.
#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn what_fills_a_new_database_is_planned_for_what_is_in_it() {
    const ROWS: i64 = 10_000;
    let pannier = pannier().await;
    for first in (0..ROWS).step_by(100) {
        let items = (first..first + 100).map(|number| value_item(format!("{number}"), "v")).collect();
        let request = pb::BatchPutRequest { namespace: "n".into(), items, ..Default::default() };
        pannier.cache.clone().batch_put(request).await.unwrap();
    }
    // The sessions of the sidecar have told the server what they have read when they end.
    let pannier = pannier.restart().await;
    let read = "SELECT CAST(sum(idx_tup_read) AS text) FROM pg_stat_user_indexes \
        WHERE schemaname = current_schema() AND relname = 'cache_entries'";
    let rows_read: i64 = pannier.rows_as_text(read).await[0][0].parse().unwrap();
    assert!(rows_read < 1_000 * ROWS, "{rows_read} index entries were read for {ROWS} new rows");
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn what_one_writes_the_other_reads_at_once_unless_it_had_it_in_memory() {
    let (first, second) = two().await;
    first.put("n", value_item("a", "one")).await;
    assert_eq!(value(&second, "a").await.unwrap(), b"one");
    first.put("n", value_item("a", "two")).await;
    assert_eq!(value(&first, "a").await.unwrap(), b"two", "each reads what it wrote itself");
    second.advance(AGE_MAX - Duration::from_millis(1));
    assert_eq!(value(&second, "a").await.unwrap(), b"one", "within the bound, from memory");
    second.advance(Duration::from_millis(1));
    assert_eq!(value(&second, "a").await.unwrap(), b"two", "never past the bound");
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn what_one_deletes_is_gone_for_the_other_past_the_bound() {
    let (first, second) = two().await;
    first.put_all("n", vec![value_item("a", "v"), value_item("b", "v")]).await;
    second.batch_get("n", ["a", "b"]).await;
    first.delete("n", &["a", "b"]).await;
    second.advance(AGE_MAX);
    assert_eq!(value(&second, "a").await, None);
    assert!(second.batch_get("n", ["b"]).await[0].entry.is_none());
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_bound_of_zero_serves_nothing_that_is_out_of_date() {
    let first = pannier_with(|settings| settings.cache.shared_age_ms_max = 0).await;
    let second = first.beside().await;
    for round in 0..20 {
        first.put("n", value_item("a", format!("{round}"))).await;
        assert_eq!(value(&second, "a").await.unwrap(), format!("{round}").as_bytes());
    }
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn limits_and_deletions_of_namespaces_reach_the_other_past_the_bound() {
    let (first, second) = two().await;
    first.put("n", value_item("old", "v")).await;
    assert!(value(&second, "old").await.is_some());
    first.delete_namespace("n").await;
    first.put("n", value_item("new", "v")).await;
    second.advance(AGE_MAX);
    assert_eq!(value(&second, "old").await, None);
    assert!(value(&second, "new").await.is_some());
    first.limit_entries("n", 1).await;
    second.put("n", value_item("newest", "v")).await;
    assert_eq!(first.keys("n").await, ["newest"], "limits hold for writes at once: these ask the database");
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_lease_given_by_one_is_respected_by_the_other_and_its_fill_wakes_those_who_wait_there() {
    let (first, second) = two().await;
    let token = first.lease("n", "a").await;
    let mut cache = second.cache.clone();
    let request = pb::GetOrLeaseRequest {
        namespace: "n".into(),
        key: "a".into(),
        wait_max: Some(seconds(30)),
        ..Default::default()
    };
    let waiter = tokio::spawn(async move { cache.get_or_lease(request).await.unwrap().into_inner() });
    for _ in 0..30 {
        second.exists("unrelated", &["a"]).await;
    }
    assert!(!waiter.is_finished(), "the other one's lease is held");
    first.put("n", pb::PutItem { lease_token: token, ..value_item("a", "filled") }).await;
    // The second one's clock stands still: only the wake-up can end the wait.
    let answer = tokio::time::timeout(Duration::from_secs(20), waiter).await.expect("woken").unwrap();
    assert_eq!(value_of(&answer.entry.unwrap()), b"filled");
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_fill_is_refused_when_the_other_one_has_the_lease_by_now() {
    let (first, second) = two().await;
    let late = first.lease("n", "a").await;
    first.advance_s(60);
    second.advance_s(60);
    let token = second.lease("n", "a").await;
    let fill = |token: &str| pb::PutItem { lease_token: token.into(), ..value_item("a", "v") };
    let status = first.try_put("n", fill(&late)).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::LeaseLost);
    first.put("n", fill(&token)).await;
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_request_id_is_answered_alike_by_both_and_done_once() {
    let (first, second) = two().await;
    for round in 0..10_u128 {
        let request = pb::BatchPutRequest {
            namespace: "n".into(),
            items: vec![value_item(format!("k{round}"), "v")],
            request_id: uuid::Uuid::from_u128(round + 1).to_string(),
            ..Default::default()
        };
        let calls = (0..8).map(|call| {
            let (mut cache, request) =
                (if call % 2 == 0 { &first } else { &second }.cache.clone(), request.clone());
            tokio::spawn(async move { cache.batch_put(request).await.unwrap().into_inner() })
        });
        let calls: Vec<_> = calls.collect();
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        let etag = &super::calls::put_of(answers[0].results[0].clone()).etag;
        assert_eq!(first.peek("n", &format!("k{round}")).await.unwrap().etag, *etag);
    }
    let other = pb::BatchPutRequest {
        namespace: "n".into(),
        items: vec![value_item("other", "v")],
        request_id: uuid::Uuid::from_u128(1).to_string(),
        ..Default::default()
    };
    let status = second.cache.clone().batch_put(other).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::RequestIdReused);
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn of_two_who_put_an_absent_key_one_is_the_first() {
    let (first, second) = two().await;
    for round in 0..30 {
        let item = |by: &str| pb::PutItem {
            condition: Some(Condition::IfAbsent(true)),
            ..value_item(format!("k{round}"), by)
        };
        let (a, b) = tokio::join!(first.try_put("n", item("first")), second.try_put("n", item("second")));
        let (winner, loser) = if a.is_ok() { ("first", b) } else { ("second", a) };
        assert_status(&loser.unwrap_err(), Code::AlreadyExists, ErrorReason::EntryExists);
        let entry = first.peek("n", &format!("k{round}")).await.unwrap();
        assert_eq!(
            first.get("n", &entry.key).await.map(|entry| value_of(&entry).to_vec()).unwrap(),
            winner.as_bytes()
        );
    }
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn counters_kept_by_etag_through_both_lose_no_step() {
    let first = pannier_with(|settings| settings.cache.shared_age_ms_max = 0).await;
    let second = first.beside().await;
    first.put("n", value_item("counter", "0")).await;
    let step = async |pannier: &Pannier| loop {
        let entry = pannier.get("n", "counter").await.unwrap();
        let count: u32 = std::str::from_utf8(value_of(&entry)).unwrap().parse().unwrap();
        let item = pb::PutItem {
            condition: Some(Condition::IfEtag(entry.etag)),
            ..value_item("counter", format!("{}", count + 1))
        };
        match pannier.try_put("n", item).await {
            Ok(_) => break,
            Err(status) => assert_status(&status, Code::Aborted, ErrorReason::EtagMismatch),
        }
    };
    let steps = async |pannier: &Pannier| {
        for _ in 0..25 {
            step(pannier).await;
        }
    };
    tokio::join!(steps(&first), steps(&second), steps(&first), steps(&second));
    assert_eq!(value(&first, "counter").await.unwrap(), b"100");
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn limits_and_counts_hold_while_both_write() {
    let (first, second) = two().await;
    first.limit_entries("n", 20).await;
    let storm = async |pannier: &Pannier, by: &str| {
        for round in 0..40 {
            let items =
                (0..3).map(|i| value_item(format!("{by}{}", (round * 3 + i) % 50), vec![1; round])).collect();
            pannier.put_all("n", items).await;
            if round % 5 == 0 {
                pannier.delete_by_prefix("n", &format!("{by}1")).await;
            }
        }
    };
    tokio::join!(storm(&first, "a"), storm(&second, "b"), storm(&first, "b"), storm(&second, "a"));
    let keys: HashSet<String> = first.keys("n").await.into_iter().collect();
    assert!(keys.len() <= 20, "{}", keys.len());
    let stats = second.stats("n").await;
    assert_eq!(stats.entry_count, i64::try_from(keys.len()).unwrap());
    let entries = first.entries("n").await;
    assert_eq!(stats.stored_bytes, entries.iter().map(|entry| entry.stored_bytes).sum::<i64>());
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn sidecars_that_start_at_once_on_an_empty_database_make_its_schema_once() {
    let first = pannier().await;
    let url = first.fresh_schema().await;
    let (a, b, c) = tokio::join!(first.beside_at(&url), first.beside_at(&url), first.beside_at(&url));
    a.put("n", value_item("a", "v")).await;
    for other in [&b, &c] {
        assert_eq!(other.keys("n").await, ["a"]);
    }
}

/// Other callers always come first: the time of this one runs out, and nobody has done anything wrong.
#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_write_that_is_overtaken_again_and_again_ends_as_one_whose_time_is_over() {
    for condition in [
        "CREATE FUNCTION overtake() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE unique_violation; END $$",
        "CREATE FUNCTION overtake() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE deadlock_detected; END $$",
    ] {
        let pannier = pannier().await;
        pannier.execute(condition).await;
        pannier
            .execute(
                "CREATE TRIGGER t BEFORE INSERT ON cache_entries FOR EACH ROW EXECUTE FUNCTION overtake()",
            )
            .await;
        let status = pannier.try_put("n", value_item("a", "v")).await.unwrap_err();
        assert_status(&status, Code::DeadlineExceeded, ErrorReason::DeadlineExceeded);
        assert_eq!(pannier.row_count("cache_namespaces").await, 0, "nothing is stored");
    }
}
