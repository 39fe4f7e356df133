//! Queries in short, for the tests beside.

use pannier_proto::records::v1 as pb;
use pb::Comparator;
use pb::filter::What;
use pb::query_order::By;
use tonic::Status;

use crate::harness::Pannier;

/// The comparison of what is at `path` with `value_json`.
pub fn compare(path: &str, comparator: Comparator, value_json: &str) -> pb::Filter {
    let comparison =
        pb::Comparison { path: path.into(), comparator: comparator.into(), value_json: value_json.into() };
    pb::Filter { what: Some(What::Compare(comparison)) }
}

/// All of these.
pub fn all(filters: Vec<pb::Filter>) -> pb::Filter {
    pb::Filter { what: Some(What::All(pb::FilterList { filters })) }
}

/// One of these.
pub fn any(filters: Vec<pb::Filter>) -> pb::Filter {
    pb::Filter { what: Some(What::Any(pb::FilterList { filters })) }
}

/// Not this.
pub fn not(filter: pb::Filter) -> pb::Filter {
    pb::Filter { what: Some(What::Not(Box::new(filter))) }
}

/// A request for the records that a filter takes.
pub fn query(collection: &str, filter: impl Into<Option<pb::Filter>>) -> pb::QueryRequest {
    pb::QueryRequest { collection: collection.into(), filter: filter.into(), ..Default::default() }
}

/// The order by what is at a path.
pub fn by_path(path: &str, descending: bool) -> pb::QueryOrder {
    pb::QueryOrder { by: Some(By::Path(path.into())), descending }
}

/// Keys of records.
pub fn keys(records: &[pb::Record]) -> Vec<String> {
    records.iter().map(|record| record.key.clone()).collect()
}

impl Pannier {
    pub async fn try_ask(&self, request: pb::QueryRequest) -> Result<pb::QueryResponse, Status> {
        Ok(self.records.clone().query(request).await?.into_inner())
    }

    /// One page: its keys, and how it was found.
    pub async fn ask(&self, request: pb::QueryRequest) -> (Vec<String>, pb::QueryPlan) {
        let page = self.try_ask(request).await.unwrap();
        (keys(&page.records), page.plan.unwrap())
    }

    /// The keys of all pages.
    pub async fn ask_all(&self, mut request: pb::QueryRequest) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            let page = self.try_ask(request.clone()).await.unwrap();
            let full = usize::try_from(request.page_size).unwrap();
            assert!(full == 0 || page.records.len() <= full);
            found.extend(keys(&page.records));
            if page.next_page_token.is_empty() {
                return found;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// A collection with these indexes.
    pub async fn collection_with_indexes(&self, name: &str, paths: &[&str]) -> pb::Collection {
        let request =
            pb::CreateCollectionRequest { name: name.into(), indexes: indexes(paths), ..Default::default() };
        self.records.clone().create_collection(request).await.unwrap().into_inner().collection.unwrap()
    }

    /// Has a collection have these indexes and no others.
    pub async fn declare_indexes(&self, name: &str, paths: &[&str]) -> pb::Collection {
        let request = pb::UpdateCollectionRequest {
            name: name.into(),
            indexes: Some(pb::IndexList { indexes: indexes(paths) }),
            ..Default::default()
        };
        self.records.clone().update_collection(request).await.unwrap().into_inner().collection.unwrap()
    }

    /// Waits until all indexes of a collection are ready.
    pub async fn until_ready(&self, name: &str) {
        let request = pb::GetCollectionRequest { name: name.into() };
        loop {
            let found = self.records.clone().get_collection(request.clone()).await.unwrap().into_inner();
            let indexes = found.collection.unwrap().indexes;
            if indexes.iter().all(|index| index.state == i32::from(pb::IndexState::Ready)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Stores documents under their keys, all of which must succeed.
    pub async fn store_all(&self, collection: &str, documents: &[(String, String)]) {
        for some in documents.chunks(500) {
            let item = |(key, json): &(String, String)| pb::PutItem {
                key: key.clone(),
                document_json: json.clone(),
                ..Default::default()
            };
            let request = pb::BatchPutRequest {
                collection: collection.into(),
                items: some.iter().map(item).collect(),
                ..Default::default()
            };
            for result in self.records.clone().batch_put(request).await.unwrap().into_inner().results {
                assert!(matches!(result.outcome, Some(pb::batch_put_result::Outcome::Put(_))), "{result:?}");
            }
        }
    }

    /// Stores one document.
    pub async fn store_one(&self, collection: &str, key: &str, json: &str) {
        self.store_all(collection, &[(key.into(), json.into())]).await;
    }
}

fn indexes(paths: &[&str]) -> Vec<pb::Index> {
    paths.iter().map(|path| pb::Index { path: (*path).into(), ..Default::default() }).collect()
}
