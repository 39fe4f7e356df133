//! `pannier call`: any method, JSON in and out, a stream message by message, errors with their details in clear.

use bytes::{Buf as _, BufMut as _};
use clap::Args;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::answer;

use super::{Failure, error, print, progress, runtime};

#[derive(Debug, Args)]
pub(super) struct Call {
    /// The method, such as pannier.cache.v1.CacheService/Get.
    method: String,
    /// The request as protobuf JSON.
    #[arg(default_value = "{}")]
    request: String,
    #[command(flatten)]
    target: Target,
}

/// A running sidecar.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// Where it listens: an address, or unix:PATH.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7420")]
    address: String,
}

impl Target {
    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let url = match self.address.strip_prefix("unix:") {
            Some(path) => format!("unix://{}", std::path::absolute(path).unwrap_or_default().display()),
            None => format!("http://{}", self.address),
        };
        let endpoint = Endpoint::from_shared(url)
            .map_err(|_| Failure::Message(format!("{:?} is not an address or unix:PATH", self.address)))?;
        endpoint
            .connect()
            .await
            .map_err(|_| Failure::Message(format!("no sidecar answers at {}: is it running?", self.address)))
    }
}

impl Call {
    pub(super) fn run(self) -> Result<(), Failure> {
        let method = find(&self.method)?;
        let request = parse(&method.input(), &self.request)?;
        runtime()?.block_on(async {
            let channel = self.target.connect().await?;
            let status = match call(channel, &method, request).await {
                Ok(mut answers) => loop {
                    match answers.message().await {
                        Ok(Some(message)) => print(&json(&message)?),
                        Ok(None) => return Ok(()),
                        Err(status) => break status,
                    }
                },
                Err(status) => status,
            };
            explain(&status);
            Err(Failure::Silent)
        })
    }
}

fn find(name: &str) -> Result<MethodDescriptor, Failure> {
    let pool = DescriptorPool::decode(pannier_proto::FILE_DESCRIPTOR_SET)
        .map_err(|error| Failure::Message(format!("the descriptors are damaged: {error}")))?;
    let (service, method) = name.trim_start_matches('/').rsplit_once('/').unwrap_or((name, ""));
    let services: Vec<_> = pool.services().collect();
    let found = services.iter().find(|candidate| candidate.full_name() == service);
    let Some(found) = found else {
        let names: Vec<_> = services.iter().map(|service| service.full_name()).collect();
        return Err(Failure::Message(format!("no service {service}; there are: {}", names.join(", "))));
    };
    found.methods().find(|candidate| candidate.name() == method).ok_or_else(|| {
        let names: Vec<_> = found.methods().map(|method| method.name().to_owned()).collect();
        Failure::Message(format!("no method {method:?} in {service}; there are: {}", names.join(", ")))
    })
}

fn parse(descriptor: &MessageDescriptor, text: &str) -> Result<DynamicMessage, Failure> {
    let wrong = |error: serde_json::Error| {
        Failure::Message(format!("the request is no {}: {error}", descriptor.name()))
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(descriptor.clone(), &mut deserializer).map_err(wrong)?;
    deserializer.end().map_err(wrong)?;
    Ok(message)
}

fn json(message: &DynamicMessage) -> Result<String, Failure> {
    let failed = |error: String| Failure::Message(format!("the answer cannot be printed: {error}"));
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::pretty(&mut text);
    message
        .serialize_with_options(&mut serializer, &SerializeOptions::new())
        .map_err(|error| failed(error.to_string()))?;
    String::from_utf8(text).map_err(|error| failed(error.to_string()))
}

/// The answers of a method: one, or those of a stream as they come. On the wire they are alike.
async fn call(
    channel: Channel,
    method: &MethodDescriptor,
    request: DynamicMessage,
) -> Result<Streaming<DynamicMessage>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(usize::MAX);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = path.parse().map_err(|_| Status::internal("the method's name is no path"))?;
    let codec = DynamicCodec(method.output());
    let mut request = Request::new(request);
    // As much as the sidecar allows.
    request.metadata_mut().insert(answer::METADATA, MetadataValue::from_static("4294967295"));
    Ok(grpc.server_streaming(request, path, codec).await?.into_inner())
}

/// An error as a person reads it.
fn explain(status: &Status) {
    error(&format!("{:?}: {}", status.code(), status.message()));
    let details = status.get_error_details();
    if let Some(info) = details.error_info() {
        progress(&format!("  reason: {}", info.reason));
    }
    for violation in details.bad_request().into_iter().flat_map(|bad| &bad.field_violations) {
        progress(&format!("  {}: {}", violation.field, violation.description));
    }
    if let Some(after) = details.retry_info().and_then(|retry| retry.retry_delay) {
        progress(&format!("  try again after {} ms", after.as_millis()));
    }
}

/// Messages by their descriptors.
struct DynamicCodec(MessageDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder(self.0.clone())
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message.encode_to_vec());
        Ok(())
    }
}

struct DynamicDecoder(MessageDescriptor);

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        DynamicMessage::decode(self.0.clone(), bytes)
            .map(Some)
            .map_err(|error| Status::internal(format!("the answer does not decode: {error}")))
    }
}
