//! The records' calls in short, for the tests beside.

use pannier_proto::records::v1 as pb;
use pannier_proto::records::v1::sync_mutation::{Base, What};
use pannier_proto::records::v1::watch_request::Start;
use tonic::{Status, Streaming};

use crate::harness::Pannier;

/// A document to be put.
pub fn item(key: &str, document_json: &str) -> pb::PutItem {
    pb::PutItem { key: key.into(), document_json: document_json.into(), ..Default::default() }
}

/// A mutation of the collection `c`.
pub fn mutation(mutation_id: i64, key: &str, base: Option<Base>, what: What) -> pb::SyncMutation {
    pb::SyncMutation { mutation_id, collection: "c".into(), key: key.into(), base, what: Some(what) }
}

/// A mutation that puts a document, whatever is there.
pub fn put(mutation_id: i64, key: &str, document_json: &str) -> pb::SyncMutation {
    mutation(mutation_id, key, None, What::PutJson(document_json.into()))
}

/// A pull of the collection `c`.
pub fn pull(cursor: &str) -> pb::SyncPull {
    pb::SyncPull { collection: "c".into(), cursor: cursor.into() }
}

/// The next message of a watch.
pub async fn next(watch: &mut Streaming<pb::WatchResponse>) -> pb::WatchResponse {
    watch.message().await.unwrap().expect("the watch goes on")
}

/// Keys and documents of changes; none: it was deleted.
pub fn told(changes: &[pb::Record]) -> Vec<(&str, Option<&str>)> {
    changes
        .iter()
        .map(|record| (record.key.as_str(), (!record.deleted).then_some(record.document_json.as_str())))
        .collect()
}

impl Pannier {
    /// Makes a collection without limits.
    pub async fn make_collection(&self, name: &str) -> pb::Collection {
        let request = pb::CreateCollectionRequest { name: name.into(), ..Default::default() };
        self.try_make_collection(request).await.unwrap()
    }

    pub async fn try_make_collection(
        &self,
        request: pb::CreateCollectionRequest,
    ) -> Result<pb::Collection, Status> {
        let answer = self.records.clone().create_collection(request).await?.into_inner();
        Ok(answer.collection.unwrap())
    }

    pub async fn collection(&self, name: &str) -> Result<pb::Collection, Status> {
        let request = pb::GetCollectionRequest { name: name.into() };
        Ok(self.records.clone().get_collection(request).await?.into_inner().collection.unwrap())
    }

    pub async fn try_put_record(&self, collection: &str, item: pb::PutItem) -> Result<pb::PutResult, Status> {
        let request =
            pb::PutRequest { collection: collection.into(), item: Some(item), ..Default::default() };
        Ok(self.records.clone().put(request).await?.into_inner().result.unwrap())
    }

    /// Puts into the collection `c`; answers with the revision.
    pub async fn put_record(&self, key: &str, document_json: &str) -> i64 {
        self.try_put_record("c", item(key, document_json)).await.unwrap().revision
    }

    pub async fn batch_put_records(
        &self,
        items: Vec<pb::PutItem>,
        mode: pb::PutMode,
    ) -> Vec<pb::BatchPutResult> {
        let request =
            pb::BatchPutRequest { collection: "c".into(), items, mode: mode.into(), ..Default::default() };
        self.records.clone().batch_put(request).await.unwrap().into_inner().results
    }

    pub async fn try_record(&self, collection: &str, key: &str) -> Result<pb::Record, Status> {
        let request = pb::GetRequest { collection: collection.into(), key: key.into() };
        Ok(self.records.clone().get(request).await?.into_inner().record.unwrap())
    }

    /// The document of a key of the collection `c`.
    pub async fn document(&self, key: &str) -> Option<String> {
        self.try_record("c", key).await.ok().map(|record| record.document_json)
    }

    pub async fn try_delete_record(&self, key: &str, if_revision: i64) -> Result<pb::DeleteResult, Status> {
        let item = Some(pb::DeleteItem { key: key.into(), if_revision });
        let request = pb::DeleteRequest { collection: "c".into(), item, ..Default::default() };
        Ok(self.records.clone().delete(request).await?.into_inner().result.unwrap())
    }

    /// Deletes from the collection `c`; answers with the deletion's revision.
    pub async fn delete_record(&self, key: &str) -> i64 {
        self.try_delete_record(key, 0).await.unwrap().revision
    }

    pub async fn try_changes(
        &self,
        collection: &str,
        cursor: &str,
        page_size: i32,
    ) -> Result<pb::ChangesResponse, Status> {
        let request = pb::ChangesRequest { collection: collection.into(), cursor: cursor.into(), page_size };
        Ok(self.records.clone().changes(request).await?.into_inner())
    }

    /// All changes of the collection `c` after a cursor, and the last cursor.
    pub async fn all_changes(&self, cursor: &str, page_size: i32) -> (Vec<pb::Record>, String) {
        let (mut found, mut cursor) = (Vec::new(), cursor.to_owned());
        loop {
            let page = self.try_changes("c", &cursor, page_size).await.unwrap();
            assert!(page_size == 0 || page.changes.len() <= usize::try_from(page_size).unwrap());
            found.extend(page.changes);
            cursor = page.cursor;
            if !page.more {
                return (found, cursor);
            }
        }
    }

    pub async fn watch_records(&self, start: Option<Start>) -> Streaming<pb::WatchResponse> {
        let request = pb::WatchRequest { collection: "c".into(), start };
        self.records.clone().watch(request).await.unwrap().into_inner()
    }

    pub async fn try_sync(&self, request: pb::SyncRequest) -> Result<pb::SyncResponse, Status> {
        Ok(self.records.clone().sync(request).await?.into_inner())
    }

    /// A client that has not pushed anything.
    pub async fn sync_client(&self) -> String {
        self.try_sync(pb::SyncRequest::default()).await.unwrap().client_id
    }

    /// Pushes mutations of a client that has received what became of those up to `last_mutation_id`.
    pub async fn push(
        &self,
        client_id: &str,
        last_mutation_id: i64,
        mutations: Vec<pb::SyncMutation>,
    ) -> Result<pb::SyncResponse, Status> {
        let client_id = client_id.to_owned();
        self.try_sync(pb::SyncRequest { client_id, last_mutation_id, mutations, ..Default::default() }).await
    }

    /// All records of the collection `c` by key.
    pub async fn list_records(&self, prefix: &str, page_size: i32) -> Vec<pb::Record> {
        let mut request = pb::ListRequest {
            collection: "c".into(),
            prefix: prefix.into(),
            page_size,
            ..Default::default()
        };
        let mut found = Vec::new();
        loop {
            let page = self.records.clone().list(request.clone()).await.unwrap().into_inner();
            found.extend(page.records);
            if page.next_page_token.is_empty() {
                return found;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Moves the clock from sweep to sweep until `table` has so many rows.
    pub async fn settle_records(&self, table: &str, rows: i64) {
        for _ in 0..300 {
            if self.row_count(table).await == rows {
                return;
            }
            self.advance_s(60);
            // The sweep runs while this is asked.
            _ = self.collection("c").await;
        }
        panic!("{table} has {} rows", self.row_count(table).await);
    }
}
