//! Commits by chance on one sidecar, and on another the same mutations as single calls one after the other: a commit that succeeds
//! answers and stores what they do; one that fails does so where they do, for the same reason.

use std::collections::HashMap;

use pannier_proto::cache::v1 as cache;
use pannier_proto::cache::v1::put_item::Condition;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::prompts::v1 as prompts;
use pannier_proto::queue::v1 as queue;
use pannier_proto::queue::v1::TaskState;
use pannier_proto::records::v1 as records;
use pannier_proto::settings::v1::set_request;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::mutation_result::Result as Outcome;
use pannier_proto::transaction::v1::{cache_check, records_check, settings_check};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::calls::{
    check_entry, check_job, check_setting, check_task, create, delete, enqueue, job_id, put_if, put_item,
    set, set_if, unset, update,
};
use super::records as record;
use crate::cache::items::{Random, tagged, value_of};
use crate::harness::{Pannier, pannier_without_upkeep};
use crate::jobs::calls::success;
use crate::prompts::calls::{new_prompt, number as score_of};
use crate::records::calls::item;

const ROUNDS: u64 = 160;
const KEYS: u64 = 4;
const JOBS: u64 = 5;
const STATUSES: [JobStatus; 3] = [JobStatus::Processing, JobStatus::Completed, JobStatus::Failed];

/// A sidecar, and what a client of it knows.
struct Side {
    pannier: Pannier,
    etags: HashMap<String, String>,
    revisions: HashMap<String, i64>,
    record_revisions: HashMap<String, i64>,
    task_ids: Vec<i64>,
    prompt_ids: Vec<i64>,
}

/// What is drawn: each side makes a mutation of it, with its own etags and ids.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    kind: u64,
    thing: u64,
    way: u64,
    number: u64,
}

impl Drawn {
    fn new(random: &mut Random) -> Self {
        let way = random.below(6);
        Self { kind: random.below(22), thing: random.below(KEYS), way, number: random.below(1_000) }
    }
}

/// Why a call failed.
type Refused = (Code, String);

fn refused(status: &Status) -> Refused {
    (status.code(), status.get_error_details().error_info().unwrap().reason.clone())
}

impl Side {
    async fn new() -> Self {
        let pannier = pannier_without_upkeep().await;
        pannier.make_collection("c").await;
        Self {
            pannier,
            etags: HashMap::new(),
            revisions: HashMap::new(),
            record_revisions: HashMap::new(),
            task_ids: Vec::new(),
            prompt_ids: Vec::new(),
        }
    }

    fn mutation(&self, drawn: Drawn) -> What {
        let Drawn { kind, thing, way, number } = drawn;
        let (key, value) = (format!("k{thing}"), number.to_string());
        let etag = || self.etags.get(&key).cloned().unwrap_or_else(|| "1".into());
        let revision = || self.revisions.get(&key).copied().unwrap_or(1_000_000);
        let job = number % JOBS;
        let task_id = self.task_ids.get(usize::try_from(number % 7).unwrap()).copied().unwrap_or(i64::MAX);
        match kind {
            0 => put_item(tagged(&key, &["t", &value])),
            1 => match way {
                0 | 1 => put_if(&key, &value, Condition::IfAbsent(true)),
                2 => put_if(&key, &value, Condition::IfPresent(true)),
                _ => put_if(&key, &value, Condition::IfEtag(etag())),
            },
            2 => delete(&key, (way > 2).then(etag).as_deref()),
            3 => match way {
                0 | 1 => check_entry(&key, cache_check::Expected::Absent(true)),
                2 | 3 => check_entry(&key, cache_check::Expected::Present(true)),
                _ => check_entry(&key, cache_check::Expected::Etag(etag())),
            },
            4 => set(&key, &value),
            5 => match way {
                0 | 1 => set_if(&key, &value, Some(set_request::Condition::IfAbsent(true))),
                _ => set_if(&key, &value, Some(set_request::Condition::IfRevision(revision()))),
            },
            6 => unset(&key, if way > 2 { revision() } else { 0 }),
            7 => match way {
                0 | 1 => check_setting(&key, settings_check::Expected::Absent(true)),
                2 | 3 => check_setting(&key, settings_check::Expected::Present(true)),
                _ => check_setting(&key, settings_check::Expected::Revision(revision())),
            },
            8 => create(job),
            9 => update(job, STATUSES[usize::try_from(way % 3).unwrap()]),
            10 => What::JobsAddResults(jobs::AddResultsRequest {
                job_id: job_id(job),
                results: vec![success(key), success(value)],
                ..Default::default()
            }),
            11 if way == 0 => {
                What::JobsDelete(jobs::DeleteRequest { job_id: job_id(job), ..Default::default() })
            }
            11 => check_job(job, &[JobStatus::Pending, JobStatus::Processing]),
            12 => enqueue(&key),
            13 => What::QueueCancel(queue::CancelRequest { task_ids: vec![task_id], ..Default::default() }),
            15..=17 => self.of_prompts(drawn),
            18..=21 => self.of_records(drawn),
            _ if way < 3 => {
                What::QueueRetry(queue::RetryRequest { task_ids: vec![task_id], ..Default::default() })
            }
            _ => check_task(task_id, &[TaskState::Queued]),
        }
    }

