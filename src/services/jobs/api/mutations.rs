//! What changes jobs, prepared for a call of its own or for a commit; and the check of a commit.

use pannier_proto::jobs::v1 as pb;
use pannier_proto::transaction::v1::{CheckResult, JobsCheck};
use uuid::Uuid;

use super::super::convert::{self, Parser};
use super::super::domain::{Failure, Job, Refusal, Status};
use super::super::store::{self, Metadata};
use super::super::{Jobs, add_results_in, wake_topic};
use crate::error::Error;
use crate::storage::Operation;

impl Jobs {
    pub(in crate::services) fn prepare_create(
        &self,
        parser: &mut Parser<'_>,
        request: pb::CreateRequest,
    ) -> Operation<pb::CreateResponse> {
        let durability = parser.durability("durability", request.durability);
        let new = parser.new_job(request, || self.clock.uuid_v7());
        let operation = Operation::new(Job::new(new, self.clock.now_us()), |tx, job| {
            Box::pin(async move {
                let job = store::create(tx, job).await?;
                Ok(pb::CreateResponse { job: Some(convert::job(job)) })
            })
        });
        operation.surviving(durability)
    }

    pub(in crate::services) fn prepare_update_job(
        &self,
        parser: &mut Parser<'_>,
        request: pb::UpdateJobRequest,
    ) -> Operation<pb::UpdateJobResponse> {
        let mask = request.update_mask.as_ref();
        let update = parser.job_update(mask, request.metadata_json, request.total_count, request.error);
        let job_id = parser.uuid("job_id", &request.job_id);
        let durability = parser.durability("durability", request.durability);
        let change = move |job: &mut Job, now_us| job.update(&update, now_us);
        let changed = self.prepare_change(job_id, Metadata::Read, change).surviving(durability);
        changed.map(|job| pb::UpdateJobResponse { job: Some(job) })
    }

    pub(in crate::services) fn prepare_update_status(
        &self,
        parser: &mut Parser<'_>,
        request: pb::UpdateStatusRequest,
    ) -> Operation<pb::UpdateStatusResponse> {
        let status = parser.status("status", request.status);
        let error = parser.reason(status, request.error);
        let to = Move { job_id: parser.uuid("job_id", &request.job_id), status, error };
        let durability = parser.durability("durability", request.durability);
        let moved = self.prepare_move(to).surviving(durability);
        moved.map(|job| pb::UpdateStatusResponse { job: Some(job) })
    }

    pub(in crate::services) fn prepare_complete(
        &self,
        parser: &mut Parser<'_>,
        request: pb::CompleteRequest,
    ) -> Operation<pb::CompleteResponse> {
        let job_id = parser.uuid("job_id", &request.job_id);
        let durability = parser.durability("durability", request.durability);
        let moved = self.prepare_move(Move { job_id, status: Status::Completed, error: None });
        moved.surviving(durability).map(|job| pb::CompleteResponse { job: Some(job) })
    }

    pub(in crate::services) fn prepare_fail(
        &self,
        parser: &mut Parser<'_>,
        request: pb::FailRequest,
    ) -> Operation<pb::FailResponse> {
        let error = parser.reason(Status::Failed, request.error);
        let job_id = parser.uuid("job_id", &request.job_id);
        let durability = parser.durability("durability", request.durability);
        let moved = self.prepare_move(Move { job_id, status: Status::Failed, error });
        moved.surviving(durability).map(|job| pb::FailResponse { job: Some(job) })
    }

    pub(in crate::services) fn prepare_abort(
        &self,
        parser: &mut Parser<'_>,
        request: pb::AbortRequest,
    ) -> Operation<pb::AbortResponse> {
        let error = parser.reason(Status::Aborted, request.error);
        let job_id = parser.uuid("job_id", &request.job_id);
        let durability = parser.durability("durability", request.durability);
        let moved = self.prepare_move(Move { job_id, status: Status::Aborted, error });
        moved.surviving(durability).map(|job| pb::AbortResponse { job: Some(job) })
    }

