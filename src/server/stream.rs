//! Answers that are streams: ended at the stop and at their caller's deadline, counted, measured when they are over.
//!
//! They take no permit of `server.calls_max`, which would be gone for as long as somebody watches; each service bounds its own.
//! At the stop they are ended at once, and not waited for: who watches has nothing to lose.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::{Code, Status};

use super::metrics::{Method, Metrics};
use crate::error::Error;
use crate::status;

/// The streams that run.
pub(super) struct Streams {
    /// They are to end.
    closed: watch::Sender<bool>,
    running: watch::Sender<u64>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { closed: watch::Sender::new(false), running: watch::Sender::new(0) }
    }

    /// Streams that run.
    pub(super) fn running(&self) -> u64 {
        *self.running.borrow()
    }

    /// Ends all of them with SHUTTING_DOWN, and those that begin later.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until none runs.
    pub(super) async fn ended(&self) {
        // The sender is here: it is not dropped meanwhile.
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }

    /// Sees to a stream from its first message on. `until` is its caller's deadline.
    pub(super) fn see_to(
        self: &Arc<Self>,
        response: Response<Body>,
        until: Option<Instant>,
        measured: Measured,
    ) -> Response<Body> {
        self.running.send_modify(|running| *running += 1);
        let streams = self.clone();
        let cut = cut(self.closed.subscribe(), until);
        response.map(|inner| Body::new(Stream { inner, cut: Box::pin(cut), code: None, streams, measured }))
    }
}

/// Comes when a stream is to end before its time; tells how.
async fn cut(mut closed: watch::Receiver<bool>, until: Option<Instant>) -> Status {
    let deadline = async {
        match until {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        _ = closed.wait_for(|closed| *closed) => status::of(Error::ShuttingDown),
        () = deadline => status::of(Error::DeadlineExceeded),
    }
}

/// What is measured of a stream when it is over.
pub(super) struct Measured {
    pub(super) metrics: Arc<Metrics>,
    pub(super) method: Method,
    pub(super) started: Instant,
}

impl Measured {
    /// Records the call as ended.
    pub(super) fn ended(&self, code: Code) {
        self.metrics.call_ended(&self.method, code, self.started.elapsed());
    }
}

struct Stream {
    inner: Body,
    cut: Pin<Box<dyn Future<Output = Status> + Send>>,
    /// How it has ended; none: it goes on.
    code: Option<Code>,
    streams: Arc<Streams>,
    measured: Measured,
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.code.is_some() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(status) = self.cut.as_mut().poll(context) {
            self.code = Some(status.code());
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(status)))));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                let status = frame.trailers_ref().and_then(Status::from_header_map);
                self.code = status.map(|status| status.code());
            }
            Some(Err(status)) => self.code = Some(status.code()),
            None => self.code = Some(Code::Unknown),
        }
        Poll::Ready(frame)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.running.send_modify(|running| *running -= 1);
        // A caller that left cut it off.
        let code = self.code.unwrap_or(Code::Cancelled);
        self.measured.ended(code);
    }
}

pub(super) fn trailers(status: Status) -> HeaderMap {
    let (mut parts, ()) = status.into_http::<()>().into_parts();
    parts.headers.remove(CONTENT_TYPE);
    parts.headers
}
