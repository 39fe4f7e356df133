//! The command line: readers that leave, mistyped directories, `call` and its short forms, wrong addresses.

use std::process::{Command, Output, Stdio};

use crate::sidecar::{LONG, Launch, Place, Sidecar, pannier, within};
use crate::turn;

/// The writing end of a pipe that nobody reads.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_reader_that_leaves_ends_a_command_quietly() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).start().await;
    let grpc = sidecar.grpc();
    let quietly = |arguments: &[&str]| {
        let mut command = pannier(arguments[0]);
        let output = command.args(&arguments[1..]).stdout(closed_pipe()).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {}", text(&output.stderr));
    };
    quietly(&["config", "print"]);
    quietly(&["config", "check"]);
    quietly(&["completions", "bash"]);
    quietly(&["healthcheck", "--address", &grpc]);
    quietly(&["call", "pannier.admin.v1.AdminService/Status", "--address", &grpc]);
    sidecar.stop().await;
    let data = place.data().display().to_string();
    quietly(&["doctor", "--data", &data]);
    quietly(&["migrate", "status", "--data", &data]);
    // Half an export is a failure, and no panic.
    let mut command = pannier("export");
    let output = command.args(["--data", &data]).stdout(closed_pipe()).output().expect("the binary runs");
    assert!(output.status.code() == Some(1) && !text(&output.stderr).contains("panicked"), "{output:?}");
}

#[tokio::test]
async fn a_sidecar_outlives_the_readers_of_its_log() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let ready = place.path("ready.json");
    let mut command = pannier("serve");
    command.args(["--listen", "127.0.0.1:0", "--http-listen", "", "--set", "log.filter=debug", "--data"]);
    command.arg(place.data()).arg("--ready-file").arg(&ready).stdout(closed_pipe()).stderr(closed_pipe());
    let mut child = command.spawn().expect("the binary runs");
    let is_ready = within(LONG, || ready.exists().then_some(())).await;
    let ended = child.try_wait().expect("a child");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(is_ready.is_some() && ended.is_none(), "{ended:?}");
}

#[test]
fn commands_that_read_make_no_database_of_a_mistyped_directory() {
    let place = Place::new();
    let typo = place.path("typo");
    let refused = |command: &mut Command| {
        let output = command.arg("--data").arg(&typo).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains("there is no database in"), "{output:?}");
        assert!(!typo.exists(), "{command:?} made {typo:?}");
    };
    refused(pannier("migrate").arg("status"));
    refused(pannier("migrate").arg("down"));
    refused(pannier("export").arg(place.path("export.ndjson")));
    refused(pannier("serve").args([
        "--set",
        "storage.create=false",
        "--listen",
        "127.0.0.1:0",
        "--http-listen",
        "",
    ]));
    assert!(!place.path("export.ndjson").exists());
}

fn call(sidecar: &Sidecar, arguments: &[&str]) -> Output {
    pannier("call").args(arguments).args(["--address", &sidecar.grpc()]).output().expect("the binary runs")
}

#[tokio::test]
async fn call_takes_short_names_files_stdin_and_durations() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let sidecar = Launch::new(&place).start().await;
    let put = r#"{"namespace": "n", "item": {"key": "k", "value": "dg==", "ttl": "1h"}}"#;
    let output = call(&sidecar, &["cache.Put", put]);
    assert!(output.status.success(), "{output:?}");

    let file = place.path("get.json");
    std::fs::write(&file, r#"{"namespace": "n", "key": "k"}"#).expect("a file");
    let file = file.display().to_string();
    for request in [file.clone(), format!("@{file}")] {
        let output = call(&sidecar, &["CacheService/Get", &request]);
        assert!(text(&output.stdout).contains("\"dg==\""), "{request}: {output:?}");
    }
    let mut command = pannier("call");
    command.args(["cache.Get", "-", "--address", &sidecar.grpc()]);
    let output =
        command.stdin(std::fs::File::open(&file).expect("a file")).output().expect("the binary runs");
    assert!(text(&output.stdout).contains("\"dg==\""), "{output:?}");

    let output = call(&sidecar, &["health"]);
    assert!(text(&output.stdout).contains("SERVING"), "{output:?}");
    let output = call(&sidecar, &["cache.Get", "no-such-file.json"]);
    assert!(text(&output.stderr).contains("no-such-file.json"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn an_address_with_a_scheme_and_that_of_the_side_port_are_recognised() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let sidecar = Launch::new(&place).start().await;
    for command in [&["call", "admin.Status"][..], &["healthcheck"]] {
        let refused = |address: &str| {
            let mut program = pannier(command[0]);
            let output =
                program.args(&command[1..]).args(["--address", address]).output().expect("the binary runs");
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            text(&output.stderr)
        };
        let told = refused(&format!("http://{}", sidecar.grpc()));
        assert!(told.contains(&format!("give --address {}", sidecar.grpc())), "{told}");
        let told = refused(&sidecar.http());
        assert!(told.contains("the HTTP side port (server.http_listen)"), "{told}");
    }
}
