//! ReserveFile, BatchReserveFiles, ExtendReservations, ReleaseReservations.

use futures_util::future::BoxFuture;
use pannier_proto::uploads::v1 as pb;
use uuid::Uuid;

use super::super::convert::{self, Parser};
use super::super::file::Sha256;
use super::super::store;
use super::steps::{Context, Step};
use crate::clock::Clock;
use crate::convert::timestamp;
use crate::error::{Error, Result};
use crate::status;
use crate::storage::{Durability, Tx};

/// Files to reserve, each with the token that it would get.
#[derive(Clone, Debug)]
struct Reserving {
    service: String,
    hashes: Vec<(Sha256, Uuid)>,
    ttl_us: i64,
}

impl Reserving {
    async fn run(&self, tx: &Tx<'_>, context: &Context, now_us: i64) -> Result<Vec<pb::ReserveFileResult>> {
        let until_us = now_us.saturating_add(self.ttl_us);
        let wishes =
            store::reserve(tx, &context.names, &self.service, &self.hashes, until_us, now_us).await?;
        let mut room = context.room();
        let result = |wish| convert::reservation_result(wish, until_us, &mut room);
        Ok(wishes.into_iter().map(result).collect())
    }
}

/// ReserveFile.
#[derive(Clone, Debug)]
pub struct ReserveFile(Reserving);

impl Step for ReserveFile {
    type Request = pb::ReserveFileRequest;
    type Response = pb::ReserveFileResponse;
    const METHOD: &'static str = "ReserveFile";
    const DURABILITY: Durability = Durability::Relaxed;

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, clock: &Clock, request: Self::Request) -> Self {
        parser.service(&|| "service".to_owned(), &request.service);
        let hash = parser.sha256(&|| "sha256".to_owned(), &request.sha256);
        Self(Reserving {
            ttl_us: parser.ttl_us(request.ttl.as_ref()),
            service: request.service,
            hashes: vec![(hash, clock.token())],
        })
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(async move {
            Ok(pb::ReserveFileResponse { result: self.0.run(tx, context, now_us).await?.pop() })
        })
    }
}

/// BatchReserveFiles.
#[derive(Clone, Debug)]
pub struct BatchReserveFiles(Reserving);

impl Step for BatchReserveFiles {
    type Request = pb::BatchReserveFilesRequest;
    type Response = pb::BatchReserveFilesResponse;
    const METHOD: &'static str = "BatchReserveFiles";
    const DURABILITY: Durability = Durability::Relaxed;

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, clock: &Clock, request: Self::Request) -> Self {
        parser.service(&|| "service".to_owned(), &request.service);
        let max = parser.settings.batch_files_max;
        let hashes = parser.hashes(&request.sha256, max, "uploads.batch_files_max");
        Self(Reserving {
            ttl_us: parser.ttl_us(request.ttl.as_ref()),
            service: request.service,
            hashes: hashes.into_iter().map(|hash| (hash, clock.token())).collect(),
        })
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(async move {
            Ok(pb::BatchReserveFilesResponse { results: self.0.run(tx, context, now_us).await? })
        })
    }
}

/// ExtendReservations.
#[derive(Clone, Debug)]
pub struct ExtendReservations {
    service: String,
    reservations: Vec<(Sha256, Uuid)>,
    ttl_us: i64,
}

impl Step for ExtendReservations {
    type Request = pb::ExtendReservationsRequest;
    type Response = pb::ExtendReservationsResponse;
    const METHOD: &'static str = "ExtendReservations";
    const DURABILITY: Durability = Durability::Relaxed;

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, _clock: &Clock, request: Self::Request) -> Self {
        parser.service(&|| "service".to_owned(), &request.service);
        Self {
            reservations: parser.reservations(&request.reservations),
            ttl_us: parser.ttl_us(request.ttl.as_ref()),
            service: request.service,
        }
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        use pb::extend_reservation_result::Outcome;
        Box::pin(async move {
            let until_us = now_us.saturating_add(self.ttl_us);
            let held = store::extend(tx, &context.names, &self.service, &self.reservations, until_us, now_us)
                .await?;
            let outcome = |is_held: bool| match is_held {
                true => Outcome::ExpireTime(timestamp(until_us)),
                false => Outcome::Error(status::item(&Error::UploadReservationLost)),
            };
            let results = held
                .into_iter()
                .map(|is_held| pb::ExtendReservationResult { outcome: Some(outcome(is_held)) });
            Ok(pb::ExtendReservationsResponse { results: results.collect() })
        })
    }
}

/// ReleaseReservations.
#[derive(Clone, Debug)]
pub struct ReleaseReservations {
    service: String,
    reservations: Vec<(Sha256, Uuid)>,
}

impl Step for ReleaseReservations {
    type Request = pb::ReleaseReservationsRequest;
    type Response = pb::ReleaseReservationsResponse;
    const METHOD: &'static str = "ReleaseReservations";
    const DURABILITY: Durability = Durability::Relaxed;

    fn header(request: &mut Self::Request) -> (String, i32) {
        (std::mem::take(&mut request.request_id), request.durability)
    }

    fn parse(parser: &mut Parser<'_>, _clock: &Clock, request: Self::Request) -> Self {
        parser.service(&|| "service".to_owned(), &request.service);
        let reservations = parser.reservations(&request.reservations);
        Self { service: request.service, reservations }
    }

    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>> {
        Box::pin(async move {
            let released =
                store::release(tx, &context.names, &self.service, &self.reservations, now_us).await?;
            Ok(pb::ReleaseReservationsResponse { released })
        })
    }
}
