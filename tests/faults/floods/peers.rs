//! The peers of a flood: each function makes one connection, and gives what must be held for the flood to last.

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::Request;
use pannier_proto::cache::v1 as pb;
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::honest::NAMESPACE;
use crate::sidecar::Sidecar;

/// A connection that is held open.
pub(super) struct Peer {
    connection: JoinHandle<()>,
    _streams: Vec<h2::client::ResponseFuture>,
    _bodies: Vec<h2::SendStream<Bytes>>,
    sending: Vec<JoinHandle<()>>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.connection.abort();
        self.sending.iter().for_each(JoinHandle::abort);
    }
}

async fn connect(sidecar: &Sidecar, window: u32) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let stream = TcpStream::connect(sidecar.grpc()).await.expect("the sidecar accepts");
    let mut builder = Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(1 << 30);
    let (client, connection) = builder.handshake(stream).await.expect("a handshake");
    // How it ends is the sidecar's affair.
    let connection = tokio::spawn(async move { drop(connection.await) });
    (client, connection)
}

fn request(timeout: &str) -> Request<()> {
    Request::post("http://localhost/pannier.cache.v1.CacheService/Get")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .header("pannier-response-bytes-max", "33554432")
        .body(())
        .expect("a request")
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

/// Reads a large value many times, and opens no window for the answers but `window` bytes.
pub(super) async fn zero_window(sidecar: &Sidecar, streams: usize, window: u32) -> Peer {
    let (client, connection) = connect(sidecar, window).await;
    let get = pb::GetRequest { namespace: NAMESPACE.into(), key: "large".into(), ..Default::default() };
    let (mut held, mut bodies) = (Vec::new(), Vec::new());
    for _ in 0..streams {
        let mut client = client.clone().ready().await.expect("it lives");
        let (response, mut body) = client.send_request(request("1S"), false).expect("a stream");
        body.send_data(framed(&get.encode_to_vec()), true).expect("a request");
        held.push(response);
        bodies.push(body);
    }
    Peer { connection, _streams: held, _bodies: bodies, sending: Vec::new() }
}

/// Sends most of a message of 32 MiB on each of many streams, as fast as the sidecar takes it.
pub(super) async fn unfinished(sidecar: &Sidecar, streams: usize, bytes: usize) -> Peer {
    let (client, connection) = connect(sidecar, 65_535).await;
    let (mut held, mut sending) = (Vec::new(), Vec::new());
    for _ in 0..streams {
        let mut client = client.clone().ready().await.expect("it lives");
        let (response, body) = client.send_request(request("300S"), false).expect("a stream");
        held.push(response);
        sending.push(tokio::spawn(trickle(body, bytes)));
    }
    Peer { connection, _streams: held, _bodies: Vec::new(), sending }
}

async fn trickle(mut body: h2::SendStream<Bytes>, bytes: usize) {
    let mut next = Bytes::from_static(&[0, 2, 0, 0, 0]);
    let mut left = bytes;
    loop {
        body.reserve_capacity(next.len());
        match std::future::poll_fn(|context| body.poll_capacity(context)).await {
            Some(Ok(capacity)) if capacity > 0 => {
                let piece = next.split_to(capacity.min(next.len()));
                left = left.saturating_sub(piece.len());
                if body.send_data(piece, false).is_err() {
                    return;
                }
            }
            Some(Ok(_)) => {}
            _ => return,
        }
        if next.is_empty() {
            next = vec![1; left.min(64 * 1024)].into();
        }
        if left == 0 {
            // Held open: the last bytes never come.
            std::future::pending::<()>().await;
        }
    }
}

/// Begins many calls with a long deadline and sends no request.
pub(super) async fn headers_alone(sidecar: &Sidecar, streams: usize) -> Peer {
    let (client, connection) = connect(sidecar, 65_535).await;
    let (mut held, mut bodies) = (Vec::new(), Vec::new());
    for _ in 0..streams {
        let mut client = client.clone().ready().await.expect("it lives");
        let (response, body) = client.send_request(request("300S"), false).expect("a stream");
        held.push(response);
        bodies.push(body);
    }
    Peer { connection, _streams: held, _bodies: bodies, sending: Vec::new() }
}

/// Sockets that send so much and no more.
pub(super) async fn silent(address: &str, count: usize, sent: &[u8]) -> Vec<TcpStream> {
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let mut socket = TcpStream::connect(address).await.expect("a connection");
        socket.write_all(sent).await.expect("a few bytes");
        sockets.push(socket);
    }
    sockets
}
