//! A move: the sidecar on the copy answers what the sidecar on the original does.

use pannier_proto::cache::v1 as pb;
use tonic::Code;

use super::homes::{Exported, Home, file, refused};
use super::material::{
    LIMITED, MANY, item, key, lease, limited_namespace, put_all, put_with_request_ids, take_leases,
};
use crate::calls::{Cache, Fault, cache, entries};
use crate::sidecar::Place;
use crate::turn;

const ENTRIES: u64 = 3_000;
const KEPT: u64 = 50;
const LEASES: u64 = 20;

/// Every entry of a namespace as a list shows it.
async fn listed(client: &mut Cache, namespace: &str) -> Vec<pb::Entry> {
    let mut found = Vec::new();
    let mut request =
        pb::ListRequest { namespace: namespace.into(), include_values: true, ..Default::default() };
    loop {
        let page = client.list(request.clone()).await.expect("a page").into_inner();
        found.extend(page.entries);
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

/// That two sidecars answer the same.
async fn assert_alike(one: &mut Cache, other: &mut Cache) {
    for namespace in [MANY, LIMITED] {
        let (here, there) = (listed(one, namespace).await, listed(other, namespace).await);
        assert!(here == there, "the lists of {namespace} differ");
        let request = pb::StatsRequest { namespace: namespace.into() };
        let (here, there) = (one.stats(request.clone()).await, other.stats(request).await);
        assert_eq!(here.expect("stats").into_inner(), there.expect("stats").into_inner());
    }
    let tagged = pb::ListRequest { namespace: MANY.into(), tag: "é\u{1F600}".into(), ..Default::default() };
    let (here, there) = (one.list(tagged.clone()).await, other.list(tagged).await);
    let (here, there) = (here.expect("a page").into_inner(), there.expect("a page").into_inner());
    assert!(!here.entries.is_empty());
    assert_eq!(here.entries, there.entries);
    let all = pb::ListNamespacesRequest::default();
    let (here, there) = (one.list_namespaces(all.clone()).await, other.list_namespaces(all).await);
    assert_eq!(here.expect("a page").into_inner().namespaces, there.expect("a page").into_inner().namespaces);
    let keys: Vec<String> = (0..ENTRIES).map(key).collect();
    let timeless = |entry: Option<pb::Entry>| entry.map(|entry| pb::Entry { access_time: None, ..entry });
    let (here, there) = (entries(one, MANY, &keys).await, entries(other, MANY, &keys).await);
    assert_eq!(here.len() as u64, ENTRIES);
    for (key, entry) in here {
        assert!(entry.is_some(), "{key:?}");
        assert_eq!(timeless(entry), timeless(there[&key].clone()), "{key:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_copy_answers_what_the_original_answers() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let (source, target) = (Home::source(&place), Home::target(&place));
    let mut sidecar = source.launch(&place).start().await;
    let mut client = cache(&sidecar).await;
    put_all(&mut client, 0..ENTRIES).await;
    limited_namespace(&mut client).await;
    let kept = put_with_request_ids(&mut client, KEPT).await;
    let tokens = take_leases(&mut client, LEASES).await;
    // The last number that was given belongs to a row that is gone.
    let last = pb::PutRequest {
        namespace: MANY.into(),
        item: Some(pb::PutItem { key: "last".into(), ..item(0) }),
        ..Default::default()
    };
    client.put(last).await.expect("a put");
    let gone = pb::DeleteItem { key: "last".into(), if_etag: None };
    let gone = pb::DeleteRequest { namespace: MANY.into(), items: vec![gone], ..Default::default() };
    client.delete(gone).await.expect("a deletion");
    sidecar.stop().await;

    let exported = source.export(&file(&place));
    let counts = exported.checked();
    assert_eq!(counts["cache_entries"], ENTRIES + KEPT + LEASES);
    assert_eq!((counts["idempotency_keys"], counts["cache_namespaces"]), (KEPT, 2));
    assert!(counts["cache_tags"] > ENTRIES / 3);
    exported.assert_reported(&target.import(&file(&place), &[]));
    exported.assert_same(&target.export(&place.path("again.ndjson")));
    let tables = exported.trailer["tables"].as_array().expect("the tables");
    let entries = tables.iter().find(|table| table["table"] == "cache_entries").expect("the entries");
    assert_eq!(entries["identity"].as_u64(), Some(ENTRIES + KEPT + LEASES + 1));

    let (mut original, mut copy) = (source.launch(&place).start().await, target.launch(&place).start().await);
    let (mut one, mut other) = (cache(&original).await, cache(&copy).await);
    assert_alike(&mut one, &mut other).await;
    go_on(&mut other, &kept, &tokens).await;
    original.stop().await;
    copy.stop().await;
}

/// That what was begun with the original is finished with the copy.
async fn go_on(copy: &mut Cache, kept: &[super::material::Kept], tokens: &[String]) {
    for (request, answer) in kept {
        assert_eq!(copy.put(request.clone()).await.expect("the kept answer").into_inner(), *answer);
        let other = pb::PutRequest { namespace: LIMITED.into(), ..request.clone() };
        let status = copy.put(other).await.expect_err("another body with the same id");
        Fault::expect(&status, Code::InvalidArgument, "REQUEST_ID_REUSED");
    }
    for (number, token) in tokens.iter().enumerate() {
        let request = lease(number as u64);
        let held = copy.get_or_lease(request.clone()).await.expect("an answer").into_inner();
        assert!(held.lease.is_none() && held.entry.is_none(), "a lease was given twice: {held:?}");
        let fill = |token: &str| pb::PutRequest {
            namespace: MANY.into(),
            item: Some(pb::PutItem { key: request.key.clone(), lease_token: token.to_owned(), ..item(0) }),
            ..Default::default()
        };
        let other = &tokens[(number + 1) % tokens.len()];
        let status = copy.put(fill(other)).await.expect_err("a fill with another's lease");
        Fault::expect(&status, Code::Aborted, "LEASE_LOST");
        copy.put(fill(token)).await.expect("a fill with the lease");
    }
    put_all(copy, ENTRIES..ENTRIES + 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_database_moves_too_and_pipes_do() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let (source, target) = (Home::source(&place), Home::target(&place));
    source.launch(&place).start().await.stop().await;
    let exported = source.export(&file(&place));
    // A start stores the clocks' stamp.
    let counts = exported.checked();
    let stored = counts.iter().filter(|(table, _)| !table.starts_with("clock"));
    assert_eq!(stored.map(|(_, rows)| rows).sum::<u64>(), 0);

    let output = source.command("export").output().expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    let mut import = super::homes::fed(target.command("import").arg("-"));
    std::io::Write::write_all(&mut import.stdin.take().expect("a pipe"), &output.stdout).expect("it reads");
    let output = import.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    exported.assert_same(&target.export(&place.path("again.ndjson")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_use_is_neither_exported_nor_filled() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let source = Home::source(&place);
    let mut sidecar = source.launch(&place).start().await;
    put_all(&mut cache(&sidecar).await, 0..20).await;
    sidecar.stop().await;
    let exported = source.export(&file(&place));
    let mut sidecar = source.launch(&place).start().await;
    let second = place.path("second.ndjson");
    let output = source.command("export").arg(&second).output().expect("the binary runs");
    assert!(refused(&output).contains("another pannier"), "{output:?}");
    assert!(!second.exists() && !place.path("second.ndjson.partial").exists());
    assert!(source.refuses(&file(&place), &["--replace"]).contains("another pannier"));
    sidecar.stop().await;
    // The second start has stored another stamp of the clocks.
    let rows = |exported: &Exported| {
        let is_clock = |line: &&String| line.starts_with("{\"table\":\"clock");
        exported.rows.iter().filter(|line| !is_clock(line)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(rows(&exported), rows(&source.export(&second)));
}

#[tokio::test]
async fn an_export_writes_over_a_file_only_when_it_is_whole() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let source = Home::source(&place);
    std::fs::write(file(&place), "notes").expect("a file");
    let output = source.command("export").arg(file(&place)).output().expect("the binary runs");
    assert!(refused(&output).contains("there is no database"), "{output:?}");
    assert_eq!(std::fs::read(file(&place)).expect("a file"), b"notes");
    // What an export left that was killed.
    std::fs::write(place.path("moved.ndjson.partial"), vec![b'x'; 100_000]).expect("a file");
    source.launch(&place).start().await.stop().await;
    source.export(&file(&place)).checked();
    assert!(!place.path("moved.ndjson.partial").exists());
    let output = source.command("export").arg("/dev/null").output().expect("the binary runs");
    assert!(refused(&output).contains("no regular file"), "{output:?}");
}