    pub(in crate::services) fn prepare_report_progress(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ReportProgressRequest,
    ) -> Operation<pb::ReportProgressResponse> {
        let total = parser.total(request.total_count);
        let report = parser.report(request.progress, total);
        let durability = parser.durability("durability", request.durability);
        let job_id = parser.uuid("job_id", &request.job_id);
        let change = move |job: &mut Job, now_us| job.report(report, total, now_us);
        let changed = self.prepare_change(job_id, Metadata::Left, change).surviving(durability);
        changed.map(|job| pb::ReportProgressResponse { job: Some(job) })
    }

    pub(in crate::services) fn prepare_add_results(
        &self,
        parser: &mut Parser<'_>,
        request: pb::AddResultsRequest,
    ) -> Operation<pb::AddResultsResponse> {
        let job_id = parser.uuid("job_id", &request.job_id);
        let durability = parser.durability("durability", request.durability);
        let batch = parser.results(request.results, request.atomic);
        let (items, now_us) = (batch.count(), self.clock.now_us());
        let replace_failed = request.replace_failed;
        let operation = Operation::new(batch, move |tx, batch| {
            Box::pin(async move {
                let (outcomes, job) =
                    add_results_in(tx, job_id, &batch.items, replace_failed, now_us).await?;
                let results = batch.results(outcomes.into_iter().map(Ok).collect())?;
                let results = convert::add_results(results);
                Ok(pb::AddResultsResponse { results, job: Some(convert::job(job)) })
            })
        });
        operation.surviving(durability).of_items(items).locking([store::lock_of(job_id)])
    }

    pub(in crate::services) fn prepare_delete(
        &self,
        parser: &mut Parser<'_>,
        request: pb::DeleteRequest,
    ) -> Operation<pb::DeleteResponse> {
        let job_id = parser.uuid("job_id", &request.job_id);
        let durability = parser.durability("durability", request.durability);
        let operation = Operation::new(job_id, |tx, job_id| {
            Box::pin(async move {
                let deleted = store::delete(tx, *job_id).await?;
                tx.wake(wake_topic(*job_id));
                Ok(pb::DeleteResponse { deleted })
            })
        });
        operation.surviving(durability).locking([store::lock_of(job_id)])
    }

    pub(in crate::services) fn prepare_check(
        &self,
        parser: &mut Parser<'_>,
        check: JobsCheck,
    ) -> Operation<CheckResult> {
        let job_id = parser.uuid("job_id", &check.job_id);
        if check.statuses.is_empty() {
            parser.violations.add("statuses", "is empty: give at least one JobStatus");
        }
        let numbered = check.statuses.into_iter().enumerate();
        let statuses: Vec<Status> =
            numbered.map(|(index, status)| parser.status(&format!("statuses[{index}]"), status)).collect();
        let operation = Operation::new(statuses, move |tx, statuses| {
            Box::pin(async move {
                let job = store::lock(tx, job_id, Metadata::Left).await?;
                if !statuses.contains(&job.status) {
                    return Err(Error::CheckFailed { thing: "job", is: job.status.name() });
                }
                Ok(CheckResult {})
            })
        });
        operation.locking([store::lock_of(job_id)])
    }

    /// The one way from status to status.
    fn prepare_move(&self, to: Move) -> Operation<pb::Job> {
        let change = move |job: &mut Job, now_us| job.become_status(to.status, to.error.clone(), now_us);
        self.prepare_change(to.job_id, Metadata::Read, change)
    }

    /// A change of a job, of which those who watch it are told; the answer has its metadata if they are read.
    fn prepare_change<C>(&self, job_id: Uuid, metadata: Metadata, change: C) -> Operation<pb::Job>
    where
        C: Fn(&mut Job, i64) -> Result<(), Refusal> + Send + Sync + 'static,
    {
        let now_us = self.clock.now_us();
        let operation = Operation::new(change, move |tx, change| {
            Box::pin(async move {
                let change = |job: &mut Job| change(job, now_us);
                let job = store::change(tx, job_id, metadata, now_us, change).await?;
                tx.wake(wake_topic(job_id));
                Ok(convert::job(job))
            })
        });
        operation.locking([store::lock_of(job_id)])
    }
}

/// A status that a job is to take.
struct Move {
    job_id: Uuid,
    status: Status,
    error: Option<Failure>,
}
