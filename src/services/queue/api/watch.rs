//! Watch: tasks as they are, then each whenever it has changed, until all of them have ended.
//!
//! A watch holds no transaction: it looks, sends and waits to be woken. Commits of this process wake it. Changes by another sidecar, and
//! wake-ups that are lost, are found by looking every `queue.watch_look_ms`. Looks are as far apart as two messages for one task.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use pannier_proto::queue::v1 as pb;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::super::convert::{self, Parser};
use super::super::{Core, store, watch_topic};
use crate::clock::{self, ms_to_us};
use crate::deadline;
use crate::error::Result;
use crate::status;
use crate::storage::Wakened;

/// What is sent down the stream.
pub(super) type Messages = BoxStream<'static, std::result::Result<pb::WatchResponse, Status>>;

/// A watch.
struct Watch {
    core: Arc<Core>,
    /// The tasks that have not ended, with the etag that was sent last.
    open: BTreeMap<i64, String>,
    /// Those that have changed and are not sent yet.
    changed: VecDeque<i64>,
    places: Vec<Wakened>,
    interval_us: i64,
    next_look_us: i64,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Core {
    pub(super) async fn watch(self: &Arc<Self>, request: pb::WatchRequest) -> Result<Messages> {
        let mut parser = Parser::new(&self.settings.queue);
        let interval_us = parser.watched(&request.task_ids, request.interval_min.as_ref());
        parser.violations.check()?;
        let permit = self.watches.acquire()?;
        let mut known = request.etags;
        let open: BTreeMap<i64, String> = request
            .task_ids
            .into_iter()
            .map(|task_id| (task_id, known.remove(&task_id).unwrap_or_default()))
            .collect();
        let places =
            open.keys().map(|task_id| self.storage.wake().subscribe(watch_topic(*task_id))).collect();
        let mut watch = Watch {
            core: self.clone(),
            open,
            changed: VecDeque::new(),
            places,
            interval_us,
            next_look_us: 0,
            is_over: false,
            _permit: permit,
        };
        // Before the stream begins, so that what fails is the call.
        watch.look().await?;
        let messages = stream::unfold(watch, |mut watch| async move {
            let message = watch.next().await?;
            Some((message.map_err(status::of), watch))
        });
        Ok(messages.boxed())
    }
}

impl Watch {
    /// The next message; none after the end.
    async fn next(&mut self) -> Option<Result<pb::WatchResponse>> {
        while !self.is_over {
            let sent = match self.changed.pop_front() {
                Some(task_id) => self.task(task_id).await.transpose(),
                None if self.open.is_empty() => return None,
                None => self.changes().await.err().map(Err),
            };
            self.is_over = matches!(sent, Some(Err(_)));
            if sent.is_some() {
                return sent;
            }
        }
        None
    }

    /// The message of a task, if the task has changed since the last one.
    async fn task(&mut self, task_id: i64) -> Result<Option<pb::WatchResponse>> {
        let found = self.read(vec![task_id], |core, db, ids| Box::pin(core.watched_task(db, ids[0]))).await?;
        let Some((etag, task)) = found else {
            self.open.remove(&task_id);
            return Ok(Some(pb::WatchResponse { task_id, missing: true, ..Default::default() }));
        };
        if self.open.get(&task_id) == Some(&etag) {
            return Ok(None);
        }
        let is_over = task.finish_time.is_some();
        if is_over {
            self.open.remove(&task_id);
        } else {
            self.open.insert(task_id, etag.clone());
        }
        Ok(Some(pb::WatchResponse { task_id, task: Some(task), etag, missing: false }))
    }

    /// Waits until tasks have changed.
    async fn changes(&mut self) -> Result<()> {
        let clock = self.core.clock.clone();
        clock.sleep_until_steady(self.next_look_us).await;
        // Changes from here on end the wait below.
        let places = std::mem::take(&mut self.places);
        let woken = select_all(places.iter().map(|place| Box::pin(place.next())));
        let looked = self.look().await;
        if looked.is_ok() && self.changed.is_empty() {
            let look_ms = self.core.settings.queue.watch_look_ms;
            let until_us = clock.steady_us().saturating_add(ms_to_us(look_ms));
            tokio::select! {
                _ = woken => {}
                () = clock.sleep_until_steady(until_us) => {}
            }
        } else {
            drop(woken);
        }
        self.places = places;
        looked
    }

    /// Notes the tasks that have changed.
    async fn look(&mut self) -> Result<()> {
        self.core.do_what_is_due().await?;
        let ids: Vec<i64> = self.open.keys().copied().collect();
        let etags = self.read(ids, |_, db, ids| Box::pin(store::etags(db, ids))).await?;
        let is_changed =
            |(task_id, sent): &(&i64, &String)| etags.get(*task_id).is_none_or(|etag| etag.text != **sent);
        self.changed = self.open.iter().filter(is_changed).map(|(task_id, _)| *task_id).collect();
        // The caller knows these ends already.
        self.open.retain(|task_id, sent| {
            etags.get(task_id).is_none_or(|etag| !(etag.is_finished && etag.text == *sent))
        });
        self.next_look_us = self.core.clock.steady_us().saturating_add(self.interval_us);
        Ok(())
    }

    /// Reads within the time that a call has.
    async fn read<T, F>(&self, ids: Vec<i64>, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> Fn(
                &'a Arc<Core>,
                &'a crate::storage::Db<'a>,
                &'a [i64],
            ) -> futures_util::future::BoxFuture<'a, Result<T>>
            + Send
            + Sync
            + 'static,
    {
        let until = clock::instant() + Duration::from_millis(self.core.settings.server.deadline_ms);
        let input = (self.core.clone(), ids, read);
        let reading = self.core.storage.read(input, |db, (core, ids, read)| read(core, db, ids));
        deadline::scope(until, reading).await
    }
}

impl Core {
    /// A task with its etag, without its parameters, which the caller knows.
    async fn watched_task(
        &self,
        db: &crate::storage::Db<'_>,
        task_id: i64,
    ) -> Result<Option<(String, pb::Task)>> {
        let Some(etag) = store::etags(db, &[task_id]).await?.remove(&task_id) else { return Ok(None) };
        let Some(mut task) = store::get(db, task_id).await? else { return Ok(None) };
        task.parameters = None;
        let named = self.names.of_listed(db, task.type_id).await?;
        Ok(Some((etag.text, convert::task(task, &named))))
    }
}
