//! What one address may take, and how offences weigh.

use std::{num::NonZeroU32, time::Duration};

/// Seconds over which the rate of connections is taken: so many times the rate may come at once.
pub(crate) const BURST: u32 = 20;

/// The same for messages.
pub(crate) const MESSAGE_BURST: u32 = 5;

/// So many requests without credentials weigh as much as one other failure.
pub(crate) const UNPROVED: u32 = 50;

/// What one address may take. None: as much as it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, whatever they are at.
    pub connections: Option<NonZeroU32>,
    /// Those of them whose handshake is not done.
    pub handshakes: Option<NonZeroU32>,
    /// Connections that come in a second, in the long run: twenty times as many may come at once.
    pub handshake_rate: Option<NonZeroU32>,
    /// Messages of unauthenticated clients in a second, in the long run: five times as many may come at once.
    pub message_rate: Option<NonZeroU32>,
    /// Failures within [`Limits::forget`] of which one more is answered with a ban.
    pub failures: Option<NonZeroU32>,
    /// How long it takes until that many failures are forgotten. They are so one by one.
    pub forget: Duration,
    /// How long a ban lasts.
    pub ban: Duration,
}

impl Default for Limits {
    /// Made so that an office of some thousand people behind one address is never in the way of them.
    fn default() -> Self {
        Self {
            connections: NonZeroU32::new(5000),
            handshakes: NonZeroU32::new(2000),
            handshake_rate: NonZeroU32::new(200),
            message_rate: NonZeroU32::new(1000),
            failures: NonZeroU32::new(100),
            forget: Duration::from_secs(600),
            ban: Duration::from_secs(600),
        }
    }
}

/// What an unauthenticated client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// Wrong credentials, or a token without a valid signature. An authenticated client may do this, too.
    Credentials,
    /// A handshake that was refused for what it asked.
    Handshake,
    /// Bytes that are no SIP, no WebSocket frames or no TLS.
    Malformed,
    /// A request that was refused: to a user or domain that is not here, or to be relayed elsewhere.
    Refused,
    /// A request without credentials, for which they were asked. Everybody does that once, and has it
    /// forgotten with the answer; a client that tries one user after the other does it again and again. Fifty
    /// of them weigh as much as one of the others.
    Unproved,
    /// The name of a scanner. This alone is answered with a ban.
    Scanner,
}

impl Offence {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Credentials, Self::Handshake, Self::Malformed, Self::Refused, Self::Unproved, Self::Scanner];

    /// A word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Handshake => "handshake",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::Unproved => "unproved",
            Self::Scanner => "scanner",
        }
    }
}

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnedAwayCause {
    /// The address is banned.
    Banned,
    /// It has as many connections as it may have.
    Connections,
    /// It has as many handshakes under way as it may have.
    Handshakes,
    /// Its connections come too fast.
    HandshakeRate,
    /// Its messages come too fast.
    MessageRate,
}

impl TurnedAwayCause {
    /// A word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Banned => "banned",
            Self::Connections => "connections",
            Self::Handshakes => "handshakes",
            Self::HandshakeRate => "handshake_rate",
            Self::MessageRate => "message_rate",
        }
    }
}
