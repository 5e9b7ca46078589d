//! The effects of a REGISTER: bindings here, and what the shard learns about its sender.

use std::time::Instant;

use config::{Registration, ReplacedFlow, Unregister};
use identity::{DomainRef, QuotaExceeded};
use lifecycle::{Cause, Ending, Now};
use location::{BindingHop, Register, RegisterError};
use metrics::Count;
use sip_message::{Message, Uri};
use sip_proxy::Answer;
use sip_registrar::Outbound;
use state::{Changed, clock};
use upstream::{FlowNumber, Hop};

use super::Shard;
use crate::{
    listeners::BoundListener,
    rate_limits::too_many,
    registrations::HeldRequest,
    routing::{
        Incoming, Routing,
        backend::Registrar,
        granted::{Granted, granted},
        own_contacts::{Most, Source, left_out, without},
        register::{Permission, RegistrantProof, refused},
        rewritten_contact, targets,
    },
    unregister::{Registering, send_all, take_back},
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
            Now { instant: now, unix_micros: clock::micros() },
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
            shard.shared.listeners.get(usize::from(number.listener())).and_then(BoundListener::flow_timer)
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

/// A REGISTER is about to be forwarded. From here on it is known what it may leave behind at the registrar.
pub(crate) fn registering(shard: &Shard, request: &Message<'_>, from: Hop) -> Option<Registering> {
    let shared = &shard.shared;
    let registrar = Registrar::for_request(&shared.domains, request)?;
    // If the registrar sees Contacts of ours, a request to one of them waits for the REGISTER that is under
    // way.
    let takes_back = shared.upstreams.get(registrar.upstream)?.unregister == Unregister::AtClose;
    if !takes_back && registrar.by == Registration::Path {
        return None;
    }
    Some(Registering::new(shared, shard.routing().devices(registrar, request, from)))
}

/// The un-REGISTER of ours that a REGISTER must wait for: one for the same registration that is under way.
pub(crate) fn held(shard: &Shard, request: &Message<'_>, from: Hop) -> Option<HeldRequest> {
    let shared = &*shard.shared;
    let registrar = Registrar::for_request(&shared.domains, request)?;
    shared.registrations.hold(&shard.routing().devices(registrar, request, from))
}

/// The REGISTER that a request must wait for: that of the device it is for, if the device is not registered
/// yet.
pub(crate) fn held_call(shard: &Shard, request: &[u8]) -> Option<HeldRequest> {
    let shared = &*shard.shared;
    let mut words = request.split(|byte| *byte == b' ');
    let uri = Uri::parse(words.nth(1)?).ok()?;
    let device = rewritten_contact::read(&shared.flow_tokens, &uri)?;
    if targets::device(&shared.tables(), device, Instant::now()).is_some() {
        return None;
    }
    shared.registrations.hold_call(device)
}

/// The registrar has accepted a REGISTER. The same bindings are made here, so that they end with their
/// connection.
pub(crate) fn registered(
    shard: &Shard,
    domain: DomainRef<'_>,
    request: &Message<'_>,
    from: Hop,
    response: &Message<'_>,
    now: Instant,
) {
    let shared = &*shard.shared;
    shared.metrics.add(Count::RegistersAccepted);
    let (Some(registrar), Ok(aor)) = (Registrar::of(domain), sip_registrar::address_of_record(request))
    else {
        return;
    };
    let left_out =
        left_out(request, Source::of(shard, &shard.shared.upstreams, from), Most::One).unwrap_or_default();
    let granted = granted(&shared.flow_tokens, registrar, &aor, (request, &left_out), response);
    let Some(Granted { request: granted, longest }) = granted else { return };
    let Ok(request) = &Message::parse(&granted) else { return };
    let Some(Origin { way, transport, remote, flow }) = Origin::of(shard, from) else {
        return take_back(shared, registrar, request, &aor);
    };
    // The registrar decides what may be registered and for how long. The bound of the whole table still
    // holds.
    let policy = sip_registrar::Policy {
        min_expires: 0,
        shorter: sip_registrar::ShortExpiry::Raised,
        max_expires: u32::MAX,
        default_expires: longest,
        max_contacts: u32::MAX,
        gruu: sip_registrar::Gruu::Off,
    };
    let register = Register { request, aor: &aor, way, transport, remote, identity: Some(&aor) };
    let time = Now { instant: now, unix_micros: clock::micros() };
    let mut left = Vec::new();
    let heed = |changed: Changed<'_>| {
        shared.calls_heed(&changed, from);
        if let Changed::Replaced(old, _) = changed {
            left.extend(registrar.left_by(shared, old, (request, response)));
        }
    };
    let done =
        shared.state.register_and_tell(&register, flow.as_deref(), &policy, time, &mut Vec::new(), heed);
    send_all(shared, left);
    match done {
        Ok(flows_left) => {
            if shared.replaced_flow == ReplacedFlow::Close {
                for flow in flows_left {
                    let ending =
                        lifecycle::Ending::of(lifecycle::Cause::Replaced).code(1000).reason(REPLACED);
                    shard.end_flow(FlowNumber(flow.counter), ending);
                }
            }
            // A client that removes a binding has proved nothing: a registrar may let anybody do that.
            if longest == 0 {
                return;
            }
            shard.proved(from);
            if let Some(number) = shard.flow_of(from) {
                shard.identify(number, &aor);
                // Its registrar has let it in, so its connection ends with a reason.
                if shard.belongs_to(from, &aor).is_err() {
                    shard.end_flow(number, too_many());
                }
            }
        }
        // Nobody would remove it when its connection ends.
        Err(error) => {
            tracing::debug!(%aor, %error, "a registration at the backend is not kept here");
            take_back(shared, registrar, request, &aor);
        }
    }
}
