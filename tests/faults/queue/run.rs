//! A run: producers and workers, and one who kills them and the sidecars, until all tasks have come to their end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pannier_proto::jobs::v1 as jobs;
use pannier_proto::jobs::v1::jobs_service_client::JobsServiceClient;
use pannier_proto::queue::v1 as pb;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::caller::Caller;
use super::history::*;
use super::producer;
use super::recorder::Recorder;
use super::survey::{first_unfinished, survey};
use super::wire::{JOB, QUEUE, connect, duration, is_of_job};
use super::worker::{WORKER_TIMEOUT, Worker};
use super::{checker, tally};
use crate::chance::Chance;
use crate::fleet::Fleet;
use crate::sidecar::Launch;

const PRODUCERS: u64 = 2;
/// A run that has no sidecar to lose any more takes seconds.
const DRAIN_MAX: Duration = Duration::from_secs(90);
/// How much the sidecars' clocks may drift from the recorder's over one lease.
const CLOCK_SLACK: u64 = 20_000;

/// How much of everything.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) workers: u32,
    pub(crate) tasks: u64,
    /// Kills of sidecars.
    pub(crate) kills: u64,
    /// Kills of workers.
    pub(crate) deaths: u64,
}

/// The settings of a run's sidecars.
pub(crate) fn settings(launch: Launch) -> Launch {
    launch
        .set("queue.worker_timeout_ms", WORKER_TIMEOUT / 1_000)
        // Tasks are given up by their outcomes only, so that every end can be told.
        .set("queue.losses_max", 1_000_000)
        // The kills meet checkpoints too.
        .set("storage.checkpoint_bytes", 262_144)
}

/// All who work, by number.
struct Crew {
    recorder: Arc<Recorder>,
    fleet: Arc<Fleet>,
    stop: watch::Sender<bool>,
    workers: Vec<(Actor, JoinHandle<()>)>,
}

impl Crew {
    fn caller(&self, actor: Actor, chance: &mut Chance) -> Caller {
        Caller::new(actor, chance.fork(), &self.recorder, &self.fleet)
    }

    fn hire(&mut self, actor: Actor, chance: &mut Chance) {
        let worker = Worker::new(self.caller(actor, chance));
        self.workers.push((actor, tokio::spawn(worker.live(self.stop.subscribe()))));
    }

    /// Stops one without a word, in the middle of anything; another takes its place.
    async fn kill(&mut self, chance: &mut Chance) {
        let place = chance.below(self.workers.len() as u64) as usize;
        let (actor, worker) = self.workers.swap_remove(place);
        worker.abort();
        let ended = worker.await;
        assert!(ended.as_ref().is_err_and(tokio::task::JoinError::is_cancelled), "worker {actor}: {ended:?}");
        self.hire(Actor { life: actor.life + 1, ..actor }, chance);
    }

    /// Tells all to stop, and waits for them.
    async fn dismiss(&mut self) {
        self.stop.send_replace(true);
        for (actor, worker) in self.workers.drain(..) {
            worker.await.unwrap_or_else(|error| panic!("worker {actor}: {error}"));
        }
    }
}

/// Runs it all and judges what came of it.
pub(crate) async fn run(plan: Plan, launches: Vec<Launch>, mut chance: Chance) {
    let recorder =
        Arc::new(Recorder::new(Terms { worker_timeout: WORKER_TIMEOUT, clock_slack: CLOCK_SLACK }));
    let fleet = Arc::new(Fleet::started(launches, Arc::clone(&recorder) as _).await);
    set_up(&fleet).await;
    let began = Instant::now();
    let (stop, _) = watch::channel(false);
    let mut crew =
        Crew { recorder: Arc::clone(&recorder), fleet: Arc::clone(&fleet), stop, workers: Vec::new() };
    let mut producers = JoinSet::new();
    for number in 0..PRODUCERS {
        let caller = crew.caller(Actor { number: 1_000 + number as u32, life: 1 }, &mut chance);
        producers.spawn(producer::enqueue_all(caller, plan.tasks / PRODUCERS, PRODUCERS));
    }
    for number in 1..=plan.workers {
        crew.hire(Actor { number, life: 1 }, &mut chance);
    }
    kill_by_plan(plan, &mut crew, &mut chance).await;
    producers.join_all().await;
    drain(&crew).await;
    crew.dismiss().await;
    let took = began.elapsed();

    // What was answered is still there after one more kill.
    for post in 0..fleet.size() {
        fleet.kill_and_start(post, &mut chance).await;
    }
    let mut history = recorder.history();
    history.found = survey(&mut connect(&fleet, 0).await).await;
    let findings = checker::check(&history);
    tally::tell(plan, &history, took);
    let unexpected = tally::unexpected(&history, &recorder.troubles());
    assert!(findings.is_empty() && unexpected.is_empty(), "{}", report(&findings, &unexpected));
    assert_the_job_agrees(&fleet, &history.found).await;
    assert_the_counts_agree(&fleet, &history.found).await;
    tally::assert_it_was_a_storm(plan, &history);
    fleet.stop().await;
}

