//! The calls of the prompts service as tests write them. Those that cannot fail in the test at hand unwrap.

use pannier_proto::prompts::v1 as pb;
use pannier_proto::prompts::v1::prompt_score::Value;
use pannier_proto::prompts::v1::prompts_service_client::PromptsServiceClient;
use prost_types::{Duration, Timestamp};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::harness::{Pannier, START_US};

/// A prompt of the backend `anthropic` with that idea, and nothing that it need not have.
pub fn new_prompt(idea: &str) -> pb::NewPrompt {
    let body =
        pb::PromptBody { idea: idea.into(), improved_prompt: format!("better {idea}"), ..Default::default() };
    pb::NewPrompt { body: Some(body), backend: "anthropic".into(), ..Default::default() }
}

/// The same, made so many seconds after the tests' beginning.
pub fn prompt_at(idea: &str, seconds: i64) -> pb::NewPrompt {
    pb::NewPrompt { prompt_time: Some(time(START_US + seconds * 1_000_000)), ..new_prompt(idea) }
}

/// A time on the wire.
pub fn time(us: i64) -> Timestamp {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) * 1_000).unwrap();
    Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}

/// Microseconds of a time on the wire.
pub fn us(time: Option<&Timestamp>) -> Option<i64> {
    time.map(|time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

/// A duration on the wire.
pub fn ms(ms: i64) -> Option<Duration> {
    Some(Duration { seconds: ms / 1_000, nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap() })
}

pub fn number(name: &str, number: f64) -> pb::PromptScore {
    pb::PromptScore { name: name.into(), value: Some(Value::Number(number)), update_time: None }
}

pub fn boolean(name: &str, boolean: bool) -> pb::PromptScore {
    pb::PromptScore { name: name.into(), value: Some(Value::Boolean(boolean)), update_time: None }
}

pub fn category(name: &str, category: &str) -> pb::PromptScore {
    pb::PromptScore { name: name.into(), value: Some(Value::Category(category.into())), update_time: None }
}

/// The ideas of prompts that were asked for with their bodies.
pub fn ideas(prompts: &[pb::Prompt]) -> Vec<String> {
    prompts.iter().map(|prompt| prompt.body.clone().unwrap().idea).collect()
}

pub fn ids(prompts: &[pb::Prompt]) -> Vec<i64> {
    prompts.iter().map(|prompt| prompt.id).collect()
}

impl Pannier {
    pub fn prompts(&self) -> PromptsServiceClient<Channel> {
        self.prompts.clone()
    }

    pub async fn try_save(&self, prompt: pb::NewPrompt) -> Result<pb::SaveResponse, Status> {
        let request = pb::SaveRequest { prompt: Some(prompt), ..Default::default() };
        Ok(self.prompts().save(request).await?.into_inner())
    }

    /// Saves a prompt that is not there; answers with its number.
    pub async fn save(&self, prompt: pb::NewPrompt) -> i64 {
        let saved = self.try_save(prompt).await.unwrap();
        assert!(!saved.existed);
        saved.prompt_id
    }

    pub async fn try_save_all(
        &self,
        prompts: Vec<pb::NewPrompt>,
    ) -> Result<Vec<pb::BatchSaveResult>, Status> {
        let request = pb::BatchSaveRequest { prompts, ..Default::default() };
        Ok(self.prompts().batch_save(request).await?.into_inner().results)
    }

    /// Saves prompts that are not there; answers with their numbers.
    pub async fn save_all(&self, prompts: Vec<pb::NewPrompt>) -> Vec<i64> {
        let mut ids = Vec::new();
        for chunk in prompts.chunks(1_000) {
            for result in self.try_save_all(chunk.to_vec()).await.unwrap() {
                assert_eq!((result.existed, result.error), (false, None));
                ids.push(result.prompt_id);
            }
        }
        ids
    }

    pub async fn try_prompt(&self, prompt_id: i64) -> Result<pb::Prompt, Status> {
        let request = pb::GetRequest { prompt_id };
        Ok(self.prompts().get(request).await?.into_inner().prompt.unwrap())
    }

    pub async fn prompt(&self, prompt_id: i64) -> pb::Prompt {
        self.try_prompt(prompt_id).await.unwrap()
    }

    /// The pages of a list.
    pub async fn prompt_pages(&self, mut request: pb::ListRequest) -> Vec<Vec<pb::Prompt>> {
        let mut pages = Vec::new();
        loop {
            let page = self.prompts().list(request.clone()).await.unwrap().into_inner();
            pages.push(page.prompts);
            assert!(pages.len() < 10_000, "the pages do not end");
            if page.next_page_token.is_empty() {
                return pages;
            }
            request.page_token = page.next_page_token;
            request.offset = 0;
        }
    }

    /// All prompts of a list.
    pub async fn list_prompts(&self, request: pb::ListRequest) -> Vec<pb::Prompt> {
        self.prompt_pages(request).await.concat()
    }

    /// The numbers of the prompts that a filter takes, the oldest first.
    pub async fn filtered(&self, filter: pb::PromptFilter) -> Vec<i64> {
        let order = pb::PromptOrder::OldestFirst.into();
        let request = pb::ListRequest { filter: Some(filter), order, ..Default::default() };
        ids(&self.list_prompts(request).await)
    }

    /// All conversations: name, count, first and last time.
    pub async fn conversations(&self, page_size: i32) -> Vec<(String, i64, i64, i64)> {
        let mut request = pb::ListConversationsRequest { page_size, ..Default::default() };
        let mut found = Vec::new();
        loop {
            let page = self.prompts().list_conversations(request.clone()).await.unwrap().into_inner();
            found.extend(page.conversations.into_iter().map(|conversation| {
                let (first, last) =
                    (us(conversation.first_time.as_ref()), us(conversation.last_time.as_ref()));
                let (id, count) = (conversation.conversation_id, conversation.prompt_count);
                (id, count, first.unwrap(), last.unwrap())
            }));
            if page.next_page_token.is_empty() {
                return found;
            }
            request.page_token = page.next_page_token;
        }
    }

    pub async fn delete_prompt(&self, prompt_id: i64) -> bool {
        let request = pb::DeleteRequest { prompt_id, ..Default::default() };
        self.prompts().delete(request).await.unwrap().into_inner().deleted
    }

    pub async fn try_score(
        &self,
        prompt_id: i64,
        set: Vec<pb::PromptScore>,
        remove: &[&str],
    ) -> Result<Vec<pb::PromptScore>, Status> {
        let remove = remove.iter().map(|name| (*name).to_owned()).collect();
        let request = pb::ScoreRequest { prompt_id, set, remove, ..Default::default() };
        Ok(self.prompts().score(request).await?.into_inner().scores)
    }

    pub async fn try_tag(
        &self,
        prompt_id: i64,
        add: &[&str],
        remove: &[&str],
    ) -> Result<Vec<String>, Status> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (add, remove) = (texts(add), texts(remove));
        let request = pb::TagRequest { prompt_id, add, remove, ..Default::default() };
        Ok(self.prompts().tag(request).await?.into_inner().tags)
    }

    pub async fn prune(&self, request: pb::PruneRequest) -> i64 {
        self.prompts().prune(request).await.unwrap().into_inner().pruned_count
    }

    /// The messages of an export.
    pub async fn export_prompts(&self, request: pb::ExportRequest) -> Vec<pb::ExportResponse> {
        let mut stream = self.prompts().export(request).await.unwrap().into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await.unwrap() {
            messages.push(message);
        }
        messages
    }

    pub async fn import(
        &self,
        batches: Vec<Vec<pb::NewPrompt>>,
    ) -> Result<Streaming<pb::ImportResponse>, Status> {
        let messages = batches.into_iter().map(|prompts| pb::ImportRequest { prompts, durability: 0 });
        let stream = tokio_stream::iter(messages.collect::<Vec<_>>());
        Ok(self.prompts().import(stream).await?.into_inner())
    }

    /// Rows of all tables that hold something of prompts.
    pub async fn prompt_rows(&self) -> i64 {
        let mut count = 0;
        for table in ["prompts", "prompt_bodies", "prompt_tags", "prompt_scores", "prompt_conversations"] {
            count += self.row_count(table).await;
        }
        count
    }
}
