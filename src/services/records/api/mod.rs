//! The RPCs of `pannier.records.v1.RecordsService`: parse, store, reply.

mod changes;
mod collections;
mod mutations;
mod query;
mod reads;
mod sync;
mod watch;

use pannier_proto::records::v1 as pb;
use pannier_proto::records::v1::records_service_server::{
    RecordsService as Rpc, RecordsServiceServer, SERVICE_NAME,
};
use tonic::Request;

use super::convert::Parser;
use super::store::Page;
use super::{Records, RecordsService};
use crate::answer::Budget;
use crate::error::Result;
use crate::status::{Reply, reply};
use crate::storage::idempotency::RequestKey;
use crate::storage::{Durability, Operation};

/// The service's full name.
pub const NAME: &str = SERVICE_NAME;

/// The service for tonic's router, with messages of at most `message_bytes_max` either way.
pub fn server(records: RecordsService) -> RecordsServiceServer<RecordsService> {
    let bytes_max = records.0.settings.server.message_bytes_max();
    RecordsServiceServer::new(records)
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(bytes_max)
}

/// The methods that take a request and give an answer are all alike: mutations are prepared and run in a transaction of their own,
/// which is durable in full unless the request says otherwise; the others are functions of that name. A weight is the work that a byte of
/// the request makes, beside that of a document: schemas are compiled on a thread of their own.
macro_rules! calls {
    (mutations { $($mutation:ident $method:literal, weight $weight:literal: $prepare:ident($asks:ident) => $answers:ident;)* }
     others { $($other:ident: $asked:ident => $answered:ident;)* }) => {
        #[tonic::async_trait]
        impl Rpc for RecordsService {
            type WatchStream = watch::Messages;

            $(async fn $mutation(&self, request: Request<pb::$asks>) -> Reply<pb::$answers> {
                let mut request = request.into_inner();
                let bytes = prost::Message::encoded_len(&request).saturating_mul($weight);
                let records = self.0.clone();
                let prepared = crate::convert::prepared(bytes, move || {
                    let mut parser = Parser::new(&records.settings.records);
                    let id = parser.request_id(&std::mem::take(&mut request.request_id));
                    let key = records.request_keys.key(id, $method, &request);
                    let operation = records.$prepare(&mut parser, request);
                    parser.violations.check().map(|()| (key, operation))
                });
                reply(self.0.run(prepared.await).await)
            })*

            $(async fn $other(&self, request: Request<pb::$asked>) -> Reply<pb::$answered> {
                reply(self.0.$other(request.into_inner()).await)
            })*

            async fn watch(&self, request: Request<pb::WatchRequest>) -> Reply<Self::WatchStream> {
                reply(self.0.watch(request.into_inner()).await)
            }
        }
    };
}

calls! {
    mutations {
        create_collection "CreateCollection", weight 4_096: prepare_create_collection(CreateCollectionRequest) => CreateCollectionResponse;
        update_collection "UpdateCollection", weight 4_096: prepare_update_collection(UpdateCollectionRequest) => UpdateCollectionResponse;
        delete_collection "DeleteCollection", weight 1: prepare_delete_collection(DeleteCollectionRequest) => DeleteCollectionResponse;
        put "Put", weight 1: prepare_put(PutRequest) => PutResponse;
        batch_put "BatchPut", weight 1: prepare_batch_put(BatchPutRequest) => BatchPutResponse;
        patch "Patch", weight 1: prepare_patch(PatchRequest) => PatchResponse;
        batch_patch "BatchPatch", weight 1: prepare_batch_patch(BatchPatchRequest) => BatchPatchResponse;
        delete "Delete", weight 1: prepare_delete(DeleteRequest) => DeleteResponse;
        batch_delete "BatchDelete", weight 1: prepare_batch_delete(BatchDeleteRequest) => BatchDeleteResponse;
    }
    others {
        get_collection: GetCollectionRequest => GetCollectionResponse;
        list_collections: ListCollectionsRequest => ListCollectionsResponse;
        get: GetRequest => GetResponse;
        batch_get: BatchGetRequest => BatchGetResponse;
        list: ListRequest => ListResponse;
        query: QueryRequest => QueryResponse;
        changes: ChangesRequest => ChangesResponse;
        sync: SyncRequest => SyncResponse;
    }
}

impl Records {
    /// Runs a mutation in a transaction of its own, unless something is wrong with it.
    async fn run<A: prost::Message + Default + 'static>(
        &self,
        prepared: Result<(Option<RequestKey>, Operation<A>)>,
    ) -> Result<A> {
        let (key, operation) = prepared?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    /// A page of a list.
    fn page<K>(&self, after: Option<K>, rows_max: u64) -> Page<K> {
        let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
        Page { after, rows_max, budget: Budget::of_call() }
    }
}
