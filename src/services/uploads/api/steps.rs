//! One way for every mutation: parsed and checked first, then run as one step of a transaction, either the call's own or one that
//! composes several services.

use futures_util::future::BoxFuture;

use super::super::Uploads;
use super::super::convert::{Parser, Room};
use super::super::store::Names;
use super::NAME;
use crate::clock::Clock;
use crate::error::Result;
use crate::storage::idempotency::{self, RequestKey};
use crate::storage::{Durability, Tx};

/// What every step needs to run.
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) names: Names,
    answer_bytes_max: usize,
}

impl Context {
    pub(in super::super) fn new(names: Names, answer_bytes_max: usize) -> Self {
        Self { names, answer_bytes_max }
    }

    /// Room for the files of one answer.
    pub(super) fn room(&self) -> Room {
        Room::new(self.answer_bytes_max)
    }
}

/// A mutation that is parsed. It may be run more than once, and changes nothing but the database.
pub trait Step: Sized + Send + Sync + 'static {
    /// What asks for it.
    type Request: prost::Message;
    /// What it answers.
    type Response: prost::Message + Default + 'static;
    /// The method's name.
    const METHOD: &'static str;
    /// What it survives unless the request says otherwise.
    const DURABILITY: Durability = Durability::Full;

    /// Takes the `request_id` out of a request, and tells its `durability`.
    fn header(request: &mut Self::Request) -> (String, i32);

    /// Parses a request and notes what is wrong with it.
    fn parse(parser: &mut Parser<'_>, clock: &Clock, request: Self::Request) -> Self;

    /// Runs it.
    fn run<'t>(
        &'t self,
        tx: &'t Tx<'t>,
        context: &'t Context,
        now_us: i64,
    ) -> BoxFuture<'t, Result<Self::Response>>;
}

impl Uploads {
    /// Parses a mutation for a transaction of another's. Its `request_id` and durability are that transaction's business.
    pub(in super::super) fn parse<S: Step>(&self, request: S::Request) -> Result<S> {
        let mut parser = Parser::new(&self.settings.uploads);
        let step = S::parse(&mut parser, &self.clock, request);
        parser.violations.check()?;
        Ok(step)
    }

    /// Runs a mutation in a transaction of its own.
    pub(super) async fn call<S: Step>(&self, mut request: S::Request) -> Result<S::Response> {
        let mut parser = Parser::new(&self.settings.uploads);
        let (request_id, durability) = S::header(&mut request);
        let id = parser.request_id(&request_id);
        let retention_ms = self.settings.idempotency.retention_ms;
        let method = format!("{NAME}/{}", S::METHOD);
        let key = id.map(|id| RequestKey::new(id, &method, &request, &self.clock, retention_ms));
        let durability = parser.durability("durability", durability).unwrap_or(S::DURABILITY);
        let step = S::parse(&mut parser, &self.clock, request);
        parser.violations.check()?;

        let now_us = self.clock.now_us();
        let input = (step, key, self.context.clone());
        self.storage
            .write(durability, input, move |tx, (step, key, context)| {
                Box::pin(idempotency::once(tx, key.as_ref(), step.run(tx, context, now_us)))
            })
            .await
    }
}
