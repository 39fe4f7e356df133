//! `cache_namespaces`, `cache_entries`, `cache_tags`, `cache_tag_deletions`: the cache.
//!
//! Which index serves which query:
//! - `cache_entries_by_key`: every read and write of a key; lists; deleting by prefix.
//! - `cache_entries_by_access_time`: least recently used first.
//! - `cache_entries_by_create_time`: the oldest and the newest entry.
//! - `cache_entries_by_remove_time`: what has expired, and what expires soonest.
//! - `cache_tags`' primary key: lists and deletes by tag; `cache_tags_by_entry`: the tags of an entry that goes.
//! - `cache_tag_deletions`' primary key: the last deletion by the tags of an entry that is filled under a lease.

use sea_orm_migration::prelude::*;

use crate::text;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum CacheNamespaces {
    Table,
    Id,
    Name,
    EntriesMax,
    BytesMax,
    TtlUs,
    StaleWindowUs,
    Eviction,
    Durability,
    Origin,
    TagDeletions,
    EntryCount,
    StoredBytes,
    HitCount,
    MissCount,
    StaleCount,
    EvictedCount,
    ExpiredCount,
    CreateTime,
    UpdateTime,
}

#[derive(DeriveIden)]
enum CacheEntries {
    Table,
    Id,
    NamespaceId,
    Key,
    Kind,
    Value,
    IsCompressed,
    ContentType,
    MetadataJson,
    Tags,
    ErrorCode,
    ErrorMessage,
    SizeBytes,
    StoredBytes,
    Revision,
    CreateTime,
    UpdateTime,
    ExpireTime,
    StaleUntilTime,
    StaleWindowUs,
    RemoveTime,
    AccessTime,
    AccessCount,
    LeaseToken,
    LeaseExpireTime,
    LeaseTagDeletions,
}

#[derive(DeriveIden)]
enum CacheTags {
    Table,
    NamespaceId,
    Tag,
    Key,
    EntryId,
}

