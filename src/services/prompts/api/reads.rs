//! Get, BatchGet, List, ListConversations.

use pannier_proto::prompts::v1 as pb;

use super::super::Prompts;
use super::super::convert::{self, Parser};
use super::super::domain::Prompt;
use super::super::filter::{Filter, Next, Order};
use super::super::store::{self, Bodies, Page};
use crate::answer::Budget;
use crate::error::{Error, Result};
use crate::page::Query;

impl Prompts {
    pub(super) async fn get(&self, request: pb::GetRequest) -> Result<pb::GetResponse> {
        let mut parser = Parser::new(&self.settings.prompts);
        let id = parser.prompt_id(&|| "prompt_id".to_owned(), request.prompt_id);
        parser.violations.check()?;
        let (mut found, _) = self.find(vec![id], Bodies::Read).await?;
        let prompt = found.pop().ok_or(Error::PromptNotFound)?;
        Ok(pb::GetResponse { prompt: Some(convert::prompt(prompt)) })
    }

    pub(super) async fn batch_get(&self, request: pb::BatchGetRequest) -> Result<pb::BatchGetResponse> {
        let mut parser = Parser::new(&self.settings.prompts);
        let ids = parser.prompt_ids(&request.prompt_ids);
        parser.violations.check()?;
        let bodies = if request.without_bodies { Bodies::Left } else { Bodies::Read };
        let (found, remaining_prompt_ids) = self.find(ids, bodies).await?;
        let prompts = found.into_iter().map(convert::prompt).collect();
        Ok(pb::BatchGetResponse { prompts, remaining_prompt_ids })
    }

    async fn find(&self, ids: Vec<i64>, bodies: Bodies) -> Result<(Vec<Prompt>, Vec<i64>)> {
        let budget = Budget::of_call();
        self.storage.read(ids, move |db, ids| Box::pin(store::find(db, ids, bodies, budget))).await
    }

    pub(super) async fn list(&self, request: pb::ListRequest) -> Result<pb::ListResponse> {
        let mut parser = Parser::new(&self.settings.prompts);
        let order = parser.order(request.order, Order::Newest);
        let query = convert::query("prompts.List", request.filter.as_ref(), order);
        let filter = parser.filter(request.filter);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        let skip = parser.offset(request.offset, &request.page_token);
        parser.violations.check()?;
        let next = convert::next_of(query, &request.page_token, order)?;
        let page = Page {
            after: next.map(|next| next.after),
            skip: next.map_or(skip, |next| next.skip),
            rows_max: usize::try_from(rows_max).unwrap_or(usize::MAX),
            bodies: if request.with_bodies { Bodies::Read } else { Bodies::Left },
            ..self.page()
        };
        let (prompts, next) = self.read_page(filter, order, page).await?;
        Ok(pb::ListResponse {
            prompts: prompts.into_iter().map(convert::prompt).collect(),
            next_page_token: next.map(|next| query.token(&next.text())).unwrap_or_default(),
        })
    }

    /// A page as large as the settings allow.
    pub(super) fn page(&self) -> Page {
        Page {
            after: None,
            skip: 0,
            until: None,
            rows_max: usize::try_from(self.settings.server.page_size_max).unwrap_or(usize::MAX),
            budget: Budget::of_call(),
            scan_rows_max: usize::try_from(self.settings.prompts.scan_rows_max).unwrap_or(usize::MAX),
            bodies: Bodies::Left,
        }
    }

    /// Reads a page of a list.
    pub(super) async fn read_page(
        &self,
        filter: Filter,
        order: Order,
        page: Page,
    ) -> Result<(Vec<Prompt>, Option<Next>)> {
        let input = (filter, page);
        let read = self
            .storage
            .read(input, move |db, (filter, page)| Box::pin(store::list(db, filter, order, page)));
        read.await
    }

    pub(super) async fn list_conversations(
        &self,
        request: pb::ListConversationsRequest,
    ) -> Result<pb::ListConversationsResponse> {
        let mut parser = Parser::new(&self.settings.prompts);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let query = Query::of("prompts.ListConversations", &[]);
        let key = |text: String| {
            let (last_us, number) = text.split_once(':')?;
            Some((last_us.parse().ok()?, number.parse().ok()?))
        };
        let after = query.key_of(&request.page_token)?;
        let after: Option<(i64, i64)> =
            after.map(|text| key(text).ok_or(Error::PageTokenInvalid)).transpose()?;
        let (found, next) = self
            .storage
            .read(after, move |db, after| Box::pin(store::list_conversations(db, *after, rows_max)))
            .await?;
        Ok(pb::ListConversationsResponse {
            conversations: found.into_iter().map(convert::conversation).collect(),
            next_page_token: next.map(|(us, id)| query.token(&format!("{us}:{id}"))).unwrap_or_default(),
        })
    }
}
