//! Work: tasks pushed down a stream, as far as the worker's credit goes.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use pannier_proto::queue::v1::queue_service_client::QueueServiceClient;
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::calls::{completed, failed, item, numbered, numbers, outcome, settled};
use crate::harness::{Pannier, assert_status, pannier, pannier_with, violated_fields};

/// A worker's end of a stream.
pub(super) struct Stream {
    requests: mpsc::UnboundedSender<pb::WorkRequest>,
    answers: Streaming<pb::WorkResponse>,
    worker_id: i64,
}

pub(super) fn open(worker_name: &str) -> pb::WorkOpen {
    pb::WorkOpen { worker_name: worker_name.into(), ..Default::default() }
}

async fn try_stream(pannier: &Pannier, first: pb::WorkRequest) -> Result<Stream, Status> {
    stream_by(pannier.queue(), first).await
}

async fn stream_by(mut queue: QueueServiceClient<Channel>, first: pb::WorkRequest) -> Result<Stream, Status> {
    let (requests, receiver) = mpsc::unbounded_channel();
    requests.send(first).unwrap();
    let mut answers = queue.work(UnboundedReceiverStream::new(receiver)).await?.into_inner();
    let opened = answers.message().await?.unwrap().opened.unwrap();
    assert!(opened.heartbeat_interval.unwrap().seconds > 0);
    Ok(Stream { requests, answers, worker_id: opened.worker_id })
}

pub(super) async fn stream(pannier: &Pannier, open: pb::WorkOpen, credit: i32) -> Stream {
    let first = pb::WorkRequest { open: Some(open), credit, ..Default::default() };
    try_stream(pannier, first).await.unwrap()
}

impl Stream {
    pub(super) fn say(&self, credit: i32, outcomes: Vec<pb::Outcome>) {
        self.requests.send(pb::WorkRequest { credit, outcomes, ..Default::default() }).unwrap();
    }

    pub(super) async fn hear(&mut self) -> pb::WorkResponse {
        self.answers.message().await.unwrap().expect("an answer")
    }

    pub(super) async fn tasks(&mut self) -> Vec<pb::Task> {
        let answer = self.hear().await;
        assert!(answer.results.is_empty());
        answer.tasks
    }
}

#[tokio::test]
async fn tasks_are_pushed_as_far_as_the_credit_goes() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..3).map(|number| numbered("a", number)).collect()).await;
    let mut worker = stream(&pannier, open("w"), 2).await;
    let tasks = worker.tasks().await;
    assert_eq!(numbers(&tasks), [0, 1]);
    assert!(tasks.iter().all(|task| task.worker_id == worker.worker_id && task.token == 1));
    pannier.let_arrive().await;
    assert_eq!(pannier.list(TaskState::Queued).await.len(), 1, "the credit is used up");
    worker.say(5, vec![]);
    assert_eq!(numbers(&worker.tasks().await), [2]);
    // What comes later is pushed when it comes.
    pannier.enqueue_all((3..5).map(|number| numbered("a", number)).collect()).await;
    let mut rest = worker.tasks().await;
    while rest.len() < 2 {
        rest.extend(worker.tasks().await);
    }
    assert_eq!(numbers(&rest), [3, 4]);
}

#[tokio::test]
async fn outcomes_are_answered_in_their_order_with_the_next_tasks() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..4).map(|number| numbered("a", number)).collect()).await;
    let mut worker = stream(&pannier, open("w"), 2).await;
    let tasks = worker.tasks().await;
    let stale = pb::Outcome { token: 9, ..outcome(&tasks[0], completed()) };
    worker.say(2, vec![stale, outcome(&tasks[1], failed("e")), outcome(&tasks[0], completed())]);
    let answer = worker.hear().await;
    let states: Vec<_> =
        answer.results.iter().map(|result| settled(result).map(|settled| settled.state()).ok()).collect();
    assert_eq!(states, [None, Some(TaskState::Scheduled), Some(TaskState::Completed)]);
    assert_eq!(numbers(&answer.tasks), [2, 3]);
}