/// A queue that retries soon and has keys with room for few.
async fn set_up(fleet: &Fleet) {
    let queue = pb::Queue {
        name: QUEUE.to_owned(),
        max_retries: 3,
        backoff: duration(50_000),
        backoff_max: duration(200_000),
        key_limits: Some(pb::KeyLimits { held_max: 4, ..Default::default() }),
        ..Default::default()
    };
    let request = pb::UpdateQueueRequest { queue: Some(queue), ..Default::default() };
    connect(fleet, 0).await.update_queue(request).await.expect("a queue");
    let job =
        jobs::CreateRequest { r#type: "chaos".to_owned(), job_id: JOB.to_owned(), ..Default::default() };
    JobsServiceClient::new(fleet.channel(0).await).create(job).await.expect("a job");
}

/// That the job has counted each of its tasks once, as it has ended.
async fn assert_the_job_agrees(fleet: &Fleet, found: &BTreeMap<i64, Found>) {
    let request = jobs::GetRequest { job_id: JOB.to_owned() };
    let answer = JobsServiceClient::new(fleet.channel(0).await).get(request).await.expect("an answer");
    let job = answer.into_inner().job.expect("the job");
    let states = found.values().filter(|task| is_of_job(task.ticket)).map(|task| task.state);
    let (completed, others): (Vec<_>, Vec<_>) = states.partition(|state| *state == TaskState::Completed);
    let counted = (job.processed_count, job.successful_count, job.failed_count);
    let ended = (completed.len() + others.len(), completed.len(), others.len());
    assert_eq!(counted, (ended.0 as i64, ended.1 as i64, ended.2 as i64), "what the job counts");
}

/// That the Stats of every sidecar count what List and Get found, and that Recount finds nothing wrong.
async fn assert_the_counts_agree(fleet: &Fleet, found: &BTreeMap<i64, Found>) {
    let mut listed: BTreeMap<i32, i64> = BTreeMap::new();
    for task in found.values() {
        *listed.entry(task.state.into()).or_default() += 1;
    }
    for post in 0..fleet.size() {
        let mut client = connect(fleet, post).await;
        let request = pb::StatsRequest { queue: QUEUE.to_owned(), ..Default::default() };
        let types = client.stats(request).await.expect("statistics").into_inner().types;
        let mut counted: BTreeMap<i32, i64> = BTreeMap::new();
        for count in types.iter().flat_map(|of_type| &of_type.counts) {
            *counted.entry(count.state).or_default() += count.count;
        }
        assert_eq!(counted, listed, "what the Stats of sidecar {post} count");
        let recount = client.recount(pb::RecountRequest {}).await.expect("a recount").into_inner();
        assert_eq!(recount.corrections, [], "what sidecar {post} had counted wrongly");
    }
}

/// Spreads the kills over the work, not over the time: so there are as many on a slow machine.
async fn kill_by_plan(plan: Plan, crew: &mut Crew, chance: &mut Chance) {
    let mut moments: Vec<(u64, bool)> = Vec::new();
    moments.extend((0..plan.kills).map(|_| (chance.below(plan.tasks * 8 / 10), true)));
    moments.extend((0..plan.deaths).map(|_| (chance.below(plan.tasks * 8 / 10), false)));
    moments.sort_unstable();
    for (finished, kills_sidecar) in moments {
        wait_for(crew, finished).await;
        if kills_sidecar {
            let post = chance.below(crew.fleet.size() as u64) as usize;
            crew.fleet.kill_and_start(post, chance).await;
        } else {
            crew.kill(chance).await;
        }
    }
}

/// Until so many tasks have come to their end.
async fn wait_for(crew: &Crew, finished: u64) {
    let (mut last, mut since) = (0, Instant::now());
    while crew.recorder.finished() < finished {
        tokio::time::sleep(Duration::from_millis(2)).await;
        if crew.recorder.finished() > last {
            (last, since) = (crew.recorder.finished(), Instant::now());
        }
        if since.elapsed() > DRAIN_MAX {
            stuck(crew).await;
        }
    }
}

async fn drain(crew: &Crew) {
    let end = Instant::now() + DRAIN_MAX;
    let mut client = connect(&crew.fleet, 0).await;
    while first_unfinished(&mut client).await.is_some() {
        if Instant::now() > end {
            stuck(crew).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tells why nothing goes on.
async fn stuck(crew: &Crew) -> ! {
    let mut client = connect(&crew.fleet, 0).await;
    let task = first_unfinished(&mut client).await;
    let mut history = crew.recorder.history();
    history.found = survey(&mut client).await;
    let told = task.as_ref().map(|task| checker::tell(&history, task.id).join("\n    "));
    let findings = checker::check(&history);
    panic!(
        "nothing goes on; {task:?}\n    {}\n{}\n{}",
        told.unwrap_or_default(),
        report(&findings, &[]),
        crew.fleet.log().await
    );
}

fn report(findings: &[checker::Finding], unexpected: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut counts = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.fault).or_insert(0) += 1;
    }
    // The shortest stories first.
    let mut told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    told.sort_by_key(String::len);
    told.truncate(SHOWN);
    format!("findings: {counts:?}\n{}\n{}", told.join("\n"), unexpected.join("\n"))
}
