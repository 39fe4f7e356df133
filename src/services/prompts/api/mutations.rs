//! What changes prompts, prepared for a call of its own or for a commit.

use std::collections::BTreeSet;

use pannier_proto::prompts::v1 as pb;

use super::super::Prompts;
use super::super::convert::{self, Parser};
use super::super::domain::{NewPrompt, Saved};
use super::super::store::{self, Saving};
use crate::batch::{Batch, only};
use crate::error::Result;
use crate::status::ItemErrors;
use crate::storage::Operation;

impl Prompts {
    pub(in crate::services) fn prepare_save(
        &self,
        parser: &mut Parser<'_>,
        request: pb::SaveRequest,
    ) -> Operation<pb::SaveResponse> {
        let durability = parser.durability("durability", request.durability);
        let now_us = self.clock.now_us();
        let prompt = request.prompt.unwrap_or_default();
        let batch = parser.item("prompt", prompt, |parser, new| parser.new_prompt(new, now_us));
        self.prepare_saving(batch).surviving(durability).try_map(|saved| {
            let saved = only(saved.results)?;
            Ok(pb::SaveResponse { prompt_id: saved.prompt_id, existed: saved.existed })
        })
    }

    pub(in crate::services) fn prepare_batch_save(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchSaveRequest,
    ) -> Operation<pb::BatchSaveResponse> {
        let durability = parser.durability("durability", request.durability);
        let failing = parser.failing(request.atomic);
        let batch = parser.new_prompts(request.prompts, failing, self.clock.now_us());
        self.prepare_saving(batch).surviving(durability)
    }

    /// The one way to save prompts.
    pub(super) fn prepare_saving(&self, batch: Batch<NewPrompt>) -> Operation<pb::BatchSaveResponse> {
        let now_us = self.clock.now_us();
        let items = batch.count();
        let conversations: BTreeSet<&str> =
            batch.items.iter().map(|new| new.conversation_id.as_str()).collect();
        let named = conversations.into_iter().filter(|name| !name.is_empty());
        let locks: Vec<_> = named.map(store::lock_of_conversation).collect();
        let batch = batch.map(Saving::new);
        let operation = Operation::new((self.names.clone(), batch), move |tx, (names, batch)| {
            Box::pin(async move {
                let results = batch.results(store::save(tx, names, &batch.items, now_us).await?)?;
                let mut errors = ItemErrors::default();
                let result = |saved: Result<_>| match saved {
                    Ok(Saved { id, existed }) => pb::BatchSaveResult { prompt_id: id, existed, error: None },
                    Err(error) => {
                        pb::BatchSaveResult { error: Some(errors.of(&error)), ..Default::default() }
                    }
                };
                Ok(pb::BatchSaveResponse { results: results.into_iter().map(result).collect() })
            })
        });
        operation.of_items(items).locking(locks)
    }

    pub(in crate::services) fn prepare_score(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ScoreRequest,
    ) -> Operation<pb::ScoreResponse> {
        let durability = parser.durability("durability", request.durability);
        let id = parser.prompt_id(&|| "prompt_id".to_owned(), request.prompt_id);
        let scoring = parser.scoring(request.set, request.remove, self.clock.now_us());
        let scores_max = i64::try_from(self.settings.prompts.scores_max).unwrap_or(i64::MAX);
        let operation = Operation::new(scoring, move |tx, scoring| {
            Box::pin(async move {
                let scores = store::score(tx, id, scoring, scores_max).await?;
                Ok(pb::ScoreResponse { scores: convert::scores(scores) })
            })
        });
        operation.surviving(durability).locking([store::lock_of_prompt(id)])
    }

    pub(in crate::services) fn prepare_batch_score(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchScoreRequest,
    ) -> Operation<pb::BatchScoreResponse> {
        let durability = parser.durability("durability", request.durability);
        let failing = parser.failing(request.atomic);
        let limit = (self.settings.prompts.batch_prompts_max, "prompts.batch_prompts_max");
        let now_us = self.clock.now_us();
        let batch = parser.items("items", request.items, limit, failing, |parser, item| {
            let id = parser.prompt_id(&|| "prompt_id".to_owned(), item.prompt_id);
            (id, parser.scoring(item.set, item.remove, now_us))
        });
        let scores_max = i64::try_from(self.settings.prompts.scores_max).unwrap_or(i64::MAX);
        let ids: BTreeSet<i64> = batch.items.iter().map(|(id, _)| *id).collect();
        let items = batch.count();
        let operation = Operation::new(batch, move |tx, batch| {
            Box::pin(async move {
                let results = batch.results(store::score_all(tx, &batch.items, scores_max).await?)?;
                let mut errors = ItemErrors::default();
                let result = |count: Result<usize>| match count {
                    Ok(count) => pb::BatchScoreResult {
                        score_count: i32::try_from(count).unwrap_or(i32::MAX),
                        error: None,
                    },
                    Err(error) => {
                        pb::BatchScoreResult { error: Some(errors.of(&error)), ..Default::default() }
                    }
                };
                Ok(pb::BatchScoreResponse { results: results.into_iter().map(result).collect() })
            })
        });
        operation.surviving(durability).of_items(items).locking(ids.into_iter().map(store::lock_of_prompt))
    }

    pub(in crate::services) fn prepare_tag(
        &self,
        parser: &mut Parser<'_>,
        request: pb::TagRequest,
    ) -> Operation<pb::TagResponse> {
        let durability = parser.durability("durability", request.durability);
        let id = parser.prompt_id(&|| "prompt_id".to_owned(), request.prompt_id);
        let tagging = parser.tagging(request.add, request.remove);
        let tags_max = i64::try_from(self.settings.prompts.tags_max).unwrap_or(i64::MAX);
        let operation = Operation::new(tagging, move |tx, tagging| {
            Box::pin(
                async move { Ok(pb::TagResponse { tags: store::tag(tx, id, tagging, tags_max).await? }) },
            )
        });
        operation.surviving(durability).locking([store::lock_of_prompt(id)])
    }

    pub(in crate::services) fn prepare_delete(
        &self,
        parser: &mut Parser<'_>,
        request: pb::DeleteRequest,
    ) -> Operation<pb::DeleteResponse> {
        let durability = parser.durability("durability", request.durability);
        let id = parser.prompt_id(&|| "prompt_id".to_owned(), request.prompt_id);
        let deleting = self.prepare_deleting(vec![id]).surviving(durability);
        deleting.map(|deleted| pb::DeleteResponse { deleted: deleted.deleted_count > 0 })
    }

    pub(in crate::services) fn prepare_batch_delete(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchDeleteRequest,
    ) -> Operation<pb::BatchDeleteResponse> {
        let durability = parser.durability("durability", request.durability);
        let ids = parser.prompt_ids(&request.prompt_ids);
        self.prepare_deleting(ids).surviving(durability)
    }

    /// The one way to delete prompts. It begins with the locks of their conversations, which are not known yet.
    fn prepare_deleting(&self, ids: Vec<i64>) -> Operation<pb::BatchDeleteResponse> {
        let items = ids.len();
        let operation = Operation::new(ids, |tx, ids| {
            Box::pin(
                async move { Ok(pb::BatchDeleteResponse { deleted_count: store::remove(tx, ids).await? }) },
            )
        });
        operation.of_items(items)
    }
}
