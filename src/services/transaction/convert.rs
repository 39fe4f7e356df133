//! What mutations ask of the things that they change, for telling those that contradict each other.

use pannier_proto::cache::v1 as cache;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::records::v1 as records;
use pannier_proto::settings::v1 as settings;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::{RecordsCheck, cache_check, records_check, settings_check};
use uuid::Uuid;

use super::domain::{Leaves, Needs, Step, Thing};

/// The steps of a mutation, in their order. Those that ask for nothing that can be told beforehand have none.
pub(super) fn steps(what: &What) -> Vec<Step> {
    match what {
        What::CacheCheck(check) => {
            let needs = match &check.expected {
                Some(cache_check::Expected::Absent(_)) => Needs::Absent,
                Some(cache_check::Expected::Present(_)) => Needs::Present,
                Some(cache_check::Expected::Etag(etag)) => Needs::Version(etag.clone()),
                None => Needs::Nothing,
            };
            vec![Step { thing: entry(&check.namespace, &check.key), needs, leaves: Leaves::AsItIs }]
        }
        What::CachePut(put) => put.item.iter().map(|item| put_step(&put.namespace, item)).collect(),
        What::CacheBatchPut(put) => put.items.iter().map(|item| put_step(&put.namespace, item)).collect(),
        What::CacheDelete(delete) => {
            let step = |item: &cache::DeleteItem| Step {
                thing: entry(&delete.namespace, &item.key),
                needs: item.if_etag.clone().map_or(Needs::Nothing, Needs::Version),
                leaves: Leaves::Gone,
            };
            delete.items.iter().map(step).collect()
        }
        What::SettingsCheck(check) => {
            let needs = match check.expected {
                Some(settings_check::Expected::Absent(_)) => Needs::Absent,
                Some(settings_check::Expected::Present(_)) => Needs::Present,
                Some(settings_check::Expected::Revision(revision)) => Needs::Version(revision.to_string()),
                None => Needs::Nothing,
            };
            vec![Step { thing: Thing::Setting(check.key.clone()), needs, leaves: Leaves::AsItIs }]
        }
        What::SettingsSet(set) => vec![set_step(set)],
        What::SettingsBatchSet(set) => set.items.iter().map(set_item_step).collect(),
        What::SettingsDelete(delete) => {
            let needs = match delete.if_revision {
                0 => Needs::Nothing,
                revision => Needs::Version(revision.to_string()),
            };
            vec![Step { thing: Thing::Setting(delete.key.clone()), needs, leaves: Leaves::Gone }]
        }
        What::JobsCreate(create) => create_step(create).into_iter().collect(),
        What::JobsDelete(delete) => vec![job_step(&delete.job_id, Needs::Nothing, Leaves::Gone)],
        What::JobsCheck(check) => vec![changed_job(&check.job_id)],
        What::JobsUpdateJob(update) => vec![changed_job(&update.job_id)],
        What::JobsUpdateStatus(update) => vec![changed_job(&update.job_id)],
        What::JobsReportProgress(report) => vec![changed_job(&report.job_id)],
        What::JobsAddResults(add) => vec![changed_job(&add.job_id)],
        What::JobsComplete(complete) => vec![changed_job(&complete.job_id)],
        What::JobsFail(fail) => vec![changed_job(&fail.job_id)],
        What::JobsAbort(abort) => vec![changed_job(&abort.job_id)],
        What::UploadsCreateSession(create) => {
            let is_named = !create.session_id.is_empty();
            let step = is_named.then(|| session(&create.session_id, Needs::Absent, Leaves::Changed));
            step.into_iter().collect()
        }
        What::UploadsDeleteSession(delete) => {
            vec![session(&delete.session_id, Needs::Nothing, Leaves::Gone)]
        }
        What::UploadsCheck(check) => vec![used_session(&check.session_id)],
        What::UploadsUpdateSession(update) => vec![used_session(&update.session_id)],
        What::UploadsPauseSession(pause) => vec![used_session(&pause.session_id)],
        What::UploadsResumeSession(resume) => vec![used_session(&resume.session_id)],
        What::UploadsCompleteSession(complete) => vec![used_session(&complete.session_id)],
        What::UploadsFailSession(fail) => vec![used_session(&fail.session_id)],
        What::UploadsRecordError(error) => vec![used_session(&error.session_id)],
        What::RecordsCheck(check) => vec![checked_record(check)],
        What::RecordsPut(put) => {
            let step = put.item.as_ref().and_then(|item| put_record(&put.collection, item, 0));
            step.into_iter().collect()
        }
        What::RecordsBatchPut(put) => {
            let steps = put.items.iter().map(|item| put_record(&put.collection, item, put.mode));
            steps.flatten().collect()
        }
        What::RecordsPatch(patch) => {
            patch.item.iter().map(|item| patch_record(&patch.collection, item)).collect()
        }
        What::RecordsBatchPatch(patch) => {
            patch.items.iter().map(|item| patch_record(&patch.collection, item)).collect()
        }
        What::RecordsDelete(delete) => {
            delete.item.iter().map(|item| delete_record(&delete.collection, item)).collect()
        }
        What::RecordsBatchDelete(delete) => {
            delete.items.iter().map(|item| delete_record(&delete.collection, item)).collect()
        }
        What::UploadsRegisterFile(register) => registered_to(&register.session_id),
        What::UploadsBatchRegisterFiles(register) => registered_to(&register.session_id),
        _ => Vec::new(),
    }
}

