//! `prompt_names`, `prompt_conversations`, `prompts`, `prompt_bodies`, `prompt_tags`, `prompt_scores`: the history of prompts.
//!
//! A prompt's texts lie in a row of their own: lists by filter and statistics never read through them, and retention takes them by
//! deleting that row.
//!
//! Which index serves which query:
//! - `prompt_names_by_key`: numbers of names; `prompt_names_by_kind`: how many there are. `prompt_conversations_by_name`: the row of a conversation.
//! - `prompt_conversations_by_last_time`: the list of conversations.
//! - `prompts_by_time`, `prompts_by_backend`, `prompts_by_model`, `prompts_by_framework`, `prompts_by_provider`, `prompts_by_conversation`,
//!   `prompt_tags_by_tag`: lists by time, one for each filter by which rows are found; the oldest, for retention.
//! - `prompts_by_latency`, `prompts_by_confidence`: lists in that order.
//! - `prompts_by_import_key`: whether a prompt was imported before.
//! - `prompt_bodies_by_time`: the oldest bodies, for retention.
//! - The primary keys of `prompt_tags` and `prompt_scores`: those of a prompt.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::text;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum PromptNames {
    Table,
    Id,
    Kind,
    Key,
    Name,
}

#[derive(DeriveIden)]
enum PromptConversations {
    Table,
    Id,
    Name,
    PromptCount,
    FirstTime,
    LastTime,
}

#[derive(DeriveIden)]
enum Prompts {
    Table,
    Id,
    PromptTime,
    CreateTime,
    BackendId,
    ModelId,
    FrameworkId,
    ProviderId,
    BackendText,
    ModelText,
    FrameworkText,
    ProviderText,
    Status,
    Confidence,
    LatencyUs,
    PromptTokens,
    CompletionTokens,
    CostMicros,
    ConversationId,
    HasBody,
    BodyBytes,
    ErrorCode,
    ImportKey,
}

#[derive(DeriveIden)]
enum PromptBodies {
    Table,
    PromptId,
    PromptTime,
    Idea,
    Context,
    ImprovedPrompt,
    Directive,
    GuardrailsJson,
    Reasoning,
    ErrorMessage,
    MetadataJson,
    Role,
}

#[derive(DeriveIden)]
enum PromptTags {
    Table,
    PromptId,
    Tag,
    PromptTime,
}

#[derive(DeriveIden)]
enum PromptScores {
    Table,
    PromptId,
    Name,
    Number,
    Boolean,
    Category,
    UpdateTime,
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

fn body_text(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).text().not_null().take()
}

/// Never changed; deleted when no prompt has it any more.
fn names(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use PromptNames as C;
    Table::create()
        .table(C::Table)
        .col(identity(C::Id))
        // 1 backend, 2 model, 3 framework, 4 provider.
        .col(number(C::Kind))
        // A hash of kind and name (src/services/prompts/store/names.rs): a name may be longer than a row of an index.
        .col(text(manager, C::Key))
        .col(text(manager, C::Name))
        .take()
}

/// There while it has prompts.
fn conversations(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use PromptConversations as C;
    Table::create()
        .table(C::Table)
        .col(identity(C::Id))
        .col(text(manager, C::Name))
        .col(number(C::PromptCount))
        // Of its oldest and of its newest prompt.
        .col(number(C::FirstTime))
        .col(number(C::LastTime))
        .take()
}

fn prompts() -> TableCreateStatement {
    use Prompts as C;
    Table::create()
        .table(C::Table)
        .col(identity(C::Id))
        // When it was made, which its caller may say; and when it was saved.
        .col(number(C::PromptTime))
        .col(number(C::CreateTime))
        // Rows of prompt_names; -1: one of many, whose name is the text.
        .col(number(C::BackendId))
        .col(optional_number(C::ModelId))
        .col(optional_number(C::FrameworkId))
        .col(optional_number(C::ProviderId))
        .col(ColumnDef::new(C::BackendText).text())
        .col(ColumnDef::new(C::ModelText).text())
        .col(ColumnDef::new(C::FrameworkText).text())
        .col(ColumnDef::new(C::ProviderText).text())
        // 1 OK, 2 failed.
        .col(number(C::Status))
        .col(ColumnDef::new(C::Confidence).double().take())
        .col(optional_number(C::LatencyUs))
        .col(optional_number(C::PromptTokens))
        .col(optional_number(C::CompletionTokens))
        // Millionths of a unit of currency.
        .col(optional_number(C::CostMicros))
        .col(optional_number(C::ConversationId))
        // Whether there is a row of prompt_bodies.
        .col(ColumnDef::new(C::HasBody).boolean().not_null())
        .col(number(C::BodyBytes))
        .col(ColumnDef::new(C::ErrorCode).text())
        .col(ColumnDef::new(C::ImportKey).text())
        .take()
}

