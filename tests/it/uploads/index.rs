//! ExportIndex and ImportIndex: what goes out comes back, and wrong lines are named.

use std::collections::BTreeSet;

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::uploads::v1 as pb;
use prost_types::Timestamp;
use tonic::Code;

use super::calls::{counts, file, files, hash, hashes};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

/// A line as short as may be.
fn line(number: u64) -> String {
    format!(r#"{{"service":"photos","sha256":"{}","path":"p/{number}"}}"#, hash(number))
}

/// Files of all kinds, with texts that JSON has to escape.
async fn some_files(pannier: &Pannier) {
    let id = pannier.session_of("chat \"1\"").await;
    pannier.register_all(&id, files(0..150)).await;
    let full = pb::NewFile {
        service: "drive".into(),
        name: "naïve \u{1F600}.jpg".into(),
        path: "a\\b/\"quoted\"\n\t.jpg".into(),
        mime_type: "image/jpeg".into(),
        service_file_id: "id-1".into(),
        upload_time: Some(Timestamp { seconds: -5, nanos: 123_456_000 }),
        ..file(7)
    };
    pannier.register(&id, full).await;
    pannier.register("", pb::NewFile { service: "drive".into(), ..file(8) }).await;
}

#[tokio::test]
async fn an_index_goes_out_and_comes_back_the_same() {
    let pannier = pannier().await;
    some_files(&pannier).await;
    let (index, _) = pannier.export("").await;
    assert_eq!(index.lines().count(), 152);
    let other = crate::harness::pannier().await;
    let answer = other.try_import(vec![index.clone()]).await.unwrap();
    assert_eq!((answer.line_count, answer.added_count, answer.duplicate_count), (152, 152, 0));
    assert_eq!(other.export("").await.0, index);
    // Known elsewhere as here, but for the session, which is only here.
    let strip = |results: Vec<pb::CheckFilesResult>| -> Vec<pb::UploadedFile> {
        let file = |mut result: pb::CheckFilesResult| result.files.remove(0);
        results
            .into_iter()
            .map(file)
            .map(|file| pb::UploadedFile { session_id: String::new(), ..file })
            .collect()
    };
    assert_eq!(strip(other.check(hashes(0..150)).await), strip(pannier.check(hashes(0..150)).await));

    let again = other.try_import(vec![index.clone()]).await.unwrap();
    assert_eq!((again.line_count, again.added_count, again.duplicate_count), (152, 0, 152));
    assert_eq!(other.export("").await.0, index);
}

#[tokio::test]
async fn lines_are_json_objects_by_service_and_hash() {
    let pannier = pannier().await;
    some_files(&pannier).await;
    let (index, _) = pannier.export("").await;
    let keys: Vec<(String, String)> = index
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("service"), text("sha256"))
        })
        .collect();
    assert!(keys.is_sorted() && keys.iter().collect::<BTreeSet<_>>().len() == 152);
    let first: serde_json::Value =
        serde_json::from_str(index.lines().find(|line| line.contains("id-1")).unwrap()).unwrap();
    let expected = serde_json::json!({
        "service": "drive", "sha256": hash(7), "path": "a\\b/\"quoted\"\n\t.jpg", "name": "naïve \u{1F600}.jpg",
        "size_bytes": 1_007, "mime_type": "image/jpeg", "service_file_id": "id-1", "source_id": "chat \"1\"",
        "upload_time": "1969-12-31T23:59:55.123456Z",
    });
    assert_eq!(first, expected);
    let (drive, _) = pannier.export("drive").await;
    assert_eq!(drive.lines().count(), 2);
    assert!(index.starts_with(&drive));
}

#[tokio::test]
async fn messages_of_an_export_are_bounded_and_hold_whole_lines() {
    let pannier = pannier_with(|settings| settings.uploads.index_bytes_max = 10_000).await;
    pannier.register_all("", files(0..500)).await;
    let mut messages =
        pannier.uploads().export_index(pb::ExportIndexRequest::default()).await.unwrap().into_inner();
    let (mut lines, mut count) = (0, 0);
    while let Some(message) = messages.message().await.unwrap() {
        assert!(message.ndjson.len() <= 12_000 && message.ndjson.ends_with('\n'), "{}", message.ndjson.len());
        lines += message.ndjson.lines().count();
        count += 1;
    }
    assert_eq!(lines, 500);
    assert!(count > 5, "{count}");
}

#[tokio::test]
async fn an_empty_index_is_no_message() {
    let pannier = pannier().await;
    assert_eq!(pannier.export("").await, (String::new(), 0));
    assert_eq!(pannier.export("drive").await, (String::new(), 0));
    assert_eq!(pannier.try_import(vec![]).await.unwrap(), pb::ImportIndexResponse::default());
    let blank = vec![String::new(), "\n\r\n  \n".into()];
    assert_eq!(pannier.try_import(blank).await.unwrap(), pb::ImportIndexResponse::default());
}