    fn of_prompts(&self, drawn: Drawn) -> What {
        let Drawn { kind, thing, way, number } = drawn;
        let known = self.prompt_ids.get(usize::try_from(number % 7).unwrap()).copied();
        let prompt_id = known.unwrap_or(i64::MAX);
        match (kind, way) {
            (15, _) => {
                let prompt = prompts::NewPrompt {
                    import_key: if way == 0 { format!("k{thing}") } else { String::new() },
                    conversation_id: format!("c{thing}"),
                    ..new_prompt(&number.to_string())
                };
                What::PromptsSave(prompts::SaveRequest { prompt: Some(prompt), ..Default::default() })
            }
            (16, 0) => What::PromptsDelete(prompts::DeleteRequest { prompt_id, ..Default::default() }),
            (16, _) => {
                let set = vec![score_of(&format!("s{thing}"), number as f64)];
                What::PromptsScore(prompts::ScoreRequest { prompt_id, set, ..Default::default() })
            }
            _ => {
                let (add, remove) = (vec![format!("t{thing}")], vec![format!("t{}", thing + 1)]);
                What::PromptsTag(prompts::TagRequest { prompt_id, add, remove, ..Default::default() })
            }
        }
    }

    fn of_records(&self, drawn: Drawn) -> What {
        let Drawn { kind, thing, way, number } = drawn;
        let key = format!("k{thing}");
        let document = format!(r#"{{"n{way}":{number}}}"#);
        let known = self.record_revisions.get(&key).copied().unwrap_or(1_000_000);
        let if_revision = if way > 3 { known } else { 0 };
        match (kind, way) {
            (18, 0) => record::put("c", record::insert(&key)),
            (18, 1) => {
                let keep = records::PutItem { mode: records::PutMode::Keep.into(), ..item(&key, &document) };
                record::put("c", keep)
            }
            (18, _) => record::put("c", records::PutItem { if_revision, ..item(&key, &document) }),
            (19, _) => record::patch_if(&key, &document, if_revision),
            (20, _) => record::delete(&key, if_revision),
            (_, 0 | 1) => record::check(&key, records_check::Expected::Absent(true)),
            (_, 2 | 3) => record::check(&key, records_check::Expected::Present(true)),
            _ => record::check(&key, records_check::Expected::Revision(known)),
        }
    }

    /// The mutation by a call of its own.
    async fn single(&self, what: What) -> Result<Outcome, Refused> {
        let pannier = &self.pannier;
        let (mut cache, mut jobs) = (pannier.cache.clone(), pannier.jobs.clone());
        let (mut queue, mut settings) = (pannier.queue.clone(), pannier.settings.clone());
        let (mut prompts, mut records) = (pannier.prompts.clone(), pannier.records.clone());
        macro_rules! call {
            ($client:ident.$method:ident($request:ident) => $outcome:ident) => {
                $client.$method($request).await.map(|answer| Outcome::$outcome(answer.into_inner()))
            };
        }
        let result = match what {
            What::CachePut(request) => call!(cache.put(request) => CachePut),
            What::CacheDelete(request) => {
                let asked = request.items[0].if_etag.is_some();
                let answer = cache.delete(request).await.map_err(|status| refused(&status))?.into_inner();
                // What is told of an item by its own call fails a commit.
                match answer.results[0].outcome() {
                    cache::DeleteOutcome::EtagMismatch => {
                        return Err((Code::Aborted, "ETAG_MISMATCH".into()));
                    }
                    cache::DeleteOutcome::NotFound if asked => {
                        return Err((Code::NotFound, "ENTRY_NOT_FOUND".into()));
                    }
                    _ => Ok(Outcome::CacheDelete(answer)),
                }
            }
            What::JobsCreate(request) => call!(jobs.create(request) => JobsCreate),
            What::JobsUpdateStatus(request) => call!(jobs.update_status(request) => JobsUpdateStatus),
            What::JobsAddResults(request) => call!(jobs.add_results(request) => JobsAddResults),
            What::JobsDelete(request) => call!(jobs.delete(request) => JobsDelete),
            What::QueueEnqueue(request) => call!(queue.enqueue(request) => QueueEnqueue),
            What::QueueCancel(request) => {
                let answer = queue.cancel(request).await.map_err(|status| refused(&status))?.into_inner();
                of_tasks(&answer.results)?;
                Ok(Outcome::QueueCancel(answer))
            }
            What::QueueRetry(request) => {
                let answer = queue.retry(request).await.map_err(|status| refused(&status))?.into_inner();
                of_tasks(&answer.results)?;
                Ok(Outcome::QueueRetry(answer))
            }
            What::SettingsSet(request) => call!(settings.set(request) => SettingsSet),
            What::SettingsDelete(request) => call!(settings.delete(request) => SettingsDelete),
            What::PromptsSave(request) => call!(prompts.save(request) => PromptsSave),
            What::PromptsScore(request) => call!(prompts.score(request) => PromptsScore),
            What::PromptsTag(request) => call!(prompts.tag(request) => PromptsTag),
            What::PromptsDelete(request) => call!(prompts.delete(request) => PromptsDelete),
            What::RecordsPut(request) => call!(records.put(request) => RecordsPut),
            What::RecordsPatch(request) => call!(records.patch(request) => RecordsPatch),
            What::RecordsDelete(request) => call!(records.delete(request) => RecordsDelete),
            // Checks have no other call.
            check => pannier.try_commit(vec![check]).await.map(|mut results| results.remove(0)),
        };
        result.map_err(|status| refused(&status))
    }

    /// Notes the ids of tasks that were added and of prompts that were saved.
    fn note(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            if let Outcome::QueueEnqueue(answer) = outcome {
                self.task_ids.push(answer.enqueued.unwrap().task_id);
            }
            if let Outcome::PromptsSave(saved) = outcome
                && !saved.existed
            {
                self.prompt_ids.push(saved.prompt_id);
            }
        }
    }

