//! The list of tables that export and import go by, held against the schema.

use std::collections::BTreeSet;

use pannier_migration::TABLES;
use pannier_migration::tables::DERIVED;
use rusqlite::Connection;

use crate::exceptions::sqlite_only;
use crate::harness::pannier;

/// The first column of all rows.
fn texts(file: &Connection, sql: &str, of: &str) -> Vec<String> {
    let mut statement = file.prepare(sql).unwrap();
    let rows = statement.query_map([of], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test]
async fn every_table_is_listed_with_its_key_behind_those_it_refers_to() {
    sqlite_only();
    let pannier = pannier().await.restart().await;
    let file = Connection::open(pannier.database()).unwrap();
    let all =
        texts(&file, "SELECT name FROM sqlite_schema WHERE type = ?1 AND name NOT LIKE 'sqlite_%'", "table");
    let listed: BTreeSet<&str> = TABLES.iter().map(|table| table.name).collect();
    let is_derived = |name: &str| {
        DERIVED.iter().any(|derived| name == *derived || name.starts_with(&format!("{derived}_")))
    };
    assert!(DERIVED.iter().all(|derived| all.iter().any(|name| name == derived)), "{DERIVED:?}");
    let made: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    let made = made.into_iter().filter(|name| *name != "seaql_migrations" && !is_derived(name)).collect();
    assert_eq!(listed, made, "migration/src/tables.rs lists other tables than the migrations make");
    assert_eq!(listed.len(), TABLES.len());

    for (place, table) in TABLES.iter().enumerate() {
        let key = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
        assert_eq!(texts(&file, key, table.name), table.key, "{}", table.name);
        let nullable = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 AND \"notnull\" = 0";
        assert_eq!(texts(&file, nullable, table.name), [""; 0], "a NULL in a key is not found by its pages");
        let referred = texts(&file, "SELECT \"table\" FROM pragma_foreign_key_list(?1)", table.name);
        for other in referred {
            let other = TABLES.iter().position(|candidate| candidate.name == other).unwrap();
            assert!(other <= place, "{} stands before {}", table.name, TABLES[other].name);
        }
        let makes_numbers = "SELECT name FROM sqlite_schema WHERE name = ?1 AND sql LIKE '%AUTOINCREMENT%'";
        let gives_numbers = !texts(&file, makes_numbers, table.name).is_empty();
        assert_eq!(table.identity.is_some(), gives_numbers, "{}", table.name);
        assert!(table.identity.is_none_or(|column| table.key == [column]), "{}", table.name);
    }
}
