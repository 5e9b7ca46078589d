//! One call: an INVITE, and the dialogs that its answers created.

use std::time::Instant;

use lifecycle::{CallBy, CallCause, Now, Text};
use sip_message::{Contact, HeaderId, Message, NameAddr};
use smallvec::SmallVec;

use crate::{Agent, pending_invites::PendingInvite, sdp::Offer, state::State};

/// The longest of what a call keeps of a message: of a Call-ID, From, To or Contact, and of all
/// Record-Routes. A call with more passes untracked.
const LONGEST: usize = 1024;

/// One end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The sender of the INVITE.
    Caller,
    /// The side that answered it.
    Callee,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }

    /// The side in an event's words.
    #[must_use]
    pub const fn by(self) -> CallBy {
        match self {
            Self::Caller => CallBy::Caller,
            Self::Callee => CallBy::Callee,
        }
    }
}

/// Who is at one end, in words for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party<H> {
    /// The address-of-record, or the URI where that cannot be told.
    pub aor: Text<160>,
    /// The display name, without quotes.
    pub display: Option<Text<64>>,
    /// The Contact URI.
    pub contact: Option<Text<160>>,
    /// The user agent's name of itself.
    pub user_agent: Option<Text<96>>,
    /// The way to it; none of a callee that has not answered.
    pub hop: Option<H>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub cause: CallCause,
    /// The author of its end.
    pub by: CallBy,
    /// The final status of its INVITE if that was no 2xx.
    pub status: Option<u16>,
    /// What the reason phrase of that, or the Reason of the BYE (RFC 3326), said.
    pub reason: Option<Text<123>>,
    /// When a side of it was lost that has not come back: there its talk ended. In microseconds since the
    /// Unix epoch.
    pub lost_at: Option<u64>,
    /// When, in microseconds since the Unix epoch.
    pub at: u64,
}

impl End {
    pub(crate) const fn of(cause: CallCause, by: CallBy, at: u64) -> Self {
        Self { cause, by, status: None, reason: None, lost_at: None, at }
    }

    /// This side's flow ended, and nobody is expected back.
    pub(crate) const fn lost(side: Side, now: Now) -> Self {
        Self::of(CallCause::FlowLost, side.by(), now.unix_micros)
    }
}

/// Where the user agent of a leg is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LegLocation<H> {
    /// Reached by this hop.
    At(H),
    /// Its flow ended; it may come back until then.
    Away { agent: Box<Agent>, until: Instant },
    /// Its flow ended, and nobody is expected back.
    Gone,
}

/// One end of a dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leg<H> {
    /// The hop that the routes of the dialog name.
    pub(crate) named: H,
    pub(crate) location: LegLocation<H>,
    /// The hop that it was at when its user agent registered over another one, as long as that one stands.
    pub(crate) before: Option<H>,
    /// Its user agent, where no registration over its hop says so any more: another one took the place of
    /// that.
    pub(crate) agent: Option<Box<Agent>>,
    /// When its flow ended, in microseconds since the Unix epoch. It stays until the user agent that has come
    /// back shows that it knows the dialog.
    pub(crate) lost_at: Option<u64>,
    /// Where its requests go in the end: its Contact URI.
    pub(crate) target: Box<[u8]>,
    /// Record-Routes of others between it and us, the one next to us first, comma separated.
    pub(crate) routes: Box<[u8]>,
}

impl<H: Copy + Eq> Leg<H> {
    /// A leg that is reached by this hop. Both texts are as [`kept`] made them.
    const fn new(hop: H, target: Box<[u8]>, routes: Box<[u8]>) -> Self {
        Self {
            named: hop,
            location: LegLocation::At(hop),
            before: None,
            agent: None,
            lost_at: None,
            target,
            routes,
        }
    }

    /// Its user agent has said something in the dialog, which is no word that it does not know it.
    pub(crate) fn is_there(&mut self) {
        if self.hop().is_some() {
            self.lost_at = None;
        }
    }

    /// The hops whose end concerns it.
    pub(crate) fn hops(&self) -> impl Iterator<Item = H> + use<H> {
        self.hop().into_iter().chain(self.before)
    }

    pub(crate) fn hop(&self) -> Option<H> {
        match self.location {
            LegLocation::At(hop) => Some(hop),
            LegLocation::Away { .. } | LegLocation::Gone => None,
        }
    }
}

/// An offer that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) by: Side,
    pub(crate) cseq: u32,
    pub(crate) offer: Offer,
}

/// What each side of a dialog has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sides<T> {
    pub(crate) caller: T,
    pub(crate) callee: T,
}

impl<T> Sides<T> {
    pub(crate) fn of(&mut self, side: Side) -> &mut T {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }
}

