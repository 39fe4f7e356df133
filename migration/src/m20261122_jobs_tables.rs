//! `jobs`, `job_results`, `job_remains`: tracked jobs.
//!
//! Which index serves which query:
//! - `jobs_by_create_time`, `jobs_by_type`, `jobs_by_status`, `jobs_by_type_and_status`: lists by time, one for each way to filter
//!   them; numbers over a range of time; the oldest job that has not ended.
//! - `jobs_by_end_time`: jobs whose retention is over.
//! - `job_results`' primary key: a job's results in their order, and their removal.
//! - `job_results_by_item`: whether an item has a result.
//! - `job_results_that_failed`: a job's failures in their order.

use sea_orm_migration::prelude::*;

use crate::{maybe_text, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum Jobs {
    Table,
    RowId,
    Id,
    Type,
    Status,
    CountedBy,
    TotalCount,
    SuccessfulCount,
    FailedCount,
    AutoComplete,
    ErrorCode,
    ErrorMessage,
    MetadataJson,
    Revision,
    MetadataRevision,
    CreateTime,
    StartTime,
    UpdateTime,
    EndTime,
}

#[derive(DeriveIden)]
enum JobResults {
    Table,
    JobRowId,
    Number,
    ItemKey,
    Url,
    ErrorCode,
    ErrorMessage,
    ProcessingUs,
    DataJson,
    CreateTime,
}

#[derive(DeriveIden)]
enum JobRemains {
    Table,
    JobRowId,
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn jobs(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use Jobs as C;
    Table::create()
        .table(C::Table)
        // Never given twice: results of a deleted job may still be there.
        .col(ColumnDef::new(C::RowId).big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new(C::Id).uuid().not_null().unique_key())
        .col(text(manager, C::Type))
        // 1 pending, 2 processing, 3 completed, 4 failed, 5 aborted.
        .col(number(C::Status))
        // 0 nothing yet, 1 its results, 2 reported progress.
        .col(number(C::CountedBy))
        .col(ColumnDef::new(C::TotalCount).big_integer())
        .col(number(C::SuccessfulCount))
        .col(number(C::FailedCount))
        .col(ColumnDef::new(C::AutoComplete).boolean().not_null())
        // Both or neither.
        .col(ColumnDef::new(C::ErrorCode).text())
        .col(ColumnDef::new(C::ErrorMessage).text())
        .col(number(C::Revision))
        // The revision that has set the metadata.
        .col(number(C::MetadataRevision))
        .col(number(C::CreateTime))
        .col(ColumnDef::new(C::StartTime).big_integer())
        .col(number(C::UpdateTime))
        .col(ColumnDef::new(C::EndTime).big_integer())
        // Last, so that it is not read through on the way to another column.
        .col(ColumnDef::new(C::MetadataJson).text().not_null())
        .take()
}

fn results(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use JobResults as C;
    Table::create()
        .table(C::Table)
        // No foreign key: a job goes at once, its results in small steps.
        .col(number(C::JobRowId))
        // From 1, without gaps.
        .col(number(C::Number))
        // None: the result is a row of its own.
        .col(maybe_text(manager, C::ItemKey))
        .col(ColumnDef::new(C::Url).text().not_null())
        // Both or neither: an item that succeeded has none.
        .col(ColumnDef::new(C::ErrorCode).text())
        .col(ColumnDef::new(C::ErrorMessage).text())
        .col(ColumnDef::new(C::ProcessingUs).big_integer())
        .col(number(C::CreateTime))
        .col(ColumnDef::new(C::DataJson).text().not_null())
        .primary_key(Index::create().col(C::JobRowId).col(C::Number))
        .take()
}

/// Jobs that are gone and may have results left.
fn remains() -> TableCreateStatement {
    Table::create().table(JobRemains::Table).col(number(JobRemains::JobRowId).primary_key().take()).take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use {JobResults as R, Jobs as J};
        for table in [jobs(manager), results(manager), remains()] {
            manager.create_table(table).await?;
        }
        let of_jobs = |name: &str| Index::create().name(name).table(J::Table).take();
        let of_results = |name: &str| Index::create().name(name).table(R::Table).col(R::JobRowId).take();
        let indexes = [
            // First: of indexes that it deems equally good SQLite takes the one that was made first.
            of_jobs("jobs_by_type_and_status").col(J::Type).col(J::Status).col(J::CreateTime).take(),
            of_jobs("jobs_by_create_time").col(J::CreateTime).take(),
            of_jobs("jobs_by_type").col(J::Type).col(J::CreateTime).take(),
            of_jobs("jobs_by_status").col(J::Status).col(J::CreateTime).take(),
            of_jobs("jobs_by_end_time").col(J::EndTime).and_where(Expr::col(J::EndTime).is_not_null()).take(),
            of_results("job_results_by_item").col(R::ItemKey).unique().take(),
            of_results("job_results_that_failed")
                .col(R::Number)
                .and_where(Expr::col(R::ErrorCode).is_not_null())
                .take(),
        ];
        for index in indexes {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(JobRemains::Table).take()).await?;
        manager.drop_table(Table::drop().table(JobResults::Table).take()).await?;
        manager.drop_table(Table::drop().table(Jobs::Table).take()).await
    }
}
