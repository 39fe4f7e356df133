//! Bad input of every call: all violations at once, nothing stored. An item of a batch is refused alone.

use pannier_proto::uploads::v1 as pb;
use prost_types::{Duration, Timestamp};
use tonic::Status;

use super::calls::{counts, file, files, hash, hashes, token};
use crate::cache::items::wrong_fields;
use crate::harness::{Pannier, pannier, pannier_with, violated_fields};

fn bad_hashes() -> Vec<String> {
    let good = hash(1);
    let mut bad = vec![
        String::new(),
        "0".into(),
        good[1..].to_owned(),
        format!("{good}0"),
        good.repeat(2),
        format!("g{}", &good[1..]),
        format!(" {}", &good[1..]),
        format!("+{}", &good[1..]),
        format!("0x{}", &good[2..]),
        format!("{}\0", &good[1..]),
        "é".repeat(32),
        "é".repeat(64),
    ];
    bad.push("0".repeat(100_000));
    bad
}

async fn file_refused(pannier: &Pannier, id: &str, file: pb::NewFile) -> Vec<String> {
    let status = pannier.try_register(id, file.clone()).await.expect_err("a bad file was registered");
    let fields = violated_fields(&status);
    let batch = vec![super::calls::file(90), file];
    let request = pb::BatchRegisterFilesRequest {
        session_id: id.into(),
        files: batch.clone(),
        atomic: true,
        ..Default::default()
    };
    let status = pannier.uploads().batch_register_files(request).await.unwrap_err();
    let of_batch = fields.iter().map(|field| field.replace("file.", "files[1]."));
    assert_eq!(violated_fields(&status), of_batch.collect::<Vec<_>>());
    assert_eq!(pannier.get_session(id).await.processed_count, 0);
    // The wrong file of a batch that is not all or none fails alone.
    let answer = pannier.try_register_all("", batch).await.unwrap();
    assert!(answer.results[0].error.is_none());
    let of_item = fields.iter().map(|field| field.replace("file.", ""));
    assert_eq!(wrong_fields(answer.results[1].error.as_ref()), of_item.collect::<Vec<_>>());
    assert_eq!(pannier.forget(vec![hash(90)]).await, 1);
    fields
}

#[tokio::test]
async fn hashes_that_are_short_long_or_no_hexadecimal_are_refused_by_every_call() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    for bad in bad_hashes() {
        let sha256 = vec![hash(1), bad.clone()];
        let service = || "photos".to_owned();
        let mut uploads = pannier.uploads();
        let check = pb::CheckFilesRequest { service: service(), sha256: sha256.clone(), states_only: true };
        let results = uploads.check_files(check).await.unwrap().into_inner().results;
        assert!(results[0].error.is_none() && results[0].state() == pb::FileState::Unknown);
        assert_eq!(wrong_fields(results[1].error.as_ref()), [""], "{bad}");
        let message = &results[1].error.as_ref().unwrap().message;
        assert!(message.starts_with("must be 64 hexadecimal digits"), "{message}");
        let reserve =
            pb::ReserveFileRequest { service: service(), sha256: bad.clone(), ..Default::default() };
        assert_eq!(violated_fields(&uploads.reserve_file(reserve).await.unwrap_err()), ["sha256"]);
        let mut reserve = pb::BatchReserveFilesRequest {
            service: service(),
            sha256: sha256.clone(),
            atomic: true,
            ..Default::default()
        };
        let status = uploads.batch_reserve_files(reserve.clone()).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["sha256[1]"]);
        assert_eq!(pannier.row_count("upload_reservations").await, 0, "all or none");
        reserve.atomic = false;
        let results = uploads.batch_reserve_files(reserve).await.unwrap().into_inner().results;
        let Some(pb::reserve_file_result::Outcome::Error(error)) = &results[1].outcome else {
            panic!("{bad}")
        };
        assert_eq!(wrong_fields(Some(error)), [""]);
        let own = pb::HeldReservation { sha256: hash(1), token: token(&results[0]) };
        let held = vec![own, pb::HeldReservation { sha256: bad.clone(), token: "x".into() }];
        let mut extend = pb::ExtendReservationsRequest {
            service: service(),
            reservations: held.clone(),
            atomic: true,
            ..Default::default()
        };
        let status = uploads.extend_reservations(extend.clone()).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["reservations[1].sha256", "reservations[1].token"]);
        extend.atomic = false;
        let results = uploads.extend_reservations(extend).await.unwrap().into_inner().results;
        let Some(pb::extend_reservation_result::Outcome::Error(error)) = &results[1].outcome else {
            panic!("{bad}")
        };
        assert_eq!(wrong_fields(Some(error)), ["sha256", "token"]);
        let mut release = pb::ReleaseReservationsRequest {
            service: service(),
            reservations: held,
            atomic: true,
            ..Default::default()
        };
        let status = uploads.release_reservations(release.clone()).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["reservations[1].sha256", "reservations[1].token"]);
        release.atomic = false;
        let results = uploads.release_reservations(release).await.unwrap().into_inner().results;
        assert!(results[0].released && results[0].error.is_none());
        assert_eq!(wrong_fields(results[1].error.as_ref()), ["sha256", "token"]);
        let mut forget = pb::ForgetRequest { service: service(), sha256, atomic: true, ..Default::default() };
        assert_eq!(violated_fields(&uploads.forget(forget.clone()).await.unwrap_err()), ["sha256[1]"]);
        forget.atomic = false;
        let answer = uploads.forget(forget).await.unwrap().into_inner();
        assert!(answer.forgotten_count == 0 && !answer.results[0].forgotten);
        assert_eq!(wrong_fields(answer.results[1].error.as_ref()), [""]);
        let new = pb::NewFile { sha256: bad, ..file(1) };
        assert_eq!(file_refused(&pannier, &id, new).await, ["file.sha256"]);
    }
    assert_eq!(pannier.row_count("upload_files").await + pannier.row_count("upload_reservations").await, 0);
}

