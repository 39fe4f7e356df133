//! ExportIndex and ImportIndex: the known files as newline-delimited JSON, a bounded piece at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use pannier_proto::uploads::v1 as pb;
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Status, Streaming};

use super::super::Uploads;
use super::super::convert::{self, Lines, Parser};
use super::super::file::{File, NewFile, Outcome, Sha256};
use super::super::store::{self, Page};
use crate::answer::{self, Budget};
use crate::clock;
use crate::deadline;
use crate::error::{Error, Result};
use crate::status::{self, ItemErrors};
use crate::storage::Durability;

/// The messages of an export.
pub(super) type Messages = BoxStream<'static, std::result::Result<pb::ExportIndexResponse, Status>>;

/// An export that runs. It holds no transaction: each message is a read of its own, from where the last one ended.
struct Export {
    uploads: Arc<Uploads>,
    /// Services that are not read yet, the present one first.
    services: VecDeque<String>,
    after: Option<Sha256>,
    _permit: OwnedSemaphorePermit,
}

impl Uploads {
    pub(super) async fn export_index(self: &Arc<Self>, request: pb::ExportIndexRequest) -> Result<Messages> {
        let mut parser = Parser::new(&self.settings.uploads);
        if !request.service.is_empty() {
            parser.service(&|| "service".to_owned(), &request.service);
        }
        parser.violations.check()?;
        let permit = self.exports.acquire()?;
        let services = match request.service.is_empty() {
            true => self.storage.read((), |db, ()| Box::pin(store::services(db))).await?,
            false => vec![request.service],
        };
        let export =
            Export { uploads: self.clone(), services: services.into(), after: None, _permit: permit };
        let messages = stream::unfold(Some(export), |export| async move {
            let mut export = export?;
            match export.next().await {
                Ok(Some(ndjson)) => Some((Ok(pb::ExportIndexResponse { ndjson }), Some(export))),
                Ok(None) => None,
                Err(error) => Some((Err(status::of(error)), None)),
            }
        });
        Ok(messages.boxed())
    }

    /// The next files of a service, read within the time that a call has.
    async fn index_page(&self, service: String, after: Option<Sha256>) -> Result<(Vec<File>, bool)> {
        let until = clock::instant() + Duration::from_millis(self.settings.server.deadline_ms);
        // As text a file takes some times its bytes.
        let bytes_max = usize::try_from(self.settings.uploads.index_bytes_max).unwrap_or(usize::MAX);
        let budget = Budget::of_call().at_most(bytes_max.min(answer::bytes_max() / 8));
        let page = Page { after, rows_max: usize::MAX, budget };
        let input = (self.names.reading(), service, page);
        let read = self
            .storage
            .read(input, |db, (names, service, page)| Box::pin(store::index(db, names, service, page)));
        deadline::scope(until, read).await
    }

    /// Takes an index, a message at a time.
    pub(super) async fn import_index(
        &self,
        mut messages: Streaming<pb::ImportIndexRequest>,
    ) -> std::result::Result<pb::ImportIndexResponse, Status> {
        let mut answer = pb::ImportIndexResponse::default();
        let mut errors = ItemErrors::default();
        let mut line = 1;
        while let Some(message) = messages.message().await? {
            let lines = self.lines(&message.ndjson, line);
            let taken = answer.added_count + answer.duplicate_count;
            self.refuse(lines.refused, message.atomic, taken, &mut answer, &mut errors)
                .map_err(status::of)?;
            line += i64::try_from(message.ndjson.lines().count()).unwrap_or(i64::MAX);
            let lines_max = usize::try_from(self.settings.uploads.import_lines_max).unwrap_or(usize::MAX);
            for batch in lines.files.chunks(lines_max) {
                let (added, known) = self.import(batch.to_vec()).await.map_err(status::of)?;
                answer.added_count += added;
                answer.duplicate_count += known;
            }
        }
        answer.line_count = answer.added_count + answer.duplicate_count + answer.refused_count;
        Ok(answer)
    }

    /// Notes lines that are refused. Error: that of the first one, where the message is all or none.
    fn refuse(
        &self,
        refused: Vec<(i64, Error)>,
        is_atomic: bool,
        taken: i64,
        answer: &mut pb::ImportIndexResponse,
        errors: &mut ItemErrors,
    ) -> Result<()> {
        let told_max = usize::try_from(self.settings.uploads.import_errors_max).unwrap_or(usize::MAX);
        for (line, error) in refused {
            if is_atomic {
                return Err(match error {
                    Error::IndexLineInvalid { line, problem, .. } => {
                        Error::IndexLineInvalid { line, problem, taken: Some(taken) }
                    }
                    other => other,
                });
            }
            answer.refused_count += 1;
            if answer.errors.len() < told_max {
                answer.errors.push(pb::ImportIndexError { line, error: Some(errors.of(&error)) });
            }
        }
        Ok(())
    }

    fn lines(&self, text: &str, first: i64) -> Lines {
        let parser = || Parser::new(&self.settings.uploads);
        convert::lines(parser, text, first, self.clock.now_us())
    }

    /// Registers files of an index; tells how many were added and how many were known.
    async fn import(&self, files: Vec<NewFile>) -> Result<(i64, i64)> {
        let now = (self.clock.now_us(), self.clock.steady_us());
        let input = (self.names.clone(), files);
        self.storage
            .write(Durability::Full, input, move |tx, (names, files)| {
                Box::pin(async move {
                    let registered = store::register(tx, names, None, files, None, now).await?;
                    let (mut added, mut known) = (0, 0);
                    for outcome in registered.outcomes {
                        match outcome? {
                            Outcome::Registered => added += 1,
                            Outcome::Duplicate(_) => known += 1,
                        }
                    }
                    Ok((added, known))
                })
            })
            .await
    }
}

impl Export {
    /// The next piece; none at the end.
    async fn next(&mut self) -> Result<Option<String>> {
        while let Some(service) = self.services.front().cloned() {
            let (files, more) = self.uploads.index_page(service, self.after).await?;
            self.after = files.last().map(|file| file.hash);
            if !more {
                self.services.pop_front();
                self.after = None;
            }
            if !files.is_empty() {
                let mut ndjson = String::new();
                for file in files {
                    convert::line(&mut ndjson, file)?;
                }
                return Ok(Some(ndjson));
            }
        }
        Ok(None)
    }
}
