//! On PostgreSQL: well, away, without a schema, with another one, and set so that it may lose what it acknowledged.

use std::net::TcpListener;

use pannier_proto::durability::v1::Durability;

use super::shared::{Server, run_at};
use super::{Verdict, doctor};
use crate::calls::{cache, endless, put};
use crate::load::NAMESPACE;
use crate::sidecar::{Launch, Place, pannier};
use crate::turn;

/// Looks, and sees that the password is not told.
fn look(url: &str, settings: &[&str]) -> Verdict {
    let verdict = doctor(|command| {
        command.env("PANNIER_STORAGE__URL", url);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    });
    assert!(!verdict.text.contains("geheim"), "{}", verdict.text);
    assert!(!verdict.json.to_string().contains("geheim"), "{}", verdict.json);
    verdict
}

fn migrate(url: &str, action: &str) {
    let output = pannier("migrate").arg(action).env("PANNIER_STORAGE__URL", url).output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_server_that_is_well_is_found_well() {
    let _turn = turn::shared().await;
    let server = Server::shared().await;
    let url = server.schema().await;
    migrate(&url, "up");
    let verdict = look(&url, &[]);
    verdict.only(&[]);
    assert!(verdict.text.ends_with("no problems, no warnings\n"), "{}", verdict.text);
    verdict.says("backend", "ok", &["PostgreSQL"]);
    verdict.says("location", "ok", &["pannier:***@127.0.0.1"]);
    verdict.says("standing", "ok", &["primary"]);
    verdict.says("encoding", "ok", &["UTF8"]);
    verdict.says("tls", "ok", &["none"]);
    verdict.says("durability", "ok", &["fsync on"]);
    verdict.says("schema", "ok", &["may create"]);
    assert!(verdict.measure("round_trip", "round_trip_us") > 0);
    assert!(verdict.measure("clock", "difference_us").abs() < 1_000_000);
    assert_eq!(verdict.measure("connections", "connections_wanted"), 11);
    assert_eq!(verdict.measure("connections", "connections_reserved"), 3);
}

#[tokio::test]
async fn a_running_sidecar_is_counted_and_not_disturbed() {
    let _turn = turn::shared().await;
    // A server of its own: others' sidecars would be counted with it.
    let server = Server::with(&[]);
    let url = server.schema().await;
    let place = Place::new();
    let launch = Launch::new(&place).variable("PANNIER_STORAGE__URL", &url);
    let mut sidecar = launch.start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    for round in 1..=3 {
        client.put(put(NAMESPACE, "k", round, Durability::Full)).await.expect("a put");
        let verdict = look(&url, &[]);
        verdict.only(&[]);
        assert!(verdict.measure("connections", "connections_of_sidecars") >= 2, "{}", verdict.text);
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn a_server_that_is_away_is_a_problem() {
    let _turn = turn::shared().await;
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let verdict = look(&format!("postgres://me:geheim@{free}/x"), &[]);
    verdict.only(&["problem reachable"]);
    verdict.says("reachable", "problem", &["refused", "look whether the server runs"]);

    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let verdict = look(&format!("postgres://me:geheim@{address}/x"), &["storage.connect_ms_max=50"]);
    verdict.only(&["problem reachable"]);
    verdict.says("reachable", "problem", &["50 ms"]);
}

#[tokio::test]
async fn another_machine_without_encryption_is_a_problem_before_anything_is_sent() {
    let _turn = turn::shared().await;
    let verdict = look("postgres://me:geheim@192.0.2.1/x", &[]);
    verdict.only(&["problem backend"]);
    verdict.says("backend", "problem", &["encryption", "sslmode"]);
}

#[tokio::test]
async fn a_database_or_a_schema_that_is_not_there_is_a_problem() {
    let _turn = turn::shared().await;
    let server = Server::shared().await;
    let verdict = look(&server.url("nowhere"), &[]);
    verdict.only(&["problem reachable"]);
    verdict.says("reachable", "problem", &["3D000", "make the database"]);

    let url = format!("{}?options=-c%20search_path%3Dnowhere", server.url("postgres"));
    let verdict = look(&url, &[]);
    verdict.only(&["problem schema"]);
    verdict.says("schema", "problem", &["nowhere", "make the schema"]);
}

#[tokio::test]
async fn an_empty_schema_is_told_and_a_problem_where_nobody_may_fill_it() {
    let _turn = turn::shared().await;
    let server = Server::shared().await;
    let (empty, full) = (server.schema().await, server.schema().await);
    migrate(&full, "up");
    let verdict = look(&empty, &[]);
    verdict.only(&["warning migrations"]);
    verdict.says("migrations", "warning", &["0 of", "other schemas have such tables"]);
    look(&empty, &["storage.migrate_on_start=false"]).only(&["problem migrations"]);

    let schema = empty.rsplit_once("%3D").expect("a schema").1;
    server
        .run(&format!(
            "CREATE ROLE reader_of_{schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO reader_of_{schema}"
        ))
        .await;
    let verdict = look(&empty.replace("pannier:", &format!("reader_of_{schema}:")), &[]);
    verdict.only(&["problem migrations"]);
    verdict.says("schema", "ok", &["may not create"]);
    verdict.says("migrations", "problem", &["grant"]);
}

#[tokio::test]
async fn a_role_that_may_not_write_is_a_problem_and_one_that_may_serves() {
    let _turn = turn::shared().await;
    let server = Server::shared().await;
    let url = server.schema().await;
    migrate(&url, "up");
    let schema = url.rsplit_once("%3D").expect("a schema").1;
    let role = format!("server_of_{schema}");
    server
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}; \
             GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
        ))
        .await;
    let as_role = url.replace("pannier:", &format!("{role}:"));
    let verdict = look(&as_role, &[]);
    verdict.only(&["problem rights"]);
    verdict.says("rights", "problem", &["cache_entries", "cache_entries_id_seq", "grant"]);

    server
        .run(&format!(
            "GRANT UPDATE ON ALL TABLES IN SCHEMA {schema} TO {role}; \
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
        ))
        .await;
    look(&as_role, &[]).only(&[]);
    let place = Place::new();
    let mut sidecar = Launch::new(&place).variable("PANNIER_STORAGE__URL", &as_role).start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    client.put(put(NAMESPACE, "k", 1, Durability::Full)).await.expect("a put");
    assert!(!sidecar.ready()["data"].to_string().contains("geheim"), "{}", sidecar.ready());
    sidecar.stop().await;
}