/// A BYE that is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) by: Side,
    /// Microseconds since the Unix epoch.
    pub(crate) since: u64,
    pub(crate) reason: Option<Text<123>>,
}

impl Closing {
    pub(crate) fn end(&self) -> End {
        End { reason: self.reason.clone(), ..End::of(CallCause::Hangup, self.by.by(), self.since) }
    }
}

/// A confirmed dialog: one 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialog<H> {
    /// The callee's tag.
    pub(crate) tag: Box<[u8]>,
    /// To as the 2xx had it: From of what the callee sends.
    pub(crate) to: Box<[u8]>,
    pub(crate) callee: Leg<H>,
    pub(crate) state: State,
    pub(crate) holds: Sides<Offer>,
    pub(crate) pending: Option<Pending>,
    pub(crate) closing: Option<Closing>,
}

/// A dialog that no 2xx has confirmed, in which something was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Early {
    /// The callee's tag.
    tag: Box<[u8]>,
    state: State,
}

/// Early dialogs of one call that are told apart. What is said in more is taken to be said in all of them: a
/// CSeq may leap.
const MOST_EARLY: usize = 8;

/// Whether a call has a session timer (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// Only what refreshes the session keeps it alive.
    Timed,
    /// Whatever is heard of it keeps it alive.
    Untimed,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has no final answer.
    Trying,
    /// It was answered.
    Up,
    /// It has ended; a side that is away must still be told.
    Over,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<H> {
    pub(crate) number: u64,
    pub(crate) stage: Stage,
    pub(crate) call_id: Box<[u8]>,
    pub(crate) call_id_text: Text<128>,
    pub(crate) caller_tag: Box<[u8]>,
    /// From as the INVITE had it: To of what the callee sends.
    pub(crate) from: Box<[u8]>,
    pub(crate) invite_cseq: u32,
    pub(crate) caller: Leg<H>,
    pub(crate) caller_party: Party<H>,
    pub(crate) callee_party: Party<H>,
    /// How many Record-Routes the INVITE came with, by the hop that it came from: a proxy behind may send it
    /// here again. Those in a 2xx that goes there, beyond them and ours, are the callee's.
    upstream_routes: SmallVec<[(H, usize); 1]>,
    early: SmallVec<[Early; 0]>,
    /// The highest CSeq of each side in early dialogs that are not told apart.
    early_rest: Sides<u32>,
    pub(crate) asking: PendingInvite,
    /// Where it rang.
    pub(crate) rung: SmallVec<[H; 2]>,
    /// What became of one of those, should it be what the call ends by.
    pub(crate) lost_callee: Option<(CallCause, CallBy)>,
    pub(crate) dialogs: SmallVec<[Dialog<H>; 1]>,
    pub(crate) started_at: u64,
    pub(crate) ringing_at: Option<u64>,
    pub(crate) answered_at: Option<u64>,
    /// It is taken for dead then, if nothing is heard of it.
    pub(crate) dead_at: Instant,
    pub(crate) session: Session,
    /// When something is to be looked at: in the table's order of time.
    pub(crate) due: Instant,
    pub(crate) hold_count: u32,
    pub(crate) move_count: u32,
}

impl<H: Copy + Eq> Call<H> {
    /// Its number: counts the calls of this run.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Call-ID.
    #[must_use]
    pub const fn call_id(&self) -> &Text<128> {
        &self.call_id_text
    }

    /// The caller.
    #[must_use]
    pub const fn caller(&self) -> &Party<H> {
        &self.caller_party
    }

    /// The callee, or the side that answered.
    #[must_use]
    pub const fn callee(&self) -> &Party<H> {
        &self.callee_party
    }

    /// When its INVITE went out, in microseconds since the Unix epoch.
    #[must_use]
    pub const fn started_at(&self) -> u64 {
        self.started_at
    }

    /// When the first callee rang.
    #[must_use]
    pub const fn ringing_at(&self) -> Option<u64> {
        self.ringing_at
    }

    /// When it was answered.
    #[must_use]
    pub const fn answered_at(&self) -> Option<u64> {
        self.answered_at
    }

    /// How often one side put the other on hold.
    #[must_use]
    pub const fn holds(&self) -> u32 {
        self.hold_count
    }

    /// How often a side came back on a new flow.
    #[must_use]
    pub const fn moves(&self) -> u32 {
        self.move_count
    }

