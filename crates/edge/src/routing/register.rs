//! REGISTER: which senders may register a user (RFC 3261 §10). The bindings and their records are made in
//! `state::Registry`.

use config::ReplacedFlow;
use identity::{DomainRef, Proof, QuotaExceeded, brought};
use lifecycle::{Cause, Ending};
use location::{BindingHop, Register, RegisterError};
use metrics::Count;
use sip_auth::Role;
use sip_message::{HeaderId, Message};
use sip_proxy::Answer;
use sip_registrar::Outbound;
use state::clock;
use transport::Vouched;
use upstream::{FlowNumber, Hop};

use crate::{
    listeners::Bound,
    routing::{
        Incoming, Routing,
        flow_lookup::{FlowLookup, SenderProof},
        gruu,
        own_contacts::{LeftOut, Most, Source, left_out, without},
    },
    shard::{By, Shard},
};

/// What the peer of a replaced flow is told, with the code 1000. A user agent that is told so does not come
/// again, or it would throw out the newer flow.
pub(crate) const REPLACED: &str = "this user agent is registered on a newer connection";

/// Where a REGISTER came from, as a binding has it.
pub(crate) struct Origin {
    pub(crate) way: BindingHop,
    pub(crate) transport: lifecycle::Transport,
    pub(crate) remote: std::net::SocketAddr,
    /// The flow's id as text.
    pub(crate) flow: Option<String>,
}

impl Origin {
    /// None if its flow is gone.
    pub(crate) fn of(shard: &Shard, from: Hop) -> Option<Self> {
        if let Hop::Udp { listener, remote } = from {
            let way = BindingHop::Udp { listener: u16::from(listener) };
            return Some(Self { way, transport: lifecycle::Transport::Udp, remote, flow: None });
        }
        let number = shard.flow_of(from)?;
        let (facts, flow) = shard.facts(number)?;
        let way = BindingHop::Flow(number.id(shard.shared.state.incarnation()));
        let remote = shard.remote(number).unwrap_or(facts.remote);
        Some(Self { way, transport: facts.transport, remote, flow: Some(flow) })
    }
}

/// What a REGISTER may bind, after its sender was let in.
#[derive(Debug)]
pub(crate) struct Permission {
    /// The user.
    pub(crate) aor: String,
    /// Whether it has proved to be that user.
    pub(crate) proof: RegistrantProof,
    /// How long its bindings may last, and how many there may be.
    policy: sip_registrar::Policy,
    /// Contact values that lead elsewhere.
    pub(crate) left_out: LeftOut,
}

/// How the sender of a REGISTER has proved to be the user that it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegistrantProof {
    /// Not at all: the domain is open.
    None,
    /// What vouches for its flow holds.
    Flow,
    /// A password in this request.
    Password,
    /// Credentials in this request that are good for a while.
    Voucher(Vouched),
}

impl<F: FlowLookup + SenderProof> Routing<'_, F> {
    /// Whether the sender of a REGISTER may register the user that To names (RFC 3261 §10.3 steps 3 to 5).
    ///
    /// # Errors
    /// What to answer to one who may not.
    pub(crate) fn may_register(
        &self,
        domain: DomainRef<'_>,
        Incoming { request, from, now }: Incoming<'_>,
    ) -> Result<Permission, Answer> {
        let tables = &self.tables;
        // Only users of the domain that judges the request.
        let to = request.to().ok().and_then(|to| to.uri().ok());
        let asked = request.request_uri().ok().and_then(|uri| uri.host());
        let home = to.filter(|to| to.is_sip()).and_then(|to| to.host());
        if !home.zip(asked).is_some_and(|(home, asked)| home.same(&asked)) {
            return Err(Answer::new(404, "Not A User Of This Domain"));
        }
        if let Some(unsupported) = sip_registrar::unsupported(request, tables.policy.gruu) {
            return Err(Answer::new(420, "Bad Extension").header("Unsupported", unsupported));
        }
        let aor = sip_registrar::address_of_record(request).map_err(|refusal| refused(&refusal))?;
        if aor.len() > identity::LONGEST_IDENTITY {
            return Err(Answer::new(403, "Address Too Long"));
        }
        if gruu::is_registered(tables, request, &aor) {
            return Err(Answer::new(403, "Contact Is A GRUU"));
        }
        // A token or a certificate vouches for a flow: it is its user's, and no other's.
        let known = match from {
            Hop::Flow(number) => self.flows.identity(number).filter(|known| known.by == By::Voucher),
            Hop::Udp { .. } | Hop::Peer { .. } => None,
        };
        let brings = match domain.is_by_token() {
            true => brought(request).is_some(),
            false => request.first(HeaderId::Authorization).is_some(),
        };
        let mut policy = *tables.policy;
        // A user registers itself and nobody else.
        let not_yours = || Answer::new(403, "Not Your Address");
        let proof = match &known {
            Some(known) if known.identity.as_str() == aor && !brings => RegistrantProof::Flow,
            Some(known) if known.identity.as_str() != aor && domain.is_by_token() => return Err(not_yours()),
            _ => match self.flows.prove(domain, request, from, Role::UserAgent)? {
                Proof::NotAsked => RegistrantProof::None,
                Proof::User(user) => {
                    let own = to.and_then(|to| to.unescaped_user());
                    if own.as_deref() != Some(user.as_bytes()) {
                        return Err(not_yours());
                    }
                    // What has vouched for its flow holds.
                    match known.is_some_and(|known| known.identity.as_str() == aor) {
                        true => RegistrantProof::Flow,
                        false => RegistrantProof::Password,
                    }
                }
                Proof::Vouched(by) if by.identity.as_str() == aor => {
                    if matches!(from, Hop::Udp { .. }) {
                        // There is no connection to end with the credentials.
                        policy = policy.lasting_at_most(by.until.saturating_duration_since(now));
                    }
                    RegistrantProof::Voucher(by)
                }
                Proof::Vouched(_) => return Err(not_yours()),
            },
        };
        let left_out = left_out(request, Source::of(self.flows, tables.upstreams, from), Most::Several)?;
        Ok(Permission { aor, proof, policy, left_out })
    }
}

