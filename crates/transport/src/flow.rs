//! The task of one open flow: reads, judges liveness, writes what waits, and ends with a cause.

mod look;

use std::{
    cell::RefCell,
    io::{self, Read as _},
    mem,
    ops::ControlFlow,
    pin::pin,
    rc::Rc,
    time::Instant,
};

use lifecycle::{By, Cause, Ending};
use sip_message::{Frame, FrameError, StreamFramer};
use socket2::SockRef;
use tokio::{net::tcp::OwnedReadHalf, task::yield_now, time::sleep_until};
use websocket::{CloseCode, Connection, Event, sip};

use crate::{
    ConnectionHandler, Framing, Link, Scratch, linger,
    link::ending_of,
    read_priority::{Step, readiness},
    scratch::READ,
    tls::Progress,
};
use look::{TimerEvent, deadline, next_look};

/// Reads taken before a flow that we end is really over: what its peer had sent by then still counts.
const LAST_READS: usize = 16;

/// How the bytes of a flow become messages.
#[derive(Debug)]
pub(crate) enum Codec {
    WebSocket(Connection),
    Stream { framer: StreamFramer, partial: Vec<u8> },
}

/// The receiving side of an open flow.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) reader: OwnedReadHalf,
    pub(crate) codec: Codec,
}

/// Runs an open flow to its end. `early` is what came behind the handshake already (in plain text).
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn would hold its arguments twice, as long as the flow is there"
)]
pub(crate) fn run<O: ConnectionHandler>(
    owner: Rc<O>,
    link: Rc<Link>,
    mut receiver: Receiver,
    mut early: Vec<u8>,
    flow: O::Flow,
) -> impl Future<Output = ()> {
    async move {
        let guard = LossGuard(Rc::clone(&link));
        link.begin(O::flow_number(&flow));
        let ending = match receiver.begin(&owner, &link, &flow, mem::take(&mut early)) {
            ControlFlow::Continue(()) => receiver.drive(&owner, &link, &flow).await,
            ControlFlow::Break(ending) => ending,
        };
        let peer = linger::Peer::after(ending.cause);
        if peer == linger::Peer::Present {
            receiver.send_close(&link, &ending);
        }
        link.end();
        owner.close(flow, ending);
        drop((guard, receiver.codec));
        linger::part(link, receiver.reader, peer).await;
    }
}

/// Tells the peer when a flow is lost by a fault of ours: a handler panicked, or the task was dropped.
struct LossGuard(Rc<Link>);

impl Drop for LossGuard {
    fn drop(&mut self) {
        let link = &self.0;
        if !link.is_under_way() {
            return;
        }
        if link.framing() == Framing::WebSocket {
            let mut frame = Vec::new();
            websocket::encode::close(Some(CloseCode::INTERNAL_ERROR), "internal error", &mut frame);
            let _ = link.put(&frame);
        }
        link.close_notify();
        link.end();
    }
}

impl Receiver {
    /// Handles what came behind the handshake.
    fn begin<O: ConnectionHandler>(
        &mut self,
        owner: &Rc<O>,
        link: &Rc<Link>,
        flow: &O::Flow,
        mut early: Vec<u8>,
    ) -> ControlFlow<Ending> {
        link.bytes_received(early.len());
        self.decode(owner, link, flow, &mut early)?;
        match link.tls() {
            Some(tls) if tls.borrow().has_peer_closed() => ControlFlow::Break(self.end_of_stream(link)),
            _ => ControlFlow::Continue(()),
        }
    }

