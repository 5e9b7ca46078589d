//! A REGISTER: decided by the registrar's rules, then done as one change.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lifecycle::{FlowId, RemovalCause, Text, Transport};
use sip_message::{HeaderId, Message};
use sip_registrar::{
    Change, ContactRequest, CurrentBinding, Decision, Policy, Refusal, StoredPart, decide, granted_gruu,
};
use smallvec::SmallVec;

use crate::binding::{Facts, NO_Q, SocketPeer, TEXTS, Texts, join};
use crate::{Binding, BindingHop, Location};

/// A REGISTER that was found to be allowed, and how it came.
#[derive(Debug, Clone, Copy)]
pub struct Register<'a> {
    /// The request.
    pub request: &'a Message<'a>,
    /// The key of its address-of-record: [`sip_registrar::address_of_record`].
    pub aor: &'a str,
    /// The flow that it came over, or the UDP listener.
    pub way: BindingHop,
    /// What it travelled by.
    pub transport: Transport,
    /// The address that it came from.
    pub remote: SocketAddr,
    /// The identity that the user agent proved.
    pub identity: Option<&'a str>,
}

/// Why a REGISTER changed nothing. `E` is what the reservation failed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError<E> {
    /// The registrar's rules are against it: answer with its status.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its flow has closed, or was never open: there is nobody to answer.
    #[error("the flow is not open")]
    FlowNotOpen,
    /// The table holds as many bindings as it may: 503.
    #[error("all {0} bindings are taken")]
    Full(usize),
    /// There is no room for the record of a binding's end: 503.
    #[error("no room for the binding's end: {0}")]
    NoRoom(E),
}

/// What a REGISTER has done. The records of what went come before those of what came.
#[derive(Debug)]
#[must_use = "each removed binding carries the room for the record of its end"]
pub struct Registration<'l, R> {
    /// What went, and why: `Unregistered`, `Replaced`, or `Expired` for what had ended before.
    pub removed: SmallVec<[(Box<Binding<R>>, RemovalCause); 1]>,
    location: &'l Location<R>,
    added: SmallVec<[u32; 1]>,
    refreshed: SmallVec<[u32; 1]>,
}

impl<R> Registration<'_, R> {
    /// What came, replacements included, in the order of the request.
    pub fn added(&self) -> impl ExactSizeIterator<Item = &Binding<R>> {
        self.added.iter().map(|&slot| self.location.binding(slot))
    }

    /// All that a flow has now.
    pub fn of_flow(&self, flow: FlowId) -> impl Iterator<Item = &Binding<R>> {
        self.location.bindings_of_flow(flow)
    }

    /// What was there before and stays.
    pub fn refreshed(&self) -> impl ExactSizeIterator<Item = &Binding<R>> {
        self.refreshed.iter().map(|&slot| self.location.binding(slot))
    }
}

