//! What is about PostgreSQL alone.

use pannier_proto::prompts::v1 as pb;

use super::calls::{ms, new_prompt, prompt_at};
use crate::exceptions::holds_here;
use crate::harness::{Pannier, pannier};

const PROMPTS: i64 = 20_000;

/// Rows that were read of the tables of prompts so far, by scans of whole tables and by indexes.
async fn rows_read(pannier: &Pannier) -> (i64, i64) {
    let read = "SELECT CAST(sum(seq_tup_read) AS text), CAST(sum(idx_tup_fetch) AS text) FROM pg_stat_user_tables \
        WHERE schemaname = current_schema() AND relname IN ('prompts', 'prompt_bodies', 'prompt_tags', 'prompt_scores', \
        'prompt_conversations')";
    let row = pannier.rows_as_text(read).await.remove(0);
    (row[0].parse().unwrap(), row[1].parse().unwrap())
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

/// Nothing has analysed the tables yet. What the server counts it is told when its sessions end.
#[tokio::test]
async fn lists_read_by_their_indexes_what_they_answer() {
    if !holds_here() {
        return;
    }
    let pannier = pannier().await;
    pannier.save_all((0..PROMPTS).map(varied).collect()).await;
    let pannier = pannier.restart().await;
    let (scanned, by_index) = rows_read(&pannier).await;
    assert!(scanned + by_index < 100 * PROMPTS, "{scanned} and {by_index} rows were read to save {PROMPTS}");

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
    let (scanned_then, by_index_then) = rows_read(&pannier).await;
    assert_eq!(scanned_then, scanned, "a list has read a table as a whole");
    // Pieces of 128 rows, with conversation, tag, score and what a walk along tags joins.
    let read = by_index_then - by_index;
    assert!(read < answered * 12, "{read} rows were read for {answered}");
    pannier.save(new_prompt("a")).await;
}
