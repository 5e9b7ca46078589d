//! A connection that is no flow yet: it is read until the peer's wish is clear, and closed if it does not
//! become a flow.

use std::{mem, net::SocketAddr, rc::Rc, time::Duration};

use defence::{
    Client, ClientAddress,
    proxy_header::{self, Header},
};
use sip_message::Frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use websocket::handshake::Refusal;

use super::{
    READ,
    request::{Greeting, examine, refuse},
    stream_codec,
};
use crate::{
    ConnectionHandler, Framing, Listener, Scratch, UnopenedCause, VerifiedClient,
    flow::Codec,
    linger,
    tls::{Progress, Tls},
};

/// A connection that is no flow yet.
pub(super) struct Pending {
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
    /// Whose connection a proxy says that it is.
    pub(super) client: Option<Client>,
    pub(super) tls: Option<Tls>,
    /// Bytes from the socket that were read with the proxy's header and stand behind it.
    early: Vec<u8>,
    /// Plain text received and not used.
    pub(super) received: Vec<u8>,
    silent: PeerSilence,
}

/// Whether the peer has said nothing at all yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PeerSilence {
    Yes,
    No,
}

/// The result of a read.
enum ReadPriority {
    Bytes,
    HttpWithoutTls,
}

impl Pending {
    pub(super) fn new(stream: TcpStream, remote: SocketAddr) -> Self {
        Self {
            stream,
            remote,
            client: None,
            tls: None,
            early: Vec::new(),
            received: Vec::new(),
            silent: PeerSilence::Yes,
        }
    }

    /// Reads until it is clear what the peer wants.
    pub(super) async fn greeting<O: ConnectionHandler>(
        &mut self,
        owner: &Rc<O>,
        listener: &Listener,
        admission: &mut Option<O::Admission>,
    ) -> Result<Greeting, UnopenedCause> {
        if let ClientAddress::ProxyProtocol(_) = &listener.client_address {
            if !listener.client_address.trusts(self.remote.ip()) {
                return Err(UnopenedCause::NotByProxy);
            }
            self.read_proxy_header().await?;
            if let Some(client) = self.client {
                *admission = Some(owner.admit(client.ip).ok_or(UnopenedCause::TurnedAway)?);
            }
        }
        if let Some(config) = &listener.tls {
            self.tls = Some(Tls::new(config.clone()).map_err(|_| UnopenedCause::TlsFailed)?);
        }
        let mut framer = match stream_codec(&listener.settings) {
            Codec::Stream { framer, .. } => framer,
            Codec::WebSocket(_) => return Err(UnopenedCause::NotSip),
        };
        loop {
            if let ReadPriority::HttpWithoutTls = self.read_more().await? {
                return Ok(Greeting::HttpWithoutTls);
            }
            if self.received.is_empty() {
                continue;
            }
            if Framing::of(listener.transport) == Some(Framing::WebSocket) {
                if let Some(greeting) = examine(
                    owner,
                    &self.received,
                    self.remote,
                    self.known_by_certificate(owner, listener),
                    listener,
                    admission,
                ) {
                    return Ok(greeting);
                }
                continue;
            }
            let (mut used, mut pongs) = (0, Vec::new());
            let next = loop {
                match framer.next(self.received.get(used..).unwrap_or_default()) {
                    Ok(keepalive @ (Frame::Crlf | Frame::Ping | Frame::Padding { .. })) => {
                        used += keepalive.len();
                        if keepalive == Frame::Ping {
                            pongs.extend_from_slice(b"\r\n");
                        }
                    }
                    next => break next,
                }
            };
            self.received.drain(..used);
            if !pongs.is_empty() {
                self.send(&pongs).await?;
            }
            match next {
                Ok(Frame::Message { .. }) => return Ok(Greeting::Message),
                Ok(_) => {}
                Err(error) => return Ok(Greeting::NotSip(owner.answer_unframed(&self.received, error))),
            }
        }
    }

    /// Learns whose connection it is, from the proxy.
    async fn read_proxy_header(&mut self) -> Result<(), UnopenedCause> {
        loop {
            match proxy_header::read(&self.early) {
                Ok(Header::Incomplete) => {}
                Ok(Header::Whole { length, client }) => {
                    self.early.drain(..length);
                    self.client = client;
                    return Ok(());
                }
                Err(proxy_header::NotAHeader) => return Err(UnopenedCause::NotByProxy),
            }
            self.early.reserve(READ);
            match self.stream.read_buf(&mut self.early).await {
                Ok(read) if read > 0 => {}
                _ => return Err(UnopenedCause::LeftEarly),
            }
        }
    }

    /// Who the peer is by the certificate that it has shown.
    pub(super) fn known_by_certificate<O: ConnectionHandler>(
        &self,
        owner: &Rc<O>,
        listener: &Listener,
    ) -> Option<VerifiedClient> {
        owner.identify_certificate(self.tls.as_ref()?.client_certificate()?, listener)
    }

