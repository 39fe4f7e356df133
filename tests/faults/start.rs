//! Starts that must be refused: one line that says why, the right exit code, and the files as they were.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use pannier_proto::durability::v1::Durability;
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::calls::{cache, endless, look, put};
use crate::ledger::Seen;
use crate::load::NAMESPACE;
use crate::sidecar::{Launch, Place, Refusal, pannier};
use crate::turn;

/// The refusal ends with one line that begins with `error: `, and shows no backtrace.
fn refused_with(refusal: &Refusal, code: i32, words: &[&str]) {
    assert_eq!(refusal.code, Some(code), "{refusal:?}");
    let lines: Vec<_> = refusal.stderr.lines().collect();
    let errors = lines.iter().filter(|line| line.starts_with("error: ")).count();
    let last = lines.last().expect("it said something");
    assert!(
        errors == 1 && last.starts_with("error: "),
        "not one line that begins with `error: `: {refusal:?}"
    );
    assert!(!refusal.stderr.contains("panicked"), "{refusal:?}");
    for word in words {
        assert!(last.contains(word), "{word:?} is not in the line: {last}");
    }
}

/// Every file of a folder with its hash, but for those that hold no data: the lock, an empty WAL, and the index of a WAL,
/// which whoever opens the file makes anew.
fn hashes(folder: &Path) -> BTreeMap<PathBuf, String> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let holds_data = |path: &PathBuf| {
        let is_empty_wal =
            path.ends_with("pannier.db-wal") && path.metadata().is_ok_and(|file| file.len() == 0);
        path.is_file()
            && !is_empty_wal
            && !path.ends_with("pannier.db-shm")
            && !path.ends_with("pannier.lock")
    };
    files.filter(holds_data).map(|path| (path.clone(), hash(&path))).collect()
}

