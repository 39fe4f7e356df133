//! CheckFiles: what is known of each hash, in the order given.

use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::FileState::{Reserved, Unknown, Uploaded};
use pannier_proto::uploads::v1::RegisterOutcome::Duplicate;

use super::calls::{file, files, hash, hashes, us};
use crate::harness::{pannier, pannier_with, violated_fields};

#[tokio::test]
async fn each_hash_is_answered_at_its_place_whatever_its_case() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.register_all(&id, files(0..5)).await;
    pannier.reserve(7).await;
    let asked = vec![hash(9), hash(3).to_uppercase(), hash(7), hash(3), hash(0), hash(9)];
    let results = pannier.check(asked).await;
    let states: Vec<pb::FileState> = results.iter().map(pb::CheckFilesResult::state).collect();
    assert_eq!(states, [Unknown, Uploaded, Reserved, Uploaded, Uploaded, Unknown]);
    assert_eq!(results[1], results[3]);
    assert_eq!(results[1].files[0].sha256, hash(3));
    let ttl_us = 5 * 60 * 1_000_000;
    assert_eq!(us(results[2].reserved_until_time.as_ref()), Some(pannier.now_us() + ttl_us));
    assert_eq!(results[0], pb::CheckFilesResult { state: Unknown.into(), ..Default::default() });
}

#[tokio::test]
async fn states_alone_tell_the_same_without_the_files() {
    let pannier = pannier().await;
    pannier.register_all("", files(0..300)).await;
    pannier.reserve_all(hashes(400..410)).await;
    let full = pannier.check(hashes(0..500)).await;
    let request =
        pb::CheckFilesRequest { service: "photos".into(), sha256: hashes(0..500), states_only: true };
    let short = pannier.try_check(request).await.unwrap();
    assert!(short.iter().all(|result| result.files.is_empty()));
    let without_files = full.into_iter().map(|result| pb::CheckFilesResult { files: Vec::new(), ..result });
    assert_eq!(short, without_files.collect::<Vec<_>>());
}

#[tokio::test]
async fn ten_thousand_hashes_go_into_one_call() {
    let pannier = pannier().await;
    for begin in [0, 5_000] {
        pannier.register_all("", files(begin..begin + 2_500)).await;
    }
    let results = pannier.check(hashes(0..10_000)).await;
    assert_eq!(results.len(), 10_000);
    for (number, result) in results.iter().enumerate() {
        let is_known = number % 5_000 < 2_500;
        assert_eq!(result.state(), if is_known { Uploaded } else { Unknown }, "{number}");
        let path = result.files.first().map(|file| file.path.clone());
        assert_eq!(path, is_known.then(|| format!("media/{number}.jpg")));
    }
}

#[tokio::test]
async fn files_that_do_not_fit_are_left_out_and_their_states_are_not() {
    let pannier = pannier_with(|settings| settings.server.response_bytes_max = 57_000).await;
    let long = |number| pb::NewFile { service_file_id: "i".repeat(1_000), ..file(number) };
    for begin in [0, 50] {
        pannier.register_all("", (begin..begin + 50).map(long).collect()).await;
    }
    let results = pannier.check(hashes(0..100)).await;
    assert!(results.iter().all(|result| result.state() == Uploaded));
    let told = results.iter().take_while(|result| !result.files.is_empty()).count();
    assert!((20..95).contains(&told), "{told}");
    assert!(results[told..].iter().all(|result| result.files.is_empty()));
    let rest = pannier.check(hashes(told as u64..told as u64 + 10)).await;
    assert!(rest.iter().all(|result| !result.files.is_empty()), "asked again");
    // So it is where they come as duplicates.
    let again = pannier.try_register_all("", (0..95).map(long).collect()).await.unwrap();
    assert!(again.results[0].known.is_some() && again.results[94].known.is_none());
    let wishes = pannier.reserve_all(hashes(0..100)).await;
    for (number, wish) in (0..).zip(wishes) {
        match wish.outcome {
            Some(pb::reserve_file_result::Outcome::Uploaded(file)) => assert_eq!(file.sha256, hash(number)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_forgotten_file_is_unknown_and_may_be_registered_again() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.register_all(&id, files(0..5)).await;
    assert_eq!(pannier.forget(vec![hash(1), hash(3), hash(1), hash(77)]).await, 2);
    assert_eq!(pannier.states(hashes(0..5)).await, [Uploaded, Unknown, Uploaded, Unknown, Uploaded]);
    assert_eq!(pannier.forget(vec![hash(1)]).await, 0);
    let elsewhere =
        pb::ForgetRequest { service: "drive".into(), sha256: vec![hash(0)], ..Default::default() };
    assert_eq!(pannier.uploads().forget(elsewhere).await.unwrap().into_inner().forgotten_count, 0);
    assert_eq!(pannier.get_session(&id).await.success_count, 5, "counts tell what was done");
    assert_eq!(pannier.register(&id, file(1)).await, pb::RegisterOutcome::Registered);
}

#[tokio::test]
async fn files_of_a_service_that_is_taken_out_stay_and_go_out_with_the_others() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.register(&id, pb::NewFile { service: "drive".into(), ..file(1) }).await;
    pannier.register(&id, file(2)).await;
    let pannier = pannier.restart_with(|settings| settings.uploads.services = "photos,s3".into()).await;
    let request =
        pb::CheckFilesRequest { service: "drive".into(), sha256: vec![hash(1)], states_only: false };
    assert_eq!(violated_fields(&pannier.try_check(request).await.unwrap_err()), ["service"]);
    let list = pb::ListFilesRequest { session_id: id, ..Default::default() };
    assert_eq!(pannier.file_pages(list).await.concat(), [hash(2), hash(1)]);
    assert_eq!(pannier.export("").await.0.lines().count(), 2);
    let pannier = pannier.restart_with(|settings| settings.uploads.services = "drive".into()).await;
    assert_eq!(pannier.register("", pb::NewFile { service: "drive".into(), ..file(1) }).await, Duplicate);
}
