//! The HTTP side port: `/livez`, `/readyz`, `/metrics`.
//!
//! A browser on this machine could be led here by a name that resolves to loopback; requests that name another host are
//! refused, and so are those that a page sends.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tower::Service as _;

use super::listen::AFTER_FAILED_ACCEPT;
use super::metrics::Metrics;
use crate::settings::ServerSettings;

#[derive(Clone)]
struct Port {
    ready: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
}

/// The longest life of a connection; probes make new ones.
const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// Serves until `stopping`.
pub(super) fn serve(
    listener: TcpListener,
    settings: &ServerSettings,
    ready: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    mut stopping: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + use<> {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .layer(middleware::from_fn(from_this_machine))
        .with_state(Port { ready, metrics });
    let limits = Limits {
        connections_max: usize::try_from(settings.http_connections_max).unwrap_or(usize::MAX),
        read_max: Duration::from_millis(settings.http_read_ms_max),
    };
    async move {
        tokio::select! {
            () = accept(listener, router, limits) => {}
            // Probes are short: nothing is lost when they are cut off.
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

/// Limits on the connections of the side port.
#[derive(Clone, Copy)]
struct Limits {
    connections_max: usize,
    read_max: Duration,
}

async fn accept(listener: TcpListener, router: Router, limits: Limits) {
    // Dropped, and with it every connection, at the stop.
    let mut open = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while open.try_join_next().is_some() {}
                oldest_first.retain(|connection| !connection.is_finished());
                while oldest_first.len() >= limits.connections_max {
                    // Probes are short: the oldest connection is the one that hangs.
                    oldest_first.pop_front().iter().for_each(AbortHandle::abort);
                }
                oldest_first.push_back(open.spawn(connection(stream, router.clone(), limits)));
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection to the HTTP side port could not be accepted");
                tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, limits: Limits) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        async move { router.call(request.map(Body::new)).await }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.read_max);
    // A peer that does not read its answer ends by the second limit.
    let served = http.serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_MAX, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = %error, "a connection to the HTTP side port ended"),
        Err(_) => tracing::debug!("a connection to the HTTP side port was closed at its limit"),
    }
}

async fn readyz(State(port): State<Port>) -> (StatusCode, &'static str) {
    if *port.ready.borrow() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics_text(State(port): State<Port>) -> Response {
    match port.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "metrics could not be gathered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn from_this_machine(request: Request<Body>, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
    if is_this_machine(host) && !request.headers().contains_key(header::ORIGIN) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "only for callers on this machine that name it localhost or by address\n")
        .into_response()
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.is_empty() || name == "localhost" || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_this_machine_are_refused() {
        for host in ["", "localhost", "localhost:7421", "127.0.0.1:7421", "[::1]:7421", "10.0.0.7"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["evil.example", "evil.example:7421", "localhost.evil.example"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
