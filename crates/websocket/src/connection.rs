//! One connection's protocol state, from the end of the handshake to the end of the closing handshake.

use std::borrow::Cow;
use std::ops::Range;

use crate::close::{self, CloseCode, CloseFrame};
use crate::encode;
use crate::error::ProtocolError;
use crate::frame::{Header, MAX_HEADER, Opcode, Open};
use crate::mask::apply_mask;
use crate::message_assembler::{MessageAssembler, OpenFrame, Partial};

/// Which end of the connection this is (RFC 6455 §5.1: a client masks, a server does not).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes masked frames only.
    Server,
    /// Takes unmasked frames only.
    Client,
}

/// Bounds on what a peer may send. Control frames are bounded by the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of payload in one message, all its fragments together. Default 131,072.
    pub max_message: u32,
    /// Bytes of payload in one data frame. Default 131,072.
    pub max_frame: u32,
    /// Frames in one message; an unfragmented message has one. Default 256.
    pub max_fragments: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message: 128 * 1024, max_frame: 128 * 1024, max_fragments: 256 }
    }
}

/// The two data opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Its data is UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// A whole message, put together from its fragments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Text or binary.
    pub kind: MessageKind,
    /// Borrowed from the input when the message lay whole in it in one frame; owned when it had to be
    /// gathered. UTF-8 if the kind is text.
    pub data: Cow<'a, [u8]>,
}

/// Something the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// To be answered with a Pong of the same payload ([`encode::pong`]) while [`Connection::phase`] is
    /// [`Phase::Open`].
    Ping(Cow<'a, [u8]>),
    /// The answer to a Ping, or unasked for.
    Pong(Cow<'a, [u8]>),
    /// The peer sends nothing more. See [`Connection::answer_close`].
    Close(CloseFrame<'a>),
}

/// What [`Connection::receive`] made of the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Bytes of the input that are done with; at least one if there was one, and all of them if there is no
    /// event.
    pub consumed: usize,
    /// `None`: the input is used up. An incomplete rest is kept inside, or, after the end, thrown away.
    pub event: Option<Event<'a>>,
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// This end.
    Local,
    /// The other end.
    Peer,
}

/// Where the connection stands (RFC 6455 §7.1). The bound on the time in each phase but `Open` is the
/// caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No Close in either direction: send and receive.
    Open,
    /// We sent Close and wait for the peer's. What it still sends is delivered as before; no frame may be
    /// sent, so a Ping stays unanswered.
    AwaitingClose,
    /// The peer sent Close: nothing more comes. A message that is half out may be ended, then comes
    /// [`answer_close`](Connection::answer_close).
    AnswerDue,
    /// The peer broke the protocol: nothing more is read. Call [`close`](Connection::close) with the error's
    /// code.
    Failed,
    /// Nothing more is to be sent or read. A server now ends the TCP connection; a client waits for it to do
    /// so.
    Done,
}

/// Whether a Close frame was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum CloseSent {
    /// It is in the output.
    Written,
    /// One was written before, and there is only one: the output is as it was.
    AlreadySent,
}

/// The protocol state of one connection.
///
/// *Reading*: [`receive`](Self::receive). *Closing*: [`close`](Self::close),
/// [`answer_close`](Self::answer_close). *Asking*: [`phase`](Self::phase),
/// [`closed_first`](Self::closed_first), [`sent_close`](Self::sent_close),
/// [`received_close`](Self::received_close), [`failure`](Self::failure), [`held_bytes`](Self::held_bytes).
///
/// Between messages it is a few dozen bytes and owns no heap. While a frame or message is incomplete it holds
/// one small allocation and one for the payload, which grows with what arrives.
#[derive(Debug)]
pub struct Connection {
    partial: Option<Box<Partial>>,
    limits: Limits,
    role: Role,
    reading: Reading,
    /// The code of the Close we sent, if we did.
    sent: Option<Option<CloseCode>>,
    first: Option<Side>,
}

/// The receiving half.
#[derive(Clone, Copy, Debug)]
enum Reading {
    Open,
    Closed(Option<CloseCode>),
    Failed(ProtocolError),
}

