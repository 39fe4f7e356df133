//! Errors of paths: counted once, tried again by policy, resolved when the file succeeds.

use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::RegisterOutcome::{Duplicate, Registered};
use prost_types::Duration;

use super::calls::{counts, file, files, us};
use crate::harness::pannier;

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

fn all(session_id: &str) -> pb::ListErrorsRequest {
    pb::ListErrorsRequest { session_id: session_id.into(), include_resolved: true, ..Default::default() }
}

#[tokio::test]
async fn the_same_path_again_raises_its_retry_count_and_not_the_sessions() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    assert_eq!(pannier.record_error(&id, "a", "network").await, 0);
    let first_us = pannier.now_us();
    pannier.advance_s(10);
    let answer = pannier.try_record_error(&id, "a", "quota").await.unwrap();
    let error = answer.error.unwrap();
    assert_eq!((error.r#type.as_str(), error.message.as_str()), ("quota", "quota happened"));
    assert_eq!((error.retry_count, error.resolve_time), (1, None));
    assert_eq!(us(error.create_time.as_ref()), Some(first_us));
    assert_eq!(us(error.update_time.as_ref()), Some(pannier.now_us()));
    assert_eq!(counts(answer.session.as_ref().unwrap()), (None, 1, 0, 1, 0));
    assert_eq!(answer.session.unwrap().last_processed_file, "a");
    assert_eq!(pannier.record_error(&id, "b", "quota").await, 0);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 2, 0, 2, 0));
    // Another session's path is another.
    let other = pannier.session().await;
    assert_eq!(pannier.record_error(&other, "a", "network").await, 0);
    assert_eq!(pannier.errors(all(&id)).await.len(), 2);
    assert_eq!(pannier.errors(all(&id)).await[0], error);
}

#[tokio::test]
async fn an_error_says_where_to_resume_unless_its_caller_does() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let request = pb::RecordErrorRequest {
        session_id: id.clone(),
        path: "z".into(),
        r#type: "network".into(),
        last_processed_file: Some("m".into()),
        ..Default::default()
    };
    let answer = pannier.uploads().record_error(request).await.unwrap().into_inner();
    assert_eq!(answer.session.unwrap().last_processed_file, "m");
    pannier.record_error(&id, "n", "network").await;
    assert_eq!(pannier.get_session(&id).await.last_processed_file, "n");
}

#[tokio::test]
async fn a_file_that_succeeds_resolves_the_error_of_its_path() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    for number in 0..3 {
        pannier.record_error(&id, &format!("media/{number}.jpg"), "network").await;
    }
    let other = pannier.session().await;
    pannier.record_error(&other, "media/0.jpg", "network").await;
    pannier.advance_s(5);
    assert_eq!(pannier.register(&id, file(0)).await, Registered);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 3, 1, 2, 0));
    // A duplicate is there as well.
    let again = pb::NewFile { path: "media/1.jpg".into(), ..file(0) };
    assert_eq!(pannier.register(&id, again).await, Duplicate);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 3, 1, 1, 1));
    let open = pb::ListErrorsRequest { include_resolved: false, ..all(&id) };
    let open: Vec<String> = pannier.errors(open).await.into_iter().map(|error| error.path).collect();
    assert_eq!(open, ["media/2.jpg"]);
    let listed = pannier.errors(all(&id)).await;
    assert_eq!(us(listed[0].resolve_time.as_ref()), Some(pannier.now_us()));
    assert_eq!(pannier.get_session(&other).await.error_count, 1, "another session's error stays");

    // What fails again after all is open again, and goes on counting.
    assert_eq!(pannier.record_error(&id, "media/0.jpg", "gone").await, 1);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 4, 1, 2, 1));
    assert_eq!(pannier.errors(all(&id)).await[0].resolve_time, None);
}

#[tokio::test]
async fn a_batch_resolves_each_path_once() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    for number in 0..300 {
        pannier.record_error(&id, &format!("media/{number}.jpg"), "network").await;
    }
    let mut batch = files(0..290);
    batch.extend((0..290).map(|number| pb::NewFile { path: format!("media/{number}.jpg"), ..file(0) }));
    pannier.register_all(&id, batch).await;
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 590, 290, 10, 290));
    let open = pb::ListErrorsRequest { include_resolved: false, ..all(&id) };
    assert_eq!(pannier.errors(open).await.len(), 10);
}

#[tokio::test]
async fn a_refused_file_resolves_nothing() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.record_error(&id, "media/1.jpg", "network").await;
    pannier.reserve(1).await;
    pannier.try_register(&id, file(1)).await.unwrap_err();
    pannier.register_all(&id, vec![file(1), file(2)]).await;
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 2, 1, 1, 0));
}

