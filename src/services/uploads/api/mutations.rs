//! What changes sessions, files and errors, prepared for a call of its own or for a commit; and the check of a commit.

use pannier_proto::transaction::v1::{CheckResult, UploadsCheck};
use pannier_proto::uploads::v1 as pb;
use uuid::Uuid;

use super::super::Uploads;
use super::super::convert::{self, Parser};
use super::super::domain::{Change, NewSession, Status, Update};
use super::super::file::NewFile;
use super::super::store::{self, NewError};
use crate::answer::Budget;
use crate::batch::Failing;
use crate::convert::ERROR_MESSAGE_BYTES_MAX;
use crate::error::Error;
use crate::status;
use crate::storage::Operation;

/// Files to register.
struct Registering {
    session_id: Option<Uuid>,
    files: Vec<NewFile>,
    resume_at: Option<String>,
}

impl Uploads {
    pub(in crate::services) fn prepare_create_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::CreateSessionRequest,
    ) -> Operation<pb::CreateSessionResponse> {
        let id = parser.optional_uuid("session_id", &request.session_id);
        parser.source(&|| "source_id".to_owned(), &request.source_id, 1);
        parser.session_name(&request.name);
        parser.metadata(&request.metadata_json);
        let durability = parser.durability("durability", request.durability);
        let new = NewSession {
            id: id.unwrap_or_else(|| self.clock.uuid_v7()),
            source_id: request.source_id,
            name: request.name,
            total: parser.total(request.total_count),
            metadata_json: request.metadata_json,
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
        let id = parser.uuid("session_id", &request.session_id);
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
        let id = parser.uuid("session_id", &request.session_id);
        let durability = parser.durability("durability", request.durability);
        let changed = self.prepare_change(id, become_status(Status::Paused)).surviving(durability);
        changed.map(|session| pb::PauseSessionResponse { session: Some(session) })
    }

    pub(in crate::services) fn prepare_resume_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ResumeSessionRequest,
    ) -> Operation<pb::ResumeSessionResponse> {
        let id = parser.uuid("session_id", &request.session_id);
        let durability = parser.durability("durability", request.durability);
        let changed = self.prepare_change(id, become_status(Status::Running)).surviving(durability);
        changed.map(|session| pb::ResumeSessionResponse { session: Some(session) })
    }

    pub(in crate::services) fn prepare_complete_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::CompleteSessionRequest,
    ) -> Operation<pb::CompleteSessionResponse> {
        let id = parser.uuid("session_id", &request.session_id);
        let durability = parser.durability("durability", request.durability);
        let changed = self.prepare_change(id, become_status(Status::Completed)).surviving(durability);
        changed.map(|session| pb::CompleteSessionResponse { session: Some(session) })
    }

    pub(in crate::services) fn prepare_fail_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::FailSessionRequest,
    ) -> Operation<pb::FailSessionResponse> {
        let id = parser.uuid("session_id", &request.session_id);
        parser.text("error", &request.error, 0, ERROR_MESSAGE_BYTES_MAX, "");
        let durability = parser.durability("durability", request.durability);
        let change = Change::Become(Status::Failed, request.error);
        let changed = self.prepare_change(id, change).surviving(durability);
        changed.map(|session| pb::FailSessionResponse { session: Some(session) })
    }

    /// A change of a session, which answers with what became of it.
    fn prepare_change(&self, id: Uuid, change: Change) -> Operation<pb::UploadSession> {
        let now_us = self.clock.now_us();
        let operation = Operation::new((self.names.clone(), change), move |tx, (names, change)| {
            Box::pin(async move { Ok(convert::session(store::change(tx, names, id, change, now_us).await?)) })
        });
        operation.locking([store::lock_of(id)])
    }

    pub(in crate::services) fn prepare_delete_session(
        &self,
        parser: &mut Parser<'_>,
        request: pb::DeleteSessionRequest,
    ) -> Operation<pb::DeleteSessionResponse> {
        let id = parser.uuid("session_id", &request.session_id);
        let durability = parser.durability("durability", request.durability);
        let operation = Operation::new(self.names.clone(), move |tx, names| {
            Box::pin(async move {
                let deleted = store::delete_session(tx, names, id).await?;
                Ok(pb::DeleteSessionResponse { deleted })
            })
        });
        operation.surviving(durability).locking([store::lock_of(id)])
    }

    pub(in crate::services) fn prepare_register_file(
        &self,
        parser: &mut Parser<'_>,
        request: pb::RegisterFileRequest,
    ) -> Operation<pb::RegisterFileResponse> {
        let session_id = parser.optional_uuid("session_id", &request.session_id);
        parser.resume_at(request.last_processed_file.as_deref());
        let at = |name: &str| format!("file.{name}");
        let file = parser.new_file(&at, request.file.unwrap_or_default(), self.clock.now_us());
        let durability = parser.durability("durability", request.durability);
        let registering =
            Registering { session_id, files: vec![file], resume_at: request.last_processed_file };
        let registered = self.prepare_registering(registering, Failing::Single).surviving(durability);
        registered.map(|mut registered| {
            let first = registered.results.pop().unwrap_or_default();
            let (outcome, known, session) = (first.outcome, first.known, registered.session);
            pb::RegisterFileResponse { outcome, known, session }
        })
    }

    pub(in crate::services) fn prepare_batch_register_files(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchRegisterFilesRequest,
    ) -> Operation<pb::BatchRegisterFilesResponse> {
        let session_id = parser.optional_uuid("session_id", &request.session_id);
        parser.resume_at(request.last_processed_file.as_deref());
        let (max, now_us) = (parser.settings.batch_files_max, self.clock.now_us());
        let mut files = Vec::new();
        if parser.batch("files", request.files.len(), max, "uploads.batch_files_max") {
            for (index, file) in request.files.into_iter().enumerate() {
                files.push(parser.new_file(&|name| format!("files[{index}].{name}"), file, now_us));
            }
        }
        let durability = parser.durability("durability", request.durability);
        let failing = Failing::of_batch(parser.is_part());
        let registering = Registering { session_id, files, resume_at: request.last_processed_file };
        self.prepare_registering(registering, failing).surviving(durability)
    }

    /// The one way to register files: hashes, counts and place of the session in one step.
    fn prepare_registering(
        &self,
        registering: Registering,
        failing: Failing,
    ) -> Operation<pb::BatchRegisterFilesResponse> {
        let now = (self.clock.now_us(), self.clock.steady_us());
        let (items, session_id) = (registering.files.len(), registering.session_id);
        let (input, budget) = ((self.names.clone(), registering), Budget::of_call());
        let operation = Operation::new(input, move |tx, (names, registering)| {
            Box::pin(async move {
                let Registering { session_id, files, resume_at } = registering;
                let resume_at = resume_at.as_deref();
                let registered = store::register(tx, names, *session_id, files, resume_at, now).await?;
                let mut budget = budget;
                let result = |outcome| match outcome {
                    Ok(outcome) => {
                        let (outcome, known) = convert::outcome(outcome, &mut budget);
                        pb::BatchRegisterFilesResult { outcome: outcome.into(), known, error: None }
                    }
                    Err(error) => {
                        let error = Some(status::item(&error));
                        pb::BatchRegisterFilesResult { error, ..Default::default() }
                    }
                };
                let outcomes = failing.results(registered.outcomes, "files")?;
                Ok(pb::BatchRegisterFilesResponse {
                    results: outcomes.into_iter().map(result).collect(),
                    session: registered.session.map(convert::session),
                })
            })
        });
        operation.of_items(items).locking(session_id.map(store::lock_of))
    }

    pub(in crate::services) fn prepare_forget(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ForgetRequest,
    ) -> Operation<pb::ForgetResponse> {
        parser.service(&|| "service".to_owned(), &request.service);
        let max = parser.settings.batch_files_max;
        let hashes = parser.hashes(&request.sha256, max, "uploads.batch_files_max");
        let durability = parser.durability("durability", request.durability);
        let items = hashes.len();
        let input = (self.names.clone(), request.service, hashes);
        let operation = Operation::new(input, |tx, (names, service, hashes)| {
            Box::pin(async move {
                let forgotten_count = store::forget(tx, names, service, hashes).await?;
                Ok(pb::ForgetResponse { forgotten_count })
            })
        });
        operation.surviving(durability).of_items(items)
    }

    pub(in crate::services) fn prepare_record_error(
        &self,
        parser: &mut Parser<'_>,
        request: pb::RecordErrorRequest,
    ) -> Operation<pb::RecordErrorResponse> {
        let id = parser.uuid("session_id", &request.session_id);
        parser.path(&|| "path".to_owned(), &request.path, 1);
        parser.error_type(&|| "type".to_owned(), &request.r#type, 1);
        parser.text("message", &request.message, 0, ERROR_MESSAGE_BYTES_MAX, "");
        parser.resume_at(request.last_processed_file.as_deref());
        let durability = parser.durability("durability", request.durability);
        let new = NewError { path: request.path, error_type: request.r#type, message: request.message };
        let now_us = self.clock.now_us();
        let input = (self.names.clone(), new, request.last_processed_file);
        let operation = Operation::new(input, move |tx, (names, new, resume_at)| {
            Box::pin(async move {
                let resume_at = resume_at.as_deref();
                let (error, session) = store::record_error(tx, names, id, new, resume_at, now_us).await?;
                let (error, session) = (Some(convert::error(error)), Some(convert::session(session)));
                Ok(pb::RecordErrorResponse { error, session })
            })
        });
        operation.surviving(durability).locking([store::lock_of(id)])
    }

    pub(in crate::services) fn prepare_check(
        &self,
        parser: &mut Parser<'_>,
        check: UploadsCheck,
    ) -> Operation<CheckResult> {
        let id = parser.uuid("session_id", &check.session_id);
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
        let operation = Operation::new((self.names.clone(), statuses), move |tx, (names, statuses)| {
            Box::pin(async move {
                let status = store::locked_status(tx, names, id).await?;
                if !statuses.contains(&status) {
                    return Err(Error::CheckFailed { thing: "session", is: status.name() });
                }
                Ok(CheckResult {})
            })
        });
        operation.locking([store::lock_of(id)])
    }
}

fn become_status(status: Status) -> Change {
    Change::Become(status, String::new())
}
