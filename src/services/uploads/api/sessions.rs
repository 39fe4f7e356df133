//! CreateSession, GetSession, ListSessions, UpdateSession, PauseSession, ResumeSession, CompleteSession, FailSession, DeleteSession.

use futures_util::future::BoxFuture;
use pannier_proto::uploads::v1 as pb;
use uuid::Uuid;

use super::super::Uploads;
use super::super::convert::{self, Parser};
use super::super::domain::{Change, NewSession, Session, Status, Update};
use super::super::store::{self, Metadata, SessionFilter};
use super::steps::{Context, Step};
use crate::clock::Clock;
use crate::convert::ERROR_MESSAGE_BYTES_MAX;
use crate::error::Result;
use crate::page::Query;
use crate::storage::Tx;

/// CreateSession.
#[derive(Clone, Debug)]
pub struct CreateSession(NewSession);

impl Step for CreateSession {
    type Request = pb::CreateSessionRequest;
    type Response = pb::CreateSessionResponse;
    const METHOD: &'static str = "CreateSession";

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, clock: &Clock, request: Self::Request) -> Self {
        let id = parser.optional_uuid("session_id", &request.session_id);
        parser.source(&|| "source_id".to_owned(), &request.source_id, 1);
        parser.session_name(&request.name);
        parser.metadata(&request.metadata_json);
        Self(NewSession {
            id: id.unwrap_or_else(|| clock.uuid_v7()),
            source_id: request.source_id,
            name: request.name,
            total: parser.total(request.total_count),
            metadata_json: request.metadata_json,
        })
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(async move {
            let session = store::create(tx, &context.names, &self.0, now_us).await?;
            Ok(pb::CreateSessionResponse { session: Some(convert::session(session)) })
        })
    }
}

/// A change of the session of that id.
#[derive(Clone, Debug)]
struct Changing {
    id: Uuid,
    change: Change,
}

impl Changing {
    fn to(parser: &mut Parser<'_>, session_id: &str, status: Status, error: String) -> Self {
        Self { id: parser.uuid("session_id", session_id), change: Change::Become(status, error) }
    }

    async fn run(&self, tx: &Tx<'_>, context: &Context, now_us: i64) -> Result<Option<pb::UploadSession>> {
        let session = store::change(tx, &context.names, self.id, &self.change, now_us).await?;
        Ok(Some(convert::session(session)))
    }
}

/// UpdateSession.
#[derive(Clone, Debug)]
pub struct UpdateSession(Changing);

impl Step for UpdateSession {
    type Request = pb::UpdateSessionRequest;
    type Response = pb::UpdateSessionResponse;
    const METHOD: &'static str = "UpdateSession";

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, _clock: &Clock, request: Self::Request) -> Self {
        let id = parser.uuid("session_id", &request.session_id);
        parser.session_name(request.name.as_deref().unwrap_or_default());
        parser.metadata(request.metadata_json.as_deref().unwrap_or_default());
        parser.resume_at(request.last_processed_file.as_deref());
        let update = Update {
            name: request.name,
            metadata_json: request.metadata_json,
            total: parser.total(request.total_count),
            last_processed_file: request.last_processed_file,
        };
        Self(Changing { id, change: Change::Update(update) })
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(
            async move { Ok(pb::UpdateSessionResponse { session: self.0.run(tx, context, now_us).await? }) },
        )
    }
}

/// PauseSession.
#[derive(Clone, Debug)]
pub struct PauseSession(Changing);

impl Step for PauseSession {
    type Request = pb::PauseSessionRequest;
    type Response = pb::PauseSessionResponse;
    const METHOD: &'static str = "PauseSession";

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, _clock: &Clock, request: Self::Request) -> Self {
        Self(Changing::to(parser, &request.session_id, Status::Paused, String::new()))
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(
            async move { Ok(pb::PauseSessionResponse { session: self.0.run(tx, context, now_us).await? }) },
        )
    }
}

/// ResumeSession.
#[derive(Clone, Debug)]
pub struct ResumeSession(Changing);

