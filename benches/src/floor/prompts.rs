//! The prompts of the floor.

use pannier_proto::prompts::v1::prompts_service_server::PromptsService;
use pannier_proto::prompts::v1::*;
use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, unmeasured};
use crate::Fallible;

/// Answers with what the sidecar answered.
#[derive(Clone)]
pub(super) struct Prompts {
    saved: SaveResponse,
    prompt: GetResponse,
    page: ListResponse,
    stats: StatsResponse,
}

impl Prompts {
    pub(super) fn new(answers: &Answers) -> Fallible<Self> {
        Ok(Self {
            saved: answers.read("SavedPrompt")?,
            prompt: answers.read("Prompt")?,
            page: answers.read("PromptPage")?,
            stats: answers.read("PromptStats")?,
        })
    }
}

#[tonic::async_trait]
impl PromptsService for Prompts {
    async fn save(&self, _request: Request<SaveRequest>) -> Result<Response<SaveResponse>, Status> {
        Ok(Response::new(self.saved))
    }

    async fn get(&self, _request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Ok(Response::new(self.prompt.clone()))
    }

    async fn list(&self, _request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Ok(Response::new(self.page.clone()))
    }

    async fn stats(&self, _request: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        Ok(Response::new(self.stats.clone()))
    }

    type ImportStream = Empty<Result<ImportResponse, Status>>;

    async fn import(
        &self,
        _request: Request<Streaming<ImportRequest>>,
    ) -> Result<Response<Self::ImportStream>, Status> {
        Err(super::not_measured())
    }

    type ExportStream = Empty<Result<ExportResponse, Status>>;

    async fn export(&self, _request: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        Err(super::not_measured())
    }

    unmeasured! {
        batch_save(BatchSaveRequest) -> BatchSaveResponse;
        batch_get(BatchGetRequest) -> BatchGetResponse;
        list_conversations(ListConversationsRequest) -> ListConversationsResponse;
        search(SearchRequest) -> SearchResponse;
        score(ScoreRequest) -> ScoreResponse;
        batch_score(BatchScoreRequest) -> BatchScoreResponse;
        tag(TagRequest) -> TagResponse;
        delete(DeleteRequest) -> DeleteResponse;
        batch_delete(BatchDeleteRequest) -> BatchDeleteResponse;
        prune(PruneRequest) -> PruneResponse;
    }
}
