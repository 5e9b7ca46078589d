//! The sending side of a connection, shared by its own task and by the tasks that route a message to it.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, BorrowedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use lifecycle::{Cause, Ending, Liveness, Traffic, Usage, jittered};
use tokio::{
    net::tcp::OwnedWriteHalf,
    sync::{Notify, oneshot},
};

use crate::{Framing, ReadPriority, Scratch, Settings, scratch::FIRST_WORDS, tls::Tls};

/// The message did not go: the flow is over, or will be in a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFailed;

/// A ping that was asked for has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingFailed {
    /// Another is on its way.
    UnderWay,
    /// The flow is over, or ended meanwhile.
    Over,
}

/// A ping that someone waits for.
#[derive(Debug)]
struct PendingPing {
    sent: Instant,
    payload: [u8; 8],
    answer: oneshot::Sender<Duration>,
}

/// The sending side of a connection. Sending never waits: what the socket does not take is queued up to a
/// limit, beyond which the peer is a slow reader.
#[derive(Debug)]
pub struct Link {
    writer: OwnedWriteHalf,
    framing: Framing,
    tls: Option<RefCell<Tls>>,
    unsent: RefCell<Unsent>,
    settings: Rc<Settings>,
    scratch: Rc<Scratch>,
    attention: Notify,
    pending_close: RefCell<Option<Box<Ending>>>,
    phase: Cell<Phase>,
    pub(crate) liveness: Cell<Liveness>,
    usage: Cell<Usage>,
    frames_received: Cell<u64>,
    frames_sent: Cell<u64>,
    bytes_received: Cell<u64>,
    bytes_sent: Cell<u64>,
    ping_rtt: Cell<Option<Duration>>,
    asked: RefCell<Option<Box<PendingPing>>>,
    pub(crate) heard: Cell<ReadPriority>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Bytes were lost on their way to the socket: nothing that would be sent now could be understood.
    Broken,
    Over,
}

#[derive(Debug)]
struct Unsent {
    bytes: Vec<u8>,
    taken: usize,
    progress: Instant,
}

impl Link {
    pub(crate) fn new(
        writer: OwnedWriteHalf,
        framing: Framing,
        tls: Option<Tls>,
        settings: Rc<Settings>,
        scratch: Rc<Scratch>,
    ) -> Self {
        let now = Instant::now();
        let liveness = Liveness::new(now, settings.ping_after, settings.pong_timeout);
        let usage = Usage::new(now, 0, &settings.limits);
        Self {
            writer,
            framing,
            tls: tls.map(RefCell::new),
            unsent: RefCell::new(Unsent { bytes: Vec::new(), taken: 0, progress: now }),
            settings,
            scratch,
            attention: Notify::new(),
            pending_close: RefCell::new(None),
            phase: Cell::new(Phase::Open),
            liveness: Cell::new(liveness),
            usage: Cell::new(usage),
            frames_received: Cell::new(0),
            frames_sent: Cell::new(0),
            bytes_received: Cell::new(0),
            bytes_sent: Cell::new(0),
            ping_rtt: Cell::new(None),
            asked: RefCell::new(None),
            heard: Cell::new(ReadPriority::AtOnce),
        }
    }

    /// The flow ends when its credentials run out: then, and no more when earlier ones do.
    pub fn vouch_until(&self, until: Instant) {
        self.usage.set(self.usage.get().vouched_until(until));
        // Its task may be asleep until later.
        self.attention.notify_one();
    }

    /// Sends one SIP message.
    ///
    /// # Errors
    /// The flow is over, or this message was one too many for a slow reader.
    pub fn send(&self, message: &[u8]) -> Result<(), SendFailed> {
        if self.phase.get() != Phase::Open {
            return Err(SendFailed);
        }
        match self.framing {
            Framing::WebSocket => {
                let mut frame = self.scratch.frame.borrow_mut();
                Scratch::trim(&mut frame);
                websocket::encode::message(websocket::encode::kind_for(message), message, &mut frame);
                self.put(&frame)
            }
            Framing::Stream => self.put(message),
        }
    }

