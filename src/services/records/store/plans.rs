//! Queries run on the index that was chosen for them, read its values in their order, and sort nothing: asked of either database itself.
//! Also those that build and clear indexes.
//!
//! On PostgreSQL: `PANNIER_TEST_STORAGE=postgres bash tests/postgres.sh run cargo test --lib records::store::plans`.

use sea_orm::ConnectionTrait as _;

use super::candidates::{rows_after, values_after};
use super::changes::{CHANGES, NEWEST};
use super::read::by_key;
use super::remove::TOMBSTONES;
use super::{indexes, query};
use crate::settings::StorageSettings;
use crate::storage::plans::explain;
use crate::storage::{Durability, Storage, migrate};

fn is_postgres() -> bool {
    std::env::var("PANNIER_TEST_STORAGE").is_ok_and(|storage| storage == "postgres")
}

/// A database with 20,000 records of 20 collections, each with one index, of which the records have one of 100 values.
async fn storage() -> (Storage, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("data").display().to_string();
    let mut settings = StorageSettings { directory: place, ..Default::default() };
    if is_postgres() {
        let server = std::env::var("PANNIER_TEST_POSTGRES_URL").expect("run it by tests/postgres.sh run");
        settings.url = server.clone().into();
        let schema = format!("plans_{}", directory.path().file_name().unwrap().display())
            .replace('.', "_")
            .to_lowercase();
        let first = Storage::open(&settings).await.unwrap();
        run(&first, vec![format!("CREATE SCHEMA \"{schema}\"")]).await;
        first.close().await;
        settings.url = format!("{server}?options=-c%20search_path%3D{schema}").into();
    }
    let storage = Storage::open(&settings).await.unwrap();
    migrate::up(&storage, None, &mut |_: &str| {}).await.unwrap();
    let numbers =
        r#"WITH RECURSIVE "n" AS (SELECT 1 AS "n" UNION ALL SELECT "n" + 1 FROM "n" WHERE "n" < 20000)"#;
    let value =
        if is_postgres() { "convert_to(CAST(n % 100 AS text), 'UTF8')" } else { "CAST(n % 100 AS blob)" };
    let mut fill = vec![
        format!(
            r#"{numbers} INSERT INTO "records" ("id", "collection_id", "seq", "create_time", "update_time",
            "size_bytes", "key", "is_compressed", "document")
            SELECT n, n % 20, n, 0, 0, 2, CAST(n AS text), false, {value} FROM "n""#
        ),
        format!(
            r#"{numbers} INSERT INTO "record_values" ("index_id", "value", "record_id") SELECT n % 20, {value}, n FROM "n""#
        ),
        format!(
            r#"{numbers} INSERT INTO "record_indexes" ("collection_id", "path", "state", "built_seq")
            SELECT n % 20, CAST(n AS text), 2, 0 FROM "n" WHERE n <= 2000"#
        ),
    ];
    fill.push("ANALYZE".into());
    run(&storage, fill).await;
    (storage, directory)
}

async fn run(storage: &Storage, statements: Vec<String>) {
    let done = storage.write(Durability::Relaxed, statements, |tx, statements| {
        Box::pin(async move {
            for statement in statements {
                tx.execute_unprepared(statement).await?;
            }
            Ok(())
        })
    });
    done.await.unwrap();
}

/// How the database would run a statement whose values are these: the lines of its plan.
async fn plan(storage: &Storage, sql: &str, values: &[&str]) -> String {
    let mut statement = sql.to_owned();
    for (place, value) in values.iter().enumerate().rev() {
        statement = statement.replace(&format!("${}", place + 1), value);
    }
    explain(storage, &statement).await.join("\n")
}

