//! `idempotency_keys`: the answer to each request that carried a `request_id`, until its time is over.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum IdempotencyKeys {
    Table,
    RequestId,
    Fingerprint,
    Response,
    ExpireTime,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM runs migrations on SQLite outside a transaction unless told.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use IdempotencyKeys as C;
        let table = Table::create()
            .table(C::Table)
            .col(ColumnDef::new(C::RequestId).uuid().not_null().primary_key())
            // SHA-256 of the method and the request.
            .col(ColumnDef::new(C::Fingerprint).blob().not_null())
            // The encoded answer.
            .col(ColumnDef::new(C::Response).blob().not_null())
            .col(ColumnDef::new(C::ExpireTime).big_integer().not_null())
            .take();
        manager.create_table(table).await?;
        let index =
            Index::create().name("idempotency_keys_by_expire_time").table(C::Table).col(C::ExpireTime).take();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(IdempotencyKeys::Table).take()).await
    }
}