/// Handles a REGISTER for a domain of ours.
pub(crate) fn register(
    routing: &Routing<'_, Shard>,
    domain: DomainRef<'_>,
    incoming: Incoming<'_>,
) -> Answer {
    let permission = routing.may_register(domain, incoming);
    let answer = permission
        .and_then(|permission| bind(routing.flows, &permission, incoming))
        .unwrap_or_else(|refused| refused);
    let count = if answer.status == 200 { Count::RegistersAccepted } else { Count::RegistersRefused };
    routing.tables.metrics.add(count);
    answer
}

/// Does what a REGISTER asks for whose sender may.
fn bind(
    shard: &Shard,
    Permission { aor, proof, policy, left_out }: &Permission,
    Incoming { request, from, now }: Incoming<'_>,
) -> Result<Answer, Answer> {
    let shared = &*shard.shared;
    let identity = (*proof != RegistrantProof::None).then_some(aor.as_str());
    let shortened = without(request, left_out);
    let shortened = shortened.as_deref().and_then(|bytes| Message::parse(bytes).ok());
    let request = shortened.as_ref().unwrap_or(request);
    let outbound = Outbound::of(request).map_err(|refusal| refused(&refusal))?;
    let Some(Origin { way, transport, remote, flow }) = Origin::of(shard, from) else {
        return Err(Answer::of_status(480));
    };
    let register = Register { request, aor, way, transport, remote, identity };
    shard.belongs_to(from, aor).map_err(QuotaExceeded::answer)?;
    let mut contacts = Vec::new();
    let left = shared
        .state
        .register_and_tell(
            &register,
            flow.as_deref(),
            policy,
            (now, clock::micros()),
            &mut contacts,
            |changed| shared.calls_heed(&changed, from),
        )
        .map_err(|error| match error {
            RegisterError::Refused(refusal) => refused(&refusal),
            RegisterError::FlowNotOpen => Answer::of_status(480),
            RegisterError::Full(_) | RegisterError::NoRoom(_) => {
                Answer::of_status(503).header("Retry-After", "5")
            }
        })?;
    if shared.replaced_flow == ReplacedFlow::Close {
        for flow in left {
            let ending = Ending::of(Cause::Replaced).code(1000).reason(REPLACED);
            shard.end_flow(FlowNumber(flow.counter), ending);
        }
    }
    shard.proved(from);
    if let Some(number) = shard.flow_of(from) {
        match proof {
            RegistrantProof::Voucher(vouched) => {
                shard.vouch(number, vouched);
                shared.metrics.add(Count::TokensRenewed);
            }
            RegistrantProof::Password => shard.identify(number, aor),
            RegistrantProof::Flow | RegistrantProof::None => {}
        }
    }
    let mut answer = Answer::new(200, "OK");
    if !contacts.is_empty() {
        answer = answer.header("Contact", contacts);
    }
    if let Some(path) = sip_registrar::returned_path(request) {
        answer = answer.header("Path", path);
    }
    if let Some(flow) = flow {
        answer = answer.header("Sipway-Flow", flow);
    }
    Ok(tell_outbound(answer, outbound, shard, from))
}

/// Says that the registration is one over a flow (RFC 5626 §6). For a flow to us, also says after how many
/// seconds of silence we give it up (§5.4). Over UDP there is no such flow: that would take STUN.
fn tell_outbound(answer: Answer, outbound: Outbound, shard: &Shard, from: Hop) -> Answer {
    let silence = match (outbound, from) {
        (Outbound::Direct, Hop::Flow(number)) => {
            shard.shared.listeners.get(usize::from(number.listener())).and_then(Bound::flow_timer)
        }
        (Outbound::AtEdge, _) => None,
        (Outbound::No, _) | (Outbound::Direct, Hop::Udp { .. } | Hop::Peer { .. }) => return answer,
    };
    let answer = answer.header("Require", "outbound");
    match silence {
        Some(seconds) => answer.header("Flow-Timer", seconds.to_string()),
        None => answer,
    }
}

fn refused(refusal: &sip_registrar::Refusal) -> Answer {
    let answer = Answer::new(refusal.status(), refusal.reason());
    match refusal {
        sip_registrar::Refusal::TooBrief { min_expires } => {
            answer.header("Min-Expires", min_expires.to_string())
        }
        _ => answer,
    }
}
