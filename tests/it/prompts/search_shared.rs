//! What is about PostgreSQL alone: its plans, and several sidecars on one database.

use pannier_proto::prompts::v1 as pb;

use super::found::idea;
use crate::exceptions::holds_here;
use crate::harness::{Pannier, pannier};

/// Rows of a table that were read, or found by a bitmap, since the database began.
async fn rows_read(pannier: &Pannier, table: &str) -> u64 {
    let read = format!(
        "SELECT CAST(seq_tup_read + idx_tup_fetch AS text) FROM pg_stat_user_tables \
        WHERE schemaname = current_schema() AND relname = '{table}'"
    );
    pannier.rows_as_text(&read).await[0][0].parse().unwrap()
}

/// However often it was asked before: a plan for any words would read all for one of the two.
#[tokio::test]
async fn a_search_reads_neither_all_entries_for_a_rare_word_nor_all_that_have_a_common_one() {
    if !holds_here() {
        return;
    }
    const PROMPTS: usize = 8_000;
    let pannier = pannier().await;
    for first in (0..PROMPTS).step_by(1_000) {
        let text = |number: usize| match number % 2_000 {
            7 => format!("common rare {number}"),
            _ => format!("common {number}"),
        };
        pannier.saved((first..first + 1_000).map(|number| idea(&text(number))).collect()).await;
    }
    pannier.execute("ANALYZE prompt_search").await;
    // What the sessions of the sidecar have read they tell the server when they end.
    let pannier = pannier.restart_with(|settings| settings.prompts.search_ranked_max = 100).await;
    let before = rows_read(&pannier, "prompt_search").await;
    for _ in 0..30 {
        assert_eq!(pannier.search("rare").await.hits.len(), 4);
        assert_eq!(pannier.search("common rare").await.hits.len(), 4);
        assert_eq!(pannier.search("common").await.hits.len(), 100);
    }
    let pannier = pannier.restart().await;
    let read = rows_read(&pannier, "prompt_search").await - before;
    assert!(read < 30 * 1_000, "{read} entries were read for 90 searches");
}

#[tokio::test]
async fn numbers_and_words_of_several_sidecars_are_those_of_all() {
    if !holds_here() {
        return;
    }
    let one = pannier().await;
    let other = one.beside().await;
    let work = |pannier: &'static str, sidecar| {
        let sidecar: &Pannier = sidecar;
        async move {
            for step in 0..20 {
                let ids = sidecar.saved(vec![idea(&format!("whale {pannier} {step}")); 3]).await;
                let delete = pb::DeleteRequest { prompt_id: ids[0], ..Default::default() };
                sidecar.prompts.clone().delete(delete).await.unwrap();
                sidecar.advance_s(2);
            }
        }
    };
    futures_util::future::join(work("first", &one), work("second", &other)).await;
    for sidecar in [&one, &other] {
        let stats = sidecar.prompts.clone().stats(pb::StatsRequest::default()).await.unwrap().into_inner();
        assert_eq!(stats.total.unwrap().prompt_count, 80);
        assert_eq!(sidecar.found("whale").await.len(), 80);
        assert_eq!(sidecar.found("\"whale second\"").await.len(), 40);
    }
}
