//! What records take on the disk: results of 2 KiB, as the video worker stores them.

use std::collections::HashMap;

use pannier_proto::records::v1 as pb;
use rusqlite::Connection;

use super::calls::item;
use crate::exceptions::sqlite_only;
use crate::harness::pannier_with;

const RESULTS: usize = 6_000;

/// JSON of 2 KiB whose texts are no easier to compress than such texts are: words of many, and numbers.
fn result(number: usize) -> String {
    let mut state = number as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut text = format!(
        r#"{{"source_id":"video-{number:08}","metrics":{{"views":{},"likes":{}}},"description":""#,
        next(),
        next()
    );
    while text.len() < 2_040 {
        text.push_str(&format!("{:x} ", next() % 0xFF_FFFF));
    }
    text.push_str(r#""}"#);
    text
}

#[tokio::test]
async fn results_of_2_kib_take_little_more_than_their_payload_and_their_indexes_a_small_share() {
    sqlite_only();
    let pannier = pannier_with(|settings| settings.records.batch_items_max = 2_000).await;
    pannier.make_collection("c").await;
    let mut payload = 0;
    for first in (0..RESULTS).step_by(2_000) {
        let items: Vec<_> =
            (first..first + 2_000).map(|n| item(&format!("youtube/video-{n:08}"), &result(n))).collect();
        payload += items.iter().map(|item| item.key.len() + item.document_json.len()).sum::<usize>();
        pannier.batch_put_records(items, pb::PutMode::Keep).await;
    }
    let pannier = pannier.restart().await;
    let file = Connection::open(pannier.database()).unwrap();
    let query =
        "SELECT name, sum(pgsize) FROM dbstat WHERE name IN ('records', 'records_by_key', 'records_by_seq',
        'records_tombstones') GROUP BY name";
    let mut statement = file.prepare(query).unwrap();
    let sizes = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).unwrap();
    let sizes: HashMap<String, i64> = sizes.map(Result::unwrap).collect();
    let (rows, all) = (sizes["records"], sizes.values().sum::<i64>());
    let payload = i64::try_from(payload).unwrap();
    assert!(all * 10 < payload * 12, "{all} for {payload}");
    assert!((all - rows) * 5 < rows, "{sizes:?}");
}
