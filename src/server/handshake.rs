//! Watches the first bytes of a connection: whether HTTP/2's preface and SETTINGS frame have arrived.
//!
//! Example: the 24 bytes `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, then the frame `00 00 06 04 00 00 00 00 00` and its 6 bytes of payload.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE_BYTES: usize = 24;

/// The length of a frame's payload in three bytes, its type, its flags, its stream in four.
const FRAME_HEAD_BYTES: usize = 9;

/// A stream of which the first bytes are counted.
pub(super) struct Watched<S> {
    stream: S,
    seen: usize,
    /// The length of the first frame's payload.
    payload_length: [u8; 3],
    is_done: Arc<AtomicBool>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, seen: 0, payload_length: [0; 3], is_done: Arc::default() }
    }

    /// True once the handshake is done.
    pub(super) fn is_done(&self) -> Arc<AtomicBool> {
        self.is_done.clone()
    }

    fn look(&mut self, bytes: &[u8]) {
        for (place, byte) in (PREFACE_BYTES..).zip(self.payload_length.iter_mut()) {
            if let Some(seen) = place.checked_sub(self.seen).and_then(|offset| bytes.get(offset)) {
                *byte = *seen;
            }
        }
        self.seen = self.seen.saturating_add(bytes.len());
        let [high, middle, low] = self.payload_length.map(usize::from);
        let head = PREFACE_BYTES + FRAME_HEAD_BYTES;
        if self.seen >= head && self.seen >= head + (high << 16 | middle << 8 | low) {
            self.is_done.store(true, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if !self.is_done.load(Ordering::Relaxed) {
            self.look(&buffer.filled()[before..]);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_done_with_the_last_byte_of_settings_however_it_comes() {
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        sent.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100]);
        for piece in [1, 7, 25, 39] {
            let mut watched = Watched::new(());
            for (index, bytes) in sent.chunks(piece).enumerate() {
                assert!(!watched.is_done.load(Ordering::Relaxed), "piece {index} of {piece}");
                watched.look(bytes);
            }
            assert!(watched.is_done.load(Ordering::Relaxed), "{piece}");
        }
        let mut empty = Watched::new(());
        empty.look(&sent[..24]);
        empty.look(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        assert!(empty.is_done.load(Ordering::Relaxed), "settings may be empty");
    }
}
