//! Changes: what changed after a cursor.

use pannier_proto::records::v1 as pb;

use super::super::Records;
use super::super::convert::{self, Parser};
use super::super::store;
use crate::answer::Budget;
use crate::error::Result;

impl Records {
    pub(super) async fn changes(&self, request: pb::ChangesRequest) -> Result<pb::ChangesResponse> {
        let mut parser = Parser::new(&self.settings.records);
        parser.name("collection", &request.collection);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let start = convert::position(&request.collection, &request.cursor)?;
        let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
        let budget = Budget::of_call();
        let collection = request.collection.clone();
        let changes = self
            .storage
            .read(request, move |db, request| {
                Box::pin(store::changes(db, &request.collection, start, rows_max, budget))
            })
            .await?;
        Ok(pb::ChangesResponse {
            cursor: convert::cursor(&collection, &changes.position),
            changes: changes.records.into_iter().map(convert::record).collect(),
            more: changes.more,
        })
    }
}
