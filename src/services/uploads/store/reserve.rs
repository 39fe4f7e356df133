//! Reservations: the right to send a file, for a time.
//!
//! A reservation is a row of its file's key. Its token is random, as a lease of the cache has it: each is another, and one that
//! was given before is told from the present one by being different. A reservation is lost when its time is over, when it is
//! released and when the file is registered.

use std::collections::HashMap;

use sea_orm::Value;
use uuid::Uuid;

use super::names::Names;
use super::{check, rows, sql};
use crate::error::Result;
use crate::services::uploads::domain::NameKind;
use crate::services::uploads::file::{Sha256, Wish};
use crate::storage::{Db, Tx, chunks, places, row, rows_that_share};

/// A reservation that may be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) token: Uuid,
    pub(super) expire_us: i64,
}

impl Held {
    /// Whether `token` holds it.
    pub(super) fn is_held_by(&self, token: Uuid, now_us: i64) -> bool {
        self.token == token && self.expire_us > now_us
    }
}

row! {
    struct Row {
        hash: Vec<u8>,
        token: Uuid,
        expire_time: i64,
    }
}

/// Reserves files until `until_us`, each with the token at its place; tells what became of each.
///
/// The files are looked at before, because most callers know nothing of them, and again after the reservations are made: on a
/// database of several writers a file may be registered, and its reservation given back, between two statements.
pub async fn reserve(
    tx: &Tx<'_>,
    names: &Names,
    service: &str,
    hashes: &[(Sha256, Uuid)],
    until_us: i64,
    now_us: i64,
) -> Result<Vec<Wish>> {
    let service_number = names.ensure(tx, NameKind::Service, service).await?;
    let mut tokens: Vec<(Sha256, Uuid)> = hashes.to_vec();
    // Of two wishes for one file the first counts: the sort is stable.
    tokens.sort_by_key(|(hash, _)| *hash);
    tokens.dedup_by_key(|(hash, _)| *hash);
    let all: Vec<Sha256> = tokens.iter().map(|(hash, _)| *hash).collect();

    let mut known = check::look(tx, service_number, &all).await?;
    let unknown: Vec<Sha256> = all.into_iter().filter(|hash| !known.contains_key(hash)).collect();
    let held = lock(tx, service_number, &unknown).await?;
    let is_free = |hash: &Sha256| held.get(hash).is_none_or(|held| held.expire_us <= now_us);
    let free: Vec<Sha256> = unknown.iter().filter(|hash| is_free(hash)).copied().collect();
    let over: Vec<Sha256> = free.iter().filter(|hash| held.contains_key(hash)).copied().collect();
    remove(tx, service_number, &over).await?;
    tokens.retain(|(hash, _)| free.binary_search(hash).is_ok());
    insert(tx, service_number, &tokens, until_us).await?;

    let late = check::look(tx, service_number, &free).await?;
    let taken: Vec<Sha256> = free.iter().filter(|hash| late.contains_key(hash)).copied().collect();
    remove(tx, service_number, &taken).await?;
    known.extend(late);

    let granted: HashMap<Sha256, Uuid> = tokens.into_iter().collect();
    let mut wishes = Vec::with_capacity(hashes.len());
    for (hash, token) in hashes {
        wishes.push(match (known.get(hash), held.get(hash)) {
            (Some(row), _) => Wish::Uploaded(Box::new(row.clone().file(tx, names).await?)),
            (None, _) if granted.get(hash) == Some(token) => Wish::Granted(*token),
            (None, Some(held)) if held.expire_us > now_us => Wish::Held(held.expire_us),
            // The same call has it, at an earlier place.
            (None, _) => Wish::Held(until_us),
        });
    }
    Ok(wishes)
}

/// Has reservations end at `until_us`; tells of each whether it is held.
pub async fn extend(
    tx: &Tx<'_>,
    names: &Names,
    service: &str,
    reservations: &[(Sha256, Uuid)],
    until_us: i64,
    now_us: i64,
) -> Result<Vec<bool>> {
    let (service_number, held, answer) = own(tx, names, service, reservations, now_us).await?;
    for chunk in chunks(&held) {
        let mut values = sql::of_hashes(service_number, chunk);
        values.insert(0, until_us.into());
        tx.run(&extend_query(chunk.len()), values).await?;
    }
    Ok(answer)
}

