//! What changes reservations, prepared: ReserveFile, BatchReserveFiles, ExtendReservations, ReleaseReservations.

use pannier_proto::uploads::v1 as pb;
use uuid::Uuid;

use super::super::Uploads;
use super::super::convert::{self, Parser};
use super::super::file::Sha256;
use super::super::store;
use crate::answer::Budget;
use crate::batch::{Batch, only};
use crate::convert::timestamp;
use crate::error::{Error, Result};
use crate::status::ItemErrors;
use crate::storage::Operation;

/// Files to reserve, each with the token that it would get.
struct Reserving {
    service: String,
    hashes: Batch<(Sha256, Uuid)>,
    ttl_us: i64,
}

impl Uploads {
    pub(super) fn prepare_reserve_file(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ReserveFileRequest,
    ) -> Operation<pb::ReserveFileResponse> {
        parser.service(&|| "service".to_owned(), &request.service);
        let hash = parser.item("sha256", request.sha256, |parser, text| parser.sha256(&String::new, &text));
        let durability = parser.durability("durability", request.durability);
        let reserving = Reserving {
            ttl_us: parser.ttl_us(request.ttl.as_ref()),
            service: request.service,
            hashes: hash.map(|hash| (hash, self.clock.token())),
        };
        let reserved = self.prepare_reserving(reserving).surviving(durability);
        reserved.try_map(|results| Ok(pb::ReserveFileResponse { result: Some(only(results)?) }))
    }

    pub(super) fn prepare_batch_reserve_files(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchReserveFilesRequest,
    ) -> Operation<pb::BatchReserveFilesResponse> {
        parser.service(&|| "service".to_owned(), &request.service);
        let failing = parser.failing(request.atomic);
        let hashes = parser.changed_hashes(request.sha256, failing);
        let durability = parser.durability("durability", request.durability);
        let reserving = Reserving {
            ttl_us: parser.ttl_us(request.ttl.as_ref()),
            service: request.service,
            hashes: hashes.map(|hash| (hash, self.clock.token())),
        };
        let reserved = self.prepare_reserving(reserving).surviving(durability);
        reserved.map(|results| pb::BatchReserveFilesResponse { results })
    }

    fn prepare_reserving(&self, reserving: Reserving) -> Operation<Vec<pb::ReserveFileResult>> {
        let steady = self.clock.steady();
        let (now_us, budget) = (steady.now_us(), Budget::of_call());
        let items = reserving.hashes.count();
        let input = (self.names.clone(), reserving, steady);
        let operation = Operation::new(input, move |tx, (names, reserving, steady)| {
            Box::pin(async move {
                let Reserving { service, hashes, ttl_us } = reserving;
                let until_us = now_us.saturating_add(*ttl_us);
                let wishes = store::reserve(tx, names, service, &hashes.items, until_us, now_us).await?;
                let (mut budget, mut errors) = (budget, ItemErrors::default());
                let result = |wish: Result<_>| match wish {
                    Ok(wish) => convert::reservation_result(wish, until_us, steady, &mut budget),
                    Err(error) => {
                        let error = pb::reserve_file_result::Outcome::Error(errors.of(&error));
                        pb::ReserveFileResult { outcome: Some(error) }
                    }
                };
                let wishes = hashes.results(wishes.into_iter().map(Ok).collect())?;
                Ok(wishes.into_iter().map(result).collect())
            })
        });
        operation.of_items(items)
    }

    pub(super) fn prepare_extend_reservations(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ExtendReservationsRequest,
    ) -> Operation<pb::ExtendReservationsResponse> {
        use pb::extend_reservation_result::Outcome;
        parser.service(&|| "service".to_owned(), &request.service);
        let failing = parser.failing(request.atomic);
        let reservations = parser.reservations(request.reservations, failing);
        let items = reservations.count();
        let now_us = self.clock.steady_us();
        let until_us = now_us.saturating_add(parser.ttl_us(request.ttl.as_ref()));
        let shown_us = self.clock.steady().wall_of(until_us);
        let durability = parser.durability("durability", request.durability);
        let input = (self.names.clone(), request.service, reservations);
        let operation = Operation::new(input, move |tx, (names, service, reservations)| {
            Box::pin(async move {
                let held = store::extend(tx, names, service, &reservations.items, until_us, now_us).await?;
                let extended = |is_held: bool| match is_held {
                    true => Ok(()),
                    false => Err(Error::UploadReservationLost),
                };
                let mut errors = ItemErrors::default();
                let mut outcome = |extended: Result<()>| match extended {
                    Ok(()) => Outcome::ExpireTime(timestamp(shown_us)),
                    Err(error) => Outcome::Error(errors.of(&error)),
                };
                let extended = reservations.results(held.into_iter().map(extended).collect())?;
                let result = |extended| pb::ExtendReservationResult { outcome: Some(outcome(extended)) };
                Ok(pb::ExtendReservationsResponse { results: extended.into_iter().map(result).collect() })
            })
        });
        operation.surviving(durability).of_items(items)
    }

    pub(super) fn prepare_release_reservations(
        &self,
        parser: &mut Parser<'_>,
        request: pb::ReleaseReservationsRequest,
    ) -> Operation<pb::ReleaseReservationsResponse> {
        parser.service(&|| "service".to_owned(), &request.service);
        let failing = parser.failing(request.atomic);
        let reservations = parser.reservations(request.reservations, failing);
        let items = reservations.count();
        let durability = parser.durability("durability", request.durability);
        let now_us = self.clock.steady_us();
        let input = (self.names.clone(), request.service, reservations);
        let operation = Operation::new(input, move |tx, (names, service, reservations)| {
            Box::pin(async move {
                let released = store::release(tx, names, service, &reservations.items, now_us).await?;
                let mut errors = ItemErrors::default();
                let result = |released: Result<bool>| match released {
                    Ok(released) => pb::ReleaseReservationResult { released, error: None },
                    Err(error) => {
                        pb::ReleaseReservationResult { released: false, error: Some(errors.of(&error)) }
                    }
                };
                let released = reservations.results(released.into_iter().map(Ok).collect())?;
                Ok(pb::ReleaseReservationsResponse { results: released.into_iter().map(result).collect() })
            })
        });
        operation.surviving(durability).of_items(items)
    }
}
