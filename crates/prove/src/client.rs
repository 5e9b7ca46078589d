//! One user agent on one connection. It owns no task and no buffer while nothing comes: tens of thousands fit
//! in a process.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lifecycle::Transport;
use sip_message::{Message, Method, StartLine, StreamFramer, response::ResponseBuilder};
use tokio::time::timeout;

mod opening;
mod requests;
mod speech;

use crate::persona::Identity;
use crate::source::ReceiveBuffer;
use crate::wire::Wire;
use crate::{ConnectError, Ended, Persona, Target};
pub use requests::Transaction;
pub(crate) use speech::Speech;

/// Messages that may wait to be taken with [`Client::next`]; older ones are dropped.
const MOST_WAITING: usize = 1024;

/// How to connect, and as whom.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The user's name; the domain is the target's.
    pub user: String,
    /// The password, where the server asks for one.
    pub password: Option<String>,
    /// Whose habits the client has.
    pub persona: Persona,
    /// The address to connect from; `None` leaves it to the system.
    pub source: Option<IpAddr>,
    /// How much the kernel holds of what the client does not read.
    pub receive_buffer: ReceiveBuffer,
    /// How long connecting, and any one request, may take.
    pub patience: Duration,
}

impl Setup {
    /// A user without password, connecting from wherever, as JsSIP would, with 10 s of patience.
    #[must_use]
    pub fn new(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: None,
            persona: Persona::JsSip,
            source: None,
            receive_buffer: ReceiveBuffer::System,
            patience: Duration::from_secs(10),
        }
    }
}

/// What a client does with a request that comes to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answering {
    /// 200 to everything but INVITE (486) and ACK (nothing).
    #[default]
    Answers,
    /// Nothing.
    KeepsSilent,
}

/// A SIP message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A request; it has been answered already.
    Request(Box<[u8]>),
    /// A response.
    Response(Response),
}

/// A response that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// The request it is for; `None` if that was not one of ours.
    pub transaction: Option<Transaction>,
    /// The whole message.
    pub bytes: Box<[u8]>,
}

impl Incoming {
    /// The whole message.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Request(bytes) => bytes,
            Self::Response(response) => &response.bytes,
        }
    }

    /// The message, read.
    ///
    /// # Panics
    /// Never: what cannot be read does not come as `Incoming`.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        Message::parse(self.bytes()).expect("was read when it came")
    }
}

/// A user agent on one connection.
#[derive(Debug)]
pub struct Client {
    pub(crate) wire: Wire,
    pub(crate) speech: Speech,
    pub(crate) me: Identity,
    answering: Answering,
    waiting: VecDeque<Incoming>,
    dropped: u64,
    patience: Duration,
    target: Target,
    local: SocketAddr,
    credentials: Option<Box<requests::Credentials>>,
}

impl Client {
    /// Connects; over ws and wss that includes the upgrade with the sub-protocol `sip`.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect(target: &Target, setup: &Setup) -> Result<Self, ConnectError> {
        Dialled::connect(target, setup).await?.upgrade(setup).await
    }

    /// From now on challenges are answered with this password.
    pub fn set_password(&mut self, password: &str) {
        self.me.password = Some(password.to_owned());
    }

    /// This end's address, as the server sees it where nothing stands between.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// The URI others reach this user by.
    #[must_use]
    pub fn address_of_record(&self) -> String {
        self.me.address_of_record()
    }

    /// The listener it is connected to.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// What to do with requests from now on.
    pub const fn set_answering(&mut self, answering: Answering) {
        self.answering = answering;
    }

    /// Messages that were dropped because nobody took them.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next message. Pings and requests are answered on the way. Nothing is lost when the future is
    /// dropped.
    ///
    /// # Errors
    /// The server ended the connection.
    pub async fn next(&mut self) -> Result<Incoming, Ended> {
        loop {
            if let Some(incoming) = self.waiting.pop_front() {
                if self.waiting.is_empty() {
                    self.waiting = VecDeque::new();
                }
                return Ok(incoming);
            }
            self.step().await?;
        }
    }

    /// Answers pings and requests until the server ends the connection. Nothing is lost when the future is
    /// dropped.
    pub async fn serve(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.next().await {
                return ended;
            }
        }
    }

    /// As [`serve`](Self::serve), for so long at most; `None` when the connection still stands then.
    pub async fn serve_for(&mut self, time: Duration) -> Option<Ended> {
        timeout(time, self.serve()).await.ok()
    }

    /// Sends bytes as one SIP message, whatever they are.
    ///
    /// # Errors
    /// The connection is over; [`next`](Self::next) tells how.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let framed = self.speech.frame(message);
        self.wire.send(&framed)
    }

    /// Waits until all that was sent is in the kernel's hands.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.wire.flush().await
    }

    /// Reads once and handles what came.
    async fn step(&mut self) -> Result<(), Ended> {
        let Self { wire, speech, answering, waiting, dropped, .. } = self;
        let mut answers = Vec::new();
        let mut heard = Ok(());
        let read = wire
            .read(|bytes| {
                heard = speech.hear(bytes, &mut answers, |message, answers| {
                    take_in(message, *answering, waiting, dropped, answers);
                });
            })
            .await;
        // An answer that cannot go any more: reading tells why.
        let _ = wire.send(&answers);
        heard.and(read)
    }
}

