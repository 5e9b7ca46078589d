//! Frame headers: RFC 6455 §5.2.

use crate::connection::{Limits, Role};
use crate::error::ProtocolError;
use crate::mask::MaskKey;

/// The longest header: two bytes, a 64-bit length, a mask key.
pub(crate) const MAX_HEADER: usize = 14;

/// The longest payload of a control frame, in bytes (§5.5).
pub(crate) const MAX_CONTROL_PAYLOAD: usize = 125;

/// What a frame is (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// The next piece of a fragmented message.
    Continuation,
    /// A text message or its first piece.
    Text,
    /// A binary message or its first piece.
    Binary,
    /// The end.
    Close,
    /// Asks for a Pong.
    Ping,
    /// Answers a Ping, or comes unasked.
    Pong,
}

impl Opcode {
    /// The four bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    pub(crate) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A header that broke no rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    /// Bytes of payload; never above the limits it was read under.
    pub(crate) length: usize,
    pub(crate) mask: MaskKey,
    /// Bytes of the header itself.
    pub(crate) size: usize,
}

/// What has been gathered of the message that is open, if one is.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    pub(crate) bytes: usize,
    pub(crate) fragments: u32,
}

impl Header {
    /// Reads a header from the start of `bytes`, `None` while it is not whole.
    ///
    /// The rules are checked in the order of the bytes they depend on, so a verdict does not depend on how
    /// the stream was cut, and falls as soon as it can.
    pub(crate) fn read(
        bytes: &[u8],
        role: Role,
        limits: &Limits,
        open: Option<Open>,
    ) -> Result<Option<Self>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let bits = first & 0x0f;
        let opcode = Opcode::from_bits(bits).ok_or(ProtocolError::ReservedOpcode(bits))?;
        let fin = first & 0x80 != 0;
        match (opcode, open) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) if !fin => {
                return Err(ProtocolError::ControlFragmented);
            }
            (Opcode::Continuation, None) => return Err(ProtocolError::ContinuationWithoutStart),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::DataInsideMessage),
            (Opcode::Continuation, Some(open)) if open.fragments >= limits.max_fragments => {
                return Err(ProtocolError::TooManyFragments);
            }
            _ => {}
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & 0x80 != 0;
        match (role, masked) {
            (Role::Server, false) => return Err(ProtocolError::MaskMissing),
            (Role::Client, true) => return Err(ProtocolError::MaskForbidden),
            _ => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL_PAYLOAD {
            return Err(ProtocolError::ControlTooLong);
        }

        let rest = &bytes[2..];
        let (length, length_size) = match short {
            126 => {
                let Some(field) = rest.first_chunk::<2>() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*field)), 2)
            }
            127 => {
                if rest.first().is_some_and(|byte| byte & 0x80 != 0) {
                    return Err(ProtocolError::LengthTopBit);
                }
                let Some(field) = rest.first_chunk::<8>() else { return Ok(None) };
                (u64::from_be_bytes(*field), 8)
            }
            short => (u64::from(short), 0),
        };
        if (short == 126 && length < 126) || (short == 127 && length <= u64::from(u16::MAX)) {
            return Err(ProtocolError::LengthNotMinimal);
        }
        if !opcode.is_control() {
            if length > u64::from(limits.max_frame) {
                return Err(ProtocolError::FrameTooBig);
            }
            let gathered = open.map_or(0, |open| open.bytes as u64);
            if gathered + length > u64::from(limits.max_message) {
                return Err(ProtocolError::MessageTooBig);
            }
        }

        let (mask, mask_size) = if masked {
            match rest[length_size..].first_chunk::<4>() {
                Some(key) => (*key, 4),
                None => return Ok(None),
            }
        } else {
            ([0; 4], 0)
        };
        let size = 2 + length_size + mask_size;
        // At most max_frame, which has 32 bits.
        Ok(Some(Self { fin, opcode, length: length as usize, mask, size }))
    }
}
