//! TLS in front of a connection, by rustls's unbuffered API: between records nothing is buffered, so an
//! idle connection costs only its keys.

use std::{fmt, mem, sync::Arc};

use lifecycle::{Text, TlsFacts};
use rustls::{
    ClientConfig, ServerConfig,
    client::{ClientConnectionData, UnbufferedClientConnection},
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{
        ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
    },
};
use rustls_pki_types::ServerName;

/// Our side of one TLS connection.
pub(crate) struct Tls {
    side: Side,
    /// The beginning of a record whose end has not come; empty (and without heap) most of the time.
    partial: Vec<u8>,
    peer: Peer,
}

/// Who began.
enum Side {
    /// The peer did.
    Server(Box<UnbufferedServerConnection>),
    /// We did.
    Client(Box<UnbufferedClientConnection>),
}

/// The common part of both sides; rustls has it twice.
trait Records {
    type Data;

    fn records<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// Whether something is to be sent before anything else is done.
    fn has_records(&self) -> bool;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn records<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn has_records(&self) -> bool {
        self.wants_write()
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn records<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn has_records(&self) -> bool {
        self.wants_write()
    }
}

/// The bytes to encrypt.
#[derive(Clone, Copy)]
enum Outgoing<'p> {
    Plaintext(&'p [u8]),
    CloseNotify,
}

impl Outgoing<'_> {
    /// Bytes that it takes at most.
    fn room(self) -> usize {
        match self {
            Self::Plaintext(plaintext) => plaintext.len() + (plaintext.len() / 16_384 + 1) * 64,
            Self::CloseNotify => 64,
        }
    }

    fn put<D>(self, traffic: &mut WriteTraffic<'_, D>, space: &mut [u8]) -> Result<usize, EncryptError> {
        match self {
            Self::Plaintext(plaintext) => traffic.encrypt(plaintext, space),
            Self::CloseNotify => traffic.queue_close_notify(space),
        }
    }
}

/// Whether the peer may still say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Speaks,
    /// It sent close_notify, which rustls tells only once.
    Closed,
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The handshake goes on.
    Handshaking,
    /// Application data may be sent.
    Open,
    /// The peer said close_notify: nothing more comes from it.
    PeerClosed,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("partial", &self.partial.len()).finish_non_exhaustive()
    }
}

impl Tls {
    /// # Errors
    /// A configuration that rustls refuses.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let connection = Box::new(UnbufferedServerConnection::new(config)?);
        Ok(Self { side: Side::Server(connection), partial: Vec::new(), peer: Peer::Speaks })
    }

    /// A connection that we make, to a server that must prove to be `name`. What is to be sent first comes
    /// with the first [`Tls::receive`], of nothing.
    ///
    /// # Errors
    /// A configuration that rustls refuses.
    pub(crate) fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let connection = Box::new(UnbufferedClientConnection::new(config, name)?);
        Ok(Self { side: Side::Client(connection), partial: Vec::new(), peer: Peer::Speaks })
    }

    /// Takes in what came from the socket: decrypted bytes are appended to `plaintext`, what TLS itself has
    /// to say (handshake, alerts) to `reply`, for the caller to send.
    ///
    /// # Errors
    /// The peer broke TLS; `reply` then ends with the alert that says so.
    pub(crate) fn receive(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<Progress, rustls::Error> {
        if self.has_peer_closed() {
            return Ok(Progress::PeerClosed);
        }
        let progress = if self.partial.is_empty() {
            let (used, progress) = self.process(ciphertext, plaintext, reply);
            self.partial.extend_from_slice(ciphertext.get(used..).unwrap_or_default());
            progress
        } else {
            let mut joined = mem::take(&mut self.partial);
            joined.extend_from_slice(ciphertext);
            let (used, progress) = self.process(&mut joined, plaintext, reply);
            if used < joined.len() {
                joined.drain(..used);
                joined.shrink_to(joined.len() * 2);
                self.partial = joined;
            }
            progress
        };
        if matches!(progress, Err(_) | Ok(Progress::PeerClosed)) {
            self.partial = Vec::new();
        }
        if progress == Ok(Progress::PeerClosed) {
            self.peer = Peer::Closed;
        }
        progress
    }

    /// The certificate that the client has shown, and that an authority of ours has signed.
    pub(crate) fn client_certificate(&self) -> Option<&[u8]> {
        match &self.side {
            Side::Server(connection) => connection.peer_certificates()?.first().map(AsRef::as_ref),
            Side::Client(_) => None,
        }
    }

    /// Whether close_notify came: nothing more can come after it.
    pub(crate) fn has_peer_closed(&self) -> bool {
        self.peer == Peer::Closed
    }

    /// Whether the beginning of a record waits for its end.
    pub(crate) fn is_in_a_record(&self) -> bool {
        !self.partial.is_empty()
    }

    fn process(
        &mut self,
        input: &mut [u8],
        plaintext: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> (usize, Result<Progress, rustls::Error>) {
        match &mut self.side {
            Side::Server(connection) => process(&mut **connection, input, plaintext, reply),
            Side::Client(connection) => process(&mut **connection, input, plaintext, reply),
        }
    }

    /// Appends `plaintext`, encrypted, to `out`.
    ///
    /// # Errors
    /// The connection cannot carry data (not open yet, failed, or its keys are used up).
    pub(crate) fn encrypt(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), rustls::Error> {
        self.write(Outgoing::Plaintext(plaintext), out)
    }

    /// Appends the close_notify alert to `out`.
    ///
    /// # Errors
    /// The connection cannot carry it.
    pub(crate) fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<(), rustls::Error> {
        self.write(Outgoing::CloseNotify, out)
    }

    fn write(&mut self, what: Outgoing<'_>, out: &mut Vec<u8>) -> Result<(), rustls::Error> {
        match &mut self.side {
            Side::Server(connection) => write(&mut **connection, &mut self.partial, what, out),
            Side::Client(connection) => write(&mut **connection, &mut self.partial, what, out),
        }
    }

    /// The agreed parameters; known after the handshake.
    pub(crate) fn facts(&self) -> TlsFacts {
        let (version, suite) = match &self.side {
            Side::Server(connection) => (connection.protocol_version(), connection.negotiated_cipher_suite()),
            Side::Client(connection) => (connection.protocol_version(), connection.negotiated_cipher_suite()),
        };
        TlsFacts {
            version: Text::new(version.and_then(|version| version.as_str()).unwrap_or("unknown")),
            cipher: Text::new(suite.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown")),
        }
    }
}

fn process<R: Records>(
    connection: &mut R,
    input: &mut [u8],
    plaintext: &mut Vec<u8>,
    reply: &mut Vec<u8>,
) -> (usize, Result<Progress, rustls::Error>) {
    let mut used = 0;
    loop {
        let Some(rest) = input.get_mut(used..) else { return (used, Ok(Progress::Open)) };
        let UnbufferedStatus { mut discard, state } = connection.records(rest);
        let done = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let mut done = None;
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            plaintext.extend_from_slice(record.payload);
                        }
                        Err(error) => {
                            done = Some(Err(error));
                            break;
                        }
                    }
                }
                done
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                let encoded = append(reply, 4096, |space| match data.encode(space) {
                    Err(EncodeError::InsufficientSize(size)) => Err(size.into()),
                    Err(EncodeError::AlreadyEncoded) => Ok(0),
                    Ok(length) => Ok(length),
                });
                encoded.err().map(Err)
            }
            // `reply` is sent by the caller before anything else is.
            Ok(ConnectionState::TransmitTlsData(sent)) => {
                sent.done();
                None
            }
            Ok(ConnectionState::BlockedHandshake) => Some(Ok(Progress::Handshaking)),
            Ok(ConnectionState::WriteTraffic(_)) => Some(Ok(Progress::Open)),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(Ok(Progress::PeerClosed)),
            // Early data is never offered by us.
            Ok(_) => Some(Err(rustls::Error::General("a TLS state that is not ours".into()))),
            Err(error) => Some(Err(error)),
        };
        used += discard;
        match done {
            Some(Err(error)) => {
                write_alert(connection, reply);
                return (used, Err(error));
            }
            Some(Ok(progress)) => return (used, Ok(progress)),
            None => {}
        }
    }
}

