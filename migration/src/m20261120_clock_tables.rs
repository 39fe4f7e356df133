//! `clock`, `clock_steps`: what the clocks showed, for the next start. Both are read whole.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum Clock {
    Table,
    Id,
    SteadyTime,
    ServingTime,
    WallTime,
    OrderTime,
    IsFinal,
}

#[derive(DeriveIden)]
enum ClockSteps {
    Table,
    SteadyTime,
    ServingTime,
    WallTime,
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn clock() -> TableCreateStatement {
    use Clock as C;
    Table::create()
        .table(C::Table)
        // There is at most one row, with the id 1.
        .col(number(C::Id).primary_key().take())
        .col(number(C::SteadyTime))
        .col(number(C::ServingTime))
        .col(number(C::WallTime))
        // Unique times up to this one may have been given.
        .col(number(C::OrderTime))
        // Written at a stop.
        .col(ColumnDef::new(C::IsFinal).boolean().not_null())
        .take()
}

fn steps() -> TableCreateStatement {
    use ClockSteps as C;
    Table::create()
        .table(C::Table)
        // From this time of the steady clock on the others advance like it.
        .col(number(C::SteadyTime).primary_key().take())
        .col(number(C::ServingTime))
        .col(number(C::WallTime))
        .take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(clock()).await?;
        manager.create_table(steps()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(ClockSteps::Table).take()).await?;
        manager.drop_table(Table::drop().table(Clock::Table).take()).await
    }
}