#[tokio::test]
async fn errors_are_listed_by_type_and_page() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    for number in 0..150 {
        let kind = if number % 3 == 0 { "quota" } else { "network" };
        pannier.record_error(&id, &format!("{number:04}"), kind).await;
    }
    pannier.register(&id, pb::NewFile { path: "0003".into(), ..file(1) }).await;
    for page_size in [1, 7, 64, 0] {
        let quota = pb::ListErrorsRequest { r#type: "quota".into(), page_size, ..all(&id) };
        let paths: Vec<String> =
            pannier.errors(quota.clone()).await.into_iter().map(|error| error.path).collect();
        let expected: Vec<String> = (0..150).step_by(3).map(|number| format!("{number:04}")).collect();
        assert_eq!(paths, expected);
        let open = pb::ListErrorsRequest { include_resolved: false, ..quota };
        assert_eq!(pannier.errors(open).await.len(), 49);
    }
    let none = pb::ListErrorsRequest { r#type: "other".into(), ..all(&id) };
    assert!(pannier.errors(none).await.is_empty());
}

#[tokio::test]
async fn a_file_is_due_when_its_wait_is_over_and_each_failure_doubles_it() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let policy = || pb::RetryPolicy {
        attempts_max: 10,
        backoff: seconds(10),
        backoff_max: seconds(35),
        types: Vec::new(),
    };
    // The waits are 10, 20, 35 and 35 seconds.
    for wait in [10, 20, 35, 35] {
        pannier.record_error(&id, "a", "network").await;
        assert!(pannier.retryable(&id, policy()).await.is_empty(), "at once");
        pannier.advance_s(wait - 1);
        assert!(pannier.retryable(&id, policy()).await.is_empty(), "before {wait} s");
        pannier.advance_s(1);
        assert_eq!(pannier.retryable(&id, policy()).await, ["a"], "after {wait} s");
    }
    let without_wait = pb::RetryPolicy { backoff: seconds(0), ..policy() };
    pannier.record_error(&id, "a", "network").await;
    assert_eq!(pannier.retryable(&id, without_wait).await, ["a"]);
}

#[tokio::test]
async fn a_file_that_was_tried_often_enough_is_left_alone() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    for failures in 1..=4 {
        pannier.record_error(&id, "a", "network").await;
        pannier.advance_s(4_000);
        for attempts_max in 1..=6 {
            let policy = pb::RetryPolicy { attempts_max, ..Default::default() };
            let is_due = !pannier.retryable(&id, policy).await.is_empty();
            assert_eq!(is_due, failures < attempts_max, "{failures} of {attempts_max}");
        }
    }
    // Five, by the settings.
    assert_eq!(pannier.retryable(&id, pb::RetryPolicy::default()).await, ["a"]);
    pannier.record_error(&id, "a", "network").await;
    pannier.advance_s(4_000);
    assert!(pannier.retryable(&id, pb::RetryPolicy::default()).await.is_empty());
}

#[tokio::test]
async fn a_policy_names_types_and_what_is_resolved_is_not_tried() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    for (path, kind) in [("a", "network"), ("b", "quota"), ("c", "gone"), ("media/1.jpg", "network")] {
        pannier.record_error(&id, path, kind).await;
    }
    pannier.register(&id, file(1)).await;
    pannier.advance_s(10);
    let of = |types: &[&str]| pb::RetryPolicy {
        types: types.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    assert_eq!(pannier.retryable(&id, of(&[])).await, ["a", "b", "c"]);
    assert_eq!(pannier.retryable(&id, of(&["network", "gone"])).await, ["a", "c"]);
    assert!(pannier.retryable(&id, of(&["other"])).await.is_empty());
}

#[tokio::test]
async fn retryable_files_come_page_by_page() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    for number in 0..100 {
        pannier.record_error(&id, &format!("{number:03}"), "network").await;
    }
    pannier.advance_s(60);
    let mut request =
        pb::ListRetryableRequest { session_id: id.clone(), page_size: 30, ..Default::default() };
    let (mut paths, mut pages) = (Vec::new(), 0);
    loop {
        let page = pannier.uploads().list_retryable(request.clone()).await.unwrap().into_inner();
        pages += 1;
        // Tried again and failed: they are not met again by the pages to come.
        for error in &page.errors {
            pannier.record_error(&id, &error.path, "network").await;
        }
        paths.extend(page.errors.into_iter().map(|error| error.path));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paths, (0..100).map(|number| format!("{number:03}")).collect::<Vec<_>>());
    assert_eq!(pages, 4);
}
