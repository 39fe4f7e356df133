//! Two sidecars on one database share the records.

use std::time::Duration;

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1::watch_request::Start;
use sqlx::Connection as _;
use tonic::Code;

use super::calls::{next, put, told};
use super::documents::with_collection;
use crate::harness::assert_status;

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn what_one_puts_the_other_reads_at_once_and_its_watchers_are_woken() {
    let first = with_collection().await;
    let second = first.beside().await;
    let mut watch = second.watch_records(Some(Start::FromNow(true))).await;
    next(&mut watch).await;
    first.put_record("a", "{}").await;
    assert!(second.document("a").await.is_some());
    // The second one's clock stands still: only the wake-up can end the wait.
    assert_eq!(told(&next(&mut watch).await.changes), [("a", Some("{}"))]);
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn pushes_of_one_client_to_two_sidecars_at_once_are_applied_once() {
    let first = with_collection().await;
    let second = first.beside().await;
    let client = first.sync_client().await;
    for round in 0..20 {
        let id = round * 2 + 1;
        let pushed = vec![put(id, "a", &format!(r#"{{"n":{id}}}"#)), put(id + 1, "b", "{}")];
        let (one, other) =
            tokio::join!(first.push(&client, id - 1, pushed.clone()), second.push(&client, id - 1, pushed));
        assert_eq!(one.unwrap().results, other.unwrap().results);
    }
    assert_eq!(first.try_record("c", "a").await.unwrap().revision, 39);
}

/// A writer that has numbered its change and does not commit: others wait, and no reader gets past it.
#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_reader_never_gets_past_a_change_that_is_not_committed() {
    let pannier = with_collection().await;
    pannier.put_record("a", "{}").await;
    let mut slow = sqlx::PgConnection::connect(&pannier.url()).await.unwrap();
    let mut transaction = slow.begin().await.unwrap();
    let number = "UPDATE record_collections SET last_seq = last_seq + 1 WHERE name = 'c'";
    sqlx::query(number).execute(&mut *transaction).await.unwrap();
    sqlx::query("UPDATE records SET seq = 2 WHERE key = 'a'").execute(&mut *transaction).await.unwrap();
    let later = pannier.put_record("b", "{}");
    tokio::pin!(later);
    let (before, cursor) = pannier.all_changes("", 0).await;
    let early = tokio::time::timeout(Duration::from_millis(200), &mut later).await;
    assert!(early.is_err(), "it waits for its turn");
    assert_eq!(before[0].revision, 1);
    assert!(pannier.all_changes(&cursor, 0).await.0.is_empty());
    transaction.commit().await.unwrap();
    later.await;
    let (news, _) = pannier.all_changes(&cursor, 0).await;
    let news: Vec<_> = news.iter().map(|record| (record.key.as_str(), record.revision)).collect();
    assert_eq!(news, [("a", 2), ("b", 3)]);
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn sidecars_that_take_turns_note_their_branches_once_and_reset_no_cursor() {
    let first = with_collection().await;
    let second = first.beside().await;
    let (_, mut cursor) = first.all_changes("", 0).await;
    for round in 0..10 {
        for pannier in [&first, &second] {
            pannier.put_record("a", &format!(r#"{{"n":{round},"by":"{}"}}"#, pannier.address())).await;
            pannier.set("a", &round.to_string()).await;
            let (news, next) = second.all_changes(&cursor, 0).await;
            assert_eq!(news.len(), 1);
            cursor = next;
            assert!(first.all_changes(&cursor, 0).await.0.is_empty());
        }
    }
    assert_eq!(first.row_count("branches").await, 4, "two of the collection and two of the settings");
}

/// A database that is set back while a sidecar runs: its connections are lost, and it opens a branch without being started.
#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_sidecar_that_finds_another_database_after_a_loss_of_its_connections_opens_a_branch() {
    let first = with_collection().await;
    let mut admin = sqlx::PgConnection::connect(&first.url()).await.unwrap();
    let role = format!("branches_{}", std::process::id());
    let run = async |admin: &mut sqlx::PgConnection, sql: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(admin).await.unwrap();
    };
    run(&mut admin, format!("CREATE ROLE {role} LOGIN SUPERUSER")).await;
    let pannier = first.beside_at(&first.url().replacen("pannier@", &format!("{role}@"), 1)).await;
    pannier.put_record("a", "{}").await;
    let (_, kept) = pannier.all_changes("", 0).await;
    let backup = |table| format!("CREATE TABLE backup_{table} AS SELECT * FROM {table};");
    run(&mut admin, ["records", "record_collections"].map(backup).concat()).await;
    pannier.put_record("lost", "{}").await;
    let (_, lost) = pannier.all_changes("", 0).await;
    let restore = |table| format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM backup_{table};");
    run(&mut admin, ["records", "record_collections"].map(restore).concat()).await;
    let ended = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    run(&mut admin, ended).await;
    pannier.put_record("new", "{}").await;
    let reset = pannier.try_changes("c", &lost, 0).await.unwrap_err();
    assert_status(&reset, Code::FailedPrecondition, ErrorReason::CursorReset);
    let (news, _) = pannier.all_changes(&kept, 0).await;
    assert_eq!(told(&news), [("new", Some("{}"))]);
}
