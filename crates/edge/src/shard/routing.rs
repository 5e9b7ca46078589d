//! What the rules for requests ask of a shard.

use std::{net::SocketAddr, sync::Arc};

use defence::User;
use sip_auth::Role;
use sip_message::Message;
use sip_proxy::Answer;

use super::{Known, Shard};
use upstream::{FlowNumber, Hop};

use crate::{
    accounts::TooMuch,
    attempt::Attempt,
    domains::{DomainRef, Proof},
    routing::flow_lookup::{FlowLookup, SenderProof},
};

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
        self.pays(from, proved)
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
        domain.prove(request, role, rand::random(), &self.shared.metrics, &Attempt::new(self, from))
    }

    fn authenticated(&self, from: Hop) {
        self.proved(from);
    }

    fn charge(&self, from: Hop, aor: &str) -> Result<(), TooMuch> {
        self.speaks_for(from, aor)
    }
}
