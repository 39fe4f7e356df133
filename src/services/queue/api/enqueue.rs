//! Enqueue and BatchEnqueue: the one is the other of one.

use std::sync::Arc;

use pannier_proto::queue::v1 as pb;

use super::super::Core;
use super::super::convert::Parser;
use crate::error::Result;
use crate::storage::Durability;

impl Core {
    pub(super) async fn enqueue(
        self: &Arc<Self>,
        mut request: pb::EnqueueRequest,
    ) -> Result<pb::EnqueueResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Enqueue", &request);
        let operation = self.prepare_enqueue(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    pub(super) async fn batch_enqueue(
        self: &Arc<Self>,
        mut request: pb::BatchEnqueueRequest,
    ) -> Result<pb::BatchEnqueueResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "BatchEnqueue", &request);
        let operation = self.prepare_batch_enqueue(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }
}
