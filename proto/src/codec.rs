//! The protobuf codec of the generated services: prost's, except that bytes which are no message are the caller's fault.
//!
//! tonic answers INTERNAL when a message does not decode; that reads as a fault of the server's and is retried as one.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{
    BufferSettings, Codec as TonicCodec, DecodeBuf, Decoder as TonicDecoder, EncodeBuf,
    Encoder as TonicEncoder,
};
use tonic::{Code, Status};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// What a message that does not decode is answered with; the sidecar adds error details to it.
pub const MALFORMED: &str = "the bytes are not the protobuf message that this method takes";

/// The status message for a message above the limit; the sidecar replaces it.
pub const TOO_LARGE: &str = "message too large: ";

tokio::task_local! {
    /// The largest message that may be encoded, in bytes; unset, as in clients: any.
    pub static ENCODED_BYTES_MAX: usize;
}

/// Encodes `T`, decodes `U`.
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> TonicCodec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Encoder<T>;
    type Decoder = Decoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        Encoder(ProstEncoder::new(BufferSettings::default()))
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decoder(ProstDecoder::new(BufferSettings::default()))
    }
}

/// Encodes `T`, unless it is larger than [`ENCODED_BYTES_MAX`].
pub struct Encoder<T>(ProstEncoder<T>);

impl<T: Message> TonicEncoder for Encoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        if let Ok(bytes_max) = ENCODED_BYTES_MAX.try_with(|bytes_max| *bytes_max) {
            let bytes = message.encoded_len();
            if bytes > bytes_max {
                return Err(Status::out_of_range(format!("{TOO_LARGE}{bytes}")));
            }
        }
        self.0.encode(message, buffer)
    }
}

/// Decodes `U`; see the module.
pub struct Decoder<U>(ProstDecoder<U>);

impl<U: Message + Default> TonicDecoder for Decoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        self.0.decode(buffer).map_err(|status| match status.code() {
            Code::Internal => Status::invalid_argument(MALFORMED),
            _ => status,
        })
    }
}
