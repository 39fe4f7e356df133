//! Sync: outcomes of mutations, repeated pushes, what is out of order.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use pannier_proto::records::v1::SyncOutcome::{Applied, Conflict, Rejected};
use pannier_proto::records::v1::sync_mutation::{Base, What};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::calls::{mutation, pull, put, told};
use super::documents::with_collection;
use crate::harness::{assert_status, pannier_with, violated_fields};

fn outcomes(answer: &pb::SyncResponse) -> Vec<(pb::SyncOutcome, i64)> {
    answer.results.iter().map(|result| (result.outcome(), result.revision)).collect()
}

fn put_json(document: &str) -> What {
    What::PutJson(document.into())
}

#[tokio::test]
async fn mutations_are_applied_in_order_where_their_base_is_what_the_client_saw() {
    let pannier = with_collection().await;
    pannier.put_record("seen", "{}").await;
    pannier.put_record("changed", "{}").await;
    pannier.put_record("changed", r#"{"by":"server"}"#).await;
    pannier.put_record("gone", "{}").await;
    pannier.delete_record("gone").await;
    let client = pannier.sync_client().await;
    let mutations = vec![
        mutation(1, "seen", Some(Base::Revision(1)), put_json(r#"{"n":1}"#)),
        mutation(2, "changed", Some(Base::Revision(2)), put_json("{}")),
        mutation(3, "new", Some(Base::Absent(true)), put_json("{}")),
        mutation(4, "new", Some(Base::Absent(true)), put_json("{}")),
        mutation(5, "gone", Some(Base::Revision(4)), What::PatchJson(r#"{"n":1}"#.into())),
        mutation(6, "gone", Some(Base::Revision(4)), What::Delete(true)),
        mutation(7, "seen", Some(Base::AfterMutationId(1)), What::PatchJson(r#"{"m":2}"#.into())),
        mutation(8, "changed", Some(Base::AfterMutationId(2)), What::Delete(true)),
        mutation(9, "seen", Some(Base::AfterMutationId(7)), What::Delete(true)),
        mutation(10, "changed", None, put_json(r#"{"by":"client"}"#)),
    ];
    let answer = pannier.push(&client, 0, mutations.clone()).await.unwrap();
    let expected = [
        (Applied, 6),
        (Conflict, 0),
        (Applied, 7),
        (Conflict, 0),
        (Conflict, 0),
        (Applied, 0),
        (Applied, 8),
        (Conflict, 0),
        (Applied, 9),
        (Applied, 10),
    ];
    assert_eq!((outcomes(&answer), answer.last_mutation_id), (expected.to_vec(), 10));
    let tombstone = answer.results[4].record.clone().unwrap();
    assert!(tombstone.deleted && tombstone.revision == 5);
    let server = answer.results[1].record.clone().unwrap();
    assert_eq!(server.document_json, r#"{"by":"client"}"#, "as it is after the push");
    let (all, cursor) = pannier.all_changes("", 0).await;
    for from in 0..10 {
        let again = pannier.push(&client, 0, mutations[from..].to_vec()).await.unwrap();
        assert_eq!(outcomes(&again), expected[from..], "from {from}");
    }
    for to in 1..10 {
        let again = pannier.push(&client, 0, mutations[..to].to_vec()).await.unwrap();
        assert_eq!(outcomes(&again), expected[..to], "to {to}");
        assert_eq!(again.last_mutation_id, 10);
    }
    assert_eq!(pannier.all_changes("", 0).await.0, all);
    assert!(pannier.all_changes(&cursor, 0).await.0.is_empty(), "repeated pushes change nothing");
    pannier.push(&client, 10, Vec::new()).await.unwrap();
    assert_eq!(
        pannier.row_count("record_mutations").await,
        1,
        "of acknowledged outcomes the deletion that found nothing is kept"
    );
}

#[tokio::test]
async fn what_cannot_be_applied_is_rejected_alone_and_stays_rejected() {
    let pannier = with_collection().await;
    let client = pannier.sync_client().await;
    let elsewhere = pb::SyncMutation { collection: "unknown".into(), ..put(4, "a", "{}") };
    let mutations = vec![
        put(1, "a", "{"),
        put(2, "", "{}"),
        put(3, "a", &format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65))),
        elsewhere,
        put(5, "a", "{}"),
        mutation(6, "b", Some(Base::AfterMutationId(1)), put_json("{}")),
    ];
    let answer = pannier.push(&client, 0, mutations.clone()).await.unwrap();
    let expected = [(Rejected, 0), (Rejected, 0), (Rejected, 0), (Rejected, 0), (Applied, 1), (Conflict, 0)];
    assert_eq!(outcomes(&answer), expected);
    let reasons: Vec<_> = answer
        .results
        .iter()
        .map(|result| result.error.as_ref().map(pannier_proto::errors::v1::ItemError::reason))
        .collect();
    let invalid = Some(ErrorReason::InvalidArgument);
    let expected = [invalid, invalid, invalid, Some(ErrorReason::CollectionNotFound), None, None];
    assert_eq!(reasons, expected);
    pannier.make_collection("unknown").await;
    let again = pannier.push(&client, 0, mutations).await.unwrap();
    assert_eq!(again.results, answer.results, "the same, though the collection be there by now");
}

#[tokio::test]
async fn a_pull_tells_what_was_pushed_and_what_others_did() {
    let pannier = with_collection().await;
    pannier.make_collection("d").await;
    pannier.put_record("by server", "{}").await;
    let client_id = pannier.sync_client().await;
    let of_d = pb::SyncPull { collection: "d".into(), cursor: String::new() };
    let unknown = pb::SyncPull { collection: "unknown".into(), cursor: String::new() };
    let (_, cursor) = pannier.all_changes("", 0).await;
    let foreign = pb::SyncPull { collection: "e".into(), cursor: cursor.clone() };
    let request = pb::SyncRequest {
        client_id: client_id.clone(),
        mutations: vec![put(1, "by client", "{}")],
        pulls: vec![pull(""), of_d, unknown, foreign],
        page_size: 1,
        ..Default::default()
    };
    let answer = pannier.try_sync(request).await.unwrap();
    let [of_c, of_d, unknown, foreign] = &answer.pulls[..] else { panic!("{answer:?}") };
    assert_eq!((told(&of_c.changes), of_c.more), (vec![("by server", Some("{}"))], true));
    assert!(of_d.changes.is_empty() && !of_d.more && !of_d.cursor.is_empty());
    assert_eq!(unknown.error.as_ref().unwrap().reason(), ErrorReason::CollectionNotFound);
    assert_eq!(foreign.error.as_ref().unwrap().reason(), ErrorReason::CursorInvalid);
    let request = pb::SyncRequest {
        client_id,
        last_mutation_id: 1,
        pulls: vec![pull(&of_c.cursor)],
        ..Default::default()
    };
    let answer = pannier.try_sync(request).await.unwrap();
    assert_eq!(told(&answer.pulls[0].changes), [("by client", Some("{}"))]);
    assert!(!answer.pulls[0].more);
}

#[tokio::test]
async fn a_push_that_does_not_go_on_from_what_is_known_is_refused_whole() {
    let pannier = with_collection().await;
    let client = pannier.sync_client().await;
    let gap = pannier.push(&client, 0, vec![put(2, "a", "{}")]).await.unwrap_err();
    assert_status(&gap, Code::FailedPrecondition, ErrorReason::SyncOutOfOrder);
    let metadata = gap.get_error_details().error_info().unwrap().metadata.clone();
    assert_eq!(metadata.get("expected_mutation_id").map(String::as_str), Some("1"));
    pannier.push(&client, 0, vec![put(1, "a", "{}"), put(2, "a", r#"{"n":2}"#)]).await.unwrap();
    let other = vec![put(1, "a", "{}"), put(2, "a", "{ }"), put(3, "b", "{}")];
    let reused = pannier.push(&client, 0, other).await.unwrap_err();
    assert_status(&reused, Code::InvalidArgument, ErrorReason::SyncMutationReused);
    assert_eq!(pannier.document("b").await, None);
    let ahead = pannier.push(&client, 3, Vec::new()).await.unwrap_err();
    assert_status(&ahead, Code::FailedPrecondition, ErrorReason::SyncClientUnknown);
    let unknown = pannier.push("5f0f3c5e-6a3b-4d0e-9d57-0b8f7c2a1e11", 0, Vec::new()).await.unwrap_err();
    assert_status(&unknown, Code::FailedPrecondition, ErrorReason::SyncClientUnknown);
    pannier.push(&client, 2, Vec::new()).await.unwrap();
    let late = pannier.push(&client, 0, vec![put(1, "a", "{}")]).await.unwrap_err();
    assert_status(&late, Code::FailedPrecondition, ErrorReason::SyncOutOfOrder);
}

#[tokio::test]
async fn bad_pushes_are_told_whole() {
    let pannier = with_collection().await;
    let client_id = pannier.sync_client().await;
    let mutations = vec![
        put(3, "a", "{}"),
        mutation(5, "a", Some(Base::Absent(false)), What::Delete(false)),
        pb::SyncMutation { what: None, ..put(6, "a", "{}") },
        mutation(7, "a", Some(Base::AfterMutationId(7)), put_json("{}")),
        mutation(8, "a", Some(Base::Revision(0)), put_json("{}")),
    ];
    let pulls = vec![pull(""), pull(""), pb::SyncPull { collection: "No".into(), cursor: String::new() }];
    let request = pb::SyncRequest { client_id, last_mutation_id: 3, mutations, pulls, page_size: -1 };
    let expected = [
        "mutations[0].mutation_id",
        "mutations[1].absent",
        "mutations[1].delete",
        "mutations[1].mutation_id",
        "mutations[2].what",
        "mutations[3].after_mutation_id",
        "mutations[4].revision",
        "page_size",
        "pulls[1].collection",
        "pulls[2].collection",
    ];
    assert_eq!(violated_fields(&pannier.try_sync(request).await.unwrap_err()), expected);
    let nobody = pb::SyncRequest { mutations: vec![put(1, "a", "{}")], ..Default::default() };
    assert_eq!(violated_fields(&pannier.try_sync(nobody).await.unwrap_err()), ["client_id"]);
    let wrong = pb::SyncRequest { client_id: "me".into(), ..Default::default() };
    assert_eq!(violated_fields(&pannier.try_sync(wrong).await.unwrap_err()), ["client_id"]);
}

#[tokio::test]
async fn clients_and_their_outcomes_are_bounded() {
    let pannier = pannier_with(|settings| {
        settings.records.clients_max = 1;
        settings.records.sync_mutations_max = 2;
        settings.records.sync_outcomes_max = 3;
    })
    .await;
    pannier.make_collection("c").await;
    let client = pannier.sync_client().await;
    let refused = pannier.try_sync(pb::SyncRequest::default()).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::TooManySyncClients);
    let pair = |first| vec![put(first, "a", "{}"), put(first + 1, "a", "{}")];
    let three = vec![put(1, "a", "{}"), put(2, "a", "{}"), put(3, "a", "{}")];
    assert_eq!(violated_fields(&pannier.push(&client, 0, three).await.unwrap_err()), ["mutations"]);
    pannier.push(&client, 0, pair(1)).await.unwrap();
    let refused = pannier.push(&client, 0, pair(3)).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::SyncUnacknowledged);
    pannier.push(&client, 2, pair(3)).await.unwrap();
}

#[tokio::test]
async fn a_put_after_a_deletion_that_found_nothing_is_applied_unless_a_record_came_in_between() {
    let pannier = with_collection().await;
    pannier.put_record("gone", "{}").await;
    pannier.delete_record("gone").await;
    let client = pannier.sync_client().await;
    let delete = |id, key| mutation(id, key, Some(Base::Absent(true)), What::Delete(true));
    let put_after = |id, key, after| mutation(id, key, Some(Base::AfterMutationId(after)), put_json("{}"));
    let same_push = vec![delete(1, "a"), put_after(2, "a", 1), delete(3, "gone"), put_after(4, "gone", 3)];
    let answer = pannier.push(&client, 0, same_push).await.unwrap();
    assert_eq!(outcomes(&answer), [(Applied, 0), (Applied, 3), (Applied, 0), (Applied, 4)]);
    // In pushes of their own, with the first outcome acknowledged in between.
    pannier.push(&client, 4, vec![delete(5, "b"), delete(6, "d")]).await.unwrap();
    pannier.push(&client, 6, Vec::new()).await.unwrap();
    pannier.put_record("d", "{}").await;
    let later = vec![put_after(7, "b", 5), put_after(8, "d", 6)];
    let answer = pannier.push(&client, 6, later.clone()).await.unwrap();
    assert_eq!(outcomes(&answer), [(Applied, 6), (Conflict, 0)]);
    assert_eq!(pannier.push(&client, 6, later).await.unwrap(), answer);
}
