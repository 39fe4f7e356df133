//! Two sidecars on one database share the settings.

use super::calls::{next, told};
use crate::harness::pannier;

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn what_one_sets_the_other_reads_at_once_and_its_watchers_are_woken() {
    let first = pannier().await;
    let second = first.beside().await;
    let mut watch = second.watch_settings("", "").await;
    next(&mut watch).await;
    let revision = first.set("a", "1").await;
    assert_eq!(second.setting("a").await, "1");
    // The second one's clock stands still: only the wake-up can end the wait.
    let message = next(&mut watch).await;
    assert_eq!((told(&message), message.changes[0].revision), (vec![("a", Some("1"))], revision));
    assert_eq!(second.set("a", "2").await, revision + 1, "one sequence for both");
}
