//! CheckFiles, ListFiles, Stats.

use std::sync::Arc;

use pannier_proto::uploads::v1 as pb;

use super::super::Uploads;
use super::super::convert::{self, Parser};
use super::super::store::{self, FileFilter};
use crate::answer::Budget;
use crate::batch::Failing;
use crate::error::Result;
use crate::page::Query;
use crate::status::ItemErrors;

impl Uploads {
    pub(super) async fn check_files(&self, request: pb::CheckFilesRequest) -> Result<pb::CheckFilesResponse> {
        let mut parser = Parser::new(&self.settings.uploads);
        if !request.service.is_empty() {
            parser.service(&|| "service".to_owned(), &request.service);
        }
        let limit = (self.settings.uploads.check_hashes_max, "uploads.check_hashes_max");
        let hashes = parser.hashes(request.sha256, limit, Failing::Item);
        parser.violations.check()?;
        let hashes = Arc::new(hashes);

        let (states_only, now_us) = (request.states_only, self.clock.steady_us());
        let input = (self.names.reading(), request.service, hashes.clone());
        let states = self
            .storage
            .read(input, move |db, (names, service, hashes)| {
                Box::pin(store::check(db, names, service, &hashes.items, states_only, now_us))
            })
            .await?;
        let mut budget = Budget::of_call();
        let (steady, mut errors) = (self.clock.steady(), ItemErrors::default());
        let result = |state: Result<_>| match state {
            Ok(state) => convert::check_result(state, &steady, &mut budget),
            Err(error) => pb::CheckFilesResult { error: Some(errors.of(&error)), ..Default::default() },
        };
        let states = hashes.results(states.into_iter().map(Ok).collect())?;
        Ok(pb::CheckFilesResponse { results: states.into_iter().map(result).collect() })
    }

    pub(super) async fn list_files(&self, request: pb::ListFilesRequest) -> Result<pb::ListFilesResponse> {
        let mut parser = Parser::new(&self.settings.uploads);
        let session_id = parser.optional_session_id(request.session_id);
        parser.source(&|| "source_id".to_owned(), &request.source_id, 0);
        if !request.service.is_empty() {
            parser.service(&|| "service".to_owned(), &request.service);
        }
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let session = session_id.clone().unwrap_or_default();
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
        let input = (self.names.reading(), filter, page);
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
        let now_us = self.clock.steady_us();
        let stats = self
            .storage
            .read(self.names.reading(), move |db, names| {
                Box::pin(store::stats(db, names, files_max, sessions_max, now_us))
            })
            .await?;
        Ok(convert::stats(stats))
    }
}
