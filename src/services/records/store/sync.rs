//! Sync: what a client did, each mutation once and in order; and what others did.
//!
//! The client's row is locked first, then the collections by their names. What became of a mutation is kept until the client has
//! acknowledged it, so that a push that is repeated has the same outcomes and changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use sea_orm::sea_query::LockType;
use sea_orm::{
    ColumnTrait as _, Condition as Where, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QuerySelect as _, Set, Value,
};
use uuid::Uuid;

use super::changes::{Changes, Start, changes_of, is_foreign};
use super::collections;
use super::read::record_bytes;
use super::rows::Row;
use super::write::{Context, Writer, current};
use crate::answer::Budget;
use crate::error::{Error, RecordsError, Result};
use crate::services::records::document::Document;
use crate::services::records::domain::{Base, Change, Condition, Origin, Position, Record, SyncOutcome};
use crate::services::records::entity::{clients, mutations};
use crate::storage::{Db, Tx};

/// What a client did.
#[derive(Debug)]
pub enum What {
    /// It stored a document.
    Put(Document),
    /// It changed a document.
    Patch(Change),
    /// It deleted a record.
    Delete,
}

/// One thing that a client did.
#[derive(Debug)]
pub struct Mutation {
    /// Its number.
    pub id: i64,
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
    /// What the client saw.
    pub base: Base,
    /// What it did; or why that cannot be done, whatever is there.
    pub what: Result<What>,
    /// Of what was sent.
    pub fingerprint: i64,
}

/// How the reason of a rejection is kept.
type Encode = fn(&Error) -> Vec<u8>;

/// What a client pushes.
#[derive(Debug)]
pub struct Push {
    /// The client.
    pub client: Uuid,
    /// Whether the client is to be made.
    pub is_new: bool,
    /// The last mutation whose outcome it has received.
    pub acknowledged: i64,
    /// Where the client stands in the collections that it pulls, by their places in the request.
    pub positions: Vec<(usize, String, Position)>,
    /// Mutations whose numbers follow one another.
    pub mutations: Vec<Mutation>,
    /// Outcomes that are kept of a client at most.
    pub outcomes_max: i64,
    /// Clients at once.
    pub clients_max: i64,
    /// Who was not seen since then is forgotten.
    pub unseen_since_us: i64,
    /// How the reason of a rejection is kept.
    pub encode: Encode,
}

/// What became of one mutation.
#[derive(Clone, Debug)]
pub struct Settled {
    /// What became of it.
    pub outcome: SyncOutcome,
    /// The revision that it made.
    pub revision: i64,
    /// Why it was rejected, as it was encoded.
    pub error: Option<Vec<u8>>,
}

impl Settled {
    /// Whether it is a deletion of a record that was not there.
    fn is_nothing(&self) -> bool {
        self.outcome == SyncOutcome::Applied && self.revision == 0
    }
}

/// What became of a push.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The last mutation that is known.
    pub last_mutation_id: i64,
    /// What became of each.
    pub settled: Vec<Settled>,
}

const KEEP: &str = r#"INSERT INTO "record_mutations" ("client_row_id", "mutation_id", "outcome", "revision", "fingerprint", "error")
    VALUES ($1, $2, $3, $4, $5, $6)"#;

/// Applies mutations that were not applied yet. Errors, with nothing changed: SyncClientUnknown, SyncOutOfOrder,
/// SyncMutationReused, SyncUnacknowledged, TooManySyncClients; CursorReset for a client that knows of another history.
pub async fn push(tx: &Tx<'_>, context: &Context, push: &Push, now_us: i64) -> Result<Pushed> {
    if push.is_new {
        make_client(tx, push, now_us).await?;
        return Ok(Pushed { last_mutation_id: 0, settled: Vec::new() });
    }
    check_history(tx, push).await?;
    let client = lock_client(tx, push).await?;
    let last =
        push.mutations.last().map_or(client.last_mutation_id, |last| last.id.max(client.last_mutation_id));
    let acknowledged = push.acknowledged.max(client.acknowledged_id);
    if last - acknowledged > push.outcomes_max {
        return Err(RecordsError::SyncUnacknowledged { outcomes_max: push.outcomes_max }.into());
    }
    let is_known = |mutation: &&Mutation| mutation.id <= client.last_mutation_id;
    let known = push.mutations.iter().take_while(is_known).count();
    let (known, new) = push.mutations.split_at(known);
    let mut settled = recall(tx, &client, known).await?;
    let mut absent = deleted_nothing(tx, client.row_id, new).await?;
    settled.extend(apply(tx, context, client.row_id, new, &mut absent, (push.encode, now_us)).await?);
    if acknowledged > client.acknowledged_id {
        forget_outcomes(tx, client.row_id, acknowledged, push.outcomes_max).await?;
    }
    let seen = clients::ActiveModel {
        last_mutation_id: Set(last),
        acknowledged_id: Set(acknowledged),
        seen_time: Set(now_us),
        ..Default::default()
    };
    clients::Entity::update_many()
        .set(seen)
        .filter(clients::Column::RowId.eq(client.row_id))
        .exec(&**tx)
        .await?;
    Ok(Pushed { last_mutation_id: last, settled })
}

