//! Watch: what happened, then what happens, in order and with nothing left out.

use std::collections::HashMap;

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::settings::v1 as pb;
use tonic::Code;

use super::calls::{next, told};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

#[tokio::test]
async fn a_watch_from_now_on_tells_what_happens_after_it() {
    let pannier = pannier().await;
    pannier.set("before", "1").await;
    let mut watch = pannier.watch_settings("", "").await;
    let first = next(&mut watch).await;
    let cursor = pannier.settings_cursor().await;
    assert_eq!((told(&first), &first.cursor, first.reload), (vec![], &cursor, false));
    pannier.set("a", "1").await;
    let message = next(&mut watch).await;
    let cursor = pannier.settings_cursor().await;
    assert_eq!((told(&message), &message.cursor), (vec![("a", Some("1"))], &cursor));
    pannier.unset("a").await;
    let message = next(&mut watch).await;
    let cursor = pannier.settings_cursor().await;
    assert_eq!((told(&message), &message.cursor), (vec![("a", None)], &cursor));
}

#[tokio::test]
async fn a_watch_after_a_cursor_catches_up_with_the_newest_change_of_each_key() {
    let pannier = pannier().await;
    pannier.set("seen", "1").await;
    pannier.set("a", "1").await;
    let seen = pannier.settings_cursor().await;
    pannier.set("a", "2").await;
    pannier.set("b", "1").await;
    pannier.unset("seen").await;
    pannier.set("a", "3").await;
    let pannier = pannier.restart().await;
    let mut watch = pannier.watch_settings("", &seen).await;
    let message = next(&mut watch).await;
    assert_eq!(told(&message), [("b", Some("1")), ("seen", None), ("a", Some("3"))]);
    let last = pannier.settings_cursor().await;
    assert_eq!(message.cursor, last);
    let mut watch = pannier.watch_settings("", &last).await;
    assert!(next(&mut watch).await.changes.is_empty());
}

#[tokio::test]
async fn a_prefix_watches_its_keys_alone_and_its_cursor_goes_on_with_the_others() {
    let pannier = pannier().await;
    let mut watch = pannier.watch_settings("a.", "").await;
    next(&mut watch).await;
    pannier.set("b", "1").await;
    pannier.set("a.x", "1").await;
    let message = next(&mut watch).await;
    let cursor = pannier.settings_cursor().await;
    assert_eq!((told(&message), &message.cursor), (vec![("a.x", Some("1"))], &cursor));
    pannier.set("b", "2").await;
    let mut watch = pannier.watch_settings("a.", &cursor).await;
    assert_eq!(next(&mut watch).await.cursor, pannier.settings_cursor().await);
}

#[tokio::test]
async fn who_is_further_behind_than_deletions_are_kept_is_told_to_reload() {
    let pannier = pannier().await;
    pannier.set("a", "1").await;
    let seen = pannier.settings_cursor().await;
    pannier.set("b", "1").await;
    pannier.unset("b").await;
    pannier.set("c", "1").await;
    pannier.advance_s(8 * 86_400);
    pannier.settle_settings(0).await;
    let mut watch = pannier.watch_settings("", &seen).await;
    let message = next(&mut watch).await;
    assert_eq!((message.changes.len(), message.cursor.as_str(), message.reload), (0, "", true));
    assert!(watch.message().await.unwrap().is_none(), "nothing follows");
    let (settings, cursor) = pannier.all_settings("", 0).await;
    assert_eq!(settings.len(), 2);
    let mut watch = pannier.watch_settings("", &cursor).await;
    assert!(!next(&mut watch).await.reload);
}

#[tokio::test]
async fn deletions_are_kept_for_their_time_and_forgotten_after_it() {
    let pannier = pannier().await;
    pannier.set("a", "1").await;
    let seen = pannier.settings_cursor().await;
    pannier.unset("a").await;
    pannier.advance_s(6 * 86_400);
    let mut watch = pannier.watch_settings("", &seen).await;
    assert_eq!(told(&next(&mut watch).await), [("a", None)]);
    assert_eq!(pannier.row_count("settings").await, 1);
    pannier.advance_s(2 * 86_400);
    pannier.settle_settings(0).await;
}

#[tokio::test]
async fn long_histories_come_in_bounded_messages_and_whole() {
    let pannier = pannier_with(|settings| settings.settings.watch_changes_max = 7).await;
    let empty = pannier.settings_cursor().await;
    for index in 0..50 {
        pannier.set(&format!("k{index:02}"), "1").await;
    }
    let mut watch = pannier.watch_settings("", &empty).await;
    let mut keys = Vec::new();
    while keys.len() < 50 {
        let message = next(&mut watch).await;
        assert!((1..=7).contains(&message.changes.len()));
        keys.extend(message.changes.into_iter().map(|change| change.key));
    }
    assert!(keys.is_sorted(), "{keys:?}");
}

#[tokio::test]
async fn under_sixteen_writers_nothing_is_missed_and_revisions_only_grow() {
    let pannier = pannier().await;
    let mut watch = pannier.watch_settings("", "").await;
    let write = async |writer: usize| {
        for round in 0..15 {
            let key = format!("k{}", (writer * 7 + round * 3) % 20);
            match round % 5 {
                4 => _ = pannier.unset(&key).await,
                _ => _ = pannier.set(&key, &format!("\"{writer} {round}\"")).await,
            }
        }
    };
    let writers = futures_util::future::join_all((0..16).map(write));
    let read = async {
        let (mut known, mut last) = (HashMap::new(), 0);
        loop {
            let message = next(&mut watch).await;
            for change in message.changes {
                assert!(change.revision > last, "{} after {last}", change.revision);
                last = change.revision;
                known.insert(change.key, change.setting.map(|setting| setting.value_json));
            }
            if known.contains_key("end") && message.cursor == pannier.settings_cursor().await {
                return known;
            }
        }
    };
    let (known, ()) = tokio::join!(read, async {
        writers.await;
        pannier.set("end", "1").await;
    });
    let known: HashMap<String, String> =
        known.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let stored: HashMap<String, String> =
        pannier.all_settings("", 0).await.0.into_iter().map(|s| (s.key, s.value_json)).collect();
    assert_eq!(known, stored);
}

#[tokio::test]
async fn more_watches_than_the_setting_are_refused_and_ended_ones_make_room() {
    let pannier = pannier_with(|settings| settings.settings.watches_max = 1).await;
    let mut watch = pannier.watch_settings("", "").await;
    next(&mut watch).await;
    let refused = pannier.settings.clone().watch(pb::WatchRequest::default()).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::Overloaded);
    drop(watch);
    for _ in 0..1_000 {
        if pannier.settings.clone().watch(pb::WatchRequest::default()).await.is_ok() {
            return;
        }
    }
    panic!("an ended watch keeps its place");
}

impl Pannier {
    /// Waits until the table has `rows` rows, moving the clock from sweep to sweep.
    async fn settle_settings(&self, deleted: i64) {
        let live = i64::try_from(self.setting_keys("").await.len()).unwrap();
        for _ in 0..200 {
            if self.row_count("settings").await == live + deleted {
                return;
            }
            self.advance_s(60);
            self.setting_keys("").await;
        }
        panic!("{} rows", self.row_count("settings").await);
    }
}
