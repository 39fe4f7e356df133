//! Search and Stats.

use std::time::Instant;

use pannier_proto::prompts::v1 as pb;

use super::super::Prompts;
use super::super::convert::{self, Parser};
use super::super::domain::Body;
use super::super::filter::{Filter, Next, Order};
use super::super::store::{self, Bodies, Page, Place, SearchPage};
use crate::answer::Budget;
use crate::clock;
use crate::convert::prepared;
use crate::deadline;
use crate::error::Result;
use crate::storage::text_index::Wanted;

impl Prompts {
    pub(super) async fn search(&self, request: pb::SearchRequest) -> Result<pb::SearchResponse> {
        let mut parser = Parser::new(&self.settings.prompts);
        let query = convert::search_query(&request);
        let is_substring = parser.is_substring(request.r#match);
        let needle = is_substring.then(|| parser.needle(&request.query));
        let wanted = if is_substring { Wanted::default() } else { parser.wanted(&request.query) };
        let filter = Filter { substring: needle.clone(), ..parser.filter(request.filter) };
        let markers = parser.markers(request.highlight_start, request.highlight_end);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        let skip = parser.offset(request.offset, &request.page_token);
        parser.violations.check()?;
        let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
        let with_bodies = request.with_bodies;
        if let Some(needle) = needle {
            let next = convert::next_of(query, &request.page_token, Order::Newest)?;
            let page = Page {
                after: next.map(|next| next.after),
                skip: next.map_or(skip, |next| next.skip),
                until: half_time(),
                rows_max,
                bodies: Bodies::Read,
                ..self.page()
            };
            let budget = page.budget;
            let (found, next) = self.read_page(filter, Order::Newest, page).await?;
            let bytes = found.iter().filter_map(|prompt| prompt.body.as_ref()).map(Body::bytes).sum();
            let cut = move || convert::substring_hits(found, &needle, &markers, with_bodies, budget);
            let (hits, left) = prepared(bytes, cut).await?;
            let next = left.map(|after| Next { after, skip: 0 }).or(next);
            return Ok(pb::SearchResponse {
                hits,
                next_page_token: next.map(|next| query.token(&next.text())).unwrap_or_default(),
                ..Default::default()
            });
        }
        let page = self.search_page(convert::place_of(query, &request.page_token)?, rows_max, skip);
        let budget = page.budget;
        let input = (wanted.clone(), filter, page);
        let found = self
            .storage
            .read(input, |db, (wanted, filter, page)| Box::pin(store::search(db, wanted, filter, page)))
            .await?;
        let bytes = found.hits.iter().filter_map(|hit| hit.prompt.body.as_ref()).map(Body::bytes).sum();
        let hits = found.hits;
        let cut = move || convert::hits(hits, &wanted, &markers, with_bodies, budget);
        let (hits, left) = prepared(bytes, cut).await?;
        let next = left.or(found.next);
        Ok(pb::SearchResponse {
            hits,
            next_page_token: next.map(|place| convert::search_token(query, place)).unwrap_or_default(),
            truncated: found.is_truncated,
            indexing: found.is_indexing,
            search_truncated: found.is_partial,
        })
    }

    fn search_page(&self, from: Option<Place>, rows_max: usize, skip: usize) -> SearchPage {
        let bound = |bound: u64| usize::try_from(bound).unwrap_or(usize::MAX);
        SearchPage {
            from,
            skip,
            rows_max,
            budget: Budget::of_call(),
            scan_rows_max: bound(self.settings.prompts.scan_rows_max),
            ranked_max: bound(self.settings.prompts.search_ranked_max),
        }
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

/// When half of the call's time is over: what was found by then can still be answered.
fn half_time() -> Option<Instant> {
    let now = clock::instant();
    deadline::current().map(|deadline| now + deadline.saturating_duration_since(now) / 2)
}