/// A session that must be there.
fn used_session(session_id: &str) -> Step {
    session(session_id, Needs::Present, Leaves::AsItIs)
}

/// The session of files, if they have one.
fn registered_to(session_id: &str) -> Vec<Step> {
    if session_id.is_empty() { Vec::new() } else { vec![used_session(session_id)] }
}

fn session(session_id: &str, needs: Needs, leaves: Leaves) -> Step {
    Step { thing: Thing::Session(session_id.to_owned()), needs, leaves }
}

fn record(collection: &str, key: &str, needs: Needs, leaves: Leaves) -> Step {
    Step { thing: Thing::Record(collection.to_owned(), key.to_owned()), needs, leaves }
}

fn checked_record(check: &RecordsCheck) -> Step {
    let needs = match check.expected {
        Some(records_check::Expected::Absent(_)) => Needs::Absent,
        Some(records_check::Expected::Present(_)) => Needs::Present,
        Some(records_check::Expected::Revision(revision)) => Needs::Version(revision.to_string()),
        None => Needs::Nothing,
    };
    record(&check.collection, &check.key, needs, Leaves::AsItIs)
}

/// A record that is put under a key of the caller's. What is stored already keeps its revision, and revisions can be foretold: after it
/// nothing is known but that it is there.
fn put_record(collection: &str, item: &records::PutItem, of_batch: i32) -> Option<Step> {
    let mode = if item.mode == 0 { of_batch } else { item.mode };
    let needs = match (records::PutMode::try_from(mode), item.if_revision) {
        (Ok(records::PutMode::Insert), _) => Needs::Absent,
        (Ok(records::PutMode::Keep), _) | (_, 0) => Needs::Nothing,
        (_, revision) => Needs::Version(revision.to_string()),
    };
    (!item.key.is_empty()).then(|| record(collection, &item.key, needs, Leaves::There))
}

fn patch_record(collection: &str, item: &records::PatchItem) -> Step {
    let needs = match item.if_revision {
        0 => Needs::Present,
        revision => Needs::Version(revision.to_string()),
    };
    record(collection, &item.key, needs, Leaves::There)
}

fn delete_record(collection: &str, item: &records::DeleteItem) -> Step {
    let needs = match item.if_revision {
        0 => Needs::Nothing,
        revision => Needs::Version(revision.to_string()),
    };
    record(collection, &item.key, needs, Leaves::Gone)
}

fn entry(namespace: &str, key: &str) -> Thing {
    Thing::Entry(namespace.to_owned(), key.to_owned())
}

fn put_step(namespace: &str, item: &cache::PutItem) -> Step {
    use cache::put_item::Condition;
    let needs = match &item.condition {
        None => Needs::Nothing,
        Some(Condition::IfAbsent(_)) => Needs::Absent,
        Some(Condition::IfPresent(_)) => Needs::Present,
        Some(Condition::IfEtag(etag)) => Needs::Version(etag.clone()),
    };
    Step { thing: entry(namespace, &item.key), needs, leaves: Leaves::Changed }
}

fn set_step(set: &settings::SetRequest) -> Step {
    use settings::set_request::Condition;
    let needs = match set.condition {
        None => Needs::Nothing,
        Some(Condition::IfAbsent(_)) => Needs::Absent,
        Some(Condition::IfRevision(revision)) => Needs::Version(revision.to_string()),
    };
    Step { thing: Thing::Setting(set.key.clone()), needs, leaves: Leaves::Changed }
}

fn set_item_step(item: &settings::SetItem) -> Step {
    use settings::set_item::Condition;
    let needs = match item.condition {
        None => Needs::Nothing,
        Some(Condition::IfAbsent(_)) => Needs::Absent,
        Some(Condition::IfRevision(revision)) => Needs::Version(revision.to_string()),
    };
    Step { thing: Thing::Setting(item.key.clone()), needs, leaves: Leaves::Changed }
}

/// A job that is made with an id of the caller's.
fn create_step(create: &jobs::CreateRequest) -> Option<Step> {
    let has_id = !create.job_id.is_empty();
    has_id.then(|| job_step(&create.job_id, Needs::Absent, Leaves::Changed))
}

/// A job that must be there. No condition names a job's revision, so it does not matter that it has another one afterwards.
fn changed_job(job_id: &str) -> Step {
    job_step(job_id, Needs::Present, Leaves::AsItIs)
}

fn job_step(job_id: &str, needs: Needs, leaves: Leaves) -> Step {
    Step { thing: Thing::Job(plain_id(job_id)), needs, leaves }
}

/// One id may be written in several ways.
fn plain_id(id: &str) -> String {
    Uuid::try_parse(id).map_or_else(|_| id.to_owned(), |id| id.to_string())
}
