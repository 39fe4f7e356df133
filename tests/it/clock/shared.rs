//! Several sidecars on one database.

use crate::harness::pannier;
use crate::queue::calls::item;

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_sidecar_that_restarts_keeps_no_dead_worker_alive() {
    let pannier = pannier().await;
    let mut other = pannier.beside().await;
    let id = pannier.enqueue(item("a")).await;
    let worker = pannier.worker("w").await;
    pannier.claim_for(worker).await.unwrap();
    for _ in 0..14 {
        assert!(pannier.claim(&[], 1).await.is_empty());
        pannier.advance_s(1);
        other = other.restart().await;
    }
    assert_eq!(pannier.claim_one().await.id, id);
    drop(other);
}
