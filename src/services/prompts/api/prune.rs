//! Prune: retention by hand.

use std::time::{Duration, Instant};

use pannier_proto::prompts::v1 as pb;

use super::super::Prompts;
use super::super::convert::Parser;
use super::super::domain::{Cut, Goes};
use super::super::store;
use crate::clock::{self, ms_to_us};
use crate::error::Result;
use crate::settings::TTL_MS_MAX;
use crate::storage::Durability;

/// The longest rest behind a step: a step that waited for others took longer than it held the writer.
pub const REST_MAX: Duration = Duration::from_millis(8);

impl Prompts {
    pub(super) async fn prune(&self, request: pb::PruneRequest) -> Result<pb::PruneResponse> {
        let mut parser = Parser::new(&self.settings.prompts);
        let durability = parser.durability("durability", request.durability).unwrap_or(Durability::Full);
        let older_us = request
            .older_than
            .as_ref()
            .map(|older_than| parser.duration_us("older_than", older_than, 0, ms_to_us(TTL_MS_MAX)));
        if let Some(count) = request.keep_newest.filter(|count| *count < 0) {
            parser.violations.add("keep_newest", format!("must be 0 or more, is {count}"));
        }
        if older_us.is_none() && request.keep_newest.is_none() {
            parser.violations.add("older_than", "is missing, and so is keep_newest: say which prompts go");
        }
        parser.violations.check()?;
        let goes = if request.bodies_only { Goes::Bodies } else { Goes::All };
        let of_age = older_us.map(|us| Cut::before(self.clock.now_us().saturating_sub(us)));
        let pruned_count = self.prune_to(of_age, request.keep_newest, goes, durability).await?;
        Ok(pb::PruneResponse { pruned_count })
    }

    /// Has all before `of_age` go, and all but the newest `keep`; tells how many have gone.
    pub(in super::super) async fn prune_to(
        &self,
        of_age: Option<Cut>,
        keep: Option<i64>,
        goes: Goes,
        durability: Durability,
    ) -> Result<i64> {
        let of_count = match keep {
            Some(count) => {
                self.storage.read(count, |db, count| Box::pin(store::cut_of_count(db, *count))).await?
            }
            None => None,
        };
        // Whatever goes before the one cut goes before the later one.
        let Some(cut) = of_age.max(of_count) else { return Ok(0) };
        // Mostly there is nothing, which is found out by a read: the writer is left alone.
        if !self.storage.read((), move |db, ()| Box::pin(store::is_due(db, cut, goes))).await? {
            return Ok(0);
        }
        let rows_max = i64::try_from(self.settings.prompts.retention_batch_rows).unwrap_or(i64::MAX);
        let mut count = 0;
        loop {
            let began = clock::instant();
            let length = self.step_length();
            let step = self
                .storage
                .write(durability, (), move |tx, ()| Box::pin(store::prune(tx, cut, goes, rows_max, length)));
            let step = step.await?;
            count += step.count;
            if !step.has_more {
                return Ok(count);
            }
            self.rest(began).await;
        }
    }

    /// How long one step of maintenance holds the writer.
    pub(in super::super) fn step_length(&self) -> Duration {
        Duration::from_millis(self.settings.prompts.maintenance_step_ms)
    }

    /// Leaves the writer to others for as long as the step of maintenance took that began then, its commit included.
    pub(in super::super) async fn rest(&self, began: Instant) {
        let took = clock::instant().saturating_duration_since(began);
        self.clock.rest(took.min(REST_MAX)).await;
    }
}
