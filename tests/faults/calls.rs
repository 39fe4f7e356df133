//! Calling a sidecar: channels, what an error says, and reading back what is stored.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use pb::cache_service_client::CacheServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::ledger::{Findings, Seen, value_of, writer_of};
use crate::sidecar::{LONG, Sidecar};

pub(crate) type Cache = CacheServiceClient<Channel>;

/// A channel to the TCP port.
pub(crate) async fn channel(sidecar: &Sidecar) -> Channel {
    let address = format!("http://{}", sidecar.grpc());
    Endpoint::from_shared(address).expect("an address").connect().await.expect("the sidecar accepts")
}

/// A client on a connection of its own.
pub(crate) async fn cache(sidecar: &Sidecar) -> Cache {
    client(channel(sidecar).await)
}

/// A client on a channel.
pub(crate) fn client(channel: Channel) -> Cache {
    CacheServiceClient::new(channel)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
}

/// A client on a Unix socket.
pub(crate) async fn cache_at(socket: &Path) -> Cache {
    let address = format!("unix://{}", socket.display());
    let endpoint = Endpoint::from_shared(address).expect("a path");
    client(endpoint.connect().await.expect("the sidecar accepts on its socket"))
}

/// What an error of the sidecar's says. Errors of the connection have no such thing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) retry: Option<Duration>,
    pub(crate) message: String,
}

impl Fault {
    /// Of an error that the sidecar answered with.
    pub(crate) fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        assert_eq!(info.domain, "pannier.dev", "{status:?}");
        let retry = status.get_details_retry_info().map(|info| info.retry_delay.unwrap_or_default());
        Some(Self { code: status.code(), reason: info.reason, retry, message: status.message().to_owned() })
    }

    /// That this error has this code and reason, and says how to go on.
    pub(crate) fn expect(status: &Status, code: Code, reason: &str) -> Self {
        let fault = Self::of(status).unwrap_or_else(|| panic!("an error without ErrorInfo: {status:?}"));
        assert_eq!((fault.code, fault.reason.as_str()), (code, reason), "{status:?}");
        assert!(!fault.message.is_empty(), "{status:?}");
        fault
    }
}

/// An entry that stores the value of a ticket.
pub(crate) fn item(key: &str, ticket: u64) -> pb::PutItem {
    pb::PutItem {
        key: key.to_owned(),
        content: Some(pb::put_item::Content::Value(value_of(ticket).into())),
        ..Default::default()
    }
}

/// A put of the value of a ticket.
pub(crate) fn put(namespace: &str, key: &str, ticket: u64, durability: Durability) -> pb::PutRequest {
    pb::PutRequest {
        namespace: namespace.to_owned(),
        item: Some(item(key, ticket)),
        durability: durability.into(),
        request_id: String::new(),
    }
}

/// Makes a namespace without limits, in which nothing goes away by itself.
pub(crate) async fn endless(client: &mut Cache, name: &str) {
    let namespace = pb::Namespace {
        name: name.to_owned(),
        default_expiry: Some(pb::namespace::DefaultExpiry::NeverExpires(true)),
        ..Default::default()
    };
    let request = pb::UpdateNamespaceRequest { namespace: Some(namespace), ..Default::default() };
    client.update_namespace(request).await.expect("a namespace");
}

/// Reads what is stored under these keys.
pub(crate) async fn look(client: &mut Cache, namespace: &str, keys: &[String]) -> Findings {
    let entries = entries(client, namespace, keys).await;
    entries.into_iter().map(|(key, entry)| (key, entry.as_ref().map_or(Seen::Absent, seen))).collect()
}

fn seen(entry: &pb::Entry) -> Seen {
    match &entry.content {
        Some(pb::entry::Content::Value(value)) => writer_of(value),
        other => Seen::Garbled(format!("{other:?}")),
    }
}

/// Reads the entries of these keys.
pub(crate) async fn entries(
    client: &mut Cache,
    namespace: &str,
    keys: &[String],
) -> BTreeMap<String, Option<pb::Entry>> {
    let mut found = BTreeMap::new();
    for part in keys.chunks(2_000) {
        let mut wanted = part.to_vec();
        while !wanted.is_empty() {
            let request = pb::BatchGetRequest {
                namespace: namespace.to_owned(),
                keys: wanted.clone(),
                ..Default::default()
            };
            let answer =
                tokio::time::timeout(LONG, client.batch_get(request)).await.expect("an answer in time");
            let results = match answer {
                Ok(answer) => answer.into_inner().results,
                // A namespace that was not made has no entries.
                Err(status) if status.code() == Code::NotFound => {
                    found.extend(wanted.drain(..).map(|key| (key, None)));
                    break;
                }
                Err(status) => panic!("reading failed: {status:?}"),
            };
            assert_eq!(results.len(), wanted.len());
            assert!(results.iter().any(|result| !result.deferred), "an answer in which all is deferred");
            wanted.clear();
            for result in results {
                if result.deferred {
                    wanted.push(result.key);
                } else {
                    found.insert(result.key, result.entry);
                }
            }
        }
    }
    found
}

/// GET on the HTTP side port: the status line's code and the body.
pub(crate) fn http_get(sidecar: &Sidecar, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(sidecar.http()).expect("the side port accepts");
    stream.set_read_timeout(Some(LONG)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", sidecar.http());
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (code, body)
}

/// The sum over all labels of a metric; nothing if it is not there.
pub(crate) fn metric(sidecar: &Sidecar, name: &str) -> Option<f64> {
    let (code, body) = http_get(sidecar, "/metrics");
    assert_eq!(code, 200);
    sum_of(&body, name)
}

fn sum_of(metrics: &str, name: &str) -> Option<f64> {
    let samples = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()).flatten()?;
        value.parse::<f64>().ok()
    });
    samples.fold(None, |sum, sample| Some(sum.unwrap_or(0.0) + sample))
}

#[test]
fn metrics_are_summed_over_their_labels() {
    let text = "# TYPE a_total counter\na_total{kind=\"x\"} 2\na_total{kind=\"y\"} 3\na_total_more 9\nb 4\n";
    assert_eq!(sum_of(text, "a_total"), Some(5.0));
    assert_eq!(sum_of(text, "b"), Some(4.0));
    assert_eq!(sum_of(text, "c"), None);
}
