//! `branches`: which start of a sidecar gave which numbers of a sequence.
//!
//! The primary key serves the one query: the branch of a number is the last one whose first number is not above it.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum Branches {
    Table,
    Sequence,
    FirstNumber,
    Branch,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use Branches as C;
        let table = Table::create()
            .table(C::Table)
            // The id of a collection of records; zero: the settings.
            .col(ColumnDef::new(C::Sequence).big_integer().not_null())
            // The first number that was given in the branch.
            .col(ColumnDef::new(C::FirstNumber).big_integer().not_null())
            // Random: one for each start of a sidecar, and for each loss of its connections.
            .col(ColumnDef::new(C::Branch).uuid().not_null())
            .primary_key(Index::create().col(C::Sequence).col(C::FirstNumber))
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Branches::Table).take()).await
    }
}
