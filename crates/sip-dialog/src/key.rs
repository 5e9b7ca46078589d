//! The key of a call: Call-ID and the caller's tag.

use sip_message::Message;
use smallvec::SmallVec;

use crate::Side;

/// Call-ID, and the tag of the caller.
pub(crate) type Key = SmallVec<[u8; 128]>;

pub(crate) fn key(call_id: &[u8], tag: &[u8]) -> Key {
    let mut key = Key::with_capacity(call_id.len() + 1 + tag.len());
    key.extend_from_slice(call_id);
    // Stands in no Call-ID.
    key.push(b' ');
    key.extend_from_slice(tag);
    key
}

/// What a message says of its dialog.
#[derive(Clone, Copy)]
pub(crate) struct Tags<'m> {
    pub(crate) call_id: &'m [u8],
    pub(crate) from: &'m [u8],
    /// None before there is a dialog.
    pub(crate) to: Option<&'m [u8]>,
}

impl<'m> Tags<'m> {
    pub(crate) fn of(message: &Message<'m>) -> Option<Self> {
        Some(Self {
            call_id: message.call_id()?,
            from: message.from().ok()?.tag()?,
            to: message.to().ok()?.tag(),
        })
    }

    /// The key of its call and the callee's tag if the request was sent by this side.
    pub(crate) fn sent_by(&self, side: Side) -> Option<(Key, Option<&'m [u8]>)> {
        match side {
            Side::Caller => Some((key(self.call_id, self.from), self.to)),
            Side::Callee => Some((key(self.call_id, self.to?), Some(self.from))),
        }
    }
}
