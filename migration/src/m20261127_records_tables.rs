//! `record_collections`, `record_schemas`, `record_indexes`, `records`, `record_values`, `record_clients`, `record_mutations`,
//! `record_remains`, `record_heights`: JSON documents in collections.
//!
//! Which index serves which query:
//! - `record_collections_by_name`: the collection that every call begins with; lists.
//! - `records_by_key`: the record of a key, lists by key.
//! - `records_by_seq`: changes after a cursor, the newest first, the building of an index.
//! - `records_tombstones`: those whose time is over.
//! - `record_values`' primary key: queries by an index. `record_indexes_by_path`: the indexes of a collection.
//! - `record_indexes_unfinished`: indexes that are to be built or removed.
//! - `record_mutations`' primary key: outcomes of a client. `record_clients_by_seen_time`: clients that are to be forgotten.

use sea_orm_migration::prelude::*;

use crate::text;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum RecordCollections {
    Table,
    Id,
    Name,
    Incarnation,
    Revision,
    SchemaRevision,
    RecordsMax,
    BytesMax,
    DocumentBytesMax,
    TombstoneRetentionUs,
    LastSeq,
    Branch,
    PurgedSeq,
    RecordCount,
    TombstoneCount,
    SizeBytes,
    WatchedUntilTime,
    CreateTime,
    UpdateTime,
}

#[derive(DeriveIden)]
enum RecordSchemas {
    Table,
    CollectionId,
    SchemaJson,
}

#[derive(DeriveIden)]
enum RecordIndexes {
    Table,
    Id,
    CollectionId,
    Path,
    State,
    BuiltSeq,
}

#[derive(DeriveIden)]
enum Records {
    Table,
    Id,
    CollectionId,
    Seq,
    DeleteTime,
    CreateTime,
    UpdateTime,
    ClientRowId,
    MutationId,
    SizeBytes,
    Key,
    IsCompressed,
    Document,
}

#[derive(DeriveIden)]
enum RecordValues {
    Table,
    IndexId,
    Value,
    RecordId,
}

#[derive(DeriveIden)]
enum RecordClients {
    Table,
    RowId,
    Id,
    LastMutationId,
    AcknowledgedId,
    CreateTime,
    SeenTime,
}

#[derive(DeriveIden)]
enum RecordMutations {
    Table,
    ClientRowId,
    MutationId,
    Outcome,
    Revision,
    Fingerprint,
    Error,
}

#[derive(DeriveIden)]
enum RecordHeights {
    Table,
    Name,
    Seq,
}

#[derive(DeriveIden)]
enum RecordRemains {
    Table,
    CollectionId,
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn optional_number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().take()
}

fn identity(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().auto_increment().primary_key().take()
}

fn collections(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use RecordCollections as C;
    Table::create()
        .table(C::Table)
        // Never given twice: records of a deleted collection name it until they are removed.
        .col(identity(C::Id))
        .col(text(manager, C::Name))
        // Tells this collection from an earlier one of the same name, in cursors.
        .col(ColumnDef::new(C::Incarnation).uuid().not_null())
        .col(number(C::Revision))
        // Counts changes of the schema; zero: there is none.
        .col(number(C::SchemaRevision))
        // None: as the settings say.
        .col(optional_number(C::RecordsMax))
        .col(optional_number(C::BytesMax))
        .col(optional_number(C::DocumentBytesMax))
        .col(optional_number(C::TombstoneRetentionUs))
        // The last number given to a change.
        .col(number(C::LastSeq))
        // The last branch that gave one; see the table `branches`. Nil: none was given.
        .col(ColumnDef::new(C::Branch).uuid().not_null())
        // The largest number of a tombstone that was removed.
        .col(number(C::PurgedSeq))
        .col(number(C::RecordCount))
        .col(number(C::TombstoneCount))
        .col(number(C::SizeBytes))
        // Whoever changes something before it tells those who watch, in every sidecar.
        .col(number(C::WatchedUntilTime))
        .col(number(C::CreateTime))
        .col(number(C::UpdateTime))
        .take()
}

/// Apart from the collection, whose row is written by every change.
fn schemas() -> TableCreateStatement {
    use RecordSchemas as C;
    Table::create()
        .table(C::Table)
        .col(number(C::CollectionId).primary_key().take())
        .col(ColumnDef::new(C::SchemaJson).text().not_null())
        .take()
}

fn indexes(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use RecordIndexes as C;
    Table::create()
        .table(C::Table)
        // Never given twice: values of an index that was dropped name it until they are removed.
        .col(identity(C::Id))
        // None: it was dropped.
        .col(optional_number(C::CollectionId))
        .col(text(manager, C::Path))
        // 1 building, 2 ready, 3 dropped.
        .col(number(C::State))
        // Records whose last change has a greater number have their values: it is built from the newest down, and what is changed
        // meanwhile gets a number above.
        .col(number(C::BuiltSeq))
        .take()
}

