//! The RPCs of `pannier.admin.v1.AdminService`.

use std::time::Duration;

use pannier_proto::admin::v1 as pb;
use pannier_proto::admin::v1::admin_service_server::{AdminService as Rpc, AdminServiceServer, SERVICE_NAME};
use tonic::Request;

use super::{Admin, AdminService};
use crate::convert::{self, Parser};
use crate::error::{Error, Result};
use crate::status::{Reply, reply};

/// The service's full name.
pub const NAME: &str = SERVICE_NAME;

/// The longest time that one call lets pass: 10 years.
const ADVANCE_US_MAX: i64 = 10 * 366 * 24 * 3_600 * 1_000_000;

/// The service for tonic's router, with messages of at most `message_bytes_max` either way.
pub fn server(admin: AdminService) -> AdminServiceServer<AdminService> {
    let bytes_max = admin.0.settings.server.message_bytes_max();
    AdminServiceServer::new(admin).max_decoding_message_size(bytes_max).max_encoding_message_size(bytes_max)
}

#[tonic::async_trait]
impl Rpc for AdminService {
    async fn status(&self, _request: Request<pb::StatusRequest>) -> Reply<pb::StatusResponse> {
        reply(Ok(self.0.status()))
    }

    async fn advance_clock(
        &self,
        request: Request<pb::AdvanceClockRequest>,
    ) -> Reply<pb::AdvanceClockResponse> {
        reply(self.0.advance_clock(&request.into_inner()))
    }
}

impl Admin {
    fn status(&self) -> pb::StatusResponse {
        pb::StatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            schema_version: self.schema_version.clone(),
            storage: self.storage.into(),
            data_directory: self.data_directory.clone(),
            start_time: Some(convert::timestamp(self.start_us)),
            pid: std::process::id(),
            now: Some(convert::timestamp(self.clock.now_us())),
            ephemeral: self.process.is_ephemeral,
            test_clock: self.process.test_clock.is_some(),
            read_only: self.settings.storage.read_only,
        }
    }

    fn advance_clock(&self, request: &pb::AdvanceClockRequest) -> Result<pb::AdvanceClockResponse> {
        let hands = self.process.test_clock.as_ref().ok_or(Error::ClockNotManual)?;
        let mut parser = Parser::new(&self.settings.server);
        let by = request.by.unwrap_or_default();
        let by_us = parser.duration_us("by", &by, 1, ADVANCE_US_MAX);
        parser.violations.check()?;
        hands.advance(Duration::from_micros(by_us.unsigned_abs()));
        Ok(pb::AdvanceClockResponse { now: Some(convert::timestamp(self.clock.now_us())) })
    }
}
