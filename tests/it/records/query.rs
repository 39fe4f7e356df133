//! Query: orders, pages, which index is used, and how much is read.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use pb::Comparator as C;
use pb::query_order::By;
use tonic::Code;

use super::asking::{all, any, by_path, compare, not, query};
use crate::harness::{Pannier, assert_status, pannier, pannier_with, violated_fields};

/// A number of documents with a status of five, a time of their own and a name.
fn documents(count: usize) -> Vec<(String, String)> {
    let document = |n: usize| {
        let time = (n * 7919) % count;
        format!(
            r#"{{"status":"s{}","time":{time},"who":{{"name":"n{n:05}"}},"tags":["t{}","all"]}}"#,
            n % 5,
            n % 3
        )
    };
    (0..count).map(|n| (format!("k{n:05}"), document(n))).collect()
}

async fn with_documents(paths: &[&str], count: usize) -> Pannier {
    let pannier = pannier().await;
    pannier.collection_with_indexes("docs", paths).await;
    pannier.store_all("docs", &documents(count)).await;
    pannier
}

#[tokio::test]
async fn an_index_finds_what_is_equal_and_reads_nothing_else() {
    let pannier = with_documents(&["time", "who.name"], 2_000).await;
    let (found, plan) = pannier.ask(query("docs", compare("who.name", C::Equal, "\"n00042\""))).await;
    assert_eq!(found, ["k00042"]);
    assert_eq!(plan, pb::QueryPlan { index_path: "who.name".into(), documents_read: 1, sorted: true });
    let few = compare("time", C::In, "[3, 7.0, 1e1, 5000]");
    let (found, plan) = pannier.ask(query("docs", few)).await;
    assert_eq!((found.len(), plan.documents_read), (3, 3));
    let range = all(vec![compare("time", C::GreaterOrEqual, "100"), compare("time", C::Less, "110")]);
    let (found, plan) = pannier.ask(query("docs", range)).await;
    assert_eq!((found.len(), plan.documents_read, plan.index_path.as_str()), (10, 10, "time"));
    let prefix = compare("who.name", C::Prefix, "\"n0123\"");
    let (found, plan) = pannier.ask(query("docs", prefix)).await;
    assert_eq!((found.len(), plan.documents_read, plan.index_path.as_str()), (10, 10, "who.name"));
    let (found, plan) = pannier.ask(query("docs", compare("status", C::Equal, "\"s1\""))).await;
    assert_eq!((found.len(), plan.index_path.as_str(), plan.sorted), (100, "", false));
}

#[tokio::test]
async fn an_order_that_an_index_has_is_read_in_it() {
    let pannier = with_documents(&["time"], 2_000).await;
    for descending in [false, true] {
        let mut request = query("docs", compare("status", C::Equal, "\"s0\""));
        (request.order, request.page_size) = (Some(by_path("time", descending)), 10);
        let page = pannier.try_ask(request).await.unwrap();
        let plan = page.plan.unwrap();
        assert_eq!((plan.index_path.as_str(), plan.sorted), ("time", false));
        assert!(plan.documents_read < 100, "{plan:?}");
        let times: Vec<usize> = page.records.iter().map(|record| time_of(&record.document_json)).collect();
        let mut expected: Vec<usize> = documents(2_000)
            .iter()
            .filter(|(_, document)| document.contains("\"s0\""))
            .map(|(_, document)| time_of(document))
            .collect();
        expected.sort_unstable();
        if descending {
            expected.reverse();
        }
        assert_eq!(times, expected[..10]);
    }
}

