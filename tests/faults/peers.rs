//! Peers that a server must not wait for: silent ones, ones that stop in the middle, ones that do not read.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A raw connection that is held open.
pub(crate) struct Peer(TcpStream);

impl Peer {
    /// Connects and says nothing.
    pub(crate) fn silent(address: &str) -> Self {
        Self(TcpStream::connect(address).expect("the sidecar accepts"))
    }

    /// Sends half of the connection preface.
    pub(crate) fn with_half_a_preface(address: &str) -> Self {
        Self::silent(address).send(&PREFACE[..PREFACE.len() / 2])
    }

    /// An HTTP/2 connection on which nothing is called.
    pub(crate) fn idle(address: &str) -> Self {
        Self::silent(address).send(PREFACE).send(&frame(SETTINGS, 0, 0, &[]))
    }

    /// Announces a frame of headers and sends the first bytes of it.
    pub(crate) fn with_half_a_frame(address: &str) -> Self {
        let headers = frame(HEADERS, END_HEADERS, 1, &headers("Get"));
        Self::idle(address).send(&headers[..headers.len() / 2])
    }

    /// Begins a call and sends only the first bytes of its message.
    pub(crate) fn with_half_a_call(address: &str) -> Self {
        let peer = Self::idle(address).send(&frame(HEADERS, END_HEADERS, 1, &headers("Put")));
        // Says that a message of a thousand bytes follows.
        peer.send(&frame(DATA, 0, 1, &[0, 0, 0, 3, 232, 10, 1]))
    }

    /// Asks for an entry that is larger than the connection's window, and never makes room for the rest of it. Comes back
    /// when the answer has begun.
    pub(crate) fn that_does_not_read_on(address: &str, namespace: &str, key: &str) -> Self {
        let message = get_request(namespace, key);
        let mut data = vec![0];
        data.extend((message.len() as u32).to_be_bytes());
        data.extend(message);
        let peer = Self::idle(address).send(&frame(HEADERS, END_HEADERS, 1, &headers("Get")));
        let mut peer = peer.send(&frame(DATA, END_STREAM, 1, &data));
        peer.read_until_data();
        peer
    }

    fn send(mut self, bytes: &[u8]) -> Self {
        self.0.write_all(bytes).expect("the sidecar reads");
        self
    }

    fn read_until_data(&mut self) {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).expect("a frame");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            self.0.read_exact(&mut vec![0; length]).expect("its payload");
            if head[3] == DATA {
                return;
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The headers of a call, spelled out: no entry of any table but the static one is used, and no Huffman code.
fn headers(method: &str) -> Vec<u8> {
    let path = format!("/pannier.cache.v1.CacheService/{method}");
    // `:method: POST` and `:scheme: http` are entries 3 and 6 of the static table; 4 and 1 name `:path` and `:authority`.
    let mut block = vec![0x83, 0x86];
    block.push(0x04);
    text(&mut block, &path);
    block.push(0x01);
    text(&mut block, "localhost");
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        block.push(0x00);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

fn text(block: &mut Vec<u8>, text: &str) {
    block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text"));
    block.extend(text.as_bytes());
}

fn get_request(namespace: &str, key: &str) -> Vec<u8> {
    use prost::Message as _;
    pannier_proto::cache::v1::GetRequest {
        namespace: namespace.into(),
        key: key.into(),
        ..Default::default()
    }
    .encode_to_vec()
}
