//! Watch: what is streamed, and how often.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::jobs::v1::report_progress_request::Progress;
use tokio::task::JoinHandle;
use tonic::Status;

use super::calls::{of_type, success};
use crate::harness::{Pannier, pannier, pannier_with};

/// A watch that is read as it comes.
pub struct Watcher {
    seen: Arc<Mutex<Vec<pb::Job>>>,
    end: JoinHandle<Result<(), Status>>,
}

impl Watcher {
    pub async fn new(pannier: &Pannier, id: &str, interval_ms: u64) -> Self {
        Self::try_new(pannier, id, interval_ms).await.unwrap()
    }

    pub async fn try_new(pannier: &Pannier, id: &str, interval_ms: u64) -> Result<Self, Status> {
        let interval = Duration::from_millis(interval_ms);
        let interval_min = (interval_ms > 0).then(|| interval.try_into().unwrap());
        let request = pb::WatchRequest { job_id: id.into(), interval_min };
        let mut stream = pannier.jobs.clone().watch(request).await?.into_inner();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let filled = seen.clone();
        let end = tokio::spawn(async move {
            while let Some(message) = stream.message().await? {
                filled.lock().unwrap().push(message.job.unwrap());
            }
            Ok(())
        });
        Ok(Self { seen, end })
    }

    /// What has come so far.
    pub fn seen(&self) -> Vec<pb::Job> {
        self.seen.lock().unwrap().clone()
    }

    /// What has come when everything that is under way has arrived.
    pub async fn settled(&self, pannier: &Pannier) -> Vec<pb::Job> {
        let_arrive(pannier).await;
        self.seen()
    }

    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        self.end.is_finished()
    }

    /// What has come by the end, and how that was.
    pub async fn ended(self) -> (Vec<pb::Job>, Result<(), Status>) {
        let end = tokio::time::timeout(Duration::from_secs(20), self.end).await.expect("the watch ends");
        let seen = self.seen.lock().unwrap().clone();
        (seen, end.unwrap())
    }
}

/// Gives what is under way time to arrive.
pub async fn let_arrive(pannier: &Pannier) {
    for _ in 0..30 {
        pannier.exists("unrelated", &["a"]).await;
    }
}

fn processed(seen: &[pb::Job]) -> Vec<i64> {
    seen.iter().map(|job| job.processed_count).collect()
}