    async fn drive<O: ConnectionHandler>(
        &mut self,
        owner: &Rc<O>,
        link: &Rc<Link>,
        flow: &O::Flow,
    ) -> Ending {
        let mut sleep = pin!(sleep_until(next_look(link).into()));
        loop {
            if let Some(ending) = link.take_doom() {
                return self.handle_received(owner, link, flow).unwrap_or(ending);
            }
            if let Some(deadline) = link.write_deadline() {
                // A peer that always has something to say would keep us from the timer.
                if deadline <= Instant::now() {
                    return self.handle_received(owner, link, flow).unwrap_or(takes_no_bytes());
                }
                if deadline < sleep.deadline().into_std() {
                    sleep.as_mut().reset(deadline.into());
                }
            }
            if let Some(ending) = link.over_limit(link.liveness.get().last_received()) {
                return ending;
            }
            let step = tokio::select! {
                biased;
                step = readiness(&mut self.reader, link) => step,
                () = link.attention() => Step::Attention,
                () = &mut sleep => Step::Deadline,
            };
            match step {
                // A write of ours that met a reset took the socket's error with it: what is read then looks
                // like the end of the stream.
                Step::Read(Ok(0), _) => {
                    return link
                        .take_doom()
                        .filter(|ending| ending.cause == Cause::Reset)
                        .unwrap_or_else(|| self.end_of_stream(link));
                }
                Step::Read(Ok(length), turn) => {
                    if let ControlFlow::Break(ending) = self.input(owner, link, flow, length) {
                        return ending;
                    }
                    if length == READ || turn.is_some() {
                        // There is more, or others wait. First those who have something to do now, the
                        // runtime looks who: only then it is the next one's turn.
                        yield_now().await;
                    }
                }
                Step::Read(Err(error), _) => return ending_of(&error),
                Step::Writable => {
                    if let Err(ending) = link.flush() {
                        return self.handle_received(owner, link, flow).unwrap_or(ending);
                    }
                }
                Step::Attention => {
                    let next = next_look(link);
                    if next < sleep.deadline().into_std() {
                        sleep.as_mut().reset(next.into());
                    }
                }
                Step::Deadline => match deadline(link) {
                    TimerEvent::Again(next) => sleep.as_mut().reset(next.into()),
                    TimerEvent::SilentPeer => {
                        if let ControlFlow::Break(ending) = self.last_look(owner, link, flow) {
                            return ending;
                        }
                    }
                    TimerEvent::OverLimit => {
                        if let ControlFlow::Break(ending) = self.read_on(owner, link, flow) {
                            return ending;
                        }
                        // SIP may have lain there unread.
                        if let Some(ending) = link.over_limit(Instant::now()) {
                            return ending;
                        }
                    }
                },
            }
        }
    }

    /// Handles what was read into the scratch buffer.
    fn input<O: ConnectionHandler>(
        &mut self,
        owner: &Rc<O>,
        link: &Rc<Link>,
        flow: &O::Flow,
        length: usize,
    ) -> ControlFlow<Ending> {
        link.heard(Instant::now());
        let mut input = link.scratch().input.borrow_mut();
        let Some(input) = input.get_mut(..length) else { return ControlFlow::Continue(()) };
        let Some(tls) = link.tls() else {
            link.bytes_received(length);
            return self.decode(owner, link, flow, input);
        };
        let mut plain = link.scratch().plain.borrow_mut();
        Scratch::trim(&mut plain);
        let mut reply = Vec::new();
        let progress = tls.borrow_mut().receive(input, &mut plain, &mut reply);
        link.bytes_received(plain.len());
        if !reply.is_empty() {
            let _ = link.put_raw(&reply);
        }
        // What was decrypted before TLS ended or failed still counts.
        self.decode(owner, link, flow, &mut plain)?;
        match progress {
            Ok(Progress::Handshaking | Progress::Open) => ControlFlow::Continue(()),
            Ok(Progress::PeerClosed) => ControlFlow::Break(self.end_of_stream(link)),
            Err(error) => ControlFlow::Break(Ending::of(Cause::TlsError).reason(error.to_string())),
        }
    }

