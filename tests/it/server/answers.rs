//! Answers fit the channel of a stock client: 4 MiB a message, 8 KiB of metadata.

use pannier::answer::METADATA;
use pannier_proto::cache::v1 as cache;
use pannier_proto::cache::v1::cache_service_client::CacheServiceClient;
use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::jobs::v1::jobs_service_client::JobsServiceClient;
use pannier_proto::prompts::v1 as prompts;
use pannier_proto::prompts::v1::prompts_service_client::PromptsServiceClient;
use pannier_proto::queue::v1 as queue;
use pannier_proto::queue::v1::queue_service_client::QueueServiceClient;
use pannier_proto::records::v1 as records;
use pannier_proto::records::v1::records_service_client::RecordsServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::harness::{Pannier, assert_status, pannier, pannier_with};

const MIB: usize = 1024 * 1024;

/// Rows that do not fit into one answer of 4 MiB.
const ROWS: usize = 9;

/// Text that compression leaves large.
fn noise(bytes: usize, seed: usize) -> String {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

fn allowing<T>(message: T, bytes: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(METADATA, bytes.parse().unwrap());
    request
}

async fn stock(pannier: &Pannier) -> Channel {
    pannier.another_connection().await
}

async fn put(client: &mut CacheServiceClient<Channel>, key: &str, bytes: usize) {
    let content = Some(cache::put_item::Content::Value(noise(bytes, key.len()).into_bytes().into()));
    let item = Some(cache::PutItem { key: key.into(), content, ..Default::default() });
    client.put(cache::PutRequest { namespace: "n".into(), item, ..Default::default() }).await.unwrap();
}

#[tokio::test]
async fn a_row_above_4_mib_is_refused_by_name_and_sent_to_those_who_allow_it() {
    let pannier = pannier().await;
    let mut client = CacheServiceClient::new(stock(&pannier).await);
    put(&mut client, "large", 5 * MIB).await;
    let get = cache::GetRequest { namespace: "n".into(), key: "large".into(), ..Default::default() };
    let batch =
        cache::BatchGetRequest { namespace: "n".into(), keys: vec!["large".into()], ..Default::default() };
    let list = cache::ListRequest { namespace: "n".into(), include_values: true, ..Default::default() };
    let refused = [
        client.get(get.clone()).await.unwrap_err(),
        client.batch_get(batch).await.unwrap_err(),
        client.list(list).await.unwrap_err(),
    ];
    for status in refused {
        assert_status(&status, Code::ResourceExhausted, ErrorReason::AnswerTooLarge);
        assert!(status.message().contains("large") && status.message().contains(METADATA), "{status:?}");
        let metadata = status.get_error_details().error_info().unwrap().metadata.clone();
        assert_eq!(metadata["key"], "large");
        assert_eq!(metadata["metadata"], METADATA);
        assert!(metadata["bytes"].parse::<usize>().unwrap() >= 5 * MIB);
        assert_eq!(metadata["bytes_max"], (4 * MIB).to_string());
    }
    let mut client = client.max_decoding_message_size(8 * MIB);
    let answer = client.get(allowing(get, "8388608")).await.unwrap().into_inner();
    assert!(answer.entry.is_some());
}

#[tokio::test]
async fn the_callers_limit_is_a_number_within_the_settings() {
    let pannier = pannier_with(|settings| {
        settings.server.message_bytes_max = 9 * MIB as u64;
        settings.transaction.bytes_max = 9 * MIB as u64;
    })
    .await;
    let mut client = CacheServiceClient::new(stock(&pannier).await).max_decoding_message_size(usize::MAX);
    put(&mut client, "k", 10).await;
    let get = cache::GetRequest { namespace: "n".into(), key: "k".into(), ..Default::default() };
    for wrong in ["", "many", "-1", "0", "4095", "4194304 "] {
        let status = client.get(allowing(get.clone(), wrong)).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, ErrorReason::InvalidArgument);
        assert!(status.message().contains(METADATA), "{status:?}");
    }
    for right in ["4096", "4294967295", "99999999999999999999999999"] {
        client.get(allowing(get.clone(), right)).await.unwrap();
    }
}

