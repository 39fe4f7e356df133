//! Words for the protocol of records, the documents that the tests store, and what a merge patch makes of them.

use std::collections::BTreeMap;

use pannier_proto::records::v1 as pb;
use pb::records_service_client::RecordsServiceClient;
use pb::sync_mutation::{Base, What};
use serde_json::Value;
use tonic::Status;
use tonic::transport::Channel;

pub(crate) type Client = RecordsServiceClient<Channel>;

/// A client on a channel.
pub(crate) fn client(channel: Channel) -> Client {
    Client::new(channel).max_decoding_message_size(usize::MAX)
}

/// Makes a collection that holds whatever it is given.
pub(crate) async fn create(client: &mut Client, name: &str) {
    let request = pb::CreateCollectionRequest { name: name.to_owned(), ..Default::default() };
    client.create_collection(request).await.expect("a collection");
}

/// A record that is there, or the tombstone of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) revision: i64,
    /// None: it was deleted.
    pub(crate) text: Option<String>,
}

impl Version {
    pub(crate) fn of(record: &pb::Record) -> Self {
        let text = (!record.deleted).then(|| record.document_json.clone());
        assert!(text.is_some() || record.document_json.is_empty(), "a tombstone has no document: {record:?}");
        Self { revision: record.revision, text }
    }
}

/// Records by key.
pub(crate) type Versions = BTreeMap<String, Version>;

/// Only those that are there.
pub(crate) fn living(versions: &Versions) -> Versions {
    versions
        .iter()
        .filter(|(_, version)| version.text.is_some())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// All that a collection holds, read by List.
pub(crate) async fn everything(client: &mut Client, collection: &str) -> Versions {
    let mut request =
        pb::ListRequest { collection: collection.to_owned(), page_size: 500, ..Default::default() };
    let mut found = Versions::new();
    loop {
        let page = client.list(request.clone()).await.expect("a list").into_inner();
        for record in &page.records {
            assert!(!record.deleted, "a list tells what is there: {record:?}");
            let twice = found.insert(record.key.clone(), Version::of(record));
            assert_eq!(twice, None, "{} is listed twice", record.key);
        }
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

/// A page of changes.
pub(crate) async fn changes(
    client: &mut Client,
    collection: &str,
    cursor: &str,
    page_size: i32,
) -> Result<pb::ChangesResponse, Status> {
    let request =
        pb::ChangesRequest { collection: collection.to_owned(), cursor: cursor.to_owned(), page_size };
    Ok(client.changes(request).await?.into_inner())
}

/// All changes after a cursor, and where they end, while nobody writes.
pub(crate) async fn all_changes(
    client: &mut Client,
    collection: &str,
    cursor: &str,
) -> (Vec<pb::Record>, String) {
    let (mut told, mut cursor) = (Vec::new(), cursor.to_owned());
    loop {
        let page = changes(client, collection, &cursor, 0).await.expect("changes");
        told.extend(page.changes);
        cursor = page.cursor;
        if !page.more {
            return (told, cursor);
        }
    }
}

/// A mutation of a client; without a base it overwrites whatever is there.
pub(crate) fn mutation(
    id: i64,
    collection: &str,
    key: &str,
    base: Option<Base>,
    what: What,
) -> pb::SyncMutation {
    pb::SyncMutation {
        mutation_id: id,
        collection: collection.to_owned(),
        key: key.to_owned(),
        base,
        what: Some(what),
    }
}

/// A document like no other, written so that a change of white space, of the order of names or of the digits of a number would show.
pub(crate) fn document(ticket: u64) -> String {
    let more = "äö\\u00fc ".repeat((ticket % 23) as usize);
    format!(
        "{{ \"z\":{ticket},\t\"price\" : 1.50, \"big\": 12345678901234567890123, \"n\": {{\"y\": 1e3 ,\"x\":[1,2 , {}]}},\n\"a\":\"{more}\" }}",
        ticket % 7
    )
}

/// A merge patch like no other: it changes, adds, and removes.
pub(crate) fn patch(ticket: u64) -> String {
    let removed = ["\"price\"", "\"a\"", "\"p1\"", "\"none\""][(ticket % 4) as usize];
    format!(
        "{{\"z\": {ticket}, {removed}: null, \"n\":{{ \"x\":null, \"w{}\":{ticket} }}, \"p{}\":[{ticket}]}}",
        ticket % 3,
        ticket % 2
    )
}

/// The value of a document.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What a merge patch makes of a value (RFC 7396).
pub(crate) fn merged(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let Value::Object(mut object) = target else {
        return merged(Value::Object(Default::default()), &Value::Object(patch.clone()));
    };
    for (name, value) in patch {
        let before = object.remove(name);
        if !value.is_null() {
            object.insert(name.clone(), merged(before.unwrap_or_default(), value));
        }
    }
    Value::Object(object)
}

#[test]
fn a_patch_changes_adds_and_removes() {
    let cases = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
    ];
    for (target, patch, result) in cases {
        assert_eq!(merged(value(target), &value(patch)), value(result));
    }
    for ticket in 0..20 {
        assert_ne!(value(&document(ticket)), value(&document(ticket + 1)));
        assert!(value(&patch(ticket)).is_object());
    }
}
