//! Who may call whom, and where a request goes: the security policy of the server.
//!
//! [`Routing`] decides. It reads the [`Tables`] that all shards share, and asks the sender's
//! shard about flows ([`FlowLookup`](flow_lookup::FlowLookup)) and proofs
//! ([`SenderProof`](flow_lookup::SenderProof)). It sends nothing and has no socket, so `policy_tests` can
//! hold its rules as rows. [`ProxyEnvironment`](environment::ProxyEnvironment) puts one message at a time to
//! it, and does what follows.
//!
//! - `sender`: who sends a request, and what that lets the sender do.
//! - `decision`: where a request goes that no route leads on.
//! - `own_routes`, `returned`: routes that we signed, also those of earlier runs.
//! - `redirects`, `gruu`, `targets`: what a contact, a GRUU or an address-of-record leads to.
//! - `register`, `own_contacts`, `backend`: who may register what, and where.
//! - `header_policy`: what of a message goes on to whom.

pub(crate) mod answering;
pub(crate) mod backend;
mod decision;
pub(crate) mod environment;
pub(crate) mod event_state;
pub(crate) mod flow_lookup;
pub(crate) mod flow_token;
pub(crate) mod granted;
pub(crate) mod gruu;
mod header_policy;
pub(crate) mod own_contacts;
mod own_routes;
#[cfg(test)]
mod policy_tests;
mod redirects;
pub(crate) mod register;
pub(crate) mod response_address;
mod returned;
pub(crate) mod rewritten_contact;
pub(crate) mod sender;
pub(crate) mod tables;
pub(crate) mod targets;

use std::time::Instant;

use defence::UserCall;
use identity::QuotaExceeded;
use sip_message::Message;
use sip_proxy::Target;
use smallvec::SmallVec;
use tables::Tables;
use upstream::Hop;

/// Where a request goes.
pub(crate) type Targets = SmallVec<[Target<Hop>; 1]>;

/// The rules for requests. Made for one message.
#[derive(Clone, Copy)]
pub(crate) struct Routing<'t, F> {
    pub(crate) tables: Tables<'t>,
    /// The shard of the sender.
    pub(crate) flows: &'t F,
}

/// A request, where it comes from and when.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'m> {
    pub(crate) request: &'m Message<'m>,
    pub(crate) from: Hop,
    pub(crate) now: Instant,
}

/// Facts about the request at hand: those known when it comes, and those that the rules find.
#[derive(Debug, Default)]
pub(crate) struct RequestState {
    /// Its user says more than it may: nothing new is begun for it.
    pub(crate) throttled: Option<QuotaExceeded>,
    /// Whether it has proved who sends it.
    pub(crate) proved: Proved,
    /// The place of the call that it begins, taken when its sender was accepted.
    pub(crate) call: Option<UserCall>,
}

/// Whether a request has proved who sends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Proved {
    /// No, or another did before it.
    #[default]
    No,
    /// Yes: the user in From.
    Yes,
}
