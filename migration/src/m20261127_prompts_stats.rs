//! `prompt_stats`, `prompt_stat_changes`: numbers of prompts by hour, by day and by thirty days, of each backend, model and framework.
//!
//! Whoever saves or deletes prompts adds rows to `prompt_stat_changes` in the same transaction and waits for nobody; now and then the
//! sidecar adds them up in `prompt_stats`. Statistics read both: they are exact at any moment.
//!
//! The primary key of `prompt_stats` serves a range of either; `prompt_stat_changes` is short and read whole.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum PromptStats {
    Table,
    Span,
    StartTime,
}

#[derive(DeriveIden)]
enum PromptStatChanges {
    Table,
    Id,
    StartTime,
}

/// The columns of both tables: the key, and the numbers of its prompts. A sum that may exceed 64 bits has two columns: it is `high` times
/// 2^62 plus the other one, both of its sign.
#[derive(DeriveIden)]
enum Numbers {
    BackendId,
    ModelId,
    FrameworkId,
    PromptCount,
    FailedCount,
    ConfidenceCount,
    ConfidenceMicros,
    LatencyCount,
    LatencyUs,
    PromptTokens,
    CompletionTokens,
    CostMicros,
    LatencyHigh,
    PromptTokensHigh,
    CompletionTokensHigh,
    CostHigh,
    Latencies,
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn key_and_numbers(table: &mut TableCreateStatement) -> TableCreateStatement {
    use Numbers as N;
    for column in [
        // Zero for none.
        N::BackendId,
        N::ModelId,
        N::FrameworkId,
        N::PromptCount,
        N::FailedCount,
        N::ConfidenceCount,
        // Millionths.
        N::ConfidenceMicros,
        N::LatencyCount,
        N::LatencyUs,
        N::PromptTokens,
        N::CompletionTokens,
        N::CostMicros,
        N::LatencyHigh,
        N::PromptTokensHigh,
        N::CompletionTokensHigh,
        N::CostHigh,
    ] {
        table.col(number(column));
    }
    // Their distribution: src/services/prompts/sketch.rs.
    table.col(ColumnDef::new(N::Latencies).blob().not_null()).take()
}

fn stats() -> TableCreateStatement {
    use PromptStats as C;
    let mut table = Table::create().table(C::Table).take();
    // 1 hour, 2 day, 3 thirty days.
    table.col(number(C::Span)).col(number(C::StartTime));
    let mut key = Index::create()
        .col(C::Span)
        .col(C::StartTime)
        .col(Numbers::BackendId)
        .col(Numbers::ModelId)
        .col(Numbers::FrameworkId)
        .take();
    key_and_numbers(table.primary_key(&mut key))
}

fn changes() -> TableCreateStatement {
    use PromptStatChanges as C;
    let id = ColumnDef::new(C::Id).big_integer().not_null().auto_increment().primary_key().take();
    // The hour's.
    key_and_numbers(Table::create().table(C::Table).col(id).col(number(C::StartTime)))
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [stats(), changes()] {
            manager.create_table(table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [PromptStatChanges::Table.into_iden(), PromptStats::Table.into_iden()] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}
