//! An open flow: a value that can only be used up by closing it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Cause, Certainty, ClosedAt, Ending, FlowEnd, FlowFacts, FlowId, Identity};

/// Bytes that a `flow.closed` record may take: what is reserved in the ledger before a flow opens.
pub const CLOSE_RESERVE: usize = 6 * 1024;

/// Bytes that a `binding.removed` record may take: what is reserved before a binding is added to a flow.
pub const REMOVAL_RESERVE: usize = 1536;

/// Bytes that a `binding.added` record may take.
pub const ADDITION_RESERVE: usize = 2560;

/// What passed on a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Frames (ws, wss) or messages (tcp, tls) received.
    pub frames_received: u64,
    /// Frames or messages sent.
    pub frames_sent: u64,
    /// Bytes received, framing included, TLS records not.
    pub bytes_received: u64,
    /// Bytes sent, framing included, TLS records not.
    pub bytes_sent: u64,
    /// Age of the last received byte at the close, in milliseconds.
    pub silence_ms: u64,
    /// Round trip of the last answered ping, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_rtt_us: Option<u64>,
}

/// Where a flow's end is written: one for each open flow, given up with it.
pub trait CloseBook {
    /// The room in the ledger that was reserved before the flow opened.
    type Room;

    /// Microseconds since the Unix epoch.
    fn now_micros(&self) -> u64;

    /// What has passed on the flow until now.
    fn traffic(&self) -> Traffic;

    /// The identity that the user agent proved.
    fn identity(&self) -> Option<Identity>;

    /// Takes the flow's bindings away and writes the close behind their removals, in one step.
    /// `bindings` and `calls` of the record are for the book to fill in. Never fails: the room is there.
    fn close(&mut self, end: FlowEnd<'_>, room: Self::Room);
}

/// A flow between `flow.opened` and `flow.closed`. It cannot be cloned, and it cannot go away without a
/// close: [`OpenFlow::close`] uses it up, and `Drop` closes it as `internal_error` when a panic or a
/// cancelled task lost it. No other code makes a `flow.closed` of a flow of this process.
#[derive(Debug)]
pub struct OpenFlow<B: CloseBook> {
    id: FlowId,
    name: Box<str>,
    opened_at: u64,
    facts: Arc<FlowFacts>,
    book: B,
    room: Option<B::Room>,
}

impl<B: CloseBook> OpenFlow<B> {
    /// The flow of a `flow.opened` that is durable by now. `name` is the id as text, `opened_at` in
    /// microseconds since the Unix epoch.
    pub fn new(
        id: FlowId,
        name: Box<str>,
        opened_at: u64,
        facts: Arc<FlowFacts>,
        book: B,
        room: B::Room,
    ) -> Self {
        Self { id, name, opened_at, facts, book, room: Some(room) }
    }

    /// Its id.
    pub const fn id(&self) -> FlowId {
        self.id
    }

    /// Its id as text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The known facts.
    pub const fn facts(&self) -> &Arc<FlowFacts> {
        &self.facts
    }

    /// When it opened, in microseconds since the Unix epoch.
    pub const fn opened_at(&self) -> u64 {
        self.opened_at
    }

    /// Where its end will be written.
    pub const fn book(&self) -> &B {
        &self.book
    }

    /// Ends the flow: the one close that it gets.
    pub fn close(mut self, ending: &Ending) {
        self.write(ending);
    }

    fn write(&mut self, ending: &Ending) {
        let Some(room) = self.room.take() else { return };
        let (traffic, identity) = (self.book.traffic(), self.book.identity());
        let end = FlowEnd {
            flow: &self.name,
            facts: &self.facts,
            identity: identity.as_ref(),
            opened_at: self.opened_at,
            closed_at: ClosedAt::Seen(self.book.now_micros().max(self.opened_at)),
            ending,
            certainty: Certainty::Observed,
            traffic: Some(&traffic),
            bindings: &[],
            bindings_total: 0,
            calls: &[],
            calls_total: 0,
        };
        self.book.close(end, room);
    }
}

impl<B: CloseBook> Drop for OpenFlow<B> {
    fn drop(&mut self) {
        if self.room.is_some() {
            let what = if std::thread::panicking() { "a handler panicked" } else { "its task was dropped" };
            self.write(&Ending::of(Cause::InternalError).code(1011).reason(what));
        }
    }
}
