//! Uploaders at once, through connections of their own and on PostgreSQL through sidecars of their own: each file is sent once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::reserve_file_result::Outcome;
use pannier_proto::uploads::v1::uploads_service_client::UploadsServiceClient;
use tonic::transport::Channel;

use super::calls::{counts, file, files, hash, hashes};
use crate::cache::items::Random;
use crate::harness::{Pannier, is_postgres, pannier};

const FILES: u64 = 1_000;

/// How often each file was sent, over all uploaders.
type Sent = Arc<Mutex<BTreeMap<String, u32>>>;

/// One that uploads all files, in its own order and in batches of its own.
struct Uploader {
    uploads: UploadsServiceClient<Channel>,
    session_id: String,
    sent: Sent,
    random: Random,
}

impl Uploader {
    /// Goes over the files until all are there.
    async fn run(mut self) {
        let mut left: Vec<u64> = (0..FILES).collect();
        while !left.is_empty() {
            // Pseudo-random, so that the uploaders meet again and again.
            let at = usize::try_from(self.random.below(left.len() as u64)).unwrap();
            left.rotate_left(at);
            let count = usize::try_from(self.random.below(40) + 1).unwrap().min(left.len());
            let rest = left.split_off(count);
            let batch = std::mem::replace(&mut left, rest);
            left.extend(self.batch(batch).await);
        }
    }

