//! The calls of the cache service as tests write them. Those that cannot fail in the test at hand unwrap.

use pannier_proto::cache::v1 as pb;
use tonic::Status;

use super::items::seconds;
use crate::harness::Pannier;

impl Pannier {
    pub async fn try_put(&self, namespace: &str, item: pb::PutItem) -> Result<pb::PutResult, Status> {
        let request = pb::PutRequest { namespace: namespace.into(), item: Some(item), ..Default::default() };
        self.cache.clone().put(request).await.map(|answer| answer.into_inner().result.unwrap())
    }

    pub async fn put(&self, namespace: &str, item: pb::PutItem) -> pb::PutResult {
        self.try_put(namespace, item).await.unwrap()
    }

    pub async fn try_batch_put(
        &self,
        namespace: &str,
        items: Vec<pb::PutItem>,
    ) -> Result<Vec<pb::BatchPutResult>, Status> {
        let request = pb::BatchPutRequest { namespace: namespace.into(), items, ..Default::default() };
        self.cache.clone().batch_put(request).await.map(|answer| answer.into_inner().results)
    }

    /// Puts all items; none may fail.
    pub async fn put_all(&self, namespace: &str, items: Vec<pb::PutItem>) -> Vec<pb::PutResult> {
        let results = self.try_batch_put(namespace, items).await.unwrap();
        results.into_iter().map(put_of).collect()
    }

    pub async fn try_get(&self, namespace: &str, key: &str) -> Result<Option<pb::Entry>, Status> {
        let request = pb::GetRequest { namespace: namespace.into(), key: key.into(), ..Default::default() };
        self.cache.clone().get(request).await.map(|answer| answer.into_inner().entry)
    }

    pub async fn get(&self, namespace: &str, key: &str) -> Option<pb::Entry> {
        self.try_get(namespace, key).await.unwrap()
    }