#[tokio::test]
async fn services_that_are_none_are_refused_by_every_call_which_names_the_known() {
    let pannier = pannier_with(|settings| settings.uploads.services = "photos, drive,s3".into()).await;
    let id = pannier.session().await;
    for bad in ["", "Photos", "flickr", " photos", "photos,drive", "s3\0"] {
        let service = || bad.to_owned();
        let mut uploads = pannier.uploads();
        let sha256 = vec![hash(1)];
        let held = || {
            vec![pb::HeldReservation {
                sha256: hash(1),
                token: "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e".into(),
            }]
        };
        let check = pb::CheckFilesRequest { service: service(), sha256: sha256.clone(), states_only: true };
        let reserve = pb::ReserveFileRequest { service: service(), sha256: hash(1), ..Default::default() };
        let batch =
            pb::BatchReserveFilesRequest { service: service(), sha256: sha256.clone(), ..Default::default() };
        let extend =
            pb::ExtendReservationsRequest { service: service(), reservations: held(), ..Default::default() };
        let release =
            pb::ReleaseReservationsRequest { service: service(), reservations: held(), ..Default::default() };
        let forget = pb::ForgetRequest { service: service(), sha256, ..Default::default() };
        let mut refused = vec![
            uploads.reserve_file(reserve).await.unwrap_err(),
            uploads.batch_reserve_files(batch).await.unwrap_err(),
            uploads.extend_reservations(extend).await.unwrap_err(),
            uploads.release_reservations(release).await.unwrap_err(),
            uploads.forget(forget).await.unwrap_err(),
        ];
        if !bad.is_empty() {
            // In checks, lists and exports an empty service is all of them.
            let list = pb::ListFilesRequest { service: service(), ..Default::default() };
            refused.push(uploads.list_files(list).await.unwrap_err());
            let export = pb::ExportIndexRequest { service: service() };
            refused.push(uploads.export_index(export).await.unwrap_err());
            refused.push(uploads.check_files(check).await.unwrap_err());
        }
        for status in refused {
            assert_eq!(violated_fields(&status), ["service"], "{bad:?}");
            assert!(status.message().contains("must be one of photos, drive, s3"), "{status:?}");
        }
        let new = pb::NewFile { service: service(), ..file(1) };
        assert_eq!(file_refused(&pannier, &id, new).await, ["file.service"]);
    }
    let new = pb::NewFile { service: "s3".into(), ..file(1) };
    assert_eq!(pannier.register(&id, new).await, pb::RegisterOutcome::Registered);
}

