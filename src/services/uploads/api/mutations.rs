//! What changes sessions, files and errors, prepared for a call of its own or for a commit; and the check of a commit.

use pannier_proto::transaction::v1::{CheckResult, UploadsCheck};
use pannier_proto::uploads::v1 as pb;

use super::super::Uploads;
use super::super::convert::{self, Parser};
use super::super::domain::{Change, NewSession, Status, Update};
use super::super::file::NewFile;
use super::super::store::{self, NewError};
use crate::answer::Budget;
use crate::batch::{Batch, only};
use crate::convert::ERROR_MESSAGE_BYTES_MAX;
use crate::error::{Error, Result};
use crate::status::ItemErrors;
use crate::storage::Operation;

/// Files to register.
struct Registering {
    session_id: Option<String>,
    files: Batch<NewFile>,
    resume_at: Option<String>,
}

impl Uploads {
    pub(in crate::services) fn prepare_create_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::CreateSessionRequest,
    ) -> Operation<pb::CreateSessionResponse> {
        let id = parser.optional_session_id(request.session_id);
        parser.source(&|| "source_id".to_owned(), &request.source_id, 1);
        parser.session_name(&request.name);
        parser.metadata(&request.metadata_json);
        let durability = parser.durability("durability", request.durability);
        let new = NewSession {
            id: id.unwrap_or_else(|| self.clock.uuid_v7().to_string()),
            source_id: request.source_id,
            name: request.name,
            total: parser.total(request.total_count),
            metadata_json: request.metadata_json,
            start_us: request.start_time.map(|time| parser.time_us("start_time", &time)),
        };
        let now_us = self.clock.now_us();
        let operation = Operation::new((self.names.clone(), new), move |tx, (names, new)| {
            Box::pin(async move {
                let session = store::create(tx, names, new, now_us).await?;
                Ok(pb::CreateSessionResponse { session: Some(convert::session(session)) })
            })
        });
        operation.surviving(durability)
    }

    pub(in crate::services) fn prepare_update_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::UpdateSessionRequest,
    ) -> Operation<pb::UpdateSessionResponse> {
        let id = parser.session_id(request.session_id);
        parser.session_name(request.name.as_deref().unwrap_or_default());
        parser.metadata(request.metadata_json.as_deref().unwrap_or_default());
        parser.resume_at(request.last_processed_file.as_deref());
        let durability = parser.durability("durability", request.durability);
        let update = Update {
            name: request.name,
            metadata_json: request.metadata_json,
            total: parser.total(request.total_count),
            last_processed_file: request.last_processed_file,
        };
        let changed = self.prepare_change(id, Change::Update(update)).surviving(durability);
        changed.map(|session| pb::UpdateSessionResponse { session: Some(session) })
    }

    pub(in crate::services) fn prepare_pause_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::PauseSessionRequest,
    ) -> Operation<pb::PauseSessionResponse> {
        let id = parser.session_id(request.session_id);
        let durability = parser.durability("durability", request.durability);
        let changed = self.prepare_change(id, become_status(Status::Paused)).surviving(durability);
        changed.map(|session| pb::PauseSessionResponse { session: Some(session) })
    }

    pub(in crate::services) fn prepare_resume_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ResumeSessionRequest,
    ) -> Operation<pb::ResumeSessionResponse> {
        let id = parser.session_id(request.session_id);
        let durability = parser.durability("durability", request.durability);
        let changed = self.prepare_change(id, become_status(Status::Running)).surviving(durability);
        changed.map(|session| pb::ResumeSessionResponse { session: Some(session) })
    }

    pub(in crate::services) fn prepare_complete_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::CompleteSessionRequest,
    ) -> Operation<pb::CompleteSessionResponse> {
        let id = parser.session_id(request.session_id);
        let durability = parser.durability("durability", request.durability);
        let changed = self.prepare_change(id, become_status(Status::Completed)).surviving(durability);
        changed.map(|session| pb::CompleteSessionResponse { session: Some(session) })
    }

    pub(in crate::services) fn prepare_fail_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::FailSessionRequest,
    ) -> Operation<pb::FailSessionResponse> {
        let id = parser.session_id(request.session_id);
        parser.text("error", &request.error, 0, ERROR_MESSAGE_BYTES_MAX, "");
        let durability = parser.durability("durability", request.durability);
        let change = Change::Become(Status::Failed, request.error);
        let changed = self.prepare_change(id, change).surviving(durability);
        changed.map(|session| pb::FailSessionResponse { session: Some(session) })
    }

    /// A change of a session, which answers with what became of it.
    fn prepare_change(&self, id: String, change: Change) -> Operation<pb::UploadSession> {
        let now_us = self.clock.now_us();
        let lock = store::lock_of(&id);
        let input = (self.names.clone(), id, change);
        let operation = Operation::new(input, move |tx, (names, id, change)| {
            Box::pin(async move { Ok(convert::session(store::change(tx, names, id, change, now_us).await?)) })
        });
        operation.locking([lock])
    }

    pub(in crate::services) fn prepare_delete_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::DeleteSessionRequest,
    ) -> Operation<pb::DeleteSessionResponse> {
        let id = parser.session_id(request.session_id);
        let durability = parser.durability("durability", request.durability);
        let lock = store::lock_of(&id);
        let operation = Operation::new((self.names.clone(), id), move |tx, (names, id)| {
            Box::pin(async move {
                let deleted = store::delete_session(tx, names, id).await?;
                Ok(pb::DeleteSessionResponse { deleted })
            })
        });
        operation.surviving(durability).locking([lock])
    }

    pub(in crate::services) fn prepare_register_file(
        &self,
        parser: &mut Parser<'_>,
        request: pb::RegisterFileRequest,
    ) -> Operation<pb::RegisterFileResponse> {
        let session_id = parser.optional_session_id(request.session_id);
        parser.resume_at(request.last_processed_file.as_deref());
        let (file, now_us) = (request.file.unwrap_or_default(), self.clock.now_us());
        let files = parser.item("file", file, |parser, file| parser.new_file(file, now_us));
        let durability = parser.durability("durability", request.durability);
        let registering = Registering { session_id, files, resume_at: request.last_processed_file };
        let registered = self.prepare_registering(registering).surviving(durability);
        registered.try_map(|registered| {
            let file = only(registered.results)?;
            let (outcome, known, session) = (file.outcome, file.known, registered.session);
            Ok(pb::RegisterFileResponse { outcome, known, session })
        })
    }

    pub(in crate::services) fn prepare_batch_register_files(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchRegisterFilesRequest,
    ) -> Operation<pb::BatchRegisterFilesResponse> {
        let session_id = parser.optional_session_id(request.session_id);
        parser.resume_at(request.last_processed_file.as_deref());
        let limit = (parser.settings.batch_files_max, "uploads.batch_files_max");
        let (failing, now_us) = (parser.failing(request.atomic), self.clock.now_us());
        let files = parser
            .items("files", request.files, limit, failing, |parser, file| parser.new_file(file, now_us));
        let durability = parser.durability("durability", request.durability);
        let registering = Registering { session_id, files, resume_at: request.last_processed_file };
        self.prepare_registering(registering).surviving(durability)
    }

    /// The one way to register files: hashes, counts and place of the session in one step.
    fn prepare_registering(&self, registering: Registering) -> Operation<pb::BatchRegisterFilesResponse> {
        let now = (self.clock.now_us(), self.clock.steady_us());
        let (items, budget) = (registering.files.count(), Budget::of_call());
        let lock = registering.session_id.as_deref().map(store::lock_of);
        let input = (self.names.clone(), registering);
        let operation = Operation::new(input, move |tx, (names, registering)| {
            Box::pin(async move {
                let Registering { session_id, files, resume_at } = registering;
                let (session_id, resume_at) = (session_id.as_deref(), resume_at.as_deref());
                let registered = store::register(tx, names, session_id, &files.items, resume_at, now).await?;
                let (mut budget, mut errors) = (budget, ItemErrors::default());
                let result = |outcome: Result<_>| match outcome {
                    Ok(outcome) => {
                        let (outcome, known) = convert::outcome(outcome, &mut budget);
                        pb::BatchRegisterFilesResult { outcome: outcome.into(), known, error: None }
                    }
                    Err(error) => {
                        let error = Some(errors.of(&error));
                        pb::BatchRegisterFilesResult { error, ..Default::default() }
                    }
                };
                let outcomes = files.results(registered.outcomes)?;
                Ok(pb::BatchRegisterFilesResponse {
                    results: outcomes.into_iter().map(result).collect(),
                    session: registered.session.map(convert::session),
                })
            })
        });
        operation.of_items(items).locking(lock)
    }

    pub(in crate::services) fn prepare_forget(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ForgetRequest,
    ) -> Operation<pb::ForgetResponse> {
        parser.service(&|| "service".to_owned(), &request.service);
        let failing = parser.failing(request.atomic);
        let hashes = parser.changed_hashes(request.sha256, failing);
        let durability = parser.durability("durability", request.durability);
        let items = hashes.count();
        let input = (self.names.clone(), request.service, hashes);
        let operation = Operation::new(input, |tx, (names, service, hashes)| {
            Box::pin(async move {
                let forgotten = store::forget(tx, names, service, &hashes.items).await?;
                let count = forgotten.iter().filter(|forgotten| **forgotten).count();
                let mut errors = ItemErrors::default();
                let result = |forgotten: Result<bool>| match forgotten {
                    Ok(forgotten) => pb::ForgetResult { forgotten, error: None },
                    Err(error) => pb::ForgetResult { forgotten: false, error: Some(errors.of(&error)) },
                };
                let forgotten = hashes.results(forgotten.into_iter().map(Ok).collect())?;
                Ok(pb::ForgetResponse {
                    forgotten_count: i64::try_from(count).unwrap_or(i64::MAX),
                    results: forgotten.into_iter().map(result).collect(),
                })
            })
        });
        operation.surviving(durability).of_items(items)
    }

    pub(in crate::services) fn prepare_record_error(
        &self,
        parser: &mut Parser<'_>,
        request: pb::RecordErrorRequest,
    ) -> Operation<pb::RecordErrorResponse> {
        let id = parser.session_id(request.session_id);
        parser.path(&|| "path".to_owned(), &request.path, 1);
        parser.error_type(&|| "type".to_owned(), &request.r#type, 1);
        parser.text("message", &request.message, 0, ERROR_MESSAGE_BYTES_MAX, "");
        parser.resume_at(request.last_processed_file.as_deref());
        let durability = parser.durability("durability", request.durability);
        let log_only = request.log_only;
        if log_only && request.last_processed_file.is_some() {
            parser.violations.add("last_processed_file", "must be left out with log_only");
        }
        let (path, error_type, message) = (request.path, request.r#type, request.message);
        let new = NewError { path, error_type, message, log_only };
        let (now_us, lock) = (self.clock.now_us(), store::lock_of(&id));
        let input = (self.names.clone(), id, new, request.last_processed_file);
        let operation = Operation::new(input, move |tx, (names, id, new, resume_at)| {
            Box::pin(async move {
                let resume_at = resume_at.as_deref();
                let (error, session) = store::record_error(tx, names, id, new, resume_at, now_us).await?;
                let (error, session) = (Some(convert::error(error)), Some(convert::session(session)));
                Ok(pb::RecordErrorResponse { error, session })
            })
        });
        operation.surviving(durability).locking([lock])
    }

    pub(in crate::services) fn prepare_check(
        &self,
        parser: &mut Parser<'_>,
        check: UploadsCheck,
    ) -> Operation<CheckResult> {
        let id = parser.session_id(check.session_id);
        if check.statuses.is_empty() {
            parser.violations.add("statuses", "is empty: give at least one UploadSessionStatus");
        }
        let mut statuses = Vec::new();
        for (index, status) in check.statuses.into_iter().enumerate() {
            let field = format!("statuses[{index}]");
            match parser.status(&field, status) {
                Some(status) => statuses.push(status),
                None if status == 0 => parser.violations.add(field, "is missing: give a status"),
                None => {}
            }
        }
        let lock = store::lock_of(&id);
        let input = (self.names.clone(), id, statuses);
        let operation = Operation::new(input, move |tx, (names, id, statuses)| {
            Box::pin(async move {
                let status = store::locked_status(tx, names, id).await?;
                if !statuses.contains(&status) {
                    return Err(Error::CheckFailed { thing: "session", is: status.name() });
                }
                Ok(CheckResult {})
            })
        });
        operation.locking([lock])
    }
}

fn become_status(status: Status) -> Change {
    Change::Become(status, String::new())
}
