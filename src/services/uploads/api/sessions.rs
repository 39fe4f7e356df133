//! GetSession, ListSessions.

use pannier_proto::uploads::v1 as pb;

use super::super::Uploads;
use super::super::convert::{self, Parser};
use super::super::domain::{Session, Status};
use super::super::store::{self, Metadata, SessionFilter};
use crate::error::Result;
use crate::page::Query;

impl Uploads {
    pub(super) async fn get_session(&self, request: pb::GetSessionRequest) -> Result<pb::GetSessionResponse> {
        let mut parser = Parser::new(&self.settings.uploads);
        let id = parser.session_id(request.session_id);
        parser.violations.check()?;
        let session = self.session(id).await?;
        Ok(pb::GetSessionResponse { session: Some(convert::session(session)) })
    }

    async fn session(&self, id: String) -> Result<Session> {
        let input = (self.names.reading(), id);
        let read =
            self.storage.read(input, |db, (names, id)| Box::pin(store::find(db, names, id, Metadata::Read)));
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
        let input = (self.names.reading(), filter, page);
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
