//! Records in commits: by the rules of the calls, all or nothing.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as records;
use pannier_proto::transaction::v1::RecordsCheck;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::mutation_result::Result as Outcome;
use pannier_proto::transaction::v1::records_check::Expected;
use tonic::Code;

use super::calls::{assert_failed, set};
use crate::harness::{pannier, violated_fields};
use crate::records::calls::{item, next};

pub fn put(collection: &str, item: records::PutItem) -> What {
    let request =
        records::PutRequest { collection: collection.into(), item: Some(item), ..Default::default() };
    What::RecordsPut(request)
}

pub fn insert(key: &str) -> records::PutItem {
    records::PutItem { mode: records::PutMode::Insert.into(), ..item(key, "{}") }
}

pub fn patch(key: &str, patch_json: &str) -> What {
    patch_if(key, patch_json, 0)
}

pub fn patch_if(key: &str, patch_json: &str, if_revision: i64) -> What {
    What::RecordsPatch(records::PatchRequest {
        collection: "c".into(),
        item: Some(records::PatchItem {
            key: key.into(),
            patch_json: patch_json.into(),
            if_revision,
            ..Default::default()
        }),
        ..Default::default()
    })
}

pub fn delete(key: &str, if_revision: i64) -> What {
    let item = Some(records::DeleteItem { key: key.into(), if_revision });
    What::RecordsDelete(records::DeleteRequest { collection: "c".into(), item, ..Default::default() })
}

pub fn check(key: &str, expected: Expected) -> What {
    What::RecordsCheck(RecordsCheck { collection: "c".into(), key: key.into(), expected: Some(expected) })
}

