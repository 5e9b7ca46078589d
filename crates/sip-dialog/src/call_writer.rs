//! What the table of calls asks of its environment.

use std::{fmt::Debug, hash::Hash};

use lifecycle::Now;

use crate::{Call, End, Side};

/// A way to a peer.
pub trait Hop: Copy + Eq + Hash + Debug {}

impl<H: Copy + Eq + Hash + Debug> Hop for H {}

/// Room in the ledger that a call has from its beginning.
#[derive(Debug)]
pub struct Rooms<R> {
    /// For its `call.answered`.
    pub answered: R,
    /// For its `call.ended`.
    pub ended: R,
}

/// Where calls are written down, and requests of our own leave from. Every call is answered at once.
pub trait CallWriter {
    /// A way to a peer.
    type Hop: Hop;
    /// Room for one record.
    type Room;

    /// Whose user agent the INVITE at hand goes to, as an address-of-record, where its Request-URI does not
    /// say: it is a Contact that a server behind us was told. None, which is the default: it does.
    fn called(&self) -> Option<&str> {
        None
    }

    /// Writes that a call has started. Nothing when there is no room for the records that it will need: then
    /// it was not written, and the call passes untracked.
    fn started(&mut self, call: &Call<Self::Hop>) -> Option<Rooms<Self::Room>>;

    /// Writes that it was answered.
    fn answered(&mut self, call: &Call<Self::Hop>, room: Self::Room);

    /// Writes that one side put the other on hold.
    fn held(&mut self, call: &Call<Self::Hop>, by: Side, at: Now);

    /// Writes that one side took the other back.
    fn resumed(&mut self, call: &Call<Self::Hop>, by: Side, at: Now);

    /// Writes that it has ended.
    fn ended(&mut self, call: &Call<Self::Hop>, end: &End, room: Self::Room);

    /// Sends a request of our own, whole but for its Via.
    fn send(&mut self, hop: Self::Hop, request: Vec<u8>);
}
