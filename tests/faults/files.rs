//! The files of a sidecar: for its user only, through no symbolic link, and no file of anybody else's is removed.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use pannier_proto::durability::v1::Durability;

use crate::calls::{cache, endless, put};
use crate::load::NAMESPACE;
use crate::sidecar::{LONG, Launch, Place, Refusal, pannier, within};
use crate::turn;

#[track_caller]
fn is_private(path: &Path) {
    let mode = std::fs::symlink_metadata(path)
        .unwrap_or_else(|error| panic!("{path:?}: {error}"))
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "{path:?} has mode {:o}", mode & 0o777);
}

#[tokio::test]
async fn every_file_is_its_users_only() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let socket = place.path("p.sock");
    let mut sidecar = Launch::new(&place).socket(&socket).start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    client.put(put(NAMESPACE, "k", 1, Durability::Full)).await.expect("a put");
    for name in ["", "pannier.db", "pannier.db-wal", "pannier.db-shm", "pannier.lock"] {
        is_private(&place.data().join(name));
    }
    is_private(&socket);
    is_private(&place.path("sidecar.json"));
    sidecar.stop().await;
    let file = place.path("export.ndjson");
    let output =
        pannier("export").arg(&file).arg("--data").arg(place.data()).output().expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    is_private(&file);

    // A database that somebody opened up is narrowed at the next start.
    std::fs::set_permissions(place.database(), std::fs::Permissions::from_mode(0o644))
        .expect("its owner may");
    Launch::new(&place).start().await.stop().await;
    is_private(&place.database());
}

fn refused_for_a_link(refusal: &Refusal, target: &Path) {
    assert_eq!(refusal.code, Some(1), "{refusal:?}");
    let last = refusal.stderr.lines().last().expect("a line");
    assert!(last.starts_with("error: ") && last.contains("symbolic link"), "{last}");
    assert_eq!(std::fs::read(target).expect("it stays"), b"dear all", "the link was followed");
}

#[tokio::test]
async fn no_symbolic_link_is_followed() {
    let _turn = turn::shared().await;
    for name in ["pannier.lock", "pannier.db", "pannier.db-wal", "pannier.db-shm", "pannier.db-journal"] {
        let place = Place::new();
        let target = place.path("letter.txt");
        std::fs::write(&target, b"dear all").expect("a file");
        std::fs::create_dir(place.data()).expect("a folder");
        symlink(&target, place.data().join(name)).expect("a link");
        refused_for_a_link(&Launch::new(&place).refused().await, &target);
    }
    let place = Place::new();
    let (target, link) = (place.path("letter.txt"), place.path("link"));
    std::fs::write(&target, b"dear all").expect("a file");
    symlink(&target, &link).expect("a link");
    refused_for_a_link(&Launch::new(&place).socket(&link).refused().await, &target);
    refused_for_a_link(&Launch::new(&place).flag("--ready-file", &link).refused().await, &target);

    Launch::new(&place).start().await.stop().await;
    let output =
        pannier("export").arg(&link).arg("--data").arg(place.data()).output().expect("the binary runs");
    let stderr = String::from_utf8(output.stderr).expect("text");
    refused_for_a_link(&Refusal { code: output.status.code(), stderr, stdout: String::new() }, &target);
}

fn writer(ready: &Path) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(&std::fs::read(ready).ok()?).ok()?["pid"].as_u64()
}

#[tokio::test]
async fn the_ready_file_of_a_dead_process_is_replaced_and_no_other() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let ready = place.path("sidecar.json");
    let mut first = Launch::new(&place).start().await;
    let second = Launch::named(&place, "second", &place.path("other")).flag("--ready-file", &ready);
    let refusal = second.refused().await;
    assert!(refusal.stderr.contains("server.ready_file") && refusal.code == Some(1), "{refusal:?}");
    assert_eq!(writer(&ready), Some(u64::from(first.pid())));
    first.kill();
    assert_eq!(writer(&ready), Some(u64::from(first.pid())), "a killed process leaves it");
    let mut started = second.spawn();
    let new = within(LONG, || writer(&ready).filter(|pid| *pid == u64::from(started.pid()))).await;
    assert!(new.is_some(), "{}", started.log());
    started.stop().await;
    assert!(!ready.exists(), "it is removed at the end");

    let letter = place.path("letter.txt");
    std::fs::write(&letter, b"dear all").expect("a file");
    let refusal = second.flag("--ready-file", &letter).refused().await;
    assert!(refusal.stderr.contains("no ready file"), "{refusal:?}");
    assert_eq!(std::fs::read(&letter).expect("it stays"), b"dear all");
}

#[tokio::test]
async fn what_another_sidecar_has_put_in_its_place_is_left_at_the_end() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let (socket, ready) = (place.path("p.sock"), place.path("sidecar.json"));
    let mut sidecar = Launch::new(&place).socket(&socket).start().await;
    std::fs::remove_file(&socket).expect("it is there");
    let _other = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::fs::write(&ready, br#"{"pid": 1, "grpc": null}"#).expect("a file");
    sidecar.stop().await;
    assert!(socket.exists() && ready.exists(), "both are another's by now");
}