#[tokio::test]
async fn each_thing_wrong_with_a_file_is_named() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let base = || file(1);
    let cases = [
        (pb::NewFile { path: String::new(), ..base() }, "path"),
        (pb::NewFile { path: "p".repeat(4_097), ..base() }, "path"),
        (pb::NewFile { path: "p\0".into(), ..base() }, "path"),
        (pb::NewFile { name: "n".repeat(4_097), ..base() }, "name"),
        (pb::NewFile { size_bytes: -1, ..base() }, "size_bytes"),
        (pb::NewFile { size_bytes: i64::MIN, ..base() }, "size_bytes"),
        (pb::NewFile { size_bytes: (1 << 43) + 1, ..base() }, "size_bytes"),
        (pb::NewFile { mime_type: "m".repeat(256), ..base() }, "mime_type"),
        (pb::NewFile { service_file_id: "i".repeat(1_025), ..base() }, "service_file_id"),
        (pb::NewFile { source_id: "s".repeat(257), ..base() }, "source_id"),
        (pb::NewFile { upload_time: Some(Timestamp { seconds: 0, nanos: -1 }), ..base() }, "upload_time"),
        (
            pb::NewFile { upload_time: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..base() },
            "upload_time",
        ),
        (pb::NewFile { reservation_token: "x".into(), ..base() }, "reservation_token"),
    ];
    for (new, field) in cases {
        assert_eq!(file_refused(&pannier, &id, new.clone()).await, [format!("file.{field}")], "{new:?}");
    }
    let nothing = file_refused(&pannier, &id, pb::NewFile::default()).await;
    assert_eq!(nothing, ["file.path", "file.service", "file.sha256"]);
    let absent = pb::RegisterFileRequest { session_id: id.clone(), ..Default::default() };
    let status = pannier.uploads().register_file(absent).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["file.path", "file.service", "file.sha256"]);
    let largest = pb::NewFile {
        path: "p".repeat(4_096),
        name: "n".repeat(4_096),
        size_bytes: 0,
        mime_type: "m".repeat(255),
        service_file_id: "i".repeat(1_024),
        source_id: "s".repeat(256),
        ..base()
    };
    assert_eq!(pannier.register(&id, largest).await, pb::RegisterOutcome::Registered);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_session_is_told_at_once() {
    let pannier = pannier().await;
    let request = pb::CreateSessionRequest {
        session_id: "i".repeat(257),
        source_id: String::new(),
        name: "n".repeat(1_025),
        total_count: Some(-1),
        metadata_json: "[]".into(),
        durability: 7,
        request_id: "no uuid".into(),
        start_time: Some(Timestamp { seconds: i64::MAX, nanos: 0 }),
    };
    let status = pannier.try_create_session(request).await.unwrap_err();
    let expected = [
        "durability",
        "metadata_json",
        "name",
        "request_id",
        "session_id",
        "source_id",
        "start_time",
        "total_count",
    ];
    assert_eq!(violated_fields(&status), expected);
    let update = pb::UpdateSessionRequest {
        session_id: String::new(),
        name: Some("\0".into()),
        metadata_json: Some("{".into()),
        total_count: Some((1 << 40) + 1),
        last_processed_file: Some("p".repeat(4_097)),
        durability: -1,
        request_id: "x".into(),
    };
    let status = pannier.try_update_session(update).await.unwrap_err();
    let expected = [
        "durability",
        "last_processed_file",
        "metadata_json",
        "name",
        "request_id",
        "session_id",
        "total_count",
    ];
    assert_eq!(violated_fields(&status), expected);
    assert_eq!(pannier.row_count("upload_sessions").await + pannier.row_count("upload_names").await, 0);
}

#[tokio::test]
async fn metadata_that_is_no_json_object_is_refused() {
    let pannier = pannier().await;
    let large = format!("{{\"a\":\"{}\"}}", "m".repeat(64 * 1024));
    for metadata in ["[]", "1", "null", "{", "{}{}", "{'a':1}", "{\"a\":NaN}", "x", " ", "\0", &large] {
        let request = pb::CreateSessionRequest {
            source_id: "c".into(),
            metadata_json: metadata.into(),
            ..Default::default()
        };
        let status = pannier.try_create_session(request).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["metadata_json"], "{metadata:?}");
    }
}

#[tokio::test]
async fn ids_of_sessions_that_are_too_long_or_cannot_be_stored_are_refused_by_every_call() {
    let pannier = pannier().await;
    for id in ["i".repeat(257).as_str(), "a\0b"] {
        let session_id = || id.to_owned();
        let mut uploads = pannier.uploads();
        let mut refused: Vec<Status> = vec![
            pannier.try_get_session(id).await.unwrap_err(),
            pannier.try_register(id, file(1)).await.unwrap_err(),
            pannier.try_register_all(id, files(0..2)).await.unwrap_err(),
            pannier.try_record_error(id, "a", "quota").await.unwrap_err(),
        ];
        let delete = pb::DeleteSessionRequest { session_id: session_id(), ..Default::default() };
        refused.push(uploads.delete_session(delete).await.unwrap_err());
        use pb::UploadSessionStatus as S;
        for status in [S::Running, S::Paused, S::Completed, S::Failed] {
            refused.push(pannier.move_session(id, status).await.unwrap_err());
        }
        let list = pb::ListFilesRequest { session_id: session_id(), ..Default::default() };
        refused.push(uploads.list_files(list).await.unwrap_err());
        let list = pb::ListErrorsRequest { session_id: session_id(), ..Default::default() };
        refused.push(uploads.list_errors(list).await.unwrap_err());
        let list = pb::ListRetryableRequest { session_id: session_id(), ..Default::default() };
        refused.push(uploads.list_retryable(list).await.unwrap_err());
        for status in refused {
            assert_eq!(violated_fields(&status), ["session_id"], "{id:?}");
        }
    }
}