    async fn read_more(&mut self) -> Result<ReadPriority, UnopenedCause> {
        let Some(tls) = &mut self.tls else {
            if !self.early.is_empty() {
                self.received = mem::take(&mut self.early);
                return Ok(ReadPriority::Bytes);
            }
            self.received.reserve(READ);
            return match self.stream.read_buf(&mut self.received).await {
                Ok(read) if read > 0 => Ok(ReadPriority::Bytes),
                _ => Err(UnopenedCause::LeftEarly),
            };
        };
        if tls.has_peer_closed() {
            return Err(UnopenedCause::LeftEarly);
        }
        let mut input = mem::take(&mut self.early);
        if input.is_empty() {
            input.resize(READ, 0);
            let Ok(read @ 1..) = self.stream.read(&mut input).await else {
                return Err(UnopenedCause::LeftEarly);
            };
            input.truncate(read);
        }
        let input = input.as_mut_slice();
        let first = mem::replace(&mut self.silent, PeerSilence::No) == PeerSilence::Yes;
        if first && begins_http(input) {
            self.received.extend_from_slice(input);
            return Ok(ReadPriority::HttpWithoutTls);
        }
        let before = self.received.len();
        let mut reply = Vec::new();
        let progress = tls.receive(input, &mut self.received, &mut reply);
        if !reply.is_empty() && self.stream.write_all(&reply).await.is_err() {
            return Err(UnopenedCause::LeftEarly);
        }
        match progress {
            Ok(Progress::Handshaking | Progress::Open) => Ok(ReadPriority::Bytes),
            // It may have said all it wanted to say.
            Ok(Progress::PeerClosed) if self.received.len() > before => Ok(ReadPriority::Bytes),
            Ok(Progress::PeerClosed) => Err(UnopenedCause::LeftEarly),
            Err(rustls::Error::InvalidMessage(_)) => Err(UnopenedCause::NotTls),
            Err(_) => Err(UnopenedCause::TlsFailed),
        }
    }

    async fn send(&mut self, plain: &[u8]) -> Result<(), UnopenedCause> {
        let mut cipher = Vec::new();
        let bytes = match &mut self.tls {
            None => plain,
            Some(tls) => {
                tls.encrypt(plain, &mut cipher).map_err(|_| UnopenedCause::TlsFailed)?;
                &cipher
            }
        };
        self.stream.write_all(bytes).await.map_err(|_| UnopenedCause::LeftEarly)
    }

    /// Says why not, and lets the peer read it.
    pub(super) async fn part(mut self, answer: &[u8], scratch: &Scratch, close_timeout: Duration) {
        let until = Instant::now() + close_timeout;
        let said = timeout_at(until, async {
            self.send(answer).await?;
            let mut goodbye = Vec::new();
            if let Some(tls) = &mut self.tls
                && tls.close_notify(&mut goodbye).is_ok()
            {
                self.stream.write_all(&goodbye).await.map_err(|_| UnopenedCause::LeftEarly)?;
            }
            Ok::<_, UnopenedCause>(())
        });
        if matches!(said.await, Ok(Ok(()))) {
            self.close(scratch, until.saturating_duration_since(Instant::now())).await;
        }
    }

    /// Ends our direction and waits for the peer's end, so that what we said last is not lost.
    pub(super) async fn close(mut self, scratch: &Scratch, close_timeout: Duration) {
        let parting = async {
            if self.stream.shutdown().await.is_ok() {
                linger::discard(&mut self.stream, scratch).await;
            }
        };
        if timeout(close_timeout, parting).await.is_err() {
            let _ = self.stream.set_zero_linger();
        }
    }

    /// Tells who began to ask that it took too long. Who does not listen now will not hear it.
    pub(super) fn too_slow(mut self, listener: &Listener) {
        if self.received.is_empty() || Framing::of(listener.transport) != Some(Framing::WebSocket) {
            return;
        }
        let (mut answer, mut cipher) = (Vec::new(), Vec::new());
        refuse(Refusal::TooSlow, &self.received, &mut answer);
        if let Some(tls) = &mut self.tls {
            if tls.encrypt(&answer, &mut cipher).is_err() {
                return;
            }
            let _ = tls.close_notify(&mut cipher);
            answer = cipher;
        }
        let _ = self.stream.try_write(&answer);
    }
}

/// Whether these first bytes, where TLS should begin, are an HTTP request's. A TLS record begins with a
/// control character.
fn begins_http(input: &[u8]) -> bool {
    [&b"GET "[..], b"POST ", b"HEAD ", b"PUT ", b"OPTIONS "].iter().any(|method| input.starts_with(method))
        && !input.windows(7).any(|window| window == b"SIP/2.0")
}
