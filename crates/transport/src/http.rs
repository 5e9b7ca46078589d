//! HTTP on a listener for SIP over WebSocket: such a connection is handed over with the bytes that were read,
//! and with its TLS.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::tls::{Progress, Tls};

/// Bytes taken from the socket at once.
const READ: usize = 16 * 1024;

/// Plain bytes encrypted at once: one record (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;

/// A request that is no upgrade, on a WebSocket listener; plain or within TLS.
#[derive(Debug)]
pub struct PlainHttp {
    /// The connection.
    pub stream: TcpStream,
    /// Its peer.
    pub remote: SocketAddr,
    /// The part of the request that was already read, decrypted.
    pub head: Vec<u8>,
    pub(crate) tls: Option<Tls>,
}

/// The same away from its runtime.
#[derive(Debug)]
pub struct DetachedHttp {
    stream: std::net::TcpStream,
    remote: SocketAddr,
    head: Vec<u8>,
    tls: Option<Tls>,
}

/// What was read already comes first, then what the peer sends. What is written goes out encrypted where TLS
/// is spoken.
#[derive(Debug)]
pub struct HttpStream {
    stream: TcpStream,
    tls: Option<Tls>,
    /// Plain bytes received and not yet read.
    received: Vec<u8>,
    /// Up to here they were read.
    read_to: usize,
    /// Encrypted bytes that the socket has not taken yet.
    unsent: Vec<u8>,
    closing: Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    Said,
}

impl PlainHttp {
    /// Takes it off its runtime, so that another can serve it.
    ///
    /// # Errors
    /// The socket cannot leave its runtime.
    pub fn detach(self) -> io::Result<DetachedHttp> {
        let Self { stream, remote, head, tls } = self;
        Ok(DetachedHttp { stream: stream.into_std()?, remote, head, tls })
    }
}

impl DetachedHttp {
    /// Its peer.
    #[must_use]
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Puts it on this runtime.
    ///
    /// # Errors
    /// The socket cannot be registered with it.
    pub fn attach(self) -> io::Result<HttpStream> {
        let Self { stream, head, tls, .. } = self;
        Ok(HttpStream {
            stream: TcpStream::from_std(stream)?,
            tls,
            received: head,
            read_to: 0,
            unsent: Vec::new(),
            closing: Closing::No,
        })
    }
}

impl HttpStream {
    /// The socket, for its options.
    #[must_use]
    pub const fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Gives what was received and not read yet; whether there was any.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let left = self.received.get(self.read_to..).unwrap_or_default();
        if left.is_empty() {
            return false;
        }
        let taken = left.len().min(buf.remaining());
        buf.put_slice(&left[..taken]);
        self.read_to += taken;
        if self.read_to == self.received.len() {
            (self.received, self.read_to) = (Vec::new(), 0);
        }
        true
    }

    /// Sends what is encrypted already.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.give(buf) {
            return Poll::Ready(Ok(()));
        }
        let Some(tls) = &mut this.tls else { return Pin::new(&mut this.stream).poll_read(cx, buf) };
        let mut space = [0; READ];
        loop {
            if tls.has_peer_closed() {
                return Poll::Ready(Ok(()));
            }
            let mut input = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut input))?;
            if input.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let progress = tls.receive(input.filled_mut(), &mut this.received, &mut this.unsent);
            if !this.unsent.is_empty() {
                // The answer to a key update, or an alert; what the socket does not take now goes with the
                // next write.
                let mut tried = Ok(0);
                if let Poll::Ready(sent) = Pin::new(&mut this.stream).poll_write(cx, &this.unsent) {
                    tried = sent;
                }
                this.unsent.drain(..tried?);
            }
            match progress.map_err(broken)? {
                Progress::Handshaking | Progress::Open | Progress::PeerClosed
                    if !this.received.is_empty() =>
                {
                    break;
                }
                Progress::Handshaking | Progress::Open => {}
                Progress::PeerClosed => return Poll::Ready(Ok(())),
            }
        }
        this.give(buf);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.tls.is_none() {
            return Pin::new(&mut this.stream).poll_write(cx, buf);
        }
        // One record at a time, so that what a peer does not take stays here and is bounded.
        ready!(this.poll_send(cx))?;
        let plain = &buf[..buf.len().min(RECORD)];
        if let Some(tls) = &mut this.tls {
            tls.encrypt(plain, &mut this.unsent).map_err(broken)?;
        }
        if let Poll::Ready(Err(error)) = this.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(plain.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing == Closing::No {
            this.closing = Closing::Said;
            if let Some(tls) = &mut this.tls {
                // A connection that broke has nothing to say any more.
                let _ = tls.close_notify(&mut this.unsent);
            }
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
