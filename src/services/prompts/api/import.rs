//! Import: batches down a stream, each answered after its commit.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use pannier_proto::prompts::v1 as pb;
use prost::Message as _;
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Status, Streaming};

use super::super::Prompts;
use super::super::convert::Parser;
use crate::batch::Failing;
use crate::convert::prepared;
use crate::deadline;
use crate::error::Result;
use crate::status;
use crate::storage::{Durability, Operation};

/// The acknowledgements of an import.
pub(super) type Messages = BoxStream<'static, Answer>;

type Answer = std::result::Result<pb::ImportResponse, Status>;

/// Batches that are taken from a stream at once: one that is written and one that is prepared meanwhile.
const BATCHES_MAX: usize = 2;

/// An import that runs. It writes the next batch when the answer to the last one can be sent: who does not read is not written for.
struct Import {
    prompts: Arc<Prompts>,
    batches: BoxStream<'static, std::result::Result<Batch, Status>>,
    _permit: OwnedSemaphorePermit,
}

/// A batch that is ready to be written.
struct Batch {
    durability: Durability,
    saving: Operation<pb::BatchSaveResponse>,
}

impl Prompts {
    pub(super) fn import(self: &Arc<Self>, messages: Streaming<pb::ImportRequest>) -> Result<Messages> {
        let permit = self.imports.acquire()?;
        let prompts = self.clone();
        let batches = messages.map(move |message| {
            let prompts = prompts.clone();
            async move {
                let request = message?;
                let bytes = request.encoded_len();
                prepared(bytes, move || prompts.prepare_import(request)).await.map_err(status::of)
            }
        });
        let batches = batches.buffered(BATCHES_MAX).boxed();
        let import = Import { prompts: self.clone(), batches, _permit: permit };
        let answers = stream::unfold(Some(import), |import| async move {
            let mut import = import?;
            match import.next().await {
                Ok(Some(answer)) => Some((Ok(answer), Some(import))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(answers.boxed())
    }

    fn prepare_import(&self, request: pb::ImportRequest) -> Result<Batch> {
        let mut parser = Parser::new(&self.settings.prompts);
        let durability = parser.durability("durability", request.durability).unwrap_or(Durability::Full);
        let prompts = parser.new_prompts(request.prompts, Failing::Item, self.clock.now_us());
        parser.violations.check()?;
        Ok(Batch { durability, saving: self.prepare_saving(prompts) })
    }

    async fn import_batch(&self, batch: Batch) -> Result<pb::ImportResponse> {
        let write = self.storage.write_once(batch.durability, None, batch.saving);
        let saved = deadline::scope(self.step_deadline(), write).await?;
        Ok(pb::ImportResponse { results: saved.results })
    }
}

impl Import {
    /// The answer to the next batch; none at the end.
    async fn next(&mut self) -> std::result::Result<Option<pb::ImportResponse>, Status> {
        match self.batches.next().await.transpose()? {
            Some(batch) => self.prompts.import_batch(batch).await.map(Some).map_err(status::of),
            None => Ok(None),
        }
    }
}