    /// Whether a side of it is away and expected back.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.stage == Stage::Up
            && self.legs().any(|(_, leg)| matches!(leg.location, LegLocation::Away { .. }))
    }

    /// When the first of those who are not there was lost.
    pub(crate) fn lost_at(&self) -> Option<u64> {
        let away = self.legs().filter(|(_, leg)| leg.hop().is_none());
        away.filter_map(|(_, leg)| leg.lost_at).min()
    }

    /// Whether a user agent of this address-of-record is expected back.
    pub(crate) fn awaits(&self, aor: &str) -> bool {
        self.legs()
            .any(|(_, leg)| matches!(&leg.location, LegLocation::Away { agent, .. } if agent.aor() == aor))
    }

    pub(crate) fn legs(&self) -> impl Iterator<Item = (Side, &Leg<H>)> {
        let callees = self.dialogs.iter().map(|dialog| (Side::Callee, &dialog.callee));
        std::iter::once((Side::Caller, &self.caller)).chain(callees)
    }

    pub(crate) fn legs_mut(&mut self) -> impl Iterator<Item = (Side, &mut Leg<H>)> {
        let callees = self.dialogs.iter_mut().map(|dialog| (Side::Callee, &mut dialog.callee));
        std::iter::once((Side::Caller, &mut self.caller)).chain(callees)
    }

    /// Its INVITE came from this hop.
    pub(crate) fn came_by(&mut self, from: H, invite: &Message<'_>) {
        let known = self.upstream_routes.iter().any(|&(hop, _)| hop == from);
        if !known && self.upstream_routes.len() < MOST_PASSES {
            self.upstream_routes.push((from, invite.record_routes().count()));
        }
    }

    /// The state of a dialog that no 2xx has confirmed yet.
    pub(crate) fn early(&mut self, tag: &[u8]) -> Option<&mut State> {
        let at = match self.early.iter().position(|early| *early.tag == *tag) {
            Some(at) => at,
            None if self.early.len() < MOST_EARLY => {
                self.early.push(Early { tag: kept(tag)?, state: State::new(self.invite_cseq) });
                self.early.len() - 1
            }
            None => return None,
        };
        self.early.get_mut(at).map(|early| &mut early.state)
    }

    /// A request is sent in a dialog that no 2xx has confirmed yet: PRACK, UPDATE, INFO.
    pub(crate) fn early_request(&mut self, tag: &[u8], side: Side, request: &Message<'_>) {
        if let Some(state) = self.early(tag) {
            state.requested(side, request);
        } else if let Ok(cseq) = request.cseq() {
            let highest = self.early_rest.of(side);
            *highest = (*highest).max(cseq.number);
        }
    }

    /// Where the requests of a dialog to one side go in the end.
    pub(crate) fn target<'c>(&'c self, dialog: &'c Dialog<H>, side: Side) -> &'c [u8] {
        let (leg, refreshed) = match side {
            Side::Caller => (&self.caller, &dialog.state.target.caller),
            Side::Callee => (&dialog.callee, &dialog.state.target.callee),
        };
        refreshed.as_deref().unwrap_or(&leg.target)
    }

    /// A hop ends. Whether that concerns the call: no side may be on it any more, since it registered over
    /// another one.
    pub(crate) fn is_hurt_by(&mut self, hop: H) -> bool {
        let mut on_it = self.stage != Stage::Up;
        for (_, leg) in self.legs_mut() {
            leg.before = leg.before.filter(|before| *before != hop);
            on_it |= leg.hop() == Some(hop);
        }
        on_it
    }

    /// One side's leg; the callee's is that of the dialog at this place.
    pub(crate) fn leg_mut(&mut self, side: Side, at: usize) -> Option<&mut Leg<H>> {
        match side {
            Side::Caller => Some(&mut self.caller),
            Side::Callee => self.dialogs.get_mut(at).map(|dialog| &mut dialog.callee),
        }
    }

    pub(crate) fn dialog(&mut self, tag: &[u8]) -> Option<&mut Dialog<H>> {
        self.dialogs.iter_mut().find(|dialog| *dialog.tag == *tag)
    }

    pub(crate) fn party_mut(&mut self, side: Side) -> &mut Party<H> {
        match side {
            Side::Caller => &mut self.caller_party,
            Side::Callee => &mut self.callee_party,
        }
    }

    /// A call that an INVITE begins; none if it says more than is kept, or too little.
    pub(crate) fn new(
        number: u64,
        invite: &Message<'_>,
        hop: H,
        started_at: u64,
        dead_at: Instant,
    ) -> Option<Self> {
        let (from, to) = (invite.from().ok()?, invite.to().ok()?);
        let routes = joined(invite.record_routes().map(|(value, _)| value.bytes))?;
        // Everyone must say where further requests go; for who does not, the user is all there is.
        let contact = contact(invite).unwrap_or(from.uri_bytes());
        let called = invite.request_uri().ok().and_then(|uri| uri.address_of_record());
        let callee = called.unwrap_or_else(|| words(invite.request_uri_bytes().unwrap_or_default()));
        Some(Self {
            number,
            stage: Stage::Trying,
            call_id: kept(invite.call_id()?)?,
            call_id_text: Text::new(invite.call_id()?),
            caller_tag: kept(from.tag()?)?,
            from: kept(from.as_bytes())?,
            invite_cseq: invite.cseq().ok()?.number,
            caller: Leg::new(hop, kept(contact)?, routes),
            caller_party: Party {
                aor: Text::new(aor(&from)),
                display: display(&from),
                contact: Some(Text::new(contact)),
                user_agent: invite.value(HeaderId::UserAgent).map(Text::new),
                hop: Some(hop),
            },
            callee_party: Party {
                aor: Text::new(callee),
                display: display(&to),
                contact: None,
                user_agent: None,
                hop: None,
            },
            upstream_routes: SmallVec::new(),
            early: SmallVec::new(),
            early_rest: Sides { caller: 0, callee: 0 },
            asking: PendingInvite::default(),
            rung: SmallVec::new(),
            lost_callee: None,
            dialogs: SmallVec::new(),
            started_at,
            ringing_at: None,
            answered_at: None,
            dead_at,
            session: Session::Untimed,
            due: dead_at,
            hold_count: 0,
            move_count: 0,
        })
    }
}

