//! Import: batches down a stream, each answered after its commit.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use pannier_proto::prompts::v1 as pb;
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Status, Streaming};

use super::super::Prompts;
use super::super::convert::Parser;
use crate::deadline;
use crate::error::{Error, Result};
use crate::status;
use crate::storage::{Durability, Failing};

/// The acknowledgements of an import.
pub(super) type Messages = BoxStream<'static, Answer>;

type Answer = std::result::Result<pb::ImportResponse, Status>;

/// An import that runs. It takes the next batch when the answer to the last one can be sent: who does not read is not written for.
struct Import {
    prompts: Arc<Prompts>,
    messages: Streaming<pb::ImportRequest>,
    _permit: OwnedSemaphorePermit,
}

impl Prompts {
    pub(super) fn import(self: &Arc<Self>, messages: Streaming<pb::ImportRequest>) -> Result<Messages> {
        let permit = self.imports.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Error::Overloaded { setting: "prompts.imports_max" })?;
        let import = Import { prompts: self.clone(), messages, _permit: permit };
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

    async fn import_batch(&self, request: pb::ImportRequest) -> Result<pb::ImportResponse> {
        let mut parser = Parser::new(&self.settings.prompts);
        let durability = parser.durability("durability", request.durability).unwrap_or(Durability::Full);
        let prompts = parser.new_prompts(request.prompts, self.clock.now_us());
        parser.violations.check()?;
        let saving = self.prepare_saving(prompts, Failing::Item);
        let write = self.storage.write_once(durability, None, saving);
        let saved = deadline::scope(self.step_deadline(), write).await?;
        Ok(pb::ImportResponse { results: saved.results })
    }
}

impl Import {
    /// The answer to the next batch; none at the end.
    async fn next(&mut self) -> std::result::Result<Option<pb::ImportResponse>, Status> {
        match self.messages.message().await? {
            Some(request) => self.prompts.import_batch(request).await.map(Some).map_err(status::of),
            None => Ok(None),
        }
    }
}