#[tokio::test]
async fn only_the_types_asked_for_are_pushed_and_work_can_begin_at_once() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![item("b"), item("a")]).await;
    let open = pb::WorkOpen { types: vec!["a".into()], start: true, ..open("w") };
    let mut worker = stream(&pannier, open, 5).await;
    let tasks = worker.tasks().await;
    assert_eq!((tasks.len(), tasks[0].r#type.as_str(), tasks[0].state()), (1, "a", TaskState::Running));
}

#[tokio::test]
async fn messages_are_beats_and_without_them_the_worker_is_dead() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    let mut worker = stream(&pannier, open("w"), 1).await;
    worker.tasks().await;
    for _ in 0..10 {
        pannier.advance_s(10);
        worker.say(0, vec![]);
        pannier.let_arrive().await;
    }
    assert_eq!(pannier.state_of(id).await, TaskState::Claimed);
    pannier.advance_s(14);
    assert_eq!(pannier.state_of(id).await, TaskState::Queued);
    worker.say(0, vec![]);
    let error = worker.answers.message().await.unwrap_err();
    assert_status(&error, Code::FailedPrecondition, ErrorReason::WorkerLost);
}

#[tokio::test]
async fn a_worker_is_told_what_to_stop() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    let mut worker = stream(&pannier, open("w"), 1).await;
    worker.tasks().await;
    pannier.cancel(id).await;
    worker.say(0, vec![]);
    assert_eq!(worker.hear().await.cancel_task_ids, [id]);
}

#[tokio::test]
async fn a_worker_that_closes_its_side_gives_back_what_it_holds() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..2).map(|number| numbered("a", number)).collect()).await;
    let mut worker = stream(&pannier, open("w"), 2).await;
    let tasks = worker.tasks().await;
    worker.say(0, vec![outcome(&tasks[0], completed())]);
    worker.hear().await;
    let Stream { requests, mut answers, .. } = worker;
    drop(requests);
    assert!(answers.message().await.unwrap().is_none());
    let again = pannier.claim(&[], 5).await;
    assert_eq!((numbers(&again), again[0].token), (vec![1], 2));
}

#[tokio::test]
async fn a_registered_worker_keeps_other_tasks_when_its_stream_is_closed() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..2).map(|number| numbered("a", number)).collect()).await;
    let worker_id = pannier.worker("w").await;
    let claimed = pannier.claim_for(worker_id).await.unwrap();
    let mut worker = stream(&pannier, pb::WorkOpen { worker_id, ..Default::default() }, 1).await;
    assert_eq!(worker.worker_id, worker_id);
    assert_eq!(numbers(&worker.tasks().await), [1]);
    let Stream { requests, mut answers, .. } = worker;
    drop(requests);
    assert!(answers.message().await.unwrap().is_none());
    assert_eq!(numbers(&pannier.claim(&[], 5).await), [1]);
    pannier.try_complete(&claimed).await.unwrap();
}

#[tokio::test]
async fn after_a_broken_connection_a_worker_goes_on_with_another_stream() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..2).map(|number| numbered("a", number)).collect()).await;
    // A connection by way of this test, which can break it.
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", relay.local_addr().unwrap());
    let address = pannier.address();
    let relaying = tokio::spawn(async move {
        let (mut caller, _) = relay.accept().await.unwrap();
        let mut sidecar = TcpStream::connect(address).await.unwrap();
        tokio::io::copy_bidirectional(&mut caller, &mut sidecar).await
    });
    let queue = QueueServiceClient::connect(url).await.unwrap();
    let first = pb::WorkRequest { open: Some(open("w")), credit: 1, ..Default::default() };
    let mut worker = stream_by(queue, first).await.unwrap();
    let task = worker.tasks().await.remove(0);
    relaying.abort();
    worker.answers.message().await.unwrap_err();
    pannier.let_arrive().await;

    assert_eq!(pannier.state_of(task.id).await, TaskState::Claimed);
    let again = pb::WorkOpen { worker_id: worker.worker_id, ..Default::default() };
    let mut worker = stream(&pannier, again, 0).await;
    worker.say(1, vec![outcome(&task, completed())]);
    let answer = worker.hear().await;
    assert!(settled(&answer.results[0]).is_ok());
    assert_eq!(numbers(&answer.tasks), [1]);
}

