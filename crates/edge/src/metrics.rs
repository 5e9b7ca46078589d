//! Counters, read by the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($(#[doc = $help:literal] $name:ident = $text:literal,)*) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count { $(#[doc = $help] $name,)* }

        impl Count {
            /// Everything that is counted.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name on the metrics page, without prefix.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it counts, in words.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$name => $help.trim().trim_end_matches('.'),)* }
            }
        }

        const COUNTS: usize = [$(Count::$name,)*].len();
    };
}

counts! {
    /// Flows opened.
    FlowsOpened = "flows_opened",
    /// Flows closed.
    FlowsClosed = "flows_closed",
    /// Connections that were not let in: no room in the ledger, a stalled disk, too many flows.
    FlowsRefused = "flows_refused",
    /// Handshakes refused for what they asked.
    HandshakesRefused = "handshakes_refused",
    /// Connections that said nothing whole in time.
    HandshakeTimeouts = "handshake_timeouts",
    /// Connections whose TLS failed before they were flows.
    TlsFailures = "tls_handshake_failures",
    /// Connections whose peer left before it had asked for anything.
    LeftEarly = "left_early",
    /// Streams that began with something else than SIP.
    NotSip = "not_sip",
    /// Accepts that failed for want of descriptors or memory.
    AcceptsStarved = "accepts_starved",
    /// SIP messages received.
    MessagesReceived = "messages_received",
    /// SIP messages sent.
    MessagesSent = "messages_sent",
    /// SIP messages that could not be parsed.
    MessagesUnparsed = "messages_unparsed",
    /// SIP messages that were not valid.
    MessagesInvalid = "messages_invalid",
    /// Responses to nothing of ours.
    ResponsesStray = "responses_stray",
    /// ACKs with nowhere to go.
    AcksStray = "acks_stray",
    /// Repeated requests that were absorbed.
    RequestsRepeated = "requests_repeated",
    /// Requests that had been here before.
    Loops = "loops",
    /// Requests refused because the transaction table was full.
    TransactionsFull = "transactions_full",
    /// Messages that could not be rewritten.
    Unwritable = "messages_unwritable",
    /// Messages for a hop that was gone.
    SendsFailed = "sends_failed",
    /// Letters between shards that found the inbox full.
    InboxFull = "inbox_full",
    /// Registrations accepted, refreshes and removals included.
    RegistersAccepted = "registers_accepted",
    /// Registrations refused.
    RegistersRefused = "registers_refused",
    /// Credentials asked for.
    Challenges = "challenges",
    /// Wrong credentials.
    WrongCredentials = "wrong_credentials",
}

/// All counters of a process.
#[derive(Debug)]
pub struct Metrics([AtomicU64; COUNTS]);

impl Metrics {
    pub(crate) fn new() -> Self {
        Self([const { AtomicU64::new(0) }; COUNTS])
    }

    pub(crate) fn add(&self, count: Count) {
        self.0[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it happened.
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }
}