#[tokio::test]
async fn records_of_two_collections_and_a_setting_change_together() {
    let pannier = pannier().await;
    for name in ["c", "b"] {
        pannier.make_collection(name).await;
    }
    pannier.put_record("old", "{}").await;
    let mut watch = pannier.watch_records(None).await;
    next(&mut watch).await;
    let results = pannier
        .commit(vec![
            check("new", Expected::Absent(true)),
            check("old", Expected::Revision(1)),
            put("c", insert("new")),
            put("b", item("elsewhere", "{}")),
            patch("new", r#"{"n":1}"#),
            set("cursor", "1"),
            delete("old", 1),
            check("new", Expected::Revision(3)),
        ])
        .await;
    let Outcome::RecordsPatch(patched) = &results[4] else { panic!("{results:?}") };
    assert_eq!(patched.record.as_ref().unwrap().document_json, r#"{"n":1}"#);
    let Outcome::RecordsDelete(deleted) = &results[6] else { panic!("{results:?}") };
    assert_eq!(deleted.result.unwrap().revision, 4);
    assert!(pannier.try_record("b", "elsewhere").await.is_ok());
    assert_eq!(next(&mut watch).await.changes.len(), 2, "who watches is woken once it is committed");
    let collection = pannier.collection("c").await.unwrap();
    assert_eq!((collection.record_count, collection.tombstone_count, collection.size_bytes), (1, 1, 10));
}

#[tokio::test]
async fn a_record_that_fails_undoes_all() {
    let pannier = pannier().await;
    pannier.make_collection("c").await;
    pannier.put_record("old", "{}").await;
    let (_, cursor) = pannier.all_changes("", 0).await;
    let batch = |items| {
        What::RecordsBatchPut(records::BatchPutRequest {
            collection: "c".into(),
            items,
            ..Default::default()
        })
    };
    let failing = [
        (put("c", insert("old")), "records_put", Code::AlreadyExists, ErrorReason::RecordExists),
        (put("none", item("k", "{}")), "records_put", Code::NotFound, ErrorReason::CollectionNotFound),
        (patch("none", "{}"), "records_patch", Code::NotFound, ErrorReason::RecordNotFound),
        (delete("old", 7), "records_delete", Code::Aborted, ErrorReason::RecordChanged),
        (
            check("old", Expected::Absent(true)),
            "records_check",
            Code::AlreadyExists,
            ErrorReason::RecordExists,
        ),
        (
            check("none", Expected::Present(true)),
            "records_check",
            Code::NotFound,
            ErrorReason::RecordNotFound,
        ),
        (
            batch(vec![item("x", "{}"), insert("old")]),
            "records_batch_put.items[1]",
            Code::AlreadyExists,
            ErrorReason::RecordExists,
        ),
    ];
    for (mutation, field, code, reason) in failing {
        let refused = pannier.try_commit(vec![put("c", item("made", "{}")), mutation]).await.unwrap_err();
        assert_failed(&refused, &format!("mutations[1].{field}"), code, reason);
    }
    assert!(pannier.all_changes(&cursor, 0).await.0.is_empty());
    assert_eq!(pannier.collection("c").await.unwrap().record_count, 1);
}

#[tokio::test]
async fn contradictions_and_bad_fields_are_told_before_anything_is_done() {
    let pannier = pannier().await;
    let refused = pannier
        .try_commit(vec![
            put("c", item("a", "{}")),
            put("c", insert("a")),
            delete("a", 0),
            patch("a", "{}"),
            put("c", item("k", "[")),
            check("", Expected::Present(false)),
        ])
        .await
        .unwrap_err();
    let expected = [
        "mutations[1]",
        "mutations[3]",
        "mutations[4].records_put.item.document_json",
        "mutations[5].records_check.key",
        "mutations[5].records_check.present",
    ];
    assert_eq!(violated_fields(&refused), expected);
}

#[tokio::test]
async fn batches_of_patches_and_of_settings_are_mutations_that_are_done_whole() {
    let pannier = pannier().await;
    pannier.make_collection("c").await;
    for key in ["a", "b"] {
        pannier.put_record(key, r#"{"o":{"x":1}}"#).await;
    }
    let item = |key: &str| records::PatchItem {
        key: key.into(),
        patch_json: r#"{"o":{}}"#.into(),
        mode: records::PatchMode::Replace.into(),
        ..Default::default()
    };
    let patches = |items, atomic| {
        What::RecordsBatchPatch(records::BatchPatchRequest {
            collection: "c".into(),
            items,
            atomic,
            ..Default::default()
        })
    };
    let setting = |key: &str, condition| pannier_proto::settings::v1::SetItem {
        key: key.into(),
        value_json: "1".into(),
        condition,
    };
    let sets = |items| {
        What::SettingsBatchSet(pannier_proto::settings::v1::BatchSetRequest { items, ..Default::default() })
    };
    let refused = pannier
        .try_commit(vec![sets(vec![setting("s", None)]), patches(vec![item("a"), item("none")], false)])
        .await
        .unwrap_err();
    let field = "mutations[1].records_batch_patch.items[1]";
    assert_failed(&refused, field, Code::NotFound, ErrorReason::RecordNotFound);
    assert!(pannier.setting_keys("").await.is_empty());
    let results = pannier
        .commit(vec![
            patches(vec![item("a"), item("b")], false),
            sets(vec![setting("s", None), setting("t", None)]),
        ])
        .await;
    let Outcome::RecordsBatchPatch(patched) = &results[0] else { panic!("{results:?}") };
    let Outcome::SettingsBatchSet(set) = &results[1] else { panic!("{results:?}") };
    assert_eq!((patched.results.len(), set.results.len()), (2, 2));
    assert_eq!(pannier.document("b").await.as_deref(), Some(r#"{"o":{}}"#));
    assert_eq!(pannier.setting_keys("").await, ["s", "t"]);
    // What cannot succeed is told beforehand.
    let absent = pannier_proto::settings::v1::set_item::Condition::IfAbsent(true);
    let refused = pannier
        .try_commit(vec![
            delete("a", 0),
            patches(vec![item("a")], true),
            sets(vec![setting("u", None), setting("u", Some(absent))]),
        ])
        .await
        .unwrap_err();
    let expected = ["mutations[1]", "mutations[1].records_batch_patch.atomic", "mutations[2]"];
    assert_eq!(violated_fields(&refused), expected);
}

#[tokio::test]
async fn documents_of_a_commit_are_judged_together() {
    let pannier = pannier().await;
    let schema_json = r#"{"properties":{"n":{"type":"integer"}}}"#.to_owned();
    let request = records::CreateCollectionRequest { name: "c".into(), schema_json, ..Default::default() };
    pannier.try_make_collection(request).await.unwrap();
    // More mutations than attempts: each patch changes what those before it have made.
    let mut mutations = vec![put("c", item("k", "{}"))];
    mutations.extend((0..40).map(|n| patch("k", &format!(r#"{{"n":{n}}}"#))));
    mutations.extend((0..40).map(|n| put("c", item(&format!("k{n}"), &format!(r#"{{"n":{n}}}"#)))));
    pannier.commit(mutations).await;
    assert_eq!(pannier.document("k").await.as_deref(), Some(r#"{"n":39}"#));
    let wrong = vec![put("c", item("new", "{}")), patch("k", r#"{"n":"x"}"#)];
    let refused = pannier.try_commit(wrong).await.unwrap_err();
    assert_failed(&refused, "mutations[1].records_patch", Code::InvalidArgument, ErrorReason::SchemaViolated);
    assert_eq!(pannier.document("new").await, None);
}
