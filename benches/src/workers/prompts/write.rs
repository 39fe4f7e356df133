//! Prompts saved one by one, imported by a stream, and saved on bare rusqlite.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use pannier_proto::prompts::v1::{ImportRequest, ImportResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::Prompter;
use crate::Fallible;
use crate::ceiling::Writer;
use crate::ceiling::prompts::Prompts;
use crate::files::Shelf;
use crate::load::{Done, Worker};
use crate::prompts::Entry;
use crate::workers::refused;

/// Saves one prompt with each call.
pub(crate) struct Saver {
    prompter: Prompter,
    last: Option<(i64, Entry)>,
}

impl Saver {
    pub(crate) fn new(prompter: Prompter) -> Self {
        Self { prompter, last: None }
    }
}

#[tonic::async_trait]
impl Worker for Saver {
    async fn perform(&mut self) -> Fallible<Done> {
        let (entry, saved) = self.prompter.save().await?;
        self.last = Some((saved.prompt_id, entry));
        Ok(Done::rows(1))
    }

    async fn verify(&mut self) -> Fallible<()> {
        match self.last {
            Some((id, entry)) => self.prompter.find(id, entry).await,
            None => Ok(()),
        }
    }
}

/// An open import.
struct Stream {
    requests: mpsc::Sender<ImportRequest>,
    responses: Streaming<ImportResponse>,
    /// The batches that are not acknowledged yet, and when they were sent.
    sent: VecDeque<(Range<u64>, Instant)>,
}

/// Sends batches of so many prompts down a stream, each while the one before is being saved.
pub(crate) struct Importer {
    prompter: Prompter,
    count: usize,
    stream: Option<Stream>,
    last: Option<(i64, Entry)>,
}

impl Importer {
    pub(crate) fn new(prompter: Prompter, count: usize) -> Self {
        Self { prompter, count, stream: None, last: None }
    }

    async fn send(&mut self) -> Fallible<()> {
        let numbers = self.prompter.history.shelf.take(self.count);
        let entries = numbers.clone().map(Entry);
        let prompts = entries.map(|entry| self.prompter.new_prompt(entry, entry.import_key())).collect();
        let stream = self.stream.as_mut().ok_or("the import is not open")?;
        stream.sent.push_back((numbers, Instant::now()));
        Ok(stream.requests.send(ImportRequest { prompts, ..ImportRequest::default() }).await?)
    }

    /// Waits for the acknowledgement of the oldest batch.
    async fn acknowledged(&mut self) -> Fallible<Done> {
        let stream = self.stream.as_mut().ok_or("the import is not open")?;
        let answer =
            stream.responses.message().await.map_err(refused)?.ok_or("the import ended by itself")?;
        let (numbers, since) = stream.sent.pop_front().ok_or("a batch was acknowledged twice")?;
        let took = since.elapsed();
        let ids = self.prompter.saved(&numbers, &answer.results)?;
        self.last = ids.last().map(|id| (*id, Entry(numbers.end - 1)));
        Ok(Done::timed(self.count as u64, took))
    }
}

#[tonic::async_trait]
impl Worker for Importer {
    async fn begin(&mut self) -> Fallible<()> {
        let (requests, receiver) = mpsc::channel(4);
        let opening = self.prompter.client.import(ReceiverStream::new(receiver));
        let responses = opening.await.map_err(refused)?.into_inner();
        self.stream = Some(Stream { requests, responses, sent: VecDeque::new() });
        self.send().await
    }

    async fn perform(&mut self) -> Fallible<Done> {
        self.send().await?;
        self.acknowledged().await
    }

    async fn rest(&mut self) -> Fallible<()> {
        while self.stream.as_ref().is_some_and(|stream| !stream.sent.is_empty()) {
            self.acknowledged().await?;
        }
        let Some(Stream { requests, mut responses, .. }) = self.stream.take() else { return Ok(()) };
        drop(requests);
        match responses.message().await.map_err(refused)? {
            None => Ok(()),
            Some(_) => Err("the import went on after its last batch".into()),
        }
    }

    async fn verify(&mut self) -> Fallible<()> {
        match self.last {
            Some((id, entry)) => self.prompter.find(id, entry).await,
            None => Ok(()),
        }
    }
}

/// Saves so many prompts with each step on bare rusqlite.
pub(crate) struct CeilingSaver {
    pub(crate) writer: Writer<Prompts>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) count: usize,
}

#[tonic::async_trait]
impl Worker for CeilingSaver {
    async fn perform(&mut self) -> Fallible<Done> {
        let entries = self.shelf.take(self.count).map(Entry).collect();
        Ok(Done::rows(self.writer.run(entries).await?))
    }
}
