//! The records of the floor.

use pannier_proto::records::v1::records_service_server::RecordsService;
use pannier_proto::records::v1::*;
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

use super::{Answers, unmeasured};
use crate::Fallible;

/// Answers with what the sidecar answered.
#[derive(Clone)]
pub(super) struct Records {
    put: PutResult,
    record: GetResponse,
}

impl Records {
    pub(super) fn new(answers: &Answers) -> Fallible<Self> {
        Ok(Self { put: answers.read("PutRecord")?, record: answers.read("Record")? })
    }
}

#[tonic::async_trait]
impl RecordsService for Records {
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

    async fn get(&self, _request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Ok(Response::new(self.record.clone()))
    }

    type WatchStream = Empty<Result<WatchResponse, Status>>;

    async fn watch(&self, _request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(super::not_measured())
    }

    unmeasured! {
        create_collection(CreateCollectionRequest) -> CreateCollectionResponse;
        get_collection(GetCollectionRequest) -> GetCollectionResponse;
        list_collections(ListCollectionsRequest) -> ListCollectionsResponse;
        update_collection(UpdateCollectionRequest) -> UpdateCollectionResponse;
        delete_collection(DeleteCollectionRequest) -> DeleteCollectionResponse;
        patch(PatchRequest) -> PatchResponse;
        batch_patch(BatchPatchRequest) -> BatchPatchResponse;
        batch_get(BatchGetRequest) -> BatchGetResponse;
        list(ListRequest) -> ListResponse;
        query(QueryRequest) -> QueryResponse;
        delete(DeleteRequest) -> DeleteResponse;
        batch_delete(BatchDeleteRequest) -> BatchDeleteResponse;
        changes(ChangesRequest) -> ChangesResponse;
        sync(SyncRequest) -> SyncResponse;
    }
}
