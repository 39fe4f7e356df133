//! Wrong configuration is exit 78 and a line that says what would be right; a wrong command line is exit 2.

use crate::sidecar::{Launch, Place, Refusal, pannier};
use crate::turn;

/// That a start is refused as wrongly configured, before anything is made on disk.
async fn misconfigured(place: &Place, launch: Launch, words: &[&str]) {
    let Refusal { code, stderr, .. } = launch.refused().await;
    assert_eq!(code, Some(78), "{stderr}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(!errors.is_empty() && !stderr.contains("panicked"), "{stderr}");
    for word in words {
        assert!(errors.iter().any(|line| line.contains(word)), "{word:?} is not in: {stderr}");
    }
    assert!(!place.data().exists(), "a sidecar that is wrongly configured made {:?}", place.data());
}

fn with_file(place: &Place, text: &str) -> Launch {
    let file = place.path("pannier.toml");
    std::fs::write(&file, text).expect("a file");
    Launch::new(place).flag("--config", file)
}

#[tokio::test]
async fn an_unknown_key_is_refused_with_a_suggestion() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let words = ["did you mean", "cache.value_bytes_max"];
    misconfigured(&place, with_file(&place, "[cache]\nvalue_byte_max = 1\n"), &words).await;
    misconfigured(&place, Launch::new(&place).set("cache.value_byte_max", 1), &words).await;
    let variable = Launch::new(&place).variable("PANNIER_CACHE__VALUE_BYTE_MAX", "1");
    misconfigured(&place, variable, &words).await;
}

#[tokio::test]
async fn an_unknown_section_and_broken_toml_are_refused() {
    let _turn = turn::shared().await;
    let place = Place::new();
    misconfigured(&place, with_file(&place, "[nothing]\nx = 1\n"), &["nothing"]).await;
    misconfigured(&place, with_file(&place, "[cache\n"), &["pannier.toml"]).await;
    let missing = Launch::new(&place).flag("--config", place.path("missing.toml"));
    misconfigured(&place, missing, &["missing.toml"]).await;
}

#[tokio::test]
async fn an_address_beyond_loopback_is_refused() {
    let _turn = turn::shared().await;
    let place = Place::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7420"] {
        misconfigured(&place, Launch::new(&place).flag("--listen", address), &["server.listen", "loopback"])
            .await;
        let http = Launch::new(&place).flag("--http-listen", address);
        misconfigured(&place, http, &["server.http_listen", "loopback"]).await;
    }
    misconfigured(&place, Launch::new(&place).flag("--listen", "localhost"), &["server.listen"]).await;
    misconfigured(&place, Launch::new(&place).flag("--listen", ""), &["server.listen"]).await;
}

#[tokio::test]
async fn values_of_a_wrong_type_or_out_of_range_are_refused() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let wrong = [
        ("server.drain_ms", "soon"),
        ("server.drain_ms", "-1"),
        ("storage.readers", "0"),
        ("storage.migrate_on_start", "maybe"),
        ("cache.eviction", "random"),
        ("cache.durability", "some"),
        ("cache.key_bytes_max", "99999999999999999999"),
    ];
    for (key, value) in wrong {
        let name = key.split('.').next_back().expect("a name");
        // Names such as those of eviction policies are told by their value.
        let word = if value.chars().all(char::is_alphabetic) { value } else { name };
        misconfigured(&place, Launch::new(&place).set(key, value), &[word]).await;
    }
    misconfigured(&place, with_file(&place, "[server]\ndrain_ms = \"soon\"\n"), &["server.drain_ms", "90s"])
        .await;
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let launch =
        Launch::new(&place).set("storage.readers", 0).set("server.pagesize", 1).flag("--listen", "0.0.0.0:0");
    misconfigured(&place, launch, &["storage.readers", "server.page_size", "server.listen"]).await;
}

#[test]
fn a_wrong_command_line_is_exit_2() {
    for arguments in [&["--nonsense"][..], &["--set"], &["--set", "no-equals-sign"]] {
        let output = pannier("serve").args(arguments).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
    let output = pannier("sing").output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
