//! The HTTP side port: `/livez`, `/readyz`, `/metrics`.
//!
//! A browser on this machine could be led here by a name that resolves to loopback; requests that name another host are
//! refused, and so are those that a page sends.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::metrics::Metrics;

#[derive(Clone)]
struct Port {
    ready: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
}

/// Serves until `stopping`.
pub(super) async fn serve(
    listener: TcpListener,
    ready: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    mut stopping: watch::Receiver<bool>,
) {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .layer(middleware::from_fn(from_this_machine))
        .with_state(Port { ready, metrics });
    tokio::select! {
        served = async { axum::serve(listener, router).await } => {
            if let Err(error) = served {
                tracing::error!(error = %error, "the HTTP side port failed");
            }
        }
        // Probes are short: nothing is lost when they are cut off.
        _ = stopping.wait_for(|stopping| *stopping) => {}
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

async fn from_this_machine(request: Request, next: Next) -> Response {
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
