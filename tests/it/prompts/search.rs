//! What a query finds, in several languages, whatever is in it; and how it is shown.

use pannier_proto::prompts::v1 as pb;

use super::found::{idea, ids, texts};
use crate::harness::{pannier, pannier_with, violated_fields};

#[tokio::test]
async fn words_phrases_prefixes_and_exclusions_find_what_they_say_in_many_languages() {
    let pannier = pannier().await;
    let all = [
        "The blue whale sings; a whale song.",      // 0
        "Whales blue and grey",                     // 1
        "Straßenbau in Köln, naïve Größe",          // 2
        "Crème brûlée pour l'été",                  // 3
        "Ёлка и большой кит",                       // 4
        "吾輩は猫である。名前はまだ無い",           // 5
        "日本語のテキストを検索する",               // 6
        "한국어 검색을 합니다",                     // 7
        "ภาษาไทยไม่มีช่องว่าง",                         // 8
        "हिन्दी में खोज",                              // 9
        "البَحث في النُّصوص",                          // 10
        "Ο γαλάζιος ΟΔΟΣ",                          // 11
        "rust-lang 2024 and C++20 👍 émoji🙂glued", // 12
        "xx blue yy whale",                         // 13
    ];
    let saved = pannier.saved(all.iter().map(|text| idea(text)).collect()).await;
    for (query, expected) in [
        ("whale", vec![0, 13]),
        ("WHALE", vec![0, 13]),
        ("whale*", vec![0, 1, 13]),
        ("blue whale", vec![0, 13]),
        ("\"blue whale\"", vec![0]),
        ("\"whale blue\"", vec![]),
        ("\"blue wha\"*", vec![0]),
        ("blue -whale", vec![1]),
        ("blue -whal*", vec![]),
        ("blue -\"blue whale\"", vec![1, 13]),
        ("\"sings a whale\"", vec![0]),
        ("strassenbau", vec![2]),
        ("köln", vec![2]),
        ("koln NAIVE größe", vec![2]),
        ("grosse", vec![2]),
        ("creme BRULEE", vec![3]),
        ("l'ete", vec![3]),
        ("большой", vec![4]),
        ("елка", vec![4]),
        ("猫", vec![5]),
        ("名前", vec![5]),
        ("前は", vec![5]),
        ("名は", vec![]),
        ("無い", vec![5]),
        ("い", vec![5]),
        ("日本語", vec![6]),
        ("テキスト 検索", vec![6]),
        ("ﾃｷｽﾄ", vec![6]),
        ("검색", vec![7]),
        ("검색을", vec![7]),
        ("ภาษา", vec![8]),
        ("ไทย", vec![8]),
        ("हिन्दी", vec![9]),
        ("البحث", vec![10]),
        ("οδός", vec![11]),
        ("γαλαζιος", vec![11]),
        ("rust lang", vec![12]),
        ("c++20", vec![12]),
        ("emoji glued", vec![12]),
        ("\"emoji glued\"", vec![12]),
        ("👍", vec![]),
        ("👍 rust", vec![12]),
        ("-whale", vec![]),
        ("", vec![]),
    ] {
        let expected: Vec<i64> = expected.into_iter().map(|number: usize| saved[number]).collect();
        assert_eq!(pannier.found(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn no_text_is_a_wrong_query() {
    let pannier = pannier_with(|settings| {
        settings.prompts.search_query_bytes_max = 65_536;
        settings.prompts.search_words_max = 200;
    })
    .await;
    let [near, table, _] = *pannier
        .saved(vec![
            idea("near and far: idea NOT a column"),
            idea("drop table prompts"),
            idea("nothing of it"),
        ])
        .await
    else {
        panic!("three were saved")
    };
    for (query, expected) in [
        ("NEAR(", vec![near]),
        ("NEAR(far near, 5)", vec![]),
        ("near AND", vec![near]),
        ("idea:column", vec![]),
        ("column OR", vec![]),
        ("'; DROP TABLE prompts; --", vec![table]),
    ] {
        assert_eq!(pannier.found(query).await, expected, "{query}");
    }
    let hostile = [
        "\"",
        "\"\"",
        "\"\"\"",
        "'",
        "''",
        "*",
        "**",
        "-",
        "--",
        "-*",
        "\"*",
        "^",
        "(",
        ")",
        "()",
        ":",
        "::",
        "{",
        "}",
        "\\",
        "\\\\",
        "\\'",
        "%",
        "_",
        ";",
        "--;",
        "a:b:c",
        "a & | ! <-> b",
        "<2>",
        "!a",
        "a:*",
        "a:*A",
        "a <-> ",
        "& &",
        "AND",
        "OR",
        "NOT",
        "NOT NOT",
        "a NOT",
        "NOT a",
        "{idea}: a",
        "- a",
        "+a",
        "a + b",
        "\u{0}",
        "a\u{0}b",
        "\u{FEFF}",
        "\u{E000}",
        "\u{10FFFF}",
        "👩‍👩‍👧‍👦",
        "\u{202E}abc",
        "\u{301}",
        "a\u{301}\u{301}",
        "ﷺ",
        "½",
        "\t\n\r",
        "$1",
        "?",
        "?1",
        ":name",
        "@x",
        "1e999",
        "'a':1A",
        "a'b'c",
        "\"a' OR 1=1",
        "rank",
        "rowid",
        "prompt_search",
        "bm25(prompt_search)",
    ];
    for query in hostile {
        pannier.search(query).await;
        pannier.search(&format!("near {query}")).await;
        pannier.search(&format!("near -{query}")).await;
        pannier.search(&format!("\"{query}\"")).await;
    }
    // 10 kB of one thing.
    for piece in ["\"", "(", "*", "-", "x", "日", "👍", "\u{301}", "\\", "' "] {
        let query = piece.repeat(10_000 / piece.len());
        let request = pb::SearchRequest { query, ..Default::default() };
        match pannier.try_search(request).await {
            Ok(answer) => assert_eq!(answer.hits.len(), 0),
            Err(status) => assert_eq!(violated_fields(&status), ["query"], "{piece}"),
        }
    }
    // As many words as may be, in every role.
    for piece in ["near ", "-a ", "a* ", "\"near and\" ", "日"] {
        pannier.search(&piece.repeat(100)).await;
    }
}

#[tokio::test]
async fn what_exceeds_a_limit_is_told_by_its_name() {
    let pannier = pannier().await;
    let violated = |request: pb::SearchRequest| async {
        violated_fields(&pannier.try_search(request).await.unwrap_err())
    };
    let query = |query: String| pb::SearchRequest { query, ..Default::default() };
    assert_eq!(violated(query("x".repeat(4_097))).await, ["query"]);
    assert_eq!(violated(query("x ".repeat(65))).await, ["query"]);
    pannier.try_search(query("x".repeat(4_096))).await.unwrap();
    pannier.try_search(query("x ".repeat(64))).await.unwrap();
    let request = pb::SearchRequest {
        query: "x".into(),
        highlight_start: "x".repeat(33),
        highlight_end: "x".repeat(33),
        page_size: -1,
        filter: Some(pb::PromptFilter { confidence_min: Some(1.1), ..Default::default() }),
        ..Default::default()
    };
    let all = ["filter.confidence_min", "highlight_end", "highlight_start", "page_size"];
    assert_eq!(violated(request).await, all);
}

#[tokio::test]
async fn a_hit_shows_where_its_words_are() {
    let pannier = pannier().await;
    let long = "filling ".repeat(200);
    let improved = format!("{long} the <b>Blue</b> whale {long}");
    pannier.saved(vec![texts("Ein Größe-Vergleich", &improved, "no such word")]).await;
    let request = pb::SearchRequest {
        query: "grosse \"blue b whale\"".into(),
        highlight_start: "[".into(),
        highlight_end: "]".into(),
        ..Default::default()
    };
    let answer = pannier.try_search(request).await.unwrap();
    let [hit] = answer.hits.as_slice() else { panic!("{answer:?}") };
    assert!(hit.rank > 0.0 && hit.prompt.as_ref().unwrap().body.is_none());
    let [of_idea, of_improved] = hit.snippets.as_slice() else { panic!("{:?}", hit.snippets) };
    assert_eq!((of_idea.field.as_str(), of_idea.text.as_str()), ("idea", "Ein Größe-Vergleich"));
    assert_eq!(of_idea.marked_text, "Ein [Größe]-Vergleich");
    assert_eq!(of_idea.highlights, [pb::PromptHighlight { start: 4, end: 9 }]);
    assert_eq!(of_improved.field, "improved_prompt");
    assert!(
        of_improved.marked_text.contains("the <b>[Blue</b> whale] filling"),
        "{}",
        of_improved.marked_text
    );
    assert!(
        of_improved.text.starts_with('…') && of_improved.text.ends_with('…') && of_improved.text.len() < 400
    );

    let request = pb::SearchRequest { query: "whale".into(), with_bodies: true, ..Default::default() };
    let answer = pannier.try_search(request).await.unwrap();
    assert_eq!(answer.hits[0].prompt.as_ref().unwrap().body.as_ref().unwrap().improved_prompt, improved);
    assert_eq!(answer.hits[0].snippets[0].marked_text, "");
}

#[tokio::test]
async fn an_idea_weighs_more_than_what_was_made_of_it_and_that_more_than_the_context() {
    let pannier = pannier().await;
    let other = "something else of the same length";
    let saved = pannier
        .saved(vec![
            texts(other, other, "a whale of the same length"),
            texts(other, "a whale of the same length", other),
            texts("a whale of the same length", other, other),
            texts(other, other, other),
        ])
        .await;
    let answer = pannier.search("whale").await;
    assert_eq!(ids(&answer), [saved[2], saved[1], saved[0]]);
    assert!(answer.hits.is_sorted_by(|one, next| one.rank > next.rank));
}

#[tokio::test]
async fn a_filter_takes_from_what_was_found() {
    let pannier = pannier().await;
    let mut all: Vec<pb::NewPrompt> = (0..4).map(|_| idea("whale")).collect();
    all[1].backend = "ollama".into();
    all[1].confidence = Some(0.9);
    all[2].tags = vec!["sea".into()];
    all[2].conversation_id = "c".into();
    all[3].body.as_mut().unwrap().metadata_json = r#"{"a": {"b": 1}}"#.into();
    all[3].error = Some(pb::PromptError { code: "timeout".into(), message: String::new() });
    let saved = pannier.saved(all).await;
    let condition = pb::MetadataCondition { path: "a.b".into(), value_json: "1".into() };
    for (filter, expected) in [
        (pb::PromptFilter { backend: "ollama".into(), ..Default::default() }, vec![1]),
        (pb::PromptFilter { backend: "unknown".into(), ..Default::default() }, vec![]),
        (pb::PromptFilter { confidence_min: Some(0.5), ..Default::default() }, vec![1]),
        (pb::PromptFilter { tags: vec!["sea".into()], ..Default::default() }, vec![2]),
        (pb::PromptFilter { conversation_id: "c".into(), ..Default::default() }, vec![2]),
        (pb::PromptFilter { metadata: vec![condition], ..Default::default() }, vec![3]),
        (pb::PromptFilter { status: pb::PromptStatus::Failed.into(), ..Default::default() }, vec![3]),
        (pb::PromptFilter::default(), vec![3, 2, 1, 0]),
    ] {
        let request =
            pb::SearchRequest { query: "whale".into(), filter: Some(filter.clone()), ..Default::default() };
        let found = ids(&pannier.try_search(request).await.unwrap());
        let expected: Vec<i64> = expected.into_iter().map(|number: usize| saved[number]).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn what_is_deleted_or_has_lost_its_body_is_not_found() {
    let pannier = pannier().await;
    let saved = pannier.saved((0..3).map(|_| idea("whale song")).collect()).await;
    let mut client = pannier.prompts.clone();
    client.delete(pb::DeleteRequest { prompt_id: saved[0], ..Default::default() }).await.unwrap();
    assert_eq!(pannier.found("whale").await, saved[1..]);
    let prune = pb::PruneRequest { keep_newest: Some(1), bodies_only: true, ..Default::default() };
    client.prune(prune).await.unwrap();
    assert_eq!(pannier.found("whale").await, saved[2..]);
    assert_eq!(pannier.found("song*").await, saved[2..]);
    let prune = pb::PruneRequest { keep_newest: Some(0), ..Default::default() };
    client.prune(prune).await.unwrap();
    assert_eq!(pannier.found("whale").await, [0; 0]);
    let again = pannier.saved(vec![idea("whale")]).await;
    assert_eq!(pannier.found("whale").await, again);
}
