//! Settle, and Start, Extend, Complete, Fail, Release, Snooze: each a Settle of one.

use std::sync::Arc;

use pannier_proto::queue::v1 as pb;

use super::super::Core;
use super::super::convert::Parser;
use crate::error::Result;
use crate::storage::Durability;

/// A call that records outcomes: what is due comes first, so that an outcome that is too late is refused.
macro_rules! settle {
    ($($method:ident $prepare:ident $name:literal, $request:ident => $response:ident;)*) => {
        $(
            pub(super) async fn $method(self: &Arc<Self>, mut request: pb::$request) -> Result<pb::$response> {
                let mut parser = Parser::new(&self.settings.queue);
                let id = parser.request_id(&std::mem::take(&mut request.request_id));
                let key = self.request_keys.key(id, $name, &request);
                let operation = self.$prepare(&mut parser, request);
                parser.violations.check()?;
                self.do_what_is_due().await?;
                self.storage.write_once(Durability::Full, key, operation).await
            }
        )*
    };
}

impl Core {
    settle! {
        settle prepare_settle "Settle", SettleRequest => SettleResponse;
        start prepare_start "Start", StartRequest => StartResponse;
        extend prepare_extend "Extend", ExtendRequest => ExtendResponse;
        complete prepare_complete "Complete", CompleteRequest => CompleteResponse;
        fail prepare_fail "Fail", FailRequest => FailResponse;
        report prepare_report "Report", ReportRequest => ReportResponse;
        release prepare_release "Release", ReleaseRequest => ReleaseResponse;
        snooze prepare_snooze "Snooze", SnoozeRequest => SnoozeResponse;
    }
}
