//! REGISTER: who may, what it changes, and the records of it (RFC 3261 §10).

use std::time::Instant;

use ledger::{Batch, Reservation};
use lifecycle::{ADDITION_ROOM, BindingAdded, BindingRemoved, Event, REMOVAL_ROOM, RemovalCause, Text};
use location::{Binding, Register, RegisterError, Way};
use sip_auth::Role;
use sip_message::Message;
use sip_proxy::Answer;

use crate::{
    clock,
    domains::{DomainRef, Proof},
    hop::Hop,
    metrics::Count,
    shard::Shard,
    shared::Shared,
};

/// Handles a REGISTER for a domain of ours.
pub(crate) fn register(
    shard: &Shard,
    domain: DomainRef<'_>,
    request: &Message<'_>,
    from: Hop,
    now: Instant,
) -> Answer {
    let answer = attempt(shard, domain, request, from, now).unwrap_or_else(|refused| refused);
    let count = if answer.status == 200 { Count::RegistersAccepted } else { Count::RegistersRefused };
    shard.shared.metrics.add(count);
    answer
}

fn attempt(
    shard: &Shard,
    domain: DomainRef<'_>,
    request: &Message<'_>,
    from: Hop,
    now: Instant,
) -> Result<Answer, Answer> {
    let shared = &*shard.shared;
    // Only users of the domain that judges the request: RFC 3261 §10.3 step 5.
    let to = request.to().ok().and_then(|to| to.uri().ok());
    let asked = request.request_uri().ok().and_then(|uri| uri.host());
    let home = to.filter(|to| to.is_sip()).and_then(|to| to.host());
    if !home.zip(asked).is_some_and(|(home, asked)| home.same(&asked)) {
        return Err(Answer::new(404, "Not A User Of This Domain"));
    }
    let aor = sip_registrar::address_of_record(request).map_err(|refusal| refused(&refusal))?;
    let identity = match domain.prove(request, Role::UserAgent, rand::random())? {
        Proof::NotAsked => None,
        Proof::User(user) => {
            // A user registers itself and nobody else.
            let own = to.and_then(|to| to.unescaped_user());
            if own.as_deref() != Some(user.as_bytes()) {
                return Err(Answer::new(403, "Not Your Address"));
            }
            Some(aor.as_str())
        }
    };
    let (way, transport, remote, flow) = match from {
        Hop::Flow(number) => {
            let Some((facts, flow)) = shard.facts(number) else { return Err(Answer::of_status(480)) };
            (Way::Flow(number.id(shared.incarnation)), facts.transport, facts.remote, Some(flow))
        }
        Hop::Udp { listener, remote } => {
            (Way::Udp { listener: u16::from(listener) }, lifecycle::Transport::Udp, remote, None)
        }
    };
    let register = Register { request, aor: &aor, way, transport, remote, identity };
    let mut contacts = Vec::new();
    let mut additions = Vec::new();
    let reserve = || -> Result<Reservation, ledger::Refused> {
        let removal = shared.ledger.reserve(REMOVAL_ROOM)?;
        additions.push(shared.ledger.reserve(ADDITION_ROOM)?);
        Ok(removal)
    };
    let mut location = shared.location();
    // Asked while the table is locked: nothing is added behind the removals at the end.
    if shared.is_closing() {
        return Err(Answer::of_status(503).header("Retry-After", "5"));
    }
    let registration = location.register(&register, &shared.policy, now, &mut contacts, reserve).map_err(
        |error| match error {
            RegisterError::Refused(refusal) => refused(&refusal),
            RegisterError::FlowNotOpen => Answer::of_status(480),
            RegisterError::Full(_) | RegisterError::NoRoom(_) => {
                Answer::of_status(503).header("Retry-After", "5")
            }
        },
    )?;
    let at = clock::micros();
    let mut batch = Batch::new();
    let added: Vec<Vec<u8>> =
        registration.added().map(|binding| added_record(binding, flow.as_deref(), at, now)).collect();
    for (binding, cause) in registration.removed {
        push_removed(shared, &mut batch, *binding, cause, at);
    }
    for (record, room) in added.into_iter().zip(additions) {
        shared.push(&mut batch, room, lifecycle::EventKind::BindingAdded, at, &record);
    }
    // Written while the table is locked: whoever removes a binding finds its addition before it in the ledger.
    shared.append(batch);
    drop(location);
    if let (Some(identity), Hop::Flow(number)) = (identity, from) {
        shard.identify(number, identity);
    }
    let mut answer = Answer::new(200, "OK");
    if !contacts.is_empty() {
        answer = answer.header("Contact", contacts);
    }
    if let Some(flow) = flow {
        answer = answer.header("Sipway-Flow", flow);
    }
    Ok(answer)
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

fn added_record(binding: &Binding<Reservation>, flow: Option<&str>, at: u64, now: Instant) -> Vec<u8> {
    let left = binding.expires().saturating_duration_since(now);
    Event::BindingAdded(BindingAdded {
        aor: Text::new(binding.aor()),
        contact: Text::new(binding.contact()),
        flow,
        transport: binding.transport(),
        remote: binding.remote(),
        instance: binding.instance().map(Text::new),
        reg_id: binding.reg_id(),
        identity: binding.identity().map(Text::new),
        user_agent: binding.user_agent().map(Text::new),
        expires_at: at + u64::try_from(left.as_micros()).unwrap_or(0),
    })
    .to_json()
}

/// Adds the record of a binding's end to a batch, in the room that was reserved with it.
pub(crate) fn push_removed(
    shared: &Shared,
    batch: &mut Batch,
    binding: Binding<Reservation>,
    cause: RemovalCause,
    at: u64,
) {
    let flow = binding.flow().map(|flow| shared.node.flow(flow));
    let record = Event::BindingRemoved(BindingRemoved {
        aor: Text::new(binding.aor()),
        contact: Text::new(binding.contact()),
        flow: flow.as_deref(),
        cause,
    })
    .to_json();
    shared.push(batch, binding.room, lifecycle::EventKind::BindingRemoved, at, &record);
}