fn records(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use Records as C;
    Table::create()
        .table(C::Table)
        .col(identity(C::Id))
        // No foreign key: a collection goes at once, its records in small steps.
        .col(number(C::CollectionId))
        // The number of the last change within the collection, in the order of commits: the record's revision.
        .col(number(C::Seq))
        // None: it is there. Else it is a tombstone.
        .col(optional_number(C::DeleteTime))
        .col(number(C::CreateTime))
        .col(number(C::UpdateTime))
        // The mutation of a client that made the last change, if one did.
        .col(optional_number(C::ClientRowId))
        .col(optional_number(C::MutationId))
        // Of the document as it was given.
        .col(number(C::SizeBytes))
        .col(text(manager, C::Key))
        .col(ColumnDef::new(C::IsCompressed).boolean().not_null())
        // Last, so that it is not read through on the way to another column. None: it is a tombstone.
        .col(ColumnDef::new(C::Document).binary())
        .take()
}

fn values(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use RecordValues as C;
    let mut table = Table::create()
        .table(C::Table)
        .col(number(C::IndexId))
        // Ordered by its bytes.
        .col(ColumnDef::new(C::Value).binary().not_null())
        .col(number(C::RecordId))
        .primary_key(Index::create().col(C::IndexId).col(C::Value).col(C::RecordId))
        .take();
    if manager.get_database_backend() == sea_orm::DbBackend::Sqlite {
        // The table is its key: each value is stored once.
        table.extra("WITHOUT ROWID");
    }
    table
}

fn clients() -> TableCreateStatement {
    use RecordClients as C;
    Table::create()
        .table(C::Table)
        // Never given twice: records name it.
        .col(identity(C::RowId))
        .col(ColumnDef::new(C::Id).uuid().not_null().unique_key())
        .col(number(C::LastMutationId))
        .col(number(C::AcknowledgedId))
        .col(number(C::CreateTime))
        .col(number(C::SeenTime))
        .take()
}

fn mutations() -> TableCreateStatement {
    use RecordMutations as C;
    Table::create()
        .table(C::Table)
        .col(number(C::ClientRowId))
        .col(number(C::MutationId))
        // 1 applied, 2 conflict, 3 rejected.
        .col(number(C::Outcome))
        .col(number(C::Revision))
        // Of what was sent.
        .col(number(C::Fingerprint))
        // Why it was rejected, as the protocol has it.
        .col(ColumnDef::new(C::Error).binary())
        .primary_key(Index::create().col(C::ClientRowId).col(C::MutationId))
        .take()
}

/// The last numbers of collections that were deleted: one of the same name goes on above.
fn heights(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use RecordHeights as C;
    Table::create()
        .table(C::Table)
        // Empty: all names that have no row of their own any more.
        .col(text(manager, C::Name).primary_key().take())
        .col(number(C::Seq))
        .take()
}

/// Collections that are gone and may have records left.
fn remains() -> TableCreateStatement {
    use RecordRemains as C;
    Table::create().table(C::Table).col(number(C::CollectionId).primary_key().take()).take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use {RecordClients as L, RecordCollections as C, RecordIndexes as I, Records as R};
        let tables = [
            collections(manager),
            schemas(),
            indexes(manager),
            records(manager),
            values(manager),
            clients(),
            mutations(),
            heights(manager),
            remains(),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        let index = |name: &str, table: DynIden| Index::create().name(name).table(table).take();
        let indexes = [
            index("record_collections_by_name", C::Table.into_iden()).col(C::Name).unique().take(),
            index("record_indexes_by_path", I::Table.into_iden())
                .col(I::CollectionId)
                .col(I::Path)
                .unique()
                .take(),
            index("records_by_key", R::Table.into_iden()).col(R::CollectionId).col(R::Key).unique().take(),
            index("records_by_seq", R::Table.into_iden()).col(R::CollectionId).col(R::Seq).unique().take(),
            index("records_tombstones", R::Table.into_iden())
                .col(R::CollectionId)
                .col(R::DeleteTime)
                .and_where(Expr::col(R::DeleteTime).is_not_null())
                .take(),
            index("record_indexes_unfinished", I::Table.into_iden())
                .col(I::State)
                .col(I::Id)
                .and_where(Expr::col(I::State).ne(2))
                .take(),
            index("record_clients_by_seen_time", L::Table.into_iden()).col(L::SeenTime).take(),
        ];
        for index in indexes {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            RecordRemains::Table.into_iden(),
            RecordHeights::Table.into_iden(),
            RecordMutations::Table.into_iden(),
            RecordClients::Table.into_iden(),
            RecordValues::Table.into_iden(),
            Records::Table.into_iden(),
            RecordIndexes::Table.into_iden(),
            RecordSchemas::Table.into_iden(),
            RecordCollections::Table.into_iden(),
        ];
        for table in tables {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}