/// After an error rustls has the alert ready, perhaps behind what it was about to say.
fn write_alert<R: Records>(connection: &mut R, reply: &mut Vec<u8>) {
    // Asked for anything more, it would look for the rest of the input that it failed at.
    while connection.has_records()
        && let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut data)), .. } =
            connection.records(&mut [])
    {
        let encoded = append(reply, 4096, |space| match data.encode(space) {
            Err(EncodeError::InsufficientSize(size)) => Err(size.into()),
            Err(EncodeError::AlreadyEncoded) => Ok(0),
            Ok(length) => Ok(length),
        });
        if encoded.is_err() {
            return;
        }
    }
}

fn write<R: Records>(
    connection: &mut R,
    partial: &mut Vec<u8>,
    what: Outgoing<'_>,
    out: &mut Vec<u8>,
) -> Result<(), rustls::Error> {
    // Something of TLS's own (a key update's answer) may have to go first.
    for _ in 0..8 {
        let UnbufferedStatus { discard, state } = connection.records(partial);
        let done = match state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                append(out, what.room(), |space| match what.put(&mut traffic, space) {
                    Err(EncryptError::InsufficientSize(size)) => Err(size.into()),
                    Err(EncryptError::EncryptExhausted) => Err(Unwritten::Exhausted),
                    Ok(length) => Ok(length),
                })?;
                true
            }
            ConnectionState::EncodeTlsData(mut data) => {
                append(out, 4096, |space| match data.encode(space) {
                    Err(EncodeError::InsufficientSize(size)) => Err(size.into()),
                    Err(EncodeError::AlreadyEncoded) => Ok(0),
                    Ok(length) => Ok(length),
                })?;
                false
            }
            ConnectionState::TransmitTlsData(sent) => {
                sent.done();
                false
            }
            ConnectionState::PeerClosed => false,
            _ => return Err(rustls::Error::General("the TLS connection takes no data".into())),
        };
        partial.drain(..discard.min(partial.len()));
        if done {
            return Ok(());
        }
    }
    Err(rustls::Error::General("the TLS connection takes no data".into()))
}

/// Why bytes could not be written.
enum Unwritten {
    TooSmall(usize),
    Exhausted,
}

impl From<InsufficientSizeError> for Unwritten {
    fn from(error: InsufficientSizeError) -> Self {
        Self::TooSmall(error.required_size)
    }
}

/// Lets `put` write behind the end of `out`, with more room if it asks for it.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut put: impl FnMut(&mut [u8]) -> Result<usize, Unwritten>,
) -> Result<(), rustls::Error> {
    let start = out.len();
    let mut room = room;
    for _ in 0..2 {
        out.resize(start + room, 0);
        match put(&mut out[start..]) {
            Ok(length) => {
                out.truncate(start + length);
                return Ok(());
            }
            Err(Unwritten::TooSmall(required)) => room = required,
            Err(Unwritten::Exhausted) => break,
        }
    }
    out.truncate(start);
    Err(rustls::Error::EncryptError)
}
