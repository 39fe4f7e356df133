//! Watch: what changed after a cursor, then what changes.
//!
//! A watch holds no transaction: it looks, sends, and waits to be woken. A wake-up that is lost costs time only, for it looks now and
//! then by itself. Where other sidecars may write, it notes in the collection that it waits: they wake it only then.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use pannier_proto::records::v1 as pb;
use pannier_proto::records::v1::watch_request::Start as PbStart;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::super::convert::{self, Parser};
use super::super::store::{self, Changes, Start};
use super::super::{Records, wake_topic};
use crate::answer::Budget;
use crate::clock::{self, ms_to_us};
use crate::error::Result;
use crate::storage::{Durability, Wakened};
use crate::{deadline, status};

/// What is sent down the stream.
pub(super) type Messages = BoxStream<'static, std::result::Result<pb::WatchResponse, Status>>;

/// For how long a collection is noted to be watched. Sidecars' clocks may differ by less than half of it.
const WATCHED_US: i64 = 60 * clock::SECOND_US;

struct Watch {
    records: Arc<Records>,
    collection: String,
    place: Wakened,
    start: Start,
    /// When it is to be noted again that the collection is watched.
    note_at_us: i64,
    /// When something was last sent; none: nothing was.
    sent_us: Option<i64>,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Records {
    pub(super) async fn watch(self: &Arc<Self>, request: pb::WatchRequest) -> Result<Messages> {
        let mut parser = Parser::new(&self.settings.records);
        parser.name("collection", &request.collection);
        if request.start == Some(PbStart::FromNow(false)) {
            parser.violations.add("from_now", "must be true where it is given: give a cursor otherwise");
        }
        parser.violations.check()?;
        let permit = self.watches.acquire()?;
        let place = self.storage.wake().subscribe(wake_topic(&request.collection));
        let start = match &request.start {
            Some(PbStart::FromNow(_)) => {
                let read = self
                    .storage
                    .read(request.collection.clone(), |db, collection| Box::pin(store::end(db, collection)));
                Start::At(read.await?)
            }
            Some(PbStart::Cursor(cursor)) => convert::position(&request.collection, cursor)?,
            None => Start::Beginning,
        };
        let watch = Watch {
            records: self.clone(),
            collection: request.collection,
            place,
            start,
            note_at_us: i64::MIN,
            sent_us: None,
            is_over: false,
            _permit: permit,
        };
        let messages = stream::unfold(watch, |mut watch| async move {
            let message = watch.next().await?;
            Some((message.map_err(status::of), watch))
        });
        Ok(messages.boxed())
    }

    /// What happened since, read within the time that a call has.
    async fn news(&self, collection: &str, start: Start) -> Result<Changes> {
        let until = clock::instant() + Duration::from_millis(self.settings.server.deadline_ms);
        let rows_max = usize::try_from(self.settings.records.watch_changes_max).unwrap_or(usize::MAX);
        let budget = Budget::of_call();
        let read = self.storage.read(collection.to_owned(), move |db, collection| {
            Box::pin(store::changes(db, collection, start, rows_max, budget))
        });
        deadline::scope(until, read).await
    }

    /// Notes that somebody watches a collection.
    async fn note_watched(&self, collection: &str) -> Result<()> {
        let until = clock::instant() + Duration::from_millis(self.settings.server.deadline_ms);
        let until_us = self.clock.now_us().saturating_add(WATCHED_US);
        let write = self.storage.write(Durability::Relaxed, collection.to_owned(), move |tx, collection| {
            Box::pin(store::watched(tx, collection, until_us))
        });
        deadline::scope(until, write).await
    }
}

impl Watch {
    /// What is sent next; none after the end.
    async fn next(&mut self) -> Option<Result<pb::WatchResponse>> {
        if self.is_over {
            return None;
        }
        let message = self.wait().await;
        self.is_over = message.is_err();
        Some(message)
    }

    async fn wait(&mut self) -> Result<pb::WatchResponse> {
        loop {
            let now_us = self.records.clock.steady_us();
            if self.records.storage.is_shared() && now_us >= self.note_at_us {
                self.records.note_watched(&self.collection).await?;
                self.note_at_us = now_us.saturating_add(WATCHED_US / 2);
            }
            // Changes from here on end the wait below.
            let woken = self.place.next();
            let changes = self.records.news(&self.collection, self.start).await?;
            self.start = Start::At(changes.position);
            let settings = &self.records.settings.records;
            let heartbeat_us = ms_to_us(settings.heartbeat_ms);
            let is_due = self.sent_us.is_none_or(|sent_us| now_us >= sent_us.saturating_add(heartbeat_us));
            if !changes.records.is_empty() || is_due {
                self.sent_us = Some(now_us);
                return Ok(pb::WatchResponse {
                    cursor: convert::cursor(&self.collection, &changes.position),
                    changes: changes.records.into_iter().map(convert::record).collect(),
                });
            }
            let until_us = now_us.saturating_add(ms_to_us(settings.watch_look_ms.min(settings.heartbeat_ms)));
            tokio::select! {
                () = woken => {}
                () = self.records.clock.sleep_until_steady(until_us) => {}
            }
        }
    }
}
