//! Watch: a job as it is, then whenever it has changed, until it has ended.
//!
//! A watch holds no transaction: it looks, sends, and waits to be woken. A wake-up that is lost costs time only, for it looks
//! now and then by itself. Looks are as far apart as messages may be at the least, so that a job that changes a thousand times a
//! second is not read as often.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use pannier_proto::jobs::v1 as pb;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use uuid::Uuid;

use super::super::convert::{self, Parser};
use super::super::domain::Job;
use super::super::store::{self, Metadata};
use super::super::{Jobs, wake_topic};
use crate::clock::{self, ms_to_us};
use crate::deadline;
use crate::error::{Error, Result};
use crate::status;
use crate::storage::Wakened;

/// What is sent down the stream.
pub(super) type Messages = BoxStream<'static, std::result::Result<pb::WatchResponse, Status>>;

/// A watch on its way.
struct Watch {
    jobs: Arc<Jobs>,
    job_id: Uuid,
    row_id: i64,
    interval_us: i64,
    place: Wakened,
    /// What is sent first.
    first: Option<Job>,
    /// The revision that was sent last.
    revision: i64,
    /// The revision of the metadata that were sent last.
    metadata_revision: i64,
    next_message_us: i64,
    next_look_us: i64,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Jobs {
    pub(super) async fn watch(self: &Arc<Self>, request: pb::WatchRequest) -> Result<Messages> {
        let mut parser = Parser::new(&self.settings.jobs);
        let job_id = parser.uuid("job_id", &request.job_id);
        let interval_us = parser.watch_interval_us(request.interval_min.as_ref());
        parser.violations.check()?;

        let permit = self.watches.acquire()?;
        let place = self.storage.wake().subscribe(wake_topic(job_id));
        let job = self.look(job_id, Metadata::Read).await?;
        let watch = Watch {
            jobs: self.clone(),
            job_id,
            row_id: job.row_id,
            interval_us,
            place,
            first: Some(job),
            revision: 0,
            metadata_revision: 0,
            next_message_us: 0,
            next_look_us: 0,
            is_over: false,
            _permit: permit,
        };
        let messages = stream::unfold(watch, |mut watch| async move {
            let message = watch.next().await?;
            Some((message.map_err(status::of), watch))
        });
        Ok(messages.boxed())
    }

    /// The job, read within the time that a call has.
    async fn look(&self, job_id: Uuid, metadata: Metadata) -> Result<Job> {
        let until = clock::instant() + Duration::from_millis(self.settings.server.deadline_ms);
        let read = self.storage.read(job_id, move |db, id| Box::pin(store::find(db, *id, metadata)));
        deadline::scope(until, read).await
    }
}

impl Watch {
    /// What is sent next; none after the end.
    async fn next(&mut self) -> Option<Result<pb::WatchResponse>> {
        if self.is_over {
            return None;
        }
        let next = match self.first.take() {
            Some(job) => Ok(job),
            None => self.changed().await,
        };
        self.is_over = next.as_ref().map_or(true, |job| job.status.is_end());
        Some(next.map(|job| self.message(job)))
    }

    fn message(&mut self, job: Job) -> pb::WatchResponse {
        let now_us = self.jobs.clock.steady_us();
        self.next_message_us = now_us.saturating_add(self.interval_us);
        self.next_look_us = now_us.saturating_add(self.look_interval_us());
        self.revision = job.revision;
        let has_metadata = job.metadata_revision != self.metadata_revision;
        self.metadata_revision = job.metadata_revision;
        pb::WatchResponse { job: Some(convert::job(job)), has_metadata }
    }

    /// Waits until the job has changed and that may be sent.
    async fn changed(&mut self) -> Result<Job> {
        let clock = self.jobs.clock.steady();
        loop {
            clock.sleep_until(self.next_look_us).await;
            // Changes from here on end the wait below.
            let woken = self.place.next();
            let job = self.jobs.look(self.job_id, Metadata::Left).await?;
            if job.row_id != self.row_id {
                // Deleted, and another one was made with its id.
                return Err(Error::JobNotFound);
            }
            let now_us = clock.now_us();
            let has_changed = job.revision != self.revision;
            if has_changed && (job.status.is_end() || now_us >= self.next_message_us) {
                return self.with_metadata(job).await;
            }
            self.next_look_us = now_us.saturating_add(self.look_interval_us());
            let look_us = now_us.saturating_add(ms_to_us(self.jobs.settings.jobs.watch_look_ms));
            let until_us = if has_changed { look_us.min(self.next_message_us) } else { look_us };
            tokio::select! {
                () = woken => {}
                () = clock.sleep_until(until_us) => {}
            }
        }
    }

    /// The job with its metadata, if they have changed since they were sent; it may have changed again.
    async fn with_metadata(&self, job: Job) -> Result<Job> {
        if job.metadata_revision == self.metadata_revision {
            return Ok(job);
        }
        let job = self.jobs.look(self.job_id, Metadata::Read).await?;
        if job.row_id == self.row_id { Ok(job) } else { Err(Error::JobNotFound) }
    }

    fn look_interval_us(&self) -> i64 {
        ms_to_us(self.jobs.settings.jobs.watch_interval_ms_min)
    }
}
