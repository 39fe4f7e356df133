//! How the messages of a call end: because the caller says so, or because its stream was reset. tonic reports a reset as the end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::body::Body;
use tonic::{Extensions, Status};

/// How the messages of a request ended.
#[derive(Clone, Debug, Default)]
pub struct RequestEnd(Arc<AtomicBool>);

impl RequestEnd {
    /// The end of a request that went through [`watch`].
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Whether the caller has reset its stream, or the connection broke.
    pub fn is_broken(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Puts a [`RequestEnd`] into the request's extensions, and keeps it.
pub fn watch(mut request: Request<Body>) -> Request<Body> {
    let end = RequestEnd::default();
    request.extensions_mut().insert(end.clone());
    request.map(|inner| Body::new(Watched { inner, end }))
}

struct Watched {
    inner: Body,
    end: RequestEnd,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if matches!(frame, Some(Err(_))) {
            self.end.0.store(true, Ordering::SeqCst);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
