//! What workers do with files: ask what is known of them, register them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pannier_proto::uploads::v1::uploads_service_client::UploadsServiceClient;
use pannier_proto::uploads::v1::*;
use tonic::transport::Channel;

use super::refused;
use crate::Fallible;
use crate::ceiling::uploads::{Files, Step};
use crate::ceiling::{Inline, Writer};
use crate::contest::Supply;
use crate::files::{File, MIME_TYPE, SERVICE, SOURCE, Shelf};
use crate::load::{Done, Worker};
use crate::material::Material;

/// Answers of 5,000 files are more than tonic's client takes by itself.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// `uploads.stats_files_max`: of more, Stats counts so many and says that there are more.
const STATS_FILES_MAX: u64 = 1_000_000;

/// A way to the uploads of a server, the sidecar or the floor, with a session.
#[derive(Clone)]
pub(crate) struct Uploader {
    client: UploadsServiceClient<Channel>,
    shelf: Arc<Shelf>,
    session_id: String,
    /// Files of the session that were acknowledged.
    counted: Arc<AtomicU64>,
}

impl Uploader {
    /// Without a session.
    pub(crate) fn new(channel: Channel, shelf: &Arc<Shelf>) -> Self {
        let client = UploadsServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Self { client, shelf: Arc::clone(shelf), session_id: String::new(), counted: Arc::default() }
    }

    /// The same session over another channel.
    pub(crate) fn over(&self, channel: Channel) -> Self {
        Self { client: Self::new(channel, &self.shelf).client, ..self.clone() }
    }

    /// Makes a session and registers into it from now on.
    pub(crate) async fn open_session(&mut self) -> Fallible<()> {
        let request = CreateSessionRequest { source_id: SOURCE.to_owned(), ..Default::default() };
        let answer = self.client.create_session(request).await.map_err(refused)?.into_inner();
        self.session_id = answer.session.ok_or("CreateSession answered without a session")?.id;
        self.counted = Arc::default();
        Ok(())
    }

    /// What is known of the files.
    pub(crate) async fn check_files(
        &mut self,
        files: &[File],
        states_only: bool,
    ) -> Fallible<Vec<CheckFilesResult>> {
        let sha256 = files.iter().map(|file| file.sha256()).collect();
        let request = CheckFilesRequest { service: SERVICE.to_owned(), sha256, states_only };
        let results = self.client.check_files(request).await.map_err(refused)?.into_inner().results;
        if results.len() == files.len() {
            Ok(results)
        } else {
            Err(format!("CheckFiles answered {} of {} files", results.len(), files.len()).into())
        }
    }

    /// Registers a file that nobody has registered.
    pub(crate) async fn register_one(&mut self) -> Fallible<(File, RegisterFileResponse)> {
        let file = File(self.shelf.take(1).start);
        let request = RegisterFileRequest {
            session_id: self.session_id.clone(),
            file: Some(new_file(file)),
            ..Default::default()
        };
        let answer = self.client.register_file(request).await.map_err(refused)?.into_inner();
        self.acknowledge(1, (answer.outcome() == RegisterOutcome::Registered).into())?;
        Ok((file, answer))
    }

    /// Registers so many files that nobody has registered, in one call. Gives the last.
    pub(crate) async fn register(&mut self, count: usize) -> Fallible<File> {
        if count == 1 {
            return Ok(self.register_one().await?.0);
        }
        let numbers = self.shelf.take(count);
        let request = BatchRegisterFilesRequest {
            session_id: self.session_id.clone(),
            files: numbers.clone().map(|number| new_file(File(number))).collect(),
            ..Default::default()
        };
        let answer = self.client.batch_register_files(request).await.map_err(refused)?.into_inner();
        let outcomes = answer.results.iter().map(BatchRegisterFilesResult::outcome);
        self.acknowledge(count, outcomes.filter(|outcome| *outcome == RegisterOutcome::Registered).count())?;
        Ok(File(numbers.end - 1))
    }

    fn acknowledge(&self, count: usize, registered: usize) -> Fallible<()> {
        self.shelf.add(registered);
        self.counted.fetch_add(registered as u64, Ordering::Relaxed);
        if registered == count {
            Ok(())
        } else {
            Err(format!("{registered} of {count} files were registered").into())
        }
    }

    /// That the file is known with all that it was registered with.
    async fn find(&mut self, file: File) -> Fallible<()> {
        let known = self.check_files(&[file], false).await?.pop().and_then(|mut result| result.files.pop());
        let known = known.ok_or("a file that was registered is not known")?;
        let given = new_file(file);
        let is_same = (known.sha256, known.path, known.service_file_id, known.size_bytes, known.mime_type)
            == (given.sha256, given.path, given.service_file_id, given.size_bytes, given.mime_type);
        if is_same { Ok(()) } else { Err("a file reads back other than it was registered".into()) }
    }
}

fn new_file(file: File) -> NewFile {
    NewFile {
        service: SERVICE.to_owned(),
        sha256: file.sha256(),
        path: file.path(),
        size_bytes: file.size_bytes(),
        mime_type: MIME_TYPE.to_owned(),
        service_file_id: file.service_file_id(),
        ..NewFile::default()
    }
}

/// Uses nothing up. At the end the session must have counted its own files, and Stats those of all sessions.
#[tonic::async_trait]
impl Supply for Uploader {
    async fn prepare(&mut self, _seconds: f64) -> Fallible<()> {
        Ok(())
    }

