//! The body of a request: counted as it arrives, and read within a time.
//!
//! A gRPC message begins with five bytes: a flag and its length. Example: `00 00 00 10 00`, then 4,096 bytes. The length is
//! taken from the bytes in flight before the message is read, so that no two messages wait for each other's second half.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use pannier_proto::errors::v1::ErrorReason;
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{Code, Status};

use super::connections::Connection;
use super::gate::Gate;
use super::share::Taken;
use crate::clock;
use crate::error::Error;
use crate::status;

/// The flag and the length before each message.
const PREFIX_BYTES: usize = 5;

/// Messages up to this size are not counted: the limit on calls bounds them.
const UNCOUNTED_BYTES: u64 = 1_024;

/// The largest message of a call that takes no place among the calls, such as those of grpc.health.
pub(super) const PROBE_BYTES_MAX: u64 = 16 * 1024;

/// The bytes that a request has in flight, until the call has ended.
pub(super) type InFlight = Arc<Mutex<Taken>>;

/// Bytes that become free, or do not in time.
type Taking = Pin<Box<dyn Future<Output = Option<Taken>> + Send>>;

/// How a request may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One message.
    Single,
    /// A stream of messages; between two of them it may pause.
    Stream,
    /// One small message, which is not counted.
    Probe,
}

/// A request on its way.
pub(super) struct Reading {
    inner: Body,
    gate: Gate,
    connection: Arc<Connection>,
    in_flight: InFlight,
    kind: Kind,
    read_max: Duration,
    /// By then the present message has arrived.
    until: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// What has arrived of the present message's prefix.
    prefix: Vec<u8>,
    /// What is missing of the present message.
    missing: u64,
    has_message: bool,
    /// Bytes that are waited for, and the frame that waits for them.
    waiting: Option<(Taking, Bytes)>,
}

impl Reading {
    pub(super) fn new(inner: Body, gate: &Gate, connection: &Arc<Connection>, kind: Kind) -> Self {
        let read_max = Duration::from_millis(gate.settings.request_read_ms_max);
        Self {
            inner,
            gate: gate.clone(),
            connection: connection.clone(),
            in_flight: Arc::new(Mutex::new(gate.bytes.take_anyway(&connection.bytes, 0))),
            kind,
            read_max,
            until: clock::instant() + read_max,
            timer: None,
            prefix: Vec::with_capacity(PREFIX_BYTES),
            missing: 0,
            has_message: false,
            waiting: None,
        }
    }

    /// The bytes that the request has in flight.
    pub(super) fn in_flight(&self) -> InFlight {
        self.in_flight.clone()
    }

    /// Follows the messages through a frame; the bytes to take for those that begin in it.
    fn follow(&mut self, mut frame: &[u8]) -> u64 {
        let mut begun = 0;
        while !frame.is_empty() {
            if self.missing == 0 {
                let (piece, rest) = frame.split_at(frame.len().min(PREFIX_BYTES - self.prefix.len()));
                if self.prefix.is_empty() && self.has_message {
                    self.until = clock::instant() + self.read_max;
                    self.timer = None;
                }
                self.prefix.extend_from_slice(piece);
                frame = rest;
                if let [_, a, b, c, d] = self.prefix[..] {
                    self.prefix.clear();
                    self.has_message = true;
                    self.missing = u64::from(u32::from_be_bytes([a, b, c, d]));
                    begun = self.missing;
                }
                continue;
            }
            let taken = frame.len().min(usize::try_from(self.missing).unwrap_or(usize::MAX));
            self.missing -= taken as u64;
            frame = &frame[taken..];
        }
        begun
    }

    /// Whether the present message must go on arriving.
    fn is_timed(&self) -> bool {
        let is_between = self.has_message && self.missing == 0 && self.prefix.is_empty();
        self.kind != Kind::Stream || !is_between
    }

    /// Takes the bytes of a message before it is read; none: they are waited for.
    fn count(&mut self, frame: Bytes) -> Result<Option<Bytes>, Status> {
        let bytes = self.follow(&frame);
        if self.kind == Kind::Probe {
            return if bytes > PROBE_BYTES_MAX { Err(too_large(PROBE_BYTES_MAX)) } else { Ok(Some(frame)) };
        }
        // A message above the limit is refused by its length before it is read.
        if bytes <= UNCOUNTED_BYTES || bytes > self.gate.settings.message_bytes_max {
            return Ok(Some(frame));
        }
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if self.kind == Kind::Stream {
            // The message before was taken over by its reader.
            let before = in_flight.amount();
            in_flight.shrink(before);
        }
        if in_flight.grow(bytes) {
            return Ok(Some(frame));
        }
        let (share, part, until) = (self.gate.bytes.clone(), self.connection.bytes.clone(), self.until);
        let taking = async move { share.take_by(&part, bytes, until).await };
        self.waiting = Some((Box::pin(taking), frame));
        Ok(None)
    }

    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some((taking, _)) = &mut self.waiting else { return Poll::Ready(None) };
        let taken = ready!(taking.as_mut().poll(context));
        let frame = self.waiting.take().map(|(_, frame)| frame).unwrap_or_default();
        Poll::Ready(Some(match taken {
            Some(taken) => {
                *self.in_flight.lock().unwrap_or_else(PoisonError::into_inner) = taken;
                Ok(Frame::data(frame))
            }
            None => Err(status::of(Error::Overloaded { setting: "server.bytes_in_flight_max" })),
        }))
    }

    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if !self.is_timed() {
            return Poll::Pending;
        }
        let until = self.until;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        timer.as_mut().poll(context).map(|()| {
            let ms = self.read_max.as_millis();
            let message = format!("the request did not arrive within {ms} ms (server.request_read_ms_max)");
            status::transport(Code::DeadlineExceeded, ErrorReason::RequestIncomplete, message)
        })
    }
}

fn too_large(bytes_max: u64) -> Status {
    let message = format!("the message is larger than {bytes_max} bytes");
    status::transport(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message)
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.waiting.is_some() {
            return this.poll_waiting(context);
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => match this.count(data) {
                    Ok(Some(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(None) => this.poll_waiting(context),
                    Err(status) => Poll::Ready(Some(Err(status))),
                },
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
            Poll::Ready(other) => Poll::Ready(other),
            Poll::Pending => this.poll_timer(context).map(|status| Some(Err(status))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ServerSettings;

    fn reading(kind: Kind) -> Reading {
        Reading::new(Body::empty(), &Gate::new(&ServerSettings::default()), &Arc::default(), kind)
    }

    #[tokio::test]
    async fn messages_are_followed_however_they_are_cut() {
        let mut sent = vec![0, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0];
        sent.extend([7; 4_096]);
        for piece in [1, 2, 4, 5, 6, 11, 5_000] {
            let mut reading = reading(Kind::Stream);
            let mut begun = Vec::new();
            for bytes in sent.chunks(piece) {
                begun.push(reading.follow(bytes));
            }
            assert_eq!(begun.iter().max(), Some(&4_096), "{piece}");
            assert!(!reading.is_timed(), "between two messages a stream may pause: {piece}");
            reading.follow(&[0]);
            assert!(reading.is_timed());
        }
    }
}
