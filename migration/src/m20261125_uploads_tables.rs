//! `upload_names`, `upload_sessions`, `upload_files`, `upload_reservations`, `upload_errors`, `upload_remains`: uploads.
//!
//! Made for a million files: names that many rows share are numbers, what most rows lack is NULL, and the only index that holds
//! hashes is the one by which a file is found (docs/uploads.md has the sizes).
//!
//! Which index serves which query:
//! - `upload_names_by_name`: numbers of names.
//! - `upload_sessions_by_status`, `upload_sessions_by_source`, `upload_sessions_by_source_and_status`: lists, one for each way to
//!   filter them.
//! - `upload_files_by_hash`: what is known of a hash; the index that is exported.
//! - `upload_files_by_session`, `upload_files_by_source`: lists of files.
//! - `upload_reservations`' primary key: the reservation of a hash. `upload_reservations_by_expire_time`: those that ran out.
//! - `upload_errors_by_path`: the error of a path, by the SHA-256 of the path: an index entry of PostgreSQL holds no path of 8 KiB.
//! - `upload_errors_by_session`: lists of a session, removal. `upload_errors_by_update_time`: lists across sessions.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::text;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum UploadNames {
    Table,
    Id,
    Kind,
    Name,
}

#[derive(DeriveIden)]
enum UploadSessions {
    Table,
    RowId,
    Id,
    SourceId,
    Status,
    TotalCount,
    SuccessCount,
    ErrorCount,
    DuplicateCount,
    LoggedErrorCount,
    Revision,
    StartTime,
    CreateTime,
    UpdateTime,
    EndTime,
    LastProcessedFile,
    Name,
    Error,
    MetadataJson,
}

#[derive(DeriveIden)]
enum UploadFiles {
    Table,
    Id,
    ServiceId,
    SourceId,
    SessionRowId,
    MimeTypeId,
    SizeBytes,
    UploadTime,
    Hash,
    Path,
    Name,
    ServiceFileId,
}

#[derive(DeriveIden)]
enum UploadReservations {
    Table,
    ServiceId,
    Hash,
    Token,
    ExpireTime,
}

#[derive(DeriveIden)]
enum UploadErrors {
    Table,
    Id,
    SessionRowId,
    PathHash,
    Path,
    Type,
    Message,
    RetryCount,
    CreateTime,
    UpdateTime,
    ResolveTime,
    IsCounted,
}

