//! UpdateJob, UpdateStatus, Complete, Fail, Abort, ReportProgress, AddResults, ListResults.

use pannier_proto::jobs::v1 as pb;

use super::super::Jobs;
use super::super::convert::{self, Parser};
use super::super::store::{self, Metadata, Page};
use crate::answer::Budget;
use crate::error::{Error, Result};
use crate::page::Query;
use crate::storage::Durability;

impl Jobs {
    pub(super) async fn update_job(
        &self,
        mut request: pb::UpdateJobRequest,
    ) -> Result<pb::UpdateJobResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "UpdateJob", &request);
        let operation = self.prepare_update_job(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    pub(super) async fn update_status(
        &self,
        mut request: pb::UpdateStatusRequest,
    ) -> Result<pb::UpdateStatusResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "UpdateStatus", &request);
        let operation = self.prepare_update_status(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    pub(super) async fn complete(&self, mut request: pb::CompleteRequest) -> Result<pb::CompleteResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Complete", &request);
        let operation = self.prepare_complete(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    pub(super) async fn fail(&self, mut request: pb::FailRequest) -> Result<pb::FailResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Fail", &request);
        let operation = self.prepare_fail(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    pub(super) async fn abort(&self, mut request: pb::AbortRequest) -> Result<pb::AbortResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Abort", &request);
        let operation = self.prepare_abort(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    pub(super) async fn report_progress(
        &self,
        mut request: pb::ReportProgressRequest,
    ) -> Result<pb::ReportProgressResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "ReportProgress", &request);
        let operation = self.prepare_report_progress(&mut parser, request);
        parser.violations.check()?;
        // A lost report is made up for by the next one.
        self.storage.write_once(Durability::Relaxed, key, operation).await
    }

    pub(super) async fn add_results(
        &self,
        mut request: pb::AddResultsRequest,
    ) -> Result<pb::AddResultsResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "AddResults", &request);
        let operation = self.prepare_add_results(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
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
            budget: Budget::of_call(),
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
