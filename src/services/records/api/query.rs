//! Query.

use pannier_proto::records::v1 as pb;

use super::super::Records;
use super::super::convert::{self, Parser};
use super::super::query::Place;
use super::super::store::{self, Wanted};
use crate::error::{Error, Result};
use crate::{deadline, page};

impl Records {
    pub(super) async fn query(&self, request: pb::QueryRequest) -> Result<pb::QueryResponse> {
        let mut parser = Parser::new(&self.settings.records);
        let query = parser.query(&request);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        // Of what was parsed, which does not depend on how it was written.
        let asked = format!("{query:?}");
        let token = page::Query::of("records.Query", &[&request.collection, &asked]);
        let after = token.key_of(&request.page_token)?;
        let after = after.map(|text| Place::read(&text).ok_or(Error::PageTokenInvalid)).transpose()?;
        let wanted = Wanted {
            page: self.page(after, rows_max),
            scan_rows_max: self.settings.records.query_scan_rows_max,
            sort_rows_max: self.settings.records.query_sort_rows_max,
            scan_bytes_max: self.settings.records.query_scan_bytes_max,
            deadline: deadline::current(),
        };
        let found = self
            .storage
            .read((request.collection, query, wanted), |db, (collection, query, wanted)| {
                Box::pin(store::query(db, collection, query, wanted))
            })
            .await?;
        let next_page_token =
            found.next.as_ref().map(|next| token.token(&next.written())).unwrap_or_default();
        Ok(convert::found(found, next_page_token))
    }
}
