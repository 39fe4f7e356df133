//! Pannier's schema: one file per change, each up and down, in the order of their names.
//!
//! Conventions: times are Unix microseconds; integers are `bigint`; text that is a key or is put in order is made by
//! [`text`]; what a table is for stands at its migration.

pub use sea_orm_migration::{MigratorTrait, prelude::*};

mod m20261120_clock_tables;
mod m20261121_branches;
mod m20261121_cache_tables;
mod m20261121_idempotency_keys;
mod m20261122_jobs_tables;
mod m20261123_settings_tables;
mod m20261124_queue_tables;
mod m20261124_queue_views;
mod m20261125_uploads_tables;
mod m20261125_uploads_views;
mod m20261126_prompts_tables;
mod m20261127_prompts_search;
mod m20261127_prompts_stats;
mod m20261127_prompts_views;
mod m20261127_records_tables;
pub mod tables;

pub use tables::TABLES;

/// All changes.
pub struct Migrator;

/// A column of text that is compared and ordered by its bytes, whatever language the database was made for.
pub(crate) fn text(manager: &SchemaManager<'_>, column: impl IntoIden) -> ColumnDef {
    maybe_text(manager, column).not_null().take()
}

/// The same, that may be absent.
pub(crate) fn maybe_text(manager: &SchemaManager<'_>, column: impl IntoIden) -> ColumnDef {
    let mut text = ColumnDef::new(column).text().take();
    if manager.get_database_backend() == sea_orm::DbBackend::Postgres {
        text.extra("COLLATE \"C\"");
    }
    text
}

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261120_clock_tables::Migration),
            Box::new(m20261121_branches::Migration),
            Box::new(m20261121_idempotency_keys::Migration),
            Box::new(m20261121_cache_tables::Migration),
            Box::new(m20261122_jobs_tables::Migration),
            Box::new(m20261123_settings_tables::Migration),
            Box::new(m20261124_queue_tables::Migration),
            Box::new(m20261124_queue_views::Migration),
            Box::new(m20261125_uploads_tables::Migration),
            Box::new(m20261125_uploads_views::Migration),
            Box::new(m20261126_prompts_tables::Migration),
            Box::new(m20261127_prompts_search::Migration),
            Box::new(m20261127_prompts_stats::Migration),
            Box::new(m20261127_prompts_views::Migration),
            Box::new(m20261127_records_tables::Migration),
        ]
    }
}
