//! HTTP/2 over accepted connections: the handshake's limit, flow control, keep-alive, the graceful end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service as _;

use super::call::Call;
use super::clients::{Client, Clients};
use super::connections::{Connection, Connections, Place};
use super::executor::{CallEnd, Executor};
use super::handshake::Watched;
use super::listen::{AFTER_FAILED_ACCEPT, Listener, Stream};
use crate::clock;
use crate::settings::ServerSettings;

/// Connections whose peer does not answer a ping within a third of this are closed.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Streams of one connection that were reset before they were accepted. A busy machine accepts late: at 20, hyper's default, and still at
/// `server.streams_max`, an application that cancels calls lost its connection, and with it calls of others (tests/clients/python/cancelled.py).
const PENDING_RESETS_MAX: usize = 1_024;

/// Unread bytes of one stream, and of one connection: what a peer can make HTTP/2 hold while nothing is read.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// Bytes of one stream that HTTP/2 holds until the peer takes them.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// Serves gRPC on accepted connections.
#[derive(Clone)]
pub(super) struct Transport {
    call: Call<Routes>,
    connections: Arc<Connections>,
    clients: Arc<Clients>,
    streams_max: u32,
    handshake_max: Duration,
    stopping: watch::Receiver<bool>,
}

impl Transport {
    pub(super) fn new(
        call: Call<Routes>,
        connections: Arc<Connections>,
        clients: Arc<Clients>,
        settings: &ServerSettings,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let handshake_max = Duration::from_millis(settings.handshake_ms_max);
        Self { call, connections, clients, streams_max: settings.streams_max, handshake_max, stopping }
    }

    /// Accepts connections until the stop, then waits for those that are open.
    pub(super) async fn accept(self, listener: Listener) {
        let mut stopping = self.stopping.clone();
        let mut open = JoinSet::new();
        let accepting = async {
            loop {
                while open.try_join_next().is_some() {}
                match listener.accept().await {
                    Ok(stream) => {
                        // Accepted first: one that waits for a place is known to wait.
                        let place = self.connections.place().await;
                        open.spawn(self.clone().serve(stream, place));
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "a connection could not be accepted");
                        tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            // The sender lives as long as the sidecar; if it is gone, that is a stop as well.
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }

    async fn serve(mut self, stream: Stream, place: Place) {
        let connection = place.connection.clone();
        let stream = Watched::new(stream);
        let is_shaken = stream.is_done();
        let executor = Executor::new(connection.clone());
        let handler = Handler {
            call: self.call.clone(),
            connection: connection.clone(),
            client: self.clients.accepted(),
            end: executor.end(),
        };
        let serving = self.http(executor).serve_connection(TokioIo::new(stream), handler);
        let mut serving = std::pin::pin!(serving);
        let handshake_until = clock::instant() + self.handshake_max;
        let (mut looks_at_handshake, mut is_stopping) = (true, false);
        loop {
            tokio::select! {
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error = %error, "a connection ended");
                    }
                    return;
                }
                () = tokio::time::sleep_until(handshake_until.into()), if looks_at_handshake => {
                    if !is_shaken.load(Ordering::Relaxed) {
                        self.connections.note_unshaken();
                        tracing::debug!("a connection did not begin HTTP/2 within server.handshake_ms_max");
                        return;
                    }
                    looks_at_handshake = false;
                }
                () = connection.closing() => return,
                _ = self.stopping.wait_for(|stopping| *stopping), if !is_stopping => {
                    is_stopping = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }

    fn http(&self, executor: Executor) -> http2::Builder<Executor> {
        let mut http = http2::Builder::new(executor);
        http.timer(TokioTimer::new())
            .keep_alive_interval(Some(KEEPALIVE))
            .keep_alive_timeout(KEEPALIVE / 3)
            .max_concurrent_streams(Some(self.streams_max))
            .max_header_list_size(16 * 1024)
            .initial_stream_window_size(Some(STREAM_WINDOW_BYTES))
            .initial_connection_window_size(Some(CONNECTION_WINDOW_BYTES))
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
            .max_local_error_reset_streams(Some(1_024));
        http
    }
}

/// The calls of one connection.
struct Handler {
    call: Call<Routes>,
    connection: Arc<Connection>,
    client: Arc<Client>,
    end: CallEnd,
}

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = super::call::Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.connection.clone());
        request.extensions_mut().insert(self.client.clone());
        request.extensions_mut().insert(self.end.clone());
        // The routes are always ready.
        self.call.clone().call(request)
    }
}
