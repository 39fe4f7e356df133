//! TCP and Unix sockets: binding and accepting, no delay.
//!
//! What is Unix-only stands in this file behind one `cfg` boundary.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::error::{Error, Result};
use crate::files;
use crate::settings::ServerSettings;

/// After a failed accept, for which the cause is mostly a lack of file descriptors.
pub(super) const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);

/// What the sidecar listens on.
pub(super) struct Listeners {
    tcp: Option<TcpListener>,
    unix: Option<unix::Listener>,
    socket: Option<PathBuf>,
    http: Option<TcpListener>,
}

/// Binds what the settings name.
pub(super) async fn bind(settings: &ServerSettings) -> Result<Listeners> {
    let socket = (!settings.socket.is_empty()).then(|| PathBuf::from(&settings.socket));
    Ok(Listeners {
        tcp: tcp("server.listen", &settings.listen).await?,
        unix: socket.as_deref().map(unix::bind).transpose()?,
        socket,
        http: tcp("server.http_listen", &settings.http_listen).await?,
    })
}

async fn tcp(setting: &str, address: &str) -> Result<Option<TcpListener>> {
    if address.is_empty() {
        return Ok(None);
    }
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Error::Refused(format!("cannot listen on {address} ({setting}): {error}")))?;
    Ok(Some(listener))
}

impl Listeners {
    pub(super) fn address(&self) -> Result<Option<SocketAddr>> {
        local_address(self.tcp.as_ref())
    }

    pub(super) fn http_address(&self) -> Result<Option<SocketAddr>> {
        local_address(self.http.as_ref())
    }

    pub(super) fn socket(&self) -> Option<PathBuf> {
        self.socket.clone()
    }

    /// What listens for gRPC, and for HTTP.
    pub(super) fn split(self) -> (Vec<Listener>, Option<TcpListener>) {
        let tcp = self.tcp.map(Listener::Tcp);
        (tcp.into_iter().chain(self.unix.map(Listener::Unix)).collect(), self.http)
    }
}

fn local_address(listener: Option<&TcpListener>) -> Result<Option<SocketAddr>> {
    let address = listener.map(TcpListener::local_addr).transpose();
    address.map_err(|error| Error::internal(format!("a bound address cannot be read: {error}")))
}

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(unix::Listener),
}

impl Listener {
    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // With Nagle's algorithm a small answer waits 40 ms for the peer's delayed acknowledgement.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener) => Ok(Stream::Unix(unix::accept(listener).await?)),
        }
    }
}

/// An accepted connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(unix::Stream),
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

    use super::{Error, Path, Result, files, io};

    pub(super) type Listener = tokio::net::UnixListener;
    pub(super) type Stream = tokio::net::UnixStream;

    pub(super) async fn accept(listener: &Listener) -> io::Result<Stream> {
        Ok(listener.accept().await?.0)
    }

    /// Binds the socket, for its owner only. Replaces the socket of a dead process of this user and refuses any other.
    pub(super) fn bind(path: &Path) -> Result<Listener> {
        let refused =
            |why: &str| Error::Refused(format!("cannot listen on {} (server.socket): {why}", path.display()));
        if let Ok(found) = std::fs::symlink_metadata(path) {
            if found.file_type().is_symlink() {
                return Err(refused("it is a symbolic link: give the path that it leads to"));
            }
            if !found.file_type().is_socket() {
                return Err(refused("there is a file that is no socket"));
            }
            match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => return Err(refused("another process listens there")),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    return Err(refused(&format!("the socket that is there cannot be tried: {error}")));
                }
            }
            if !files::is_own(path) {
                return Err(refused("the socket that is there belongs to another user"));
            }
            std::fs::remove_file(path).map_err(|error| refused(&error.to_string()))?;
        }
        let listener = Listener::bind(path).map_err(|error| refused(&error.to_string()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| refused(&error.to_string()))?;
        Ok(listener)
    }
}

#[cfg(not(unix))]
mod unix {
    use super::{Error, Path, Result, io};

    /// There are no Unix sockets here; settings that ask for one are refused.
    pub(super) enum Listener {}
    pub(super) type Stream = tokio::net::TcpStream;

    pub(super) async fn accept(listener: &Listener) -> io::Result<Stream> {
        match *listener {}
    }

    pub(super) fn bind(_path: &Path) -> Result<Listener> {
        Err(Error::Refused("this system has no Unix sockets: leave server.socket empty".into()))
    }
}