fn hash(path: &Path) -> String {
    let digest = Sha256::digest(std::fs::read(path).expect("a file"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Starts on the place's data as it is; that this is refused and changes no byte of it.
async fn refused_untouched(place: &Place, launch: &Launch, words: &[&str]) {
    let before = hashes(&place.data());
    let refusal = launch.refused().await;
    refused_with(&refusal, 1, words);
    assert_eq!(hashes(&place.data()), before, "the refused start changed the data: {refusal:?}");
}

/// A place with a database that a sidecar made and closed.
async fn with_data() -> Place {
    let place = Place::new();
    let mut sidecar = Launch::new(&place).start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    client.put(put(NAMESPACE, "k", 1, Durability::Full)).await.expect("a put");
    sidecar.stop().await;
    place
}

/// That the data is served again, and has what was put.
async fn still_good(place: &Place) {
    let mut sidecar = Launch::new(place).start().await;
    let found = look(&mut cache(&sidecar).await, NAMESPACE, &["k".to_owned()]).await;
    assert_eq!(found["k"], Seen::Write(1));
    sidecar.stop().await;
}

fn migrate(place: &Place, arguments: &[&str]) -> Output {
    let mut command = pannier("migrate");
    let output = command.args(arguments).arg("--data").arg(place.data()).output().expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    output
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let mut first = Launch::new(&place).start().await;
    let mut client = cache(&first).await;
    endless(&mut client, NAMESPACE).await;
    client.put(put(NAMESPACE, "k", 1, Durability::Full)).await.expect("a put");
    let second = Launch::named(&place, "second", &place.data());
    refused_untouched(&place, &second, &[]).await;
    client.put(put(NAMESPACE, "k", 2, Durability::Full)).await.expect("the first goes on");
    first.kill();
    // What a killed process leaves behind keeps nobody out.
    let third = second.start().await;
    assert_eq!(look(&mut cache(&third).await, NAMESPACE, &["k".to_owned()]).await["k"], Seen::Write(2));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused() {
    let _turn = turn::shared().await;
    let place = Place::new();
    // Root may write into any folder, but not below a file.
    std::fs::write(place.path("file"), b"no folder").expect("a file");
    let below = Launch::named(&place, "below", &place.path("file").join("data"));
    refused_with(&below.refused().await, 1, &["file"]);
    assert_eq!(std::fs::read(place.path("file")).expect("a file"), b"no folder");

    let folder = place.path("read-only");
    std::fs::create_dir(&folder).expect("a folder");
    let mut permissions = std::fs::metadata(&folder).expect("its metadata").permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&folder, permissions).expect("its owner may");
    if std::fs::write(folder.join("probe"), b"").is_err() {
        let refusal = Launch::named(&place, "read-only", &folder).refused().await;
        refused_with(&refusal, 1, &["read-only"]);
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_untouched() {
    let _turn = turn::shared().await;
    let noise: Vec<u8> =
        (0..20_000_u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let short = b"SQLite format 3".to_vec();
    for content in [b"notes of somebody\n".repeat(400), noise, short] {
        let place = Place::new();
        std::fs::create_dir(place.data()).expect("a folder");
        std::fs::write(place.database(), content).expect("a file");
        refused_untouched(&place, &Launch::new(&place), &["pannier.db"]).await;
    }
}

#[tokio::test]
async fn a_folder_in_the_databases_place_is_refused() {
    let _turn = turn::shared().await;
    let place = Place::new();
    std::fs::create_dir_all(place.database()).expect("a folder");
    refused_with(&Launch::new(&place).refused().await, 1, &["pannier.db"]);
}

#[tokio::test]
async fn another_programs_database_is_refused_untouched() {
    let _turn = turn::shared().await;
    let place = Place::new();
    std::fs::create_dir(place.data()).expect("a folder");
    let other = Connection::open(place.database()).expect("a database");
    other.execute_batch("CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('x')").expect("a table");
    drop(other);
    refused_untouched(&place, &Launch::new(&place), &["pannier.db"]).await;
}

/// The hard case: the other program crashed, and its last writes are in a WAL that opening the file would fold in.
#[tokio::test]
async fn another_programs_wal_is_left_as_it_is() {
    let _turn = turn::shared().await;
    let (place, away) = (Place::new(), Place::new());
    let original = away.path("other.db");
    let other = Connection::open(&original).expect("a database");
    other.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE songs (title TEXT)").expect("a table");
    other.execute_batch("INSERT INTO songs VALUES ('x')").expect("a row");
    std::fs::create_dir(place.data()).expect("a folder");
    std::fs::copy(&original, place.database()).expect("a copy");
    std::fs::copy(away.path("other.db-wal"), place.data().join("pannier.db-wal")).expect("a copy");
    assert_eq!(hashes(&place.data()).len(), 2, "the database and its WAL");
    refused_untouched(&place, &Launch::new(&place), &["pannier.db"]).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_untouched() {
    let _turn = turn::shared().await;
    let place = with_data().await;
    let newer = "m29990101_000000_cache_from_the_future";
    let database = Connection::open(place.database()).expect("the database");
    database
        .execute("INSERT INTO seaql_migrations (version, applied_at) VALUES (?1, 0)", [newer])
        .expect("a row");
    drop(database);
    refused_untouched(&place, &Launch::new(&place), &[newer]).await;
    let without = Launch::new(&place).set("storage.migrate_on_start", false);
    refused_untouched(&place, &without, &[newer]).await;

    let database = Connection::open(place.database()).expect("the database");
    database.execute("DELETE FROM seaql_migrations WHERE version = ?1", [newer]).expect("no row");
    drop(database);
    still_good(&place).await;
}

#[tokio::test]
async fn an_older_schema_is_refused_untouched_unless_it_may_be_migrated() {
    let _turn = turn::shared().await;
    let place = with_data().await;
    migrate(&place, &["down", "--steps", "1"]);
    let launch = Launch::new(&place).set("storage.migrate_on_start", false);
    refused_untouched(&place, &launch, &["migrate"]).await;
    migrate(&place, &["status"]);
    migrate(&place, &["up"]);
    launch.start().await.stop().await;
}

#[tokio::test]
async fn the_data_is_good_after_refused_starts() {
    let _turn = turn::shared().await;
    let place = with_data().await;
    let launch = Launch::new(&place);
    for wrong in [launch.clone().set("cache.nonsense", 1), launch.clone().flag("--listen", "0.0.0.0:0")] {
        let before = hashes(&place.data());
        assert_eq!(wrong.refused().await.code, Some(78));
        assert_eq!(hashes(&place.data()), before);
    }
    still_good(&place).await;
}

#[tokio::test]
async fn a_database_whose_making_was_cut_off_is_made_anew() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let launch = Launch::new(&place);
    // As a process leaves it that is ended in the middle of its first transaction: the file has been written to, and the journal that
    // undoes it is there.
    let made = place.path("made.db");
    let making = Connection::open(&made).expect("a database");
    making.pragma_update(None, "cache_size", 2).expect("a small cache");
    making.pragma_update(None, "application_id", 0).expect("a first change");
    making
        .execute_batch("BEGIN; CREATE TABLE half (text TEXT); INSERT INTO half SELECT hex(randomblob(2000)) FROM (VALUES (1), (2), (3), (4), (5), (6));")
        .expect("half a transaction");
    let data = place.path("data");
    std::fs::create_dir_all(&data).expect("a folder");
    std::fs::copy(&made, data.join("pannier.db")).expect("the file");
    std::fs::copy(place.path("made.db-journal"), data.join("pannier.db-journal")).expect("its journal");
    drop(making);

    let mut sidecar = launch.start().await;
    endless(&mut cache(&sidecar).await, "made").await;
    sidecar.stop().await;
    crate::load::sound(&place);
}
