//! Get, List, Logs, Stats.

use std::sync::Arc;

use pannier_proto::queue::v1 as pb;

use super::super::convert::{self, Parser};
use super::super::domain::State;
use super::super::effects::Tally;
use super::super::order::{Order, Requested};
use super::super::store::{self, Filter, Place, TypeNumbers};
use super::super::{Core, MINUTE_US};
use crate::answer::Budget;
use crate::error::{Error, Result};
use crate::page::Query;

/// Minutes that rates are averages over when the caller does not say, and at most.
const RATE_MINUTES: (i32, i32) = (5, 60);

impl Core {
    pub(super) async fn get(self: &Arc<Self>, request: pb::GetRequest) -> Result<pb::GetResponse> {
        self.do_what_is_due().await?;
        self.storage
            .read((self.clone(), request.task_id), |db, (core, task_id)| {
                Box::pin(async move {
                    let task = store::get(db, *task_id).await?.ok_or(Error::TaskNotFound)?;
                    let named = core.names.of_listed(db, task.type_id).await?;
                    Ok(pb::GetResponse { task: Some(convert::task(task, &named)) })
                })
            })
            .await
    }

    pub(super) async fn list(self: &Arc<Self>, request: pb::ListRequest) -> Result<pb::ListResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let queue = parser.queue_name("queue", request.queue.clone());
        let types = parser.types("types", request.types.clone());
        let listed = parser.listed(&request);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let conditions = format!("{listed:?}");
        let mut parts = vec![queue.as_str(), &conditions];
        parts.extend(types.iter().map(String::as_str));
        let query = Query::of("queue.List", &parts);
        let after = query.key_of(&request.page_token)?.map(|key| place(&key)).transpose()?;
        self.do_what_is_due().await?;