impl Connection {
    /// A connection whose handshake is done. A limit of zero fragments counts as one.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> Self {
        let limits = Limits { max_fragments: limits.max_fragments.max(1), ..limits };
        Self { partial: None, limits, role, reading: Reading::Open, sent: None, first: None }
    }

    /// Reads until there is something to tell or the input is used up. Call again with the rest of the input
    /// after `consumed` bytes.
    ///
    /// The input is unmasked in place. After a Close frame or an error everything is consumed and ignored.
    ///
    /// # Errors
    /// The peer broke a rule: the connection is failed; write [`close`](Self::close) with the error's
    /// [`close_code`](ProtocolError::close_code) and end it. Events returned before the error stand.
    pub fn receive<'a>(&mut self, input: &'a mut [u8]) -> Result<Received<'a>, ProtocolError> {
        let mut at = 0;
        while matches!(self.reading, Reading::Open) && at < input.len() {
            match self.advance(input, &mut at) {
                Ok(Some(found)) => {
                    let event = found.into_event(&input[..at]);
                    return Ok(Received { consumed: at, event: Some(event) });
                }
                Ok(None) => {}
                Err(error) => {
                    self.partial = None;
                    self.reading = Reading::Failed(error);
                    return Err(error);
                }
            }
        }
        Ok(Received { consumed: input.len(), event: None })
    }

    /// Writes a Close frame, unless one was sent. This is the first Close, or the answer to the peer's, or
    /// the farewell after an error. The reason is cut at 123 bytes, between characters.
    ///
    /// The frame is masked with a key of zeros if this is a client; see
    /// [`client::close`](crate::client::close).
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>) -> CloseSent {
        self.send_close(Some(code), reason, out)
    }

    /// Writes the answer to the peer's Close: its own code, or an empty frame if it gave none (RFC 6455
    /// §5.5.1). Does nothing if we sent ours before.
    pub fn answer_close(&mut self, out: &mut Vec<u8>) -> CloseSent {
        let code = match self.reading {
            Reading::Closed(code) => code,
            Reading::Open => None,
            Reading::Failed(error) => Some(error.close_code()),
        };
        self.send_close(code, "", out)
    }

    /// Where the connection stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match (self.reading, self.sent) {
            (Reading::Open, None) => Phase::Open,
            (Reading::Open, Some(_)) => Phase::AwaitingClose,
            (Reading::Closed(_), None) => Phase::AnswerDue,
            (Reading::Failed(_), None) => Phase::Failed,
            (Reading::Closed(_) | Reading::Failed(_), Some(_)) => Phase::Done,
        }
    }

    /// Which end sent the first Close frame; `None` if none was sent.
    #[must_use]
    pub fn closed_first(&self) -> Option<Side> {
        self.first
    }

    /// The code of the Close we sent: `None` if we sent none, `Some(None)` if it was empty.
    #[must_use]
    pub fn sent_close(&self) -> Option<Option<CloseCode>> {
        self.sent
    }

    /// The code of the peer's Close: `None` if there was none, `Some(None)` if it was empty.
    #[must_use]
    pub fn received_close(&self) -> Option<Option<CloseCode>> {
        match self.reading {
            Reading::Closed(code) => Some(code),
            Reading::Open | Reading::Failed(_) => None,
        }
    }

    /// What the peer broke, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<ProtocolError> {
        match self.reading {
            Reading::Failed(error) => Some(error),
            Reading::Open | Reading::Closed(_) => None,
        }
    }

    /// Bytes of heap held for what is incomplete; zero between messages.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            size_of::<Partial>()
                + partial.control.capacity()
                + partial.message.as_ref().map_or(0, |message| message.data.capacity())
        })
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    fn send_close(&mut self, code: Option<CloseCode>, reason: &str, out: &mut Vec<u8>) -> CloseSent {
        if self.sent.is_some() {
            return CloseSent::AlreadySent;
        }
        match self.role {
            Role::Server => encode::close(code, reason, out),
            Role::Client => crate::client::close(code, reason, [0; 4], out),
        }
        self.sent = Some(code);
        self.first.get_or_insert(Side::Local);
        CloseSent::Written
    }

    /// Takes one step through the input, from `at` on: a header, a payload, or as much of either as there is.
    fn advance(&mut self, input: &mut [u8], at: &mut usize) -> Result<Option<Found>, ProtocolError> {
        let open = match self.partial.as_ref().and_then(|partial| partial.frame) {
            Some(open) => open,
            None => match self.read_header(input, at)? {
                Some(header) => OpenFrame { header, received: 0 },
                None => return Ok(None),
            },
        };
        let OpenFrame { header, received } = open;
        let end = input.len().min(at.saturating_add(header.length - received));
        let range = *at..end;
        let received_after = received + range.len();
        *at = end;
        if range.is_empty() && header.length > 0 {
            // The input ended with the header: the payload may yet come whole.
            self.partial_mut().frame = Some(open);
            return Ok(None);
        }
        let payload = &mut input[range.clone()];
        apply_mask(payload, header.mask, received as u64);
        let whole = received_after == header.length;
        if !whole {
            self.partial_mut().frame = Some(OpenFrame { header, received: received_after });
        } else if let Some(partial) = &mut self.partial {
            partial.frame = None;
        }
        let found = match header.opcode {
            opcode if opcode.is_control() => self.control(opcode, header.length, payload, range)?,
            Opcode::Text if whole && received == 0 && header.fin => {
                std::str::from_utf8(payload).map_err(|_| ProtocolError::TextNotUtf8)?;
                Some(Found::Message(MessageKind::Text, Place::Input(range)))
            }
            Opcode::Binary if whole && received == 0 && header.fin => {
                Some(Found::Message(MessageKind::Binary, Place::Input(range)))
            }
            _ => self.gather(header, payload, received_after)?,
        };
        if found.is_some() {
            self.settle();
        }
        Ok(found)
    }

    fn read_header(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Header>, ProtocolError> {
        let rest = &input[*at..];
        let open = self
            .partial
            .as_ref()
            .and_then(|partial| partial.message.as_ref())
            .map(|message| Open { bytes: message.data.len(), fragments: message.fragments });
        let kept = self.partial.as_ref().map_or(0, |partial| partial.head.len);
        if kept == 0 {
            let header = Header::read(rest, self.role, &self.limits, open)?;
            match header {
                Some(header) => *at += header.size,
                None => {
                    let head = &mut self.partial_mut().head;
                    head.bytes[..rest.len()].copy_from_slice(rest);
                    head.len = rest.len();
                    *at = input.len();
                }
            }
            return Ok(header);
        }
        let (role, limits) = (self.role, self.limits);
        let partial = self.partial_mut();
        let taken = rest.len().min(MAX_HEADER - kept);
        partial.head.bytes[kept..kept + taken].copy_from_slice(&rest[..taken]);
        let header = Header::read(&partial.head.bytes[..kept + taken], role, &limits, open)?;
        match header {
            Some(header) => {
                *at += header.size - kept;
                partial.head.len = 0;
            }
            None => {
                *at += taken;
                partial.head.len = kept + taken;
            }
        }
        Ok(header)
    }

    /// Adds unmasked payload to the message that is open, or opens one. `received` counts the frame's bytes,
    /// these included.
    fn gather(
        &mut self,
        header: Header,
        payload: &[u8],
        received: usize,
    ) -> Result<Option<Found>, ProtocolError> {
        let partial = self.partial_mut();
        let kind = if header.opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary };
        let message = partial.message.get_or_insert_with(|| MessageAssembler::new(kind));
        if received == payload.len() {
            message.fragments += 1;
        }
        message.append(payload, header.fin.then_some(header.length - received))?;
        if received < header.length || !header.fin {
            return Ok(None);
        }
        let whole = partial.message.take().expect("a message was opened above");
        let (kind, data) = whole.finish()?;
        Ok(Some(Found::Message(kind, Place::Gathered(data))))
    }

    /// Takes a control frame, or the next piece of one: `length` is what the whole frame announced.
    fn control(
        &mut self,
        opcode: Opcode,
        length: usize,
        payload: &[u8],
        range: Range<usize>,
    ) -> Result<Option<Found>, ProtocolError> {
        let place = if payload.len() == length {
            Place::Input(range)
        } else {
            let control = &mut self.partial_mut().control;
            control.extend_from_slice(payload);
            if control.len() < length {
                return Ok(None);
            }
            Place::Gathered(std::mem::take(control))
        };
        Ok(Some(match opcode {
            Opcode::Ping => Found::Ping(place),
            Opcode::Close => {
                let code = match &place {
                    Place::Input(_) => close::check_payload(payload)?,
                    Place::Gathered(control) => close::check_payload(control)?,
                };
                self.peer_closed(code);
                Found::Close(code, place)
            }
            _ => Found::Pong(place),
        }))
    }

    fn peer_closed(&mut self, code: Option<CloseCode>) {
        self.reading = Reading::Closed(code);
        self.first.get_or_insert(Side::Peer);
        // A message that was never ended will not be.
        self.partial = None;
    }

    fn partial_mut(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }

    /// Gives the heap back when nothing is incomplete any more.
    fn settle(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| partial.is_empty()) {
            self.partial = None;
        }
    }
}

