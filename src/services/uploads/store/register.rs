//! Registering files: the files, their reservations, the errors that they resolve and the session's counts change in one step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::Value;

use super::names::Names;
use super::reserve::Held;
use super::rows::FileRow;
use super::sessions::{Metadata, lock, save_advanced};
use super::{check, errors, reserve, rows, sql};
use crate::error::{Error, Result};
use crate::services::uploads::domain::{Counts, NameKind, Session};
use crate::services::uploads::file::{File, NewFile, Outcome, Sent, Sha256, base_name};
use crate::storage::{Tx, chunks, rows_that_share};

/// What became of files that were registered.
#[derive(Debug)]
pub struct Registered {
    /// Of each; or why it was refused: UploadReservationLost, UploadFileReserved.
    pub outcomes: Vec<Result<Outcome>>,
    /// The session that was advanced, without its metadata.
    pub session: Option<Session>,
}

/// What is stored of the hashes of one service.
struct Stored {
    files: HashMap<Sha256, FileRow>,
    reservations: HashMap<Sha256, Held>,
}

/// Registers files and advances the session, if one is named, to be resumed at `resume_at` or, if that is not said, at the last
/// file that is not refused.
///
/// A file that is known is a duplicate, whatever its token. Errors, each before anything is written but names: those of the
/// session; TooManyUploadNames.
pub async fn register(
    tx: &Tx<'_>,
    names: &Names,
    session_id: Option<&str>,
    files: &[NewFile],
    resume_at: Option<&str>,
    (now_us, steady_us): (i64, i64),
) -> Result<Registered> {
    let session = match session_id {
        Some(id) => Some(lock(tx, names, id, Metadata::Left).await?),
        None => None,
    };
    if let Some(session) = &session {
        session.refuse_if_finished().map_err(rows::refused)?;
    }
    ensure_names(tx, names, session.as_ref(), files).await?;
    let mut hashes: BTreeMap<i64, BTreeSet<Sha256>> = BTreeMap::new();
    let mut services = HashMap::new();
    for new in files {
        let service = new.file.service.as_str();
        let number = match services.get(service) {
            Some(number) => *number,
            None => names.ensure(tx, NameKind::Service, service).await?,
        };
        services.insert(service, number);
        hashes.entry(number).or_default().insert(new.file.hash);
    }
    let mut stored = BTreeMap::new();
    for (service_number, hashes) in &hashes {
        stored.insert(*service_number, look(tx, *service_number, hashes).await?);
    }

    let mut plan = Plan::default();
    for new in files {
        let service_number = services.get(new.file.service.as_str()).copied().unwrap_or_default();
        let Some(stored) = stored.get(&service_number) else { continue };
        plan.add(tx, names, service_number, stored, new, steady_us).await?;
    }
    insert(tx, names, session.as_ref(), &plan.added).await?;
    for (service_number, hashes) in &plan.released {
        let hashes: Vec<Sha256> = hashes.iter().copied().collect();
        reserve::remove(tx, *service_number, &hashes).await?;
    }
    let session = match session {
        Some(session) if !plan.paths.is_empty() => {
            Some(advance(tx, session, &plan, resume_at, now_us).await?)
        }
        other => other,
    };
    Ok(Registered { outcomes: plan.outcomes, session })
}

/// Gives numbers to all names that the files bring, in one order: two calls that bring the same ones do not wait in a circle.
async fn ensure_names(
    tx: &Tx<'_>,
    names: &Names,
    session: Option<&Session>,
    files: &[NewFile],
) -> Result<()> {
    let known_source = session.map_or("", |session| session.source_id.as_str());
    let named = files.iter().flat_map(|new| {
        let File { service, source_id, mime_type, .. } = &new.file;
        let source_id = if source_id == known_source { "" } else { source_id.as_str() };
        [
            (NameKind::Service, service.as_str()),
            (NameKind::Source, source_id),
            (NameKind::MimeType, mime_type),
        ]
    });
    names.ensure_all(tx, named.filter(|(_, name)| !name.is_empty())).await
}

/// Locks the reservations first: after that nobody registers one of the files by its reservation before this step is over.
async fn look(tx: &Tx<'_>, service_number: i64, hashes: &BTreeSet<Sha256>) -> Result<Stored> {
    let hashes: Vec<Sha256> = hashes.iter().copied().collect();
    let reservations = reserve::lock(tx, service_number, &hashes).await?;
    Ok(Stored { files: check::look(tx, service_number, &hashes).await?, reservations })
}

/// What is to be written.
#[derive(Default)]
struct Plan<'n> {
    outcomes: Vec<Result<Outcome>>,
    /// In ascending order: of two that insert the same hashes, one waits for the other and none in a circle.
    added: BTreeMap<(i64, Sha256), &'n File>,
    released: BTreeMap<i64, BTreeSet<Sha256>>,
    /// Of files that are not refused.
    paths: Vec<&'n str>,
}

