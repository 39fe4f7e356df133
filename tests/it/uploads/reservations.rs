//! Reservations: one holder at a time, tokens that go stale, ends by time.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::FileState::{Reserved, Unknown, Uploaded};
use pannier_proto::uploads::v1::RegisterOutcome::{Duplicate, Registered};
use prost_types::Duration;
use tonic::Code;

use super::calls::{file, hash, hashes, held_until, token, us};
use crate::harness::{Pannier, assert_status, pannier};

const TTL_US: i64 = 5 * 60 * 1_000_000;

fn held(number: u64, token: &str) -> pb::HeldReservation {
    pb::HeldReservation { sha256: hash(number), token: token.into() }
}

fn with_token(number: u64, token: &str) -> pb::NewFile {
    pb::NewFile { reservation_token: token.into(), ..file(number) }
}

/// Extends reservations by a time; tells of each when it ends, or none if it is lost.
async fn extend(pannier: &Pannier, reservations: Vec<pb::HeldReservation>, seconds: i64) -> Vec<Option<i64>> {
    let request = pb::ExtendReservationsRequest {
        service: "photos".into(),
        reservations,
        ttl: (seconds > 0).then_some(Duration { seconds, nanos: 0 }),
        ..Default::default()
    };
    let results = pannier.uploads().extend_reservations(request).await.unwrap().into_inner().results;
    let end = |result: pb::ExtendReservationResult| match result.outcome.unwrap() {
        pb::extend_reservation_result::Outcome::ExpireTime(time) => us(Some(&time)),
        pb::extend_reservation_result::Outcome::Error(error) => {
            assert_eq!(error.reason(), ErrorReason::UploadReservationLost);
            assert_eq!(error.code, Code::Aborted as i32);
            None
        }
    };
    results.into_iter().map(end).collect()
}

async fn assert_lost(pannier: &Pannier, session: &str, file: pb::NewFile) {
    let status = pannier.try_register(session, file).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::UploadReservationLost);
}

#[tokio::test]
async fn a_reserved_file_is_its_holders_until_it_is_registered() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let first = token(&pannier.reserve(1).await);
    assert_eq!(held_until(&pannier.reserve(1).await), pannier.now_us() + TTL_US);
    let result = pannier.try_register(&id, with_token(1, &first)).await.unwrap();
    assert_eq!(result.outcome(), Registered);
    match pannier.reserve(1).await.outcome.unwrap() {
        pb::reserve_file_result::Outcome::Uploaded(known) => {
            assert_eq!((known.sha256, known.path, known.session_id), (hash(1), "media/1.jpg".into(), id));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pannier.row_count("upload_reservations").await, 0);
}

#[tokio::test]
async fn a_reservation_ends_by_its_time_and_its_token_is_stale_then() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let first = token(&pannier.reserve(1).await);
    pannier.advance(std::time::Duration::from_micros(TTL_US as u64 - 1));
    held_until(&pannier.reserve(1).await);
    assert_eq!(pannier.states(vec![hash(1)]).await, [Reserved]);
    pannier.advance(std::time::Duration::from_micros(1));
    assert_eq!(pannier.states(vec![hash(1)]).await, [Unknown]);
    assert_lost(&pannier, &id, with_token(1, &first)).await;

    let second = token(&pannier.reserve(1).await);
    assert_ne!(first, second);
    assert_lost(&pannier, &id, with_token(1, &first)).await;
    assert_eq!(pannier.release_files(vec![held(1, &first)]).await, [false]);
    assert_eq!(extend(&pannier, vec![held(1, &first)], 0).await, [None]);
    assert_eq!(pannier.register(&id, with_token(1, &second)).await, Registered);
    // It is known by now: who comes late is told of a duplicate, not of an error.
    assert_eq!(pannier.register(&id, with_token(1, &first)).await, Duplicate);
    assert_eq!(pannier.get_session(&id).await.processed_count, 2);
}

#[tokio::test]
async fn who_has_no_token_is_refused_while_another_holds_the_file() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.reserve(1).await;
    let status = pannier.try_register(&id, file(1)).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::UploadFileReserved);
    assert_eq!(pannier.get_session(&id).await.processed_count, 0);
    pannier.advance(std::time::Duration::from_micros(TTL_US as u64));
    assert_eq!(pannier.register(&id, file(1)).await, Registered, "nobody holds it any more");
}

#[tokio::test]
async fn a_released_file_is_free_at_once() {
    let pannier = pannier().await;
    let first = token(&pannier.reserve(1).await);
    let answer = pannier.release_files(vec![held(1, &first), held(2, &first), held(1, &first)]).await;
    assert_eq!(answer, [true, false, true], "each as it was before the call");
    assert_eq!(pannier.states(vec![hash(1)]).await, [Unknown]);
    let second = token(&pannier.reserve(1).await);
    assert_eq!(pannier.release_files(vec![held(1, &first)]).await, [false]);
    assert_lost(&pannier, "", with_token(1, &first)).await;
    assert_eq!(pannier.register("", with_token(1, &second)).await, Registered);
}

