//! Get, BatchGet and List.

use pannier_proto::records::v1 as pb;

use super::super::Records;
use super::super::convert::{self, Parser};
use super::super::store;
use crate::answer::Budget;
use crate::error::{Error, Result};
use crate::page::Query;

impl Records {
    pub(super) async fn get(&self, request: pb::GetRequest) -> Result<pb::GetResponse> {
        let mut parser = Parser::new(&self.settings.records);
        parser.name("collection", &request.collection);
        parser.key(&|| "key".to_owned(), &request.key);
        parser.violations.check()?;
        let record = self
            .storage
            .read(request, |db, request| Box::pin(store::find_record(db, &request.collection, &request.key)))
            .await?;
        Budget::of_call().take(store::record_bytes(&record), || record.key.clone())?;
        Ok(pb::GetResponse { record: Some(convert::record(record)) })
    }

    pub(super) async fn batch_get(&self, request: pb::BatchGetRequest) -> Result<pb::BatchGetResponse> {
        let mut parser = Parser::new(&self.settings.records);
        parser.name("collection", &request.collection);
        let max = parser.settings.batch_items_max;
        if parser.batch("keys", request.keys.len(), max, "records.batch_items_max") {
            for (index, key) in request.keys.iter().enumerate() {
                parser.key(&|| format!("keys[{index}]"), key);
            }
        }
        parser.violations.check()?;
        let keys = request.keys.clone();
        let budget = Budget::of_call();
        let found = self
            .storage
            .read(request, move |db, request| {
                Box::pin(store::find_records(db, &request.collection, &request.keys, budget))
            })
            .await?;
        let left_off_count = i32::try_from(keys.len() - found.len()).unwrap_or(i32::MAX);
        let results = keys
            .into_iter()
            .zip(found)
            .map(|(key, record)| pb::BatchGetResult { key, record: record.map(convert::record) });
        Ok(pb::BatchGetResponse { results: results.collect(), left_off_count })
    }

    pub(super) async fn list(&self, request: pb::ListRequest) -> Result<pb::ListResponse> {
        let mut parser = Parser::new(&self.settings.records);
        parser.name("collection", &request.collection);
        parser.prefix(&request.prefix);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        let is_by_key = match pb::ListOrder::try_from(request.order) {
            Ok(pb::ListOrder::Unspecified | pb::ListOrder::Key) => true,
            Ok(pb::ListOrder::Newest) => {
                if !request.prefix.is_empty() {
                    parser.violations.add("prefix", "goes with the order KEY only: Query can have both");
                }
                false
            }
            Err(_) => {
                parser.violations.add("order", format!("{} is no ListOrder", request.order));
                true
            }
        };
        parser.violations.check()?;
        if is_by_key {
            self.list_by_key(request, rows_max).await
        } else {
            self.newest(request, rows_max).await
        }
    }

    async fn list_by_key(&self, request: pb::ListRequest, rows_max: u64) -> Result<pb::ListResponse> {
        let query = Query::of("records.List", &[&request.collection, &request.prefix]);
        let page = self.page(query.key_of(&request.page_token)?, rows_max);
        let (found, more) = self
            .storage
            .read((request, page), |db, (request, page)| {
                Box::pin(store::list(db, &request.collection, &request.prefix, page))
            })
            .await?;
        let next_page_token = match found.last() {
            Some(last) if more => query.token(&last.key),
            _ => String::new(),
        };
        let records = found.into_iter().map(convert::record).collect();
        Ok(pb::ListResponse { records, next_page_token })
    }

    async fn newest(&self, request: pb::ListRequest, rows_max: u64) -> Result<pb::ListResponse> {
        let query = Query::of("records.List newest", &[&request.collection]);
        let before = query.key_of(&request.page_token)?;
        let before = before.map(|text| text.parse().map_err(|_| Error::PageTokenInvalid)).transpose()?;
        let page = self.page(before, rows_max);
        let (found, next) = self
            .storage
            .read((request, page), |db, (request, page)| {
                Box::pin(store::page_of_changes(db, &request.collection, page))
            })
            .await?;
        let next_page_token = next.map(|seq| query.token(&seq.to_string())).unwrap_or_default();
        let records = found.into_iter().map(convert::record).collect();
        Ok(pb::ListResponse { records, next_page_token })
    }
}
