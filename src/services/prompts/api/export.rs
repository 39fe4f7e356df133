//! Export: all prompts that a filter takes, a bounded piece at a time.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use pannier_proto::prompts::v1 as pb;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::super::Prompts;
use super::super::convert::{self, Parser};
use super::super::filter::{Filter, Order};
use super::super::store::{Bodies, Page};
use crate::answer::Budget;
use crate::deadline;
use crate::error::Result;
use crate::page::Query;
use crate::status;

/// The messages of an export.
pub(super) type Messages = BoxStream<'static, std::result::Result<pb::ExportResponse, Status>>;

/// Prompts of one message.
const ROWS_MAX: usize = 1_000;

/// Bytes of one message, if the caller accepts that.
const BYTES_MAX: usize = 1024 * 1024;

/// An export that runs. It holds no transaction: each message is a read of its own, from where the last one ended.
struct Export {
    prompts: Arc<Prompts>,
    filter: Filter,
    order: Order,
    query: Query,
    page: Page,
    _permit: OwnedSemaphorePermit,
}

impl Prompts {
    pub(super) fn export(self: &Arc<Self>, request: pb::ExportRequest) -> Result<Messages> {
        let mut parser = Parser::new(&self.settings.prompts);
        let order = parser.order(request.order, Order::Oldest);
        let query = convert::query("prompts.Export", request.filter.as_ref(), order);
        let filter = parser.filter(request.filter);
        parser.violations.check()?;
        let page = Page {
            after: convert::next_of(query, &request.page_token, order)?.map(|next| next.after),
            rows_max: ROWS_MAX,
            budget: Budget::of_call().at_most(BYTES_MAX),
            bodies: if request.without_bodies { Bodies::Left } else { Bodies::Read },
            ..self.page()
        };
        let permit = self.exports.acquire()?;
        let export = Export { prompts: self.clone(), filter, order, query, page, _permit: permit };
        let messages = stream::unfold(Some(export), |export| async move {
            let mut export = export?;
            match export.next().await {
                Ok((message, is_last)) => Some((Ok(message), (!is_last).then_some(export))),
                Err(error) => Some((Err(status::of(error)), None)),
            }
        });
        Ok(messages.boxed())
    }
}

impl Export {
    /// The next piece; and whether it is the last.
    async fn next(&mut self) -> Result<(pb::ExportResponse, bool)> {
        let read = self.prompts.read_page(self.filter.clone(), self.order, self.page);
        let (prompts, next) = deadline::scope(self.prompts.step_deadline(), read).await?;
        self.page.after = next.map(|next| next.after);
        let message = pb::ExportResponse {
            prompts: prompts.into_iter().map(convert::prompt).collect(),
            next_page_token: next.map(|next| self.query.token(&next.text())).unwrap_or_default(),
        };
        Ok((message, next.is_none()))
    }
}
