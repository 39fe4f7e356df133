//! What changes reservations, prepared: ReserveFile, BatchReserveFiles, ExtendReservations, ReleaseReservations.

use pannier_proto::uploads::v1 as pb;
use uuid::Uuid;

use super::super::Uploads;
use super::super::convert::{self, Parser};
use super::super::file::Sha256;
use super::super::store;
use crate::answer::Budget;
use crate::convert::timestamp;
use crate::error::Error;
use crate::status;
use crate::storage::Operation;

/// Files to reserve, each with the token that it would get.
struct Reserving {
    service: String,
    hashes: Vec<(Sha256, Uuid)>,
    ttl_us: i64,
}

impl Uploads {
    pub(super) fn prepare_reserve_file(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ReserveFileRequest,
    ) -> Operation<pb::ReserveFileResponse> {
        parser.service(&|| "service".to_owned(), &request.service);
        let hash = parser.sha256(&|| "sha256".to_owned(), &request.sha256);
        let durability = parser.durability("durability", request.durability);
        let reserving = Reserving {
            ttl_us: parser.ttl_us(request.ttl.as_ref()),
            service: request.service,
            hashes: vec![(hash, self.clock.token())],
        };
        let reserved = self.prepare_reserving(reserving).surviving(durability);
        reserved.map(|mut results| pb::ReserveFileResponse { result: results.pop() })
    }

    pub(super) fn prepare_batch_reserve_files(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchReserveFilesRequest,
    ) -> Operation<pb::BatchReserveFilesResponse> {
        parser.service(&|| "service".to_owned(), &request.service);
        let max = parser.settings.batch_files_max;
        let hashes = parser.hashes(&request.sha256, max, "uploads.batch_files_max");
        let durability = parser.durability("durability", request.durability);
        let reserving = Reserving {
            ttl_us: parser.ttl_us(request.ttl.as_ref()),
            service: request.service,
            hashes: hashes.into_iter().map(|hash| (hash, self.clock.token())).collect(),
        };
        let reserved = self.prepare_reserving(reserving).surviving(durability);
        reserved.map(|results| pb::BatchReserveFilesResponse { results })
    }

    fn prepare_reserving(&self, reserving: Reserving) -> Operation<Vec<pb::ReserveFileResult>> {
        let steady = self.clock.steady();
        let (now_us, budget) = (steady.now_us(), Budget::of_call());
        let input = (self.names.clone(), reserving, steady);
        Operation::new(input, move |tx, (names, reserving, steady)| {
            Box::pin(async move {
                let Reserving { service, hashes, ttl_us } = reserving;
                let until_us = now_us.saturating_add(*ttl_us);
                let wishes = store::reserve(tx, names, service, hashes, until_us, now_us).await?;
                let mut budget = budget;
                let result = |wish| convert::reservation_result(wish, until_us, steady, &mut budget);
                Ok(wishes.into_iter().map(result).collect())
            })
        })
    }

    pub(super) fn prepare_extend_reservations(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ExtendReservationsRequest,
    ) -> Operation<pb::ExtendReservationsResponse> {
        use pb::extend_reservation_result::Outcome;
        parser.service(&|| "service".to_owned(), &request.service);
        let reservations = parser.reservations(&request.reservations);
        let now_us = self.clock.steady_us();
        let until_us = now_us.saturating_add(parser.ttl_us(request.ttl.as_ref()));
        let shown_us = self.clock.steady().wall_of(until_us);
        let durability = parser.durability("durability", request.durability);
        let input = (self.names.clone(), request.service, reservations);
        let operation = Operation::new(input, move |tx, (names, service, reservations)| {
            Box::pin(async move {
                let held = store::extend(tx, names, service, reservations, until_us, now_us).await?;
                let outcome = |is_held: bool| match is_held {
                    true => Outcome::ExpireTime(timestamp(shown_us)),
                    false => Outcome::Error(status::item(&Error::UploadReservationLost)),
                };
                let result = |is_held| pb::ExtendReservationResult { outcome: Some(outcome(is_held)) };
                Ok(pb::ExtendReservationsResponse { results: held.into_iter().map(result).collect() })
            })
        });
        operation.surviving(durability)
    }

    pub(super) fn prepare_release_reservations(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ReleaseReservationsRequest,
    ) -> Operation<pb::ReleaseReservationsResponse> {
        parser.service(&|| "service".to_owned(), &request.service);
        let reservations = parser.reservations(&request.reservations);
        let durability = parser.durability("durability", request.durability);
        let now_us = self.clock.steady_us();
        let input = (self.names.clone(), request.service, reservations);
        let operation = Operation::new(input, move |tx, (names, service, reservations)| {
            Box::pin(async move {
                let released = store::release(tx, names, service, reservations, now_us).await?;
                Ok(pb::ReleaseReservationsResponse { released })
            })
        });
        operation.surviving(durability)
    }
}
