//! kill -9 while commits run that change five services at once: afterwards each is there whole or not at all, and one that is
//! repeated with its request_id is there once.

use std::time::Duration;

use pannier_proto::cache::v1 as cache_pb;
use pannier_proto::jobs::v1 as jobs_pb;
use pannier_proto::jobs::v1::jobs_service_client::JobsServiceClient;
use pannier_proto::jobs::v1::report_progress_request::Progress;
use pannier_proto::queue::v1 as queue_pb;
use pannier_proto::queue::v1::queue_service_client::QueueServiceClient;
use pannier_proto::settings::v1 as settings_pb;
use pannier_proto::settings::v1::settings_service_client::SettingsServiceClient;
use pannier_proto::transaction::v1 as pb;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::transaction_service_client::TransactionServiceClient;
use pannier_proto::uploads::v1 as uploads_pb;
use pannier_proto::uploads::v1::uploads_service_client::UploadsServiceClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::calls::{channel, client};
use crate::chance::{Chance, parameter};
use crate::load::{cut_off_rightly, sound};
use crate::postgres::server::Server;
use crate::sidecar::{Launch, Place};
use crate::turn;

/// How often, unless `PANNIER_KILLS` says otherwise.
const KILLS: u64 = 50;
/// Clients that commit at once.
const WRITERS: u64 = 4;
/// The process is killed at a random moment of this span after they began.
const SPAN_MICROS: u64 = 200_000;
/// The same on PostgreSQL, where a sidecar has to connect first.
const SPAN_MICROS_POSTGRES: u64 = 600_000;
/// The namespace of the entries.
const NAMESPACE: &str = "commits";

/// One client of one round, which commits the numbers 1, 2, 3…
#[derive(Clone)]
struct Writer {
    name: String,
    number: u64,
}

/// How far it has come when it is cut off.
struct Cut {
    writer: Writer,
    acknowledged: i64,
    last: pb::CommitRequest,
    status: Status,
}

impl Writer {
    fn id(&self, round: u64, kind: u64, number: u64) -> String {
        format!("{round:08x}-{kind:04x}-7000-8000-{:04x}{number:08x}", self.number)
    }

