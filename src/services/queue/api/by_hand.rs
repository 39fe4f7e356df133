//! Cancel, Retry, Redrive.

use std::sync::Arc;

use pannier_proto::queue::v1 as pb;

use super::super::convert::Parser;
use super::super::{Core, store};
use super::reads::{place, token};
use crate::error::{Error, Result};
use crate::page::Query;
use crate::storage::Durability;

impl Core {
    pub(super) async fn cancel(
        self: &Arc<Self>,
        mut request: pb::CancelRequest,
    ) -> Result<pb::CancelResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Cancel", &request);
        let operation = self.prepare_cancel(&mut parser, request);
        parser.violations.check()?;
        self.do_what_is_due().await?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    pub(super) async fn retry(self: &Arc<Self>, mut request: pb::RetryRequest) -> Result<pb::RetryResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Retry", &request);
        let operation = self.prepare_retry(&mut parser, request);
        parser.violations.check()?;
        self.do_what_is_due().await?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    pub(super) async fn redrive(
        self: &Arc<Self>,
        mut request: pb::RedriveRequest,
    ) -> Result<pb::RedriveResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Redrive", &request);
        let queue = parser.queue_name("queue", request.queue);
        let types = parser.types("types", request.types);
        let max = self.settings.queue.batch_items_max;
        let most = match u64::try_from(request.max_tasks) {
            Ok(0) => max,
            Ok(most) if most <= max => most,
            _ => {
                let message = format!("must be 0 to {max} (queue.batch_items_max)");
                parser.violations.add("max_tasks", message);
                0
            }
        };
        parser.violations.check()?;
        let mut parts = vec![queue.as_str()];
        parts.extend(types.iter().map(String::as_str));
        let query = Query::of("queue.Redrive", &parts);
        let after = query.key_of(&request.page_token)?.map(|key| place(&key)).transpose()?;
        let first_us = self.clock.steady_range_us(usize::try_from(most).unwrap_or(usize::MAX));
        let input = (queue, types, self.count(most), (query, after, first_us));
        self.change(
            Durability::Full,
            key,
            input,
            |step, _, (queue, types, most, (query, after, first_us))| {
                Box::pin(async move {
                    let (names, tx) = (step.names, step.tx);
                    let queue = names.queue(tx, queue).await?.ok_or(Error::QueueNotFound)?;
                    let all = store::types_of(tx, queue.id).await?;
                    let type_ids: Vec<i64> = all
                        .into_iter()
                        .filter(|(_, name, _)| types.is_empty() || types.contains(name))
                        .map(|(id, _, _)| id)
                        .collect();
                    let redriven = store::redrive(step, &type_ids, *most, *after, *first_us).await?;
                    Ok(pb::RedriveResponse {
                        redriven_count: redriven.count,
                        next_page_token: redriven.next.map(|next| token(query, next)).unwrap_or_default(),
                        skipped_count: redriven.skipped,
                    })
                })
            },
        )
        .await
    }
}