#[tokio::test]
async fn a_newer_schema_is_a_problem_and_an_older_one_is_told() {
    let _turn = turn::shared().await;
    let server = Server::shared().await;
    let url = server.schema().await;
    migrate(&url, "up");
    migrate(&url, "down");
    look(&url, &[]).only(&["warning migrations"]);
    migrate(&url, "up");
    run_at(&url, "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m2999_later', 0)").await;
    let verdict = look(&url, &[]);
    verdict.only(&["problem migrations"]);
    verdict.says("migrations", "problem", &["m2999_later", "newer"]);
}

#[tokio::test]
async fn too_few_connections_are_a_problem() {
    let _turn = turn::shared().await;
    let server = Server::shared().await;
    let url = server.schema().await;
    migrate(&url, "up");
    look(&url, &["storage.connections=1000"]).only(&["problem connections"]);

    server.run("CREATE ROLE few LOGIN SUPERUSER CONNECTION LIMIT 5").await;
    look(&url.replace("pannier:", "few:"), &[]).only(&["problem connections"]);
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_acknowledged_is_told() {
    let _turn = turn::shared().await;
    let settings = ["fsync=off", "full_page_writes=off", "synchronous_commit=off"];
    let server = Server::with(&settings);
    let url = server.schema().await;
    migrate(&url, "up");
    let verdict = look(&url, &[]);
    verdict.only(&["warning durability"]);
    verdict.says("durability", "warning", &["fsync and full_page_writes off", "acknowledged"]);
}