        let filter = Filter { after, rows_max: self.count(rows_max), budget: Budget::of_call(), ..listed };
        let (tasks, next) = self
            .storage
            .read((self.clone(), queue.clone(), types.clone(), filter), |db, (core, queue, types, filter)| {
                Box::pin(core.page(db, queue, types, filter))
            })
            .await?;
        let next_page_token = next.map(|next| token(&query, next));
        Ok(pb::ListResponse { tasks, next_page_token: next_page_token.unwrap_or_default() })
    }

    async fn page(
        &self,
        db: &crate::storage::Db<'_>,
        queue: &str,
        types: &[String],
        filter: &Filter,
    ) -> Result<(Vec<pb::Task>, Option<Place>)> {
        let Some(queue) = self.names.queue_to_keep(db, queue).await? else { return Ok((Vec::new(), None)) };
        let all = store::types_of(db, queue.id).await?;
        let type_ids: Vec<i64> = all
            .into_iter()
            .filter(|(_, name, _)| types.is_empty() || types.contains(name))
            .map(|(id, _, _)| id)
            .collect();
        if type_ids.is_empty() {
            return Ok((Vec::new(), None));
        }
        let page = store::list(db, &Filter { type_ids, ..filter.clone() }).await?;
        let mut tasks = Vec::with_capacity(page.tasks.len());
        for task in page.tasks {
            let named = self.names.of_listed(db, task.type_id).await?;
            tasks.push(convert::task(task, &named));
        }
        Ok((tasks, page.next))
    }

    pub(super) async fn logs(self: &Arc<Self>, request: pb::LogsRequest) -> Result<pb::LogsResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let query = Query::of("queue.Logs", &[&request.task_id.to_string()]);
        let skipped = match query.key_of(&request.page_token)? {
            Some(key) => key.parse().map_err(|_| Error::PageTokenInvalid)?,
            None => 0_usize,
        };
        self.do_what_is_due().await?;
        let events_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
        let found = self
            .storage
            .read(request.task_id, move |db, task_id| Box::pin(store::log(db, *task_id, skipped, events_max)))
            .await?;
        let (events, more) = found.ok_or(Error::TaskNotFound)?;
        let next = skipped.saturating_add(events.len()).to_string();
        Ok(pb::LogsResponse {
            events: events.into_iter().map(convert::event).collect(),
            next_page_token: if more { query.token(&next) } else { String::new() },
        })
    }

    pub(super) async fn stats(self: &Arc<Self>, request: pb::StatsRequest) -> Result<pb::StatsResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let queue = parser.queue_name("queue", request.queue);
        let types = parser.types("types", request.types);
        let minutes = if request.rate_minutes == 0 { RATE_MINUTES.0 } else { request.rate_minutes };
        if !(1..=RATE_MINUTES.1).contains(&minutes) {
            parser.violations.add("rate_minutes", format!("must be 0 to {}", RATE_MINUTES.1));
        }
        parser.violations.check()?;
        self.do_what_is_due().await?;
        let end = self.clock.steady_us() / MINUTE_US;
        let span = Span { first: end - i64::from(minutes), end };
        let types = self
            .storage
            .read((self.clone(), queue, types, span), |db, (core, queue, types, span)| {
                Box::pin(core.type_stats(db, queue, types, *span))
            })
            .await?;
        Ok(pb::StatsResponse { types })
    }

    async fn type_stats(
        &self,
        db: &crate::storage::Db<'_>,
        queue: &str,
        types: &[String],
        span: Span,
    ) -> Result<Vec<pb::TypeStats>> {
        let queue = self.names.queue_to_keep(db, queue).await?.ok_or(Error::QueueNotFound)?;
        let order = Order::of(&queue.rules, Requested::QueueDefault);
        let mut found = Vec::new();
        for (type_id, name, is_paused) in store::types_of(db, queue.id).await? {
            if types.is_empty() || types.contains(&name) {
                let numbers = store::numbers(db, type_id, order, span.first, span.end).await?;
                found.push(self.type_stat(name, is_paused, &numbers, span));
            }
        }
        Ok(found)
    }

    fn type_stat(&self, name: String, paused: bool, numbers: &TypeNumbers, span: Span) -> pb::TypeStats {
        let now_us = self.clock.steady_us();
        let tally: &Tally = &numbers.tally;
        let since = |us: i64| convert::duration((now_us - us).max(0));
        let each = |count: i64| count as f64 / (span.end - span.first) as f64;
        let average = |sum_us: i64, count: i64| (count > 0).then(|| convert::duration(sum_us / count));
        pb::TypeStats {
            r#type: name,
            paused,
            counts: State::ALL
                .into_iter()
                .zip(tally.states)
                .filter(|(_, count)| *count > 0)
                .map(|(state, count)| pb::StateCount { state: convert::state(state).into(), count })
                .collect(),
            next_task_wait: numbers.head_us.map(since),
            priority_waits: numbers
                .oldest
                .iter()
                .map(|(priority, us)| pb::PriorityWait {
                    priority: i32::try_from(*priority).unwrap_or(i32::MAX),
                    oldest_wait: Some(since(*us)),
                })
                .collect(),
            oldest_claim_age: numbers.oldest_claim_us.map(since),
            next_run_time: numbers.next_run_us.map(convert::timestamp),
            enqueued_per_minute: each(tally.enqueued),
            claimed_per_minute: each(tally.claimed),
            completed_per_minute: each(tally.completed),
            failed_per_minute: each(tally.failed),
            lost_per_minute: each(tally.lost),
            wait_average: average(tally.wait_us, tally.claimed),
            run_average: average(tally.run_us, tally.completed),
        }
    }
}

/// The Unix minutes that rates are averages over.
#[derive(Clone, Copy)]
struct Span {
    first: i64,
    end: i64,
}

/// The token of the page behind a place.
pub(super) fn token(query: &Query, place: Place) -> String {
    query.token(&format!("{}:{}:{}", place.level, place.key, place.id))
}

/// The place that a token holds.
pub(super) fn place(key: &str) -> Result<Place> {
    let numbers: Vec<i64> = key.split(':').filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [level, key, id] => Ok(Place { level, key, id }),
        _ => Err(Error::PageTokenInvalid),
    }
}
