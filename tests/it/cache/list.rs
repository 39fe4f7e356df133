//! List: live entries by key, a page at a time.

use pannier_proto::cache::v1 as pb;

use super::items::{negative_item, noise, short_lived, tagged, value_item, value_of};
use crate::harness::{Pannier, pannier, pannier_with, pannier_without_upkeep};

fn list(namespace: &str) -> pb::ListRequest {
    pb::ListRequest { namespace: namespace.into(), ..Default::default() }
}

fn sizes(pages: &[Vec<pb::Entry>]) -> Vec<usize> {
    pages.iter().map(Vec::len).collect()
}

fn keys(pages: &[Vec<pb::Entry>]) -> Vec<String> {
    pages.concat().into_iter().map(|entry| entry.key).collect()
}

async fn put_250(pannier: &Pannier) -> Vec<String> {
    let mut names: Vec<String> = (0..250).map(|i| format!("k{}", i * 7_919 % 1_000)).collect();
    pannier.put_all("n", names.iter().map(|key| value_item(key.as_str(), key.as_str())).collect()).await;
    names.sort();
    names
}

#[tokio::test]
async fn pages_hold_each_key_once_in_byte_order() {
    let pannier = pannier().await;
    let names = put_250(&pannier).await;
    let pages = pannier.pages(list("n")).await;
    assert_eq!(sizes(&pages), [100, 100, 50], "server.page_size is 100");
    assert_eq!(keys(&pages), names);
    for page_size in [1, 7, 249, 250, 251, 1_000] {
        let pages = pannier.pages(pb::ListRequest { page_size, ..list("n") }).await;
        assert_eq!(keys(&pages), names, "page_size {page_size}");
        let longest = pages.iter().map(Vec::len).max().unwrap();
        assert!(i32::try_from(longest).unwrap() <= page_size);
    }
}

#[tokio::test]
async fn an_unknown_or_empty_namespace_has_one_empty_page() {
    let pannier = pannier().await;
    let page = pannier.try_list(list("n")).await.unwrap();
    assert_eq!(page, pb::ListResponse::default());
    pannier.put("n", value_item("a", "v")).await;
    pannier.delete("n", &["a"]).await;
    let page = pannier.try_list(list("n")).await.unwrap();
    assert_eq!(page, pb::ListResponse::default());
}

#[tokio::test]
async fn the_last_page_says_so() {
    let pannier = pannier().await;
    pannier.put_all("n", (0..4).map(|i| value_item(format!("k{i}"), "v")).collect()).await;
    let pages = pannier.pages(pb::ListRequest { page_size: 4, ..list("n") }).await;
    assert_eq!(keys(&pages).len(), 4);
    let page = pannier.try_list(pb::ListRequest { page_size: 5, ..list("n") }).await.unwrap();
    assert_eq!(page.next_page_token, "");
}

#[tokio::test]
async fn a_prefix_lists_the_keys_that_begin_with_its_bytes() {
    let pannier = pannier().await;
    let names =
        ["a", "a%", "a%b", "a_", "ab", "aB", "A", "é", "éa", "日本", "\u{10ffff}", "\u{10ffff}a", "\u{1}x"];
    pannier.put_all("n", names.iter().map(|key| value_item(*key, "v")).collect()).await;
    for prefix in ["a", "a%", "%", "_", "a_", "é", "日", "\u{10ffff}", "\u{1}", "none", "ab", "\u{10ffff}b"]
    {
        let mut expected: Vec<&str> = names.into_iter().filter(|key| key.starts_with(prefix)).collect();
        expected.sort_unstable();
        for page_size in [0, 1] {
            let request = pb::ListRequest { prefix: prefix.into(), page_size, ..list("n") };
            assert_eq!(keys(&pannier.pages(request).await), expected, "{prefix:?}");
        }
    }
}

#[tokio::test]
async fn a_tag_lists_the_entries_that_carry_it_with_or_without_a_prefix() {
    let pannier = pannier().await;
    let mut items: Vec<_> = (0..150).map(|i| tagged(&format!("a{i:03}"), &["t", "u"])).collect();
    items.extend((0..20).map(|i| tagged(&format!("b{i:03}"), &["t"])));
    items.extend((0..20).map(|i| tagged(&format!("c{i:03}"), &["T", "tt"])));
    items.extend((0..20).map(|i| value_item(format!("d{i:03}"), "v")));
    pannier.put_all("n", items).await;
    let count = async |tag: &str, prefix: &str, page_size: i32| {
        let request = pb::ListRequest { tag: tag.into(), prefix: prefix.into(), page_size, ..list("n") };
        let found = keys(&pannier.pages(request).await);
        assert!(found.is_sorted());
        assert!(found.iter().all(|key| key.starts_with(prefix)));
        found.len()
    };
    for page_size in [0, 3, 1_000] {
        assert_eq!(count("t", "", page_size).await, 170);
        assert_eq!(count("u", "", page_size).await, 150);
        assert_eq!(count("t", "b", page_size).await, 20);
        assert_eq!(count("u", "b", page_size).await, 0);
        assert_eq!(count("none", "", page_size).await, 0);
        assert_eq!(count("tt", "c00", page_size).await, 10);
    }
}

