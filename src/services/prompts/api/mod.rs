//! The RPCs of `pannier.prompts.v1.PromptsService`: parse, store, reply.

mod export;
mod import;
mod mutations;
mod prune;
mod reads;
mod search;

use std::time::{Duration, Instant};

use pannier_proto::prompts::v1 as pb;
use pannier_proto::prompts::v1::prompts_service_server::{
    PromptsService as Rpc, PromptsServiceServer, SERVICE_NAME,
};
use prost::Message as _;
use tonic::{Request, Streaming};

pub use prune::REST_MAX;

use super::convert::Parser;
use super::{Prompts, PromptsService};
use crate::clock;
use crate::convert::prepared;
use crate::error::Result;
use crate::status::{Reply, reply};
use crate::storage::idempotency::RequestKey;
use crate::storage::{Durability, Operation};

/// The service's full name.
pub const NAME: &str = SERVICE_NAME;

/// The service for tonic's router, with messages of at most `message_bytes_max` either way.
pub fn server(prompts: PromptsService) -> PromptsServiceServer<PromptsService> {
    let bytes_max = prompts.0.settings.server.message_bytes_max();
    PromptsServiceServer::new(prompts)
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(bytes_max)
}

/// The methods that take a request and give an answer are all alike: mutations are prepared and run in a transaction of their own;
/// the others are functions of that name.
macro_rules! calls {
    (mutations { $($mutation:ident $method:literal: $prepare:ident($asks:ident) => $answers:ident;)* }
     others { $($other:ident: $asked:ident => $answered:ident;)* }) => {
        #[tonic::async_trait]
        impl Rpc for PromptsService {
            type ImportStream = import::Messages;
            type ExportStream = export::Messages;

            $(async fn $mutation(&self, request: Request<pb::$asks>) -> Reply<pb::$answers> {
                let mut request = request.into_inner();
                let prompts = self.0.clone();
                let prepared = prepared(request.encoded_len(), move || {
                    let mut parser = Parser::new(&prompts.settings.prompts);
                    let id = parser.request_id(&std::mem::take(&mut request.request_id));
                    let key = prompts.request_keys.key(id, $method, &request);
                    let operation = prompts.$prepare(&mut parser, request);
                    parser.violations.check().map(|()| (key, operation))
                });
                reply(self.0.run(prepared.await).await)
            })*

            $(async fn $other(&self, request: Request<pb::$asked>) -> Reply<pb::$answered> {
                reply(self.0.$other(request.into_inner()).await)
            })*

            async fn import(&self, request: Request<Streaming<pb::ImportRequest>>) -> Reply<Self::ImportStream> {
                reply(self.0.import(request.into_inner()))
            }

            async fn export(&self, request: Request<pb::ExportRequest>) -> Reply<Self::ExportStream> {
                reply(self.0.export(request.into_inner()))
            }
        }
    };
}

calls! {
    mutations {
        save "Save": prepare_save(SaveRequest) => SaveResponse;
        batch_save "BatchSave": prepare_batch_save(BatchSaveRequest) => BatchSaveResponse;
        score "Score": prepare_score(ScoreRequest) => ScoreResponse;
        batch_score "BatchScore": prepare_batch_score(BatchScoreRequest) => BatchScoreResponse;
        tag "Tag": prepare_tag(TagRequest) => TagResponse;
        delete "Delete": prepare_delete(DeleteRequest) => DeleteResponse;
        batch_delete "BatchDelete": prepare_batch_delete(BatchDeleteRequest) => BatchDeleteResponse;
    }
    others {
        get: GetRequest => GetResponse;
        batch_get: BatchGetRequest => BatchGetResponse;
        list: ListRequest => ListResponse;
        list_conversations: ListConversationsRequest => ListConversationsResponse;
        search: SearchRequest => SearchResponse;
        stats: StatsRequest => StatsResponse;
        prune: PruneRequest => PruneResponse;
    }
}

impl Prompts {
    /// Runs a mutation in a transaction of its own, unless something is wrong with it.
    async fn run<A: prost::Message + Default + 'static>(
        &self,
        prepared: Result<(Option<RequestKey>, Operation<A>)>,
    ) -> Result<A> {
        let (key, operation) = prepared?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    /// Until when one step of a stream must be done: it has the time that a call has.
    fn step_deadline(&self) -> Instant {
        clock::instant() + Duration::from_millis(self.settings.server.deadline_ms)
    }
}
