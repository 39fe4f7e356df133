//! Calls that are wrong on the wire: they are the caller's fault, are told so, and cost the connection nothing.

use bytes::{Buf as _, BufMut as _, Bytes};
use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::calls::{Cache, Fault, cache, channel, endless, put};
use crate::load::NAMESPACE;
use crate::sidecar::{Launch, Place, Sidecar};
use crate::turn;

/// Sends bytes as they are.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Calls a method with any bytes for a message.
async fn call_raw(
    channel: &Channel,
    path: &'static str,
    message: Vec<u8>,
) -> Result<Response<Bytes>, Status> {
    let mut grpc = Grpc::new(channel.clone()).max_encoding_message_size(usize::MAX);
    grpc.ready().await.expect("the channel is up");
    grpc.unary(Request::new(Bytes::from(message)), path.parse().expect("a path"), Raw).await
}

async fn served(launch: Launch) -> (Sidecar, Channel, Cache) {
    let sidecar = launch.start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    let channel = channel(&sidecar).await;
    (sidecar, channel, client)
}

/// Good calls still work on this connection, and nothing panicked.
async fn goes_on(sidecar: &Sidecar, client: &mut Cache) {
    client.put(put(NAMESPACE, "after", 1, Durability::Full)).await.expect("a put afterwards");
    assert!(!sidecar.log().contains("panicked"), "{}", sidecar.log());
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_fault() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let (sidecar, channel, _) = served(Launch::new(&place)).await;
    // A length beyond the end; a wire type that does not exist; a number where a text belongs; a text that is not UTF-8; a
    // varint that never ends.
    let garbage: [&[u8]; 5] = [&[10, 200, 1], &[15], &[8, 1], &[10, 2, 0xff, 0xfe], &[0x80; 12]];
    for bytes in garbage {
        for path in ["/pannier.cache.v1.CacheService/Put", "/pannier.cache.v1.CacheService/GetOrLease"] {
            let status = call_raw(&channel, path, bytes.to_vec()).await.expect_err("garbage is refused");
            Fault::expect(&status, Code::InvalidArgument, "MALFORMED_REQUEST");
        }
    }
    goes_on(&sidecar, &mut crate::calls::client(channel)).await;
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let (sidecar, channel, _) = served(Launch::new(&place)).await;
    for path in ["/pannier.cache.v1.CacheService/Sing", "/pannier.nothing.v1.NothingService/Get"] {
        let status = call_raw(&channel, path, Vec::new()).await.expect_err("there is no such method");
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    }
    goes_on(&sidecar, &mut crate::calls::client(channel)).await;
}

#[tokio::test]
async fn a_bad_timeout_header_is_refused() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let (sidecar, _, mut client) = served(Launch::new(&place)).await;
    for wrong in ["soon", "5", "5x", "-1S", "123456789S", "1.5S", "S", "5 S", "+5S", "0x5S"] {
        let mut request = Request::new(pb::GetRequest {
            namespace: NAMESPACE.into(),
            key: "k".into(),
            ..Default::default()
        });
        let value = wrong.parse().expect("header text");
        request.metadata_mut().insert("grpc-timeout", value);
        let status =
            client.get(request).await.map(|answer| panic!("{wrong:?} was taken: {answer:?}")).unwrap_err();
        let fault = Fault::expect(&status, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert!(fault.message.contains("grpc-timeout"), "{fault:?}");
    }
    for right in ["5S", "99999999H", "20000m", "20000000u", "1M"] {
        let mut request = Request::new(pb::GetRequest {
            namespace: NAMESPACE.into(),
            key: "k".into(),
            ..Default::default()
        });
        request.metadata_mut().insert("grpc-timeout", right.parse().expect("header text"));
        client.get(request).await.unwrap_or_else(|status| panic!("{right:?} was refused: {status:?}"));
    }
    goes_on(&sidecar, &mut client).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_names_the_limit() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let launch = Launch::new(&place)
        .set("cache.value_bytes_max", 100_000)
        .set("server.response_bytes_max", 100_000)
        .set("settings.value_bytes_max", 10_000)
        .set("records.document_bytes_max", 100_000)
        .set("server.message_bytes_max", 2_000_000);
    let (sidecar, channel, mut client) = served(launch).await;
    let large = pb::PutItem {
        key: "large".into(),
        content: Some(pb::put_item::Content::Value(vec![7; 3_000_000].into())),
        ..Default::default()
    };
    let request = pb::PutRequest { namespace: NAMESPACE.into(), item: Some(large), ..Default::default() };
    let status = client.put(request).await.expect_err("it is too large");
    let fault = Fault::expect(&status, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    assert!(fault.message.contains("server.message_bytes_max"), "{fault:?}");
    goes_on(&sidecar, &mut client).await;

    // Much more than fits into a window: the refusal must come although the rest is never read.
    let path = "/pannier.cache.v1.CacheService/BatchPut";
    let status = call_raw(&channel, path, vec![0; 40 << 20]).await.expect_err("it is too large");
    Fault::expect(&status, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    goes_on(&sidecar, &mut crate::calls::client(channel)).await;
}

#[tokio::test]
async fn wrong_fields_are_told_all_at_once() {
    use tonic_types::StatusExt as _;
    let _turn = turn::shared().await;
    let place = Place::new();
    let (sidecar, _, mut client) = served(Launch::new(&place)).await;
    let wrong = pb::PutItem {
        expiry: Some(pb::put_item::Expiry::Ttl(prost_types::Duration { seconds: -1, nanos: 0 })),
        metadata_json: "{".into(),
        ..Default::default()
    };
    let request = pb::PutRequest { namespace: "No Name".into(), item: Some(wrong), ..Default::default() };
    let status = client.put(request).await.expect_err("all of it is wrong");
    Fault::expect(&status, Code::InvalidArgument, "INVALID_ARGUMENT");
    let violations = status.get_details_bad_request().expect("a BadRequest").field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    for field in ["namespace", "item.key", "item.ttl", "item.metadata_json"] {
        assert!(fields.contains(&field), "{field} is not told: {fields:?}");
    }
    goes_on(&sidecar, &mut client).await;
}