pub(super) fn extend_query(hashes: usize) -> String {
    let places = places(3, hashes);
    format!(
        r#"UPDATE "upload_reservations" SET "expire_time" = $1 WHERE "service_id" = $2 AND "hash" IN ({places})"#
    )
}

/// Gives reservations back; tells of each whether it was held.
pub async fn release(
    tx: &Tx<'_>,
    names: &Names,
    service: &str,
    reservations: &[(Sha256, Uuid)],
    now_us: i64,
) -> Result<Vec<bool>> {
    let (service_number, held, answer) = own(tx, names, service, reservations, now_us).await?;
    remove(tx, service_number, &held).await?;
    Ok(answer)
}

/// The service's number, the hashes whose reservations are held, locked, and of each reservation whether it is.
async fn own(
    tx: &Tx<'_>,
    names: &Names,
    service: &str,
    reservations: &[(Sha256, Uuid)],
    now_us: i64,
) -> Result<(i64, Vec<Sha256>, Vec<bool>)> {
    let Some(service_number) = names.number(tx, NameKind::Service, service).await? else {
        return Ok((0, Vec::new(), vec![false; reservations.len()]));
    };
    let mut hashes: Vec<Sha256> = reservations.iter().map(|(hash, _)| *hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    let rows = lock(tx, service_number, &hashes).await?;
    let is_held =
        |hash: &Sha256, token: Uuid| rows.get(hash).is_some_and(|held| held.is_held_by(token, now_us));
    let answer: Vec<bool> = reservations.iter().map(|(hash, token)| is_held(hash, *token)).collect();
    let mut held: Vec<Sha256> =
        reservations.iter().zip(&answer).filter(|(_, held)| **held).map(|((hash, _), _)| *hash).collect();
    held.sort_unstable();
    held.dedup();
    Ok((service_number, held, answer))
}

/// The reservations of hashes, also those that are over.
pub(super) async fn held(
    db: &Db<'_>,
    service_number: i64,
    hashes: &[Sha256],
) -> Result<HashMap<Sha256, Held>> {
    read(db, service_number, hashes, held_query).await
}

/// The same, locked in the order of the hashes, which must be ascending.
pub(super) async fn lock(
    tx: &Tx<'_>,
    service_number: i64,
    hashes: &[Sha256],
) -> Result<HashMap<Sha256, Held>> {
    read(tx, service_number, hashes, |count| tx.locking(&held_query(count)).into_owned()).await
}

async fn read(
    db: &Db<'_>,
    service_number: i64,
    hashes: &[Sha256],
    query: impl Fn(usize) -> String,
) -> Result<HashMap<Sha256, Held>> {
    let mut found = HashMap::new();
    for chunk in chunks(hashes) {
        let values = sql::of_hashes(service_number, chunk);
        for row in db.rows::<Row>(&query(chunk.len()), values).await? {
            let held = Held { token: row.token, expire_us: row.expire_time };
            found.insert(rows::hash("upload_reservations", 0, &row.hash)?, held);
        }
    }
    Ok(found)
}

pub(super) fn held_query(hashes: usize) -> String {
    format!(
        r#"SELECT "hash", "token", "expire_time" FROM "upload_reservations" WHERE "service_id" = $1
        AND "hash" IN ({}) ORDER BY "hash""#,
        places(2, hashes)
    )
}

async fn insert(tx: &Tx<'_>, service_number: i64, tokens: &[(Sha256, Uuid)], until_us: i64) -> Result<()> {
    for chunk in chunks(tokens) {
        let mut values: Vec<Value> = vec![service_number.into(), until_us.into()];
        for (hash, token) in chunk {
            values.extend([sql::bytes(hash), (*token).into()]);
        }
        let insert =
            r#"INSERT INTO "upload_reservations" ("service_id", "expire_time", "hash", "token") VALUES"#;
        tx.run(&format!("{insert} {}", rows_that_share(2, chunk.len(), 2)), values).await?;
    }
    Ok(())
}

/// Removes the reservations of hashes, which are locked.
pub(super) async fn remove(tx: &Tx<'_>, service_number: i64, hashes: &[Sha256]) -> Result<()> {
    for chunk in chunks(hashes) {
        let values = sql::of_hashes(service_number, chunk);
        tx.run(&remove_query(chunk.len()), values).await?;
    }
    Ok(())
}

pub(super) fn remove_query(hashes: usize) -> String {
    let places = places(2, hashes);
    format!(r#"DELETE FROM "upload_reservations" WHERE "service_id" = $1 AND "hash" IN ({places})"#)
}