#[tokio::test]
async fn a_message_that_is_wrong_ends_the_stream() {
    let pannier = pannier().await;
    let error = try_stream(&pannier, pb::WorkRequest::default()).await.err().unwrap();
    assert_eq!(violated_fields(&error), ["open", "open.worker_name"]);
    let wrong = pb::WorkOpen {
        queue: "a b".into(),
        types: vec![String::new()],
        worker_id: -1,
        worker_name: "w".into(),
        start: false,
        ..Default::default()
    };
    let first = pb::WorkRequest { open: Some(wrong), ..Default::default() };
    let error = try_stream(&pannier, first).await.err().unwrap();
    assert_eq!(
        violated_fields(&error),
        ["open.queue", "open.types[0]", "open.worker_id", "open.worker_name"]
    );
    let unknown = pb::WorkOpen { worker_id: 99, ..Default::default() };
    let first = pb::WorkRequest { open: Some(unknown), ..Default::default() };
    let error = try_stream(&pannier, first).await.err().unwrap();
    assert_status(&error, Code::FailedPrecondition, ErrorReason::WorkerLost);

    let mut worker = stream(&pannier, open("w"), 900).await;
    let again = pb::WorkRequest { open: Some(open("w")), credit: 101, ..Default::default() };
    worker.requests.send(again).unwrap();
    let error = worker.answers.message().await.unwrap_err();
    assert_eq!(violated_fields(&error), ["credit", "open"]);
}

#[tokio::test]
async fn no_more_streams_are_open_than_may_and_a_stop_ends_them() {
    let pannier = pannier_with(|settings| settings.queue.streams_max = 1).await;
    let mut worker = stream(&pannier, open("one"), 1).await;
    let first = pb::WorkRequest { open: Some(open("two")), ..Default::default() };
    let error = try_stream(&pannier, first).await.err().unwrap();
    assert_status(&error, Code::ResourceExhausted, ErrorReason::Overloaded);
    let pannier = pannier.restart().await;
    let ended = worker.answers.message().await;
    assert!(ended.is_err(), "{ended:?}");
    pannier.enqueue(item("a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_streams_share_the_work_and_each_task_is_done_once() {
    const TASKS: i64 = 2_000;
    let pannier = pannier().await;
    let mut workers = Vec::new();
    for number in 0..6 {
        let mut worker = stream(&pannier, open(&format!("w{number}")), 10).await;
        workers.push(tokio::spawn(async move {
            let mut done = Vec::new();
            while let Ok(Some(answer)) = worker.answers.message().await {
                assert!(answer.results.iter().all(|result| settled(result).is_ok()));
                if answer.tasks.is_empty() {
                    continue;
                }
                done.extend(numbers(&answer.tasks));
                let outcomes: Vec<_> = answer.tasks.iter().map(|task| outcome(task, completed())).collect();
                worker.say(i32::try_from(outcomes.len()).unwrap(), outcomes);
            }
            done
        }));
    }
    for from in (0..TASKS).step_by(100) {
        pannier.enqueue_all((from..from + 100).map(|number| numbered("a", number)).collect()).await;
    }
    while pannier.list(TaskState::Completed).await.len() < 100
        || !pannier.list(TaskState::Queued).await.is_empty()
        || !pannier.list(TaskState::Claimed).await.is_empty()
    {
        tokio::task::yield_now().await;
    }
    let pannier = pannier.restart().await;
    let mut done = Vec::new();
    for worker in workers {
        done.extend(worker.await.unwrap());
    }
    done.sort_unstable();
    assert_eq!(done, (0..TASKS).collect::<Vec<_>>());
    assert_eq!(pannier.row_count("queue_tasks WHERE state = 4").await, TASKS);
}

#[tokio::test]
async fn a_wrong_outcome_fails_alone_and_the_stream_goes_on() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..2).map(|number| numbered("a", number)).collect()).await;
    let mut worker = stream(&pannier, open("w"), 2).await;
    let tasks = worker.tasks().await;
    let complete = pb::CompleteOutcome { result_json: "{".into() };
    let wrong = outcome(&tasks[0], pb::outcome::What::Complete(complete));
    worker.say(0, vec![wrong, outcome(&tasks[1], completed())]);
    let results = worker.hear().await.results;
    let refused = settled(&results[0]).unwrap_err();
    assert!(format!("{refused:?}").contains("complete.result_json"), "{refused:?}");
    assert!(settled(&results[1]).is_ok());
    worker.say(0, vec![outcome(&tasks[0], completed())]);
    assert!(settled(&worker.hear().await.results[0]).is_ok(), "the task stayed held");
}

