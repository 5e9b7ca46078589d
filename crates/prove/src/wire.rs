//! The socket under a client, with TLS where there is TLS: reads when something comes, writes at once or
//! keeps what the socket does not take.

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::source::{self, ReceiveBuffer};
use crate::{ConnectError, Ended, Target};
use lifecycle::Transport;

/// Bytes that may wait for a peer that does not read; beyond it the client gives up.
const MOST_UNSENT: usize = 4 << 20;

thread_local! {
    /// What all connections of a thread read into: an idle one owns no buffer.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch { raw: vec![0; 64 << 10], plain: Vec::new() });
}

struct Scratch {
    raw: Vec<u8>,
    plain: Vec<u8>,
}

#[derive(Debug)]
enum Socket {
    Stream(TcpStream),
    Datagram(UdpSocket),
}

/// A connected socket, its TLS, and what waits to be written.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    unsent: Vec<u8>,
    taken: usize,
}

impl Wire {
    /// Connects, and does the TLS handshake where there is TLS.
    pub(crate) async fn connect(
        target: &Target,
        source: Option<IpAddr>,
        buffer: ReceiveBuffer,
    ) -> Result<Self, ConnectError> {
        let socket = if target.transport == Transport::Udp {
            let any = if target.address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = UdpSocket::bind(SocketAddr::new(source.unwrap_or(any), 0)).await?;
            socket.connect(target.address).await?;
            // Until the runtime has seen that it is, nothing can be sent without waiting.
            socket.writable().await?;
            Socket::Datagram(socket)
        } else {
            Socket::Stream(source::connect(source, target.address, buffer).await?)
        };
        let mut wire = Self { socket, tls: None, unsent: Vec::new(), taken: 0 };
        if target.is_tls() {
            let name = match &target.host {
                Some(host) => ServerName::try_from(host.to_string()).map_err(|_| ConnectError::HostName)?,
                None => ServerName::from(target.address.ip()),
            };
            let tls = ClientConnection::new(target.trust.config(), name).map_err(ConnectError::Tls)?;
            wire.tls = Some(Box::new(tls));
            wire.flush_tls()?;
            while wire.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
                match wire.read(|_| ()).await {
                    Ok(()) => {}
                    Err(Ended::Tls(error)) => return Err(ConnectError::Tls(error)),
                    Err(ended) => return Err(ConnectError::Ended(ended)),
                }
            }
        }
        Ok(wire)
    }

    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Socket::Stream(stream) => stream.local_addr(),
            Socket::Datagram(socket) => socket.local_addr(),
        }
    }

    /// Waits for bytes (or the end), and hands over what they are in plain. Nothing is lost when it is
    /// dropped.
    pub(crate) async fn read(&mut self, take: impl FnOnce(&mut [u8])) -> Result<(), Ended> {
        let mut take = Some(take);
        std::future::poll_fn(move |context| {
            // How a connection ended is for reading to say.
            let _ = self.poll_flush(context);
            SCRATCH.with_borrow_mut(|scratch| {
                let length =
                    ready!(self.poll_raw(context, &mut scratch.raw)).map_err(|error| Ended::of(&error))?;
                if length == 0 && matches!(self.socket, Socket::Stream(_)) {
                    return Poll::Ready(Err(Ended::Eof));
                }
                let raw = &mut scratch.raw[..length];
                let Some(take) = take.take() else { return Poll::Ready(Ok(())) };
                if self.tls.is_none() {
                    take(raw);
                    return Poll::Ready(Ok(()));
                }
                scratch.plain.clear();
                let decrypted = self.decrypt(raw, &mut scratch.plain);
                take(&mut scratch.plain);
                Poll::Ready(decrypted)
            })
        })
        .await
    }

    fn poll_raw(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        match &mut self.socket {
            // Not `readable` and `try_read`: a short read tells the runtime that the socket is drained.
            Socket::Stream(stream) => ready!(Pin::new(stream).poll_read(context, &mut buffer))?,
            Socket::Datagram(socket) => ready!(socket.poll_recv(context, &mut buffer))?,
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn decrypt(&mut self, mut raw: &[u8], plain: &mut Vec<u8>) -> Result<(), Ended> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut outcome = Ok(());
        while !raw.is_empty() && outcome.is_ok() {
            tls.read_tls(&mut raw).map_err(|error| Ended::of(&error))?;
            outcome = match tls.process_new_packets() {
                Ok(state) => {
                    let start = plain.len();
                    plain.resize(start + state.plaintext_bytes_to_read(), 0);
                    let read = tls.reader().read(&mut plain[start..]).unwrap_or(0);
                    plain.truncate(start + read);
                    if state.peer_has_closed() { Err(Ended::CloseNotify) } else { Ok(()) }
                }
                Err(error) => Err(Ended::Tls(error)),
            };
        }
        // An alert of ours may be due even when the peer is at fault.
        let flushed = self.flush_tls().map_err(|error| Ended::of(&error));
        outcome.and(flushed)
    }

    /// Reads and throws away, without a word, until the other end ends it; `None` when it did not in time.
    pub(crate) async fn ignore(&mut self, patience: Duration) -> Option<Ended> {
        let ignoring = std::future::poll_fn(|context| {
            SCRATCH.with_borrow_mut(|scratch| {
                loop {
                    match ready!(self.poll_raw(context, &mut scratch.raw)) {
                        Ok(0) => return Poll::Ready(Ended::Eof),
                        Ok(_) => {}
                        Err(error) => return Poll::Ready(Ended::of(&error)),
                    }
                }
            })
        });
        timeout(patience, ignoring).await.ok()
    }

    /// Leaves what comes unread, until the other end cuts the connection; `None` when it did not in time.
    pub(crate) async fn leave_unread(&mut self, patience: Duration) -> Option<Ended> {
        let Socket::Stream(stream) = &self.socket else { return None };
        timeout(patience, stream.ready(Interest::ERROR)).await.ok()?.ok()?;
        let error = stream.take_error().ok().flatten();
        Some(error.map_or(Ended::Cut(io::ErrorKind::ConnectionReset), |error| Ended::of(&error)))
    }

    /// Sends, encrypted where there is TLS.
    pub(crate) fn send(&mut self, plain: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return self.send_raw(plain) };
        let mut rest = plain;
        while !rest.is_empty() {
            let taken = io::Write::write(&mut tls.writer(), rest)?;
            rest = &rest[taken..];
            let mut cipher = Vec::with_capacity(taken + 128);
            while tls.wants_write() {
                tls.write_tls(&mut cipher)?;
            }
            write(&self.socket, &mut self.unsent, &mut self.taken, &cipher)?;
        }
        Ok(())
    }

    /// Sends as it is, past TLS.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        write(&self.socket, &mut self.unsent, &mut self.taken, bytes)
    }

    /// The encrypted form of `plain`, not sent.
    pub(crate) fn encrypt(&mut self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let Some(tls) = &mut self.tls else { return Ok(plain.to_vec()) };
        io::Write::write_all(&mut tls.writer(), plain)?;
        let mut cipher = Vec::with_capacity(plain.len() + 128);
        while tls.wants_write() {
            tls.write_tls(&mut cipher)?;
        }
        Ok(cipher)
    }

    pub(crate) fn close_notify(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush_tls()
    }

    /// Has our own TLS fail as if the peer had broken it, and sends the fatal alert that comes of it.
    pub(crate) fn fatal_alert(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.read_tls(&mut &[0x17, 3, 3, 0, 32, 0, 0, 0, 0][..])?;
            tls.read_tls(&mut &[0; 28][..])?;
            // It cannot be decrypted.
            let _ = tls.process_new_packets();
        }
        self.flush_tls()
    }

    fn flush_tls(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut cipher = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut cipher)?;
        }
        write(&self.socket, &mut self.unsent, &mut self.taken, &cipher)
    }

    /// Waits until everything is in the kernel's hands.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_flush(context)).await
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.taken < self.unsent.len() {
            let rest = &self.unsent[self.taken..];
            let written = match &self.socket {
                Socket::Stream(stream) => {
                    ready!(stream.poll_write_ready(context))?;
                    stream.try_write(rest)
                }
                Socket::Datagram(_) => Ok(rest.len()),
            };
            match written {
                Ok(written) => self.taken += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        (self.unsent, self.taken) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Ends our direction (a FIN) and goes on reading.
    pub(crate) fn shut_down_writing(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Stream(stream) => SockRef::from(stream).shutdown(std::net::Shutdown::Write),
            Socket::Datagram(_) => Ok(()),
        }
    }

    /// Reads what has come by now and throws it away: a socket that is closed with bytes unread sends a RST
    /// in place of its FIN.
    pub(crate) fn drain(&self) {
        let Socket::Stream(stream) = &self.socket else { return };
        SCRATCH.with_borrow_mut(|scratch| while matches!(stream.try_read(&mut scratch.raw), Ok(1..)) {});
    }

    /// Closes with a RST.
    pub(crate) fn reset(self) -> io::Result<()> {
        match &self.socket {
            Socket::Stream(stream) => stream.set_zero_linger(),
            Socket::Datagram(_) => Ok(()),
        }
    }
}

fn write(socket: &Socket, unsent: &mut Vec<u8>, taken: &mut usize, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    if *taken == unsent.len() && !rest.is_empty() {
        let written = match socket {
            Socket::Stream(stream) => stream.try_write(rest),
            // A datagram that cannot go is lost, as datagrams may be.
            Socket::Datagram(socket) => socket.try_send(rest).or(Ok(rest.len())),
        };
        match written {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    if unsent.len() + rest.len() > MOST_UNSENT {
        return Err(io::Error::other("the server takes no bytes"));
    }
    unsent.extend_from_slice(rest);
    Ok(())
}
