//! A way to the prompts of a server, the sidecar or the floor, and what workers do over it.

mod read;
mod write;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use pannier_proto::prompts::v1::prompts_service_client::PromptsServiceClient;
use pannier_proto::prompts::v1::*;
use prost_types::Timestamp;
use tonic::transport::Channel;

use super::refused;
use crate::Fallible;
use crate::contest::Supply;
use crate::files::Shelf;
use crate::prompts::{Entry, MONTH_US};

pub(crate) use read::{Asked, Reader};
pub(crate) use write::{CeilingSaver, Importer, Saver};

/// Pages with bodies are more than tonic's client takes by itself.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The prompts of one database.
pub(crate) struct History {
    shelf: Shelf,
    /// When the benchmark began; the prompts were made before.
    start_us: i64,
    filled: OnceLock<Filled>,
}

/// What the database had before anything was measured.
struct Filled {
    /// The prompts' ids by their numbers.
    ids: Vec<i64>,
    /// How many were made in the month before the start.
    of_month: u64,
}

impl History {
    pub(crate) fn new(start_us: i64) -> Self {
        Self { shelf: Shelf::default(), start_us, filled: OnceLock::new() }
    }

    /// As full as the other, for the floor.
    pub(crate) fn like(other: &Self) -> Fallible<Self> {
        let history = Self::new(other.start_us);
        history.shelf.take(other.filled()?.ids.len());
        history.shelf.add(other.filled()?.ids.len());
        history.set_filled(other.filled()?.ids.clone())?;
        Ok(history)
    }

    /// The fill is over, and these are the ids.
    pub(crate) fn set_filled(&self, ids: Vec<i64>) -> Fallible<()> {
        let begins = self.start_us - MONTH_US;
        let is_of_month = |number: &u64| Entry(*number).time_us(self.start_us) >= begins;
        let of_month = (0..ids.len() as u64).filter(is_of_month).count() as u64;
        self.filled.set(Filled { ids, of_month }).map_err(|_| "the prompts were filled twice".into())
    }

    /// The id that was given last before anything was measured.
    pub(crate) fn last_id(&self) -> Fallible<i64> {
        self.filled()?.ids.iter().copied().max().ok_or_else(|| "there are no prompts".into())
    }

    fn filled(&self) -> Fallible<&Filled> {
        self.filled.get().ok_or_else(|| "the prompts are not filled yet".into())
    }
}

/// A way to the prompts of a server.
#[derive(Clone)]
pub(crate) struct Prompter {
    pub(crate) client: PromptsServiceClient<Channel>,
    pub(crate) history: Arc<History>,
}

impl Prompter {
    pub(crate) fn new(channel: Channel, history: &Arc<History>) -> Self {
        let client = PromptsServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Self { client, history: Arc::clone(history) }
    }

    fn new_prompt(&self, entry: Entry, import_key: String) -> NewPrompt {
        let (prompt_tokens, completion_tokens) = entry.tokens();
        let failed = PromptError { code: "timeout".to_owned(), message: "no answer came in time".to_owned() };
        NewPrompt {
            body: Some(body(entry)),
            prompt_time: Some(timestamp(entry.time_us(self.history.start_us))),
            backend: entry.backend().to_owned(),
            model: entry.model().to_owned(),
            framework: entry.framework().to_owned(),
            provider: entry.provider().to_owned(),
            error: entry.is_failed().then_some(failed),
            confidence: entry.confidence(),
            latency: Some(duration(entry.latency_us())),
            prompt_tokens: Some(prompt_tokens),
            completion_tokens: Some(completion_tokens),
            conversation_id: entry.conversation_id(),
            tags: vec![entry.tag().to_owned()],
            import_key,
            ..NewPrompt::default()
        }
    }

    /// Saves a prompt that nobody has saved.
    pub(crate) async fn save(&mut self) -> Fallible<(Entry, SaveResponse)> {
        let entry = Entry(self.history.shelf.take(1).start);
        let prompt = Some(self.new_prompt(entry, String::new()));
        let request = SaveRequest { prompt, ..SaveRequest::default() };
        let saved = self.client.save(request).await.map_err(refused)?.into_inner();
        if saved.prompt_id == 0 || saved.existed {
            return Err("Save answered that nothing was saved".into());
        }
        self.history.shelf.add(1);
        Ok((entry, saved))
    }

