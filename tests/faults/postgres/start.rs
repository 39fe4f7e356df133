//! Databases that a sidecar does not start on: each is told in one clear line, soon, and no line has the password.

use std::time::{Duration, Instant};

use super::server::{End, Server};
use crate::sidecar::{LONG, Launch, Place, Refusal, within};
use crate::turn;

/// What must not be told. A URL has its percent sign as %25.
const PASSWORD: &str = "open%sesame";
const PASSWORD_IN_URL: &str = "open%25sesame";
/// A refusal that waits for nothing comes within this.
const SOON: Duration = Duration::from_secs(4);

fn keeps_the_secret(text: &str) {
    for secret in [PASSWORD, PASSWORD_IN_URL, "sesame"] {
        assert!(!text.contains(secret), "the password is told:\n{text}");
    }
}

/// A start that tells all it knows.
fn launch(place: &Place, url: &str) -> Launch {
    Launch::new(place).database(url).set("log.filter", "trace")
}

/// That a start is refused, with this code and one line that has these words.
async fn refused(launch: Launch, code: i32, words: &[&str]) {
    let began = Instant::now();
    let Refusal { code: exit, stderr, stdout } = launch.refused().await;
    keeps_the_secret(&stderr);
    keeps_the_secret(&stdout);
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((exit, errors.len()), (Some(code), 1), "{stderr}");
    for word in words {
        assert!(errors[0].contains(word), "{word:?} is not in: {}", errors[0]);
    }
    println!("{code}: {}", errors[0]);
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(began.elapsed() < SOON, "told only after {:?}", began.elapsed());
}

/// A server on which the user `ali` needs the password.
async fn with_a_password() -> Server {
    let mut server = Server::made().await;
    let file = server.data().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&file).expect("its rules");
    std::fs::write(&file, format!("host all ali 127.0.0.1/32 scram-sha-256\n{rules}")).expect("its rules");
    server.start().await;
    server.run(&format!("CREATE ROLE ali LOGIN SUPERUSER PASSWORD '{PASSWORD}'")).await;
    server
}

