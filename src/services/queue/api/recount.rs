//! Recount: repairs the counts that Stats reports.

use std::sync::Arc;

use pannier_proto::queue::v1 as pb;

use super::super::convert;
use super::super::domain::State;
use super::super::{Core, MINUTE_US, store};
use crate::error::{Error, Result};
use crate::storage::Durability;

/// Recounts of other callers that may come in between.
const TRIES: usize = 8;

impl Core {
    pub(super) async fn recount(self: &Arc<Self>, _: pb::RecountRequest) -> Result<pb::RecountResponse> {
        for _ in 0..TRIES {
            let found = self.storage.read((), |db, ()| Box::pin(store::differences(db))).await?;
            if !found.all.is_empty() {
                let count = found.all.len();
                tracing::error!(count, "counts of tasks differ from the tasks and are corrected");
            }
            let minute = self.clock.steady_us() / MINUTE_US;
            let correct = self.storage.write(Durability::Full, found.clone(), move |tx, found| {
                Box::pin(store::correct(tx, found, minute))
            });
            if correct.await? {
                return self.corrections(found).await;
            }
        }
        Err(Error::Overloaded { setting: "server.calls_max" })
    }

    async fn corrections(self: &Arc<Self>, found: store::Differences) -> Result<pb::RecountResponse> {
        self.storage
            .read((self.clone(), found), |db, (core, found)| {
                Box::pin(async move {
                    let mut corrections = Vec::with_capacity(found.all.len());
                    for wrong in &found.all {
                        let Some(state) = State::of(wrong.state) else { continue };
                        let named = core.names.of_listed(db, wrong.type_id).await?;
                        corrections.push(pb::CountCorrection {
                            queue: named.queue.name.clone(),
                            r#type: named.kind.name.clone(),
                            state: convert::state(state).into(),
                            difference: wrong.difference,
                        });
                    }
                    Ok(pb::RecountResponse { corrections })
                })
            })
            .await
    }
}
