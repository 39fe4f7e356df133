//! On SQLite: with no data yet, with a sidecar at work, and with files that are not as they should be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pannier_proto::durability::v1::Durability;
use rusqlite::Connection;

use super::{Verdict, doctor};
use crate::calls::{cache, endless, put};
use crate::load::NAMESPACE;
use crate::sidecar::{Launch, Place, pannier};
use crate::turn;

fn look(place: &Place) -> Verdict {
    look_with(place, &[])
}

fn look_with(place: &Place, settings: &[&str]) -> Verdict {
    doctor(|command| {
        command.arg("--data").arg(place.data());
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    })
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

/// What the files of a folder hold, but for the index of the WAL, which every reader may make, and an empty WAL.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = files.map(|path| (path.clone(), std::fs::read(path).expect("a file")));
    let is_index = |path: &Path| path.to_string_lossy().ends_with("-shm");
    let is_empty_wal = |path: &Path, text: &[u8]| path.to_string_lossy().ends_with("-wal") && text.is_empty();
    files.filter(|(path, text)| !is_index(path) && !is_empty_wal(path, text)).collect()
}

#[tokio::test]
async fn where_there_is_nothing_yet_nothing_is_wrong_and_nothing_is_made() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let verdict = look(&place);
    verdict.only(&["warning reachable"]);
    verdict.says("backend", "ok", &["SQLite"]);
    verdict.says("location", "ok", &[place.database().to_str().expect("text")]);
    assert!(!place.data().exists(), "it only looks");
}

#[tokio::test]
async fn data_at_rest_is_found_well_and_left_as_it_is() {
    let _turn = turn::shared().await;
    let place = with_data().await;
    let before = contents(&place.data());
    let verdict = look_with(&place, &["storage.check_ms_max=60000"]);
    verdict.only(&[]);
    assert!(verdict.text.ends_with("no problems, no warnings\n"), "{}", verdict.text);
    verdict.says("lock", "ok", &["free"]);
    verdict.says("version", "ok", &["3.51"]);
    verdict.says("journal_mode", "ok", &["wal"]);
    verdict.says("integrity", "ok", &["whole file"]);
    assert_eq!(verdict.measure("migrations", "missing"), 0);
    assert!(verdict.measure("disk", "free_bytes") > 0 && verdict.measure("size", "database_bytes") > 4_096);
    assert_eq!(contents(&place.data()), before, "it only looks");
    Launch::new(&place).start().await.stop().await;
}

#[tokio::test]
async fn a_running_sidecar_is_told_by_its_process_and_not_disturbed() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    for round in 1..=5 {
        client.put(put(NAMESPACE, "k", round, Durability::Full)).await.expect("a put");
        // The sidecar stamps its clock once a second, perhaps during a look.
        let mut looks = (0..5).map(|_| (contents(&place.data()), look(&place), contents(&place.data())));
        let undisturbed = looks.find(|(before, _, after)| before == after);
        let (_, verdict, _) = undisturbed.expect("it only looks");
        verdict.only(&[]);
        let process = sidecar.ready()["pid"].as_i64().expect("a number");
        verdict.says("lock", "ok", &[&process.to_string()]);
        assert_eq!(verdict.measure("lock", "process"), process);
        assert!(verdict.measure("wal", "wal_bytes") > 0);
        // With `immutable` the tables, which are in the WAL only, would not be found.
        assert_eq!(verdict.measure("migrations", "missing"), 0);
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn what_a_killed_sidecar_left_is_read_with_its_wal() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).start().await;
    sidecar.kill();
    let verdict = look(&place);
    verdict.only(&[]);
    verdict.says("lock", "ok", &["free"]);
    verdict.says("wal", "ok", &["the next start"]);
    assert_eq!(verdict.measure("migrations", "missing"), 0);
}

#[tokio::test]
async fn sidecars_start_and_stop_while_doctors_look() {
    let _turn = turn::shared().await;
    let place = with_data().await;
    let database = place.data();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let looking = std::thread::spawn({
        let done = done.clone();
        move || {
            let mut looks = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let output =
                    pannier("doctor").arg("--data").arg(&database).output().expect("the binary runs");
                assert!(output.status.success(), "{output:?}");
                looks += 1;
            }
            looks
        }
    });
    for _ in 0..10 {
        Launch::new(&place).start().await.stop().await;
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(looking.join().expect("no look failed") > 0);
}

#[tokio::test]
async fn a_newer_schema_is_a_problem_and_an_older_one_where_nobody_migrates_it() {
    let _turn = turn::shared().await;
    let place = with_data().await;
    let newer = "m29990101_000000_cache_from_the_future";
    let database = Connection::open(place.database()).expect("the database");
    let insert = "INSERT INTO seaql_migrations (version, applied_at) VALUES (?1, 0)";
    database.execute(insert, [newer]).expect("a row");
    let verdict = look(&place);
    verdict.only(&["problem migrations"]);
    verdict.says("migrations", "problem", &[newer, "newer"]);

    database.execute("DELETE FROM seaql_migrations WHERE version = ?1", [newer]).expect("a row");
    drop(database);
    let down =
        pannier("migrate").args(["down", "--data"]).arg(place.data()).output().expect("the binary runs");
    assert!(down.status.success(), "{down:?}");
    look(&place).only(&["warning migrations"]);
    let verdict = look_with(&place, &["storage.migrate_on_start=false"]);
    verdict.only(&["problem migrations"]);
    verdict.says("migrations", "problem", &["pannier migrate up"]);
}

#[tokio::test]
async fn another_programs_file_and_a_damaged_one_are_problems() {
    let _turn = turn::shared().await;
    let place = Place::new();
    std::fs::create_dir(place.data()).expect("a folder");
    std::fs::write(place.database(), "notes of somebody\n".repeat(400)).expect("a file");
    look(&place).only(&["problem reachable"]);

    std::fs::remove_file(place.database()).expect("a file");
    let other = Connection::open(place.database()).expect("a database");
    other.execute_batch("CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('x')").expect("a table");
    drop(other);
    let before = contents(&place.data());
    look(&place).only(&["problem application"]);
    assert_eq!(contents(&place.data()), before, "it only looks");

    let place = with_data().await;
    let mut bytes = std::fs::read(place.database()).expect("a file");
    for page in bytes.chunks_mut(4_096).skip(2) {
        page[..8].fill(0xFF);
    }
    std::fs::write(place.database(), bytes).expect("a file");
    let verdict = look_with(&place, &["storage.check_ms_max=60000"]);
    assert_eq!(verdict.code, Some(1), "{}", verdict.text);
    assert!(verdict.text.contains("damaged"), "{}", verdict.text);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_and_a_database_near_its_limit_are_told() {
    let _turn = turn::shared().await;
    let place = Place::new();
    std::fs::write(place.path("file"), b"no folder").expect("a file");
    let below = place.path("file").join("data");
    let verdict = doctor(|command| {
        command.arg("--data").arg(&below);
    });
    verdict.only(&["problem reachable"]);

    let place = with_data().await;
    let database = Connection::open(place.database()).expect("the database");
    let fill = "CREATE TABLE filler (x BLOB); INSERT INTO filler VALUES (zeroblob(1000000))";
    database.execute_batch(fill).expect("a table");
    drop(database);
    look_with(&place, &["storage.database_bytes_max=1048576"]).only(&["warning size"]);
}
