//! Pannier's schema: one file per change, each up and down, in the order of their names.
//!
//! Conventions: times are Unix microseconds; integers are `bigint`; what a table is for stands at its migration.

pub use sea_orm_migration::{MigratorTrait, prelude::*};

mod m20261121_cache_tables;
mod m20261121_idempotency_keys;
mod m20261121_queue_tables;
mod m20261121_queue_views;

/// All changes.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_idempotency_keys::Migration),
            Box::new(m20261121_cache_tables::Migration),
            Box::new(m20261121_queue_tables::Migration),
            Box::new(m20261121_queue_views::Migration),
        ]
    }
}
