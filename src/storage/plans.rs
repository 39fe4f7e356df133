//! How the databases would run statements: what stores assert of theirs.

use sea_orm::{ConnectionTrait as _, Statement};

use super::{Storage, migrate};
use crate::settings::StorageSettings;

/// An SQLite database with the schema and nothing else.
pub async fn storage() -> (Storage, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("data").display().to_string();
    let storage = Storage::open(&StorageSettings { directory: place, ..Default::default() }).await.unwrap();
    migrate::up(&storage, None, &mut |_: &str| {}).await.unwrap();
    (storage, directory)
}

/// The plan of a statement, as the database words it. On SQLite placeholders stand for any values; PostgreSQL wants literals.
pub async fn explain(storage: &Storage, sql: &str) -> Vec<String> {
    let (explain, column) = match storage.is_shared() {
        true => ("EXPLAIN (COSTS OFF)", "QUERY PLAN"),
        false => ("EXPLAIN QUERY PLAN", "detail"),
    };
    texts(storage, format!("{explain} {sql}"), column).await
}

/// A column of texts that a query answers with.
pub async fn texts(storage: &Storage, sql: String, column: &'static str) -> Vec<String> {
    storage
        .read((sql, column), |db, (sql, column)| {
            Box::pin(async move {
                let query = Statement::from_string(db.get_database_backend(), sql.clone());
                let rows = db.query_all_raw(query).await?;
                let lines: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get("", column)).collect();
                Ok(lines?)
            })
        })
        .await
        .unwrap()
}

/// Asserts that a statement takes these steps on tables of SQLite, in this order. What it sorts or groups is a step.
pub async fn assert_runs(storage: &Storage, sql: &str, steps: &[&str]) {
    let mut plan = explain(storage, sql).await;
    plan.retain(|line| ["SEARCH", "SCAN", "USE TEMP B-TREE"].iter().any(|step| line.starts_with(step)));
    assert_eq!(plan, steps, "{sql}");
}
