//! `[limits]`: bounds on what peers may take.

use std::num::{NonZeroU8, NonZeroU32};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use lifecycle::FlowLimits;

use crate::document::{Field, ReadSection, Reading, Section, SectionSchema};
use crate::report::{Problem, ProblemKind};

/// Bounds of `max_message`, here and in a listener.
pub(crate) const MESSAGE: RangeInclusive<u64> = 1 << 10..=16 << 20;

const PATIENCE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);

/// Bounds of `idle` and `lifetime`.
const LIFE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(365 * 24 * 3600);

/// The number of shards. Each is a thread that owns a part of the flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shards {
    /// One for each processor of the machine, [`MOST`](Self::MOST) at the most.
    Auto,
    /// Exactly so many: 1 to [`MOST`](Self::MOST).
    Fixed(NonZeroU8),
}

impl Shards {
    /// The largest number of shards.
    pub const MOST: u8 = 64;
}

/// Bounds on what peers may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Flows open at once: 1 to 10,000,000. The descriptors that the process may open can lower it.
    pub max_flows: u32,
    /// Connections of one listener whose handshake is not done: 1 to 10,000,000. Beyond it the oldest gives
    /// way.
    pub max_handshakes: u32,
    /// Length of one SIP message in bytes, headers and body: 1 KiB to 16 MiB.
    pub max_message: u64,
    /// Time for TLS and the WebSocket upgrade together: 10 ms to 1 h.
    pub handshake_timeout: Duration,
    /// Time that a peer has to answer a Close frame: 10 ms to 1 h.
    pub close_timeout: Duration,
    /// Bytes waiting to be written to one flow: 1 KiB to 64 MiB. Beyond it the flow is closed with
    /// `slow_reader`.
    pub outbound_queue: u64,
    /// Time in which a write must get on before the flow is closed with `write_timeout`: 10 ms to 1 h.
    pub write_timeout: Duration,
    /// How long a flow may live (10 ms to 365 d), how long it may have no SIP to say (the same), and how much
    /// it may say (up to 1,000,000 messages a second). What holds for a flow is in its
    /// [`Listener`](crate::Listener).
    pub flow: FlowLimits,
    /// Transactions at once: 1 to 10,000,000. Beyond it requests are answered 503.
    pub max_transactions: u32,
    /// Bytes of messages kept for transactions: 1 MiB to 1024 GiB. Beyond it requests are answered 503.
    pub transaction_memory: u64,
    /// Over how many owners the flows are spread.
    pub shards: Shards,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_flows: 100_000,
            max_handshakes: 10_000,
            max_message: 128 << 10,
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            outbound_queue: 256 << 10,
            write_timeout: Duration::from_secs(30),
            flow: FlowLimits::default(),
            max_transactions: 200_000,
            transaction_memory: 256 << 20,
            shards: Shards::Auto,
        }
    }
}

impl ReadSection for Limits {
    const SCHEMA: SectionSchema = SectionSchema {
        header: "[limits]",
        keys: &[
            "max_flows",
            "max_handshakes",
            "max_message",
            "handshake_timeout",
            "close_timeout",
            "outbound_queue",
            "write_timeout",
            "idle",
            "lifetime",
            "message_rate",
            "max_transactions",
            "transaction_memory",
            "shards",
        ],
    };

    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self {
        let default = Self::default();
        let max_message = section.size(reading, "max_message", MESSAGE);
        let outbound_queue = section.size(reading, "outbound_queue", 1 << 10..=64 << 20);
        let limits = Self {
            max_flows: section.bounded(reading, "max_flows", 1..=10_000_000).or(default.max_flows),
            max_handshakes: section
                .bounded(reading, "max_handshakes", 1..=10_000_000)
                .or(default.max_handshakes),
            max_message: max_message.compared(default.max_message, 0),
            handshake_timeout: section
                .duration(reading, "handshake_timeout", PATIENCE)
                .or(default.handshake_timeout),
            close_timeout: section.duration(reading, "close_timeout", PATIENCE).or(default.close_timeout),
            outbound_queue: outbound_queue.compared(default.outbound_queue, u64::MAX),
            write_timeout: section.duration(reading, "write_timeout", PATIENCE).or(default.write_timeout),
            flow: read_flow(reading, section, default.flow),
            max_transactions: section
                .bounded(reading, "max_transactions", 1..=10_000_000)
                .or(default.max_transactions),
            transaction_memory: section
                .size(reading, "transaction_memory", 1 << 20..=1 << 40)
                .or(default.transaction_memory),
            shards: section
                .bounded(reading, "shards", 0..=u32::from(Shards::MOST))
                .given()
                .and_then(|at| NonZeroU8::new(u8::try_from(at.value).ok()?))
                .map_or(Shards::Auto, Shards::Fixed),
        };
        if let Some(span) = max_message.place().or(outbound_queue.place()) {
            limits.message_fits_queue(reading, limits.max_message, span);
        }
        limits
    }
}

impl Limits {
    /// Notes a `max_message` that could never be sent on: it is longer than a flow's whole queue.
    pub(crate) fn message_fits_queue(&self, reading: &mut Reading<'_>, max_message: u64, span: Range<usize>) {
        if max_message > self.outbound_queue {
            reading.error(
                Problem::new(
                    ProblemKind::Conflict,
                    span,
                    "`max_message` is larger than `limits.outbound_queue`",
                )
                .label("the longest message would never fit the queue")
                .help(format!("set `outbound_queue` to {max_message} or more, or lower `max_message`")),
            );
        }
    }
}

/// Reads the limits of a flow from `[limits]` or from a listener that overrides them.
pub(crate) fn read_flow(reading: &mut Reading<'_>, section: &Section<'_>, default: FlowLimits) -> FlowLimits {
    let mut life = |key| section.unless_off(reading, key, |reading| section.duration(reading, key, LIFE));
    let (idle, lifetime) = (life("idle"), life("lifetime"));
    let rate = section.unless_off(reading, "message_rate", |reading| {
        section.bounded(reading, "message_rate", 1..=1_000_000)
    });
    FlowLimits {
        idle: idle.or(default.idle),
        lifetime: lifetime.or(default.lifetime),
        message_rate: match rate {
            Field::Given(at) => at.value.and_then(NonZeroU32::new),
            Field::Absent | Field::Faulty => default.message_rate,
        },
    }
}