impl<'n> Plan<'n> {
    async fn add(
        &mut self,
        tx: &Tx<'_>,
        names: &Names,
        service_number: i64,
        stored: &Stored,
        new: &'n NewFile,
        steady_us: i64,
    ) -> Result<()> {
        let key = (service_number, new.file.hash);
        let reservation = stored.reservations.get(&new.file.hash);
        let is_over = reservation.is_none_or(|held| held.expire_us <= steady_us);
        let is_holder = match (reservation, new.sent) {
            (Some(held), Sent::Reserved(token)) => held.is_held_by(token, steady_us),
            _ => false,
        };
        let refusal = match new.sent {
            Sent::Unreserved if !is_over => Some(Error::UploadFileReserved),
            Sent::Reserved(_) if !is_holder => Some(Error::UploadReservationLost),
            _ => None,
        };
        let outcome = if let Some(row) = stored.files.get(&new.file.hash) {
            Ok(Outcome::Duplicate(Box::new(row.clone().file(tx, names).await?)))
        } else if let Some(first) = self.added.get(&key) {
            Ok(Outcome::Duplicate(Box::new((*first).clone())))
        } else if let Some(refusal) = refusal {
            Err(refusal)
        } else {
            self.added.insert(key, &new.file);
            Ok(Outcome::Registered)
        };
        if outcome.is_ok() {
            self.paths.push(&new.file.path);
        }
        if reservation.is_some() && (is_holder || is_over) {
            self.released.entry(service_number).or_default().insert(new.file.hash);
        }
        self.outcomes.push(outcome);
        Ok(())
    }

    fn counts(&self) -> Counts {
        let success = i64::try_from(self.added.len()).unwrap_or(i64::MAX);
        let accepted = i64::try_from(self.paths.len()).unwrap_or(i64::MAX);
        Counts { success, duplicate: accepted - success, error: 0 }
    }
}

async fn advance(
    tx: &Tx<'_>,
    mut session: Session,
    plan: &Plan<'_>,
    resume_at: Option<&str>,
    now_us: i64,
) -> Result<Session> {
    let resolved = errors::resolve(tx, &session, &plan.paths, now_us).await?;
    let change = plan.counts().plus(Counts { error: -resolved.counted, ..Counts::default() });
    session.logged_errors -= resolved.logged;
    let resume_at = resume_at.or(plan.paths.last().copied()).unwrap_or_default();
    session.advance(change, resume_at).map_err(rows::refused)?;
    save_advanced(tx, session, now_us).await
}

async fn insert(
    tx: &Tx<'_>,
    names: &Names,
    session: Option<&Session>,
    added: &BTreeMap<(i64, Sha256), &File>,
) -> Result<()> {
    let mut rows: Vec<[Value; 9]> = Vec::with_capacity(added.len());
    for ((service_number, _), file) in added {
        rows.push(row(tx, names, *service_number, session, file).await?);
    }
    for chunk in chunks(&rows) {
        let mut values: Vec<Value> = vec![session.map(|session| session.row_id).into()];
        values.extend(chunk.iter().flatten().cloned());
        tx.run(&insert_query(chunk.len()), values).await?;
    }
    Ok(())
}

async fn row(
    tx: &Tx<'_>,
    names: &Names,
    service_number: i64,
    session: Option<&Session>,
    file: &File,
) -> Result<[Value; 9]> {
    let source_number = match session {
        Some(session) if file.source_id.is_empty() || file.source_id == session.source_id => {
            Some(session.source_number)
        }
        _ => names.ensure_filled(tx, NameKind::Source, &file.source_id).await?,
    };
    let mime_type_number = names.ensure_filled(tx, NameKind::MimeType, &file.mime_type).await?;
    let is_named_by_path = file.name.is_empty() || file.name == base_name(&file.path);
    Ok([
        service_number.into(),
        source_number.into(),
        mime_type_number.into(),
        file.size_bytes.into(),
        file.upload_us.into(),
        sql::bytes(&file.hash),
        file.path.as_str().into(),
        (!is_named_by_path).then_some(file.name.as_str()).into(),
        rows::filled(&file.service_file_id).into(),
    ])
}

/// The insert of so many rows.
fn insert_query(rows: usize) -> String {
    format!(
        r#"INSERT INTO "upload_files" ("session_row_id", "service_id", "source_id", "mime_type_id", "size_bytes", "upload_time",
        "hash", "path", "name", "service_file_id") VALUES {}"#,
        rows_that_share(1, rows, 9)
    )
}