/// An event, and where its payload lies.
enum Found {
    Message(MessageKind, Place),
    Ping(Place),
    Pong(Place),
    Close(Option<CloseCode>, Place),
}

enum Place {
    Input(Range<usize>),
    Gathered(Vec<u8>),
}

impl Place {
    fn bytes(self, input: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Input(range) => Cow::Borrowed(&input[range]),
            Self::Gathered(bytes) => Cow::Owned(bytes),
        }
    }
}

impl Found {
    fn into_event(self, input: &[u8]) -> Event<'_> {
        match self {
            Self::Message(kind, place) => Event::Message(Message { kind, data: place.bytes(input) }),
            Self::Ping(place) => Event::Ping(place.bytes(input)),
            Self::Pong(place) => Event::Pong(place.bytes(input)),
            Self::Close(code, place) => {
                let payload = place.bytes(input);
                // Was checked to be UTF-8 when the code was read; borrowing it as such costs at most 123
                // bytes again.
                let reason = match payload {
                    Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes.get(2..).unwrap_or_default()),
                    Cow::Owned(bytes) => {
                        Cow::Owned(String::from_utf8_lossy(bytes.get(2..).unwrap_or_default()).into_owned())
                    }
                };
                Event::Close(CloseFrame { code, reason })
            }
        }
    }
}