    /// The number as the setting and the entry, one more item of the job, one more task, one more file.
    fn commit(&self, round: u64, number: u64) -> pb::CommitRequest {
        let (text, job_id) = (number.to_string(), self.id(round, 0, 0));
        let content = Some(cache_pb::put_item::Content::Value(text.clone().into_bytes().into()));
        let counts = jobs_pb::ProgressCounts { successful_count: 1, failed_count: 0 };
        let mut whats = vec![
            What::SettingsSet(settings_pb::SetRequest {
                key: self.name.clone(),
                value_json: text,
                ..Default::default()
            }),
            What::JobsReportProgress(jobs_pb::ReportProgressRequest {
                job_id: job_id.clone(),
                progress: Some(Progress::Add(counts)),
                ..Default::default()
            }),
            What::QueueEnqueue(queue_pb::EnqueueRequest {
                item: Some(queue_pb::EnqueueItem { r#type: self.name.clone(), ..Default::default() }),
                ..Default::default()
            }),
            What::CachePut(cache_pb::PutRequest {
                namespace: NAMESPACE.into(),
                item: Some(cache_pb::PutItem { key: self.name.clone(), content, ..Default::default() }),
                ..Default::default()
            }),
        ];
        // What an uploader does after each file: its hash and its session advance together.
        let file = uploads_pb::NewFile {
            service: "photos".into(),
            sha256: format!(
                "{:064x}",
                u128::from(round) << 96 | u128::from(self.number) << 64 | u128::from(number)
            ),
            path: format!("{}/{number}", self.name),
            name: number.to_string(),
            size_bytes: 1,
            ..Default::default()
        };
        whats.push(What::UploadsRegisterFile(uploads_pb::RegisterFileRequest {
            session_id: self.id(round, 2, 0),
            file: Some(file),
            last_processed_file: Some(format!("{}/{number}", self.name)),
            ..Default::default()
        }));
        whats.rotate_left(self.number as usize % 5);
        if number == 1 {
            let create = uploads_pb::CreateSessionRequest {
                session_id: self.id(round, 2, 0),
                source_id: "chat".into(),
                ..Default::default()
            };
            whats.insert(0, What::UploadsCreateSession(create));
            let create = jobs_pb::CreateRequest { job_id, r#type: "commits".into(), ..Default::default() };
            whats.insert(0, What::JobsCreate(create));
        }
        let mutations = whats.into_iter().map(|what| pb::Mutation { what: Some(what) }).collect();
        pb::CommitRequest { mutations, request_id: self.id(round, 1, number), ..Default::default() }
    }

    async fn until_cut_off(self, channel: Channel, round: u64) -> Cut {
        let mut client = TransactionServiceClient::new(channel);
        let mut acknowledged = 0;
        for number in 1.. {
            let last = self.commit(round, number);
            match client.commit(last.clone()).await {
                Ok(_) => acknowledged += 1,
                Err(status) => return Cut { writer: self, acknowledged, last, status },
            }
        }
        unreachable!("a writer is cut off sooner or later")
    }

    /// How many commits each of the services has; the uploads by their session, by the place where it is resumed, and by files.
    async fn stored(&self, channel: &Channel, round: u64) -> [i64; 7] {
        let setting = SettingsServiceClient::new(channel.clone())
            .get(settings_pb::GetRequest { key: self.name.clone() })
            .await
            .map(|answer| answer.into_inner().setting.expect("a setting").value_json);
        let job = JobsServiceClient::new(channel.clone())
            .get(jobs_pb::GetRequest { job_id: self.id(round, 0, 0) })
            .await
            .map(|answer| answer.into_inner().job.expect("a job").successful_count.to_string());
        let get = cache_pb::GetRequest {
            namespace: NAMESPACE.into(),
            key: self.name.clone(),
            ..Default::default()
        };
        let entry = client(channel.clone()).get(get).await.expect("an answer").into_inner().entry;
        let entry = entry.and_then(|entry| match entry.content {
            Some(cache_pb::entry::Content::Value(value)) => String::from_utf8(value.to_vec()).ok(),
            _ => None,
        });
        let [counted, resumed, files] = self.uploaded(channel, round).await;
        [
            number_of(setting),
            number_of(job),
            tasks(channel, &self.name).await,
            number_of(Ok(entry.unwrap_or_default())),
            counted,
            resumed,
            files,
        ]
    }

    async fn uploaded(&self, channel: &Channel, round: u64) -> [i64; 3] {
        let mut uploads = UploadsServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        let session_id = self.id(round, 2, 0);
        let get = uploads_pb::GetSessionRequest { session_id: session_id.clone() };
        let session =
            uploads.get_session(get).await.map(|answer| answer.into_inner().session.expect("a session"));
        let counted = session.as_ref().map(|session| session.success_count.to_string()).map_err(Clone::clone);
        let resumed = session
            .map(|session| session.last_processed_file.rsplit('/').next().unwrap_or_default().to_owned());
        let mut request = uploads_pb::ListFilesRequest { session_id, page_size: 1_000, ..Default::default() };
        let mut files = 0;
        loop {
            let page = match uploads.list_files(request.clone()).await {
                Ok(page) => page.into_inner(),
                // Not even the session is there.
                Err(status) => break files += number_of(Err(status)),
            };
            files += page.files.len() as i64;
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        [number_of(counted), number_of(resumed), files]
    }
}

/// None is zero; any other error is one too many.
fn number_of(told: Result<String, Status>) -> i64 {
    match told {
        Ok(text) if text.is_empty() => 0,
        Ok(text) => text.parse().expect("a number"),
        Err(status) => {
            assert_eq!(status.code(), Code::NotFound, "{status:?}");
            0
        }
    }
}

async fn tasks(channel: &Channel, kind: &str) -> i64 {
    let mut queue = QueueServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
    let mut request =
        queue_pb::ListRequest { types: vec![kind.to_owned()], page_size: 1_000, ..Default::default() };
    let mut count = 0;
    loop {
        let page = match queue.list(request.clone()).await {
            Ok(page) => page.into_inner(),
            // Not even the queue is there.
            Err(status) => return number_of(Err(status)),
        };
        count += page.tasks.len() as i64;
        if page.next_page_token.is_empty() {
            return count;
        }
        request.page_token = page.next_page_token;
    }
}

/// Kills sidecars in the middle of commits.
async fn kill_and_look(launch: Launch, chance: &mut Chance, kills: u64, span_micros: u64) {
    // Every writer has tasks of its own type.
    let launch = launch.set("queue.types_max", 10_000);
    let mut sidecar = launch.start().await;
    // Makes what all have in common; rows that are only being made have no lock to take beforehand.
    let first = Writer { name: "first".into(), number: 0 }.commit(0, 1);
    let made = TransactionServiceClient::new(channel(&sidecar).await).commit(first).await;
    made.expect("a commit");
    let (mut all, mut in_doubt) = (0, 0);
    for round in 1..=kills {
        let channels = [channel(&sidecar).await, channel(&sidecar).await];
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let writer = Writer { name: format!("r{round}w{number}"), number };
            writers.spawn(writer.until_cut_off(channels[number as usize % 2].clone(), round));
        }
        let moment = Duration::from_micros(chance.below(span_micros));
        if let Ok(early) = tokio::time::timeout(moment, writers.join_next()).await {
            let status = early.map(|cut| cut.map(|cut| cut.status));
            panic!("round {round}: a writer ended before the kill: {status:?}\n{}", sidecar.log());
        }
        sidecar.kill();
        sidecar = launch.start().await;
        let channel = channel(&sidecar).await;
        for cut in writers.join_all().await {
            assert!(cut_off_rightly(&cut.status), "round {round}: {:?}", cut.status);
            let (name, acknowledged) = (&cut.writer.name, cut.acknowledged);
            let stored = cut.writer.stored(&channel, round).await;
            assert!(stored.iter().all(|count| *count == stored[0]), "{name}: half a commit: {stored:?}");
            assert!(
                stored[0] == acknowledged || stored[0] == acknowledged + 1,
                "{name}: {acknowledged} acknowledged, stored {stored:?}"
            );
            in_doubt += stored[0] - acknowledged;
            // Whether it was committed or not, its repeat leaves it there once.
            let repeat = TransactionServiceClient::new(channel.clone()).commit(cut.last).await;
            repeat.unwrap_or_else(|status| panic!("{name}: {status:?}"));
            let stored = cut.writer.stored(&channel, round).await;
            assert_eq!(stored, [acknowledged + 1; 7], "{name}: after the repeat");
            all += acknowledged;
        }
    }
    println!(
        "{kills} kills, {all} acknowledged commits and {in_doubt} that were stored unacknowledged, none by half"
    );
    assert!(all > kills as i64 * 2, "too little was committed for the kills to mean anything");
    assert!(!sidecar.log().contains("panicked"), "{}", sidecar.log());
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_killed_is_there_whole_or_not_at_all() {
    let _turn = turn::shared().await;
    let mut chance = Chance::new(Chance::seed_of_run("kill -9 in commits"));
    let place = Place::new();
    let launch = Launch::new(&place).set("storage.checkpoint_bytes", 262_144);
    let kills = parameter("PANNIER_KILLS").unwrap_or(KILLS);
    kill_and_look(launch, &mut chance, kills, SPAN_MICROS).await;
    sound(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_it_there_by_half_on_postgresql() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    let mut chance = Chance::new(Chance::seed_of_run("kill -9 in commits on PostgreSQL"));
    let place = Place::new();
    let launch = Launch::new(&place).database(&server.url("postgres"));
    let kills = (parameter("PANNIER_KILLS").unwrap_or(KILLS) / 5).max(2);
    kill_and_look(launch, &mut chance, kills, SPAN_MICROS_POSTGRES).await;
    // Each writer names the services in another order; a commit locks them in one.
    assert!(!server.log().contains("deadlock detected"), "{}", server.log());
}
