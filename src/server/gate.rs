//! Admission: how many calls run and wait, how many bytes are in flight, and what a call asks for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use pannier_proto::errors::v1::ErrorReason;
use tokio::sync::watch;
use tonic::{Code, Status};

use super::connections::Connection;
use super::share::{Share, Taken};
use super::stream::Streams;
use crate::answer;
use crate::error::{Error, Result};
use crate::settings::{RESPONSE_BYTES_MIN, ServerSettings};
use crate::status;
use crate::waiting;

/// Lets calls in, and at the stop sees them out.
#[derive(Clone)]
pub(super) struct Gate {
    calls: Arc<Share>,
    waits: Arc<Share>,
    /// Bytes of requests that are read and of answers that are not sent yet.
    pub(super) bytes: Arc<Share>,
    /// Answers that wait for bytes, beside those in flight.
    pub(super) waiting_bytes: Arc<Share>,
    pub(super) settings: Arc<ServerSettings>,
    /// No new calls are let in.
    draining: Arc<AtomicBool>,
    /// Running calls are cut off.
    pub(super) closed: Arc<watch::Sender<bool>>,
    pub(super) streams: Arc<Streams>,
}

/// What the metadata of a call says.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// By then it is answered; a stream, that it has begun.
    pub(super) answered: Instant,
    /// What its caller asked for: a stream has no other end.
    pub(super) asked: Option<Instant>,
    /// The largest message that the caller accepts.
    pub(super) answer_bytes_max: usize,
}

/// How long the answers to calls that are cut off may take to leave.
const LAST_ANSWERS: Duration = Duration::from_millis(50);

/// Answers may wait for a quarter of the bytes in flight.
const WAITING_SHARE: u64 = 4;

impl Gate {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        Self {
            calls: Share::new(settings.calls_max),
            waits: Share::new(settings.waits_max),
            bytes: Share::new(settings.bytes_in_flight_max),
            waiting_bytes: Share::new(settings.bytes_in_flight_max / WAITING_SHARE),
            settings: Arc::new(settings.clone()),
            draining: Arc::default(),
            closed: Arc::new(watch::Sender::new(false)),
            streams: Arc::new(Streams::new()),
        }
    }

    /// Calls that run, until their answer is sent.
    pub(super) fn running(&self) -> u64 {
        self.calls.used()
    }

    /// Calls that wait for something.
    pub(super) fn waiting(&self) -> u64 {
        self.waits.used()
    }

    /// Bytes of requests that are read and of answers that are not sent yet.
    pub(super) fn bytes_in_flight(&self) -> u64 {
        self.bytes.used()
    }

    /// Answers that are streams and go on.
    pub(super) fn streams_running(&self) -> u64 {
        self.streams.running()
    }

    /// Waits for running calls to end; answers those that have not by then with SHUTTING_DOWN, and streams at once.
    pub(super) async fn drain(&self, within: Duration) {
        self.draining.store(true, Ordering::SeqCst);
        self.streams.close();
        let in_time = tokio::time::timeout(within, self.all_ended()).await.is_ok();
        self.closed.send_replace(true);
        if !in_time {
            // Whether they left in time or not: the sidecar stops.
            let _ = tokio::time::timeout(LAST_ANSWERS, self.all_ended()).await;
        }
        // Their peers may have stopped reading.
        let _ = tokio::time::timeout(LAST_ANSWERS, self.streams.ended()).await;
    }

    async fn all_ended(&self) {
        // A call that ends its wait runs again.
        while self.running() + self.waiting() > 0 {
            tokio::join!(self.calls.unused(), self.waits.unused());
        }
    }

    /// Lets a call in, if there is a place for its connection and the sidecar is not stopping.
    pub(super) fn admit(&self, connection: &Arc<Connection>) -> Result<Arc<Permit>, Status> {
        let place = self.calls.take(&connection.calls, 1);
        // Looked at after the place was taken: a drain that begins now waits for it.
        if self.draining.load(Ordering::SeqCst) {
            return Err(status::of(Error::ShuttingDown));
        }
        let place = place.ok_or_else(|| status::of(Error::Overloaded { setting: "server.calls_max" }))?;
        Ok(Arc::new(Permit {
            gate: self.clone(),
            connection: connection.clone(),
            place: Mutex::new(Some(place)),
        }))
    }

    /// What a call asks for that begins now.
    pub(super) fn asked(&self, headers: &HeaderMap, now: Instant) -> Result<Asked, Status> {
        let asked = match headers.get("grpc-timeout") {
            None => None,
            Some(value) => Some(value.to_str().ok().and_then(parse_timeout).ok_or_else(|| {
                let message = "grpc-timeout must be 1 to 8 digits and one of H, M, S, m, u, n";
                status::transport(Code::InvalidArgument, ErrorReason::InvalidArgument, message)
            })?),
        };
        let within = asked.unwrap_or(Duration::from_millis(self.settings.deadline_ms));
        Ok(Asked {
            answered: now + within.min(Duration::from_millis(self.settings.deadline_ms_max)),
            // A deadline beyond what the clock can tell is none.
            asked: asked.and_then(|asked| now.checked_add(asked)),
            answer_bytes_max: self.answer_bytes_max(headers)?,
        })
    }

    fn answer_bytes_max(&self, headers: &HeaderMap) -> Result<usize, Status> {
        let bytes = match headers.get(answer::METADATA) {
            None => self.settings.response_bytes_max,
            Some(value) => parse_bytes(value.to_str().unwrap_or_default()).ok_or_else(|| {
                let message = format!("{} must be {RESPONSE_BYTES_MIN} or more, in digits", answer::METADATA);
                status::transport(Code::InvalidArgument, ErrorReason::InvalidArgument, message)
            })?,
        };
        Ok(usize::try_from(bytes.min(self.settings.message_bytes_max)).unwrap_or(usize::MAX))
    }
}

/// A call that was let in: among those that run, or among those that wait.
pub(super) struct Permit {
    gate: Gate,
    connection: Arc<Connection>,
    place: Mutex<Option<Taken>>,
}

impl Permit {
    fn take_place(&self, place: Taken) {
        // The old place is given back after the new one was taken: a drain sees one of them.
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }
}

impl waiting::Call for Permit {
    fn set_aside(&self) -> Result<()> {
        let place = self.gate.waits.take(&self.connection.waits, 1);
        self.take_place(place.ok_or(Error::Overloaded { setting: "server.waits_max" })?);
        Ok(())
    }

    fn resume(&self) {
        self.take_place(self.gate.calls.take_anyway(&self.connection.calls, 1));
    }
}

/// Error: the request is no gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> Result<(), Status> {
    let kind = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    if kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        return Ok(());
    }
    let message = "the content-type must be application/grpc";
    Err(status::transport(Code::InvalidArgument, ErrorReason::ContentTypeUnsupported, message))
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
