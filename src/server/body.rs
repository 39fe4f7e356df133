//! The body of an answer: polled under the call's limit on answers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pannier_proto::codec::TOO_LARGE;
use tonic::Status;
use tonic::body::Body;

use super::stream::trailers;
use crate::answer;
use crate::error::Error;
use crate::status;

/// An answer whose messages are at most `bytes_max` large.
pub(super) struct Limited {
    inner: Body,
    bytes_max: usize,
}

impl Limited {
    pub(super) fn new(inner: Body, bytes_max: usize) -> Self {
        Self { inner, bytes_max }
    }

    /// The status of a message that the encoder refused, in Pannier's words.
    fn reworded(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let status = frame.trailers_ref().and_then(Status::from_header_map);
        let bytes = status.as_ref().and_then(|status| status.message().strip_prefix(TOO_LARGE));
        match bytes.and_then(|bytes| bytes.parse().ok()) {
            Some(bytes) => {
                let error = Error::answer_too_large(String::new(), bytes, self.bytes_max);
                Frame::trailers(trailers(status::of(error)))
            }
            None => frame,
        }
    }
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let inner = Pin::new(&mut this.inner);
        let polled = answer::sync_scope(this.bytes_max, || inner.poll_frame(context));
        polled.map(|frame| frame.map(|frame| frame.map(|frame| this.reworded(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
