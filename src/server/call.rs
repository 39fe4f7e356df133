//! The layer around every call: how many at once, how long each, how large its answer, and what became of it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use pannier_proto::codec::MALFORMED;
use pannier_proto::errors::v1::ErrorReason;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::clients::Client;
use super::connections::Connection;
use super::executor::CallEnd;
use super::gate::{self, Asked, Gate, Permit};
use super::metrics::Metrics;
use super::reading::{InFlight, Kind, Reading};
use super::sending::{self, Sending, SendingStream, Whole};
use super::share::Taken;
use super::stream::Measured;
use crate::answer;
use crate::clock;
use crate::deadline;
use crate::error::Error;
use crate::request_end;
use crate::status;
use crate::waiting;

/// An answer that may take this long after its deadline to be sent: the status of a late call leaves in this time.
const LAST_PIECES: Duration = Duration::from_secs(1);

/// A connection whose answers are usually smaller starts its calls without reserving bytes for them.
const RESERVED_FROM_BYTES: u64 = 256 * 1024;

/// How long a call may wait for bytes that others have in flight.
const BYTES_WAIT: Duration = Duration::from_secs(5);

/// Bytes of a path that are repeated in an error.
const PATH_BYTES_MAX: usize = 256;

/// A call on its way to its answer.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

#[derive(Clone)]
pub(super) struct CallLayer {
    gate: Gate,
    metrics: Arc<Metrics>,
}

impl CallLayer {
    pub(super) fn new(gate: Gate, metrics: Arc<Metrics>) -> Self {
        Self { gate, metrics }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Call<S>;

    fn layer(&self, inner: S) -> Call<S> {
        Call { inner, gate: self.gate.clone(), metrics: self.metrics.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Call<S> {
    inner: S,
    gate: Gate,
    metrics: Arc<Metrics>,
}

/// A call that was let in.
struct Begun {
    gate: Gate,
    connection: Arc<Connection>,
    asked: Asked,
    permit: Arc<Permit>,
    request: InFlight,
    path: String,
    measured: Measured,
}

impl<S> Service<Request<Body>> for Call<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let started = clock::instant();
        let method = self.metrics.method(request.uri().path());
        let measured = Measured { metrics: self.metrics.clone(), method, started };
        let connection = request.extensions().get::<Arc<Connection>>().cloned().unwrap_or_default();
        connection.note_call();
        if let Some(client) = request.extensions().get::<Arc<Client>>() {
            client.called(request.uri().path());
        }
        if let Err(status) = gate::is_grpc(request.headers()) {
            measured.ended(status.code());
            let mut response = status.into_http();
            // As the gRPC specification asks for.
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Box::pin(async move { Ok(response) });
        }
        let asked = match self.gate.asked(request.headers(), started) {
            Ok(asked) => asked,
            Err(status) => return refused(status, measured),
        };
        let path = cut(request.uri().path());
        if is_probe(&path) {
            let request = request.map(|body| self.reading(body, &connection, Kind::Probe).1);
            return Box::pin(probe(asked, path, self.inner.call(request), measured));
        }
        if let Some(end) = request.extensions().get::<CallEnd>() {
            let end_at = if measured.method.is_stream { asked.asked } else { Some(asked.answered) };
            end.set(end_at.and_then(|at| at.checked_add(LAST_PIECES)));
        }
        let permit = match self.gate.admit(&connection) {
            Ok(permit) => permit,
            Err(status) => return refused(status, measured),
        };
        let kind = if measured.method.takes_stream { Kind::Stream } else { Kind::Single };
        let (parts, body) = request.into_parts();
        let (in_flight, body) = self.reading(body, &connection, kind);
        let request = Request::from_parts(parts, body);
        let request = if measured.method.is_stream { request_end::watch(request) } else { request };
        let call = self.inner.call(request);
        let gate = self.gate.clone();
        let begun = Begun { gate, connection, asked, permit, request: in_flight, path, measured };
        Box::pin(async move { Ok(begun.answer(call).await) })
    }
}

impl<S> Call<S> {
    fn reading(&self, body: Body, connection: &Arc<Connection>, kind: Kind) -> (InFlight, Body) {
        let reading = Reading::new(body, &self.gate, connection, kind);
        (reading.in_flight(), Body::new(reading))
    }
}

/// Health and reflection: they take no place among the calls, and are answered whatever else goes on.
fn is_probe(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.Health/") || path.starts_with("/grpc.reflection.")
}

async fn probe<F>(
    asked: Asked,
    path: String,
    call: F,
    measured: Measured,
) -> Result<Response<Body>, Infallible>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let response = match tokio::time::timeout_at(asked.answered.into(), call).await {
        Ok(Ok(response)) => in_our_words(response, &path, 0),
        Err(_) => status::of(Error::DeadlineExceeded).into_http(),
    };
    measured.ended(code(&response).unwrap_or(Code::Ok));
    Ok(response)
}

fn refused(status: Status, measured: Measured) -> Answering {
    measured.ended(status.code());
    Box::pin(async move { Ok(status.into_http()) })
}

impl Begun {
    /// Carries the call out; a stream is seen to until it ends, another answer until it is sent.
    async fn answer<F>(self, call: F) -> Response<Body>
    where
        F: Future<Output = Result<Response<Body>, Infallible>>,
    {
        let response = match self.reserve().await {
            Ok(reserved) => {
                let response = self.run(call).await;
                drop(reserved);
                response
            }
            Err(status) => status.into_http(),
        };
        let bytes_max = self.asked.answer_bytes_max;
        if self.measured.method.is_stream && code(&response).is_none() {
            let taken = self.gate.bytes.take_anyway(&self.connection.bytes, 0);
            let response = response.map(|body| Body::new(SendingStream::new(body, bytes_max, taken)));
            return self.gate.streams.see_to(response, self.asked.asked, self.measured);
        }
        let (parts, body) = response.into_parts();
        let made = match Whole::of(body, bytes_max).await {
            Ok(whole) => self.take(&whole).await.map(|taken| (whole, taken)),
            Err(status) => Err(status),
        };
        let (response, code) = match made {
            Ok((whole, taken)) => {
                let response = Response::from_parts(parts, ());
                let code = code(&response).or(whole.code()).unwrap_or(Code::Ok);
                let sending = Sending::new(whole, taken, self.request, self.permit);
                (response.map(|()| Body::new(sending)), code)
            }
            Err(status) => (status.clone().into_http(), status.code()),
        };
        self.measured.ended(code);
        response
    }

