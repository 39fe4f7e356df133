//! The prompts' ceiling: a row of small columns and a row of texts, with what it takes to list them; `Searched` has a full-text
//! index of the three texts besides.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{Inline, Sync, Table, now};
use crate::Fallible;
use crate::prompts::Entry;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS prompt (
        id INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        created INTEGER NOT NULL,
        backend TEXT NOT NULL,
        model TEXT NOT NULL,
        framework TEXT NOT NULL,
        provider TEXT NOT NULL,
        failed INTEGER NOT NULL,
        confidence REAL,
        latency INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        conversation TEXT NOT NULL,
        tag TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS prompt_time ON prompt (time);
    CREATE INDEX IF NOT EXISTS prompt_backend ON prompt (backend, time);
    CREATE INDEX IF NOT EXISTS prompt_model ON prompt (model, time);
    CREATE INDEX IF NOT EXISTS prompt_framework ON prompt (framework, time);
    CREATE INDEX IF NOT EXISTS prompt_conversation ON prompt (conversation, time);
    CREATE INDEX IF NOT EXISTS prompt_tag ON prompt (tag, time);
    CREATE TABLE IF NOT EXISTS body (
        id INTEGER PRIMARY KEY,
        idea TEXT NOT NULL,
        context TEXT NOT NULL,
        improved TEXT NOT NULL,
        reasoning TEXT NOT NULL
    );";
const SEARCH: &str = "
    CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5 (idea, context, improved, content = '');";
const INSERT: &str = "
    INSERT INTO prompt (time, created, backend, model, framework, provider, failed, confidence, latency, prompt_tokens, completion_tokens,
        conversation, tag)
    VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
const INSERT_BODY: &str =
    "INSERT INTO body (id, idea, context, improved, reasoning) VALUES (?1, ?2, ?3, ?4, ?5)";
const INSERT_SEARCH: &str = "INSERT INTO search (rowid, idea, context, improved) VALUES (?1, ?2, ?3, ?4)";

/// What there is besides the rows and the indexes of the lists.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    Lean,
    Searched,
}

/// The tables.
pub(crate) struct Prompts {
    shape: Shape,
}

/// Opens a database in the folder.
pub(crate) fn open(folder: &Path, shape: Shape) -> Fallible<Inline<Prompts>> {
    let schema = if shape == Shape::Searched { format!("{TABLES} {SEARCH}") } else { TABLES.to_owned() };
    Inline::open(folder, Sync::Full, &schema, Prompts { shape })
}

impl Table for Prompts {
    type Step = Vec<Entry>;
    /// How many were saved.
    type Answer = u64;

    fn apply(&mut self, connection: &Connection, steps: Vec<Self::Step>) -> Fallible<Vec<u64>> {
        let save = |entries: Vec<Entry>| {
            for entry in &entries {
                self.save(connection, *entry)?;
            }
            Ok(entries.len() as u64)
        };
        steps.into_iter().map(save).collect()
    }
}

impl Prompts {
    fn save(&self, connection: &Connection, entry: Entry) -> Fallible<()> {
        let (prompt_tokens, completion_tokens) = entry.tokens();
        connection.prepare_cached(INSERT)?.execute(params![
            now()?,
            entry.backend(),
            entry.model(),
            entry.framework(),
            entry.provider(),
            entry.is_failed(),
            entry.confidence(),
            entry.latency_us(),
            prompt_tokens,
            completion_tokens,
            entry.conversation_id(),
            entry.tag()
        ])?;
        let id = connection.last_insert_rowid();
        let (idea, context, improved) = (entry.idea(), entry.context(), entry.improved_prompt());
        let body = params![id, idea, context, improved, entry.reasoning()];
        connection.prepare_cached(INSERT_BODY)?.execute(body)?;
        if self.shape == Shape::Searched {
            connection.prepare_cached(INSERT_SEARCH)?.execute(params![id, idea, context, improved])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_saved_is_there_and_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(folder.path(), Shape::Searched).unwrap().into_writer();
        assert_eq!(writer.run((500..503).map(Entry).collect()).await.unwrap(), 3);
        let again = open(folder.path(), Shape::Searched).unwrap();
        let count = |sql: &str| again.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!((count("SELECT count(*) FROM prompt"), count("SELECT count(*) FROM body")), (3, 3));
        assert_eq!(count("SELECT count(*) FROM search WHERE search MATCH 'zephyrine'"), 1);
    }
}