#[derive(DeriveIden)]
enum UploadRemains {
    Table,
    SessionRowId,
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn identity(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().auto_increment().primary_key().take()
}

/// Never changed and never removed: they are remembered by every sidecar.
fn names(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use UploadNames as C;
    Table::create()
        .table(C::Table)
        .col(identity(C::Id))
        // 1 service, 2 source, 3 MIME type.
        .col(number(C::Kind))
        .col(text(manager, C::Name))
        .take()
}

fn sessions(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use UploadSessions as C;
    Table::create()
        .table(C::Table)
        // Never given twice: files and errors of a deleted session may still name it.
        .col(identity(C::RowId))
        .col(text(manager, C::Id).unique_key())
        .col(number(C::SourceId))
        // 1 running, 2 paused, 3 completed, 4 failed.
        .col(number(C::Status))
        .col(ColumnDef::new(C::TotalCount).big_integer())
        .col(number(C::SuccessCount))
        // Rows of upload_errors that are not resolved and are counted.
        .col(number(C::ErrorCount))
        .col(number(C::DuplicateCount))
        // Rows of upload_errors that are not resolved and are not counted.
        .col(number(C::LoggedErrorCount))
        .col(number(C::Revision))
        // When the caller says that it began.
        .col(number(C::StartTime))
        .col(number(C::CreateTime))
        .col(number(C::UpdateTime))
        .col(ColumnDef::new(C::EndTime).big_integer())
        .col(ColumnDef::new(C::LastProcessedFile).text())
        .col(ColumnDef::new(C::Name).text().not_null())
        .col(ColumnDef::new(C::Error).text())
        // Last, so that it is not read through on the way to another column.
        .col(ColumnDef::new(C::MetadataJson).text().not_null())
        .take()
}

fn files() -> TableCreateStatement {
    use UploadFiles as C;
    Table::create()
        .table(C::Table)
        // In the order of registration: the table grows at its end, and indexes of lists need no hash.
        .col(identity(C::Id))
        .col(number(C::ServiceId))
        .col(ColumnDef::new(C::SourceId).big_integer())
        // None: it was imported or registered without a session. The session may be deleted.
        .col(ColumnDef::new(C::SessionRowId).big_integer())
        .col(ColumnDef::new(C::MimeTypeId).big_integer())
        .col(number(C::SizeBytes))
        .col(number(C::UploadTime))
        // 32 bytes.
        .col(ColumnDef::new(C::Hash).binary().not_null())
        .col(ColumnDef::new(C::Path).text().not_null())
        // None: what stands behind the last separator of the path.
        .col(ColumnDef::new(C::Name).text())
        .col(ColumnDef::new(C::ServiceFileId).text())
        .take()
}

fn reservations() -> TableCreateStatement {
    use UploadReservations as C;
    Table::create()
        .table(C::Table)
        .col(number(C::ServiceId))
        .col(ColumnDef::new(C::Hash).binary().not_null())
        .col(ColumnDef::new(C::Token).uuid().not_null())
        .col(number(C::ExpireTime))
        .primary_key(Index::create().col(C::ServiceId).col(C::Hash))
        .take()
}

fn errors() -> TableCreateStatement {
    use UploadErrors as C;
    Table::create()
        .table(C::Table)
        // In the order in which the paths failed first.
        .col(identity(C::Id))
        // No foreign key: a session goes at once, its errors in small steps.
        .col(number(C::SessionRowId))
        // The SHA-256 of the path: 32 bytes.
        .col(ColumnDef::new(C::PathHash).binary().not_null())
        .col(ColumnDef::new(C::Path).text().not_null())
        .col(ColumnDef::new(C::Type).text().not_null())
        .col(ColumnDef::new(C::Message).text().not_null())
        .col(number(C::RetryCount))
        .col(number(C::CreateTime))
        .col(number(C::UpdateTime))
        .col(ColumnDef::new(C::ResolveTime).big_integer())
        // Whether the session's error_count has it while it is not resolved.
        .col(ColumnDef::new(C::IsCounted).boolean().not_null())
        .take()
}

/// Sessions that are gone and may have errors left.
fn remains() -> TableCreateStatement {
    use UploadRemains as C;
    Table::create().table(C::Table).col(number(C::SessionRowId).primary_key().take()).take()
}

/// An index by some columns and then by the row's number, which SQLite appends by itself.
fn listing(
    manager: &SchemaManager<'_>,
    index: &mut IndexCreateStatement,
    row: impl IntoIden,
) -> IndexCreateStatement {
    if manager.get_database_backend() == DbBackend::Postgres {
        index.col(row);
    }
    index.take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use {
            UploadErrors as E, UploadFiles as F, UploadNames as N, UploadReservations as R,
            UploadSessions as S,
        };
        for table in [names(manager), sessions(manager), files(), reservations(), errors(), remains()] {
            manager.create_table(table).await?;
        }
        let index = |name: &str, table: DynIden| Index::create().name(name).table(table).take();
        let of_sessions = |name: &str| index(name, S::Table.into_iden());
        let of_files = |name: &str, column: F, column_again: F| {
            let mut index = index(name, F::Table.into_iden());
            let index = index.col(column).and_where(Expr::col(column_again).is_not_null());
            listing(manager, index, F::Id)
        };
        let indexes = [
            index("upload_names_by_name", N::Table.into_iden()).col(N::Kind).col(N::Name).unique().take(),
            // First: of indexes that it deems equally good SQLite takes the one that was made first.
            listing(
                manager,
                of_sessions("upload_sessions_by_source_and_status").col(S::SourceId).col(S::Status),
                S::RowId,
            ),
            listing(manager, of_sessions("upload_sessions_by_status").col(S::Status), S::RowId),
            listing(manager, of_sessions("upload_sessions_by_source").col(S::SourceId), S::RowId),
            index("upload_files_by_hash", F::Table.into_iden())
                .col(F::ServiceId)
                .col(F::Hash)
                .unique()
                .take(),
            of_files("upload_files_by_session", F::SessionRowId, F::SessionRowId),
            of_files("upload_files_by_source", F::SourceId, F::SourceId),
            index("upload_errors_by_path", E::Table.into_iden())
                .col(E::SessionRowId)
                .col(E::PathHash)
                .unique()
                .take(),
            listing(
                manager,
                &mut index("upload_errors_by_session", E::Table.into_iden()).col(E::SessionRowId).take(),
                E::Id,
            ),
            listing(
                manager,
                &mut index("upload_errors_by_update_time", E::Table.into_iden()).col(E::UpdateTime).take(),
                E::Id,
            ),
            index("upload_reservations_by_expire_time", R::Table.into_iden()).col(R::ExpireTime).take(),
        ];
        for index in indexes {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            UploadRemains::Table.into_iden(),
            UploadErrors::Table.into_iden(),
            UploadReservations::Table.into_iden(),
            UploadFiles::Table.into_iden(),
            UploadSessions::Table.into_iden(),
            UploadNames::Table.into_iden(),
        ];
        for table in tables {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}
