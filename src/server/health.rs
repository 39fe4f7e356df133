//! `grpc.health.v1`: SERVING between start and stop, for all services alike.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use pannier_proto::errors::v1::ErrorReason;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health as Rpc;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::status;

/// The health of the services of those names, and of all together by the empty name.
pub(super) struct Health {
    names: &'static [&'static str],
    is_serving: watch::Receiver<bool>,
}

impl Health {
    pub(super) fn new(names: &'static [&'static str], is_serving: watch::Receiver<bool>) -> Self {
        Self { names, is_serving }
    }

    fn knows(&self, name: &str) -> bool {
        name.is_empty() || self.names.contains(&name)
    }
}

fn answer(is_serving: bool) -> HealthCheckResponse {
    let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Rpc for Health {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            let message = "this sidecar has no service of that name";
            return Err(status::transport(Code::NotFound, ErrorReason::MethodUnknown, message));
        }
        Ok(Response::new(answer(*self.is_serving.borrow())))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !self.knows(&request.get_ref().service) {
            // A later version may have it: the stream stays open.
            let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
            let stream = stream::iter([Ok(unknown)]).chain(stream::pending());
            return Ok(Response::new(stream.boxed()));
        }
        let changes =
            stream::unfold((self.is_serving.clone(), true), |(mut is_serving, is_first)| async move {
                if !is_first {
                    is_serving.changed().await.ok()?;
                }
                let message = answer(*is_serving.borrow_and_update());
                Some((Ok(message), (is_serving, false)))
            });
        Ok(Response::new(changes.boxed()))
    }
}