impl<R> Location<R> {
    /// Does what a REGISTER asks for: all of it, or on an error nothing. `reserve` is called once for each
    /// binding that is going to be added or to replace another, before anything is changed; what it gave is
    /// dropped if a later call fails. The Contact value of the 200 is appended to `contacts`; nothing if no
    /// binding is left.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub fn register<E>(
        &mut self,
        register: &Register<'_>,
        policy: &Policy,
        now: Instant,
        contacts: &mut Vec<u8>,
        mut reserve: impl FnMut() -> Result<R, E>,
    ) -> Result<Registration<'_, R>, RegisterError<E>> {
        let Plan { decision, live, ended, comes } = self.plan(register, policy, now)?;
        let rooms = (0..comes).map(|_| reserve()).collect::<Result<SmallVec<[R; 1]>, E>>();
        let mut rooms = rooms.map_err(RegisterError::NoRoom)?.into_iter();

        let mut removed = SmallVec::new();
        let mut added = SmallVec::new();
        let mut refreshed = SmallVec::new();
        for slot in ended {
            removed.push((self.take(slot), RemovalCause::Expired));
        }
        let texts = RequestTexts::of(register);
        // From last to first: what comes later goes in front, so of equal preference the first named ends up
        // first.
        for change in decision.changes.iter().rev() {
            let with = match change {
                Change::Add(with) => with,
                Change::Replace { binding, with } => {
                    removed.push((self.take(live[*binding]), RemovalCause::Replaced));
                    with
                }
                Change::Remove { binding } => {
                    removed.push((self.take(live[*binding]), RemovalCause::Unregistered));
                    continue;
                }
                Change::Refresh { binding, with } => {
                    refreshed.push(live[*binding]);
                    let facts = facts(register, with, decision.cseq, now);
                    let texts = texts.with(register, with, decision.call_id);
                    self.refresh(live[*binding], |binding| binding.refresh(&texts, &facts));
                    continue;
                }
            };
            if let Some(room) = rooms.next() {
                let facts = facts(register, with, decision.cseq, now);
                let texts = Texts::new(&texts.with(register, with, decision.call_id));
                added.push(self.insert(Box::new(Binding::new(texts, facts, room))));
            }
        }
        added.reverse();
        self.write_contacts(register.aor, granted_gruu(register.request, policy), now, contacts);
        Ok(Registration { removed, location: self, added, refreshed })
    }

    /// Everything that can go wrong, before anything is changed.
    fn plan<'r, E>(
        &self,
        register: &Register<'r>,
        policy: &Policy,
        now: Instant,
    ) -> Result<Plan<'r>, RegisterError<E>> {
        StoredPart::AddressOfRecord.check(register.aor.len())?;
        let (live, ended): (Slots, Slots) =
            self.slots(register.aor).partition(|&slot| self.binding(slot).is_live(now));
        let bound: SmallVec<[CurrentBinding<'_>; 8]> =
            live.iter().map(|&slot| bound(self.binding(slot), register)).collect();
        let decision = decide(register.request, &bound, policy)?;
        let (mut comes, mut goes) = (0, ended.len());
        for change in &decision.changes {
            match change {
                Change::Add(_) => comes += 1,
                Change::Replace { .. } => (comes, goes) = (comes + 1, goes + 1),
                Change::Remove { .. } => goes += 1,
                Change::Refresh { .. } => {}
            }
        }
        if let BindingHop::Flow(flow) = register.way
            && comes > 0
            && !self.is_open(flow)
        {
            return Err(RegisterError::FlowNotOpen);
        }
        if comes > goes && self.len() + comes - goes > self.max_bindings() {
            return Err(RegisterError::Full(self.max_bindings()));
        }
        Ok(Plan { decision, live, ended, comes })
    }
}

type Slots = SmallVec<[u32; 8]>;

/// What a REGISTER is going to do.
struct Plan<'r> {
    decision: Decision<'r>,
    /// The bindings that the decision speaks of.
    live: Slots,
    /// Those that have ended but were not taken away yet.
    ended: Slots,
    /// How many bindings will be added or replace another.
    comes: usize,
}

fn bound<'a, R>(binding: &'a Binding<R>, register: &Register<'_>) -> CurrentBinding<'a> {
    let same = binding.way == register.way
        && match binding.way {
            BindingHop::Flow(_) => true,
            BindingHop::Udp { .. } => binding.remote == register.remote,
        };
    CurrentBinding {
        contact: binding.contact(),
        instance: binding.instance(),
        reg_id: binding.reg_id(),
        call_id: binding.call_id(),
        cseq: binding.cseq,
        way: if same { sip_registrar::HopMatch::Same } else { sip_registrar::HopMatch::Other },
    }
}

fn facts(register: &Register<'_>, wish: &ContactRequest<'_>, cseq: u32, now: Instant) -> Facts {
    Facts {
        remote: register.remote,
        way: register.way,
        expires: now + Duration::from_secs(u64::from(wish.expires)),
        cseq,
        reg_id: wish.reg_id.unwrap_or(0),
        q: wish.q.unwrap_or(NO_Q),
        transport: register.transport,
        socket_peer: match register.request.vias().nth(1) {
            None => SocketPeer::UserAgent,
            Some(_) => SocketPeer::Proxy,
        },
    }
}

/// What all bindings of one request have in common.
struct RequestTexts {
    user_agent: Option<Text<128>>,
    identity: Option<Text<128>>,
    path: SmallVec<[u8; 128]>,
}

impl RequestTexts {
    fn of(register: &Register<'_>) -> Self {
        Self {
            user_agent: register.request.value(HeaderId::UserAgent).map(Text::new),
            identity: register.identity.map(Text::new),
            path: join(register.request.paths().map(|(value, _)| value.bytes)),
        }
    }

    fn with<'a>(
        &'a self,
        register: &Register<'a>,
        wish: &ContactRequest<'a>,
        call_id: &'a [u8],
    ) -> [&'a [u8]; TEXTS] {
        let text =
            |text: &'a Option<Text<128>>| text.as_ref().map_or(&b""[..], |text| text.as_str().as_bytes());
        [
            register.aor.as_bytes(),
            wish.uri.as_bytes(),
            wish.instance.unwrap_or_default(),
            call_id,
            text(&self.user_agent),
            text(&self.identity),
            &self.path,
        ]
    }
}
