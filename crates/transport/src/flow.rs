//! The task of one open flow: reads, judges liveness, writes what waits, and ends with a cause.

use std::{
    future::poll_fn,
    io, mem,
    ops::ControlFlow,
    pin::{Pin, pin},
    rc::Rc,
    time::Instant,
};

use lifecycle::{By, Cause, Ending, LivenessStep};
use sip_message::{Frame, FrameError, StreamFramer};
use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::tcp::OwnedReadHalf,
    time::sleep_until,
};
use websocket::{CloseCode, Connection, Event, sip};

use crate::{Framing, Link, Owner, Scratch, linger, link::ending_of, tls::Progress};

/// Reads taken before a flow that we end is really over: what its peer had sent by then still counts.
const LAST_READS: usize = 16;

/// How the bytes of a flow become messages.
pub(crate) enum Codec {
    WebSocket(Connection),
    Stream { framer: StreamFramer, partial: Vec<u8> },
}

/// The receiving side of an open flow.
pub(crate) struct Receiver {
    pub(crate) reader: OwnedReadHalf,
    pub(crate) codec: Codec,
}

enum Step {
    Read(io::Result<usize>),
    Writable,
    Attention,
    Deadline,
}

/// Runs an open flow to its end. `early` is what came behind the handshake already (in plain text).
pub(crate) async fn run<O: Owner>(
    owner: Rc<O>,
    link: Rc<Link>,
    mut receiver: Receiver,
    early: Vec<u8>,
    flow: O::Flow,
) {
    let mut early = early;
    let ending = match receiver.decode(&owner, &link, &flow, &mut early) {
        ControlFlow::Continue(()) => {
            drop(early);
            receiver.drive(&owner, &link, &flow).await
        }
        ControlFlow::Break(ending) => ending,
    };
    let cause = ending.cause;
    receiver.say_goodbye(&link, &ending);
    link.end();
    owner.close(flow, ending);
    drop(receiver.codec);
    linger::let_go(link, receiver.reader, linger::Peer::after(cause)).await;
}

impl Receiver {
    async fn drive<O: Owner>(&mut self, owner: &Rc<O>, link: &Rc<Link>, flow: &O::Flow) -> Ending {
        let mut sleep = pin!(sleep_until(link.liveness.get().deadline().into()));
        loop {
            if let Some(ending) = link.take_doom() {
                return self.last_words(owner, link, flow).unwrap_or(ending);
            }
            if let Some(deadline) = link.write_deadline()
                && deadline < sleep.deadline().into_std()
            {
                sleep.as_mut().reset(deadline.into());
            }
            let step = tokio::select! {
                biased;
                step = readiness(&mut self.reader, link) => step,
                () = link.attention() => Step::Attention,
                () = &mut sleep => Step::Deadline,
            };
            match step {
                Step::Read(Ok(0)) => return self.end_of_stream(),
                Step::Read(Ok(length)) => {
                    if let ControlFlow::Break(ending) = self.input(owner, link, flow, length) {
                        return ending;
                    }
                }
                Step::Read(Err(error)) => {
                    return self.last_words(owner, link, flow).unwrap_or(ending_of(&error));
                }
                Step::Writable => {
                    if let Err(ending) = link.flush() {
                        return self.last_words(owner, link, flow).unwrap_or(ending);
                    }
                }
                Step::Attention => {}
                Step::Deadline => match deadline(link) {
                    ControlFlow::Continue(next) => sleep.as_mut().reset(next.into()),
                    ControlFlow::Break(ending) => return ending,
                },
            }
        }
    }

    /// Handles what was read into the scratch buffer.
    fn input<O: Owner>(
        &mut self,
        owner: &Rc<O>,
        link: &Rc<Link>,
        flow: &O::Flow,
        length: usize,
    ) -> ControlFlow<Ending> {
        link.received(length, Instant::now());
        let mut input = link.scratch().input.borrow_mut();
        let Some(input) = input.get_mut(..length) else { return ControlFlow::Continue(()) };
        let Some(tls) = link.tls() else { return self.decode(owner, link, flow, input) };
        let mut plain = link.scratch().plain.borrow_mut();
        Scratch::trim(&mut plain);
        let mut reply = Vec::new();
        let progress = tls.borrow_mut().receive(input, &mut plain, &mut reply);
        if !reply.is_empty() {
            let _ = link.put_raw(&reply);
        }
        // What was decrypted before TLS ended or failed still counts.
        self.decode(owner, link, flow, &mut plain)?;
        match progress {
            Ok(Progress::Handshaking | Progress::Open) => ControlFlow::Continue(()),
            Ok(Progress::PeerClosed) => ControlFlow::Break(self.end_of_stream()),
            Err(error) => ControlFlow::Break(Ending::of(Cause::TlsError).reason(error.to_string())),
        }
    }

    fn decode<O: Owner>(
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
                        *partial = joined;
                    }
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// The flow will end for a reason of ours or of the network's: what its peer had sent by now still counts,
    /// and a Close frame among it is the truer cause.
    fn last_words<O: Owner>(&mut self, owner: &Rc<O>, link: &Rc<Link>, flow: &O::Flow) -> Option<Ending> {
        for _ in 0..LAST_READS {
            let read = self.reader.try_read(&mut link.scratch().input.borrow_mut());
            match read {
                Ok(length) if length > 0 => {
                    if let ControlFlow::Break(ending) = self.input(owner, link, flow, length) {
                        return (ending.cause == Cause::CloseFrame).then_some(ending);
                    }
                }
                _ => break,
            }
        }
        None
    }