/// Keeps a message for the next call, and writes the answer if it is a request. What is no SIP is
/// dropped.
fn take_in(
    bytes: &[u8],
    answering: Answering,
    waiting: &mut VecDeque<Incoming>,
    dropped: &mut u64,
    answers: &mut Vec<u8>,
) {
    let Ok(message) = Message::parse(bytes) else { return };
    let incoming = match message.start_line() {
        StartLine::Response { status, .. } => {
            let transaction = message.via_top().ok().and_then(|via| Transaction::of_branch(via.branch()?));
            Incoming::Response(Response { status, transaction, bytes: bytes.into() })
        }
        StartLine::Request { method, .. } => {
            if answering == Answering::Answers && method != Method::Ack {
                let (status, reason) =
                    if method == Method::Invite { (486, "Busy Here") } else { (200, "OK") };
                let tag = message.call_id().map_or(0, |call| {
                    call.iter().fold(7, |sum: u32, &byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)))
                });
                let tag = format!("{tag:08x}");
                // A request without Via cannot be answered.
                let _ = ResponseBuilder::new(&message, status, reason).to_tag(tag.as_bytes()).write(answers);
            }
            Incoming::Request(bytes.into())
        }
    };
    if waiting.len() >= MOST_WAITING {
        waiting.pop_front();
        *dropped += 1;
    }
    waiting.push_back(incoming);
}

/// A connection that is no client yet: its address is known before the server can know of a flow.
#[derive(Debug)]
pub struct Dialled {
    wire: Wire,
    target: Target,
    local: SocketAddr,
}

impl Dialled {
    /// Connects; with TLS where there is TLS.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect(target: &Target, setup: &Setup) -> Result<Self, ConnectError> {
        let connecting = Wire::connect(target, setup.source, setup.receive_buffer);
        let wire = timeout(setup.patience, connecting).await.map_err(|_| ConnectError::TimedOut)??;
        let local = wire.local()?;
        Ok(Self { wire, target: target.clone(), local })
    }

    /// This end's address.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Asks for the WebSocket and resets the connection without waiting for the answer: the server may find
    /// out before, while or after it makes a flow of it.
    ///
    /// # Errors
    /// The connection broke before.
    pub fn ask_and_vanish(mut self) -> io::Result<()> {
        opening::ask(&mut self.wire, &self.target)?;
        self.wire.reset()
    }

    /// Asks for the WebSocket, where there is one.
    ///
    /// # Errors
    /// The server refused, or the connection broke.
    pub async fn upgrade(mut self, setup: &Setup) -> Result<Client, ConnectError> {
        let mut early = Vec::new();
        let speech = match self.target.transport {
            Transport::Ws | Transport::Wss => {
                let opening = opening::upgrade(&mut self.wire, &self.target, &mut early);
                timeout(setup.patience, opening).await.map_err(|_| ConnectError::TimedOut)??;
                Speech::web_socket()
            }
            Transport::Tcp | Transport::Tls => {
                Speech::Stream { framer: StreamFramer::default(), partial: Vec::new() }
            }
            Transport::Udp => Speech::Datagrams,
        };
        let domain = self.target.domain.to_string();
        let mut me = Identity::new(setup.persona, self.target.transport, &setup.user, &domain, self.local);
        me.password.clone_from(&setup.password);
        let mut client = Client {
            wire: self.wire,
            speech,
            me,
            answering: Answering::default(),
            waiting: VecDeque::new(),
            dropped: 0,
            patience: setup.patience,
            target: self.target,
            local: self.local,
            credentials: None,
        };
        client.hear_early(&mut early).map_err(ConnectError::Ended)?;
        Ok(client)
    }
}

impl Client {
    fn hear_early(&mut self, early: &mut [u8]) -> Result<(), Ended> {
        let Self { wire, speech, answering, waiting, dropped, .. } = self;
        let mut answers = Vec::new();
        let heard = speech.hear(early, &mut answers, |message, answers| {
            take_in(message, *answering, waiting, dropped, answers);
        });
        let _ = wire.send(&answers);
        heard
    }
}