    fn bytes_until(&self) -> Instant {
        self.asked.answered.min(clock::instant() + BYTES_WAIT)
    }

    /// Takes bytes for the answer before it is made, where the connection's answers are usually large.
    async fn reserve(&self) -> Result<Option<Taken>, Status> {
        let usual = self.connection.usual_answer_bytes();
        if usual < RESERVED_FROM_BYTES || self.measured.method.is_stream {
            return Ok(None);
        }
        let taken = self.gate.bytes.take_by(&self.connection.bytes, usual, self.bytes_until()).await;
        let overloaded = || status::of(Error::Overloaded { setting: "server.bytes_in_flight_max" });
        taken.map(Some).ok_or_else(overloaded)
    }

    async fn take(&self, whole: &Whole) -> Result<super::share::Taken, Status> {
        let bytes = whole.bytes();
        self.connection.note_answer(bytes);
        sending::take(&self.gate, &self.connection, bytes, self.bytes_until()).await
    }

    async fn run<F>(&self, call: F) -> Response<Body>
    where
        F: Future<Output = Result<Response<Body>, Infallible>>,
    {
        let call = waiting::scope(self.permit.clone(), call);
        let call = deadline::scope(self.asked.answered, answer::scope(self.asked.answer_bytes_max, call));
        let mut closed = self.gate.closed.subscribe();
        tokio::select! {
            biased;
            Ok(response) = call => in_our_words(response, &self.path, self.gate.settings.message_bytes_max),
            () = tokio::time::sleep_until(self.asked.answered.into()) => status::of(Error::DeadlineExceeded).into_http(),
            _ = closed.wait_for(|closed| *closed) => status::of(Error::ShuttingDown).into_http(),
        }
    }
}

/// How a call has ended, if the headers say it.
fn code<B>(response: &Response<B>) -> Option<Code> {
    Status::from_header_map(response.headers()).map(|status| status.code())
}

/// A path as an error repeats it.
fn cut(path: &str) -> String {
    path.chars().take(PATH_BYTES_MAX).collect()
}

/// What tonic itself refuses, in the code and with the details that Pannier gives to everything.
fn in_our_words(response: Response<Body>, path: &str, message_bytes_max: u64) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    match status.code() {
        // No handler answers OUT_OF_RANGE: it is tonic's word for a message above its limit.
        Code::OutOfRange => {
            let message = format!(
                "the message is larger than server.message_bytes_max ({message_bytes_max} bytes): send less at once"
            );
            status::transport(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message).into_http()
        }
        Code::InvalidArgument if status.message() == MALFORMED => {
            status::transport(Code::InvalidArgument, ErrorReason::MalformedRequest, MALFORMED).into_http()
        }
        Code::Unimplemented if status.details().is_empty() => unimplemented(response, &status, path),
        _ => response,
    }
}

/// An unknown method, or a request that is compressed in a way that is not known.
fn unimplemented(response: Response<Body>, status: &Status, path: &str) -> Response<Body> {
    let encodings = response.headers().get("grpc-accept-encoding").cloned();
    let (reason, message) = match status.message() {
        "" => (ErrorReason::MethodUnknown, format!("this sidecar has no method {path}")),
        message => (ErrorReason::EncodingUnsupported, format!("{message}: send the request uncompressed")),
    };
    let mut response = status::transport(Code::Unimplemented, reason, message).into_http();
    if let Some(encodings) = encodings {
        response.headers_mut().insert("grpc-accept-encoding", encodings);
    }
    response
}
