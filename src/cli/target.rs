//! A running sidecar as the commands reach it, and hints for addresses that lead elsewhere.

use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt as _;

use super::Failure;

/// The longest wait for the answer of a port that may be the side port.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// Bytes of that answer that are read.
const PROBE_BYTES_MAX: u64 = 1_024;

/// A running sidecar.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// Where it listens: an address, or unix:PATH.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7420")]
    pub(super) address: String,
}

impl Target {
    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let url = match self.address.strip_prefix("unix:") {
            Some(path) => format!("unix://{}", std::path::absolute(path).unwrap_or_default().display()),
            None => format!("http://{}", self.bare()?),
        };
        let endpoint = Endpoint::from_shared(url)
            .map_err(|_| Failure::Message(format!("{:?} is not an address or unix:PATH", self.address)))?;
        endpoint
            .connect()
            .await
            .map_err(|_| Failure::Message(format!("no sidecar answers at {}: is it running?", self.address)))
    }

    /// The address without a scheme. Error: it has one.
    fn bare(&self) -> Result<&str, Failure> {
        let Some((scheme, rest)) = self.address.split_once("://") else { return Ok(&self.address) };
        let bare = rest.split('/').next().unwrap_or(rest);
        let encrypted = if scheme == "https" { ", and calls are not encrypted" } else { "" };
        Err(Failure::Message(format!("an address has no scheme{encrypted}: give --address {bare}")))
    }

    /// Why a call failed that reached no sidecar: the address is the side port's. None for errors of a sidecar, and other causes.
    pub(super) async fn hint(&self, status: &Status) -> Option<String> {
        if status.get_details_error_info().is_some() || !self.is_side_port().await {
            return None;
        }
        Some(format!(
            "{} is the HTTP side port (server.http_listen): give the gRPC address (server.listen, by default 127.0.0.1:7420)",
            self.address
        ))
    }

    async fn is_side_port(&self) -> bool {
        let probe = async {
            let mut stream = TcpStream::connect(&self.address).await.ok()?;
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .await
                .ok()?;
            let mut answer = String::new();
            stream.take(PROBE_BYTES_MAX).read_to_string(&mut answer).await.ok()?;
            Some(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"))
        };
        tokio::time::timeout(PROBE_MAX, probe).await.ok().flatten().unwrap_or(false)
    }
}