/// Refuses mutations of a client whose cursors belong to another history: the revisions that it has seen may be those of other
/// changes here.
async fn check_history(tx: &Tx<'_>, push: &Push) -> Result<()> {
    if push.mutations.is_empty() {
        return Ok(());
    }
    for (place, collection, position) in &push.positions {
        let collection = match collections::find(tx, collection).await {
            Ok(collection) => collection,
            Err(Error::Records(RecordsError::CollectionNotFound)) => continue,
            Err(error) => return Err(error),
        };
        if is_foreign(tx, &collection, position).await? {
            return Err(Error::at(format!("pulls[{place}].cursor"), RecordsError::CursorReset.into()));
        }
    }
    Ok(())
}

/// Removes outcomes that a client has received. Deletions that found nothing are kept for longer: a mutation that comes after one may
/// follow in a later push.
async fn forget_outcomes(tx: &Tx<'_>, client_row_id: i64, acknowledged: i64, kept: i64) -> Result<()> {
    use mutations::Column as C;
    let is_over = Where::any()
        .add(C::Outcome.ne(outcome_number(SyncOutcome::Applied)))
        .add(C::Revision.ne(0))
        .add(C::MutationId.lte(acknowledged.saturating_sub(kept)));
    mutations::Entity::delete_many()
        .filter(C::ClientRowId.eq(client_row_id))
        .filter(C::MutationId.lte(acknowledged))
        .filter(is_over)
        .exec(&**tx)
        .await?;
    Ok(())
}

async fn make_client(tx: &Tx<'_>, push: &Push, now_us: i64) -> Result<()> {
    let count = i64::try_from(clients::Entity::find().count(&**tx).await?).unwrap_or(i64::MAX);
    if count >= push.clients_max {
        return Err(RecordsError::TooManySyncClients { clients_max: push.clients_max }.into());
    }
    let row = clients::ActiveModel {
        id: Set(push.client),
        last_mutation_id: Set(0),
        acknowledged_id: Set(0),
        create_time: Set(now_us),
        seen_time: Set(now_us),
        ..Default::default()
    };
    tx.insert(row).await.map(|_| ())
}

/// The client, held until the commit, if what it pushes goes on from what is known of it.
async fn lock_client(tx: &Tx<'_>, push: &Push) -> Result<clients::Model> {
    let query = clients::Entity::find().filter(clients::Column::Id.eq(push.client));
    let client = query.lock(LockType::NoKeyUpdate).one(&**tx).await?;
    let client = client.filter(|client| client.seen_time > push.unseen_since_us);
    let client = client.ok_or(RecordsError::SyncClientUnknown)?;
    // It knows of outcomes that this database does not: that was set back.
    if push.acknowledged > client.last_mutation_id {
        return Err(RecordsError::SyncClientUnknown.into());
    }
    let next = client.last_mutation_id + 1;
    let follows = |first: &Mutation| (client.acknowledged_id + 1..=next).contains(&first.id);
    if !push.mutations.first().is_none_or(follows) {
        return Err(RecordsError::SyncOutOfOrder { expected_mutation_id: next }.into());
    }
    Ok(client)
}