    /// Tries to upload some files; answers with those that are not there yet.
    async fn batch(&mut self, numbers: Vec<u64>) -> Vec<u64> {
        let request = pb::BatchReserveFilesRequest {
            service: "photos".into(),
            sha256: numbers.iter().copied().map(hash).collect(),
            ..Default::default()
        };
        let results = self.uploads.batch_reserve_files(request).await.unwrap().into_inner().results;
        let (mut again, mut given_up, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for (number, result) in numbers.into_iter().zip(results) {
            match result.outcome.unwrap() {
                Outcome::Uploaded(_) => {}
                Outcome::HeldUntilTime(_) => again.push(number),
                Outcome::Error(error) => panic!("{error:?}"),
                // One in five breaks before its bytes are sent.
                Outcome::Reserved(reservation) if self.random.below(5) == 0 => {
                    again.push(number);
                    given_up.push(pb::HeldReservation { sha256: hash(number), token: reservation.token });
                }
                Outcome::Reserved(reservation) => {
                    *self.sent.lock().unwrap().entry(hash(number)).or_default() += 1;
                    done.push(pb::NewFile { reservation_token: reservation.token, ..file(number) });
                }
            }
        }
        if !given_up.is_empty() {
            let held = given_up.len();
            let request = pb::ReleaseReservationsRequest {
                service: "photos".into(),
                reservations: given_up,
                ..Default::default()
            };
            let answer = self.uploads.release_reservations(request).await.unwrap().into_inner();
            assert!(answer.results.len() == held && answer.results.iter().all(|result| result.released));
        }
        self.register(done).await;
        again
    }

    async fn register(&mut self, files: Vec<pb::NewFile>) {
        if files.is_empty() {
            return;
        }
        let session_id = self.session_id.clone();
        let request = pb::BatchRegisterFilesRequest { session_id, files, ..Default::default() };
        let answer = self.uploads.batch_register_files(request).await.unwrap().into_inner();
        for result in answer.results {
            assert_eq!(result.outcome(), pb::RegisterOutcome::Registered, "{:?}", result.error);
        }
    }
}

/// Another sidecar on the same database where that can be, or another connection to the same one.
async fn second_client(pannier: &Pannier) -> (Option<Pannier>, UploadsServiceClient<Channel>) {
    if is_postgres() {
        let beside = pannier.beside().await;
        let client = beside.uploads();
        return (Some(beside), client);
    }
    (None, UploadsServiceClient::new(pannier.another_connection().await))
}

async fn contest(sessions: usize) {
    let pannier = pannier().await;
    let (_beside, other) = second_client(&pannier).await;
    let mut ids = Vec::new();
    for _ in 0..sessions {
        ids.push(pannier.session().await);
    }
    let sent = Sent::default();
    let uploaders = [pannier.uploads(), other.clone(), pannier.uploads(), other];
    let tasks: Vec<_> = (0..)
        .zip(uploaders)
        .map(|(number, uploads)| {
            let session_id = ids[number % sessions].clone();
            let random = Random::new(number as u64);
            tokio::spawn(Uploader { uploads, session_id, sent: sent.clone(), random }.run())
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let sent = sent.lock().unwrap().clone();
    assert_eq!(sent.len(), FILES as usize);
    assert!(sent.values().all(|times| *times == 1), "sent twice: {sent:?}");
    assert_eq!(pannier.states(hashes(0..FILES)).await, vec![pb::FileState::Uploaded; FILES as usize]);
    let mut success = 0;
    for id in &ids {
        let session = pannier.get_session(id).await;
        let listed = pb::ListFilesRequest { session_id: id.clone(), ..Default::default() };
        let listed = pannier.file_pages(listed).await.concat().len();
        assert_eq!(counts(&session), (None, listed as i64, listed as i64, 0, 0));
        success += session.success_count;
    }
    assert_eq!(success, FILES as i64);
    assert_eq!(pannier.row_count("upload_reservations").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uploaders_of_the_same_thousand_files_send_each_once() {
    contest(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uploaders_of_one_session_send_each_file_once() {
    contest(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_reserve_one_file_one_gets_it() {
    let pannier = Arc::new(pannier().await);
    let (_beside, other) = second_client(&pannier).await;
    for round in 0..30 {
        let wish = |mut uploads: UploadsServiceClient<Channel>| {
            let request = pb::ReserveFileRequest {
                service: "photos".into(),
                sha256: hash(round),
                ..Default::default()
            };
            tokio::spawn(async move {
                let result = uploads.reserve_file(request).await.unwrap().into_inner().result.unwrap();
                matches!(result.outcome, Some(Outcome::Reserved(_)))
            })
        };
        let wishes: Vec<_> = (0..8)
            .map(|number| wish(if number % 2 == 0 { pannier.uploads() } else { other.clone() }))
            .collect();
        let mut granted = 0;
        for wish in wishes {
            granted += usize::from(wish.await.unwrap());
        }
        assert_eq!(granted, 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_batches_without_reservations_register_each_file_once() {
    let pannier = Arc::new(pannier().await);
    let (_beside, other) = second_client(&pannier).await;
    let ids = [pannier.session().await, pannier.session_of("chat-2").await];
    let tasks: Vec<_> = (0..6_u64)
        .map(|task| {
            let mut uploads = if task % 2 == 0 { pannier.uploads() } else { other.clone() };
            let session_id = ids[usize::try_from(task / 3).unwrap()].clone();
            tokio::spawn(async move {
                let mut random = Random::new(task);
                let mut outcomes = [0_i64, 0];
                for _ in 0..15 {
                    let begin = random.below(300);
                    let mut batch = files(begin..begin + random.below(60) + 1);
                    if random.below(2) == 0 {
                        batch.reverse();
                    }
                    let request = pb::BatchRegisterFilesRequest {
                        session_id: session_id.clone(),
                        files: batch,
                        ..Default::default()
                    };
                    let answer = uploads.batch_register_files(request).await.unwrap().into_inner();
                    for result in answer.results {
                        assert_eq!(result.error, None);
                        outcomes[usize::from(result.outcome() == pb::RegisterOutcome::Duplicate)] += 1;
                    }
                }
                outcomes
            })
        })
        .collect();
    let mut told = [[0, 0], [0, 0]];
    for (task, outcomes) in tasks.into_iter().enumerate() {
        let outcomes = outcomes.await.unwrap();
        told[task / 3][0] += outcomes[0];
        told[task / 3][1] += outcomes[1];
    }
    let mut registered = 0;
    for (id, [new, known]) in ids.iter().zip(told) {
        assert_eq!(counts(&pannier.get_session(id).await), (None, new + known, new, 0, known));
        registered += new;
    }
    assert_eq!(pannier.row_count("upload_files").await, registered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_end_a_session_one_does_and_nothing_is_counted_after_it() {
    let pannier = Arc::new(pannier().await);
    let (_beside, other) = second_client(&pannier).await;
    for round in 0..8_u64 {
        let id = pannier.session().await;
        let tasks: Vec<_> = (0..6_u64)
            .map(|task| {
                let mut uploads = if task % 2 == 0 { pannier.uploads() } else { other.clone() };
                let session_id = id.clone();
                tokio::spawn(async move {
                    let mut counted = 0;
                    for number in 0..5 {
                        let request = pb::RegisterFileRequest {
                            session_id: session_id.clone(),
                            file: Some(file(round * 100 + task * 10 + number)),
                            ..Default::default()
                        };
                        match uploads.register_file(request).await {
                            Ok(_) => counted += 1,
                            Err(status) => crate::harness::assert_status(
                                &status,
                                tonic::Code::FailedPrecondition,
                                ErrorReason::UploadSessionFinished,
                            ),
                        }
                    }
                    let request = pb::CompleteSessionRequest { session_id, ..Default::default() };
                    (counted, uploads.complete_session(request).await.is_ok())
                })
            })
            .collect();
        let (mut counted, mut enders) = (0, 0);
        for task in tasks {
            let (files, has_ended) = task.await.unwrap();
            counted += files;
            enders += usize::from(has_ended);
        }
        assert_eq!(enders, 1);
        assert_eq!(counts(&pannier.get_session(&id).await), (None, counted, counted, 0, 0));
    }
}