#[tokio::test]
async fn batches_of_values_end_below_4_mib() {
    let pannier = pannier().await;
    let mut client = CacheServiceClient::new(stock(&pannier).await);
    let keys: Vec<String> = (0..ROWS).map(|index| "k".repeat(index + 1)).collect();
    for key in &keys {
        put(&mut client, key, MIB).await;
    }
    let mut left = keys;
    while !left.is_empty() {
        let request =
            cache::BatchGetRequest { namespace: "n".into(), keys: left.clone(), ..Default::default() };
        let results = client.batch_get(request).await.unwrap().into_inner().results;
        let count = left.len();
        left = results.into_iter().filter(|result| result.deferred).map(|result| result.key).collect();
        assert!(left.len() < count, "a call brings at least one");
    }
}

async fn document(client: &mut RecordsServiceClient<Channel>, index: usize) {
    let document_json = format!(r#"{{"n":{index},"text":"{}"}}"#, noise(900_000, index));
    let item = Some(records::PutItem { key: format!("k{index}"), document_json, ..Default::default() });
    let request = records::PutRequest { collection: "c".into(), item, ..Default::default() };
    client.put(request).await.unwrap();
}

#[tokio::test]
async fn pages_batches_and_changes_of_records_end_below_4_mib() {
    let pannier = pannier_with(|settings| settings.records.document_bytes_max = MIB as u64).await;
    let mut client = RecordsServiceClient::new(stock(&pannier).await);
    let create = records::CreateCollectionRequest { name: "c".into(), ..Default::default() };
    client.create_collection(create).await.unwrap();
    for index in 0..ROWS {
        document(&mut client, index).await;
    }
    let collection = || "c".to_owned();
    let (mut listed, mut page_token) = (0, String::new());
    loop {
        let request = records::ListRequest { collection: collection(), page_token, ..Default::default() };
        let page = client.list(request).await.unwrap().into_inner();
        listed += page.records.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ROWS);
    let keys = (0..ROWS).map(|index| format!("k{index}")).collect();
    let batch = records::BatchGetRequest { collection: collection(), keys };
    let batch = client.batch_get(batch).await.unwrap().into_inner();
    assert!(!batch.results.is_empty() && batch.left_off_count > 0);
    let query = records::QueryRequest { collection: collection(), ..Default::default() };
    let found = client.query(query).await.unwrap().into_inner();
    assert!(!found.records.is_empty() && !found.next_page_token.is_empty());
    let (mut changed, mut cursor) = (0, String::new());
    loop {
        let request = records::ChangesRequest { collection: collection(), cursor, ..Default::default() };
        let page = client.changes(request).await.unwrap().into_inner();
        changed += page.changes.len();
        cursor = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(changed, ROWS);
    let watch = records::WatchRequest { collection: collection(), ..Default::default() };
    let mut messages = client.watch(watch).await.unwrap().into_inner();
    let mut watched = 0;
    while watched < ROWS {
        watched += messages.message().await.unwrap().unwrap().changes.len();
    }
}

#[tokio::test]
async fn pages_and_exports_of_prompts_end_below_4_mib() {
    let pannier = pannier_with(|settings| {
        settings.prompts.body_bytes_max = 2 * MIB as u64;
        settings.prompts.text_bytes_max = 2 * MIB as u64;
    })
    .await;
    let mut client = PromptsServiceClient::new(stock(&pannier).await);
    let mut prompt_ids = Vec::new();
    for index in 0..ROWS {
        let (idea, improved_prompt) = ("common idea".to_owned(), noise(MIB, index));
        let body = Some(prompts::PromptBody { idea, improved_prompt, ..Default::default() });
        let prompt = Some(prompts::NewPrompt { body, backend: "b".into(), ..Default::default() });
        let request = prompts::SaveRequest { prompt, ..Default::default() };
        prompt_ids.push(client.save(request).await.unwrap().into_inner().prompt_id);
    }
    let (mut listed, mut page_token) = (0, String::new());
    loop {
        let request = prompts::ListRequest { with_bodies: true, page_token, ..Default::default() };
        let page = client.list(request).await.unwrap().into_inner();
        listed += page.prompts.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ROWS);
    let batch = prompts::BatchGetRequest { prompt_ids, ..Default::default() };
    let batch = client.batch_get(batch).await.unwrap().into_inner();
    assert_eq!(batch.prompts.len() + batch.remaining_prompt_ids.len(), ROWS);
    assert!(!batch.prompts.is_empty());
    let mut messages = client.export(prompts::ExportRequest::default()).await.unwrap().into_inner();
    let mut exported = 0;
    while let Some(message) = messages.message().await.unwrap() {
        exported += message.prompts.len();
    }
    assert_eq!(exported, ROWS);
}

#[tokio::test]
async fn claims_and_lists_of_tasks_end_below_4_mib_and_a_task_above_the_limit_stays_queued() {
    let pannier = pannier_with(|settings| settings.queue.parameters_bytes_max = MIB as u64).await;
    let mut client = QueueServiceClient::new(stock(&pannier).await);
    for index in 0..ROWS {
        let parameters_json = format!("\"{}\"", noise(1_000_000, index));
        let item = queue::EnqueueItem { r#type: "t".into(), parameters_json, ..Default::default() };
        let request = queue::EnqueueRequest { item: Some(item), ..Default::default() };
        client.enqueue(request).await.unwrap();
    }
    let claiming = queue::Claiming { max_tasks: 100, ..Default::default() };
    let claim = || queue::ClaimRequest { claiming: Some(claiming.clone()), ..Default::default() };
    let status = client.claim(allowing(claim(), "65536")).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::AnswerTooLarge);
    let mut claimed = 0;
    while claimed < ROWS {
        let tasks = client.claim(claim()).await.unwrap().into_inner().tasks.len();
        assert!(tasks > 0, "the refused claim took none: {claimed} of {ROWS}");
        claimed += tasks;
    }
    let list = client.list(queue::ListRequest::default()).await.unwrap().into_inner();
    assert!(!list.tasks.is_empty() && !list.next_page_token.is_empty());
}

#[tokio::test]
async fn pages_of_results_end_below_4_mib() {
    let pannier = pannier_with(|settings| settings.jobs.result_data_bytes_max = MIB as u64).await;
    let mut client = JobsServiceClient::new(stock(&pannier).await);
    let create = jobs::CreateRequest { r#type: "t".into(), ..Default::default() };
    let job_id = client.create(create).await.unwrap().into_inner().job.unwrap().id;
    let status = jobs::JobStatus::Processing.into();
    let request = jobs::UpdateStatusRequest { job_id: job_id.clone(), status, ..Default::default() };
    client.update_status(request).await.unwrap();
    for index in 0..ROWS {
        let (item_key, data_json) =
            (format!("k{index}"), format!(r#"{{"a":"{}"}}"#, noise(1_000_000, index)));
        let results =
            vec![jobs::NewResult { item_key, data_json, success: Some(true), ..Default::default() }];
        let request = jobs::AddResultsRequest { job_id: job_id.clone(), results, ..Default::default() };
        client.add_results(request).await.unwrap();
    }
    let (mut listed, mut page_token) = (0, String::new());
    loop {
        let request = jobs::ListResultsRequest { job_id: job_id.clone(), page_token, ..Default::default() };
        let page = client.list_results(request).await.unwrap().into_inner();
        listed += page.results.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ROWS);
}

/// grpcio and grpc-js refuse a list of headers above 8 KiB, and the caller loses the error.
#[tokio::test]
async fn errors_fit_into_8_kib_of_metadata_however_much_is_wrong() {
    let pannier = pannier().await;
    let url = format!("http://{}", pannier.address());
    let endpoint = Channel::from_shared(url).unwrap().http2_max_header_list_size(8 * 1024);
    let mut client = CacheServiceClient::new(endpoint.connect().await.unwrap());
    put(&mut client, "k", 1).await;
    for _ in 0..200 {
        let items = vec![cache::DeleteItem::default(); 100];
        let request =
            cache::DeleteRequest { namespace: "n".into(), items, atomic: true, ..Default::default() };
        let status = client.delete(request).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, ErrorReason::InvalidArgument);
        assert!(status.message().len() + status.details().len() * 4 / 3 <= 4 * 1024, "{status:?}");
    }
    let update_mask = prost_types::FieldMask { paths: vec!["ü".repeat(10_000)] };
    let request = cache::UpdateNamespaceRequest {
        namespace: Some(cache::Namespace { name: "n".into(), ..Default::default() }),
        update_mask: Some(update_mask),
        ..Default::default()
    };
    let status = client.update_namespace(request).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::InvalidArgument);
}