fn url_of_ali(server: &Server, password: &str, rest: &str) -> String {
    format!("postgres://ali:{password}@{}/{rest}", server.address())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_yet_is_waited_for() {
    let mut server = Server::started().await;
    let _turn = turn::shared().await;
    server.end(End::Fast).await;
    let place = Place::new();
    let launch = launch(&place, &server.url("postgres")).set("log.filter", "info");
    let mut sidecar = launch.spawn();
    let early = sidecar.ended(Duration::from_secs(3)).await;
    assert!(early.is_none(), "it does not wait: {early:?}\n{}", sidecar.log());
    let waits = sidecar.log().lines().filter(|line| line.contains("waiting for the database")).count();
    assert_eq!(waits, 1, "it says so, once:\n{}", sidecar.log());
    server.start().await;
    let back = Instant::now();
    launch.ready(&mut sidecar).await;
    assert!(back.elapsed() < Duration::from_secs(3), "ready only after {:?}", back.elapsed());
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_come_is_not_waited_for_any_longer() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    server.end(End::Fast).await;
    let place = Place::new();
    for (wait_ms, within) in [(0, SOON), (1_000, SOON)] {
        let launch = launch(&place, &server.url("postgres")).set("storage.start_wait_ms", wait_ms);
        let began = Instant::now();
        refused(launch, 1, &["cannot connect to PostgreSQL", &server.address()]).await;
        assert!(began.elapsed() >= Duration::from_millis(wait_ms) && began.elapsed() < within);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_enter_is_told_so_at_once_and_the_password_is_not_told() {
    let server = with_a_password().await;
    let _turn = turn::shared().await;
    let place = Place::new();
    let mut sidecar = launch(&place, &url_of_ali(&server, PASSWORD_IN_URL, "postgres")).start().await;
    sidecar.stop().await;
    keeps_the_secret(&sidecar.log());
    keeps_the_secret(&sidecar.printed());
    assert!(sidecar.printed().contains("postgres://ali:***@"), "{}", sidecar.printed());

    let wrong = url_of_ali(&server, "wrong", "postgres");
    refused(launch(&place, &wrong), 1, &["password authentication failed", "ali"]).await;
    let none = url_of_ali(&server, "", "postgres");
    refused(launch(&place, &none), 1, &["password", "ali"]).await;
    let unknown = url_of_ali(&server, PASSWORD_IN_URL, "nowhere");
    refused(launch(&place, &unknown), 1, &["\"nowhere\" does not exist"]).await;
    // The database can be entered no more while the sidecar runs: that is an outage like any other.
    let mut sidecar = launch(&place, &url_of_ali(&server, PASSWORD_IN_URL, "postgres")).start().await;
    let mut client = super::persist::prepare(&sidecar).await;
    server.run("ALTER ROLE ali PASSWORD 'another'").await;
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ali'").await;
    let put = || crate::calls::put("load", "k", 1, pannier_proto::durability::v1::Durability::Full);
    let status = client.put(put()).await.expect_err("the password is wrong by now");
    super::persist::unavailable(&status);
    server.run(&format!("ALTER ROLE ali PASSWORD '{PASSWORD}'")).await;
    super::persist::serves_again(&mut client, Instant::now(), Duration::from_secs(2)).await;
    sidecar.stop().await;
    keeps_the_secret(&sidecar.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_that_will_not_do_are_refused() {
    let mut server = Server::started().await;
    let _turn = turn::shared().await;
    let place = Place::new();
    let ascii = "ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    server.run(&format!("CREATE DATABASE ascii {ascii}")).await;
    refused(launch(&place, &server.url("ascii")), 1, &["SQL_ASCII", "UTF8"]).await;
    let elsewhere = server.url("postgres?options=-c%20search_path%3Dnowhere");
    refused(launch(&place, &elsewhere), 1, &["search_path"]).await;

    server.end(End::Fast).await;
    std::fs::write(server.data().join("standby.signal"), b"").expect("a file");
    server.start().await;
    refused(launch(&place, &server.url("postgres")), 1, &["standby", "primary"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_that_will_not_do_are_refused_as_wrong_configuration() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let user = format!("postgres://ali:{PASSWORD_IN_URL}@");
    let wrong = [
        (format!("{user}192.0.2.1/db"), "sslmode"),
        (format!("{user}db.example.com/db?sslmode=prefer"), "sslmode"),
        (format!("postgres://127.0.0.1/db?host=192.0.2.1&password={PASSWORD_IN_URL}"), "sslmode"),
        (format!("{user}127.0.0.1:port/db"), "port"),
        (format!("{user}127.0.0.1/db?sslmode=perhaps"), "perhaps"),
        // What is not known is not passed over: it may be a password.
        (format!("{user}127.0.0.1/db?pasword={PASSWORD_IN_URL}"), "pasword"),
        (format!("{user}127.0.0.1/db?sslpassword={PASSWORD_IN_URL}"), "sslpassword"),
        (format!("postgres://ali:x?{PASSWORD_IN_URL}@127.0.0.1/db"), "parameter"),
        (format!("mysql://ali:{PASSWORD_IN_URL}@127.0.0.1/db"), "postgres://"),
    ];
    for (url, word) in wrong {
        refused(launch(&place, &url), 78, &["storage.url", word]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_while_it_is_looked_at_is_waited_for() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    let place = Place::new();
    let proxy = super::proxy::Proxy::before(server.address()).await;
    proxy.hang();
    let launch = super::network::impatient(Launch::new(&place)).database(&proxy.url("postgres"));
    let mut sidecar = launch.spawn();
    within(LONG, || (proxy.connections() > 1).then_some(())).await.expect("it tries again");
    proxy.forget_connections();
    launch.ready(&mut sidecar).await;
    sidecar.stop().await;
}