    async fn check(&mut self) -> Fallible<()> {
        let request = GetSessionRequest { session_id: self.session_id.clone() };
        let answer = self.client.get_session(request).await.map_err(refused)?.into_inner();
        let session = answer.session.ok_or("GetSession answered without a session")?;
        let counts = (session.success_count as u64, session.processed_count as u64);
        let counted = self.counted.load(Ordering::Relaxed);
        if counts != (counted, counted) {
            return Err(format!("a session says {counts:?}, counted were {counted}").into());
        }
        let stats = self.client.stats(StatsRequest {}).await.map_err(refused)?.into_inner();
        let files: u64 = stats.services.iter().map(|of_service| of_service.file_count as u64).sum();
        let registered = self.shelf.registered();
        let is_told = files == registered.min(STATS_FILES_MAX);
        if is_told && stats.files_truncated == (registered > STATS_FILES_MAX) {
            Ok(())
        } else {
            Err(format!("Stats says {files} files, counted were {registered}").into())
        }
    }
}

/// Registers so many files with each call.
pub(crate) struct Registrar {
    uploader: Uploader,
    count: usize,
    last: Option<File>,
}

impl Registrar {
    pub(crate) fn new(uploader: Uploader, count: usize) -> Self {
        Self { uploader, count, last: None }
    }
}

#[tonic::async_trait]
impl Worker for Registrar {
    async fn perform(&mut self) -> Fallible<Done> {
        self.last = Some(self.uploader.register(self.count).await?);
        Ok(Done::rows(self.count as u64))
    }

    async fn verify(&mut self) -> Fallible<()> {
        match self.last {
            Some(file) => self.uploader.find(file).await,
            None => Ok(()),
        }
    }
}

/// What is asked about.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Asked {
    /// Files that are there; answered with all that is known of them.
    Records,
    /// The same; answered with their states alone.
    States,
    /// Files that are not there.
    Unknown,
}

/// Some of the files that are there, at random.
pub(crate) struct Pick {
    pub(crate) material: Material,
    pub(crate) stored: u64,
    pub(crate) count: usize,
}

impl Pick {
    /// Others each time.
    fn files(&mut self, asked: Asked) -> Vec<File> {
        // No run registers so many.
        let beyond = if asked == Asked::Unknown { 1 << 40 } else { 0 };
        let stored = self.stored as usize;
        (0..self.count).map(|_| File(beyond + self.material.below(stored) as u64)).collect()
    }
}

/// Asks what is known of so many files with each call.
pub(crate) struct Checker {
    pub(crate) uploader: Uploader,
    pub(crate) pick: Pick,
    pub(crate) asked: Asked,
}

#[tonic::async_trait]
impl Worker for Checker {
    async fn perform(&mut self) -> Fallible<Done> {
        let files = self.pick.files(self.asked);
        let results = self.uploader.check_files(&files, self.asked == Asked::States).await?;
        let expected = if self.asked == Asked::Unknown { FileState::Unknown } else { FileState::Uploaded };
        let has_record = self.asked == Asked::Records;
        let is_wrong =
            |result: &&CheckFilesResult| result.state() != expected || result.files.is_empty() == has_record;
        match results.iter().filter(is_wrong).count() {
            0 => Ok(Done::rows(results.len() as u64)),
            wrong => Err(format!("CheckFiles was wrong about {wrong} of {} files", files.len()).into()),
        }
    }

    /// Each answer belongs to its question.
    async fn verify(&mut self) -> Fallible<()> {
        for file in self.pick.files(Asked::Records) {
            self.uploader.find(file).await?;
        }
        let files = self.pick.files(Asked::Records);
        let results = self.uploader.check_files(&files, false).await?;
        let is_own = |(file, result): (&File, &CheckFilesResult)| {
            result.files.first().is_some_and(|known| known.sha256 == file.sha256())
        };
        let in_order = files.iter().zip(&results).all(is_own);
        if in_order { Ok(()) } else { Err("CheckFiles answers in another order".into()) }
    }
}

/// The same on bare rusqlite.
pub(crate) struct CeilingChecker {
    pub(crate) inline: Inline<Files>,
    pub(crate) pick: Pick,
}

#[tonic::async_trait]
impl Worker for CeilingChecker {
    async fn perform(&mut self) -> Fallible<Done> {
        let files = self.pick.files(Asked::Records);
        self.inline.check(&files)?;
        Ok(Done::rows(files.len() as u64))
    }
}

/// A handle to the ceiling's files.
#[derive(Clone)]
pub(crate) struct CeilingShelf {
    pub(crate) writer: Writer<Files>,
    pub(crate) shelf: Arc<Shelf>,
}

#[tonic::async_trait]
impl Supply for CeilingShelf {
    async fn prepare(&mut self, _seconds: f64) -> Fallible<()> {
        Ok(())
    }

    async fn check(&mut self) -> Fallible<()> {
        let files = self.writer.run(Step::Count).await?;
        let registered = self.shelf.registered();
        if files == registered {
            Ok(())
        } else {
            Err(format!("there are {files} files, counted were {registered}").into())
        }
    }
}

/// Registers so many files with each call on bare rusqlite.
pub(crate) struct CeilingRegistrar {
    pub(crate) ceiling: CeilingShelf,
    pub(crate) count: usize,
}

#[tonic::async_trait]
impl Worker for CeilingRegistrar {
    async fn perform(&mut self) -> Fallible<Done> {
        let files = self.ceiling.shelf.take(self.count).map(File).collect();
        let added = self.ceiling.writer.run(Step::Register(files)).await? as usize;
        self.ceiling.shelf.add(added);
        if added == self.count { Ok(Done::rows(added as u64)) } else { Err("a file was known".into()) }
    }
}