#[tokio::test]
async fn empty_and_oversized_batches_are_refused_and_name_their_setting() {
    let pannier = pannier_with(|settings| {
        settings.uploads.check_hashes_max = 10;
        settings.uploads.batch_files_max = 5;
    })
    .await;
    let held = |count: u64| -> Vec<pb::HeldReservation> {
        let token = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";
        (0..count).map(|number| pb::HeldReservation { sha256: hash(number), token: token.into() }).collect()
    };
    let service = || "photos".to_owned();
    let mut uploads = pannier.uploads();
    for count in [0, 11] {
        let request =
            pb::CheckFilesRequest { service: service(), sha256: hashes(0..count), states_only: false };
        let status = uploads.check_files(request).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["sha256"]);
        assert!(status.message().contains("uploads.check_hashes_max"), "{status:?}");
    }
    for count in [0, 6] {
        let sha256 = hashes(0..count);
        let reserve =
            pb::BatchReserveFilesRequest { service: service(), sha256: sha256.clone(), ..Default::default() };
        let forget = pb::ForgetRequest { service: service(), sha256, ..Default::default() };
        let extend = pb::ExtendReservationsRequest {
            service: service(),
            reservations: held(count),
            ..Default::default()
        };
        let release = pb::ReleaseReservationsRequest {
            service: service(),
            reservations: held(count),
            ..Default::default()
        };
        let refused = [
            (uploads.batch_reserve_files(reserve).await.unwrap_err(), "sha256"),
            (uploads.forget(forget).await.unwrap_err(), "sha256"),
            (uploads.extend_reservations(extend).await.unwrap_err(), "reservations"),
            (uploads.release_reservations(release).await.unwrap_err(), "reservations"),
            (pannier.try_register_all("", files(0..count)).await.unwrap_err(), "files"),
        ];
        for (status, field) in refused {
            assert_eq!(violated_fields(&status), [field], "{count}");
            assert!(status.message().contains("uploads.batch_files_max"), "{status:?}");
        }
    }
    assert_eq!(pannier.check(hashes(0..10)).await.len(), 10);
    assert_eq!(pannier.register_all("", files(0..5)).await.len(), 5);
}

#[tokio::test]
async fn times_to_hold_beyond_the_limits_are_refused() {
    let pannier = pannier().await;
    for (seconds, nanos) in [(0, 0), (-1, 0), (3_601, 0), (i64::MAX, 0), (0, -1), (1, 1_000_000_000)] {
        let ttl = Some(Duration { seconds, nanos });
        let reserve =
            pb::ReserveFileRequest { service: "photos".into(), sha256: hash(1), ttl, ..Default::default() };
        let status = pannier.uploads().reserve_file(reserve).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["ttl"], "{seconds} s {nanos} ns");
    }
    let ttl = Some(Duration { seconds: 3_600, nanos: 0 });
    let reserve =
        pb::ReserveFileRequest { service: "photos".into(), sha256: hash(1), ttl, ..Default::default() };
    pannier.uploads().reserve_file(reserve).await.unwrap();
}

#[tokio::test]
async fn errors_and_policies_that_make_no_sense_are_refused() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let record = pb::RecordErrorRequest {
        session_id: id.clone(),
        path: String::new(),
        r#type: "t".repeat(129),
        message: "m".repeat(4_097),
        last_processed_file: Some("\0".into()),
        durability: 9,
        request_id: String::new(),
        log_only: false,
    };
    let status = pannier.uploads().record_error(record).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["durability", "last_processed_file", "message", "path", "type"]);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 0, 0, 0, 0));
    let request =
        pb::FailSessionRequest { session_id: id.clone(), error: "e".repeat(4_097), ..Default::default() };
    let status = pannier.uploads().fail_session(request).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["error"]);

    let policy = pb::RetryPolicy {
        attempts_max: -1,
        backoff: Some(Duration { seconds: -1, nanos: 0 }),
        backoff_max: Some(Duration { seconds: i64::MAX, nanos: 0 }),
        types: vec!["a".into(), String::new()],
    };
    let retryable = |policy| {
        let request = pb::ListRetryableRequest {
            session_id: id.clone(),
            policy: Some(policy),
            page_size: -1,
            ..Default::default()
        };
        let mut uploads = pannier.uploads();
        async move { violated_fields(&uploads.list_retryable(request).await.unwrap_err()) }
    };
    let expected =
        ["page_size", "policy.attempts_max", "policy.backoff", "policy.backoff_max", "policy.types[1]"];
    assert_eq!(retryable(policy.clone()).await, expected);
    let many = pb::RetryPolicy { types: vec!["a".into(); 101], attempts_max: 1_001, ..Default::default() };
    assert_eq!(retryable(many).await, ["page_size", "policy.attempts_max", "policy.types"]);
}