    /// Has the flow end for this reason, as soon as what was already received is handled.
    pub fn close(&self, ending: Ending) {
        self.pending_close.borrow_mut().get_or_insert_with(|| Box::new(ending));
        self.attention.notify_one();
    }

    /// Pings the peer (CRLF CRLF on a stream, RFC 5626 §4.4.1) and waits for its answer; how long it took.
    /// A caller that has waited long enough drops this.
    ///
    /// # Errors
    /// Another ping that was asked for is on its way, or the flow is over.
    pub async fn ping(&self) -> Result<Duration, PingFailed> {
        let (answer, answered) = oneshot::channel();
        let sent = Instant::now();
        {
            let mut asked = self.asked.borrow_mut();
            if asked.as_ref().is_some_and(|asked| !asked.answer.is_closed()) {
                return Err(PingFailed::UnderWay);
            }
            // Different from one ping to the next of a flow, so that a late answer is not taken for this
            // one's.
            let payload = self.frames_sent.get().to_be_bytes();
            *asked = Some(Box::new(PendingPing { sent, payload, answer }));
            let mut frame = Vec::new();
            match self.framing {
                Framing::WebSocket => websocket::encode::ping(&payload, &mut frame),
                Framing::Stream => frame.extend_from_slice(b"\r\n\r\n"),
            }
            if self.phase.get() != Phase::Open || self.put(&frame).is_err() {
                return Err(PingFailed::Over);
            }
        }
        answered.await.map_err(|_| PingFailed::Over)
    }

    /// The peer answered a ping, on a WebSocket with this payload.
    pub(crate) fn ponged(&self, payload: &[u8]) {
        let mut asked = self.asked.borrow_mut();
        if let Some(asked) =
            asked.take_if(|asked| self.framing == Framing::Stream || asked.payload == payload)
        {
            let _ = asked.answer.send(asked.sent.elapsed());
        }
    }

    /// The traffic until now.
    pub fn traffic(&self, now: Instant) -> Traffic {
        let silence = now.saturating_duration_since(self.liveness.get().last_received());
        Traffic {
            frames_received: self.frames_received.get(),
            frames_sent: self.frames_sent.get(),
            bytes_received: self.bytes_received.get(),
            bytes_sent: self.bytes_sent.get(),
            silence_ms: u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
            ping_rtt_us: self.ping_rtt.get().map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        }
    }

