//! Create, Get, List, Delete, Stats.

use pannier_proto::jobs::v1 as pb;

use super::super::Jobs;
use super::super::convert::{self, Parser};
use super::super::store::{self, Filter, JobKey, Metadata, Page};
use crate::answer::Budget;
use crate::error::{Error, Result};
use crate::page::Query;
use crate::storage::Durability;

impl Jobs {
    pub(super) async fn create(&self, mut request: pb::CreateRequest) -> Result<pb::CreateResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Create", &request);
        let operation = self.prepare_create(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    pub(super) async fn get(&self, request: pb::GetRequest) -> Result<pb::GetResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.uuid("job_id", &request.job_id);
        parser.violations.check()?;
        let job = self.storage.read(id, |db, id| Box::pin(store::find(db, *id, Metadata::Read))).await?;
        Ok(pb::GetResponse { job: Some(convert::job(job)) })
    }

    pub(super) async fn list(&self, request: pb::ListRequest) -> Result<pb::ListResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let mut filter = parser.filter(&request.statuses, request.r#type, request.oldest_first);
        let (from, before) = (request.create_time_from, request.create_time_before);
        parser.range(&mut filter, from.as_ref(), before.as_ref());
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let query = query(&filter);
        let after = query.key_of(&request.page_token)?.map(|key| job_key(&key)).transpose()?;

        let page = Page {
            after,
            rows_max: usize::try_from(rows_max).unwrap_or(usize::MAX),
            budget: Budget::of_call(),
        };
        let (jobs, more) = self
            .storage
            .read((filter, page), |db, (filter, page)| Box::pin(store::list(db, filter, *page)))
            .await?;
        let next_page_token = match jobs.last() {
            Some(last) if more => query.token(&format!("{},{}", last.create_us, last.row_id)),
            _ => String::new(),
        };
        Ok(pb::ListResponse { jobs: jobs.into_iter().map(convert::job).collect(), next_page_token })
    }

    pub(super) async fn delete(&self, mut request: pb::DeleteRequest) -> Result<pb::DeleteResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Delete", &request);
        let operation = self.prepare_delete(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    pub(super) async fn stats(&self, request: pb::StatsRequest) -> Result<pb::StatsResponse> {
        let mut parser = Parser::new(&self.settings.jobs);
        let mut filter = parser.filter(&[], request.r#type, false);
        let (from, before) = (request.create_time_from, request.create_time_before);
        parser.range(&mut filter, from.as_ref(), before.as_ref());
        parser.violations.check()?;
        let jobs_max = self.settings.jobs.stats_jobs_max;
        let stats =
            self.storage.read(filter, move |db, filter| Box::pin(store::stats(db, filter, jobs_max))).await?;
        Ok(convert::stats(stats))
    }
}

/// The query of a list, which its page tokens belong to.
fn query(filter: &Filter) -> Query {
    let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.name()).collect();
    let time = |us: Option<i64>| us.map_or_else(String::new, |us| us.to_string());
    let (from, before) = (time(filter.from_us), time(filter.before_us));
    let order = if filter.oldest_first { "oldest" } else { "newest" };
    let parts = [&statuses.join(","), filter.job_type.as_str(), &from, &before, order];
    Query::of("jobs.List", &parts)
}

fn job_key(text: &str) -> Result<JobKey> {
    let key = text
        .split_once(',')
        .and_then(|(create_us, row_id)| Some((create_us.parse().ok()?, row_id.parse().ok()?)));
    key.ok_or(Error::PageTokenInvalid)
}