    /// Everything that is stored, without etags, ids and times.
    async fn state(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        self.etags.clear();
        for entry in self.pannier.entries("n").await {
            told.push(format!("{} {:?} {:?}", entry.key, value_of(&entry), entry.tags));
            self.etags.insert(entry.key, entry.etag);
        }
        let request = cache::StatsRequest { namespace: "n".into() };
        // There are none before the first entry.
        let stats = self.pannier.cache.clone().stats(request).await.ok();
        let stats = stats.and_then(|answer| answer.into_inner().stats);
        told.push(format!("{:?}", stats.map(|stats| (stats.entry_count, stats.stored_bytes))));
        self.revisions.clear();
        for setting in self.pannier.all_settings("", 0).await.0 {
            told.push(format!("{} {} {}", setting.key, setting.value_json, setting.revision));
            self.revisions.insert(setting.key, setting.revision);
        }
        for number in 0..JOBS {
            let job = self.pannier.try_get_job(&job_id(number)).await.ok();
            told.push(format!("{:?}", job.map(|job| (job.status, job.revision, job.successful_count))));
        }
        for task_id in &self.task_ids {
            told.push(format!("{:?}", self.pannier.state_of(*task_id).await));
        }
        for prompt_id in &self.prompt_ids {
            let prompt = self.pannier.try_prompt(*prompt_id).await.ok();
            told.push(format!("{:?}", prompt.map(|prompt| (prompt.body, prompt.tags, prompt.scores))));
        }
        told.push(format!("{:?}", self.pannier.conversations(0).await));
        let collection = self.pannier.collection("c").await.unwrap();
        told.push(format!(
            "{} {} {}",
            collection.record_count, collection.tombstone_count, collection.size_bytes
        ));
        self.record_revisions.clear();
        for change in self.pannier.all_changes("", 0).await.0 {
            told.push(format!("{} {:?} {}", change.key, change.document_json, change.revision));
            self.record_revisions.insert(change.key, change.revision);
        }
        told
    }
}

fn of_tasks(results: &[queue::TaskResult]) -> Result<(), Refused> {
    match &results[0].result {
        Some(queue::task_result::Result::Error(error)) => {
            let reason = error.reason().as_str_name().trim_start_matches("ERROR_REASON_").to_owned();
            Err((Code::from(error.code), reason))
        }
        _ => Ok(()),
    }
}