/// Hops that one call's INVITE comes from and that are told apart.
const MOST_PASSES: usize = 4;

/// Record-Routes that a proxy of ours puts into a request that begins a dialog: one for each side (RFC 5658).
const OUR_ROUTES: usize = 2;

impl<H: Copy + Eq> Dialog<H> {
    /// The dialog that a 2xx to the INVITE confirms, which goes to the hop `asked`; none if it says more than
    /// is kept, or too little. Whatever an early dialog with the same tag was, its route set is this
    /// response's (RFC 3261 §13.2.2.4).
    pub(crate) fn new(call: &Call<H>, answer: &Message<'_>, (asked, hop): (H, H)) -> Option<Self> {
        let to = answer.to().ok()?;
        let tag = to.tag()?;
        let passes = &call.upstream_routes;
        let pass = passes.iter().find(|&&(from, _)| from == asked).or(passes.first());
        let upstream = pass.map_or(0, |&(_, routes)| routes);
        // Beyond ours, as they go from us to the callee.
        let beyond = answer.record_routes().count().saturating_sub(OUR_ROUTES + upstream);
        let mut beyond: SmallVec<[_; 4]> =
            answer.record_routes().take(beyond).map(|(value, _)| value.bytes).collect();
        beyond.reverse();
        let early = call.early.iter().find(|early| *early.tag == *tag);
        let mut state = early.map_or_else(|| State::new(call.invite_cseq), |early| early.state.clone());
        state.cseq.caller = state.cseq.caller.max(call.invite_cseq).max(call.early_rest.caller);
        state.cseq.callee = state.cseq.callee.max(call.early_rest.callee);
        let said = state.target.callee.take();
        let target = contact(answer).and_then(kept).or(said).or_else(|| kept(to.uri_bytes()))?;
        Some(Self {
            tag: kept(tag)?,
            to: kept(to.as_bytes())?,
            callee: Leg::new(hop, target, joined(beyond.into_iter())?),
            state,
            holds: Sides { caller: Offer::Talks, callee: Offer::Talks },
            pending: None,
            closing: None,
        })
    }
}

/// The Contact URI of the message's sender.
pub(crate) fn contact<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    match message.contacts().next()?.1.ok()? {
        Contact::Addr(address) => Some(address.uri_bytes()),
        Contact::Star => None,
    }
}

/// A copy of what is not too long, on one line.
pub(crate) fn kept(bytes: &[u8]) -> Option<Box<[u8]>> {
    let fits = bytes.len() <= LONGEST;
    fits.then(|| bytes.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect())
}

fn joined<'m>(values: impl Iterator<Item = &'m [u8]>) -> Option<Box<[u8]>> {
    let mut line = Vec::new();
    for value in values {
        if !line.is_empty() {
            line.extend_from_slice(b", ");
        }
        line.extend_from_slice(value);
        if line.len() > LONGEST {
            return None;
        }
    }
    kept(&line)
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn aor(address: &NameAddr<'_>) -> String {
    let known = address.uri().ok().and_then(|uri| uri.address_of_record());
    known.unwrap_or_else(|| words(address.uri_bytes()))
}

fn display(address: &NameAddr<'_>) -> Option<Text<64>> {
    let name = address.display()?.trim_ascii();
    let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
    (!name.is_empty()).then(|| Text::new(name))
}
