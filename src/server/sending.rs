//! The body of an answer: made within the caller's limit, counted among the bytes in flight until it is sent.
//!
//! HTTP/2 takes pieces as its peer opens windows. A piece that was handed over counts until the next one is asked for.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use pannier_proto::codec::TOO_LARGE;
use tonic::body::Body;
use tonic::{Code, Status};

use super::connections::Connection;
use super::gate::{Gate, Permit};
use super::reading::InFlight;
use super::share::Taken;
use super::stream::trailers;
use crate::answer;
use crate::error::Error;
use crate::status;

/// The largest piece that HTTP/2 holds of an answer.
const PIECE_BYTES: usize = 64 * 1024;

/// Answers up to this size are always sent: the limit on calls bounds them.
const ALWAYS_SENT_BYTES: u64 = 16 * 1024;

/// The next frame of a body, made under the caller's limit on answers.
fn poll_limited(
    body: &mut Body,
    bytes_max: usize,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
    let polled = answer::sync_scope(bytes_max, || Pin::new(body).poll_frame(context));
    polled.map(|frame| frame.map(|frame| frame.map(|frame| reworded(frame, bytes_max))))
}

/// The status of a message that the encoder refused, in Pannier's words.
fn reworded(frame: Frame<Bytes>, bytes_max: usize) -> Frame<Bytes> {
    let status = frame.trailers_ref().and_then(Status::from_header_map);
    let bytes = status.as_ref().and_then(|status| status.message().strip_prefix(TOO_LARGE));
    match bytes.and_then(|bytes| bytes.parse().ok()) {
        Some(bytes) => {
            Frame::trailers(trailers(status::of(Error::answer_too_large(String::new(), bytes, bytes_max))))
        }
        None => frame,
    }
}

/// A whole answer.
#[derive(Default)]
pub(super) struct Whole {
    data: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Whole {
    /// Makes the answer of a call that is no stream.
    pub(super) async fn of(mut body: Body, bytes_max: usize) -> Result<Self, Status> {
        let mut whole = Self::default();
        while let Some(frame) = poll_fn(|context| poll_limited(&mut body, bytes_max, context)).await {
            match frame?.into_data() {
                Ok(data) => whole.data.push_back(data),
                Err(frame) => whole.trailers = frame.into_trailers().ok(),
            }
        }
        Ok(whole)
    }

    /// Its size.
    pub(super) fn bytes(&self) -> u64 {
        self.data.iter().map(|data| data.len() as u64).sum()
    }

    /// How the call has ended, if the trailers say it.
    pub(super) fn code(&self) -> Option<Code> {
        let status = self.trailers.as_ref().and_then(Status::from_header_map);
        status.map(|status| status.code())
    }
}

/// Takes the bytes of an answer. Error: the connection or the sidecar has too many in flight, and none became free in time.
pub(super) async fn take(
    gate: &Gate,
    connection: &Arc<Connection>,
    bytes: u64,
    until: Instant,
) -> Result<Taken, Status> {
    if bytes <= ALWAYS_SENT_BYTES {
        return Ok(gate.bytes.take_anyway(&connection.bytes, bytes));
    }
    if let Some(taken) = gate.bytes.take(&connection.bytes, bytes) {
        return Ok(taken);
    }
    let overloaded = || status::of(Error::Overloaded { setting: "server.bytes_in_flight_max" });
    let _waiting = gate.waiting_bytes.take(&connection.waiting_bytes, bytes).ok_or_else(overloaded)?;
    gate.bytes.take_by(&connection.bytes, bytes, until).await.ok_or_else(overloaded)
}

/// An answer on its way.
pub(super) struct Sending {
    whole: Whole,
    _taken: Taken,
    _request: InFlight,
    _permit: Arc<Permit>,
}

impl Sending {
    pub(super) fn new(whole: Whole, taken: Taken, request: InFlight, permit: Arc<Permit>) -> Self {
        Self { whole, _taken: taken, _request: request, _permit: permit }
    }
}

/// The next piece of data that waits to be sent.
fn piece(data: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let mut first = data.pop_front()?;
    if first.len() > PIECE_BYTES {
        let piece = first.split_to(PIECE_BYTES);
        data.push_front(first);
        return Some(piece);
    }
    Some(first)
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let whole = &mut self.whole;
        let data = piece(&mut whole.data).map(Frame::data);
        Poll::Ready(data.or_else(|| whole.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.whole.data.is_empty() && self.whole.trailers.is_none()
    }
}

/// A stream of answers on its way.
pub(super) struct SendingStream {
    inner: Body,
    bytes_max: usize,
    data: VecDeque<Bytes>,
    taken: Taken,
    is_over: bool,
}

impl SendingStream {
    pub(super) fn new(inner: Body, bytes_max: usize, taken: Taken) -> Self {
        Self { inner, bytes_max, data: VecDeque::new(), taken, is_over: false }
    }
}

impl HttpBody for SendingStream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some(piece) = piece(&mut this.data) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if this.is_over {
            return Poll::Ready(None);
        }
        let sent = this.taken.amount();
        if sent > 0 {
            this.taken.shrink(sent);
        }
        let frame = match ready!(poll_limited(&mut this.inner, this.bytes_max, context)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return Poll::Ready(Some(Ok(frame))),
        };
        let bytes = data.len() as u64;
        if bytes > ALWAYS_SENT_BYTES && !this.taken.grow(bytes) {
            this.is_over = true;
            let status = status::of(Error::Overloaded { setting: "server.bytes_in_flight_max" });
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(status)))));
        }
        this.data.push_back(data);
        Poll::Ready(piece(&mut this.data).map(|piece| Ok(Frame::data(piece))))
    }
}