/// What became of mutations that were applied before. Error: SyncMutationReused.
async fn recall(tx: &Tx<'_>, client: &clients::Model, known: &[Mutation]) -> Result<Vec<Settled>> {
    let (Some(first), Some(last)) = (known.first(), known.last()) else { return Ok(Vec::new()) };
    let rows = mutations::Entity::find()
        .filter(mutations::Column::ClientRowId.eq(client.row_id))
        .filter(mutations::Column::MutationId.between(first.id, last.id))
        .all(&**tx)
        .await?;
    let mut rows: HashMap<i64, mutations::Model> =
        rows.into_iter().map(|row| (row.mutation_id, row)).collect();
    let mut settled = Vec::with_capacity(known.len());
    for mutation in known {
        let corrupt = |column, cause: &str| Error::CorruptRow {
            table: "record_mutations",
            column,
            row: mutation.id,
            cause: cause.to_owned(),
        };
        let row = rows.remove(&mutation.id).ok_or_else(|| corrupt("mutation_id", "is missing"))?;
        if row.fingerprint != mutation.fingerprint {
            return Err(RecordsError::SyncMutationReused { mutation_id: mutation.id }.into());
        }
        let mut outcomes = SyncOutcome::ALL.into_iter();
        let outcome = outcomes.find(|outcome| outcome_number(*outcome) == row.outcome);
        let outcome = outcome.ok_or_else(|| corrupt("outcome", "is unknown"))?;
        settled.push(Settled { outcome, revision: row.revision, error: row.error });
    }
    Ok(settled)
}

/// Earlier mutations that were applied and deleted nothing, if one of these may come after them.
async fn deleted_nothing(tx: &Tx<'_>, client_row_id: i64, new: &[Mutation]) -> Result<HashSet<i64>> {
    let earlier = new.iter().filter_map(|mutation| match mutation.base {
        Base::After(earlier) => Some(earlier),
        _ => None,
    });
    let Some(first) = earlier.min() else { return Ok(HashSet::new()) };
    let rows = mutations::Entity::find()
        .filter(mutations::Column::ClientRowId.eq(client_row_id))
        .filter(mutations::Column::MutationId.gte(first))
        .filter(mutations::Column::Outcome.eq(outcome_number(SyncOutcome::Applied)))
        .filter(mutations::Column::Revision.eq(0))
        .all(&**tx)
        .await?;
    Ok(rows.into_iter().map(|row| row.mutation_id).collect())
}

/// Applies mutations in their order, and keeps what became of them.
async fn apply(
    tx: &Tx<'_>,
    context: &Context,
    client_row_id: i64,
    new: &[Mutation],
    absent: &mut HashSet<i64>,
    (encode, now_us): (Encode, i64),
) -> Result<Vec<Settled>> {
    // Taken hold of in the order of their names, whatever the order of the mutations.
    let possible = new.iter().filter(|mutation| mutation.what.is_ok());
    let mut writers: BTreeMap<&str, Option<Writer<'_>>> =
        possible.map(|mutation| (mutation.collection.as_str(), None)).collect();
    for (name, writer) in &mut writers {
        *writer = match Writer::begin(tx, context, name, now_us).await {
            Ok(begun) => Some(begun),
            Err(Error::Records(RecordsError::CollectionNotFound)) => None,
            Err(error) => return Err(error),
        };
    }
    let mut settled = Vec::with_capacity(new.len());
    for mutation in new {
        let origin = Origin { client_row_id, mutation_id: mutation.id };
        let writer = writers.get_mut(mutation.collection.as_str()).and_then(Option::as_mut);
        let condition = match mutation.base {
            // It left no trace in the collection, and what it had made of the key is that there is no record.
            Base::After(earlier) if absent.contains(&earlier) => Condition::IfAbsent,
            base => base.condition(client_row_id),
        };
        let settlement = settle(writer, mutation, origin, condition, encode).await?;
        if settlement.is_nothing() {
            absent.insert(mutation.id);
        }
        let values: Vec<Value> = vec![
            client_row_id.into(),
            mutation.id.into(),
            outcome_number(settlement.outcome).into(),
            settlement.revision.into(),
            mutation.fingerprint.into(),
            settlement.error.clone().into(),
        ];
        tx.run(KEEP, values).await?;
        settled.push(settlement);
    }
    for writer in writers.into_values().flatten() {
        writer.finish().await?;
    }
    Ok(settled)
}