async fn add_one(pannier: &Pannier, id: &str) {
    let one = pb::ProgressCounts { successful_count: 1, failed_count: 0 };
    pannier.report(id, Progress::Add(one)).await.unwrap();
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[tokio::test]
async fn the_job_is_told_at_once_and_then_with_each_change_until_its_end() {
    let pannier = pannier().await;
    let made = pannier.create(pb::CreateRequest { metadata_json: "{\"a\":1}".into(), ..of_type("t") }).await;
    let id = made.id.clone();
    let watcher = Watcher::new(&pannier, &id, 0).await;
    assert_eq!(watcher.settled(&pannier).await, std::slice::from_ref(&made));
    for step in 1..=3 {
        let (_, job) = pannier.add_results(&id, vec![success(step.to_string())]).await;
        pannier.advance(ms(100));
        let seen = watcher.settled(&pannier).await;
        assert_eq!(seen.len(), step + 1);
        assert_eq!(seen[step], job, "without metadata, but for the first");
    }
    let done = pannier.complete(&id).await.unwrap();
    pannier.advance(ms(100));
    let (seen, end) = watcher.ended().await;
    end.unwrap();
    assert_eq!(seen.last().unwrap(), &pb::Job { metadata_json: String::new(), ..done });
    assert_eq!(processed(&seen), [0, 1, 2, 3, 3]);
}

#[tokio::test]
async fn metadata_are_sent_again_when_they_have_changed() {
    let pannier = pannier().await;
    let id = pannier.create(pb::CreateRequest { metadata_json: "{\"a\":1}".into(), ..of_type("t") }).await.id;
    let request = pb::WatchRequest { job_id: id.clone(), interval_min: None };
    let mut stream = pannier.jobs.clone().watch(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    for step in 0..4 {
        match step {
            0 => {}
            2 => {
                let metadata_json = "{\"a\":2}".to_owned();
                let request =
                    pb::UpdateJobRequest { job_id: id.clone(), metadata_json, ..Default::default() };
                pannier.update_job(request).await.unwrap();
            }
            _ => add_one(&pannier, &id).await,
        }
        pannier.advance_s(1);
        let message = stream.message().await.unwrap().unwrap();
        seen.push((message.has_metadata, message.job.unwrap().metadata_json));
    }
    let expected = [(true, "{\"a\":1}"), (false, ""), (true, "{\"a\":2}"), (false, "")]
        .map(|(has, text)| (has, text.to_owned()));
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn changes_within_the_interval_are_told_as_one() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let watcher = Watcher::new(&pannier, &id, 0).await;
    for round in 1..=5 {
        for _ in 0..20 {
            add_one(&pannier, &id).await;
        }
        let before = watcher.settled(&pannier).await.len();
        assert_eq!(before, round, "while the clock stands nothing comes");
        pannier.advance(ms(99));
        assert_eq!(watcher.settled(&pannier).await.len(), before, "jobs.watch_interval_ms_min is 100");
        pannier.advance(ms(1));
        let seen = watcher.settled(&pannier).await;
        assert_eq!(processed(&seen)[round..], [i64::try_from(round).unwrap() * 20]);
    }
}

#[tokio::test]
async fn a_job_that_does_not_change_is_not_told_again() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let watcher = Watcher::new(&pannier, &id, 0).await;
    for _ in 0..20 {
        pannier.advance_s(7);
        assert_eq!(watcher.settled(&pannier).await.len(), 1);
    }
    let unrelated = pannier.job().await;
    add_one(&pannier, &unrelated).await;
    assert_eq!(watcher.settled(&pannier).await.len(), 1);
    pannier.advance(ms(100));
    add_one(&pannier, &id).await;
    assert_eq!(processed(&watcher.settled(&pannier).await), [0, 1], "and when it does, at once");
}

#[tokio::test]
async fn a_longer_interval_is_kept_but_for_the_end() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let watcher = Watcher::new(&pannier, &id, 10_000).await;
    watcher.settled(&pannier).await;
    for _ in 0..9 {
        add_one(&pannier, &id).await;
        pannier.advance_s(1);
        assert_eq!(watcher.settled(&pannier).await.len(), 1);
    }
    pannier.advance_s(1);
    assert_eq!(processed(&watcher.settled(&pannier).await), [0, 9]);
    add_one(&pannier, &id).await;
    pannier.advance_s(1);
    assert_eq!(watcher.settled(&pannier).await.len(), 2);
    pannier.abort(&id, None).await.unwrap();
    pannier.advance(ms(100));
    let (seen, end) = watcher.ended().await;
    end.unwrap();
    assert_eq!((seen.len(), seen[2].status(), seen[2].processed_count), (3, JobStatus::Aborted, 10));
}

#[tokio::test]
async fn a_change_that_no_wake_up_tells_of_is_found_by_looking() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let watcher = Watcher::new(&pannier, &id, 0).await;
    pannier.advance_s(1);
    watcher.settled(&pannier).await;
    // Nobody is told.
    pannier.execute("UPDATE jobs SET successful_count = 5, revision = revision + 1").await;
    assert_eq!(watcher.settled(&pannier).await.len(), 1);
    pannier.advance_s(5);
    assert_eq!(processed(&watcher.settled(&pannier).await), [0, 5], "jobs.watch_look_ms is 5,000");
}

#[tokio::test]
async fn each_of_many_watchers_is_told() {
    let pannier = pannier().await;
    let ids = [pannier.job().await, pannier.job().await];
    let mut watchers = Vec::new();
    for round in 0..40 {
        watchers.push(Watcher::new(&pannier, &ids[round % 2], 0).await);
    }
    let_arrive(&pannier).await;
    pannier.complete(&ids[0]).await.unwrap();
    pannier.advance(ms(100));
    let_arrive(&pannier).await;
    pannier.fail(&ids[1], None).await.unwrap();
    pannier.advance(ms(100));
    for (index, watcher) in watchers.into_iter().enumerate() {
        let (seen, end) = watcher.ended().await;
        end.unwrap();
        let expected = if index % 2 == 0 { JobStatus::Completed } else { JobStatus::Failed };
        assert_eq!((seen.len(), seen.last().unwrap().status()), (2, expected));
    }
}

#[tokio::test]
async fn a_shorter_interval_can_be_set() {
    let pannier = pannier_with(|settings| settings.jobs.watch_interval_ms_min = 5).await;
    let id = pannier.job().await;
    let watcher = Watcher::new(&pannier, &id, 5).await;
    watcher.settled(&pannier).await;
    add_one(&pannier, &id).await;
    pannier.advance(ms(5));
    assert_eq!(processed(&watcher.settled(&pannier).await), [0, 1]);
}
