//! Commits of PostgreSQL that take long: some for a while, one for as long as a test wants.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::task::JoinHandle;

use crate::chance::Chance;
use crate::postgres::server::Server;
use crate::records::wire::{self, Client, Version, Versions, changes, document, everything, living};
use crate::sidecar::{LONG, Launch, Place};
use crate::turn;

use pannier_proto::records::v1 as pb;

const COLLECTION: &str = "notes";
/// What the commit of a held document waits for.
const LOCK: i64 = 4_711;

/// Lets a function run at the end of each transaction that writes records, before its commit is visible.
async fn at_commit(server: &Server, body: &str) {
    server
        .run(&format!(
            "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT OR UPDATE ON records
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit();"
        ))
        .await;
}

/// From now on every ninth change of a collection, and what is committed with it, takes 25 ms more.
pub(super) async fn slow_commits(server: &Server) {
    at_commit(server, "IF NEW.seq % 9 = 0 THEN PERFORM pg_sleep(0.025); END IF;").await;
}

/// The lock that a commit waits for, held by the test.
struct Hold(PgConnection);

impl Hold {
    async fn taken(server: &Server) -> Self {
        let mut connection =
            PgConnection::connect(&server.url("postgres")).await.expect("the server accepts");
        let lock = format!("SELECT pg_advisory_lock({LOCK})");
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut connection).await.expect("the lock");
        Self(connection)
    }

    /// Waits until somebody waits for it.
    async fn holds(&mut self) {
        let end = tokio::time::Instant::now() + LONG;
        let waiting = format!(
            "SELECT count(*) AS waiting FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK} AND NOT granted"
        );
        loop {
            let row =
                sqlx::query(AssertSqlSafe(waiting.clone())).fetch_one(&mut self.0).await.expect("a count");
            if row.get::<i64, _>("waiting") > 0 {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "no commit waits for the lock");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// A put that goes on by itself; answers with the revision.
fn put(mut client: Client, key: String, ticket: u64) -> JoinHandle<i64> {
    let item = pb::PutItem { key, document_json: document(ticket), ..Default::default() };
    let request =
        pb::PutRequest { collection: COLLECTION.to_owned(), item: Some(item), ..Default::default() };
    tokio::spawn(async move {
        client.put(request).await.expect("a put").into_inner().result.expect("a result").revision
    })
}

/// Pages to the end of what there is, and takes it in.
async fn read_on(client: &mut Client, cursor: &mut String, told: &mut Versions) {
    loop {
        let page = tokio::time::timeout(LONG, changes(client, COLLECTION, cursor, 3)).await;
        let page = page.expect("readers wait for nobody").expect("changes");
        for record in &page.changes {
            let before = told.insert(record.key.clone(), Version::of(record));
            assert!(before.is_none_or(|before| before.revision < record.revision), "{} twice", record.key);
        }
        *cursor = page.cursor;
        if !page.more {
            return;
        }
    }
}

/// A transaction has numbered its change and is not committed; others write at another sidecar meanwhile. The reader goes on, and does
/// not pass what is not committed yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_does_not_pass_a_change_whose_commit_is_held() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    let mut chance = Chance::new(Chance::seed_of_run("a held commit"));
    let place = Place::new();
    let launch =
        |name: &str| Launch::named(&place, name, &place.path(name)).database(&server.url("postgres"));
    let (mut one, mut two) = (launch("one").start().await, launch("two").start().await);
    let client = wire::client(crate::calls::channel(&one).await);
    let mut other = wire::client(crate::calls::channel(&two).await);
    wire::create(&mut other, COLLECTION).await;
    let body = format!("IF NEW.key LIKE 'held/%' THEN PERFORM pg_advisory_xact_lock({LOCK}); END IF;");
    at_commit(&server, &body).await;
    let (mut cursor, mut told) = (String::new(), Versions::new());
    for round in 0..5 {
        put(client.clone(), format!("before/{round}"), 10 * round).await.expect("it is put");
        let mut hold = Hold::taken(&server).await;
        let held = put(client.clone(), format!("held/{round}"), 10 * round + 1);
        hold.holds().await;
        // These may wait for the one that is held, or come first: either is right.
        let later = (2..2 + chance.below(6))
            .map(|number| put(other.clone(), format!("later/{round}/{number}"), 10 * round + number));
        let later: Vec<JoinHandle<i64>> = later.collect();
        for _ in 0..20 {
            read_on(&mut other, &mut cursor, &mut told).await;
        }
        assert!(told.contains_key(&format!("before/{round}")), "what was committed before is told");
        assert!(!told.contains_key(&format!("held/{round}")), "what is not committed is not told");
        assert!(!held.is_finished(), "its commit is held");
        drop(hold);
        for put in later.into_iter().chain([held]) {
            tokio::time::timeout(LONG, put).await.expect("it goes on").expect("it is put");
        }
        read_on(&mut other, &mut cursor, &mut told).await;
        let stored = everything(&mut other, COLLECTION).await;
        assert_eq!(living(&told), stored, "round {round}: nothing was passed by");
    }
    one.stop().await;
    two.stop().await;
}
