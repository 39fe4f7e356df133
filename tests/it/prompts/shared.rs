//! What is about PostgreSQL alone: its plans, and several sidecars on one database.

use pannier_proto::prompts::v1 as pb;

use super::calls::{ms, new_prompt, prompt_at};
use super::found::idea;
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
#[ignore = "PostgreSQL alone: asserts its plans, and an SQLite file belongs to one process"]
async fn a_search_reads_neither_all_entries_for_a_rare_word_nor_all_that_have_a_common_one() {
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
#[ignore = "PostgreSQL alone: asserts its plans, and an SQLite file belongs to one process"]
async fn numbers_and_words_of_several_sidecars_are_those_of_all() {
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

/// Prompts that lists are asked of.
const LISTED: i64 = 20_000;

/// Rows that were read of the prompts so far, by scans of the whole table and by indexes. Not what is looked up for a page by many
/// numbers, such as tags: while the table is so small, scanning it costs no more.
async fn list_rows_read(pannier: &Pannier) -> (i64, i64) {
    let read = "SELECT CAST(seq_tup_read AS text), CAST(idx_tup_fetch AS text) FROM pg_stat_user_tables \
        WHERE schemaname = current_schema() AND relname = 'prompts'";
    let row = pannier.rows_as_text(read).await.remove(0);
    (row[0].parse().unwrap(), row[1].parse().unwrap())
}

/// How often indexes that lists walk along were used, by their names.
async fn walks(pannier: &Pannier) -> Vec<(String, i64)> {
    let used = "SELECT CAST(indexrelname AS text), CAST(idx_scan AS text) FROM pg_stat_user_indexes \
        WHERE schemaname = current_schema() AND indexrelname IN ('prompts_by_time', 'prompts_by_backend', 'prompts_by_model', \
        'prompts_by_framework', 'prompts_by_conversation', 'prompts_by_latency', 'prompts_by_confidence', 'prompt_tags_by_tag') \
        ORDER BY indexrelname";
    let rows = pannier.rows_as_text(used).await.into_iter();
    rows.map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
}

fn varied(i: i64) -> pb::NewPrompt {
    pb::NewPrompt {
        backend: format!("b{}", i % 10),
        model: format!("m{}", i % 10),
        framework: format!("f{}", i % 10),
        conversation_id: format!("c{}", i % 100),
        tags: vec![format!("t{}", i % 50)],
        latency: ms(i % 1_000),
        confidence: Some((i % 100) as f64 / 100.0),
        import_key: format!("k{i}"),
        ..prompt_at("an idea", i)
    }
}

#[tokio::test]
#[ignore = "PostgreSQL alone: asserts its plans, and an SQLite file belongs to one process"]
async fn lists_of_tables_that_were_never_analysed_read_by_their_indexes_what_they_answer() {
    lists_read_what_they_answer(None).await;
}

/// The database takes the tables for small and most of their values for rare.
#[tokio::test]
#[ignore = "PostgreSQL alone: asserts its plans, and an SQLite file belongs to one process"]
async fn lists_of_tables_that_were_analysed_long_ago_read_by_their_indexes_what_they_answer() {
    lists_read_what_they_answer(Some(100)).await;
}

/// What the server counts it is told when its sessions end. The tables are analysed when they have so many prompts.
async fn lists_read_what_they_answer(analysed_at: Option<i64>) {
    let pannier = pannier().await;
    let first = analysed_at.unwrap_or(0);
    pannier.save_all((0..first).map(varied).collect()).await;
    if analysed_at.is_some() {
        pannier.execute("ANALYZE").await;
    }
    pannier.save_all((first..LISTED).map(varied).collect()).await;
    let pannier = pannier.restart().await;
    let (scanned, by_index) = list_rows_read(&pannier).await;
    let walks_before = walks(&pannier).await;
    assert!(scanned + by_index < 100 * LISTED, "{scanned} and {by_index} rows were read to save {LISTED}");

    let none = pb::PromptFilter::default;
    let mut lists = Vec::new();
    for filter in [
        none(),
        pb::PromptFilter { backend: "b1".into(), ..none() },
        pb::PromptFilter { model: "m2".into(), ..none() },
        pb::PromptFilter { framework: "f3".into(), ..none() },
        pb::PromptFilter { conversation_id: "c4".into(), ..none() },
        pb::PromptFilter { tags: vec!["t5".into()], ..none() },
    ] {
        for order in [pb::PromptOrder::NewestFirst, pb::PromptOrder::OldestFirst] {
            lists.push((Some(filter.clone()), order));
        }
    }
    for order in [
        pb::PromptOrder::SlowestFirst,
        pb::PromptOrder::FastestFirst,
        pb::PromptOrder::MostConfidentFirst,
        pb::PromptOrder::LeastConfidentFirst,
    ] {
        lists.push((None, order));
    }
    let mut answered = 0;
    for (filter, order) in lists {
        let list = pb::ListRequest { filter, order: order.into(), page_size: 50, ..Default::default() };
        let first = pannier.prompts().list(list.clone()).await.unwrap().into_inner();
        let next = pb::ListRequest { page_token: first.next_page_token, ..list };
        let next = pannier.prompts().list(next).await.unwrap().into_inner();
        assert_eq!((first.prompts.len(), next.prompts.len()), (50, 50));
        answered += 100;
    }
    pannier.prompts().list_conversations(pb::ListConversationsRequest::default()).await.unwrap();
    let pannier = pannier.restart().await;
    let (scanned_then, by_index_then) = list_rows_read(&pannier).await;
    assert_eq!(scanned_then, scanned, "a list has read a table as a whole");
    // All pages together have read less than there is.
    let read = by_index_then - by_index;
    assert!(read < LISTED, "{read} rows were read for {answered}");
    let walks_then = walks(&pannier).await;
    assert_eq!(walks_then.len(), 8, "{walks_then:?}");
    for ((name, before), (_, then)) in walks_before.iter().zip(&walks_then) {
        assert!(then >= &(before + 2), "no list walked along {name}");
    }
    pannier.save(new_prompt("a")).await;
}
