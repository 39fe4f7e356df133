//! Every kind of column through a real database: inserted, found in the catalogue, paged, and the same text again.

use std::sync::Arc;

use pannier_migration::tables::{DERIVED, Table};
use sea_orm::sea_query::{ColumnDef, Index, Table as Definition, TableCreateStatement};
use sea_orm::{ConnectionTrait as _, Statement, Value};
use uuid::Uuid;

use super::catalogue::{Shape, columns};
use super::pages::{Pages, count};
use super::rows::{Batch, first_filled, insert, remove_some};
use super::{BYTES_MAX, ROWS_MAX};
use crate::clock::Clock;
use crate::settings::StorageSettings;
use crate::storage::{Durability, Storage, migrate};

static KINDS: Table = Table { name: "every_kind", key: &["id"], identity: None };
static PAIRS: Table = Table { name: "pairs", key: &["name", "id"], identity: None };

async fn database(directory: &tempfile::TempDir) -> Storage {
    let directory = directory.path().join("data").display().to_string();
    Storage::open(&StorageSettings { directory, ..Default::default() }).await.unwrap()
}

/// Makes a table, and looks it up in the catalogue.
async fn made(storage: &Storage, table: &'static Table, definition: TableCreateStatement) -> Arc<Shape> {
    let make = storage.write(Durability::Relaxed, definition, |tx, definition| {
        Box::pin(async move { Ok(tx.execute(definition).await.map(drop)?) })
    });
    make.await.unwrap();
    let columns = storage.read((), |db, ()| Box::pin(columns(db, table.name))).await.unwrap();
    Arc::new(Shape { table, columns })
}

/// All rows' lines, and how many rows each page had.
async fn paged(storage: &Storage, shape: &Arc<Shape>) -> (Vec<String>, Vec<u64>) {
    let mut pages = Pages::new(storage, shape);
    let (mut lines, mut sizes) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await.unwrap() {
        sizes.push(page.rows);
        lines.extend(String::from_utf8(page.lines).unwrap().lines().map(str::to_owned));
    }
    (lines, sizes)
}

#[tokio::test]
async fn every_kind_comes_out_of_the_database_as_it_went_in_with_a_value_and_with_null() {
    let directory = tempfile::tempdir().unwrap();
    let storage = database(&directory).await;
    let table = Definition::create()
        .table("every_kind")
        .col(ColumnDef::new("id").big_integer().not_null().primary_key())
        .col(ColumnDef::new("a_boolean").boolean())
        .col(ColumnDef::new("b_real").double())
        .col(ColumnDef::new("c_text").text())
        .col(ColumnDef::new("d_bytes").blob())
        .col(ColumnDef::new("e_uuid").uuid())
        .col(ColumnDef::new("f_json").json())
        .take();
    let shape = made(&storage, &KINDS, table).await;
    let json = serde_json::json!({"b": [1, null], "a": "ü"});
    let full = vec![
        Value::Bool(Some(false)),
        // SQLite stores it as an integer.
        Value::Double(Some(3.0)),
        Value::String(Some("é\u{1F600}\n".into())),
        Value::Bytes(Some(vec![0, 255])),
        Value::Uuid(Some(Uuid::from_u128(7))),
        Value::Json(Some(Box::new(json))),
        Value::BigInt(Some(i64::MIN)),
    ];
    let nulls = vec![
        Value::Bool(None),
        Value::Double(None),
        Value::String(None),
        Value::Bytes(None),
        Value::Uuid(None),
        Value::Json(None),
        Value::BigInt(Some(2)),
    ];
    insert(&storage, Batch { shape: shape.clone(), rows: vec![full, nulls] }).await.unwrap();
    let (lines, _) = paged(&storage, &shape).await;
    assert_eq!(
        lines,
        [
            r#"{"table":"every_kind","row":{"a_boolean":false,"b_real":"3.0","c_text":"é😀\n","d_bytes":"AP8=","e_uuid":"00000000-0000-0000-0000-000000000007","f_json":"{\"a\":\"ü\",\"b\":[1,null]}","id":-9223372036854775808}}"#,
            r#"{"table":"every_kind","row":{"a_boolean":null,"b_real":null,"c_text":null,"d_bytes":null,"e_uuid":null,"f_json":null,"id":2}}"#,
        ]
    );
}

