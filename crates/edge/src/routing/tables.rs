//! The tables that the rules for requests read, borrowed for one message.

use std::sync::MutexGuard;

use identity::Domains;
use ledger::Reservation;
use location::Location;
use metrics::Metrics;
use state::Registry;
use upstream::Upstreams;

use crate::{
    BoundListener,
    call_table::{CallRecords, CallTable},
    routing::flow_token::FlowTokens,
    user_quotas::UserQuotas,
};

/// The tables that all shards share, as far as routing reads them.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'t> {
    /// The domains that are served.
    pub(crate) domains: &'t Domains,
    /// The servers behind us.
    pub(crate) upstreams: &'t Upstreams,
    /// Signs and reads routes of ours.
    pub(crate) flow_tokens: &'t FlowTokens,
    /// The listeners by their numbers.
    pub(crate) listeners: &'t [BoundListener],
    /// Open flows and bindings.
    pub(crate) registry: &'t Registry,
    /// The calls of this node.
    pub(crate) calls: &'t CallTable,
    /// The quotas of users.
    pub(crate) quotas: &'t UserQuotas,
    /// The counts of refusals.
    pub(crate) metrics: &'t Metrics,
    /// The limits of a REGISTER.
    pub(crate) policy: &'t sip_registrar::Policy,
}

impl<'t> Tables<'t> {
    /// The bindings. Held for the length of one look.
    pub(crate) fn location(&self) -> MutexGuard<'t, Location<Reservation>> {
        self.registry.location()
    }

    /// The parts that records of calls need.
    pub(crate) fn call_records(&self) -> CallRecords<'t> {
        CallRecords { registry: self.registry, listeners: self.listeners, metrics: self.metrics }
    }

    /// The listener of a number.
    pub(crate) fn listener(&self, number: u8) -> Option<&'t BoundListener> {
        self.listeners.get(usize::from(number))
    }
}
