//! Watch: what changed after a cursor, then what changes.
//!
//! A watch holds no transaction: it looks, sends, and waits to be woken. A wake-up that is lost costs time only, for it looks
//! now and then by itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use pannier_proto::settings::v1 as pb;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::super::convert::{self, Parser};
use super::super::domain::{News, Position};
use super::super::store::{self, Page};
use super::super::{Settings, WAKE_TOPIC};
use crate::answer::Budget;
use crate::clock::{self, ms_to_us};
use crate::deadline;
use crate::error::Result;
use crate::status;
use crate::storage::Wakened;

/// What is sent down the stream.
pub(super) type Messages = BoxStream<'static, std::result::Result<pb::WatchResponse, Status>>;

struct Watch {
    settings: Arc<Settings>,
    prefix: String,
    place: Wakened,
    /// What the watcher has seen everything of.
    seen: Position,
    is_first: bool,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Settings {
    pub(super) async fn watch(self: &Arc<Self>, request: pb::WatchRequest) -> Result<Messages> {
        let mut parser = Parser::new(&self.configuration.settings);
        parser.prefix(&request.prefix);
        let start = parser.cursor(&request.cursor);
        parser.violations.check()?;

        let permit = self.watches.acquire()?;
        let place = self.storage.wake().subscribe(WAKE_TOPIC.to_owned());
        let seen = match start {
            Some(position) => position,
            None => self.storage.read((), |db, ()| Box::pin(store::end(db))).await?,
        };
        let watch = Watch {
            settings: self.clone(),
            prefix: request.prefix,
            place,
            seen,
            is_first: true,
            is_over: false,
            _permit: permit,
        };
        let messages = stream::unfold(watch, |mut watch| async move {
            let message = watch.next().await?;
            Some((message.map_err(status::of), watch))
        });
        Ok(messages.boxed())
    }

    /// What happened after `seen`, read within the time that a call has.
    async fn news(&self, prefix: &str, seen: Position) -> Result<News> {
        let until = clock::instant() + Duration::from_millis(self.configuration.server.deadline_ms);
        let page =
            Page { rows_max: self.configuration.settings.watch_changes_max, budget: Budget::of_call() };
        let read = self
            .storage
            .read(prefix.to_owned(), move |db, prefix| Box::pin(store::changes(db, prefix, seen, page)));
        deadline::scope(until, read).await
    }
}

impl Watch {
    /// What is sent next; none after the end.
    async fn next(&mut self) -> Option<Result<pb::WatchResponse>> {
        if self.is_over {
            return None;
        }
        let message = self.wait().await;
        self.is_over = message.as_ref().map_or(true, |message| message.reload);
        Some(message)
    }

    async fn wait(&mut self) -> Result<pb::WatchResponse> {
        loop {
            // Changes from here on end the wait below.
            let woken = self.place.next();
            match self.settings.news(&self.prefix, self.seen).await? {
                News::Reload => {
                    return Ok(pb::WatchResponse { reload: true, ..Default::default() });
                }
                News::Changes { changes, seen } => {
                    self.seen = seen;
                    if std::mem::take(&mut self.is_first) || !changes.is_empty() {
                        let changes = changes.into_iter().map(convert::change).collect();
                        let cursor = convert::cursor(seen);
                        return Ok(pb::WatchResponse { changes, cursor, reload: false });
                    }
                }
            }
            let clock = &self.settings.clock;
            let look_us = ms_to_us(self.settings.configuration.settings.watch_look_ms);
            tokio::select! {
                () = woken => {}
                () = clock.sleep_until_steady(clock.steady_us().saturating_add(look_us)) => {}
            }
        }
    }
}