#[derive(DeriveIden)]
enum CacheTagDeletions {
    Table,
    NamespaceId,
    Bucket,
    Number,
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn namespaces(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use CacheNamespaces as C;
    Table::create()
        .table(C::Table)
        .col(ColumnDef::new(C::Id).big_integer().not_null().auto_increment().primary_key())
        // A namespace that is being deleted is named `#<id>`, which no caller can name.
        .col(text(manager, C::Name).unique_key())
        // Zero: no limit, no expiry, no window.
        .col(number(C::EntriesMax))
        .col(number(C::BytesMax))
        .col(number(C::TtlUs))
        .col(number(C::StaleWindowUs))
        // 1 lru, 2 ttl.
        .col(number(C::Eviction))
        // 1 full, 2 relaxed.
        .col(number(C::Durability))
        // 1 made by UpdateNamespace, 2 by a put, 3 by a lease: no caller sees the last kind.
        .col(number(C::Origin))
        // Calls of DeleteByTag, ever.
        .col(number(C::TagDeletions))
        // Kept in step with cache_entries by every write to it.
        .col(number(C::EntryCount))
        .col(number(C::StoredBytes))
        .col(number(C::HitCount))
        .col(number(C::MissCount))
        .col(number(C::StaleCount))
        .col(number(C::EvictedCount))
        .col(number(C::ExpiredCount))
        .col(number(C::CreateTime))
        .col(number(C::UpdateTime))
        .take()
}

fn entries(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use CacheEntries as C;
    Table::create()
        .table(C::Table)
        .col(ColumnDef::new(C::Id).big_integer().not_null().auto_increment().primary_key())
        .col(number(C::NamespaceId))
        .col(text(manager, C::Key))
        // 0 a place held by a lease, 1 a value, 2 a cached failure.
        .col(number(C::Kind))
        .col(ColumnDef::new(C::IsCompressed).boolean().not_null())
        .col(ColumnDef::new(C::ContentType).text().not_null())
        .col(ColumnDef::new(C::MetadataJson).text().not_null())
        // Sorted, each once, joined by U+001F; also in cache_tags.
        .col(ColumnDef::new(C::Tags).text().not_null())
        .col(ColumnDef::new(C::ErrorCode).text())
        .col(ColumnDef::new(C::ErrorMessage).text())
        .col(number(C::SizeBytes))
        .col(number(C::StoredBytes))
        .col(number(C::Revision))
        .col(number(C::CreateTime))
        .col(number(C::UpdateTime))
        .col(ColumnDef::new(C::ExpireTime).big_integer())
        .col(ColumnDef::new(C::StaleUntilTime).big_integer())
        // Also of an entry that never expires: a touch may give it an expiry later.
        .col(number(C::StaleWindowUs))
        // When the row itself may go: the end of its expiry, stale window and lease. None: never.
        .col(ColumnDef::new(C::RemoveTime).big_integer())
        .col(number(C::AccessTime))
        .col(number(C::AccessCount))
        .col(ColumnDef::new(C::LeaseToken).uuid())
        .col(ColumnDef::new(C::LeaseExpireTime).big_integer())
        // The namespace's tag_deletions when the lease was granted.
        .col(ColumnDef::new(C::LeaseTagDeletions).big_integer())
        // Last, so that a large value is not read through on the way to another column.
        .col(ColumnDef::new(C::Value).blob())
        .foreign_key(
            ForeignKey::create()
                .from(C::Table, C::NamespaceId)
                .to(CacheNamespaces::Table, CacheNamespaces::Id),
        )
        .take()
}

fn tags(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use CacheTags as C;
    Table::create()
        .table(C::Table)
        .col(number(C::NamespaceId))
        .col(text(manager, C::Tag))
        .col(text(manager, C::Key))
        .col(number(C::EntryId))
        .primary_key(Index::create().col(C::NamespaceId).col(C::Tag).col(C::Key))
        .foreign_key(
            ForeignKey::create()
                .from(C::Table, C::EntryId)
                .to(CacheEntries::Table, CacheEntries::Id)
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

/// The number of the last DeleteByTag of a tag, by a hash of the tag: at most 1,024 rows for each namespace.
fn tag_deletions() -> TableCreateStatement {
    use CacheTagDeletions as C;
    Table::create()
        .table(C::Table)
        .col(number(C::NamespaceId))
        .col(number(C::Bucket))
        .col(number(C::Number))
        .primary_key(Index::create().col(C::NamespaceId).col(C::Bucket))
        .foreign_key(
            ForeignKey::create()
                .from(C::Table, C::NamespaceId)
                .to(CacheNamespaces::Table, CacheNamespaces::Id)
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use CacheEntries as E;
        for table in [namespaces(manager), entries(manager), tags(manager), tag_deletions()] {
            manager.create_table(table).await?;
        }
        let index = |name: &str| Index::create().name(name).table(E::Table).col(E::NamespaceId).take();
        let indexes = [
            index("cache_entries_by_key").col(E::Key).unique().take(),
            index("cache_entries_by_access_time").col(E::AccessTime).take(),
            index("cache_entries_by_create_time").col(E::CreateTime).take(),
            index("cache_entries_by_remove_time")
                .col(E::RemoveTime)
                .and_where(Expr::col(E::RemoveTime).is_not_null())
                .take(),
            Index::create()
                .name("cache_tags_by_entry")
                .table(CacheTags::Table)
                .col(CacheTags::EntryId)
                .take(),
        ];
        for index in indexes {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(CacheTagDeletions::Table).take()).await?;
        manager.drop_table(Table::drop().table(CacheTags::Table).take()).await?;
        manager.drop_table(Table::drop().table(CacheEntries::Table).take()).await?;
        manager.drop_table(Table::drop().table(CacheNamespaces::Table).take()).await
    }
}
