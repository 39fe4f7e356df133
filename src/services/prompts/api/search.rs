//! Search and Stats.

use pannier_proto::prompts::v1 as pb;

use super::super::Prompts;
use super::super::convert::{self, Parser};
use super::super::store::{self, SearchPage};
use crate::answer::Budget;
use crate::convert::prepared;
use crate::error::Result;

impl Prompts {
    pub(super) async fn search(&self, request: pb::SearchRequest) -> Result<pb::SearchResponse> {
        let mut parser = Parser::new(&self.settings.prompts);
        let query = convert::search_query(&request.query, request.filter.as_ref());
        let wanted = parser.wanted(&request.query);
        let filter = parser.filter(request.filter);
        let markers = parser.markers(request.highlight_start, request.highlight_end);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let bound = |bound: u64| usize::try_from(bound).unwrap_or(usize::MAX);
        let budget = Budget::of_call();
        let page = SearchPage {
            from: convert::place_of(query, &request.page_token)?,
            rows_max: bound(rows_max),
            budget,
            scan_rows_max: bound(self.settings.prompts.scan_rows_max),
            ranked_max: bound(self.settings.prompts.search_ranked_max),
        };
        let input = (wanted.clone(), filter, page);
        let found = self
            .storage
            .read(input, |db, (wanted, filter, page)| Box::pin(store::search(db, wanted, filter, page)))
            .await?;
        let bytes =
            found.hits.iter().filter_map(|hit| hit.prompt.body.as_ref()).map(|body| body.bytes()).sum();
        let (hits, with_bodies) = (found.hits, request.with_bodies);
        let cut = move || convert::hits(hits, &wanted, &markers, with_bodies, budget);
        let (hits, left) = prepared(bytes, cut).await?;
        let next = left.or(found.next);
        Ok(pb::SearchResponse {
            hits,
            next_page_token: next.map(|place| convert::search_token(query, place)).unwrap_or_default(),
            truncated: found.is_truncated,
            indexing: found.is_indexing,
        })
    }

    pub(super) async fn stats(&self, request: pb::StatsRequest) -> Result<pb::StatsResponse> {
        let mut parser = Parser::new(&self.settings.prompts);
        let asked = parser.asked(request);
        parser.violations.check()?;
        let (total, groups) = self.storage.read(asked, |db, asked| Box::pin(store::stats(db, asked))).await?;
        Ok(pb::StatsResponse {
            total: Some(convert::total(&total)),
            groups: groups.into_iter().map(convert::group).collect(),
        })
    }
}
