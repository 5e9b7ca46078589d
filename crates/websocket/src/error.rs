//! Every way a peer can break RFC 6455 once the connection is open.

use std::fmt;

use crate::close::CloseCode;

/// Why the connection must be failed (RFC 6455 §7.1.7). Each misbehaviour has its own variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolError {
    /// A client's frame without mask (§5.1).
    MaskMissing,
    /// A server's frame with mask (§5.1).
    MaskForbidden,
    /// RSV1, RSV2 or RSV3 set; no extension was agreed on (§5.2).
    ReservedBits,
    /// An opcode that RFC 6455 does not define: 3-7 or 11-15 (§5.2).
    ReservedOpcode(u8),
    /// A control frame announcing more than 125 bytes (§5.5).
    ControlTooLong,
    /// A control frame without FIN (§5.5).
    ControlFragmented,
    /// A continuation frame while no message is open (§5.4).
    ContinuationWithoutStart,
    /// A text or binary frame while a fragmented message is still open (§5.4).
    DataInsideMessage,
    /// A length written in more bytes than it needs (§5.2).
    LengthNotMinimal,
    /// A 64-bit length with its top bit set (§5.2).
    LengthTopBit,
    /// A Close payload of one byte: half a code (§5.5.1).
    CloseTruncated,
    /// A close code that must not stand in a frame (§7.4).
    InvalidCloseCode(u16),
    /// A close reason that is not UTF-8 (§5.5.1).
    CloseReasonNotUtf8,
    /// A text message that is not UTF-8, told at the first byte that settles it (§8.1).
    TextNotUtf8,
    /// The message is, or announces to become, bigger than
    /// [`Limits::max_message`](crate::Limits::max_message).
    MessageTooBig,
    /// One frame announces more than [`Limits::max_frame`](crate::Limits::max_frame).
    FrameTooBig,
    /// A message in more frames than [`Limits::max_fragments`](crate::Limits::max_fragments).
    TooManyFragments,
}

impl ProtocolError {
    /// One of each, for tables and metrics.
    pub const ALL: [Self; 17] = [
        Self::MaskMissing,
        Self::MaskForbidden,
        Self::ReservedBits,
        Self::ReservedOpcode(3),
        Self::ControlTooLong,
        Self::ControlFragmented,
        Self::ContinuationWithoutStart,
        Self::DataInsideMessage,
        Self::LengthNotMinimal,
        Self::LengthTopBit,
        Self::CloseTruncated,
        Self::InvalidCloseCode(1005),
        Self::CloseReasonNotUtf8,
        Self::TextNotUtf8,
        Self::MessageTooBig,
        Self::FrameTooBig,
        Self::TooManyFragments,
    ];

    /// The code to close with: 1002 broken protocol, 1007 bad UTF-8, 1009 too big, 1008 too many fragments.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::CloseReasonNotUtf8 | Self::TextNotUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooBig | Self::FrameTooBig => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyFragments => CloseCode::POLICY_VIOLATION,
            Self::MaskMissing
            | Self::MaskForbidden
            | Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::ControlTooLong
            | Self::ControlFragmented
            | Self::ContinuationWithoutStart
            | Self::DataInsideMessage
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::CloseTruncated
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// A short text for the Close frame and the log; at most 123 bytes of ASCII.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::MaskMissing => "client frame not masked",
            Self::MaskForbidden => "server frame masked",
            Self::ReservedBits => "reserved bit set without an extension",
            Self::ReservedOpcode(_) => "reserved opcode",
            Self::ControlTooLong => "control frame over 125 bytes",
            Self::ControlFragmented => "control frame fragmented",
            Self::ContinuationWithoutStart => "continuation without a message",
            Self::DataInsideMessage => "new message inside a fragmented one",
            Self::LengthNotMinimal => "length not in its shortest form",
            Self::LengthTopBit => "length over 63 bits",
            Self::CloseTruncated => "close frame with half a code",
            Self::InvalidCloseCode(_) => "close code not allowed in a frame",
            Self::CloseReasonNotUtf8 => "close reason is not UTF-8",
            Self::TextNotUtf8 => "text is not UTF-8",
            Self::MessageTooBig => "message too big",
            Self::FrameTooBig => "frame too big",
            Self::TooManyFragments => "message in too many fragments",
        }
    }

    /// The variant's name in snake case, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaskMissing => "mask_missing",
            Self::MaskForbidden => "mask_forbidden",
            Self::ReservedBits => "reserved_bits",
            Self::ReservedOpcode(_) => "reserved_opcode",
            Self::ControlTooLong => "control_too_long",
            Self::ControlFragmented => "control_fragmented",
            Self::ContinuationWithoutStart => "continuation_without_start",
            Self::DataInsideMessage => "data_inside_message",
            Self::LengthNotMinimal => "length_not_minimal",
            Self::LengthTopBit => "length_top_bit",
            Self::CloseTruncated => "close_truncated",
            Self::InvalidCloseCode(_) => "invalid_close_code",
            Self::CloseReasonNotUtf8 => "close_reason_not_utf8",
            Self::TextNotUtf8 => "text_not_utf8",
            Self::MessageTooBig => "message_too_big",
            Self::FrameTooBig => "frame_too_big",
            Self::TooManyFragments => "too_many_fragments",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedOpcode(opcode) => write!(f, "reserved opcode {opcode}"),
            Self::InvalidCloseCode(code) => write!(f, "close code {code} is not allowed in a frame"),
            other => f.write_str(other.reason()),
        }
    }
}

impl std::error::Error for ProtocolError {}
