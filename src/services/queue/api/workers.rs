//! RegisterWorker, Heartbeat, UnregisterWorker, ListWorkers.

use std::sync::Arc;

use pannier_proto::queue::v1 as pb;

use super::super::Core;
use super::super::convert::{self, Parser};
use super::super::store::{self, Listed, Told};
use super::cut;
use crate::error::{Error, Result};
use crate::page::Query;
use crate::storage::Durability;
use crate::storage::idempotency::RequestKey;

/// Bytes of what a worker tells of itself.
const METADATA_BYTES_MAX: u64 = 4_096;

/// A worker should beat so often within its timeout.
const BEATS: i64 = 3;

impl Core {
    pub(super) async fn register_worker(
        self: &Arc<Self>,
        mut request: pb::RegisterWorkerRequest,
    ) -> Result<pb::RegisterWorkerResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "RegisterWorker", &request);
        parser.key_text(&|| "name".to_owned(), &request.name);
        if !request.metadata_json.is_empty() {
            let field = || "metadata_json".to_owned();
            parser.json_object(&field, &request.metadata_json, METADATA_BYTES_MAX, "fixed");
        }
        parser.violations.check()?;
        self.register(request.name, request.metadata_json, key).await
    }

    pub(super) async fn register(
        self: &Arc<Self>,
        name: String,
        metadata_json: String,
        key: Option<RequestKey>,
    ) -> Result<pb::RegisterWorkerResponse> {
        self.change(Durability::Full, key, (name, metadata_json), |step, core, (name, metadata_json)| {
            Box::pin(async move {
                let workers_max = core.count(core.settings.queue.workers_max);
                let now_us = step.now.us;
                let worker = store::register(step.tx, name, metadata_json, workers_max, now_us).await?;
                step.effects.due_at(now_us.saturating_add(core.limits.worker_timeout_us));
                Ok(pb::RegisterWorkerResponse {
                    worker: Some(convert::worker(worker)),
                    heartbeat_interval: Some(convert::duration(core.heartbeat_interval_us())),
                    timeout: Some(convert::duration(core.limits.worker_timeout_us)),
                })
            })
        })
        .await
    }

    pub(super) fn heartbeat_interval_us(&self) -> i64 {
        self.limits.worker_timeout_us / BEATS
    }

    pub(super) async fn heartbeat(
        self: &Arc<Self>,
        request: pb::HeartbeatRequest,
    ) -> Result<pb::HeartbeatResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let listed = request.held.map(|held| parser.held(held));
        parser.violations.check()?;
        self.do_what_is_due().await?;
        let told = self.beat_of(request.worker_id, listed).await?;
        Ok(pb::HeartbeatResponse {
            cancel_task_ids: told.cancelled,
            lost_task_ids: told.lost,
            heartbeat_interval: Some(convert::duration(self.heartbeat_interval_us())),
            heartbeat_time: Some(convert::timestamp(told.beat_us)),
        })
    }

    /// Notes a beat, with what the worker says to hold.
    pub(super) async fn beat_of(self: &Arc<Self>, worker_id: i64, listed: Option<Listed>) -> Result<Told> {
        // A beat that a power loss takes is followed by another.
        self.storage
            .write(Durability::Relaxed, (self.clone(), listed), move |tx, (core, listed)| {
                Box::pin(async move {
                    let mut step = store::Step::new(tx, &core.names, core.now());
                    let told = store::beat(&mut step, worker_id, listed.as_ref(), &core.limits).await?;
                    core.follow(step).await?;
                    Ok(told)
                })
            })
            .await
    }

    pub(super) async fn unregister_worker(
        self: &Arc<Self>,
        mut request: pb::UnregisterWorkerRequest,
    ) -> Result<pb::UnregisterWorkerResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "UnregisterWorker", &request);
        parser.violations.check()?;
        self.unregister(request.worker_id, key).await
    }

    pub(super) async fn unregister(
        self: &Arc<Self>,
        worker_id: i64,
        key: Option<RequestKey>,
    ) -> Result<pb::UnregisterWorkerResponse> {
        self.do_what_is_due().await?;
        self.change(Durability::Full, key, worker_id, |step, _, worker_id| {
            Box::pin(async move {
                let released = store::unregister(step, *worker_id).await?;
                Ok(pb::UnregisterWorkerResponse {
                    unregistered: released.is_some(),
                    released_count: released.unwrap_or(0),
                })
            })
        })
        .await
    }

    pub(super) async fn list_workers(
        self: &Arc<Self>,
        request: pb::ListWorkersRequest,
    ) -> Result<pb::ListWorkersResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let with_ended = request.include_ended;
        let query = Query::of("queue.ListWorkers", &[if with_ended { "all" } else { "alive" }]);
        let before_id = match query.key_of(&request.page_token)? {
            Some(key) => Some(key.parse::<i64>().map_err(|_| Error::PageTokenInvalid)?),
            None => None,
        };
        self.do_what_is_due().await?;
        let mut workers = self
            .storage
            .read((), move |db, ()| {
                Box::pin(store::list_workers(db, with_ended, before_id, rows_max.saturating_add(1)))
            })
            .await?;
        let next_page_token = cut(&mut workers, rows_max, |last| query.token(&last.id.to_string()));
        let workers = workers.into_iter().map(convert::worker).collect();
        Ok(pb::ListWorkersResponse { workers, next_page_token })
    }
}
