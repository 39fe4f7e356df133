//! The calls of the jobs service as tests write them. Those that cannot fail in the test at hand unwrap.

use pannier_proto::jobs::v1 as pb;
use tonic::Status;

use crate::harness::Pannier;

/// A result that succeeded.
pub fn success(item_key: impl Into<String>) -> pb::NewResult {
    pb::NewResult { item_key: item_key.into(), success: Some(true), ..Default::default() }
}

/// A result that failed.
pub fn failure(item_key: impl Into<String>, code: &str) -> pb::NewResult {
    let error = Some(pb::JobError { code: code.into(), message: format!("{code} happened") });
    pb::NewResult { item_key: item_key.into(), success: Some(false), error, ..Default::default() }
}

/// A new job of a type.
pub fn of_type(job_type: &str) -> pb::CreateRequest {
    pb::CreateRequest { r#type: job_type.into(), ..Default::default() }
}

/// A result without an item key.
pub fn without_key(url: &str) -> pb::NewResult {
    pb::NewResult { url: url.into(), ..success("") }
}

/// The outcomes of an AddResults; UNSPECIFIED where there is an error.
pub fn outcomes(answer: &pb::AddResultsResponse) -> Vec<pb::AddOutcome> {
    answer.results.iter().map(|result| result.outcome()).collect()
}

/// (total, processed, successful, failed)
pub fn counts(job: &pb::Job) -> (Option<i64>, i64, i64, i64) {
    (job.total_count, job.processed_count, job.successful_count, job.failed_count)
}

impl Pannier {
    pub async fn try_create(&self, request: pb::CreateRequest) -> Result<pb::Job, Status> {
        self.jobs.clone().create(request).await.map(|answer| answer.into_inner().job.unwrap())
    }

    pub async fn create(&self, request: pb::CreateRequest) -> pb::Job {
        self.try_create(request).await.unwrap()
    }

    /// The id of a new job of type `batch`.
    pub async fn job(&self) -> String {
        self.create(of_type("batch")).await.id
    }

    /// The id of a new job that is in `status`.
    pub async fn job_in(&self, status: pb::JobStatus) -> String {
        let id = self.job().await;
        if status != pb::JobStatus::Pending {
            self.update_status(&id, status).await.unwrap();
        }
        id
    }

    pub async fn try_get_job(&self, id: &str) -> Result<pb::Job, Status> {
        let request = pb::GetRequest { job_id: id.into() };
        self.jobs.clone().get(request).await.map(|answer| answer.into_inner().job.unwrap())
    }

    pub async fn get_job(&self, id: &str) -> pb::Job {
        self.try_get_job(id).await.unwrap()
    }

    pub async fn update_status(&self, id: &str, status: pb::JobStatus) -> Result<pb::Job, Status> {
        let request =
            pb::UpdateStatusRequest { job_id: id.into(), status: status.into(), ..Default::default() };
        self.jobs.clone().update_status(request).await.map(|answer| answer.into_inner().job.unwrap())
    }

    pub async fn update_job(&self, request: pb::UpdateJobRequest) -> Result<pb::Job, Status> {
        self.jobs.clone().update_job(request).await.map(|answer| answer.into_inner().job.unwrap())
    }

    pub async fn complete(&self, id: &str) -> Result<pb::Job, Status> {
        let request = pb::CompleteRequest { job_id: id.into(), ..Default::default() };
        self.jobs.clone().complete(request).await.map(|answer| answer.into_inner().job.unwrap())
    }

    pub async fn fail(&self, id: &str, error: Option<pb::JobError>) -> Result<pb::Job, Status> {
        let request = pb::FailRequest { job_id: id.into(), error, ..Default::default() };
        self.jobs.clone().fail(request).await.map(|answer| answer.into_inner().job.unwrap())
    }

    pub async fn abort(&self, id: &str, error: Option<pb::JobError>) -> Result<pb::Job, Status> {
        let request = pb::AbortRequest { job_id: id.into(), error, ..Default::default() };
        self.jobs.clone().abort(request).await.map(|answer| answer.into_inner().job.unwrap())
    }

    pub async fn try_add_results(
        &self,
        id: &str,
        results: Vec<pb::NewResult>,
    ) -> Result<pb::AddResultsResponse, Status> {
        let request = pb::AddResultsRequest { job_id: id.into(), results, ..Default::default() };
        self.jobs.clone().add_results(request).await.map(tonic::Response::into_inner)
    }

    /// Adds results; answers with the outcomes and the job.
    pub async fn add_results(&self, id: &str, results: Vec<pb::NewResult>) -> (Vec<pb::AddOutcome>, pb::Job) {
        let answer = self.try_add_results(id, results).await.unwrap();
        assert!(answer.results.iter().all(|result| result.error.is_none()), "{answer:?}");
        (outcomes(&answer), answer.job.unwrap())
    }

    pub async fn report(
        &self,
        id: &str,
        progress: pb::report_progress_request::Progress,
    ) -> Result<pb::Job, Status> {
        let request =
            pb::ReportProgressRequest { job_id: id.into(), progress: Some(progress), ..Default::default() };
        self.try_report(request).await
    }

    pub async fn try_report(&self, request: pb::ReportProgressRequest) -> Result<pb::Job, Status> {
        self.jobs.clone().report_progress(request).await.map(|answer| answer.into_inner().job.unwrap())
    }

    /// Tells only how many items a job has.
    pub async fn report_total(&self, id: &str, total: i64) -> Result<pb::Job, Status> {
        let request =
            pb::ReportProgressRequest { job_id: id.into(), total_count: Some(total), ..Default::default() };
        self.try_report(request).await
    }

    pub async fn delete_job(&self, id: &str) -> bool {
        let request = pb::DeleteRequest { job_id: id.into(), ..Default::default() };
        self.jobs.clone().delete(request).await.unwrap().into_inner().deleted
    }

    pub async fn try_list_jobs(&self, request: pb::ListRequest) -> Result<pb::ListResponse, Status> {
        self.jobs.clone().list(request).await.map(tonic::Response::into_inner)
    }

    /// All pages of a list.
    pub async fn job_pages(&self, mut request: pb::ListRequest) -> Vec<Vec<pb::Job>> {
        let mut pages = Vec::new();
        loop {
            let page = self.try_list_jobs(request.clone()).await.unwrap();
            pages.push(page.jobs);
            assert!(pages.len() < 10_000, "the pages do not end");
            if page.next_page_token.is_empty() {
                return pages;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The ids of a list, in its order.
    pub async fn job_ids(&self, request: pb::ListRequest) -> Vec<String> {
        self.job_pages(request).await.concat().into_iter().map(|job| job.id).collect()
    }

    pub async fn try_list_results(
        &self,
        request: pb::ListResultsRequest,
    ) -> Result<pb::ListResultsResponse, Status> {
        self.jobs.clone().list_results(request).await.map(tonic::Response::into_inner)
    }

    /// All pages of results.
    pub async fn result_pages(&self, mut request: pb::ListResultsRequest) -> Vec<Vec<pb::JobResult>> {
        let mut pages = Vec::new();
        loop {
            let page = self.try_list_results(request.clone()).await.unwrap();
            pages.push(page.results);
            assert!(pages.len() < 10_000, "the pages do not end");
            if page.next_page_token.is_empty() {
                return pages;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// All results of a job.
    pub async fn results(&self, id: &str) -> Vec<pb::JobResult> {
        self.result_pages(pb::ListResultsRequest { job_id: id.into(), ..Default::default() }).await.concat()
    }

    pub async fn job_stats(&self, request: pb::StatsRequest) -> pb::StatsResponse {
        self.jobs.clone().stats(request).await.unwrap().into_inner()
    }
}
