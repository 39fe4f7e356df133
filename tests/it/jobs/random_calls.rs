//! Thousands of calls by chance, each answer compared with the model's.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::jobs::v1::report_progress_request::Progress;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::calls::{counts, failure, of_type, outcomes, success};
use super::model::Known;
use crate::cache::items::{Random, us};
use crate::harness::{Pannier, START_US, pannier_without_upkeep};

const STATUSES: [JobStatus; 5] =
    [JobStatus::Pending, JobStatus::Processing, JobStatus::Completed, JobStatus::Failed, JobStatus::Aborted];

/// The real jobs and the model, and chance that picks what to ask them.
struct Both {
    pannier: Pannier,
    known: Vec<(String, Known)>,
    random: Random,
    now_s: i64,
}

#[track_caller]
fn assert_same_refusal(status: &Status, reason: ErrorReason) {
    let told = status.get_error_details().error_info().map(|info| format!("ERROR_REASON_{}", info.reason));
    assert_eq!(told.as_deref(), Some(reason.as_str_name()), "{status:?}");
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[track_caller]
fn assert_job(job: &pb::Job, known: &Known) {
    let (successful, failed) = known.counts();
    assert_eq!(job.status(), known.status);
    assert_eq!(counts(job), (known.total, successful + failed, successful, failed));
    let at = |seconds: i64| START_US + seconds * 1_000_000;
    assert_eq!(us(job.create_time.as_ref()), Some(at(known.made_s)));
    assert_eq!(us(job.start_time.as_ref()), known.started_s.map(at));
    assert_eq!(us(job.end_time.as_ref()), known.ended_s.map(at));
    assert_eq!(job.revision, known.changes);
}

impl Both {
    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.random.below(bound)).unwrap()
    }

    fn number(&mut self, bound: u64) -> i64 {
        i64::try_from(self.random.below(bound)).unwrap()
    }

    fn maybe_total(&mut self) -> Option<i64> {
        (self.below(2) == 0).then(|| self.number(30))
    }

    async fn create(&mut self) {
        let (total_count, auto_complete) = (self.maybe_total(), self.below(2) == 0);
        let request = pb::CreateRequest { total_count, auto_complete, ..of_type("t") };
        let job = self.pannier.create(request).await;
        let known = Known::new(total_count, auto_complete, self.now_s);
        assert_job(&job, &known);
        self.known.push((job.id, known));
    }

    async fn move_to(&mut self, which: usize) {
        let next = STATUSES[self.below(5)];
        let (id, known) = &mut self.known[which];
        let answer = match next {
            JobStatus::Completed => self.pannier.complete(id).await,
            JobStatus::Failed => self.pannier.fail(id, None).await,
            _ => self.pannier.update_status(id, next).await,
        };
        match known.move_to(next, self.now_s) {
            Ok(()) => assert_job(&answer.unwrap(), known),
            Err(reason) => assert_same_refusal(&answer.unwrap_err(), reason),
        }
    }

    async fn report(&mut self, which: usize) {
        let (successful_count, failed_count) = (self.number(4), self.number(3));
        let asked = pb::ProgressCounts { successful_count, failed_count };
        let mut total_count = self.maybe_total();
        let progress = match self.below(3) {
            0 => Some(Progress::Set(asked)),
            1 => Some(Progress::Add(asked)),
            _ => None,
        };
        let is_step = matches!(progress, Some(Progress::Add(_)));
        if !is_step {
            // A total below what is set is a wrong field, and nothing at all is one as well: bad_input.rs.
            total_count = Some(total_count.unwrap_or(20).max(if progress.is_some() { 6 } else { 0 }));
        }
        let (id, known) = &mut self.known[which];
        let request =
            pb::ReportProgressRequest { job_id: id.clone(), progress, total_count, ..Default::default() };
        let answer = self.pannier.try_report(request).await;
        let asked = progress.map(|_| (successful_count, failed_count));
        match known.report(asked, is_step, total_count, self.now_s) {
            Ok(()) => assert_job(&answer.unwrap(), known),
            Err(reason) => assert_same_refusal(&answer.unwrap_err(), reason),
        }
    }

    async fn add(&mut self, which: usize) {
        let items: Vec<(String, bool)> = (0..=self.below(5))
            .map(|_| (self.random.below(26), self.random.below(3) > 0))
            // One of them has no key.
            .map(|(key, good)| (if key == 25 { String::new() } else { key.to_string() }, good))
            .collect();
        let request_id = format!("6f1b3c52-8a0e-4f4e-9c2d-{:012x}", self.random.below(1 << 48));
        let replace_failed = self.below(3) == 0;
        let result = |(key, good): &(String, bool)| if *good { success(key) } else { failure(key, "E") };
        let (id, known) = &mut self.known[which];
        let request = pb::AddResultsRequest {
            job_id: id.clone(),
            results: items.iter().map(result).collect(),
            replace_failed,
            request_id,
            ..Default::default()
        };
        let answer = self.pannier.jobs.clone().add_results(request).await;
        match known.add(&items, replace_failed, self.now_s) {
            Ok(expected) => {
                let answer = answer.unwrap().into_inner();
                assert_eq!(outcomes(&answer), expected);
                assert_job(&answer.job.unwrap(), known);
            }
            Err(reason) => assert_same_refusal(&answer.unwrap_err(), reason),
        }
    }

    /// Everything there is, in the job and in its results.
    async fn look(&mut self, which: usize) {
        let (id, known) = &self.known[which];
        assert_job(&self.pannier.get_job(id).await, known);
        let recorded = self.pannier.results(id).await;
        let recorded: Vec<_> = recorded.into_iter().map(|r| (r.item_key, r.success)).collect();
        assert_eq!(recorded, known.results);
    }

    async fn list(&mut self) {
        let status = STATUSES[self.below(5)];
        let request = pb::ListRequest {
            statuses: vec![status.into()],
            oldest_first: true,
            page_size: 3,
            ..Default::default()
        };
        let of_status = self.known.iter().filter(|(_, known)| known.status == status);
        let expected: Vec<String> = of_status.map(|(id, _)| id.clone()).collect();
        assert_eq!(self.pannier.job_ids(request).await, expected, "{status:?}");
    }

    async fn stats(&mut self) {
        let stats = self.pannier.job_stats(Default::default()).await;
        for status in STATUSES {
            let of_status = || self.known.iter().filter(|(_, known)| known.status == status);
            let told = stats.counts.iter().find(|counts| counts.status() == status);
            let told = told.map_or((0, 0), |counts| (counts.job_count, counts.successful_count));
            let jobs = i64::try_from(of_status().count()).unwrap();
            assert_eq!(told, (jobs, of_status().map(|(_, known)| known.counts().0).sum()), "{status:?}");
        }
    }

    async fn delete(&mut self, which: usize) {
        let (id, _) = self.known.remove(which);
        assert!(self.pannier.delete_job(&id).await);
    }

    async fn step(&mut self) {
        if self.known.is_empty() {
            self.create().await;
        }
        let which = self.below(self.known.len() as u64);
        match self.random.below(100) {
            0..10 => self.create().await,
            10..22 => self.move_to(which).await,
            22..42 => self.report(which).await,
            42..75 => self.add(which).await,
            75..85 => self.look(which).await,
            85..88 => self.list().await,
            88..91 => self.stats().await,
            91..96 => self.delete(which).await,
            _ => {
                let by_s = 1 + self.random.below(8);
                self.pannier.advance_s(by_s);
                self.now_s += i64::try_from(by_s).unwrap();
            }
        }
    }
}

async fn compare(seed: u64) {
    let pannier = pannier_without_upkeep().await;
    let mut both = Both { pannier, known: Vec::new(), random: Random::new(seed), now_s: 0 };
    for turn in 1..=2_000 {
        both.step().await;
        if turn % 500 == 0 {
            let pannier = both.pannier.restart().await;
            both = Both { pannier, now_s: both.now_s + 1, ..both };
            for which in 0..both.known.len() {
                both.look(which).await;
            }
        }
    }
}

#[tokio::test]
async fn two_thousand_calls_answer_as_the_model_does() {
    compare(1).await;
}

#[tokio::test]
async fn two_thousand_other_calls_answer_as_the_model_does() {
    compare(2).await;
}
