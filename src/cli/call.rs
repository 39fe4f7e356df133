//! `pannier call`: any method, JSON in and out, a stream message by message, errors with their details in clear.

use bytes::{Buf as _, BufMut as _};
use clap::Args;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::answer;

use super::target::Target;
use super::{Failure, error, print, progress, request, runtime};

#[derive(Debug, Args)]
pub(super) struct Call {
    /// The method: pannier.cache.v1.CacheService/Get, CacheService/Get, cache.Get, or health.
    method: String,
    /// The request as protobuf JSON, a file of it, or - for stdin. Durations may be such as 1h or 30d.
    #[arg(default_value = "{}")]
    request: String,
    #[command(flatten)]
    target: Target,
}

impl Call {
    pub(super) fn run(self) -> Result<(), Failure> {
        let method = request::method(&self.method)?;
        let request = request::request(&method.input(), &self.request)?;
        runtime()?.block_on(async {
            let channel = self.target.connect().await?;
            let status = match call(channel, &method, request).await {
                Ok(mut answers) => loop {
                    match answers.message().await {
                        Ok(Some(message)) => print(&json(&message)?)?,
                        Ok(None) => return Ok(()),
                        Err(status) => break status,
                    }
                },
                Err(status) => status,
            };
            if let Some(hint) = self.target.hint(&status).await {
                return Err(Failure::Message(hint));
            }
            explain(&status);
            Err(Failure::Silent)
        })
    }
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
