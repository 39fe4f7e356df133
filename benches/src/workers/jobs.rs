//! What workers do with jobs.

use pannier_proto::jobs::v1::jobs_service_client::JobsServiceClient;
use pannier_proto::jobs::v1::*;
use tonic::transport::Channel;

use super::refused;
use crate::Fallible;
use crate::load::{Done, Worker};

/// About what an application keeps with a job.
const METADATA: &str = r#"{"source":"import","owner":"bench","files":["a.mp4","b.mp4"]}"#;
/// About what it keeps with a result.
const DATA: &str = r#"{"width":1920,"height":1080,"codec":"h264"}"#;
const TYPE: &str = "batch";

/// What is done again and again.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Doing {
    Create,
    /// Reads the worker's own job.
    Get,
    /// Adds one to the counts of the worker's own job.
    Report,
    /// Adds so many results to the worker's own job.
    Add(usize),
}

/// One caller, with a job of its own where it needs one.
pub(crate) struct JobsCaller {
    client: JobsServiceClient<Channel>,
    doing: Doing,
    /// Its own job, or the one that it created last.
    job_id: String,
    /// Acknowledged counts of its own job.
    counted: i64,
}

impl JobsCaller {
    pub(crate) fn new(channel: Channel, doing: Doing) -> Self {
        Self { client: JobsServiceClient::new(channel), doing, job_id: String::new(), counted: 0 }
    }

    /// Makes a job.
    pub(crate) async fn create(&mut self) -> Fallible<Job> {
        let request = CreateRequest {
            r#type: TYPE.to_owned(),
            metadata_json: METADATA.to_owned(),
            ..CreateRequest::default()
        };
        let answer = self.client.create(request).await.map_err(refused)?.into_inner();
        let job = answer.job.ok_or("Create answered without a job")?;
        self.job_id.clone_from(&job.id);
        Ok(job)
    }

    /// Reads its job.
    pub(crate) async fn get(&mut self) -> Fallible<Job> {
        let answer = self.client.get(GetRequest { job_id: self.job_id.clone() }).await;
        let job = answer.map_err(refused)?.into_inner().job.ok_or("Get answered without a job")?;
        if job.metadata_json == METADATA { Ok(job) } else { Err("a job reads back other metadata".into()) }
    }

    /// Adds one item that succeeded to its job's counts.
    pub(crate) async fn report(&mut self) -> Fallible<Job> {
        let counts = ProgressCounts { successful_count: 1, failed_count: 0 };
        let request = ReportProgressRequest {
            job_id: self.job_id.clone(),
            progress: Some(report_progress_request::Progress::Add(counts)),
            ..ReportProgressRequest::default()
        };
        let answer = self.client.report_progress(request).await.map_err(refused)?.into_inner();
        self.counted += 1;
        answer.job.ok_or_else(|| "ReportProgress answered without a job".into())
    }

    async fn add(&mut self, count: usize) -> Fallible<()> {
        let result = |number: i64| NewResult {
            item_key: format!("item-{number:09}"),
            url: format!("https://media.example/watch?v={number:09}"),
            success: Some(true),
            data_json: DATA.to_owned(),
            ..NewResult::default()
        };
        let request = AddResultsRequest {
            job_id: self.job_id.clone(),
            results: (self.counted..).take(count).map(result).collect(),
            ..AddResultsRequest::default()
        };
        let answer = self.client.add_results(request).await.map_err(refused)?.into_inner();
        let added = answer.results.iter().filter(|result| result.outcome() == AddOutcome::Added).count();
        self.counted += added as i64;
        if added == count { Ok(()) } else { Err(format!("{added} of {count} results were added").into()) }
    }
}

#[tonic::async_trait]
impl Worker for JobsCaller {
    async fn begin(&mut self) -> Fallible<()> {
        if self.doing != Doing::Create && self.job_id.is_empty() {
            self.create().await?;
        }
        Ok(())
    }

    async fn perform(&mut self) -> Fallible<Done> {
        let rows = match self.doing {
            Doing::Create => self.create().await.map(|_| 1)?,
            Doing::Get => self.get().await.map(|_| 1)?,
            Doing::Report => self.report().await.map(|_| 1)?,
            Doing::Add(count) => self.add(count).await.map(|()| count as u64)?,
        };
        Ok(Done::rows(rows))
    }

    /// The job that it created last is there, and its own job has counted what was acknowledged.
    async fn verify(&mut self) -> Fallible<()> {
        let job = self.get().await?;
        if job.processed_count == self.counted && job.successful_count == self.counted {
            Ok(())
        } else {
            Err(format!("a job says {}, counted were {}", job.processed_count, self.counted).into())
        }
    }
}