/// An answer without etags, ids and times.
fn shape(outcome: &Outcome) -> String {
    match outcome {
        Outcome::CachePut(put) => format!("put {}", put.result.as_ref().unwrap().created),
        Outcome::JobsCreate(create) => format!("create {:?}", create.job.as_ref().map(|job| job.status)),
        Outcome::JobsUpdateStatus(update) => {
            format!("update {:?}", update.job.as_ref().map(|job| (job.status, job.revision)))
        }
        Outcome::JobsAddResults(add) => {
            format!("add {:?} {:?}", add.results, add.job.as_ref().map(|job| job.successful_count))
        }
        Outcome::QueueEnqueue(added) => format!("enqueue {:?}", added.enqueued.map(|task| task.state)),
        Outcome::SettingsSet(set) => {
            format!("set {} {:?}", set.created, set.setting.as_ref().map(|setting| setting.revision))
        }
        Outcome::PromptsSave(saved) => format!("save {}", saved.existed),
        Outcome::RecordsPatch(patch) => {
            format!(
                "patch {:?}",
                patch.record.as_ref().map(|record| (&record.document_json, record.revision))
            )
        }
        other => format!("{other:?}"),
    }
}

/// Commits on `side` as much as can be: all of it, or, after it failed, what comes before the mutation that fails.
/// Answers with the results, and with why that mutation fails.
async fn commit(side: &Side, whats: &[What]) -> (Vec<Outcome>, Option<Refused>) {
    let mut reason = None;
    let mut count = whats.len();
    loop {
        if count == 0 {
            return (Vec::new(), reason);
        }
        let status = match side.pannier.try_commit(whats[..count].to_vec()).await {
            Ok(results) => return (results, reason),
            Err(status) => status,
        };
        let info = status.get_error_details().error_info().unwrap().clone();
        match info.metadata.get("mutation") {
            Some(index) => {
                count = index.parse().unwrap();
                reason = Some((status.code(), info.reason));
            }
            None => {
                // A contradiction: what it will come to is told by the single call.
                let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
                let field = &violations[0].field;
                count = field.trim_start_matches("mutations[").trim_end_matches(']').parse().unwrap();
                reason = Some((Code::InvalidArgument, String::new()));
            }
        }
    }
}

#[tokio::test]
async fn a_commit_does_what_its_mutations_do_one_after_the_other() {
    let seed = std::env::var("PANNIER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_121);
    let mut random = Random::new(seed);
    let (mut commits, mut singles) = (Side::new().await, Side::new().await);
    let (mut whole, mut failed, mut contradicted) = (0, 0, 0);
    for round in 0..ROUNDS {
        let drawn: Vec<Drawn> = (0..1 + random.below(6)).map(|_| Drawn::new(&mut random)).collect();
        let ours: Vec<What> = drawn.iter().map(|drawn| commits.mutation(*drawn)).collect();
        let theirs: Vec<What> = drawn.iter().map(|drawn| singles.mutation(*drawn)).collect();
        let (results, reason) = commit(&commits, &ours).await;
        let mut expected = Vec::new();
        for what in &theirs[..results.len()] {
            let outcome = singles.single(what.clone()).await;
            expected.push(outcome.unwrap_or_else(|refused| panic!("{seed}/{round} {refused:?} {theirs:?}")));
        }
        let shapes = |outcomes: &[Outcome]| outcomes.iter().map(shape).collect::<Vec<_>>();
        assert_eq!(shapes(&results), shapes(&expected), "{seed}/{round} {ours:?}");
        commits.note(&results);
        singles.note(&expected);
        match &reason {
            None => whole += 1,
            Some((code, reason)) => {
                let here = commits.single(ours[results.len()].clone()).await.unwrap_err();
                let there = singles.single(theirs[results.len()].clone()).await.unwrap_err();
                assert_eq!(here, there, "{seed}/{round} {ours:?}");
                if *code == Code::InvalidArgument {
                    contradicted += 1;
                } else {
                    failed += 1;
                    assert_eq!((*code, reason), (here.0, &here.1), "{seed}/{round} {ours:?}");
                }
            }
        }
        assert_eq!(commits.state().await, singles.state().await, "{seed}/{round} {ours:?}");
        commits.pannier.advance_s(1);
        singles.pannier.advance_s(1);
    }
    assert!(
        whole > ROUNDS / 10 && failed > ROUNDS / 10 && contradicted > 0,
        "{whole} {failed} {contradicted}"
    );
}