    pub async fn batch_get<K: Into<String>>(
        &self,
        namespace: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Vec<pb::BatchGetResult> {
        let keys = keys.into_iter().map(Into::into).collect();
        let request = pb::BatchGetRequest { namespace: namespace.into(), keys, ..Default::default() };
        self.cache.clone().batch_get(request).await.unwrap().into_inner().results
    }

    pub async fn exists(&self, namespace: &str, keys: &[&str]) -> Vec<bool> {
        let keys = keys.iter().map(ToString::to_string).collect();
        let request = pb::ExistsRequest { namespace: namespace.into(), keys };
        self.cache
            .clone()
            .exists(request)
            .await
            .unwrap()
            .into_inner()
            .results
            .iter()
            .map(|result| result.exists)
            .collect()
    }

    pub async fn delete_items(&self, namespace: &str, items: Vec<pb::DeleteItem>) -> Vec<pb::DeleteOutcome> {
        let request = pb::DeleteRequest { namespace: namespace.into(), items, ..Default::default() };
        self.cache
            .clone()
            .delete(request)
            .await
            .unwrap()
            .into_inner()
            .results
            .iter()
            .map(pb::DeleteResult::outcome)
            .collect()
    }

    pub async fn delete(&self, namespace: &str, keys: &[&str]) -> Vec<pb::DeleteOutcome> {
        let item = |key: &&str| pb::DeleteItem { key: (*key).into(), if_etag: None };
        self.delete_items(namespace, keys.iter().map(item).collect()).await
    }

    /// (deleted, more)
    pub async fn delete_by_prefix(&self, namespace: &str, prefix: &str) -> (i64, bool) {
        let request = pb::DeleteByPrefixRequest {
            namespace: namespace.into(),
            prefix: prefix.into(),
            ..Default::default()
        };
        let answer = self.cache.clone().delete_by_prefix(request).await.unwrap().into_inner();
        (answer.deleted_count, answer.more)
    }

    /// (deleted, more)
    pub async fn delete_by_tag(&self, namespace: &str, tag: &str) -> (i64, bool) {
        let request =
            pb::DeleteByTagRequest { namespace: namespace.into(), tag: tag.into(), ..Default::default() };
        let answer = self.cache.clone().delete_by_tag(request).await.unwrap().into_inner();
        (answer.deleted_count, answer.more)
    }

    pub async fn touch(
        &self,
        namespace: &str,
        key: &str,
        expiry: Option<pb::touch_item::Expiry>,
    ) -> pb::TouchResult {
        let items = vec![pb::TouchItem { key: key.into(), expiry }];
        let request = pb::TouchRequest { namespace: namespace.into(), items, ..Default::default() };
        let mut results = self.cache.clone().touch(request).await.unwrap().into_inner().results;
        assert_eq!(results.len(), 1);
        results.remove(0)
    }

    pub async fn evict(&self, namespace: &str, count: i32) -> pb::EvictResponse {
        let request = pb::EvictRequest { namespace: namespace.into(), count, ..Default::default() };
        self.cache.clone().evict(request).await.unwrap().into_inner()
    }

    pub async fn try_list(&self, request: pb::ListRequest) -> Result<pb::ListResponse, Status> {
        self.cache.clone().list(request).await.map(tonic::Response::into_inner)
    }

    /// All pages of a query.
    pub async fn pages(&self, mut request: pb::ListRequest) -> Vec<Vec<pb::Entry>> {
        let mut pages = Vec::new();
        loop {
            let page = self.try_list(request.clone()).await.unwrap();
            pages.push(page.entries);
            assert!(pages.len() < 10_000, "the pages do not end");
            if page.next_page_token.is_empty() {
                return pages;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// All live entries with their values, as List tells them.
    pub async fn entries(&self, namespace: &str) -> Vec<pb::Entry> {
        let request =
            pb::ListRequest { namespace: namespace.into(), include_values: true, ..Default::default() };
        self.pages(request).await.concat()
    }

    /// The live entry of a key as List tells it, which counts no access.
    pub async fn peek(&self, namespace: &str, key: &str) -> Option<pb::Entry> {
        self.entries(namespace).await.into_iter().find(|entry| entry.key == key)
    }

    /// All live keys.
    pub async fn keys(&self, namespace: &str) -> Vec<String> {
        let request = pb::ListRequest { namespace: namespace.into(), ..Default::default() };
        self.pages(request).await.concat().into_iter().map(|entry| entry.key).collect()
    }

    pub async fn stats(&self, namespace: &str) -> pb::NamespaceStats {
        let request = pb::StatsRequest { namespace: namespace.into() };
        self.cache.clone().stats(request).await.unwrap().into_inner().stats.unwrap()
    }

    pub async fn try_update_namespace(
        &self,
        namespace: pb::Namespace,
        paths: &[&str],
    ) -> Result<pb::UpdateNamespaceResponse, Status> {
        let update_mask =
            Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() });
        let request =
            pb::UpdateNamespaceRequest { namespace: Some(namespace), update_mask, ..Default::default() };
        self.cache.clone().update_namespace(request).await.map(tonic::Response::into_inner)
    }

    pub async fn update_namespace(
        &self,
        namespace: pb::Namespace,
        paths: &[&str],
    ) -> pb::UpdateNamespaceResponse {
        self.try_update_namespace(namespace, paths).await.unwrap()
    }

    pub async fn limit_entries(&self, name: &str, entries_max: i64) {
        let namespace = pb::Namespace { name: name.into(), entries_max, ..Default::default() };
        self.update_namespace(namespace, &["entries_max"]).await;
    }

    pub async fn limit_bytes(&self, name: &str, bytes_max: i64) {
        let namespace = pb::Namespace { name: name.into(), bytes_max, ..Default::default() };
        self.update_namespace(namespace, &["bytes_max"]).await;
    }

    pub async fn try_get_namespace(&self, name: &str) -> Result<pb::Namespace, Status> {
        let request = pb::GetNamespaceRequest { name: name.into() };
        self.cache.clone().get_namespace(request).await.map(|answer| answer.into_inner().namespace.unwrap())
    }

    pub async fn delete_namespace(&self, name: &str) -> bool {
        let request = pb::DeleteNamespaceRequest { name: name.into(), ..Default::default() };
        self.cache.clone().delete_namespace(request).await.unwrap().into_inner().deleted
    }

    /// GetOrLease with the setting's lease; waits for at most `wait_s`.
    pub async fn get_or_lease(&self, namespace: &str, key: &str, wait_s: i64) -> pb::GetOrLeaseResponse {
        let request = pb::GetOrLeaseRequest {
            namespace: namespace.into(),
            key: key.into(),
            wait_max: Some(seconds(wait_s)),
            ..Default::default()
        };
        self.cache.clone().get_or_lease(request).await.unwrap().into_inner()
    }

    /// Takes the lease of a key, which must be free.
    pub async fn lease(&self, namespace: &str, key: &str) -> String {
        let lease = self.get_or_lease(namespace, key, 0).await.lease.expect("the lease is free");
        assert!(!lease.token.is_empty());
        lease.token
    }

    pub async fn release(&self, namespace: &str, key: &str, token: &str) -> bool {
        let request = pb::ReleaseLeaseRequest {
            namespace: namespace.into(),
            key: key.into(),
            lease_token: token.into(),
            ..Default::default()
        };
        self.cache.clone().release_lease(request).await.unwrap().into_inner().released
    }

    /// Asks for statistics until they satisfy `holds`, moving the clock a second now and then so that upkeep runs.
    pub async fn settle(&self, namespace: &str, holds: impl Fn(&pb::NamespaceStats) -> bool) {
        for turn in 1..=600 {
            let stats = self.stats(namespace).await;
            if holds(&stats) {
                return;
            }
            assert!(turn < 600, "did not settle: {stats:?}");
            if turn % 10 == 0 {
                self.advance_s(1);
            }
        }
    }
}

/// What one item of a BatchPut that succeeded did.
#[track_caller]
pub fn put_of(result: pb::BatchPutResult) -> pb::PutResult {
    match result.outcome {
        Some(pb::batch_put_result::Outcome::Put(put)) => put,
        other => panic!("not stored: {other:?}"),
    }
}

/// The (code, reason) of an item of a BatchPut that failed.
#[track_caller]
pub fn error_of(result: &pb::BatchPutResult) -> (tonic::Code, pannier_proto::errors::v1::ErrorReason) {
    match &result.outcome {
        Some(pb::batch_put_result::Outcome::Error(error)) => {
            assert!(!error.message.is_empty());
            (tonic::Code::from(error.code), error.reason())
        }
        other => panic!("stored: {other:?}"),
    }
}
