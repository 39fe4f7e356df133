//! Putting and getting.

use pannier_proto::cache::v1 as pb;

use crate::harness::pannier;

#[tokio::test]
async fn what_was_put_is_got_and_each_get_counts() {
    let mut pannier = pannier().await;
    let item = pb::PutItem {
        key: "a".into(),
        content: Some(pb::put_item::Content::Value("one".into())),
        ..Default::default()
    };
    let request = pb::PutRequest { namespace: "n".into(), item: Some(item), ..Default::default() };
    let put = pannier.cache.put(request).await.unwrap().into_inner().result.unwrap();
    assert!(put.created);
    for count in 2..5 {
        let request = pb::GetRequest { namespace: "n".into(), key: "a".into() };
        let entry = pannier.cache.get(request).await.unwrap().into_inner().entry.unwrap();
        assert_eq!(entry.content, Some(pb::entry::Content::Value("one".into())));
        assert_eq!((entry.access_count, entry.etag.as_str()), (count, put.etag.as_str()));
    }
}
