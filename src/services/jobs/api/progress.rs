//! UpdateStatus, Complete, Fail, Abort, ReportProgress, AddResults, ListResults.

use pannier_proto::jobs::v1 as pb;
use uuid::Uuid;

use super::super::convert::{self, Parser};
use super::super::domain::{Failure, NewResult, Status};
use super::super::store::{self, Metadata, Page};
use super::super::{Jobs, add_results_in};
use super::Asked;
use crate::error::{Error, Result};
use crate::page::Query;
use crate::storage::Durability;
use crate::storage::idempotency::{self, RequestKey};

/// A batch of results to record.
struct Batch {
    job_id: Uuid,
    results: Vec<NewResult>,
    replace_failed: bool,
    request: Option<RequestKey>,
}

impl Jobs {
    pub(super) async fn update_status(
        &self,
        mut request: pb::UpdateStatusRequest,
    ) -> Result<pb::UpdateStatusResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "UpdateStatus", &request);
        let status = parser.status("status", request.status);
        let error = parser.reason(status, request.error);
        let asked = asked(&mut parser, &request.job_id, request.durability, key);
        parser.violations.check()?;
        self.move_to(asked, status, error, |job| pb::UpdateStatusResponse { job: Some(job) }).await
    }

    pub(super) async fn complete(&self, mut request: pb::CompleteRequest) -> Result<pb::CompleteResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "Complete", &request);
        let asked = asked(&mut parser, &request.job_id, request.durability, key);
        parser.violations.check()?;
        self.move_to(asked, Status::Completed, None, |job| pb::CompleteResponse { job: Some(job) }).await
    }

    pub(super) async fn fail(&self, mut request: pb::FailRequest) -> Result<pb::FailResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "Fail", &request);
        let error = parser.reason(Status::Failed, request.error);
        let asked = asked(&mut parser, &request.job_id, request.durability, key);
        parser.violations.check()?;
        self.move_to(asked, Status::Failed, error, |job| pb::FailResponse { job: Some(job) }).await
    }

    pub(super) async fn abort(&self, mut request: pb::AbortRequest) -> Result<pb::AbortResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "Abort", &request);
        let error = parser.reason(Status::Aborted, request.error);
        let asked = asked(&mut parser, &request.job_id, request.durability, key);
        parser.violations.check()?;
        self.move_to(asked, Status::Aborted, error, |job| pb::AbortResponse { job: Some(job) }).await
    }

    /// The one way from status to status.
    async fn move_to<T>(
        &self,
        asked: Asked,
        next: Status,
        error: Option<Failure>,
        reply: impl Fn(pb::Job) -> T + Send + Sync + 'static,
    ) -> Result<T>
    where
        T: prost::Message + Default + 'static,
    {
        self.change(asked, move |job, now_us| job.become_status(next, error.clone(), now_us), reply).await
    }

    pub(super) async fn report_progress(
        &self,
        mut request: pb::ReportProgressRequest,
    ) -> Result<pb::ReportProgressResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "ReportProgress", &request);
        let total = parser.total(request.total_count);
        let report = parser.report(request.progress, total);
        let asked = Asked {
            metadata: Metadata::Left,
            // A lost report is made up for by the next one.
            durability: parser.durability("durability", request.durability).unwrap_or(Durability::Relaxed),
            job_id: parser.uuid("job_id", &request.job_id),
            request: key,
        };
        parser.violations.check()?;
        let change = move |job: &mut super::Job, now_us| job.report(report, total, now_us);
        self.change(asked, change, |job| pb::ReportProgressResponse { job: Some(job) }).await
    }

    pub(super) async fn add_results(
        &self,
        mut request: pb::AddResultsRequest,
    ) -> Result<pb::AddResultsResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "AddResults", &request);
        let job_id = parser.uuid("job_id", &request.job_id);
        let durability = parser.durability("durability", request.durability);
        let results = parser.results(request.results);
        parser.violations.check()?;

        let now_us = self.clock.now_us();
        let batch = Batch { job_id, results, replace_failed: request.replace_failed, request: key };
        self.storage
            .write(durability.unwrap_or(Durability::Full), batch, move |tx, batch| {
                Box::pin(idempotency::once(tx, batch.request.as_ref(), async move {
                    let Batch { job_id, results, replace_failed, .. } = batch;
                    let (outcomes, job) =
                        add_results_in(tx, *job_id, results, *replace_failed, now_us).await?;
                    let outcomes = outcomes.into_iter().map(convert::add_outcome).collect();
                    Ok(pb::AddResultsResponse { outcomes, job: Some(convert::job(job)) })
                }))
            })
            .await
    }

    pub(super) async fn list_results(
        &self,
        request: pb::ListResultsRequest,
    ) -> Result<pb::ListResultsResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let job_id = parser.uuid("job_id", &request.job_id);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let which = if request.failed_only { "failed" } else { "all" };
        let query = Query::of("jobs.ListResults", &[&job_id.to_string(), which]);
        let after = query.key_of(&request.page_token)?;
        let after = after.map(|key| key.parse().map_err(|_| Error::PageTokenInvalid)).transpose()?;

        let page = Page {
            after,
            rows_max: usize::try_from(rows_max).unwrap_or(usize::MAX),
            bytes_max: self.page_bytes_max(),
        };
        let failed_only = request.failed_only;
        let (results, more) = self
            .storage
            .read((job_id, page), move |db, (job_id, page)| {
                Box::pin(async move {
                    let job = store::find(db, *job_id, Metadata::Left).await?;
                    store::list_results(db, &job, failed_only, *page).await
                })
            })
            .await?;
        let next_page_token = match results.last() {
            Some(last) if more => query.token(&last.number.to_string()),
            _ => String::new(),
        };
        let results = results.into_iter().map(convert::result).collect();
        Ok(pb::ListResultsResponse { results, next_page_token })
    }
}

/// A change of status that is asked for.
fn asked(parser: &mut Parser<'_>, job_id: &str, durability: i32, request: Option<RequestKey>) -> Asked {
    Asked {
        job_id: parser.uuid("job_id", job_id),
        durability: parser.durability("durability", durability).unwrap_or(Durability::Full),
        metadata: Metadata::Read,
        request,
    }
}
