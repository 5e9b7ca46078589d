//! What a node says of itself and of its ledger.

use std::{borrow::Cow, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{Text, Word, vocabulary::vocabulary};

vocabulary! {
    /// Why old records are dropped.
    TrimReason, "a reason to drop records", {
        /// They are older than the ledger is to be kept.
        Age = "age",
        /// The ledger is larger than it is to be.
        Size = "size",
    }
}

vocabulary! {
    /// How the kernel's sockets, the server's flows, users and calls, and the ledger differ.
    DifferenceKind, "a kind of difference", {
        /// A flow is open and the kernel has no connection for it.
        FlowWithoutSocket = "flow_without_socket",
        /// A socket to a listener is held and belongs to no flow: a descriptor leaks.
        SocketWithoutFlow = "socket_without_flow",
        /// A flow is open and the ledger does not say so.
        FlowNotInLedger = "flow_not_in_ledger",
        /// The ledger says that a flow is open, and it is not: its close is missing.
        LedgerWithoutFlow = "ledger_without_flow",
        /// A user is online and the ledger does not say so.
        UserNotInLedger = "user_not_in_ledger",
        /// The ledger says that a user is online who is not.
        LedgerWithoutUser = "ledger_without_user",
        /// A call goes on and the ledger does not say so.
        CallNotInLedger = "call_not_in_ledger",
        /// The ledger says that a call goes on, and there is none: its end is missing.
        LedgerWithoutCall = "ledger_without_call",
        /// What was counted does not add up: opened, less closed, is not what is open.
        Counters = "counters",
    }
}

/// `node.started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStarted {
    /// The program's version.
    pub version: Text<32>,
    /// Flows that an earlier incarnation left open, closed by this one.
    pub flows_recovered: u64,
}

/// `node.stopped`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStopped {
    /// Flows opened by this incarnation.
    pub flows_opened: u64,
    /// Flows closed by this incarnation (recovered ones not counted).
    pub flows_closed: u64,
}

/// Cursors that a `ledger.trimmed` names; the rest is counted.
pub const NAMED_CURSORS: usize = 16;

/// Bytes that the longest `ledger.trimmed` takes.
pub const TRIMMED_RESERVE: usize = 4096;

/// `ledger.trimmed`. It is durable before the first of the records goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerTrimmed<'a> {
    /// The first record dropped, as an event id.
    pub first: &'a str,
    /// The last record dropped, as an event id.
    pub last: &'a str,
    /// How many records.
    pub records: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Why.
    pub reason: Word<TrimReason>,
    /// Sinks that had not read all of it and were passed by order of the operator: the first few.
    pub passed: Cow<'a, [PassedCursor]>,
    /// How many such sinks there are in all.
    pub passed_total: usize,
}

/// A sink that will never see what it had not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedCursor {
    /// The sink's name.
    pub sink: Text<64>,
    /// The last event it had acknowledged, as an event id; none if it never had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_to: Option<Text<80>>,
}

/// `audit.differed`: written once for each difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditDiffered<'a> {
    /// What differs.
    pub kind: Word<DifferenceKind>,
    /// The flow, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<&'a str>,
    /// The socket's address here, where a socket is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The socket's peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// For how long it had been seen by then, in milliseconds.
    pub lasted_ms: u64,
    /// The evidence, in words.
    pub evidence: Text<200>,
}