#[tokio::test]
async fn an_extended_reservation_ends_later() {
    let pannier = pannier().await;
    let first = token(&pannier.reserve(1).await);
    pannier.advance_s(290);
    let ends = extend(&pannier, vec![held(1, &first), held(2, &first)], 100).await;
    assert_eq!(ends, [Some(pannier.now_us() + 100_000_000), None]);
    pannier.advance_s(99);
    assert_eq!(held_until(&pannier.reserve(1).await), pannier.now_us() + 1_000_000);
    assert_eq!(extend(&pannier, vec![held(1, &first)], 0).await, [Some(pannier.now_us() + TTL_US)]);
    pannier.advance_s(300);
    assert_eq!(extend(&pannier, vec![held(1, &first)], 0).await, [None], "over is over");
}

#[tokio::test]
async fn a_batch_reserves_what_is_free_and_tells_of_the_others() {
    use pb::reserve_file_result::Outcome;
    let pannier = pannier().await;
    pannier.register_all("", super::calls::files(0..3)).await;
    pannier.reserve_all(hashes(3..5)).await;
    let mut asked = hashes(0..8);
    asked.reverse();
    asked.push(hash(7));
    let results = pannier.reserve_all(asked).await;
    let kinds: Vec<&str> = results
        .iter()
        .map(|result| match result.outcome {
            Some(Outcome::Reserved(_)) => "reserved",
            Some(Outcome::Uploaded(_)) => "uploaded",
            Some(Outcome::HeldUntilTime(_)) => "held",
            Some(Outcome::Error(_)) => "error",
            None => "nothing",
        })
        .collect();
    let expected =
        ["reserved", "reserved", "reserved", "held", "held", "uploaded", "uploaded", "uploaded", "held"];
    assert_eq!(kinds, expected);
    let tokens: std::collections::BTreeSet<String> = results[..3].iter().map(token).collect();
    assert_eq!(tokens.len(), 3, "each has its own");
    let states = pannier.states(hashes(0..9)).await;
    assert_eq!(states[..3], [Uploaded; 3]);
    assert_eq!(states[3..8], [Reserved; 5]);
    assert_eq!(states[8], Unknown);
}

#[tokio::test]
async fn reservations_of_one_service_are_none_of_another() {
    let pannier = pannier().await;
    let first = token(&pannier.reserve(1).await);
    let request = pb::ReserveFileRequest { service: "drive".into(), sha256: hash(1), ..Default::default() };
    let second = pannier.uploads().reserve_file(request).await.unwrap().into_inner().result.unwrap();
    let second = token(&second);
    assert_lost(&pannier, "", with_token(1, &second)).await;
    let elsewhere = pb::NewFile { service: "drive".into(), ..with_token(1, &first) };
    assert_lost(&pannier, "", elsewhere).await;
    assert_eq!(pannier.register("", with_token(1, &first)).await, Registered);
    let elsewhere = pb::NewFile { service: "drive".into(), ..with_token(1, &second) };
    assert_eq!(pannier.register("", elsewhere).await, Registered);
}

#[tokio::test]
async fn what_one_file_of_a_batch_runs_into_is_told_at_its_place() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let first = token(&pannier.reserve(1).await);
    pannier.reserve(2).await;
    let batch = vec![file(0), with_token(1, &first), file(2), with_token(3, &first), file(4)];
    let answer = pannier.try_register_all(&id, batch).await.unwrap();
    let reasons: Vec<Option<ErrorReason>> =
        answer.results.iter().map(|result| result.error.as_ref().map(|error| error.reason())).collect();
    let (reserved, lost) = (ErrorReason::UploadFileReserved, ErrorReason::UploadReservationLost);
    assert_eq!(reasons, [None, None, Some(reserved), Some(lost), None]);
    let session = answer.session.unwrap();
    assert_eq!((session.success_count, session.processed_count), (3, 3));
    assert_eq!(session.last_processed_file, "media/4.jpg");
    assert_eq!(pannier.states(hashes(0..5)).await, [Uploaded, Uploaded, Reserved, Unknown, Uploaded]);
}

#[tokio::test]
async fn the_holder_of_a_file_that_an_index_brought_finds_it_known() {
    let pannier = pannier().await;
    let first = token(&pannier.reserve(1).await);
    let line = format!(r#"{{"service":"photos","sha256":"{}","path":"a","size_bytes":1}}"#, hash(1));
    assert_eq!(pannier.try_import(vec![line]).await.unwrap().added_count, 1);
    assert_eq!(pannier.register("", with_token(1, &first)).await, Duplicate);
    assert_eq!(pannier.row_count("upload_reservations").await, 0);
}

#[tokio::test]
async fn reservations_that_ran_out_are_removed_in_steps() {
    let pannier = pannier().await;
    pannier.reserve_all(hashes(0..700)).await;
    pannier.advance_s(200);
    pannier.reserve_all(hashes(700..710)).await;
    pannier.advance_s(110);
    for _ in 0..50 {
        pannier.advance_s(1);
        pannier.states(vec![hash(1)]).await;
        if pannier.row_count("upload_reservations").await == 10 {
            break;
        }
    }
    assert_eq!(pannier.row_count("upload_reservations").await, 10);
    held_until(&pannier.reserve(705).await);
    token(&pannier.reserve(5).await);
}

#[tokio::test]
async fn reservations_survive_a_restart() {
    let pannier = pannier().await;
    let first = token(&pannier.reserve(1).await);
    let pannier = pannier.restart().await;
    held_until(&pannier.reserve(1).await);
    assert_eq!(pannier.register("", with_token(1, &first)).await, Registered);
}
