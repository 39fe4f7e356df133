//! Start, Extend, Complete, Fail, Release, Snooze: each a Settle of one.

use std::sync::Arc;

use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::outcome::What;

use super::super::Core;
use super::super::convert::Parser;
use super::exchange::Exchange;
use super::only;
use crate::error::{Error, Result};

/// A single outcome: the fields that all these requests have, and what happened.
macro_rules! outcome {
    ($method:ident, $name:literal, $request:ident => $response:ident, $what:expr) => {
        pub(super) async fn $method(self: &Arc<Self>, mut request: pb::$request) -> Result<pb::$response> {
            let request_id = std::mem::take(&mut request.request_id);
            let key = |id| self.request_key(id, $name, &request);
            let what: fn(&pb::$request) -> What = $what;
            let outcome =
                pb::Outcome { task_id: request.task_id, token: request.token, what: Some(what(&request)) };
            Ok(pb::$response { settled: Some(self.settle_one(&request_id, key, outcome).await?) })
        }
    };
}

impl Core {
    outcome!(start, "Start", StartRequest => StartResponse, |_| What::Start(pb::StartOutcome {}));
    outcome!(extend, "Extend", ExtendRequest => ExtendResponse, |request| {
        What::Extend(request.extend.unwrap_or_default())
    });
    outcome!(complete, "Complete", CompleteRequest => CompleteResponse, |request| {
        What::Complete(request.complete.clone().unwrap_or_default())
    });
    outcome!(fail, "Fail", FailRequest => FailResponse, |request| {
        What::Fail(request.fail.clone().unwrap_or_default())
    });
    outcome!(release, "Release", ReleaseRequest => ReleaseResponse, |_| {
        What::Release(pb::ReleaseOutcome {})
    });
    outcome!(snooze, "Snooze", SnoozeRequest => SnoozeResponse, |request| {
        What::Snooze(request.snooze.unwrap_or_default())
    });

    async fn settle_one(
        self: &Arc<Self>,
        request_id: &str,
        key: impl FnOnce(Option<uuid::Uuid>) -> Option<crate::storage::idempotency::RequestKey>,
        outcome: pb::Outcome,
    ) -> Result<pb::Settled> {
        let mut parser = Parser::new(&self.settings.queue);
        let request = key(parser.request_id(request_id));
        let outcome = parser.outcome(&String::new, outcome);
        parser.violations.check()?;
        let exchange = Exchange { outcomes: vec![outcome], claiming: None, request, is_single: true };
        match only(self.run(exchange).await?.results)?.result {
            Some(pb::outcome_result::Result::Settled(settled)) => Ok(settled),
            _ => Err(Error::internal("a single outcome was recorded without a result")),
        }
    }
}
