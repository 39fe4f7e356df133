//! The cache of the floor.

use pannier_proto::cache::v1::cache_service_server::CacheService;
use pannier_proto::cache::v1::*;
use tonic::{Request, Response, Status};

use super::{Answers, unmeasured};
use crate::Fallible;

/// Answers with what the sidecar answered.
#[derive(Clone)]
pub(super) struct Cache {
    entry: Entry,
    put: PutResult,
}

impl Cache {
    pub(super) fn new(answers: &Answers) -> Fallible<Self> {
        Ok(Self { entry: answers.read("Entry")?, put: answers.read("PutResult")? })
    }
}

#[tonic::async_trait]
impl CacheService for Cache {
    async fn get(&self, _request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Ok(Response::new(GetResponse { entry: Some(self.entry.clone()) }))
    }

    async fn batch_get(
        &self,
        request: Request<BatchGetRequest>,
    ) -> Result<Response<BatchGetResponse>, Status> {
        let keys = request.into_inner().keys;
        let result = |key| BatchGetResult { key, entry: Some(self.entry.clone()), ..Default::default() };
        Ok(Response::new(BatchGetResponse { results: keys.into_iter().map(result).collect() }))
    }

    async fn put(&self, _request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(PutResponse { result: Some(self.put.clone()) }))
    }

    async fn batch_put(
        &self,
        request: Request<BatchPutRequest>,
    ) -> Result<Response<BatchPutResponse>, Status> {
        let outcome = Some(batch_put_result::Outcome::Put(self.put.clone()));
        let results = vec![BatchPutResult { outcome }; request.into_inner().items.len()];
        Ok(Response::new(BatchPutResponse { results }))
    }

    unmeasured! {
        get_or_lease(GetOrLeaseRequest) -> GetOrLeaseResponse;
        release_lease(ReleaseLeaseRequest) -> ReleaseLeaseResponse;
        exists(ExistsRequest) -> ExistsResponse;
        delete(DeleteRequest) -> DeleteResponse;
        delete_by_prefix(DeleteByPrefixRequest) -> DeleteByPrefixResponse;
        delete_by_tag(DeleteByTagRequest) -> DeleteByTagResponse;
        touch(TouchRequest) -> TouchResponse;
        evict(EvictRequest) -> EvictResponse;
        list(ListRequest) -> ListResponse;
        stats(StatsRequest) -> StatsResponse;
        update_namespace(UpdateNamespaceRequest) -> UpdateNamespaceResponse;
        get_namespace(GetNamespaceRequest) -> GetNamespaceResponse;
        list_namespaces(ListNamespacesRequest) -> ListNamespacesResponse;
        delete_namespace(DeleteNamespaceRequest) -> DeleteNamespaceResponse;
    }
}