/// Opens a stream by a connection of its own, waits for its first task, and resets the stream: so do other clients cancel, where tonic's
/// ends its side before.
async fn work_and_cancel(pannier: &Pannier) {
    let socket = TcpStream::connect(pannier.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://localhost/pannier.queue.v1.QueueService/Work")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, mut requests) = client.ready().await.unwrap().send_request(request, false).unwrap();
    let first = pb::WorkRequest { open: Some(open("w")), credit: 1, ..Default::default() }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(first.len()).unwrap().to_be_bytes());
    frame.extend(first);
    requests.send_data(frame.into(), false).unwrap();
    let mut answers = answer.await.unwrap().into_body();
    while pannier.list(TaskState::Claimed).await.is_empty() {
        answers.data().await.unwrap().unwrap();
    }
    requests.send_reset(h2::Reason::CANCEL);
}

#[tokio::test]
async fn a_stream_that_its_client_cancels_is_a_connection_that_broke() {
    let pannier = pannier().await;
    for round in 0..30 {
        let id = pannier.enqueue(item("a")).await;
        work_and_cancel(&pannier).await;
        pannier.let_arrive().await;
        let task = pannier.task(id).await;
        assert_eq!((task.state(), task.token), (TaskState::Claimed, 1), "round {round}");
        pannier.beat(task.worker_id).await;
        pannier.try_complete(&task).await.unwrap();
    }
}

#[tokio::test]
async fn tasks_that_were_pushed_into_a_dead_connection_come_back_by_the_list() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..3).map(|number| numbered("a", number)).collect()).await;
    let worker_id = pannier.worker("w").await;
    let of_worker = || pb::WorkOpen { worker_id, ..Default::default() };
    let mut first = stream(&pannier, of_worker(), 3).await;
    let tasks = first.tasks().await;
    let Stream { requests, answers, .. } = first;
    drop(answers);
    pannier.advance_s(2);
    // The worker has read of the first only; it opens another stream and says so.
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(pb::WorkRequest { open: Some(of_worker()), ..Default::default() }).unwrap();
    let call = pannier.queue().work(UnboundedReceiverStream::new(receiver)).await.unwrap();
    let mut answers = call.into_inner();
    let opened = answers.message().await.unwrap().unwrap().opened.unwrap();
    let held = |tasks: &[&pb::Task]| pb::HeldTasks {
        tasks: tasks.iter().map(|task| pb::HeldTask { task_id: task.id, token: task.token }).collect(),
        heartbeat_time: opened.heartbeat_time,
    };
    let say = |held, outcomes| {
        let request = pb::WorkRequest { held: Some(held), outcomes, ..Default::default() };
        sender.send(request).expect("the stream is open");
    };
    // An outcome of the same message is that of a task which is held.
    say(held(&[&tasks[0]]), vec![outcome(&tasks[1], completed())]);
    let answer = answers.message().await.unwrap().unwrap();
    assert!(settled(&answer.results[0]).is_ok());
    assert!(answer.heartbeat_time.is_some() && answer.lost_task_ids.is_empty(), "{answer:?}");
    assert_eq!(pannier.state_of(tasks[0].id).await, TaskState::Claimed);
    assert_eq!(pannier.state_of(tasks[2].id).await, TaskState::Queued);
    // What it lists and does not hold is told.
    say(held(&[&tasks[0], &tasks[2]]), vec![]);
    assert_eq!(answers.message().await.unwrap().unwrap().lost_task_ids, [tasks[2].id]);
    drop(requests);
}
