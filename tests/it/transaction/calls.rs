//! Commits as tests write them: mutations in short, and what they answered.

use pannier_proto::cache::v1 as cache;
use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::queue::v1 as queue;
use pannier_proto::settings::v1 as settings;
use pannier_proto::transaction::v1 as pb;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::mutation_result::Result as Outcome;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::cache::items::value_item;
use crate::harness::{Pannier, assert_status};
use crate::queue::calls::item;

/// A job id that tells itself from others by its number.
pub fn job_id(number: u64) -> String {
    format!("01890000-0000-7000-8000-{number:012}")
}

pub fn put_item(item: cache::PutItem) -> What {
    What::CachePut(cache::PutRequest { namespace: "n".into(), item: Some(item), ..Default::default() })
}

pub fn put(key: &str, value: &str) -> What {
    put_item(value_item(key, value))
}

pub fn put_if(key: &str, value: &str, condition: cache::put_item::Condition) -> What {
    put_item(cache::PutItem { condition: Some(condition), ..value_item(key, value) })
}

pub fn delete(key: &str, if_etag: Option<&str>) -> What {
    let item = cache::DeleteItem { key: key.into(), if_etag: if_etag.map(str::to_owned) };
    What::CacheDelete(cache::DeleteRequest { namespace: "n".into(), items: vec![item], ..Default::default() })
}

pub fn create(number: u64) -> What {
    let request =
        jobs::CreateRequest { job_id: job_id(number), r#type: "batch".into(), ..Default::default() };
    What::JobsCreate(request)
}

pub fn update(number: u64, status: jobs::JobStatus) -> What {
    let (job_id, status) = (job_id(number), status.into());
    What::JobsUpdateStatus(jobs::UpdateStatusRequest { job_id, status, ..Default::default() })
}

pub fn enqueue(kind: &str) -> What {
    What::QueueEnqueue(queue::EnqueueRequest { item: Some(item(kind)), ..Default::default() })
}

pub fn complete_task(task: &queue::Task) -> What {
    let (task_id, token) = (task.id, task.token);
    What::QueueComplete(queue::CompleteRequest { task_id, token, ..Default::default() })
}

pub fn set(key: &str, value_json: &str) -> What {
    set_if(key, value_json, None)
}

pub fn set_if(key: &str, value_json: &str, condition: Option<settings::set_request::Condition>) -> What {
    let (key, value_json) = (key.into(), value_json.into());
    What::SettingsSet(settings::SetRequest { key, value_json, condition, ..Default::default() })
}

pub fn unset(key: &str, if_revision: i64) -> What {
    What::SettingsDelete(settings::DeleteRequest { key: key.into(), if_revision, ..Default::default() })
}

pub fn check_entry(key: &str, expected: pb::cache_check::Expected) -> What {
    let (namespace, key) = ("n".into(), key.into());
    What::CacheCheck(pb::CacheCheck { namespace, key, expected: Some(expected) })
}

pub fn check_setting(key: &str, expected: pb::settings_check::Expected) -> What {
    What::SettingsCheck(pb::SettingsCheck { key: key.into(), expected: Some(expected) })
}

pub fn check_job(number: u64, statuses: &[jobs::JobStatus]) -> What {
    let statuses = statuses.iter().map(|status| (*status).into()).collect();
    What::JobsCheck(pb::JobsCheck { job_id: job_id(number), statuses })
}

pub fn check_task(task_id: i64, states: &[queue::TaskState]) -> What {
    let states = states.iter().map(|state| (*state).into()).collect();
    What::QueueCheck(pb::QueueCheck { task_id, states })
}

/// A commit of mutations.
pub fn of(whats: Vec<What>) -> pb::CommitRequest {
    let mutations = whats.into_iter().map(|what| pb::Mutation { what: Some(what) }).collect();
    pb::CommitRequest { mutations, ..Default::default() }
}

impl Pannier {
    pub async fn try_commit_request(&self, request: pb::CommitRequest) -> Result<pb::CommitResponse, Status> {
        self.transaction.clone().commit(request).await.map(tonic::Response::into_inner)
    }

    pub async fn try_commit(&self, whats: Vec<What>) -> Result<Vec<Outcome>, Status> {
        let count = whats.len();
        let results = self.try_commit_request(of(whats)).await?.results;
        assert_eq!(results.len(), count, "one result for each mutation");
        Ok(results.into_iter().map(|result| result.result.expect("a result")).collect())
    }

    pub async fn commit(&self, whats: Vec<What>) -> Vec<Outcome> {
        self.try_commit(whats).await.unwrap()
    }

    /// Rows of everything that a commit may change.
    pub async fn stored(&self) -> Vec<i64> {
        let mut counts = Vec::new();
        for table in [
            "cache_namespaces",
            "cache_entries",
            "jobs",
            "job_results",
            "queue_queues",
            "queue_tasks",
            "settings",
        ] {
            counts.push(self.row_count(table).await);
        }
        counts
    }
}

/// Asserts which mutation failed, and how.
#[track_caller]
pub fn assert_failed(status: &Status, field: &str, code: Code, reason: ErrorReason) {
    assert_status(status, code, reason);
    let metadata = status.get_error_details().error_info().unwrap().metadata.clone();
    assert_eq!(metadata.get("field").map(String::as_str), Some(field), "{status:?}");
    let index = field.trim_start_matches("mutations[").split(']').next();
    assert_eq!(metadata.get("mutation").map(String::as_str), index);
    assert!(status.message().starts_with(field), "{}", status.message());
}
