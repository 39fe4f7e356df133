//! The uploads' ceiling: files by one unique index, a session's row that each registration advances, nothing else.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{Inline, Sync, Table, now};
use crate::Fallible;
use crate::files::File;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS session (
        id INTEGER PRIMARY KEY,
        registered INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        last TEXT NOT NULL
    );
    INSERT OR IGNORE INTO session VALUES (1, 0, 0, '');
    CREATE TABLE IF NOT EXISTS file (
        id INTEGER PRIMARY KEY,
        service INTEGER NOT NULL,
        source INTEGER NOT NULL,
        session INTEGER NOT NULL,
        mime_type INTEGER NOT NULL,
        size INTEGER NOT NULL,
        uploaded INTEGER NOT NULL,
        hash BLOB NOT NULL,
        path TEXT NOT NULL,
        service_file_id TEXT NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS file_hash ON file (service, hash);";
const INSERT: &str = "
    INSERT INTO file (service, source, session, mime_type, size, uploaded, hash, path, service_file_id)
    VALUES (1, 1, 1, 1, ?1, ?2, ?3, ?4, ?5) ON CONFLICT (service, hash) DO NOTHING";
const ADVANCE: &str = "UPDATE session SET registered = registered + ?1, updated = ?2, last = ?3 WHERE id = 1";
const SELECT: &str = "
    SELECT source, session, mime_type, size, uploaded, path, service_file_id FROM file WHERE service = 1 AND hash = ?1";
const COUNT: &str = "SELECT (SELECT count(*) FROM file) = registered, registered FROM session";
/// Files of one commit of the fill.
const FILL: usize = 10_000;

/// The tables.
pub(crate) struct Files;

/// What is done with them.
pub(crate) enum Step {
    Register(Vec<File>),
    /// How many there are, which must be what the session has counted.
    Count,
}

impl Table for Files {
    type Step = Step;
    /// Files that were registered, or that there are.
    type Answer = u64;

    fn apply(&mut self, connection: &Connection, steps: Vec<Step>) -> Fallible<Vec<u64>> {
        let step = |step| match step {
            Step::Register(files) => register(connection, &files),
            Step::Count => count(connection),
        };
        steps.into_iter().map(step).collect()
    }
}

fn register(connection: &Connection, files: &[File]) -> Fallible<u64> {
    let now = now()?;
    let mut insert = connection.prepare_cached(INSERT)?;
    let mut added = 0;
    for file in files {
        let hash = file.hash();
        added +=
            insert.execute(params![file.size_bytes(), now, hash, file.path(), file.service_file_id()])?;
    }
    let last = files.last().map(|file| file.path());
    connection.prepare_cached(ADVANCE)?.execute(params![added as i64, now, last])?;
    Ok(added as u64)
}

fn count(connection: &Connection) -> Fallible<u64> {
    let (agree, registered): (bool, i64) =
        connection.query_row(COUNT, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if agree { Ok(registered as u64) } else { Err("the ceiling's session disagrees with its files".into()) }
}

impl Inline<Files> {
    /// Opens the database of the folder.
    pub(crate) fn files(folder: &Path) -> Fallible<Self> {
        Self::open(folder, Sync::Full, TABLES, Files)
    }

    /// Registers the files, with progress: how many are done.
    pub(crate) fn fill(&mut self, files: std::ops::Range<u64>, progress: impl Fn(u64)) -> Fallible<()> {
        for from in files.clone().step_by(FILL) {
            let until = files.end.min(from + FILL as u64);
            self.commit(vec![Step::Register((from..until).map(File).collect())])?;
            progress(until);
        }
        Ok(())
    }

    /// Reads the files, all of which must be there, from one snapshot, and copies each row out.
    pub(crate) fn check(&self, files: &[File]) -> Fallible<()> {
        // One file needs no transaction to be one snapshot.
        if files.len() > 1 {
            self.connection.prepare_cached("BEGIN")?.execute([])?;
        }
        let mut select = self.connection.prepare_cached(SELECT)?;
        for file in files {
            let row = select.query_row([file.hash()], |row| {
                let mut numbers = [0_i64; 5];
                for (index, number) in numbers.iter_mut().enumerate() {
                    *number = row.get(index)?;
                }
                Ok((numbers, row.get::<_, String>(5)?, row.get::<_, String>(6)?))
            })?;
            std::hint::black_box(row);
        }
        if files.len() > 1 {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_registered_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut inline = Inline::files(folder.path()).unwrap();
        inline.fill(0..3, |_| ()).unwrap();
        inline.check(&[File(0), File(2)]).unwrap();
        assert!(inline.check(&[File(3)]).is_err());
        let writer = Inline::files(folder.path()).unwrap().into_writer();
        assert_eq!(writer.run(Step::Register(vec![File(2), File(3)])).await.unwrap(), 1);
        assert_eq!(writer.run(Step::Count).await.unwrap(), 4);
    }
}
