//! A target that is not empty, an import that was killed, and one that reads back something else.

use std::io::{BufRead as _, BufReader, Write as _};

use rusqlite::Connection;

use super::homes::{Exported, Home, fed, file, refused};
use super::material::{put_all, put_with_request_ids};
use crate::calls::cache;
use crate::sidecar::{Place, pannier};
use crate::turn;

/// A source with so many entries, exported.
async fn exported(place: &Place, entries: u64) -> Exported {
    let source = Home::source(place);
    let mut sidecar = source.launch(place).start().await;
    let mut client = cache(&sidecar).await;
    put_all(&mut client, 0..entries).await;
    put_with_request_ids(&mut client, 50).await;
    sidecar.stop().await;
    source.export(&file(place))
}

/// A target in which something else is, and what that is.
async fn filled(place: &Place) -> (Home, Exported) {
    let target = Home::target(place);
    let mut sidecar = target.launch(place).start().await;
    put_all(&mut cache(&sidecar).await, 5_000..5_300).await;
    sidecar.stop().await;
    let before = target.export(&place.path("before.ndjson"));
    (target, before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_not_empty_is_refused_or_replaced() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let exported = exported(&place, 1_500).await;
    let (target, before) = filled(&place).await;
    let told = target.refuses(&file(&place), &[]);
    assert!(told.contains("not empty") && told.contains("cache_") && told.contains("--replace"), "{told}");
    before.assert_same(&target.export(&place.path("untouched.ndjson")));

    exported.assert_reported(&target.import(&file(&place), &["--replace"]));
    exported.assert_same(&target.export(&place.path("again.ndjson")));
    // The same again, over itself.
    exported.assert_reported(&target.import(&file(&place), &["--replace"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_replaced_by_a_file_that_is_damaged() {
    let _turn = turn::shared().await;
    let place = Place::new();
    exported(&place, 100).await;
    let (target, before) = filled(&place).await;
    let whole = std::fs::read(file(&place)).expect("an export");
    let damaged = place.path("damaged.ndjson");
    std::fs::write(&damaged, &whole[..whole.len() - 100]).expect("a file");
    assert!(target.refuses(&damaged, &["--replace"]).contains("cut short"));
    before.assert_same(&target.export(&place.path("untouched.ndjson")));

    // Through a pipe the end is known only when the rows before it are stored.
    let mut import = fed(target.command("import").args(["-", "--replace"]));
    import.stdin.take().expect("a pipe").write_all(&whole[..whole.len() - 100]).expect("it reads");
    let told = refused(&import.wait_with_output().expect("it ends"));
    assert!(told.contains("cut short") && told.contains("left empty"), "{told}");
    assert_eq!(target.rows(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_killed_is_made_good_with_replace() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let exported = exported(&place, 3_000).await;
    let target = Home::target(&place);
    let whole = std::fs::read(file(&place)).expect("an export");

    let mut import = fed(target.command("import").arg("-"));
    let mut pipe = import.stdin.take().expect("a pipe");
    pipe.write_all(&whole[..whole.len() / 2]).expect("it reads");
    // It tells of a table when the next one is being stored; then it waits for more.
    let mut told = String::new();
    let mut stderr = BufReader::new(import.stderr.take().expect("a pipe"));
    while !told.contains("imported 50 rows of idempotency_keys") {
        assert!(stderr.read_line(&mut told).expect("it tells") > 0, "it ended: {told}");
    }
    import.kill().expect("it runs");
    import.wait().expect("it ends");
    drop(pipe);

    // Half of the data is served to nobody, and exported by nobody.
    let refusal = target.launch(&place).refused().await;
    assert!(refusal.code == Some(1) && refusal.stderr.contains("pannier import --replace"), "{refusal:?}");
    let told = refused(&target.command("export").output().expect("the binary runs"));
    assert!(told.contains("cut short"), "{told}");
    let doctor = target.command("doctor").output().expect("the binary runs");
    let findings = String::from_utf8(doctor.stdout).expect("text");
    assert!(doctor.status.code() == Some(1) && findings.contains("an import was cut short"), "{findings}");

    let told = target.refuses(&file(&place), &[]);
    assert!(told.contains("not empty") && told.contains("cut short") && told.contains("--replace"), "{told}");
    exported.assert_reported(&target.import(&file(&place), &["--replace"]));
    exported.assert_same(&target.export(&place.path("again.ndjson")));
    target.launch(&place).start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_import_that_was_killed_has_stored_can_be_discarded() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let exported = exported(&place, 3_000).await;
    let target = Home::target(&place);
    let whole = std::fs::read(file(&place)).expect("an export");
    let mut import = fed(target.command("import").arg("-"));
    let mut pipe = import.stdin.take().expect("a pipe");
    pipe.write_all(&whole[..whole.len() / 2]).expect("it reads");
    let mut told = String::new();
    let mut stderr = BufReader::new(import.stderr.take().expect("a pipe"));
    while !told.contains("imported 50 rows of idempotency_keys") {
        assert!(stderr.read_line(&mut told).expect("it tells") > 0, "it ended: {told}");
    }
    import.kill().expect("it runs");
    import.wait().expect("it ends");
    drop(pipe);

    let discard = || target.command("import").arg("--discard").output().expect("the binary runs");
    assert_eq!(discard().status.code(), Some(0));
    assert_eq!(target.rows(), 0);
    let told = refused(&discard());
    assert!(told.contains("nothing is removed"), "only what was cut short: {told}");
    exported.assert_reported(&target.import(&file(&place), &[]));
    assert!(refused(&discard()).contains("nothing is removed"));
    exported.assert_same(&target.export(&place.path("again.ndjson")));
}

/// On SQLite, where a test can get at the file: a trigger stands for a database that does not keep what it is given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_reads_back_differently_is_told_and_removed() {
    let _turn = turn::shared().await;
    let place = Place::new();
    exported(&place, 100).await;
    let data = place.path("spoiled");
    let run = |arguments: &[&str]| {
        let mut command = pannier(arguments[0]);
        command.args(&arguments[1..]).arg("--data").arg(&data).output().expect("the binary runs")
    };
    assert!(run(&["migrate", "up"]).status.success());
    let spoil =
        "CREATE TRIGGER spoil AFTER INSERT ON cache_entries WHEN NEW.access_count = 1 AND NEW.id % 50 = 0
                 BEGIN UPDATE cache_entries SET access_count = 2 WHERE id = NEW.id; END";
    Connection::open(data.join("pannier.db")).and_then(|file| file.execute_batch(spoil)).expect("a trigger");

    let moved = file(&place).display().to_string();
    let output = run(&["import", &moved]);
    let told = refused(&output);
    assert!(told.contains("does not read back") && told.contains("left empty"), "{told}");
    let listing = String::from_utf8(output.stdout).expect("text");
    let verdict = |table: &str| {
        let line = listing.lines().find(|line| line.starts_with(table)).expect("a line");
        line.split_whitespace().next_back().expect("a verdict").to_owned()
    };
    assert_eq!([verdict("cache_entries "), verdict("cache_namespaces ")], ["NO", "yes"], "{listing}");
    let report: serde_json::Value =
        serde_json::from_slice(&run(&["import", &moved, "--json"]).stdout).expect("JSON");
    assert_eq!(report["ok"], false);
    assert_ne!(report["tables"][2]["sha256"], report["tables"][2]["expected"]["sha256"]);
    let left = String::from_utf8(run(&["export"]).stdout).expect("text");
    assert_eq!(left.lines().count(), 2, "a header, a trailer, and no row: {left}");
}

/// On SQLite, whose size can be limited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_runs_full_is_left_empty() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let exported = exported(&place, 3_000).await;
    let run = |arguments: &[&str]| {
        let mut command = pannier(arguments[0]);
        command.arg("--data").arg(place.path("full")).args(&arguments[1..]).output().expect("the binary runs")
    };
    let moved = file(&place).display().to_string();
    let told = refused(&run(&["import", &moved, "--set", "storage.database_bytes_max=1048576"]));
    let words = ["lines ", "cannot be stored", "storage is full", "left empty"];
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
    let output = run(&["import", &moved, "--json"]);
    exported.assert_reported(&serde_json::from_slice(&output.stdout).expect("the report is JSON"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_schema_moves_to_an_empty_database_and_no_other() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let (source, target) = (Home::source(&place), Home::target(&place));
    assert!(source.command("migrate").args(["up"]).output().expect("the binary runs").status.success());
    assert!(source.command("migrate").args(["down"]).output().expect("the binary runs").status.success());
    let older = source.export(&file(&place));
    let migrations = older.header["migrations"].as_array().expect("a list").len();

    older.assert_reported(&target.import(&file(&place), &[]));
    older.assert_same(&target.export(&place.path("again.ndjson")));
    // The copy is brought up to date by the sidecar, and then has another schema than the file.
    target.launch(&place).start().await.stop().await;
    let newer = target.export(&place.path("newer.ndjson"));
    assert!(newer.header["migrations"].as_array().expect("a list").len() > migrations);
    let told = target.refuses(&file(&place), &["--replace"]);
    assert!(told.contains("another schema") && told.contains("pannier migrate down --to m"), "{told}");
    let told = source.refuses(&place.path("newer.ndjson"), &["--replace"]);
    assert!(told.contains("another schema") && told.contains("pannier migrate up --to m"), "{told}");
}
