//! Pushes and pulls of clients, both ways.

use std::collections::HashSet;

use pannier_proto::errors::v1::ItemError;
use pannier_proto::records::v1 as pb;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::cursors::{cursor, position};
use super::replies::record;
use super::requests::Parser;
use crate::error::{Error, Result};
use crate::services::records::domain::{Base, Change, Record, SyncOutcome};
use crate::services::records::store::{Changes, Mutation, Settled, Start, What};
use crate::status::ItemErrors;

impl Parser<'_> {
    /// The mutations of a push. What is wrong with one alone is its outcome; with their numbers, the call's.
    pub(in super::super) fn mutations(
        &mut self,
        acknowledged: i64,
        mutations: Vec<pb::SyncMutation>,
    ) -> Vec<Mutation> {
        let (count, max) = (mutations.len(), self.settings.sync_mutations_max);
        if acknowledged < 0 {
            self.violations.add("last_mutation_id", "must be a mutation's number, or zero");
        }
        if count as u64 > max {
            let message = format!("must be at most {max} (records.sync_mutations_max), are {count}");
            self.violations.add("mutations", message);
            return Vec::new();
        }
        let mut next = None;
        let mut parsed = Vec::with_capacity(count);
        for (index, mutation) in mutations.into_iter().enumerate() {
            let field = |name: &str| format!("mutations[{index}].{name}");
            let id = mutation.mutation_id;
            if id <= acknowledged.max(0) {
                self.violations.add(field("mutation_id"), "must be above last_mutation_id");
            } else if next.is_some_and(|next| id != next) {
                self.violations
                    .add(field("mutation_id"), "must be one more than that of the mutation before");
            }
            next = id.checked_add(1);
            parsed.push(self.mutation(&field, mutation));
        }
        parsed
    }

    fn mutation(&mut self, field: &dyn Fn(&str) -> String, mutation: pb::SyncMutation) -> Mutation {
        use pb::sync_mutation::{Base as PbBase, What as PbWhat};
        let fingerprint = fingerprint(&mutation);
        let base = match mutation.base {
            None => Base::Anything,
            Some(PbBase::Absent(said)) => self.expects(&field("absent"), said, Base::Absent),
            Some(PbBase::Revision(revision)) => {
                if revision < 1 {
                    self.violations.add(field("revision"), "must be a revision, 1 or more");
                }
                Base::Revision(revision)
            }
            Some(PbBase::AfterMutationId(earlier)) => {
                if !(1..mutation.mutation_id).contains(&earlier) {
                    self.violations.add(field("after_mutation_id"), "must be an earlier mutation");
                }
                Base::After(earlier)
            }
        };
        // Apart, so that a document that nobody can store does not keep all that follow it from being pushed.
        let mut alone = Parser::new(self.settings);
        alone.name("collection", &mutation.collection);
        alone.key(&|| "key".to_owned(), &mutation.key);
        let what = match mutation.what {
            Some(PbWhat::PutJson(text)) => Some(What::Put(alone.document(&|| "put_json".to_owned(), text))),
            Some(PbWhat::PatchJson(text)) => {
                alone.object(&|| "patch_json".to_owned(), &text);
                Some(What::Patch(Change::Merge(text)))
            }
            Some(PbWhat::ReplaceJson(text)) => {
                alone.object(&|| "replace_json".to_owned(), &text);
                Some(What::Patch(Change::Replace { members: text, removed: Vec::new() }))
            }
            Some(PbWhat::Delete(said)) => Some(self.expects(&field("delete"), said, What::Delete)),
            None => None,
        };
        if what.is_none() {
            self.violations.add(field("what"), "is missing, or of a kind that this sidecar does not know");
        }
        let what = alone.violations.check().map(|()| what.unwrap_or(What::Delete));
        let (id, collection, key) = (mutation.mutation_id, mutation.collection, mutation.key);
        Mutation { id, collection, key, base, what, fingerprint }
    }

    /// The collections of which a client asks for changes, and from where on.
    pub(in super::super) fn pulls(&mut self, pulls: Vec<pb::SyncPull>) -> Vec<(String, Result<Start>)> {
        let (count, max) = (pulls.len(), self.settings.sync_collections_max);
        if count as u64 > max {
            let message = format!("must be at most {max} (records.sync_collections_max), are {count}");
            self.violations.add("pulls", message);
            return Vec::new();
        }
        let mut seen = HashSet::new();
        for (index, pull) in pulls.iter().enumerate() {
            self.name(&format!("pulls[{index}].collection"), &pull.collection);
            if !seen.insert(pull.collection.as_str()) {
                self.violations.add(format!("pulls[{index}].collection"), "is there twice");
            }
        }
        let start = |pull: pb::SyncPull| {
            let start = position(&pull.collection, &pull.cursor);
            (pull.collection, start)
        };
        pulls.into_iter().map(start).collect()
    }
}

/// Tells whether a mutation comes again as it was.
fn fingerprint(mutation: &pb::SyncMutation) -> i64 {
    let digest = Sha256::digest(mutation.encode_to_vec());
    digest.first_chunk::<8>().map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

/// Why a mutation was rejected, as it is kept.
pub(in super::super) fn encode_error(error: &Error) -> Vec<u8> {
    ItemErrors::default().of(error).encode_to_vec()
}

/// What became of a mutation. `conflict` is the record that it met: none where it did not fit.
pub(in super::super) fn sync_result(
    mutation_id: i64,
    settled: Settled,
    conflict: Option<Option<Record>>,
    errors: &mut ItemErrors,
) -> Result<pb::SyncResult> {
    let outcome = match settled.outcome {
        SyncOutcome::Applied => pb::SyncOutcome::Applied,
        SyncOutcome::Conflict => pb::SyncOutcome::Conflict,
        SyncOutcome::Rejected => pb::SyncOutcome::Rejected,
    };
    let decode = |error: Vec<u8>| {
        ItemError::decode(error.as_slice()).map_err(|error| Error::CorruptRow {
            table: "record_mutations",
            column: "error",
            row: mutation_id,
            cause: error.to_string(),
        })
    };
    let is_conflict = settled.outcome == SyncOutcome::Conflict;
    Ok(pb::SyncResult {
        mutation_id,
        outcome: outcome.into(),
        revision: settled.revision,
        record_left_off: is_conflict && conflict.is_none(),
        record: conflict.flatten().map(record),
        error: settled.error.map(decode).transpose()?.map(|error| errors.share(error)),
    })
}

/// What changed in a collection, or why that cannot be told.
pub(in super::super) fn sync_changes(
    collection: String,
    changes: Result<Changes>,
    errors: &mut ItemErrors,
) -> pb::SyncChanges {
    match changes {
        Ok(changes) => pb::SyncChanges {
            cursor: cursor(&collection, &changes.position),
            changes: changes.records.into_iter().map(record).collect(),
            more: changes.more,
            error: None,
            collection,
        },
        Err(error) => pb::SyncChanges { collection, error: Some(errors.of(&error)), ..Default::default() },
    }
}
