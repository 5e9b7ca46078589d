//! What a connection keeps of a frame or message that is not whole yet.

use crate::connection::MessageKind;
use crate::error::ProtocolError;
use crate::frame::{Header, MAX_HEADER};
use crate::utf8::Utf8Progress;

/// The first allocation for a message that comes in pieces, in bytes.
const FIRST_CAPACITY: usize = 512;

/// Exists only while something is incomplete.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// A header that is not whole; empty otherwise.
    pub(crate) head: HeadBytes,
    /// A frame whose payload is not whole.
    pub(crate) frame: Option<OpenFrame>,
    /// The payload so far of an incomplete control frame, unmasked.
    pub(crate) control: Vec<u8>,
    /// A message of which frames are still to come, or whose only frame is not whole.
    pub(crate) message: Option<MessageAssembler>,
}

impl Partial {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.len == 0 && self.frame.is_none() && self.message.is_none()
    }
}

/// The first bytes of a header.
#[derive(Debug, Default)]
pub(crate) struct HeadBytes {
    pub(crate) bytes: [u8; MAX_HEADER],
    pub(crate) len: usize,
}

/// A frame whose payload is still arriving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenFrame {
    pub(crate) header: Header,
    /// Bytes of payload already taken; less than the header's length.
    pub(crate) received: usize,
}

/// A message in the making.
#[derive(Debug)]
pub(crate) struct MessageAssembler {
    pub(crate) kind: MessageKind,
    pub(crate) data: Vec<u8>,
    /// Frames begun.
    pub(crate) fragments: u32,
    text: Utf8Progress,
}

impl MessageAssembler {
    pub(crate) fn new(kind: MessageKind) -> Self {
        Self { kind, data: Vec::new(), fragments: 0, text: Utf8Progress::default() }
    }

    /// Takes the next unmasked bytes; `to_come` is how many more will follow in this message, if that is
    /// known.
    pub(crate) fn append(&mut self, bytes: &[u8], to_come: Option<usize>) -> Result<(), ProtocolError> {
        let needed = self.data.len() + bytes.len();
        if needed > self.data.capacity() {
            // Doubling keeps the cost linear, however small the pieces; a known end caps it, so that the last
            // step wastes nothing. Memory follows what has arrived, never what was only announced.
            let doubled = (2 * self.data.capacity()).max(FIRST_CAPACITY);
            let capacity = match to_come {
                Some(to_come) => doubled.clamp(needed, needed + to_come),
                None => doubled.max(needed),
            };
            self.data.reserve_exact(capacity - self.data.len());
        }
        self.data.extend_from_slice(bytes);
        match self.kind {
            MessageKind::Text => self.text.advance(&self.data).map_err(|_| ProtocolError::TextNotUtf8),
            MessageKind::Binary => Ok(()),
        }
    }

    /// The message is whole.
    pub(crate) fn finish(self) -> Result<(MessageKind, Vec<u8>), ProtocolError> {
        if self.kind == MessageKind::Text {
            self.text.finish(&self.data).map_err(|_| ProtocolError::TextNotUtf8)?;
        }
        Ok((self.kind, self.data))
    }
}
