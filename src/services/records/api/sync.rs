//! Sync: a client's mutations in one transaction, then what others did in one snapshot.

use pannier_proto::records::v1 as pb;

use super::super::Records;
use super::super::convert::{self, Parser};
use super::super::domain::SyncOutcome;
use super::super::store::{self, Pull, Push, Start};
use crate::answer::Budget;
use crate::convert::prepared;
use crate::error::Result;
use crate::status::ItemErrors;
use crate::storage::{Durability, check_judged, until_judged};

use std::sync::Arc;

impl Records {
    pub(super) async fn sync(self: &Arc<Self>, request: pb::SyncRequest) -> Result<pb::SyncResponse> {
        let bytes = prost::Message::encoded_len(&request);
        let records = self.clone();
        let (push, mut pull) = prepared(bytes, move || records.parse_sync(request)).await?;
        let (client, now_us) = (push.client, self.clock.now_us());
        let pushed: Vec<_> =
            push.mutations.iter().map(|one| (one.id, one.collection.clone(), one.key.clone())).collect();
        let (context, judge) = self.context_of_write();
        let judges = [judge];
        let shared = Arc::new((context, push, judges.clone()));
        let attempt = || {
            self.storage.write(Durability::Full, shared.clone(), move |tx, shared| {
                Box::pin(async move {
                    let (context, push, judges) = &**shared;
                    let settled = store::push(tx, context, push, now_us).await?;
                    check_judged(judges).map(|()| settled)
                })
            })
        };
        let settled = until_judged(&judges, attempt).await?;
        let is_conflict = |settled: &store::Settled| settled.outcome == SyncOutcome::Conflict;
        let conflicts = pushed.iter().zip(&settled.settled).filter(|(_, settled)| is_conflict(settled));
        pull.conflicts =
            conflicts.map(|((_, collection, key), _)| (collection.clone(), key.clone())).collect();
        let collections: Vec<_> = pull.starts.iter().map(|(collection, _)| collection.clone()).collect();
        let pulled = self.storage.read(pull, |db, pull| Box::pin(store::pull(db, pull))).await?;

        let (mut conflicts, mut errors) = (pulled.conflicts.into_iter(), ItemErrors::default());
        let mut results = Vec::with_capacity(pushed.len());
        for ((mutation_id, ..), settled) in pushed.into_iter().zip(settled.settled) {
            let conflict = if is_conflict(&settled) { conflicts.next() } else { None };
            results.push(convert::sync_result(mutation_id, settled, conflict, &mut errors)?);
        }
        let pulls = collections.into_iter().zip(pulled.changes);
        let changes = |(collection, changes)| convert::sync_changes(collection, changes, &mut errors);
        Ok(pb::SyncResponse {
            client_id: client.to_string(),
            last_mutation_id: settled.last_mutation_id,
            results,
            pulls: pulls.map(changes).collect(),
        })
    }

    fn parse_sync(&self, request: pb::SyncRequest) -> Result<(Push, Pull)> {
        let settings = &self.settings.records;
        let mut parser = Parser::new(settings);
        let client = parser.optional_uuid("client_id", &request.client_id);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        let acknowledged = request.last_mutation_id;
        let is_new = request.client_id.is_empty();
        if is_new && (acknowledged != 0 || !request.mutations.is_empty()) {
            parser.violations.add("client_id", "is needed to push: Sync without it makes a client");
        }
        let mutations = parser.mutations(acknowledged, request.mutations);
        let starts = parser.pulls(request.pulls);
        parser.violations.check()?;
        let bound = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
        let position = |(place, (collection, start)): (usize, &(String, Result<Start>))| match start {
            Ok(Start::At(position)) => Some((place, collection.clone(), *position)),
            _ => None,
        };
        let push = Push {
            positions: starts.iter().enumerate().filter_map(position).collect(),
            // Nobody can guess it, and no other sidecar makes the same.
            client: client.unwrap_or_else(|| self.clock.token()),
            is_new,
            acknowledged,
            mutations,
            outcomes_max: bound(settings.sync_outcomes_max),
            clients_max: bound(settings.clients_max),
            unseen_since_us: self.unseen_since_us(),
            encode: convert::encode_error,
        };
        let pull = Pull {
            conflicts: Vec::new(),
            starts,
            rows_max: usize::try_from(rows_max).unwrap_or(usize::MAX),
            budget: Budget::of_call(),
        };
        Ok((push, pull))
    }
}