/// A value of an index, as SQL has it.
fn bytes(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    if is_postgres() { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
}

/// Asserts that a plan has all of these, and that nothing in it is sorted or read through.
#[track_caller]
fn assert_runs(plan: &str, parts_of_sqlite: &[&str], parts_of_postgres: &[&str]) {
    for part in if is_postgres() { parts_of_postgres } else { parts_of_sqlite } {
        assert!(plan.contains(part), "{part} is missing in\n{plan}");
    }
    for forbidden in ["TEMP B-TREE", "SCAN record", "Sort", "Seq Scan", "Bitmap", "Hash", "Filter"] {
        assert!(!plan.contains(forbidden), "{forbidden} in\n{plan}");
    }
}

#[tokio::test]
async fn a_query_by_an_index_is_one_walk_through_its_range() {
    let (storage, _directory) = storage().await;
    let (from, to, at) = (bytes("2"), bytes("3"), bytes("21"));
    for (is_descending, values, sqlite, postgres) in [
        (false, vec!["5", &from, &to, "64"], "(index_id=? AND value>? AND value<?)", "(value < "),
        (
            false,
            vec!["5", &at, "40", &to, "64"],
            "(index_id=? AND (value,record_id)>(?,?) AND value<?)",
            "ROW(value, record_id) > ROW",
        ),
        (true, vec!["5", &from, &to, "64"], "(index_id=? AND value>? AND value<?)", "(value < "),
        (
            true,
            vec!["5", &from, &at, "40", "64"],
            "(index_id=? AND value>? AND (value,record_id)<(?,?))",
            "ROW(value, record_id) < ROW",
        ),
    ] {
        let plan = plan(&storage, &values_after(is_descending, values.len() == 5), &values).await;
        let direction = if is_descending {
            "Scan Backward using record_values_pkey"
        } else {
            "Scan using record_values_pkey"
        };
        let of_index = format!("SEARCH record_values USING PRIMARY KEY {sqlite}");
        assert_runs(
            &plan,
            &[&of_index, "SEARCH records USING INTEGER PRIMARY KEY (rowid=?)"],
            &[
                "Nested Loop",
                "Index Only",
                direction,
                "Index Cond: ((index_id = 5)",
                postgres,
                "records_pkey",
            ],
        );
    }
    let counted = plan(&storage, query::COUNT, &["5", &from, &to, "100"]).await;
    // Until its pages are known to be visible to all, PostgreSQL reads the index as a bitmap.
    let within =
        [r"((index_id = 5) AND (value >= '\x32'::bytea) AND (value < '\x33'::bytea))", "record_values_pkey"];
    let counted = counted.replace("Bitmap", "");
    assert_runs(
        &counted,
        &["SEARCH record_values USING PRIMARY KEY (index_id=? AND value>? AND value<?)"],
        &within,
    );
}

#[tokio::test]
async fn records_are_read_by_key_and_by_change_in_their_order() {
    let (storage, _directory) = storage().await;
    for (is_by_key, name, place) in [(true, "records_by_key", "'5'"), (false, "records_by_seq", "9000")] {
        for is_descending in [false, true] {
            for values in [&["5", "64"][..], &["5", place, "64"]] {
                let plan =
                    plan(&storage, &rows_after(is_by_key, is_descending, values.len() == 3), values).await;
                let by_name = format!("SEARCH records USING INDEX {name} (collection_id=?");
                assert_runs(&plan, &[&by_name], &[&format!("using {name}"), "(collection_id = 5)"]);
            }
        }
    }
}

#[tokio::test]
async fn indexes_are_built_and_cleared_along_their_keys() {
    let (storage, _directory) = storage().await;
    let unfinished = plan(&storage, indexes::UNFINISHED, &["1"]).await;
    assert_runs(
        &unfinished,
        &["USING INDEX record_indexes_unfinished (state=?)"],
        &["record_indexes_unfinished"],
    );
    let built = plan(&storage, indexes::BUILT_FROM, &["5", "9000", "64"]).await;
    assert_runs(
        &built,
        &["USING INDEX records_by_seq (collection_id=? AND seq<?)"],
        &["using records_by_seq", "seq <= 9000"],
    );
    let last = plan(&storage, indexes::LAST_DROPPED, &["5", "100"]).await;
    assert_runs(&last, &["USING PRIMARY KEY (index_id=?)"], &["record_values_pkey"]);
    let cleared = plan(&storage, indexes::DROP_UNTIL, &["5", &bytes("0"), "1"]).await;
    let cleared = cleared.replace("Bitmap", "");
    assert_runs(
        &cleared,
        &["USING PRIMARY KEY (index_id=? AND (value,record_id)<(?,?))"],
        &["record_values_pkey", "ROW(value, record_id) <= ROW"],
    );
}

#[tokio::test]
async fn lists_changes_and_removals_run_along_their_indexes() {
    let (storage, _directory) = storage().await;
    let (from_key, under_prefix) = (by_key(true, false), by_key(false, true));
    let (tombstones, bounds) = ("records_tombstones", "collection_id=? AND delete_time>? AND delete_time<?");
    for (sql, values, index, bounds) in [
        (from_key.as_str(), &["5", "'5'"][..], "records_by_key", "collection_id=? AND key>?"),
        (
            under_prefix.as_str(),
            &["5", "'1'", "'6'"],
            "records_by_key",
            "collection_id=? AND key>? AND key<?",
        ),
        (CHANGES.as_str(), &["5", "9000", "0"], "records_by_seq", "collection_id=? AND seq>?"),
        (NEWEST.as_str(), &["5", "9000"], "records_by_seq", "collection_id=? AND seq<?"),
        (TOMBSTONES, &["5", "9000", "256"], tombstones, bounds),
    ] {
        let plan = plan(&storage, sql, values).await;
        let by_index = if is_postgres() { index.to_owned() } else { format!("INDEX {index} ({bounds})") };
        assert!(plan.contains(&by_index), "{by_index} is missing in\n{plan}");
        // Of the few rows of this table PostgreSQL may sort those that it finds by the index.
        for forbidden in ["TEMP B-TREE", "SCAN record", "Seq Scan"] {
            assert!(!plan.contains(forbidden), "{forbidden} in\n{plan}");
        }
    }
}
