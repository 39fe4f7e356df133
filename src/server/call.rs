//! The layer around every call: how many at once, how long each, and what became of it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use pannier_proto::codec::MALFORMED;
use pannier_proto::errors::v1::ErrorReason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::body::Limited;
use super::clients::Client;
use super::metrics::Metrics;
use super::stream::{Measured, Streams};
use crate::answer;
use crate::clock;
use crate::deadline;
use crate::error::Error;
use crate::request_end;
use crate::settings::{RESPONSE_BYTES_MIN, ServerSettings};
use crate::status;

/// Lets calls in, and at the stop sees them out.
#[derive(Clone)]
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    calls_max: u32,
    deadline: Duration,
    deadline_max: Duration,
    message_bytes_max: u64,
    response_bytes_max: u64,
    /// No new calls are let in.
    draining: Arc<AtomicBool>,
    /// Running calls are cut off.
    closed: Arc<watch::Sender<bool>>,
    streams: Arc<Streams>,
}

/// When a call must end.
struct Until {
    /// By then it is answered; a stream, that it has begun.
    answered: Instant,
    /// What its caller asked for: a stream has no other end.
    asked: Option<Instant>,
}

/// How long the answers to calls that are cut off may take to leave.
const LAST_ANSWERS: Duration = Duration::from_millis(50);

impl Gate {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        let calls_max = u32::try_from(settings.calls_max).unwrap_or(u32::MAX);
        Self {
            permits: Arc::new(Semaphore::new(calls_max as usize)),
            calls_max,
            deadline: Duration::from_millis(settings.deadline_ms),
            deadline_max: Duration::from_millis(settings.deadline_ms_max),
            message_bytes_max: settings.message_bytes_max,
            response_bytes_max: settings.response_bytes_max,
            draining: Arc::default(),
            closed: Arc::new(watch::Sender::new(false)),
            streams: Arc::new(Streams::new()),
        }
    }

    /// Calls that run.
    pub(super) fn running(&self) -> u64 {
        u64::from(self.calls_max).saturating_sub(self.permits.available_permits() as u64)
    }

    /// Answers that are streams and go on.
    pub(super) fn streams_running(&self) -> u64 {
        self.streams.running()
    }

    /// Waits for running calls to end; answers those that have not by then with SHUTTING_DOWN, and streams at once.
    pub(super) async fn drain(&self, within: Duration) {
        self.draining.store(true, Ordering::SeqCst);
        self.streams.close();
        let all_ended = self.permits.acquire_many(self.calls_max);
        let in_time = tokio::time::timeout(within, all_ended).await.is_ok();
        self.closed.send_replace(true);
        if !in_time {
            let all_ended = self.permits.acquire_many(self.calls_max);
            // Whether they left in time or not: the sidecar stops.
            let _ = tokio::time::timeout(LAST_ANSWERS, all_ended).await;
        }
        // Their peers may have stopped reading.
        let _ = tokio::time::timeout(LAST_ANSWERS, self.streams.ended()).await;
    }

    /// Lets a call in, if there is room and the sidecar is not stopping.
    fn admit(&self) -> Result<OwnedSemaphorePermit, Status> {
        let permit = self.permits.clone().try_acquire_owned();
        // Looked at after the permit was taken: a drain that begins now waits for it.
        if self.draining.load(Ordering::SeqCst) {
            return Err(status::of(Error::ShuttingDown));
        }
        permit.map_err(|_| status::of(Error::Overloaded { setting: "server.calls_max" }))
    }

    fn asked(&self, headers: &HeaderMap, now: Instant) -> Result<Asked, Status> {
        Ok(Asked { until: self.until(headers, now)?, answer_bytes_max: self.answer_bytes_max(headers)? })
    }

    /// The largest message that the caller accepts.
    fn answer_bytes_max(&self, headers: &HeaderMap) -> Result<usize, Status> {
        let bytes = match headers.get(answer::METADATA) {
            None => self.response_bytes_max,
            Some(value) => parse_bytes(value.to_str().unwrap_or_default()).ok_or_else(|| {
                let message = format!("{} must be {RESPONSE_BYTES_MIN} or more, in digits", answer::METADATA);
                status::transport(Code::InvalidArgument, ErrorReason::InvalidArgument, message)
            })?,
        };
        Ok(usize::try_from(bytes.min(self.message_bytes_max)).unwrap_or(usize::MAX))
    }

    /// When a call that begins now must end, from its `grpc-timeout`.
    fn until(&self, headers: &HeaderMap, now: Instant) -> Result<Until, Status> {
        let asked = match headers.get("grpc-timeout") {
            None => None,
            Some(value) => Some(value.to_str().ok().and_then(parse_timeout).ok_or_else(|| {
                let message = "grpc-timeout must be 1 to 8 digits and one of H, M, S, m, u, n";
                status::transport(Code::InvalidArgument, ErrorReason::InvalidArgument, message)
            })?),
        };
        let answered = now + asked.unwrap_or(self.deadline).min(self.deadline_max);
        // A deadline beyond what the clock can tell is none.
        Ok(Until { answered, asked: asked.and_then(|asked| now.checked_add(asked)) })
    }
}