    fn end_of_stream(&self) -> Ending {
        let unfinished = match &self.codec {
            Codec::WebSocket(connection) => connection.held_bytes() > 0,
            Codec::Stream { partial, .. } => !partial.is_empty(),
        };
        let ending = Ending::of(Cause::Eof);
        if unfinished { ending.reason("in the middle of a message") } else { ending }
    }

    /// Tells the peer why, if we are the one who ends it.
    fn say_goodbye(&mut self, link: &Link, ending: &Ending) {
        if ending.cause.by() == By::Network {
            return;
        }
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

/// Waits until something can be read (and reads it into the scratch buffer), or what waits can be written.
async fn readiness(reader: &mut OwnedReadHalf, link: &Link) -> Step {
    if link.has_unsent() {
        return match reader.ready(Interest::READABLE | Interest::WRITABLE).await {
            Ok(ready) if ready.is_writable() => Step::Writable,
            Ok(_) => match reader.try_read(&mut link.scratch().input.borrow_mut()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Attention,
                read => Step::Read(read),
            },
            Err(error) => Step::Read(Err(error)),
        };
    }
    // Not `readable` and `try_read`: a short read by `poll_read` tells the runtime that the socket is drained,
    // which saves a system call for each message.
    let read = poll_fn(|context| {
        let mut input = link.scratch().input.borrow_mut();
        let mut buffer = ReadBuf::new(&mut input);
        Pin::new(&mut *reader).poll_read(context, &mut buffer).map_ok(|()| buffer.filled().len())
    });
    Step::Read(read.await)
}

/// The next moment to look again, or the verdict.
fn deadline(link: &Link) -> ControlFlow<Ending, Instant> {
    let now = Instant::now();
    let writing = link.write_deadline();
    if writing.is_some_and(|deadline| deadline <= now) {
        return ControlFlow::Break(Ending::of(Cause::WriteTimeout).reason("the peer takes no bytes"));
    }
    let mut liveness = link.liveness.get();
    let step = liveness.step(now);
    link.liveness.set(liveness);
    let next = match step {
        LivenessStep::Wait(next) => next,
        LivenessStep::Ping(next) => {
            if link.framing() == Framing::WebSocket {
                let mut frame = Vec::with_capacity(2);
                websocket::encode::ping(b"", &mut frame);
                let _ = link.put(&frame);
            }
            next
        }
        LivenessStep::Dead => return ControlFlow::Break(Ending::of(Cause::PingTimeout)),
    };
    ControlFlow::Continue(writing.map_or(next, |deadline| deadline.min(next)))
}

fn decode_frames<O: Owner>(
    connection: &mut Connection,
    owner: &Rc<O>,
    link: &Rc<Link>,
    flow: &O::Flow,
    mut input: &mut [u8],
) -> ControlFlow<Ending> {
    while !input.is_empty() {
        let (consumed, closed) = match connection.receive(input) {
            Ok(received) => {
                let mut closed = None;
                if received.event.is_some() {
                    link.frame_received();
                }
                match received.event {
                    None | Some(Event::Pong(_)) => {}
                    Some(Event::Message(message)) => match sip::content(&message.data) {
                        sip::Content::Message(message) => owner.message(flow, message),
                        sip::Content::KeepAlivePing => {
                            let _ = link.send(sip::PONG.as_bytes());
                        }
                        sip::Content::KeepAlivePong | sip::Content::Empty => {}
                    },
                    Some(Event::Ping(payload)) => {
                        let mut frame = Vec::with_capacity(payload.len() + 4);
                        websocket::encode::pong(&payload, &mut frame);
                        let _ = link.put(&frame);
                    }
                    Some(Event::Close(frame)) => {
                        let mut ending = Ending::of(Cause::CloseFrame).reason(frame.reason.as_bytes());
                        ending.code = frame.code.map(CloseCode::get);
                        closed = Some(ending);
                    }
                }
                (received.consumed, closed)
            }
            Err(error) => return ControlFlow::Break(broken(error)),
        };
        if let Some(ending) = closed {
            let mut out = Vec::new();
            let _ = connection.answer_close(&mut out);
            let _ = link.put(&out);
            return ControlFlow::Break(ending);
        }
        input = input.get_mut(consumed..).unwrap_or_default();
    }
    ControlFlow::Continue(())
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
fn decode_stream<O: Owner>(
    framer: &mut StreamFramer,
    owner: &Rc<O>,
    link: &Rc<Link>,
    flow: &O::Flow,
    input: &[u8],
) -> ControlFlow<Ending, usize> {
    let mut used = 0;
    while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
        let frame = match framer.next(rest) {
            Ok(frame) => frame,
            Err(error) => {
                if let Some(answer) = owner.unframed(rest, error) {
                    let _ = link.put(&answer);
                }
                return ControlFlow::Break(unframed(error));
            }
        };
        match frame {
            Frame::NeedMore => break,
            Frame::Crlf => {}
            Frame::Ping => {
                let _ = link.put(b"\r\n");
            }
            Frame::Message { len, .. } => {
                link.frame_received();
                owner.message(flow, rest.get(..len).unwrap_or_default());
            }
        }
        used += frame.len();
    }
    ControlFlow::Continue(used)
}

pub(crate) fn unframed(error: FrameError) -> Ending {
    let cause = match error {
        FrameError::HeaderSectionTooLong | FrameError::BodyTooLong(_) => Cause::MessageTooBig,
        FrameError::NotSip | FrameError::NoContentLength | FrameError::Damaged(_) => Cause::ProtocolError,
    };
    Ending::of(cause).reason(error.to_string())
}
