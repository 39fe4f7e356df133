//! `prompt_search`, `prompt_search_state`: the index of the words of prompts, and how far it has come.
//!
//! Both are derived from `prompt_bodies`: no export has them, an import empties them, and the sidecar fills them again by itself.
//!
//! Words come cut (`src/services/prompts/search/tokens.rs`), so neither database cuts or changes them:
//! - SQLite: an FTS5 table that holds no texts. `ascii` takes every letter that is not ASCII for a letter and leaves it as it is; the
//!   columns stand in the order of their weight; beginnings of one and of two characters have lists of their own, without which
//!   `a*` would add up those of all words with an a.
//! - PostgreSQL: a vector, and a GIN index on it; `truncated` where a vector does not hold all words or places.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const FTS5: &str = r#"CREATE VIRTUAL TABLE "prompt_search" USING fts5("idea", "improved_prompt", "context",
    content='', contentless_delete=1, tokenize='ascii', prefix='1 2')"#;

/// FTS5 by itself merges segments inside of saves, hundreds of pages at a time: a save that met a merge held the writer for 60 ms. The
/// sidecar merges in steps of its own. Level 0 is merged by a save only when it has 256 segments.
const MERGED_IN_STEPS: &str = r#"INSERT INTO "prompt_search" ("prompt_search", "rank")
    VALUES ('automerge', 0), ('crisismerge', 256)"#;

const VECTORS: &str = r#"CREATE TABLE "prompt_search" ("id" bigint NOT NULL PRIMARY KEY, "document" tsvector NOT NULL, "truncated" boolean NOT NULL)"#;

/// Of few entries: those of which the vector does not hold all.
const TRUNCATED: &str =
    r#"CREATE INDEX "prompt_search_truncated" ON "prompt_search" ("id") WHERE "truncated""#;

const GIN: &str = r#"CREATE INDEX "prompt_search_by_words" ON "prompt_search" USING gin ("document")"#;

/// Of no prompts, all are in it.
const FILLED: &str = r#"INSERT INTO "prompt_search_state" ("id", "version", "next_id")
    SELECT 1, 2, 0 WHERE NOT EXISTS (SELECT 1 FROM "prompts")"#;

#[derive(DeriveIden)]
enum PromptSearchState {
    Table,
    Id,
    Version,
    NextId,
}

/// One row; none: nothing is in the index yet.
fn state() -> TableCreateStatement {
    use PromptSearchState as C;
    let number = |column: C| ColumnDef::new(column).big_integer().not_null().take();
    Table::create()
        .table(C::Table)
        .col(number(C::Id).primary_key().take())
        // Which words they are.
        .col(number(C::Version))
        // The prompts up to this number are not looked at yet; zero: it is filled.
        .col(number(C::NextId))
        .take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements: &[&str] = match manager.get_database_backend() {
            DbBackend::Sqlite => &[FTS5, MERGED_IN_STEPS],
            _ => &[VECTORS, GIN, TRUNCATED],
        };
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        manager.create_table(state()).await?;
        manager.get_connection().execute_unprepared(FILLED).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(PromptSearchState::Table).take()).await?;
        manager.get_connection().execute_unprepared(r#"DROP TABLE "prompt_search""#).await.map(drop)
    }
}