/// What the metadata of a call says.
struct Asked {
    until: Until,
    answer_bytes_max: usize,
}

/// A `grpc-timeout`, as the gRPC specification of HTTP/2 has it.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// A number of bytes; too many digits are a large number.
fn parse_bytes(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = if is_number { text.parse().unwrap_or(u64::MAX) } else { 0 };
    (bytes >= RESPONSE_BYTES_MIN).then_some(bytes)
}

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

impl<S> Service<Request<Body>> for Call<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let started = clock::instant();
        let method = self.metrics.method(request.uri().path());
        if let Some(client) = request.extensions().get::<Arc<Client>>() {
            client.called(request.uri().path());
        }
        let (gate, metrics) = (self.gate.clone(), self.metrics.clone());
        let admitted = gate
            .asked(request.headers(), started)
            .and_then(|asked| gate.admit().map(|permit| (asked, permit)));
        let call = match admitted {
            Ok((asked, permit)) => {
                let request = if method.is_stream { request_end::watch(request) } else { request };
                Ok((asked, permit, self.inner.call(request)))
            }
            Err(status) => Err(status),
        };
        Box::pin(async move {
            let response = match call {
                Ok((Asked { until, answer_bytes_max }, permit, call)) => {
                    let call = answer::scope(answer_bytes_max, call);
                    let response = run(&gate, until.answered, call).await;
                    let response = response.map(|body| Body::new(Limited::new(body, answer_bytes_max)));
                    if method.is_stream && !response.headers().contains_key(Status::GRPC_STATUS) {
                        let measured = Measured { metrics, method, started };
                        return Ok(gate.streams.see_to(response, until.asked, measured));
                    }
                    drop(permit);
                    response
                }
                Err(status) => status.into_http(),
            };
            let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
            metrics.call_ended(&method, code, started.elapsed());
            Ok(response)
        })
    }
}

async fn run<F>(gate: &Gate, deadline: Instant, call: F) -> Response<Body>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let mut closed = gate.closed.subscribe();
    tokio::select! {
        biased;
        Ok(response) = deadline::scope(deadline, call) => in_our_words(response, gate),
        () = tokio::time::sleep_until(deadline.into()) => status::of(Error::DeadlineExceeded).into_http(),
        _ = closed.wait_for(|closed| *closed) => status::of(Error::ShuttingDown).into_http(),
    }
}

/// What tonic itself refuses, in the code and with the details that Pannier gives to everything.
fn in_our_words(response: Response<Body>, gate: &Gate) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    match status.code() {
        // No handler answers OUT_OF_RANGE: it is tonic's word for a message above its limit.
        Code::OutOfRange => {
            let message = format!(
                "the message is larger than server.message_bytes_max ({} bytes): send less at once",
                gate.message_bytes_max
            );
            status::transport(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message).into_http()
        }
        Code::InvalidArgument if status.message() == MALFORMED => {
            status::transport(Code::InvalidArgument, ErrorReason::MalformedRequest, MALFORMED).into_http()
        }
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_specification_says_and_nothing_else() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for wrong in ["", "S", "5", "-5S", "1.5S", "123456789S", "5s", "5ü"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }
}