/// Pairs whose values take so many bytes, in an order that is not that of their key.
async fn pairs(storage: &Storage, value_bytes: &[usize]) -> Arc<Shape> {
    let key = |name: &'static str| ColumnDef::new(name).not_null().take();
    let table = Definition::create()
        .table("pairs")
        .col(key("id").big_integer())
        .col(key("name").text())
        .col(ColumnDef::new("value").blob())
        .primary_key(Index::create().col("name").col("id"))
        .take();
    let shape = made(storage, &PAIRS, table).await;
    let row = |(id, bytes): (usize, &usize)| {
        let name = ["b", "", "ü", "a"][id % 4];
        vec![Value::from(id as i64), Value::from(name), Value::from(vec![1_u8; *bytes])]
    };
    let rows = value_bytes.iter().enumerate().map(row).collect();
    insert(storage, Batch { shape: shape.clone(), rows }).await.unwrap();
    shape
}

#[tokio::test]
async fn pages_follow_the_key_and_every_row_is_on_one() {
    let directory = tempfile::tempdir().unwrap();
    let storage = database(&directory).await;
    let rows = 2 * ROWS_MAX + 7;
    let shape = pairs(&storage, &vec![0; rows]).await;
    let (lines, sizes) = paged(&storage, &shape).await;
    assert_eq!(sizes, [ROWS_MAX as u64, ROWS_MAX as u64, 7]);
    let keys: Vec<(String, i64)> = lines
        .iter()
        .map(|line| {
            let row = &serde_json::from_str::<serde_json::Value>(line).unwrap()["row"];
            (row["name"].as_str().unwrap().to_owned(), row["id"].as_i64().unwrap())
        })
        .collect();
    assert!(keys.is_sorted(), "the order is that of the bytes");
    assert_eq!(keys.len(), rows);
    assert_eq!(count(&storage, &shape).await.unwrap(), rows as u64);
}

#[tokio::test]
async fn a_page_ends_before_it_has_too_many_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let storage = database(&directory).await;
    let half = BYTES_MAX / 2;
    let mut bytes = vec![0; 25];
    // All three have the name "b".
    (bytes[0], bytes[4], bytes[8]) = (half, half, 2 * BYTES_MAX);
    let shape = pairs(&storage, &bytes).await;
    let (_, sizes) = paged(&storage, &shape).await;
    // Twelve of smaller names and one half; the other half; what is larger than any page; the rest.
    assert_eq!(sizes, [13, 1, 1, 10]);
}

#[tokio::test]
async fn rows_are_removed_in_steps_until_none_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let storage = database(&directory).await;
    let shape = pairs(&storage, &vec![0; ROWS_MAX + 1]).await;
    let shapes = [shape.clone()];
    assert_eq!(first_filled(&storage, &shapes).await.unwrap(), Some("pairs"));
    assert_eq!(remove_some(&storage, &shape).await.unwrap(), ROWS_MAX as u64);
    assert_eq!(remove_some(&storage, &shape).await.unwrap(), 1);
    assert_eq!(remove_some(&storage, &shape).await.unwrap(), 0);
    assert_eq!(first_filled(&storage, &shapes).await.unwrap(), None);
}

/// How many rows a table has.
async fn rows_of(storage: &Storage, table: &'static str) -> i64 {
    let read = storage.read(table, |db, table| {
        Box::pin(async move {
            let count = format!("SELECT count(*) AS \"number\" FROM \"{table}\"");
            let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), count)).await?;
            Ok(row.unwrap().try_get("", "number")?)
        })
    });
    read.await.unwrap()
}

#[tokio::test]
async fn what_is_derived_is_not_moved_and_is_emptied_where_an_import_goes() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, target) = (database(&here).await, database(&there).await);
    for storage in [&source, &target] {
        migrate::up(storage, None, |_: &str| {}).await.unwrap();
        let fill = storage.write(Durability::Relaxed, (), |tx, ()| {
            Box::pin(async move {
                tx.execute_unprepared("INSERT INTO prompt_search (rowid, idea) VALUES (1, 'word')").await?;
                tx.execute_unprepared("INSERT INTO prompt_names (kind, key, name) VALUES (1, 'k', 'a')")
                    .await?;
                Ok(())
            })
        });
        fill.await.unwrap();
        for table in DERIVED {
            assert_eq!(rows_of(storage, table).await, 1, "{table}");
        }
    }
    let mut export = Vec::new();
    super::export(&source, &Clock::manual(7).0, &mut export, &mut |_| {}).await.unwrap();
    assert!(!String::from_utf8(export.clone()).unwrap().contains("prompt_search\""));
    let report = super::import(&target, &mut export.as_slice(), true, &mut |_| {}).await.unwrap();
    assert!(report.ok);
    assert_eq!(rows_of(&target, "prompt_names").await, 1);
    for table in DERIVED {
        assert_eq!(rows_of(&target, table).await, 0, "{table} is of rows that are gone");
    }
}