fn bodies(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use PromptBodies as C;
    let mut id = match manager.get_database_backend() {
        // The row's own number, which needs no index beside the table.
        DbBackend::Sqlite => ColumnDef::new(C::PromptId).integer().take(),
        _ => ColumnDef::new(C::PromptId).big_integer().take(),
    };
    Table::create()
        .table(C::Table)
        .col(id.not_null().primary_key().take())
        // The prompt's, which does not change.
        .col(number(C::PromptTime))
        .col(body_text(C::Idea))
        .col(body_text(C::Context))
        .col(body_text(C::ImprovedPrompt))
        .col(body_text(C::Directive))
        // An array of texts.
        .col(body_text(C::GuardrailsJson))
        .col(body_text(C::Reasoning))
        .col(body_text(C::ErrorMessage))
        // An object as it was given, or empty.
        .col(body_text(C::MetadataJson))
        .col(body_text(C::Role))
        .take()
}

fn tags(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use PromptTags as C;
    Table::create()
        .table(C::Table)
        .col(number(C::PromptId))
        .col(text(manager, C::Tag))
        // The prompt's, which does not change.
        .col(number(C::PromptTime))
        .primary_key(Index::create().col(C::PromptId).col(C::Tag))
        .take()
}

fn scores(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use PromptScores as C;
    Table::create()
        .table(C::Table)
        .col(number(C::PromptId))
        .col(text(manager, C::Name))
        // One of the three is there.
        .col(ColumnDef::new(C::Number).double())
        .col(ColumnDef::new(C::Boolean).boolean())
        .col(ColumnDef::new(C::Category).text())
        .col(number(C::UpdateTime))
        .primary_key(Index::create().col(C::PromptId).col(C::Name))
        .take()
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

fn indexes(manager: &SchemaManager<'_>) -> Vec<IndexCreateStatement> {
    use {PromptBodies as B, PromptConversations as V, PromptNames as N, PromptTags as T, Prompts as P};
    let index = |name: &str, table: DynIden| Index::create().name(name).table(table).take();
    let of_prompts = |name: &str| index(name, P::Table.into_iden());
    let by_time = |name: &str, column: P, column_again: P| {
        let mut index = of_prompts(name);
        let index = index.col(column).col(P::PromptTime).and_where(Expr::col(column_again).is_not_null());
        listing(manager, index, P::Id)
    };
    let by_value = |name: &str, column: P, column_again: P| {
        let mut index = of_prompts(name);
        let index = index.col(column).and_where(Expr::col(column_again).is_not_null());
        listing(manager, index, P::Id)
    };
    vec![
        index("prompt_names_by_key", N::Table.into_iden()).col(N::Key).unique().take(),
        index("prompt_names_by_kind", N::Table.into_iden()).col(N::Kind).take(),
        index("prompt_conversations_by_name", V::Table.into_iden()).col(V::Name).unique().take(),
        listing(
            manager,
            index("prompt_conversations_by_last_time", V::Table.into_iden()).col(V::LastTime),
            V::Id,
        ),
        listing(manager, of_prompts("prompts_by_time").col(P::PromptTime), P::Id),
        listing(manager, of_prompts("prompts_by_backend").col(P::BackendId).col(P::PromptTime), P::Id),
        by_time("prompts_by_model", P::ModelId, P::ModelId),
        by_time("prompts_by_framework", P::FrameworkId, P::FrameworkId),
        by_time("prompts_by_provider", P::ProviderId, P::ProviderId),
        by_time("prompts_by_conversation", P::ConversationId, P::ConversationId),
        by_value("prompts_by_latency", P::LatencyUs, P::LatencyUs),
        by_value("prompts_by_confidence", P::Confidence, P::Confidence),
        of_prompts("prompts_by_import_key")
            .col(P::ImportKey)
            .unique()
            .and_where(Expr::col(P::ImportKey).is_not_null())
            .take(),
        listing(
            manager,
            index("prompt_bodies_by_time", B::Table.into_iden()).col(B::PromptTime),
            B::PromptId,
        ),
        index("prompt_tags_by_tag", T::Table.into_iden())
            .col(T::Tag)
            .col(T::PromptTime)
            .col(T::PromptId)
            .take(),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            names(manager),
            conversations(manager),
            prompts(),
            bodies(manager),
            tags(manager),
            scores(manager),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        for index in indexes(manager) {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            PromptScores::Table.into_iden(),
            PromptTags::Table.into_iden(),
            PromptBodies::Table.into_iden(),
            Prompts::Table.into_iden(),
            PromptConversations::Table.into_iden(),
            PromptNames::Table.into_iden(),
        ];
        for table in tables {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}
