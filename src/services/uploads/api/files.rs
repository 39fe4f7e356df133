//! CheckFiles, RegisterFile, BatchRegisterFiles, ListFiles, Forget, Stats.

use futures_util::future::BoxFuture;
use pannier_proto::uploads::v1 as pb;
use uuid::Uuid;

use super::super::Uploads;
use super::super::convert::{self, Parser};
use super::super::file::{NewFile, Sha256};
use super::super::store::{self, FileFilter};
use super::steps::{Context, Step};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::page::Query;
use crate::status;
use crate::storage::Tx;

/// Files to register.
#[derive(Clone, Debug)]
struct Registering {
    session_id: Option<Uuid>,
    files: Vec<NewFile>,
    resume_at: Option<String>,
}

impl Registering {
    async fn run(&self, tx: &Tx<'_>, context: &Context, now_us: i64) -> Result<store::Registered> {
        let resume_at = self.resume_at.as_deref();
        store::register(tx, &context.names, self.session_id, &self.files, resume_at, now_us).await
    }
}

/// RegisterFile.
#[derive(Clone, Debug)]
pub struct RegisterFile(Registering);

impl Step for RegisterFile {
    type Request = pb::RegisterFileRequest;
    type Response = pb::RegisterFileResponse;
    const METHOD: &'static str = "RegisterFile";

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, clock: &Clock, request: Self::Request) -> Self {
        let session_id = parser.optional_uuid("session_id", &request.session_id);
        parser.resume_at(request.last_processed_file.as_deref());
        let at = |name: &str| format!("file.{name}");
        let file = parser.new_file(&at, request.file.unwrap_or_default(), clock.now_us());
        Self(Registering { session_id, files: vec![file], resume_at: request.last_processed_file })
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(async move {
            let mut registered = self.0.run(tx, context, now_us).await?;
            let outcome = registered.outcomes.pop();
            let outcome = outcome.ok_or_else(|| Error::internal("a file without an outcome"))??;
            let (outcome, known) = convert::outcome(outcome, &mut context.room());
            Ok(pb::RegisterFileResponse {
                outcome: outcome.into(),
                known,
                session: registered.session.map(convert::session),
            })
        })
    }
}

/// BatchRegisterFiles.
#[derive(Clone, Debug)]
pub struct BatchRegisterFiles(Registering);

impl Step for BatchRegisterFiles {
    type Request = pb::BatchRegisterFilesRequest;
    type Response = pb::BatchRegisterFilesResponse;
    const METHOD: &'static str = "BatchRegisterFiles";

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, clock: &Clock, request: Self::Request) -> Self {
        let session_id = parser.optional_uuid("session_id", &request.session_id);
        parser.resume_at(request.last_processed_file.as_deref());
        let (max, now_us) = (parser.settings.batch_files_max, clock.now_us());
        let mut files = Vec::new();
        if parser.batch("files", request.files.len(), max, "uploads.batch_files_max") {
            for (index, file) in request.files.into_iter().enumerate() {
                files.push(parser.new_file(&|name| format!("files[{index}].{name}"), file, now_us));
            }
        }
        Self(Registering { session_id, files, resume_at: request.last_processed_file })
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(async move {
            let registered = self.0.run(tx, context, now_us).await?;
            let mut room = context.room();
            let results = registered.outcomes.into_iter().map(|outcome| match outcome {
                Ok(outcome) => {
                    let (outcome, known) = convert::outcome(outcome, &mut room);
                    pb::BatchRegisterFilesResult { outcome: outcome.into(), known, error: None }
                }
                Err(error) => {
                    pb::BatchRegisterFilesResult { error: Some(status::item(&error)), ..Default::default() }
                }
            });
            Ok(pb::BatchRegisterFilesResponse {
                results: results.collect(),
                session: registered.session.map(convert::session),
            })
        })
    }
}

/// Forget.
#[derive(Clone, Debug)]
pub struct Forget {
    service: String,
    hashes: Vec<Sha256>,
}

impl Step for Forget {
    type Request = pb::ForgetRequest;
    type Response = pb::ForgetResponse;
    const METHOD: &'static str = "Forget";

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, _clock: &Clock, request: Self::Request) -> Self {
        parser.service(&|| "service".to_owned(), &request.service);
        let max = parser.settings.batch_files_max;
        let hashes = parser.hashes(&request.sha256, max, "uploads.batch_files_max");
        Self { service: request.service, hashes }
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        _now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(async move {
            let forgotten_count = store::forget(tx, &context.names, &self.service, &self.hashes).await?;
            Ok(pb::ForgetResponse { forgotten_count })
        })
    }
}

impl Uploads {
    pub(super) async fn check_files(&self, request: pb::CheckFilesRequest) -> Result<pb::CheckFilesResponse> {
        let mut parser = Parser::new(&self.settings.uploads);
        parser.service(&|| "service".to_owned(), &request.service);
        let max = self.settings.uploads.check_hashes_max;
        let hashes = parser.hashes(&request.sha256, max, "uploads.check_hashes_max");
        parser.violations.check()?;

        let (states_only, now_us) = (request.states_only, self.clock.now_us());
        let input = (self.context.names.reading(), request.service, hashes);
        let states = self
            .storage
            .read(input, move |db, (names, service, hashes)| {
                Box::pin(store::check(db, names, service, hashes, states_only, now_us))
            })
            .await?;
        let mut room = self.context.room();
        let results = states.into_iter().map(|state| convert::check_result(state, &mut room)).collect();
        Ok(pb::CheckFilesResponse { results })
    }

    pub(super) async fn list_files(&self, request: pb::ListFilesRequest) -> Result<pb::ListFilesResponse> {
        let mut parser = Parser::new(&self.settings.uploads);
        let session_id = parser.optional_uuid("session_id", &request.session_id);
        parser.source(&|| "source_id".to_owned(), &request.source_id, 0);
        if !request.service.is_empty() {
            parser.service(&|| "service".to_owned(), &request.service);
        }
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let session = session_id.map(|id| id.to_string()).unwrap_or_default();
        let order = if request.oldest_first { "oldest" } else { "newest" };
        let parts = [session.as_str(), &request.source_id, &request.service, order];
        let query = Query::of("uploads.ListFiles", &parts);
        let page = self.page(super::number_key(query, &request.page_token)?, rows_max);

        let filter = FileFilter {
            session_id,
            source_id: request.source_id,
            service: request.service,
            oldest_first: request.oldest_first,
        };
        let input = (self.context.names.reading(), filter, page);
        let (files, next) = self
            .storage
            .read(input, |db, (names, filter, page)| Box::pin(store::list_files(db, names, filter, page)))
            .await?;
        Ok(pb::ListFilesResponse {
            files: files.into_iter().map(convert::uploaded_file).collect(),
            next_page_token: next.map(|key| query.token(&key.to_string())).unwrap_or_default(),
        })
    }

    pub(super) async fn stats(&self, _request: pb::StatsRequest) -> Result<pb::StatsResponse> {
        let bound = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
        let files_max = bound(self.settings.uploads.stats_files_max);
        let sessions_max = bound(self.settings.uploads.stats_sessions_max);
        let now_us = self.clock.now_us();
        let stats = self
            .storage
            .read(self.context.names.reading(), move |db, names| {
                Box::pin(store::stats(db, names, files_max, sessions_max, now_us))
            })
            .await?;
        Ok(convert::stats(stats))
    }
}
