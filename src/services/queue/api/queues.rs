//! UpdateQueue, GetQueue, ListQueues, DeleteQueue, Pause, Resume, UpdateKey, ListKeys.

use std::sync::Arc;

use pannier_proto::queue::v1 as pb;

use super::super::convert::{self, Parser};
use super::super::domain::Queue;
use super::super::{Core, RULES_TOPIC, store};
use super::cut;
use crate::error::Result;
use crate::page::Query;
use crate::storage::{Durability, Tx};

impl Core {
    pub(super) async fn update_queue(
        self: &Arc<Self>,
        mut request: pb::UpdateQueueRequest,
    ) -> Result<pb::UpdateQueueResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "UpdateQueue", &request);
        let mut given = request.queue.unwrap_or_default();
        let name = parser.queue_name("queue.name", std::mem::take(&mut given.name));
        let patch = parser.rules_patch(&given, request.update_mask.as_ref());
        parser.violations.check()?;
        self.change(Durability::Full, key, (name, patch), |step, core, (name, patch)| {
            Box::pin(async move {
                let (queue, created) = store::update(step, name, patch).await?;
                core.note_rules(step.tx, &queue);
                Ok(pb::UpdateQueueResponse { queue: Some(convert::queue(&queue)), created })
            })
        })
        .await
    }

    /// Has a queue's rules known after the commit, here and in other sidecars.
    fn note_rules(self: &Arc<Self>, tx: &Tx<'_>, queue: &Queue) {
        let (core, queue) = (self.clone(), Arc::new(queue.clone()));
        tx.after_commit(move || core.names.registry.set_written(queue));
        tx.wake(RULES_TOPIC.to_owned());
    }

    pub(super) async fn get_queue(
        self: &Arc<Self>,
        request: pb::GetQueueRequest,
    ) -> Result<pb::GetQueueResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let name = parser.queue_name("name", request.name);
        parser.violations.check()?;
        let queue = self.storage.read(name, |db, name| Box::pin(store::get_queue(db, name))).await?;
        Ok(pb::GetQueueResponse { queue: Some(convert::queue(&queue)) })
    }

    pub(super) async fn list_queues(
        self: &Arc<Self>,
        request: pb::ListQueuesRequest,
    ) -> Result<pb::ListQueuesResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let query = Query::of("queue.ListQueues", &[]);
        let after = query.key_of(&request.page_token)?;
        let mut queues = self
            .storage
            .read(after, move |db, after| {
                Box::pin(store::list_queues(db, after.as_deref(), rows_max.saturating_add(1)))
            })
            .await?;
        let next_page_token = cut(&mut queues, rows_max, |last| query.token(&last.name));
        Ok(pb::ListQueuesResponse { queues: queues.iter().map(convert::queue).collect(), next_page_token })
    }

    pub(super) async fn delete_queue(
        self: &Arc<Self>,
        mut request: pb::DeleteQueueRequest,
    ) -> Result<pb::DeleteQueueResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "DeleteQueue", &request);
        parser.plain_name(&|| "name".to_owned(), &request.name);
        parser.violations.check()?;
        self.change(Durability::Full, key, (request.name, request.force), |step, core, (name, force)| {
            Box::pin(async move {
                let tasks_max = core.count(core.settings.queue.batch_items_max);
                let deleted = store::delete_queue(step, name, *force, tasks_max).await?;
                core.note_removal(step.tx);
                Ok(pb::DeleteQueueResponse {
                    deleted: deleted.is_deleted,
                    deleted_task_count: deleted.tasks,
                    more: deleted.more,
                })
            })
        })
        .await
    }

    pub(super) async fn pause(self: &Arc<Self>, mut request: pb::PauseRequest) -> Result<pb::PauseResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Pause", &request);
        let queue = parser.queue_name("queue", request.queue);
        let types = parser.types("types", request.types);
        parser.violations.check()?;
        self.change(Durability::Full, key, (queue, types), |step, core, (queue, types)| {
            Box::pin(async move {
                let queue = store::pause(step, queue, types, true).await?;
                core.note_rules(step.tx, &queue);
                Ok(pb::PauseResponse {})
            })
        })
        .await
    }

    pub(super) async fn resume(
        self: &Arc<Self>,
        mut request: pb::ResumeRequest,
    ) -> Result<pb::ResumeResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Resume", &request);
        let queue = parser.queue_name("queue", request.queue);
        let types = parser.types("types", request.types);
        parser.violations.check()?;
        self.change(Durability::Full, key, (queue, types), |step, core, (queue, types)| {
            Box::pin(async move {
                let queue = store::pause(step, queue, types, false).await?;
                core.note_rules(step.tx, &queue);
                Ok(pb::ResumeResponse {})
            })
        })
        .await
    }

    pub(super) async fn update_key(
        self: &Arc<Self>,
        mut request: pb::UpdateKeyRequest,
    ) -> Result<pb::UpdateKeyResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "UpdateKey", &request);
        let queue = parser.queue_name("queue", request.queue);
        let given = request.key.unwrap_or_default();
        parser.key_text(&|| "key.name".to_owned(), &given.name);
        let limits = given.limits.as_ref().map(|limits| parser.key_limits("key.limits", limits));
        parser.violations.check()?;
        let input = (queue, given.name, limits);
        self.change(Durability::Full, key, input, |step, core, (queue, name, limits)| {
            Box::pin(async move {
                let keys_max = core.count(core.settings.queue.keys_max);
                let key = store::update_key(step, queue, name, *limits, keys_max).await?;
                Ok(pb::UpdateKeyResponse { key: Some(convert::key(key)) })
            })
        })
        .await
    }

    pub(super) async fn list_keys(
        self: &Arc<Self>,
        request: pb::ListKeysRequest,
    ) -> Result<pb::ListKeysResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let queue = parser.queue_name("queue", request.queue);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let query = Query::of("queue.ListKeys", &[&queue]);
        let after = query.key_of(&request.page_token)?;
        let mut keys = self
            .storage
            .read((self.clone(), queue, after), move |db, (core, queue, after)| {
                Box::pin(async move {
                    let Some(queue) = core.names.queue_to_keep(db, queue).await? else {
                        return Ok(Vec::new());
                    };
                    store::list_keys(db, queue.id, after.as_deref(), rows_max.saturating_add(1)).await
                })
            })
            .await?;
        let next_page_token = cut(&mut keys, rows_max, |last| query.token(&last.name));
        Ok(pb::ListKeysResponse { keys: keys.into_iter().map(convert::key).collect(), next_page_token })
    }
}
