//! The sending side of a connection, shared by its own task and by whoever routes a message to it.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use lifecycle::{Cause, Ending, Liveness, Traffic};
use tokio::{net::tcp::OwnedWriteHalf, sync::Notify};

use crate::{Framing, Scratch, Settings, tls::Tls};

/// The message did not go: the flow is over, or will be in a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFailed;

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
    doom: RefCell<Option<Box<Ending>>>,
    phase: Cell<Phase>,
    pub(crate) liveness: Cell<Liveness>,
    frames_received: Cell<u64>,
    frames_sent: Cell<u64>,
    bytes_received: Cell<u64>,
    bytes_sent: Cell<u64>,
    ping_rtt: Cell<Option<Duration>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
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
        ping_after: Duration,
    ) -> Self {
        let now = Instant::now();
        let liveness = Liveness::new(now, ping_after, settings.pong_timeout);
        Self {
            writer,
            framing,
            tls: tls.map(RefCell::new),
            unsent: RefCell::new(Unsent { bytes: Vec::new(), taken: 0, progress: now }),
            settings,
            scratch,
            attention: Notify::new(),
            doom: RefCell::new(None),
            phase: Cell::new(Phase::Open),
            liveness: Cell::new(liveness),
            frames_received: Cell::new(0),
            frames_sent: Cell::new(0),
            bytes_received: Cell::new(0),
            bytes_sent: Cell::new(0),
            ping_rtt: Cell::new(None),
        }
    }

    /// Sends one SIP message.
    ///
    /// # Errors
    /// The flow is over, or this message was one too many for a slow reader.
    pub fn send(&self, message: &[u8]) -> Result<(), SendFailed> {
        if self.phase.get() == Phase::Over {
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
        self.doom.borrow_mut().get_or_insert_with(|| Box::new(ending));
        self.attention.notify_one();
    }

    /// What has passed until now.
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

    /// Sends bytes that are framed already (a ping, a Close, a keepalive's answer).
    pub(crate) fn put(&self, plain: &[u8]) -> Result<(), SendFailed> {
        self.frames_sent.set(self.frames_sent.get() + 1);
        self.bytes_sent.set(self.bytes_sent.get() + plain.len() as u64);
        self.put_head(plain)
    }

    /// Sends bytes that are no frame: an HTTP answer.
    pub(crate) fn put_head(&self, plain: &[u8]) -> Result<(), SendFailed> {
        let Some(tls) = &self.tls else { return self.put_raw(plain) };
        let mut cipher = self.scratch.cipher.borrow_mut();
        Scratch::trim(&mut cipher);
        if let Err(error) = tls.borrow_mut().encrypt(plain, &mut cipher) {
            self.close(Ending::of(Cause::TlsError).reason(error.to_string()));
            return Err(SendFailed);
        }
        self.put_raw(&cipher)
    }

    /// Sends bytes as they are.
    pub(crate) fn put_raw(&self, bytes: &[u8]) -> Result<(), SendFailed> {
        let mut unsent = self.unsent.borrow_mut();
        let mut rest = bytes;
        if unsent.is_empty() {
            match self.writer.try_write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.close(ending_of(&error));
                    return Err(SendFailed);
                }
            }
            if rest.is_empty() {
                return Ok(());
            }
            unsent.progress = Instant::now();
            self.attention.notify_one();
        }
        if unsent.len() + rest.len() > self.settings.outbound_queue {
            let waiting = unsent.len();
            self.close(
                Ending::of(Cause::SlowReader).code(1008).reason(format!("{waiting} bytes wait to be read")),
            );
            return Err(SendFailed);
        }
        unsent.bytes.extend_from_slice(rest);
        Ok(())
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

    pub(crate) fn has_unsent(&self) -> bool {
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
        self.doom.borrow_mut().take().map(|ending| *ending)
    }

    /// No message is taken any more.
    pub(crate) fn end(&self) {
        self.phase.set(Phase::Over);
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

    /// Bytes came from the peer.
    pub(crate) fn received(&self, bytes: usize, now: Instant) {
        self.bytes_received.set(self.bytes_received.get() + bytes as u64);
        let mut liveness = self.liveness.get();
        if let Some(rtt) = liveness.received(now) {
            self.ping_rtt.set(Some(rtt));
        }
        self.liveness.set(liveness);
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

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Frees the descriptor at once, whatever the peer does: unsent bytes are thrown away.
    pub(crate) fn abort_on_drop(&self) {
        let _ = self.writer.as_ref().set_zero_linger();
    }

    pub(crate) fn writer(&self) -> &OwnedWriteHalf {
        &self.writer
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
}

/// What a socket's error says about the peer.
pub(crate) fn ending_of(error: &io::Error) -> Ending {
    let cause = match error.kind() {
        io::ErrorKind::TimedOut => Cause::TcpTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            Cause::Unreachable
        }
        _ => Cause::Reset,
    };
    Ending::of(cause).reason(error.to_string())
}