fn time_of(document: &str) -> usize {
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    usize::try_from(document["time"].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn pages_of_every_order_join_without_a_gap() {
    let pannier = pannier_with(|settings| settings.records.query_scan_rows_max = 13).await;
    for (name, paths) in [("bare", &[][..]), ("indexed", &["status", "time", "missing"])] {
        pannier.collection_with_indexes(name, paths).await;
        pannier.store_all(name, &documents(150)).await;
        for (filter, count) in [
            (None, 150),
            (Some(compare("status", C::In, r#"["s4","s1","s1"]"#)), 60),
            (Some(compare("time", C::Greater, "139")), 10),
            (Some(compare("tags", C::Contains, "\"t0\"")), 50),
            (Some(compare("missing", C::Exists, "")), 0),
        ] {
            for by in
                [None, Some(By::Key(true)), Some(By::Change(true)), by("status"), by("time"), by("missing")]
            {
                for descending in [false, true] {
                    let mut request = query(name, filter.clone());
                    (request.order, request.page_size) =
                        (Some(pb::QueryOrder { by: by.clone(), descending }), 7);
                    let mut found = pannier.ask_all(request).await;
                    let what = format!("{name} {filter:?} {by:?} {descending}");
                    assert_eq!(found.len(), count, "{what}");
                    if matches!(by, None | Some(By::Key(_) | By::Change(_))) {
                        let mut expected = found.clone();
                        expected.sort_unstable();
                        if descending {
                            expected.reverse();
                        }
                        assert_eq!(found, expected, "{what}");
                    }
                    found.sort_unstable();
                    found.dedup();
                    assert_eq!(found.len(), count, "{what}: one came twice");
                }
            }
        }
    }
}

fn by(path: &str) -> Option<By> {
    Some(By::Path(path.into()))
}

#[tokio::test]
async fn a_page_looks_at_a_bounded_number_of_documents_and_goes_on_from_there() {
    let pannier = pannier_with(|settings| settings.records.query_scan_rows_max = 50).await;
    pannier.collection_with_indexes("docs", &[]).await;
    pannier.store_all("docs", &documents(200)).await;
    let mut request = query("docs", compare("time", C::Equal, "1"));
    let mut pages = Vec::new();
    loop {
        let page = pannier.try_ask(request.clone()).await.unwrap();
        pages.push((page.records.len(), page.plan.unwrap().documents_read));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages.iter().map(|(found, _)| found).sum::<usize>(), 1);
    assert_eq!(pages.iter().map(|(_, read)| read).sum::<i64>(), 200);
    assert!(pages.iter().all(|(_, read)| *read <= 50), "{pages:?}");
}

#[tokio::test]
async fn an_order_without_an_index_is_refused_beyond_what_may_be_sorted() {
    let pannier = pannier_with(|settings| settings.records.query_sort_rows_max = 100).await;
    pannier.collection_with_indexes("docs", &["status"]).await;
    pannier.store_all("docs", &documents(100)).await;
    let mut request = query("docs", None);
    request.order = Some(by_path("who.name", true));
    let (found, plan) = pannier.ask(request.clone()).await;
    assert_eq!((found.len(), found[0].as_str(), plan.sorted), (100, "k00099", true));
    pannier.store_one("docs", "one more", "{}").await;
    let refused = pannier.try_ask(request.clone()).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::QueryNeedsIndex);
    assert!(refused.message().contains("who.name"), "{}", refused.message());
    // What another index finds may be sorted.
    request.filter = Some(compare("status", C::Equal, "\"s3\""));
    let (found, plan) = pannier.ask(request.clone()).await;
    assert_eq!((found.len(), found[0].as_str(), plan.index_path.as_str()), (20, "k00098", "status"));
    request.filter = None;
    pannier.declare_indexes("docs", &["status", "who.name"]).await;
    pannier.until_ready("docs").await;
    let (found, plan) = pannier.ask(request).await;
    assert_eq!((found.len(), found[0].as_str(), plan.sorted), (100, "k00099", false));
}

#[tokio::test]
async fn what_a_page_may_hold_in_bytes_ends_it() {
    let pannier = pannier_with(|settings| {
        settings.server.response_bytes_max = 40 * 1024;
        settings.records.document_bytes_max = 16 * 1024;
        settings.records.schema_bytes_max = 16 * 1024;
    })
    .await;
    pannier.collection_with_indexes("docs", &["n"]).await;
    let long = "x".repeat(10_000);
    for n in 0..10 {
        pannier.store_one("docs", &format!("k{n}"), &format!(r#"{{"n":{n},"long":"{long}"}}"#)).await;
    }
    for order in [None, Some(by_path("n", false)), Some(by_path("long", false))] {
        let mut request = query("docs", None);
        request.order = order;
        let page = pannier.try_ask(request.clone()).await.unwrap();
        assert_eq!((page.records.len(), page.next_page_token.is_empty()), (3, false));
        assert_eq!(pannier.ask_all(request).await.len(), 10);
    }
}

#[tokio::test]
async fn numbers_are_compared_to_their_last_digit() {
    let pannier = pannier().await;
    pannier.collection_with_indexes("docs", &["n"]).await;
    for (key, number) in [
        ("a", "9007199254740992"),
        ("b", "9007199254740993"),
        ("c", "9.007199254740993e15"),
        ("d", "1e400"),
        ("e", "\"9\""),
    ] {
        pannier.store_one("docs", key, &format!(r#"{{"n":{number}}}"#)).await;
    }
    let found = |comparator, value: &'static str| {
        let pannier = &pannier;
        async move { pannier.ask_all(query("docs", compare("n", comparator, value))).await }
    };
    assert_eq!(found(C::Equal, "9007199254740993.0").await, ["b", "c"]);
    assert_eq!(found(C::Greater, "9007199254740992").await, ["b", "c", "d"]);
    assert_eq!(found(C::Greater, "1e399").await, ["d"]);
    assert_eq!(found(C::NotEqual, "9007199254740993").await, ["a", "d", "e"]);
}

#[tokio::test]
async fn values_that_begin_alike_are_told_apart_though_an_index_has_their_beginnings_only() {
    let pannier = pannier().await;
    pannier.collection_with_indexes("docs", &["s"]).await;
    let long = "x".repeat(1_000);
    for end in ["a", "b", "c"] {
        pannier.store_one("docs", end, &format!(r#"{{"s":"{long}{end}"}}"#)).await;
    }
    let (found, plan) = pannier.ask(query("docs", compare("s", C::Equal, &format!("\"{long}b\"")))).await;
    assert_eq!((found, plan.documents_read), (vec!["b".to_owned()], 3));
    let found = pannier.ask_all(query("docs", compare("s", C::Less, &format!("\"{long}b\"")))).await;
    assert_eq!(found, ["a"]);
}

#[tokio::test]
async fn everything_wrong_with_a_query_is_told_at_once() {
    let pannier = pannier_with(|settings| settings.records.query_conditions_max = 20).await;
    pannier.collection_with_indexes("docs", &[]).await;
    let wrong = all(vec![
        compare("a..b", C::Equal, "1"),
        compare("a", C::Equal, "[1]"),
        compare("a", C::Equal, "nul"),
        compare("a", C::Unspecified, "1"),
        compare("a", C::Less, "null"),
        compare("a", C::Prefix, "1"),
        compare("a", C::In, "[[1]]"),
        compare("a", C::In, "1"),
        compare("a", C::Exists, "true"),
        any(vec![]),
        not(pb::Filter { what: None }),
    ]);
    let mut request = query("Docs!", wrong);
    request.order = Some(by_path("", false));
    request.page_size = -1;
    let at = |index: usize, rest: &str| format!("filter.all.filters[{index}].{rest}");
    let mut expected = vec![
        "collection".to_owned(),
        at(0, "compare.path"),
        at(1, "compare.value_json"),
        at(2, "compare.value_json"),
        at(3, "compare.comparator"),
        at(4, "compare.value_json"),
        at(5, "compare.value_json"),
        at(6, "compare.value_json"),
        at(7, "compare.value_json"),
        at(8, "compare.value_json"),
        at(9, "any.filters"),
        at(10, "not"),
        "order.path".to_owned(),
        "page_size".to_owned(),
    ];
    expected.sort();
    assert_eq!(violated_fields(&pannier.try_ask(request).await.unwrap_err()), expected);
    let many = format!("[{}0]", "0,".repeat(20));
    let refused = pannier.try_ask(query("docs", compare("a", C::In, &many))).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["filter"]);
    let deep = (0..20).fold(compare("a", C::Exists, ""), |filter, _| not(filter));
    let refused = pannier.try_ask(query("docs", deep)).await.unwrap_err();
    assert!(violated_fields(&refused)[0].ends_with(".not"));
    let mut said = query("docs", None);
    said.order = Some(pb::QueryOrder { by: Some(By::Key(false)), descending: false });
    assert_eq!(violated_fields(&pannier.try_ask(said).await.unwrap_err()), ["order.key"]);
    let unknown = pannier.try_ask(query("nowhere", None)).await.unwrap_err();
    assert_status(&unknown, Code::NotFound, ErrorReason::CollectionNotFound);
}

#[tokio::test]
async fn a_token_of_another_query_is_refused() {
    let pannier = with_documents(&["time"], 30).await;
    let mut request = query("docs", compare("time", C::Greater, "3"));
    request.page_size = 5;
    let token = pannier.try_ask(request.clone()).await.unwrap().next_page_token;
    request.page_token = token;
    assert_eq!(pannier.ask(request.clone()).await.0.len(), 5);
    let mut others = vec![request.clone(), request.clone(), request.clone(), request.clone()];
    others[0].filter = Some(compare("time", C::Greater, "4"));
    others[1].order = Some(by_path("time", false));
    others[2].order = Some(pb::QueryOrder { by: None, descending: true });
    others[3].page_token.push('x');
    for other in others {
        let refused = pannier.try_ask(other).await.unwrap_err();
        assert_status(&refused, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
    // How a value is written makes no difference.
    request.filter = Some(compare("\"time\"", C::Greater, " 3.0 "));
    assert_eq!(pannier.ask(request).await.0.len(), 5);
}

#[tokio::test]
async fn a_page_reads_a_bounded_number_of_bytes_and_goes_on_from_there() {
    let pannier = pannier_with(|settings| settings.records.query_scan_bytes_max = 25_000).await;
    pannier.collection_with_indexes("docs", &["n"]).await;
    let long = "x".repeat(10_000);
    for n in 0..10 {
        pannier.store_one("docs", &format!("k{n}"), &format!(r#"{{"n":{n},"long":"{long}"}}"#)).await;
    }
    let mut request = query("docs", compare("n", C::Equal, "9"));
    request.order = Some(by_path("n", true));
    let page = pannier.try_ask(request).await.unwrap();
    assert_eq!(page.records.len(), 1);
    let nothing = query("docs", compare("long", C::Equal, "9"));
    let page = pannier.try_ask(nothing.clone()).await.unwrap();
    assert_eq!((page.records.len(), page.plan.unwrap().documents_read), (0, 3));
    assert!(!page.next_page_token.is_empty());
    assert!(pannier.ask_all(nothing).await.is_empty());
    // What has to be sorted is read whole, or not at all.
    let sorted = pb::QueryRequest { order: Some(by_path("long", false)), ..query("docs", None) };
    let refused = pannier.try_ask(sorted).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::QueryNeedsIndex);
    assert!(refused.message().contains("25000 bytes"), "{}", refused.message());
}

/// Condition by condition this would read each document 255 times: minutes.
#[tokio::test]
async fn a_filter_of_many_conditions_reads_each_document_once() {
    let pannier = pannier().await;
    pannier.collection_with_indexes("docs", &[]).await;
    let long = "x".repeat(220_000);
    for n in 0..30 {
        pannier.store_one("docs", &format!("k{n}"), &format!(r#"{{"long":"{long}","last":{n}}}"#)).await;
    }
    let conditions = (0..255).map(|n| compare("last", C::NotEqual, &(n + 1).to_string()));
    let request = query("docs", all(conditions.collect()));
    let found = tokio::time::timeout(std::time::Duration::from_secs(30), pannier.ask_all(request));
    assert_eq!(found.await.expect("it ends in time"), ["k0"]);
}

/// A query whose caller has left does not go on reading.
#[tokio::test]
async fn a_query_ends_at_its_deadline_between_two_documents() {
    let pannier = pannier_with(|settings| settings.storage.readers = 1).await;
    pannier.collection_with_indexes("docs", &[]).await;
    let long = "x".repeat(900_000);
    for n in 0..60 {
        pannier.store_one("docs", &format!("k{n}"), &format!(r#"{{"long":"{long}","last":{n}}}"#)).await;
    }
    let mut request = tonic::Request::new(query("docs", compare("last", C::Equal, "-1")));
    request.set_timeout(std::time::Duration::from_millis(50));
    let late = pannier.records.clone().query(request).await;
    if let Err(late) = late {
        assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late:?}");
    }
    // The only reader is free again.
    let read = tokio::time::timeout(std::time::Duration::from_secs(10), pannier.collection("docs"));
    read.await.expect("the reader is free").unwrap();
}
