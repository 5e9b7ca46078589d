//! The shard's answers to the rules for requests.

use std::{net::SocketAddr, sync::Arc};

use defence::{LoginTry, Offence, User};
use sip_auth::Role;
use sip_message::Message;
use sip_proxy::Answer;

use super::Shard;
use identity::{DomainRef, LoginAttempt, LoginThrottle, Proof, QuotaExceeded};
use state::clock;
use upstream::{FlowNumber, Hop};

use crate::routing::{
    Routing,
    flow_lookup::{FlowLookup, Known, SenderProof},
};

impl Shard {
    /// The rules for requests, as this shard puts them to use.
    pub(crate) fn routing(&self) -> Routing<'_, Self> {
        Routing { tables: self.shared.tables(), flows: self }
    }
}

impl FlowLookup for Shard {
    fn identity(&self, flow: FlowNumber) -> Option<Known> {
        self.known(flow)
    }

    fn remote(&self, flow: FlowNumber) -> Option<SocketAddr> {
        Self::remote(self, flow)
    }

    fn is_gone(&self, flow: FlowNumber) -> bool {
        flow.shard() == usize::from(self.index) && !self.has_flow(flow)
    }

    fn current_flow(&self, hop: Hop) -> Option<FlowNumber> {
        self.flow_of(hop)
    }

    fn quota_holder(&self, from: Hop, proved: Option<&str>) -> Option<Arc<User>> {
        self.quota_holder(from, proved)
    }
}

impl SenderProof for Shard {
    fn prove(
        &self,
        domain: DomainRef<'_>,
        request: &Message<'_>,
        from: Hop,
        role: Role,
    ) -> Result<Proof, Answer> {
        let known = match from {
            Hop::Flow(number) => self.known(number).map(|known| known.identity),
            Hop::Udp { .. } | Hop::Peer { .. } => None,
        };
        let throttle = Throttle { shard: self, from };
        let attempt = LoginAttempt::new(&throttle, self.source(from), known);
        let at = clock::now();
        domain.prove(request, role, at, rand::random(), &self.shared.metrics, &attempt)
    }

    fn authenticated(&self, from: Hop) {
        self.proved(from);
    }

    fn charge(&self, from: Hop, aor: &str) -> Result<(), QuotaExceeded> {
        self.speaks_for(from, aor)
    }
}

/// Counts guesses at the passwords of users and at the address that they come from.
struct Throttle<'s> {
    shard: &'s Shard,
    from: Hop,
}

impl LoginThrottle for Throttle<'_> {
    fn may_try(&self, who: &LoginTry<'_>) -> Result<(), QuotaExceeded> {
        self.shard.shared.admission.quotas.may_try(who)
    }

    fn failed(&self, who: &LoginTry<'_>) {
        self.shard.shared.admission.quotas.failed(who);
    }

    fn succeeded(&self, who: &LoginTry<'_>) {
        self.shard.shared.admission.quotas.proved(who);
    }

    fn offends(&self) {
        self.shard.offends(self.from, Offence::Credentials);
    }
}