#[tokio::test]
async fn an_index_may_be_cut_anywhere_between_lines() {
    let pannier = pannier_with(|settings| settings.uploads.import_lines_max = 7).await;
    let lines: Vec<String> = (0..50).map(line).collect();
    let pieces =
        vec![lines[..20].join("\r\n"), String::new(), lines[20..21].join("\n"), lines[21..].join("\n\n")];
    let answer = pannier.try_import(pieces).await.unwrap();
    assert_eq!((answer.line_count, answer.added_count), (50, 50));
    let known = pannier.check(vec![hash(3)]).await.remove(0).files.remove(0);
    assert_eq!((known.path.as_str(), known.name.as_str(), known.size_bytes), ("p/3", "3", 0));
    // A file that comes twice in one import is known the second time.
    let twice = pannier.try_import(vec![[line(90), line(90), line(1)].join("\n")]).await.unwrap();
    assert_eq!((twice.line_count, twice.added_count, twice.duplicate_count), (3, 1, 2));
}

#[tokio::test]
async fn a_wrong_line_is_named_and_nothing_of_its_message_is_taken() {
    let pannier = pannier().await;
    let wrong = [
        ("nonsense".to_owned(), "is no JSON"),
        ("{".to_owned(), "is no JSON"),
        ("[]".to_owned(), "is JSON, but no object"),
        ("7".to_owned(), "no such object"),
        ("{}".to_owned(), "sha256 must be 64"),
        (line(1).replace("photos", "flickr"), "service must be one of photos, drive"),
        (line(1).replace(&hash(1), &hash(1)[1..]), "has 63 characters"),
        (line(1).replace(&hash(1), &format!("g{}", &hash(1)[1..])), "other characters"),
        (line(1).replace("\"path\"", "\"paths\""), "no such object"),
        (line(1).replace("p/1", ""), "path must be 1 to"),
        (line(1).replace('}', r#","size_bytes":-1}"#), "size_bytes must be 0 to"),
        (line(1).replace('}', r#","size_bytes":"1"}"#), "no such object"),
        (line(1).replace('}', r#","upload_time":"yesterday"}"#), "no time by RFC 3339"),
        (line(1).replace("p/1", "p\\u0000"), "U+0000"),
        (format!("{} {}", line(1), line(2)), "is no JSON"),
    ];
    pannier.try_import(vec![line(100)]).await.unwrap();
    for (number, (text, problem)) in (0..).zip(wrong) {
        let before = 200 + number;
        let messages = vec![format!("{}\n\n", line(before)), format!("{}\n{text}\n{}", line(300), line(301))];
        let status = pannier.try_import(messages).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, ErrorReason::IndexLineInvalid);
        let message = status.message();
        assert!(message.contains("line 4 of the index") && message.contains(problem), "{text}: {message}");
        assert!(message.contains("all 1 files"), "{message}");
        assert_eq!(
            pannier.states(vec![hash(before), hash(300), hash(301)]).await,
            [pb::FileState::Uploaded, pb::FileState::Unknown, pb::FileState::Unknown]
        );
    }
}

#[tokio::test]
async fn a_wrong_line_is_refused_alone() {
    let pannier = pannier_with(|settings| settings.uploads.import_errors_max = 3).await;
    let nul = line(1).replace("p/1", "p\\u0000");
    let first = [line(0), nul.clone(), String::new(), "nonsense".to_owned(), line(2)].join("\n");
    let second = [nul.clone(), line(0), nul, line(3)].join("\n");
    let answer = pannier.try_import_each(vec![first, second], false).await.unwrap();
    assert_eq!((answer.line_count, answer.added_count, answer.duplicate_count), (8, 3, 1));
    assert_eq!(answer.refused_count, 4);
    let told: Vec<(i64, ErrorReason)> =
        answer.errors.iter().map(|told| (told.line, told.error.as_ref().unwrap().reason())).collect();
    assert_eq!(told, [2, 4, 6].map(|line| (line, ErrorReason::IndexLineInvalid)), "the first three");
    let message = &answer.errors[0].error.as_ref().unwrap().message;
    assert!(message.contains("line 2 of the index") && message.contains("U+0000"), "{message}");
    assert_eq!(
        pannier.states(hashes(0..4)).await.iter().filter(|state| **state == pb::FileState::Uploaded).count(),
        3
    );
}

#[tokio::test]
async fn an_import_counts_for_no_session() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.register(&id, file(1)).await;
    pannier.try_import(vec![[line(1), line(2)].join("\n")]).await.unwrap();
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 1, 1, 0, 0));
    let pages = pannier.file_pages(pb::ListFilesRequest { session_id: id, ..Default::default() }).await;
    assert_eq!(pages.concat(), [hash(1)]);
}

#[tokio::test]
async fn more_exports_than_the_setting_are_refused_until_one_has_ended() {
    let pannier = pannier_with(|settings| {
        settings.uploads.exports_max = 1;
        settings.uploads.index_bytes_max = 1;
    })
    .await;
    pannier.register_all("", files(0..100)).await;
    let request = pb::ExportIndexRequest::default();
    let mut first = pannier.uploads().export_index(request.clone()).await.unwrap().into_inner();
    first.message().await.unwrap().unwrap();
    let status = pannier.uploads().export_index(request).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::Overloaded);
    while first.message().await.unwrap().is_some() {}
    assert_eq!(pannier.export("").await.0.lines().count(), 100);
}