impl Step for ResumeSession {
    type Request = pb::ResumeSessionRequest;
    type Response = pb::ResumeSessionResponse;
    const METHOD: &'static str = "ResumeSession";

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, _clock: &Clock, request: Self::Request) -> Self {
        Self(Changing::to(parser, &request.session_id, Status::Running, String::new()))
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(
            async move { Ok(pb::ResumeSessionResponse { session: self.0.run(tx, context, now_us).await? }) },
        )
    }
}

/// CompleteSession.
#[derive(Clone, Debug)]
pub struct CompleteSession(Changing);

impl Step for CompleteSession {
    type Request = pb::CompleteSessionRequest;
    type Response = pb::CompleteSessionResponse;
    const METHOD: &'static str = "CompleteSession";

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, _clock: &Clock, request: Self::Request) -> Self {
        Self(Changing::to(parser, &request.session_id, Status::Completed, String::new()))
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(async move {
            Ok(pb::CompleteSessionResponse { session: self.0.run(tx, context, now_us).await? })
        })
    }
}

/// FailSession.
#[derive(Clone, Debug)]
pub struct FailSession(Changing);

impl Step for FailSession {
    type Request = pb::FailSessionRequest;
    type Response = pb::FailSessionResponse;
    const METHOD: &'static str = "FailSession";

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, _clock: &Clock, request: Self::Request) -> Self {
        parser.text("error", &request.error, 0, ERROR_MESSAGE_BYTES_MAX, "");
        Self(Changing::to(parser, &request.session_id, Status::Failed, request.error))
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(
            async move { Ok(pb::FailSessionResponse { session: self.0.run(tx, context, now_us).await? }) },
        )
    }
}

/// DeleteSession.
#[derive(Clone, Debug)]
pub struct DeleteSession(Uuid);

impl Step for DeleteSession {
    type Request = pb::DeleteSessionRequest;
    type Response = pb::DeleteSessionResponse;
    const METHOD: &'static str = "DeleteSession";

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, _clock: &Clock, request: Self::Request) -> Self {
        Self(parser.uuid("session_id", &request.session_id))
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        _now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(async move {
            let deleted = store::delete_session(tx, &context.names, self.0).await?;
            Ok(pb::DeleteSessionResponse { deleted })
        })
    }
}

impl Uploads {
    pub(super) async fn get_session(&self, request: pb::GetSessionRequest) -> Result<pb::GetSessionResponse> {
        let mut parser = Parser::new(&self.settings.uploads);
        let id = parser.uuid("session_id", &request.session_id);
        parser.violations.check()?;
        let session = self.session(id).await?;
        Ok(pb::GetSessionResponse { session: Some(convert::session(session)) })
    }

    async fn session(&self, id: Uuid) -> Result<Session> {
        let input = (self.context.names.reading(), id);
        let read =
            self.storage.read(input, |db, (names, id)| Box::pin(store::find(db, names, *id, Metadata::Read)));
        read.await
    }

    pub(super) async fn list_sessions(
        &self,
        request: pb::ListSessionsRequest,
    ) -> Result<pb::ListSessionsResponse> {
        let mut parser = Parser::new(&self.settings.uploads);
        let status = parser.status("status", request.status);
        parser.source(&|| "source_id".to_owned(), &request.source_id, 0);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let status_name = status.map_or("", Status::name);
        let query = Query::of("uploads.ListSessions", &[status_name, &request.source_id]);
        let page = self.page(super::number_key(query, &request.page_token)?, rows_max);

        let filter = SessionFilter { status, source_id: request.source_id };
        let input = (self.context.names.reading(), filter, page);
        let (sessions, next) = self
            .storage
            .read(input, |db, (names, filter, page)| Box::pin(store::list_sessions(db, names, filter, page)))
            .await?;
        Ok(pb::ListSessionsResponse {
            sessions: sessions.into_iter().map(convert::session).collect(),
            next_page_token: next.map(|key| query.token(&key.to_string())).unwrap_or_default(),
        })
    }
}
