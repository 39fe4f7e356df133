//! `[server]`: where the sidecar listens and how much it takes on at once.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::within;
use crate::answer;

/// The smallest limit on answers: an error and a small row fit.
pub(crate) const RESPONSE_BYTES_MIN: u64 = 4_096;

/// Where the sidecar listens and how much it takes on at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// The gRPC address, a loopback one; port 0 takes a free port; empty: no TCP.
    pub listen: String,
    /// The path of a Unix socket for gRPC; empty: none.
    pub socket: String,
    /// The address of the HTTP side port (`/livez`, `/readyz`, `/metrics`), a loopback one; empty: none.
    pub http_listen: String,
    /// A file that is written when the sidecar serves and tells, as JSON, where; empty: none.
    pub ready_file: String,
    /// The deadline of calls that bring none; a stream that brings none has begun by then, and lasts.
    pub deadline_ms: u64,
    /// The longest deadline; longer ones are shortened to it, but for streams.
    pub deadline_ms_max: u64,
    /// How long a stop waits for running calls.
    pub drain_ms: u64,
    /// Connections at once. When it is reached, the oldest connection that made no call is closed for a new one.
    pub connections_max: u64,
    /// Calls at once in one connection; a client makes further ones wait, until their deadline.
    pub streams_max: u32,
    /// Calls at once in all connections; further ones are refused with OVERLOADED.
    pub calls_max: u64,
    /// Calls at once that wait for something, such as Claim and GetOrLease; they do not count as running.
    pub waits_max: u64,
    /// Bytes of requests that are read and of answers that are not sent yet, in all connections.
    pub bytes_in_flight_max: u64,
    /// How long a connection may take to begin HTTP/2.
    pub handshake_ms_max: u64,
    /// How long a request may take to arrive.
    pub request_read_ms_max: u64,
    /// Connections at once to the HTTP side port; a further one closes the oldest.
    pub http_connections_max: u64,
    /// How long the head of a request to the HTTP side port may take to arrive.
    pub http_read_ms_max: u64,
    /// The largest message, either way.
    pub message_bytes_max: u64,
    /// The largest answer to a caller that sends no metadata `pannier-response-bytes-max`.
    pub response_bytes_max: u64,
    /// Rows of a page that asks for no size.
    pub page_size: u64,
    /// Rows of the largest page.
    pub page_size_max: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7420".into(),
            socket: String::new(),
            http_listen: "127.0.0.1:7421".into(),
            ready_file: String::new(),
            deadline_ms: 30_000,
            deadline_ms_max: 300_000,
            drain_ms: 1_000,
            connections_max: 1_024,
            streams_max: 1_000,
            calls_max: 4_096,
            waits_max: 4_096,
            bytes_in_flight_max: 64 * 1024 * 1024,
            handshake_ms_max: 5_000,
            request_read_ms_max: 10_000,
            http_connections_max: 64,
            http_read_ms_max: 5_000,
            message_bytes_max: 32 * 1024 * 1024,
            response_bytes_max: answer::DEFAULT_BYTES_MAX,
            page_size: 100,
            page_size_max: 1_000,
        }
    }
}

impl ServerSettings {
    /// The largest message in bytes, as sizes in memory are counted.
    pub fn message_bytes_max(&self) -> usize {
        usize::try_from(self.message_bytes_max).unwrap_or(usize::MAX)
    }

    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>) {
        loopback(found, "server.listen", &self.listen);
        loopback(found, "server.http_listen", &self.http_listen);
        if self.listen.is_empty() && self.socket.is_empty() {
            found.push(("server.listen", "is empty and so is server.socket: set one of them".into()));
        }
        if cfg!(not(unix)) && !self.socket.is_empty() {
            found.push(("server.socket", "must be empty: this system has no Unix sockets".into()));
        }
        within(found, "server.deadline_ms_max", self.deadline_ms_max, 1..=3_600_000);
        within(found, "server.deadline_ms", self.deadline_ms, 1..=self.deadline_ms_max);
        within(found, "server.drain_ms", self.drain_ms, 0..=1_200);
        within(found, "server.connections_max", self.connections_max, 1..=65_536);
        within(found, "server.streams_max", self.streams_max.into(), 1..=10_000);
        within(found, "server.calls_max", self.calls_max, 1..=65_536);
        within(found, "server.waits_max", self.waits_max, 1..=1_000_000);
        within(found, "server.handshake_ms_max", self.handshake_ms_max, 100..=60_000);
        within(found, "server.request_read_ms_max", self.request_read_ms_max, 100..=600_000);
        within(found, "server.http_connections_max", self.http_connections_max, 1..=1_024);
        within(found, "server.http_read_ms_max", self.http_read_ms_max, 100..=60_000);
        // One connection may have two thirds of them, and one message must fit into that.
        let bytes_min = self.message_bytes_max.saturating_mul(2);
        within(found, "server.bytes_in_flight_max", self.bytes_in_flight_max, bytes_min..=64 << 30);
        within(found, "server.message_bytes_max", self.message_bytes_max, 65_536..=512 * 1024 * 1024);
        let response_bytes_max = self.response_bytes_max;
        within(
            found,
            "server.response_bytes_max",
            response_bytes_max,
            RESPONSE_BYTES_MIN..=self.message_bytes_max,
        );
        within(found, "server.page_size_max", self.page_size_max, 1..=100_000);
        within(found, "server.page_size", self.page_size, 1..=self.page_size_max);
    }
}

fn loopback(found: &mut Vec<(&'static str, String)>, name: &'static str, address: &str) {
    if address.is_empty() {
        return;
    }
    match address.parse::<SocketAddr>() {
        Ok(parsed) if parsed.ip().is_loopback() => {}
        Ok(_) => found.push((
            name,
            format!("{address} is not a loopback address: calls are neither authenticated nor encrypted yet"),
        )),
        Err(_) => found.push((name, format!("{address:?} is not an address such as 127.0.0.1:7420"))),
    }
}