    /// The two ends of the socket: local, remote.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.writer.local_addr()?, self.writer.peer_addr()?))
    }

    /// The socket's descriptor, to ask the kernel about it.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.writer.as_ref().as_fd()
    }

    /// Sends a frame that is whole already (a ping, a Close, a keepalive's answer).
    pub(crate) fn put(&self, plain: &[u8]) -> Result<(), SendFailed> {
        self.put_frames(1, plain)
    }

    /// Sends so many frames at once.
    pub(crate) fn put_frames(&self, frames: u64, plain: &[u8]) -> Result<(), SendFailed> {
        self.frames_sent.set(self.frames_sent.get() + frames);
        self.bytes_sent.set(self.bytes_sent.get() + plain.len() as u64);
        self.put_head(plain)
    }

    /// Sends bytes that are no frame: an HTTP answer.
    pub(crate) fn put_head(&self, plain: &[u8]) -> Result<(), SendFailed> {
        let Some(tls) = &self.tls else { return self.put_raw(plain) };
        let mut cipher = self.scratch.cipher.borrow_mut();
        Scratch::trim(&mut cipher);
        if let Err(error) = tls.borrow_mut().encrypt(plain, &mut cipher) {
            return self.lost(Ending::of(Cause::TlsError).reason(error.to_string()));
        }
        self.put_raw(&cipher)
    }

    /// Sends bytes as they are.
    pub(crate) fn put_raw(&self, bytes: &[u8]) -> Result<(), SendFailed> {
        if self.phase.get() == Phase::Broken {
            return Err(SendFailed);
        }
        let mut unsent = self.unsent.borrow_mut();
        let mut rest = bytes;
        if unsent.is_empty() {
            match self.writer.try_write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.lost(ending_of(&error)),
            }
            if rest.is_empty() {
                return Ok(());
            }
            unsent.progress = Instant::now();
            self.attention.notify_one();
        }
        if unsent.len() + rest.len() > self.settings.outbound_queue {
            let waiting = unsent.len();
            return self.lost(
                Ending::of(Cause::SlowReader).code(1008).reason(format!("{waiting} bytes wait to be read")),
            );
        }
        unsent.compact();
        unsent.bytes.extend_from_slice(rest);
        Ok(())
    }

    /// Bytes did not get out and never will: the flow ends, and nothing follows them.
    fn lost(&self, ending: Ending) -> Result<(), SendFailed> {
        if self.phase.get() == Phase::Open {
            self.phase.set(Phase::Broken);
        }
        self.close(ending);
        Err(SendFailed)
    }

    /// Writes what waits; the socket is writable.
    pub(crate) fn flush(&self) -> Result<(), Ending> {
        let mut unsent = self.unsent.borrow_mut();
        while !unsent.is_empty() {
            match self.writer.try_write(unsent.rest()) {
                Ok(written) => {
                    unsent.taken += written;
                    unsent.progress = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(ending_of(&error)),
            }
        }
        *unsent = Unsent { bytes: Vec::new(), taken: 0, progress: unsent.progress };
        Ok(())
    }

    /// Whether bytes wait for the socket to take them.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.borrow().is_empty()
    }

    /// When a peer that takes nothing is given up.
    pub(crate) fn write_deadline(&self) -> Option<Instant> {
        let unsent = self.unsent.borrow();
        (!unsent.is_empty()).then(|| unsent.progress + self.settings.write_timeout)
    }

    /// Resolves when someone queued bytes or closed the flow.
    pub(crate) async fn attention(&self) {
        self.attention.notified().await;
    }

    pub(crate) fn take_doom(&self) -> Option<Ending> {
        self.pending_close.borrow_mut().take().map(|ending| *ending)
    }

    /// Whether its peer has said only its first words.
    pub(crate) fn has_just_come(&self) -> bool {
        self.bytes_received.get() < FIRST_WORDS
    }

    /// No message is taken any more.
    pub(crate) fn end(&self) {
        self.phase.set(Phase::Over);
        self.asked.take();
    }

    /// Whether [`Link::end`] was not called yet.
    pub(crate) fn is_under_way(&self) -> bool {
        self.phase.get() != Phase::Over
    }

    /// Says so to TLS, where there is TLS.
    pub(crate) fn close_notify(&self) {
        if let Some(tls) = &self.tls {
            let mut cipher = Vec::new();
            if tls.borrow_mut().close_notify(&mut cipher).is_ok() {
                let _ = self.put_raw(&cipher);
            }
        }
    }

    /// The flow is open, as its owner's `turn`-th: it gets times of its own.
    pub(crate) fn begin(&self, turn: u64) {
        let liveness = self.liveness.get().with_ping_after(jittered(self.settings.ping_after, turn));
        self.liveness.set(liveness);
        let usage = Usage::new(liveness.last_received(), turn, &self.settings.limits);
        self.usage.set(match self.usage.get().vouched() {
            Some(until) => usage.vouched_until(until),
            None => usage,
        });
    }

    /// The ending of a flow that is over one of its limits.
    pub(crate) fn over_limit(&self, now: Instant) -> Option<Ending> {
        self.usage.get().over(now, &self.settings.limits)
    }

    /// When [`Link::over_limit`] is to be asked next, if ever.
    pub(crate) fn limit_deadline(&self) -> Option<Instant> {
        self.usage.get().deadline(&self.settings.limits)
    }

    /// A SIP message is among what was just read.
    pub(crate) fn message_received(&self) {
        let mut usage = self.usage.get();
        usage.message(self.liveness.get().last_received());
        self.usage.set(usage);
    }

    /// So is something that the peer wants us to do: a message, or a keepalive that is to be answered.
    pub(crate) fn said_something(&self) -> Result<(), Ending> {
        let mut usage = self.usage.get();
        let said = usage.said_something(self.liveness.get().last_received(), &self.settings.limits);
        self.usage.set(usage);
        said
    }

    /// The peer gave a sign of life.
    pub(crate) fn heard(&self, now: Instant) {
        let mut liveness = self.liveness.get();
        if let Some(rtt) = liveness.received(now) {
            self.ping_rtt.set(Some(rtt));
        }
        self.liveness.set(liveness);
    }

    /// Bytes came from the peer, as they are without TLS.
    pub(crate) fn bytes_received(&self, bytes: usize) {
        self.bytes_received.set(self.bytes_received.get() + bytes as u64);
    }

    /// A frame or message came from the peer.
    pub(crate) fn frame_received(&self) {
        self.frames_received.set(self.frames_received.get() + 1);
    }

    pub(crate) const fn framing(&self) -> Framing {
        self.framing
    }

    pub(crate) const fn tls(&self) -> Option<&RefCell<Tls>> {
        self.tls.as_ref()
    }

    pub(crate) fn shared_scratch(&self) -> Rc<Scratch> {
        Rc::clone(&self.scratch)
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl Unsent {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.rest().len()
    }

    fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// Forgets what was taken, so that a queue that is never quite empty does not grow for ever. Each byte is
    /// moved at most once for each byte taken.
    fn compact(&mut self) {
        if self.taken > self.len() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }
}