    fn decode<O: ConnectionHandler>(
        &mut self,
        owner: &Rc<O>,
        link: &Rc<Link>,
        flow: &O::Flow,
        input: &mut [u8],
    ) -> ControlFlow<Ending> {
        match &mut self.codec {
            Codec::WebSocket(connection) => decode_frames(connection, owner, link, flow, input),
            Codec::Stream { framer, partial } => {
                if partial.is_empty() {
                    let used = decode_stream(framer, owner, link, flow, input)?;
                    partial.extend_from_slice(input.get(used..).unwrap_or_default());
                } else {
                    partial.extend_from_slice(input);
                    let mut joined = mem::take(partial);
                    let used = decode_stream(framer, owner, link, flow, &joined)?;
                    if used < joined.len() {
                        joined.drain(..used);
                        joined.shrink_to(joined.len() * 2);
                        *partial = joined;
                    }
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// The flow will end for a reason of ours or of the network's: what its peer had sent by now still
    /// counts, and a Close frame among it is the truer cause.
    fn handle_received<O: ConnectionHandler>(
        &mut self,
        owner: &Rc<O>,
        link: &Rc<Link>,
        flow: &O::Flow,
    ) -> Option<Ending> {
        let ControlFlow::Break(ending) = self.read_on(owner, link, flow) else { return None };
        (ending.cause == Cause::CloseFrame).then_some(ending)
    }

    /// Handles what lies unread.
    fn read_on<O: ConnectionHandler>(
        &mut self,
        owner: &Rc<O>,
        link: &Rc<Link>,
        flow: &O::Flow,
    ) -> ControlFlow<Ending> {
        for _ in 0..LAST_READS {
            let Ok(length @ 1..) = self.read_now(link) else { break };
            self.input(owner, link, flow, length)?;
        }
        ControlFlow::Continue(())
    }

    /// The peer's time is up, by what we have read. Whether it is silent, the socket must say: after a pause
    /// of our own, its answer may lie there unread.
    fn last_look<O: ConnectionHandler>(
        &mut self,
        owner: &Rc<O>,
        link: &Rc<Link>,
        flow: &O::Flow,
    ) -> ControlFlow<Ending> {
        match self.read_now(link) {
            Ok(0) => ControlFlow::Break(self.end_of_stream(link)),
            Ok(length) => self.input(owner, link, flow, length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ControlFlow::Break(Ending::of(Cause::PingTimeout))
            }
            Err(error) => ControlFlow::Break(ending_of(&error)),
        }
    }

    /// Reads from the socket itself: the runtime may not have heard yet that something came.
    fn read_now(&self, link: &Link) -> io::Result<usize> {
        let socket = SockRef::from(self.reader.as_ref());
        (&*socket).read(&mut link.scratch().input.borrow_mut())
    }

    fn end_of_stream(&self, link: &Link) -> Ending {
        let tls = link.tls().map(RefCell::borrow);
        let in_a_record = tls.as_ref().is_some_and(|tls| tls.is_in_a_record());
        let unfinished = in_a_record
            || match &self.codec {
                Codec::WebSocket(connection) => connection.held_bytes() > 0,
                Codec::Stream { partial, .. } => !partial.is_empty(),
            };
        let ending = Ending::of(Cause::Eof);
        match tls {
            _ if unfinished => ending.reason("in the middle of a message"),
            None => ending,
            Some(tls) if tls.has_peer_closed() => ending.reason("close_notify"),
            // Anyone on the way can end the stream so (RFC 8446 §6.1).
            Some(_) => ending.reason("without close_notify"),
        }
    }

    /// Tells the peer why, if we are the one who ends it.
    fn send_close(&mut self, link: &Link, ending: &Ending) {
        if let Codec::WebSocket(connection) = &mut self.codec
            && ending.cause.by() == By::Server
        {
            let code = ending.code.and_then(CloseCode::new).unwrap_or(CloseCode::POLICY_VIOLATION);
            let reason = ending.reason.as_ref().map_or(ending.cause.as_str(), |reason| reason.as_str());
            let mut out = Vec::new();
            let _ = connection.close(code, reason, &mut out);
            let _ = link.put(&out);
        }
        link.close_notify();
    }
}

fn takes_no_bytes() -> Ending {
    Ending::of(Cause::WriteTimeout).reason("the peer takes no bytes")
}

fn decode_frames<O: ConnectionHandler>(
    connection: &mut Connection,
    owner: &Rc<O>,
    link: &Rc<Link>,
    flow: &O::Flow,
    mut input: &mut [u8],
) -> ControlFlow<Ending> {
    let mut answers = Answers::default();
    let outcome = loop {
        if input.is_empty() {
            break ControlFlow::Continue(());
        }
        let consumed = match connection.receive(input) {
            Ok(received) => {
                if received.event.is_some() {
                    link.frame_received();
                }
                if let Some(Event::Message(_) | Event::Ping(_)) = received.event
                    && let Err(ending) = link.said_something()
                {
                    break ControlFlow::Break(ending);
                }
                match received.event {
                    None => {}
                    Some(Event::Pong(payload)) => link.ponged(&payload),
                    Some(Event::Message(message)) => match sip::content(&message.data) {
                        sip::Content::Message(message) => {
                            link.message_received();
                            // In the order of what they answer.
                            answers.send(link);
                            owner.message(flow, message);
                        }
                        sip::Content::KeepAlivePing => {
                            answers.add(|out| websocket::encode::text(sip::PONG, out));
                        }
                        sip::Content::KeepAlivePong | sip::Content::Empty => {}
                    },
                    Some(Event::Ping(payload)) => answers.add(|out| websocket::encode::pong(&payload, out)),
                    Some(Event::Close(frame)) => {
                        let mut ending = Ending::of(Cause::CloseFrame).reason(frame.reason.as_bytes());
                        ending.code = frame.code.map(CloseCode::get);
                        answers.add(|out| {
                            let _ = connection.answer_close(out);
                        });
                        break ControlFlow::Break(ending);
                    }
                }
                received.consumed
            }
            Err(error) => break ControlFlow::Break(broken(error)),
        };
        input = input.get_mut(consumed..).unwrap_or_default();
    };
    answers.send(link);
    outcome
}

/// Short frames of our own that go out together: a peer that sends a thousand pings at once costs one write.
#[derive(Default)]
struct Answers {
    frames: u64,
    bytes: Vec<u8>,
}

impl Answers {
    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.frames += 1;
        write(&mut self.bytes);
    }

    fn send(&mut self, link: &Link) {
        if self.frames > 0 {
            let _ = link.put_frames(mem::take(&mut self.frames), &self.bytes);
            self.bytes.clear();
        }
    }
}

fn broken(error: websocket::ProtocolError) -> Ending {
    let code = error.close_code();
    let cause = match code {
        CloseCode::INVALID_PAYLOAD => Cause::InvalidPayload,
        CloseCode::MESSAGE_TOO_BIG => Cause::MessageTooBig,
        _ => Cause::ProtocolError,
    };
    Ending::of(cause).code(code.get()).reason(error.reason())
}

/// Hands over the whole messages at the front of `input`; gives how many bytes they took.
fn decode_stream<O: ConnectionHandler>(
    framer: &mut StreamFramer,
    owner: &Rc<O>,
    link: &Rc<Link>,
    flow: &O::Flow,
    input: &[u8],
) -> ControlFlow<Ending, usize> {
    let mut used = 0;
    let mut answers = Answers::default();
    while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
        let framed = framer.next(rest);
        // The framer bounds head and body each; a message as a whole is bounded like any other.
        let whole = match framed {
            Ok(Frame::Message { len, .. }) => Some(len),
            _ => framer.expected_len(),
        };
        let frame = match (framed, whole) {
            (Ok(_), Some(len)) if len > link.settings().max_message as usize => {
                Err(FrameError::BodyTooLong(u32::try_from(len).unwrap_or(u32::MAX)))
            }
            (framed, _) => framed,
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                answers.send(link);
                if let Some(answer) = owner.answer_unframed(rest, error) {
                    let _ = link.put(&answer);
                }
                return ControlFlow::Break(unframed(error));
            }
        };
        if let Frame::Ping | Frame::Message { .. } = frame
            && let Err(ending) = link.said_something()
        {
            answers.send(link);
            return ControlFlow::Break(ending);
        }
        match frame {
            Frame::NeedMore => break,
            Frame::Padding { .. } => {}
            Frame::Crlf => link.ponged(b""),
            Frame::Ping => answers.add(|out| out.extend_from_slice(b"\r\n")),
            Frame::Message { len, leniencies } => {
                link.frame_received();
                if !leniencies.is_empty() {
                    owner.on_leniencies(leniencies);
                }
                link.message_received();
                answers.send(link);
                owner.message(flow, rest.get(..len).unwrap_or_default());
            }
        }
        used += frame.len();
    }
    answers.send(link);
    ControlFlow::Continue(used)
}

pub(crate) fn unframed(error: FrameError) -> Ending {
    let cause = match error {
        FrameError::HeaderSectionTooLong | FrameError::BodyTooLong(_) => Cause::MessageTooBig,
        FrameError::NotSip | FrameError::NoContentLength | FrameError::Damaged(_) => Cause::ProtocolError,
    };
    Ending::of(cause).reason(error.to_string())
}