    /// Saves so many prompts that nobody has saved, in one call: which, and their ids.
    pub(crate) async fn save_all(&mut self, count: usize) -> Fallible<(Range<u64>, Vec<i64>)> {
        let numbers = self.history.shelf.take(count);
        let prompts = numbers.clone().map(|number| self.new_prompt(Entry(number), String::new())).collect();
        let request = BatchSaveRequest { prompts, ..BatchSaveRequest::default() };
        let answer = self.client.batch_save(request).await.map_err(refused)?.into_inner();
        let ids = self.saved(&numbers, &answer.results)?;
        Ok((numbers, ids))
    }

    /// Counts what was saved, which must be all. Gives the ids.
    fn saved(&self, numbers: &Range<u64>, results: &[BatchSaveResult]) -> Fallible<Vec<i64>> {
        let is_saved = |result: &&BatchSaveResult| result.prompt_id != 0 && !result.existed;
        let ids: Vec<i64> = results.iter().filter(is_saved).map(|result| result.prompt_id).collect();
        self.history.shelf.add(ids.len());
        let count = (numbers.end - numbers.start) as usize;
        if ids.len() == count {
            Ok(ids)
        } else {
            Err(format!("{} of {count} prompts were saved", ids.len()).into())
        }
    }

    /// Reads a prompt, which must have its body.
    pub(crate) async fn get(&mut self, prompt_id: i64) -> Fallible<GetResponse> {
        let answer = self.client.get(GetRequest { prompt_id }).await.map_err(refused)?.into_inner();
        let has_body = answer.prompt.as_ref().is_some_and(|prompt| prompt.body.is_some());
        if has_body { Ok(answer) } else { Err("Get answered without a body".into()) }
    }

    /// That the prompt reads back as it was saved.
    async fn find(&mut self, prompt_id: i64, entry: Entry) -> Fallible<()> {
        let prompt = self.get(prompt_id).await?.prompt.unwrap_or_default();
        let is_same = prompt.id == prompt_id
            && prompt.body == Some(body(entry))
            && prompt.model == entry.model()
            && prompt.conversation_id == entry.conversation_id()
            && prompt.prompt_time == Some(timestamp(entry.time_us(self.history.start_us)));
        if is_same { Ok(()) } else { Err("a prompt reads back other than it was saved".into()) }
    }

    pub(crate) async fn stats(&mut self, request: StatsRequest) -> Fallible<StatsResponse> {
        Ok(self.client.stats(request).await.map_err(refused)?.into_inner())
    }
}

/// Uses nothing up. At the end Stats must have counted what was acknowledged.
#[tonic::async_trait]
impl Supply for Prompter {
    async fn prepare(&mut self, _seconds: f64) -> Fallible<()> {
        Ok(())
    }

    async fn check(&mut self) -> Fallible<()> {
        let total = self.stats(StatsRequest::default()).await?.total.unwrap_or_default();
        let saved = self.history.shelf.registered();
        if total.prompt_count as u64 == saved {
            Ok(())
        } else {
            Err(format!("Stats says {} prompts, acknowledged were {saved}", total.prompt_count).into())
        }
    }
}

fn body(entry: Entry) -> PromptBody {
    PromptBody {
        idea: entry.idea(),
        context: entry.context(),
        improved_prompt: entry.improved_prompt(),
        reasoning: entry.reasoning(),
        metadata_json: format!("{{\"user\":{{\"id\":{},\"plan\":\"pro\"}}}}", entry.0 % 500),
        ..PromptBody::default()
    }
}

fn timestamp(us: i64) -> Timestamp {
    Timestamp { seconds: us.div_euclid(1_000_000), nanos: us.rem_euclid(1_000_000) as i32 * 1_000 }
}

fn duration(us: i64) -> prost_types::Duration {
    prost_types::Duration { seconds: us / 1_000_000, nanos: (us % 1_000_000) as i32 * 1_000 }
}
