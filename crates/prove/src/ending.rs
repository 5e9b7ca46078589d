//! Every way a client can end its connection.

use std::fmt;

use lifecycle::Transport;

mod expected;
mod perform;

pub use expected::{CodeSeen, Expected, Outcome};
pub use perform::{Farewell, Parting};

/// One way for a connection to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// A Close frame (RFC 6455 §5.5.1), then one of three things.
    Close(CloseWord, AfterClose),
    /// FIN and nothing more, as when a process is killed. Over TLS that is without close_notify.
    Fin,
    /// FIN, but this end goes on reading.
    HalfFin,
    /// RST.
    Reset,
    /// FIN in the middle of a frame.
    FinInFrame,
    /// RST in the middle of a frame.
    ResetInFrame,
    /// The rules are broken; then wait for what the server does.
    Breach(Breach),
    /// Nothing is answered any more, Pings included; the socket stays.
    Silence,
    /// Nothing is read any more; someone has to send to this client, or it looks like silence.
    StopReading,
    /// A fatal TLS alert.
    TlsAlert,
    /// TLS's close_notify without a WebSocket Close; the socket stays.
    CloseNotify,
    /// FIN in the middle of a TLS record.
    FinInRecord,
    /// A TLS record that cannot be decrypted.
    GarbageRecord,
}

/// What a Close frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseWord {
    /// 1000, as SIP.js does when it stops.
    Normal,
    /// 1001, as browsers do when a page is left.
    GoingAway,
    /// No code, as JsSIP does when it stops.
    Empty,
    /// 4000 with a reason of two scripts.
    WithReason,
}

/// What follows a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterClose {
    /// The answer is waited for.
    Wait,
    /// FIN at once, as when a page is reloaded.
    Fin,
    /// RST at once, as when a browser's context is closed.
    Reset,
}

/// One rule of RFC 6455 broken, or a limit of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// A frame without mask (§5.1).
    Unmasked,
    /// A frame with RSV1 (§5.2).
    ReservedBits,
    /// Opcode 3 (§5.2).
    ReservedOpcode,
    /// A Ping of 126 bytes (§5.5).
    LongControl,
    /// A Ping in fragments (§5.5).
    FragmentedControl,
    /// A continuation of nothing (§5.4).
    ContinuationOfNothing,
    /// A new message inside a fragmented one (§5.4).
    MessageInMessage,
    /// A Close of one byte (§5.5.1).
    HalfCloseCode,
    /// A Close with code 1005, which is never sent (§7.4.1).
    ForbiddenCloseCode,
    /// A text message that is not UTF-8 (§8.1).
    NotUtf8,
    /// A frame that announces a gigabyte.
    Oversize,
}

/// The text of [`CloseWord::WithReason`].
pub(crate) const REASON: &str = "bis später";

impl CloseWord {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Normal, Self::GoingAway, Self::Empty, Self::WithReason];
}

impl AfterClose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Wait, Self::Fin, Self::Reset];
}

impl Breach {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Unmasked,
        Self::ReservedBits,
        Self::ReservedOpcode,
        Self::LongControl,
        Self::FragmentedControl,
        Self::ContinuationOfNothing,
        Self::MessageInMessage,
        Self::HalfCloseCode,
        Self::ForbiddenCloseCode,
        Self::NotUtf8,
        Self::Oversize,
    ];
}

/// Whether the server learns of an ending from what it receives, or from its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// Something arrives: the close should be told within milliseconds.
    Arrives,
    /// Nothing arrives any more: only a timer or a full queue tells.
    OnlyTime,
}

impl Ending {
    /// All that are possible over this transport and that the server learns of at once. For WebSocket
    /// transports; a plain stream has FIN and RST.
    #[must_use]
    pub fn prompt(transport: Transport) -> Vec<Self> {
        let mut all = vec![Self::Fin, Self::HalfFin, Self::Reset];
        if matches!(transport, Transport::Ws | Transport::Wss) {
            let words = CloseWord::ALL.into_iter();
            all.extend(words.flat_map(|word| AfterClose::ALL.map(|after| Self::Close(word, after))));
            all.extend(Breach::ALL.map(Self::Breach));
            all.extend([Self::FinInFrame, Self::ResetInFrame]);
        }
        if matches!(transport, Transport::Wss | Transport::Tls) {
            all.extend([Self::TlsAlert, Self::CloseNotify, Self::FinInRecord, Self::GarbageRecord]);
        }
        all
    }

    /// All that are possible over this transport.
    #[must_use]
    pub fn all(transport: Transport) -> Vec<Self> {
        let mut all = Self::prompt(transport);
        all.extend([Self::Silence, Self::StopReading]);
        all
    }

    /// How the server learns of it.
    #[must_use]
    pub const fn notice(self) -> Notice {
        match self {
            Self::Silence | Self::StopReading => Notice::OnlyTime,
            _ => Notice::Arrives,
        }
    }

    /// Whether what was sent before may be lost: a RST is allowed to throw it away.
    #[must_use]
    pub const fn may_lose(self) -> bool {
        matches!(self, Self::Reset | Self::ResetInFrame | Self::Close(_, AfterClose::Reset))
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Close(word, after) => return write!(f, "{word}{after}"),
            Self::Fin => "FIN without Close",
            Self::HalfFin => "half FIN, goes on reading",
            Self::Reset => "RST",
            Self::FinInFrame => "FIN in mid-frame",
            Self::ResetInFrame => "RST in mid-frame",
            Self::Breach(breach) => return breach.fmt(f),
            Self::Silence => "silence",
            Self::StopReading => "stops reading",
            Self::TlsAlert => "fatal TLS alert",
            Self::CloseNotify => "close_notify without Close",
            Self::FinInRecord => "FIN in mid-record",
            Self::GarbageRecord => "garbage TLS record",
        })
    }
}

impl fmt::Display for CloseWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "Close 1000",
            Self::GoingAway => "Close 1001",
            Self::Empty => "Close, empty",
            Self::WithReason => "Close 4000 with reason",
        })
    }
}

impl fmt::Display for AfterClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wait => "",
            Self::Fin => ", then FIN",
            Self::Reset => ", then RST",
        })
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unmasked => "frame without mask",
            Self::ReservedBits => "reserved bit",
            Self::ReservedOpcode => "reserved opcode",
            Self::LongControl => "control frame over 125 bytes",
            Self::FragmentedControl => "control frame in fragments",
            Self::ContinuationOfNothing => "continuation of nothing",
            Self::MessageInMessage => "message inside a message",
            Self::HalfCloseCode => "Close with half a code",
            Self::ForbiddenCloseCode => "Close with code 1005",
            Self::NotUtf8 => "text that is not UTF-8",
            Self::Oversize => "message over the limit",
        })
    }
}
