//! `settings`, `settings_state`: the applications' settings.
//!
//! Which index serves which query:
//! - `settings`' primary key: reads and lists by key.
//! - `settings_by_revision`: changes after a revision.
//! - `settings_deleted`: deletions whose time is over.

use sea_orm_migration::prelude::*;

use crate::text;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum Settings {
    Table,
    Key,
    ValueJson,
    Revision,
    CreateTime,
    UpdateTime,
}

#[derive(DeriveIden)]
enum SettingsState {
    Table,
    Id,
    Revision,
    Branch,
    ForgottenRevision,
    LiveCount,
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn settings(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use Settings as C;
    Table::create()
        .table(C::Table)
        .col(text(manager, C::Key).primary_key())
        // None: the setting was deleted.
        .col(ColumnDef::new(C::ValueJson).text())
        .col(number(C::Revision))
        .col(number(C::CreateTime))
        .col(number(C::UpdateTime))
        .take()
}

fn state() -> TableCreateStatement {
    use SettingsState as C;
    Table::create()
        .table(C::Table)
        // There is at most one row, with the id 1; who changes a setting locks it, so that revisions follow commits.
        .col(number(C::Id).primary_key().take())
        // The last one given.
        .col(number(C::Revision))
        // The last branch that gave one; see the table `branches`. Nil: none was given.
        .col(ColumnDef::new(C::Branch).uuid().not_null())
        // Deletions up to this one may be forgotten.
        .col(number(C::ForgottenRevision))
        // Settings that are not deleted.
        .col(number(C::LiveCount))
        .take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use Settings as S;
        manager.create_table(settings(manager)).await?;
        manager.create_table(state()).await?;
        let by_revision =
            Index::create().name("settings_by_revision").table(S::Table).col(S::Revision).take();
        let deleted = Index::create()
            .name("settings_deleted")
            .table(S::Table)
            .col(S::UpdateTime)
            .and_where(Expr::col(S::ValueJson).is_null())
            .take();
        manager.create_index(by_revision).await?;
        manager.create_index(deleted).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(SettingsState::Table).take()).await?;
        manager.drop_table(Table::drop().table(Settings::Table).take()).await
    }
}
