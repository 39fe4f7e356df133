//! Searches as tests write them: prompts that are few words, and what is found by them.

use pannier_proto::prompts::v1 as pb;
use tonic::Status;

use crate::harness::Pannier;

/// A prompt with an idea, and nothing that it need not have.
pub fn idea(text: &str) -> pb::NewPrompt {
    let body = pb::PromptBody { idea: text.into(), improved_prompt: "-".into(), ..Default::default() };
    pb::NewPrompt { body: Some(body), backend: "anthropic".into(), ..Default::default() }
}

/// A prompt with these texts.
pub fn texts(idea_text: &str, improved_prompt: &str, context: &str) -> pb::NewPrompt {
    let mut new = idea(idea_text);
    let body = new.body.as_mut().unwrap();
    (body.improved_prompt, body.context) = (improved_prompt.into(), context.into());
    new
}

impl Pannier {
    /// Saves prompts in one call; their ids.
    pub async fn saved(&self, prompts: Vec<pb::NewPrompt>) -> Vec<i64> {
        let request = pb::BatchSaveRequest { prompts, ..Default::default() };
        let results = self.prompts.clone().batch_save(request).await.unwrap().into_inner().results;
        assert!(results.iter().all(|result| result.error.is_none()), "{results:?}");
        results.into_iter().map(|result| result.prompt_id).collect()
    }

    pub async fn try_search(&self, request: pb::SearchRequest) -> Result<pb::SearchResponse, Status> {
        Ok(self.prompts.clone().search(request).await?.into_inner())
    }

    /// All that a query finds, in one page.
    pub async fn search(&self, query: &str) -> pb::SearchResponse {
        let request = pb::SearchRequest { query: query.into(), page_size: 1_000, ..Default::default() };
        self.try_search(request).await.unwrap_or_else(|status| panic!("{query:?}: {status:?}"))
    }

    /// The ids of what a query finds, in their order.
    pub async fn found(&self, query: &str) -> Vec<i64> {
        let mut ids = ids(&self.search(query).await);
        ids.sort_unstable();
        ids
    }
}

/// The ids of an answer, the best first.
pub fn ids(answer: &pb::SearchResponse) -> Vec<i64> {
    answer.hits.iter().map(|hit| hit.prompt.as_ref().unwrap().id).collect()
}