/// What becomes of one mutation. What is wrong with it alone is its outcome; the errors are the database's.
async fn settle(
    writer: Option<&mut Writer<'_>>,
    mutation: &Mutation,
    origin: Origin,
    condition: Condition,
    encode: Encode,
) -> Result<Settled> {
    let rejected =
        |error: &Error| Settled { outcome: SyncOutcome::Rejected, revision: 0, error: Some(encode(error)) };
    let what = match &mutation.what {
        Ok(what) => what,
        Err(error) => return Ok(rejected(error)),
    };
    let Some(writer) = writer else { return Ok(rejected(&RecordsError::CollectionNotFound.into())) };
    let key = mutation.key.as_str();
    let done = match what {
        What::Put(document) => writer.put_for(origin, key, document, condition).await,
        What::Patch(patch) => {
            writer.patch(Some(origin), key, patch, condition).await.map(|record| record.seq)
        }
        What::Delete => writer.delete_for(origin, key, condition).await,
    };
    match done {
        Ok(revision) => Ok(Settled { outcome: SyncOutcome::Applied, revision, error: None }),
        Err(Error::Records(
            RecordsError::RecordNotFound | RecordsError::RecordExists | RecordsError::RecordChanged,
        )) => Ok(Settled { outcome: SyncOutcome::Conflict, revision: 0, error: None }),
        Err(error @ (Error::Records(_) | Error::Invalid(_))) => Ok(rejected(&error)),
        Err(error) => Err(error),
    }
}

/// What an outcome is stored as.
fn outcome_number(outcome: SyncOutcome) -> i64 {
    match outcome {
        SyncOutcome::Applied => 1,
        SyncOutcome::Conflict => 2,
        SyncOutcome::Rejected => 3,
    }
}

/// What a client asks for after its push.
#[derive(Debug)]
pub struct Pull {
    /// Keys of collections whose records it is to be told: those of conflicts.
    pub conflicts: Vec<(String, String)>,
    /// Collections of which it asks for changes, and from where on.
    pub starts: Vec<(String, Result<Start>)>,
    /// Changes at most.
    pub rows_max: usize,
    /// Bytes of all of it.
    pub budget: Budget,
}

/// What a client is told after its push.
#[derive(Debug)]
pub struct Pulled {
    /// The records of conflicts: none where there is none; left off from where the answer is full.
    pub conflicts: Vec<Option<Record>>,
    /// Changes, or why there are none.
    pub changes: Vec<Result<Changes>>,
}

/// Reads what others did.
pub async fn pull(db: &Db<'_>, pull: &Pull) -> Result<Pulled> {
    let mut budget = pull.budget;
    let mut conflicts = Vec::with_capacity(pull.conflicts.len());
    for (collection, key) in &pull.conflicts {
        let row = match collections::find(db, collection).await {
            Ok(collection) => current(db, collection.id, key).await?,
            Err(Error::Records(RecordsError::CollectionNotFound)) => None,
            Err(error) => return Err(error),
        };
        let record = row.map(Row::record).transpose()?;
        // The outcome counts; a record that is larger than any answer can be read by Get.
        let bytes = record.as_ref().map_or(0, record_bytes);
        if !budget.take(bytes, String::new).unwrap_or(false) {
            break;
        }
        conflicts.push(record);
    }
    let mut changes = Vec::with_capacity(pull.starts.len());
    let mut rows_left = pull.rows_max;
    for (collection, start) in &pull.starts {
        let told = told(db, collection, start, rows_left, budget).await;
        changes.push(match told {
            Ok((told, left)) => {
                (rows_left, budget) = (rows_left - told.records.len(), left);
                Ok(told)
            }
            Err(error @ Error::Records(_)) => Err(error),
            Err(error) => return Err(error),
        });
    }
    Ok(Pulled { conflicts, changes })
}

async fn told(
    db: &Db<'_>,
    collection: &str,
    start: &Result<Start>,
    rows_max: usize,
    budget: Budget,
) -> Result<(Changes, Budget)> {
    let Ok(start) = start else { return Err(RecordsError::CursorInvalid.into()) };
    let collection = collections::find(db, collection).await?;
    changes_of(db, &collection, *start, rows_max, budget).await
}