/// What a socket's error tells about the peer.
pub(crate) fn ending_of(error: &io::Error) -> Ending {
    let cause = match error.kind() {
        io::ErrorKind::TimedOut => Cause::TcpTimeout,
        // Linux says so when the reset came after the peer's FIN: the peer had ended the stream before.
        io::ErrorKind::BrokenPipe => Cause::Eof,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            Cause::Unreachable
        }
        _ => Cause::Reset,
    };
    Ending::of(cause).reason(error.to_string())
}

#[cfg(test)]
mod tests {
    use lifecycle::FlowLimits;

    use super::*;

    #[tokio::test]
    async fn flows_that_opened_together_are_not_pinged_together() {
        let hour = Duration::from_secs(3600);
        let settings = Rc::new(Settings {
            max_message: 1,
            handshake_timeout: hour,
            close_timeout: hour,
            ping_after: hour,
            pong_timeout: hour,
            limits: FlowLimits::default(),
            outbound_queue: 1,
            write_timeout: hour,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let link = Link::new(stream.into_split().1, Framing::WebSocket, None, settings, Rc::default());
        let opened = link.liveness.get().last_received();
        let mut pings = Vec::new();
        for turn in 1..100 {
            link.begin(turn);
            pings.push(link.liveness.get().deadline() - opened);
        }
        pings.sort();
        pings.dedup();
        assert!(pings.len() == 99 && pings[0] < hour * 4 / 5 && pings[98] <= hour, "{pings:?}");
    }

    #[test]
    fn a_queue_that_is_never_quite_empty_does_not_grow() {
        let mut unsent = Unsent { bytes: Vec::new(), taken: 0, progress: Instant::now() };
        for round in 0..10_000 {
            unsent.compact();
            unsent.bytes.extend_from_slice(&[0; 100]);
            unsent.taken += if round == 0 { 50 } else { 100 };
        }
        assert_eq!(unsent.len(), 50);
        assert!(unsent.bytes.capacity() < 1000, "{} bytes", unsent.bytes.capacity());
    }
}
