//! What is known of hashes, of one service or of all.

use std::collections::{HashMap, HashSet};

use super::names::{Names, services as all_services};
use super::rows::{self, FILE_COLUMNS, FileRow};
use super::{reserve, sql};
use crate::error::Result;
use crate::services::uploads::domain::NameKind;
use crate::services::uploads::file::{FileState, Sha256};
use crate::storage::{Db, Tx, chunks, places, row};

row! {
    struct Known {
        hash: Vec<u8>,
    }
}

/// What is known of each hash, in their order; of those that are there the files, unless only their state is asked for. An empty
/// service stands for all that files were ever registered for, in the order of their names.
pub async fn check(
    db: &Db<'_>,
    names: &Names,
    service: &str,
    hashes: &[Sha256],
    states_only: bool,
    now_us: i64,
) -> Result<Vec<FileState>> {
    let services = if service.is_empty() { all_services(db).await? } else { vec![service.to_owned()] };
    let mut states: HashMap<Sha256, FileState> = HashMap::with_capacity(hashes.len());
    for service in &services {
        let Some(number) = names.number(db, NameKind::Service, service).await? else { continue };
        add_known(db, names, number, hashes, states_only, &mut states).await?;
        let unknown: Vec<Sha256> = hashes
            .iter()
            .filter(|hash| !matches!(states.get(hash), Some(FileState::Uploaded(_))))
            .copied()
            .collect();
        for (hash, reservation) in reserve::held(db, number, &unknown).await? {
            if reservation.expire_us > now_us {
                let longest_us = match states.get(&hash) {
                    Some(FileState::Reserved(until_us)) => reservation.expire_us.max(*until_us),
                    _ => reservation.expire_us,
                };
                states.insert(hash, FileState::Reserved(longest_us));
            }
        }
    }
    Ok(hashes.iter().map(|hash| states.get(hash).cloned().unwrap_or(FileState::Unknown)).collect())
}

/// Adds what a service knows of hashes.
async fn add_known(
    db: &Db<'_>,
    names: &Names,
    service_number: i64,
    hashes: &[Sha256],
    states_only: bool,
    states: &mut HashMap<Sha256, FileState>,
) -> Result<()> {
    if states_only {
        for hash in known(db, service_number, hashes).await? {
            states.insert(hash, FileState::Uploaded(Vec::new()));
        }
        return Ok(());
    }
    for (hash, row) in look(db, service_number, hashes).await? {
        let file = row.file(db, names).await?;
        match states.get_mut(&hash) {
            Some(FileState::Uploaded(files)) => files.push(file),
            _ => drop(states.insert(hash, FileState::Uploaded(vec![file]))),
        }
    }
    Ok(())
}

/// The rows of those hashes that are known.
pub(super) async fn look(
    db: &Db<'_>,
    service_number: i64,
    hashes: &[Sha256],
) -> Result<HashMap<Sha256, FileRow>> {
    let mut found = HashMap::new();
    for chunk in chunks(hashes) {
        let values = sql::of_hashes(service_number, chunk);
        for row in db.rows::<FileRow>(&look_query(chunk.len()), values).await? {
            found.insert(row.hash()?, row);
        }
    }
    Ok(found)
}

pub(super) fn look_query(hashes: usize) -> String {
    format!(
        r#"SELECT {FILE_COLUMNS} FROM "upload_files" f LEFT JOIN "upload_sessions" s ON s."row_id" = f."session_row_id"
        WHERE f."service_id" = $1 AND f."hash" IN ({})"#,
        places(2, hashes)
    )
}

/// Those hashes that are known: answered by the index alone.
pub(super) async fn known(db: &Db<'_>, service_number: i64, hashes: &[Sha256]) -> Result<HashSet<Sha256>> {
    let mut found = HashSet::new();
    for chunk in chunks(hashes) {
        let values = sql::of_hashes(service_number, chunk);
        for row in db.rows::<Known>(&known_query(chunk.len()), values).await? {
            found.insert(rows::hash("upload_files", 0, &row.hash)?);
        }
    }
    Ok(found)
}

pub(super) fn known_query(hashes: usize) -> String {
    let places = places(2, hashes);
    format!(r#"SELECT "hash" FROM "upload_files" WHERE "service_id" = $1 AND "hash" IN ({places})"#)
}

/// Deletes what is known of hashes; tells of each whether it was known.
pub async fn forget(tx: &Tx<'_>, names: &Names, service: &str, hashes: &[Sha256]) -> Result<Vec<bool>> {
    let Some(service_number) = names.number(tx, NameKind::Service, service).await? else {
        return Ok(vec![false; hashes.len()]);
    };
    let mut sorted = hashes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut forgotten = HashSet::new();
    for chunk in chunks(&sorted) {
        let values = || sql::of_hashes(service_number, chunk);
        // Locked in their order: two that forget the same files do not wait for one another in a circle.
        tx.lock(&format!("{} ORDER BY \"hash\"", known_query(chunk.len())), values()).await?;
        forgotten.extend(known(tx, service_number, chunk).await?);
        tx.run(&forget_query(chunk.len()), values()).await?;
    }
    // Of a hash that comes twice the first one was known.
    Ok(hashes.iter().map(|hash| forgotten.remove(hash)).collect())
}

pub(super) fn forget_query(hashes: usize) -> String {
    let places = places(2, hashes);
    format!(r#"DELETE FROM "upload_files" WHERE "service_id" = $1 AND "hash" IN ({places})"#)
}