#[tokio::test]
async fn values_come_only_when_asked_for_and_sizes_always() {
    let pannier = pannier().await;
    let full = pb::PutItem {
        content_type: "text/plain".into(),
        metadata_json: "{\"a\":1}".into(),
        tags: vec!["t".into()],
        ..value_item("a", "value")
    };
    pannier.put("n", full).await;
    let without = pannier.try_list(list("n")).await.unwrap().entries.remove(0);
    let with = pannier
        .try_list(pb::ListRequest { include_values: true, ..list("n") })
        .await
        .unwrap()
        .entries
        .remove(0);
    assert_eq!(value_of(&with), b"value");
    match &without.content {
        None => {}
        Some(pb::entry::Content::Value(value)) => assert!(value.is_empty()),
        Some(pb::entry::Content::Negative(negative)) => panic!("a value came as {negative:?}"),
    }
    assert_eq!(pb::Entry { content: with.content.clone(), ..without }, with, "all else is the same");
    assert_eq!(with.size_bytes, 5);
    let got = pannier.get("n", "a").await.unwrap();
    assert_eq!(pb::Entry { access_count: 1, ..got }, with, "and the same as Get gives");
}

#[tokio::test]
async fn a_listed_failure_is_never_shown_as_a_value() {
    let pannier = pannier().await;
    pannier.put("n", negative_item("a", "CODE", "message")).await;
    for include_values in [false, true] {
        let request = pb::ListRequest { include_values, ..list("n") };
        let entry = pannier.try_list(request).await.unwrap().entries.remove(0);
        assert_eq!(entry.size_bytes, 11);
        assert!(!matches!(entry.content, Some(pb::entry::Content::Value(_))), "{:?}", entry.content);
    }
}

#[tokio::test]
async fn only_live_entries_are_listed() {
    let pannier = pannier_without_upkeep().await;
    let items = (0..50).map(|i| {
        if i % 5 == 0 { value_item(format!("k{i}"), "v") } else { short_lived(&format!("k{i}"), "v", 10) }
    });
    pannier.put_all("n", items.collect()).await;
    pannier.advance_s(11);
    let pages = pannier.pages(pb::ListRequest { page_size: 4, ..list("n") }).await;
    assert_eq!(keys(&pages).len(), 10);
    assert!(pages.concat().iter().all(|entry| !entry.stale));
}

#[tokio::test]
async fn keys_that_come_and_go_between_pages_disturb_no_other() {
    let pannier = pannier().await;
    let names = put_250(&pannier).await;
    let first = pannier.try_list(list("n")).await.unwrap();
    let last_listed = &first.entries[99].key;
    pannier.delete("n", &[&names[0], last_listed, &names[100]]).await;
    pannier.put("n", value_item("a before all", "v")).await;
    pannier.put("n", value_item("z after all", "v")).await;
    let rest = pannier.pages(pb::ListRequest { page_token: first.next_page_token, ..list("n") }).await;
    let mut expected = names[101..].to_vec();
    expected.push("z after all".into());
    assert_eq!(keys(&rest), expected);
}

#[tokio::test]
async fn a_page_of_values_ends_before_it_is_larger_than_the_setting() {
    let pannier = pannier_with(|settings| {
        settings.cache.value_bytes_max = 4_000;
        settings.server.response_bytes_max = 11_000;
    })
    .await;
    let items = (0..20).map(|i| value_item(format!("k{i:02}"), noise(3_000, i))).collect();
    pannier.put_all("n", items).await;
    let request = pb::ListRequest { include_values: true, ..list("n") };
    let pages = pannier.pages(request).await;
    assert_eq!(keys(&pages).len(), 20);
    assert_eq!(sizes(&pages)[..6], [3; 6]);
    assert!(pages.concat().iter().all(|entry| value_of(entry).len() == 3_000));
    assert_eq!(sizes(&pannier.pages(list("n")).await), [20], "without values all fit");
}

#[tokio::test]
async fn a_page_of_metadata_ends_before_it_is_larger_than_the_setting() {
    let pannier = pannier_with(|settings| {
        settings.cache.value_bytes_max = 4_000;
        settings.cache.metadata_bytes_max = 4_000;
        settings.server.response_bytes_max = 11_000;
    })
    .await;
    let metadata_json = format!("{{\"a\":\"{}\"}}", "m".repeat(3_000));
    let item =
        |i| pb::PutItem { metadata_json: metadata_json.clone(), ..value_item(format!("k{i:02}"), "v") };
    pannier.put_all("n", (0..20).map(item).collect()).await;
    for include_values in [false, true] {
        let pages = pannier.pages(pb::ListRequest { include_values, ..list("n") }).await;
        assert_eq!(keys(&pages).len(), 20);
        assert!(sizes(&pages).iter().all(|size| *size <= 3), "{:?} entries a page", sizes(&pages));
    }
}
