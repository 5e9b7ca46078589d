//! The table of calls, and the one place where a call ends.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use lifecycle::{CallBy, CallCause, Now, Text};
use sip_message::Message;
use smallvec::SmallVec;

use crate::{
    Call, CallWriter, End, Hop, Rooms, Side,
    bye::bye,
    call::{LegLocation, Stage},
    key::{Key, Tags, key},
    refused::Refused,
};

/// Times and limits of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a user agent whose flow ended may take to come back (the hold).
    pub hold: Duration,
    /// How long a call that rings may be without any sign: longer than its transaction lives.
    pub ringing: Duration,
    /// How long a call without session timer may be without any request in its dialogs.
    pub silence: Duration,
    /// Calls that are tracked at a time; beyond, calls pass untracked.
    pub most: usize,
}

/// What both sides of a call are told when it is ended by a rule of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// Nothing: what they send each other may go on.
    Silence,
    /// BYE.
    Bye,
}

/// Reason (RFC 3326) of a BYE because the process ends.
const ENDING: &str = "SIP;cause=503;text=\"The server is shutting down\"";

/// What a call has from its beginning, beside itself.
pub(crate) struct Entry<H, R> {
    pub(crate) call: Call<H>,
    answered: Option<R>,
    ended: Option<R>,
}

/// The calls of a node (see the [crate] for the contract).
pub struct Calls<H, R> {
    pub(crate) settings: Settings,
    last: u64,
    pub(crate) calls: HashMap<u64, Entry<H, R>>,
    by_key: HashMap<Key, u64>,
    /// Calls with a leg, or a branch that rings, on a hop.
    pub(crate) by_hop: HashMap<H, SmallVec<[u64; 2]>>,
    /// Calls with a side that is away, by address-of-record.
    pub(crate) away: HashMap<Box<str>, SmallVec<[u64; 2]>>,
    pub(crate) due: BTreeSet<(Instant, u64)>,
    pub(crate) refused: Refused,
    over: usize,
    untracked: u64,
}

impl<H: Hop, R> std::fmt::Debug for Calls<H, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("live", &self.live()).finish_non_exhaustive()
    }
}

impl<H: Hop, R> Calls<H, R> {
    /// An empty table.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            last: 0,
            calls: HashMap::new(),
            by_key: HashMap::new(),
            by_hop: HashMap::new(),
            away: HashMap::new(),
            due: BTreeSet::new(),
            refused: Refused::default(),
            over: 0,
            untracked: 0,
        }
    }

    /// Calls that have started and not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.calls.len() - self.over
    }

    /// Whether nothing is kept of any call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
            && self.by_key.is_empty()
            && self.by_hop.is_empty()
            && self.away.is_empty()
            && self.due.is_empty()
    }

    /// Calls with a side that is away and may come back.
    #[must_use]
    pub fn held(&self) -> usize {
        if self.away.is_empty() {
            return 0;
        }
        self.all().filter(|call| call.is_held()).count()
    }

    /// Calls that passed and were not tracked: the table or the ledger was full, or they said more than is
    /// kept.
    #[must_use]
    pub const fn untracked(&self) -> u64 {
        self.untracked
    }

    /// The calls that have not ended, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Call<H>> {
        self.calls.values().map(|entry| &entry.call).filter(|call| call.stage != Stage::Over)
    }

    /// When [`Calls::expire`] has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    pub(crate) fn number(&self, key: &[u8]) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn call(&self, number: u64) -> Option<&Call<H>> {
        self.calls.get(&number).map(|entry| &entry.call)
    }

    pub(crate) fn call_mut(&mut self, number: u64) -> Option<&mut Call<H>> {
        self.calls.get_mut(&number).map(|entry| &mut entry.call)
    }

    /// The call and dialog of a message, and who sent the request.
    pub(crate) fn find(&self, message: &Message<'_>) -> Option<(&Call<H>, usize, Side)> {
        let tags = Tags::of(message)?;
        tags.to?;
        [Side::Caller, Side::Callee].into_iter().find_map(|side| {
            let (key, tag) = tags.sent_by(side)?;
            let call = self.call(self.number(&key)?)?;
            let at = call.dialogs.iter().position(|dialog| Some(&*dialog.tag) == tag)?;
            Some((call, at, side))
        })
    }

    /// A call begins, if there is room for it and for its records; otherwise it passes untracked.
    pub(crate) fn begin(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        invite: &Message<'_>,
        from: H,
        now: Now,
    ) -> Option<u64> {
        let number = self.start(book, invite, from, now);
        self.untracked += u64::from(number.is_none());
        number
    }

    /// A call begins, if there is room for it and for its records.
    pub(crate) fn start(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        invite: &Message<'_>,
        from: H,
        now: Now,
    ) -> Option<u64> {
        let number = self.last + 1;
        let dead_at = now.instant + self.settings.ringing;
        let mut call = (self.calls.len() < self.settings.most)
            .then(|| Call::new(number, invite, from, now.unix_micros, dead_at))
            .flatten();
        // Its Request-URI may be a Contact that says nothing to anybody.
        if let Some((call, called)) = call.as_mut().zip(book.called()) {
            call.callee_party.aor = Text::new(called);
        }
        if let Some((call, replaced)) = call.as_mut().zip(self.replaced(invite)) {
            call.callee_party.aor = Text::new(replaced.aor);
        }
        let call = call?;
        let Rooms { answered, ended } = book.started(&call)?;
        self.last = number;
        self.by_key.insert(key(&call.call_id, &call.caller_tag), number);
        self.due.insert((call.due, number));
        self.calls.insert(number, Entry { call, answered: Some(answered), ended: Some(ended) });
        self.put_on(from, number);
        Some(number)
    }

    /// The first 2xx was seen.
    pub(crate) fn record_answer(&mut self, book: &mut impl CallWriter<Hop = H, Room = R>, number: u64) {
        if let Some(entry) = self.calls.get_mut(&number)
            && let Some(room) = entry.answered.take()
        {
            book.answered(&entry.call, room);
        }
    }

    /// Notes that a hop's end concerns a call.
    pub(crate) fn put_on(&mut self, hop: H, number: u64) {
        let numbers = self.by_hop.entry(hop).or_default();
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }

    /// A hop's end does not concern a call any more.
    pub(crate) fn take_off(&mut self, hop: H, number: u64) {
        if let Some(numbers) = self.by_hop.get_mut(&hop) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_hop.remove(&hop);
            }
        }
    }

    /// The same for one on which it has no leg any more.
    pub(crate) fn take_off_unused(&mut self, hop: H, number: u64) {
        let used = |call: &Call<H>| call.legs().any(|(_, leg)| leg.hops().any(|own| own == hop));
        if !self.call(number).is_some_and(used) {
            self.take_off(hop, number);
        }
    }

    /// Puts a call into its place in the order of time.
    pub(crate) fn reschedule(&mut self, number: u64) {
        let Some(Entry { call, .. }) = self.calls.get_mut(&number) else { return };
        let away = call.legs().filter_map(|(_, leg)| match leg.location {
            LegLocation::Away { until, .. } => Some(until),
            LegLocation::At(_) | LegLocation::Gone => None,
        });
        let first = away.min();
        let due = match (call.stage, first) {
            (Stage::Over, Some(until)) => until,
            (_, first) => first.map_or(call.dead_at, |until| until.min(call.dead_at)),
        };
        if due != call.due {
            self.due.remove(&(call.due, number));
            call.due = due;
            self.due.insert((due, number));
        }
    }

    /// The one place where a call ends: its `call.ended` uses up the room that it had from its beginning. It
    /// goes from the table, unless a side is away that must be told when it comes back.
    pub(crate) fn end(&mut self, book: &mut impl CallWriter<Hop = H, Room = R>, number: u64, end: &End) {
        let Some(entry) = self.calls.get_mut(&number) else { return };
        let Some(room) = entry.ended.take() else { return };
        let call = &mut entry.call;
        call.stage = Stage::Over;
        let at = end.at.max(call.answered_at.unwrap_or(call.started_at));
        let lost_at = end.lost_at.into_iter().chain(call.lost_at()).min();
        let lost_at = lost_at.filter(|lost_at| call.answered_at.is_some() && *lost_at <= at);
        let end = End { at, lost_at, ..end.clone() };
        book.ended(call, &end, room);
        entry.answered = None;
        self.by_key.remove(&key(&call.call_id, &call.caller_tag));
        let mut hops: SmallVec<[_; 4]> = call.rung.drain(..).collect();
        hops.extend(call.legs().flat_map(|(_, leg)| leg.hops()));
        let owed = call.legs().any(|(_, leg)| matches!(leg.location, LegLocation::Away { .. }));
        for hop in hops {
            self.take_off(hop, number);
        }
        self.over += 1;
        if owed {
            self.reschedule(number);
        } else {
            self.remove(number);
        }
    }

    /// Lets go of a call that is over.
    pub(crate) fn remove(&mut self, number: u64) {
        let Some(Entry { call, .. }) = self.calls.remove(&number) else { return };
        self.over -= 1;
        self.due.remove(&(call.due, number));
        for (_, leg) in call.legs() {
            if let LegLocation::Away { agent, .. } = &leg.location {
                self.forget_away(agent.aor(), number);
            }
        }
    }

    pub(crate) fn forget_away(&mut self, aor: &str, number: u64) {
        if let Some(numbers) = self.away.get_mut(aor) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.away.remove(aor);
            }
        }
    }

    /// Tells the sides of a dialog that can be reached that it is over.
    pub(crate) fn send_byes(
        &self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        number: u64,
        tag: &[u8],
        reason: &str,
    ) {
        let Some(call) = self.call(number) else { return };
        let Some(dialog) = call.dialogs.iter().find(|dialog| *dialog.tag == *tag) else { return };
        for (side, leg) in [(Side::Caller, &call.caller), (Side::Callee, &dialog.callee)] {
            if let Some(hop) = leg.hop() {
                book.send(hop, bye(call, dialog, side, reason));
            }
        }
    }

    /// Ends every call for one cause: for the end of the process.
    pub fn end_all(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        cause: CallCause,
        farewell: Farewell,
        now: Now,
    ) {
        let mut numbers: Vec<u64> = self.all().map(Call::number).collect();
        numbers.sort_unstable();
        for number in numbers {
            self.shut(book, number, cause, farewell, now);
        }
    }

    /// Ends one call by a rule of ours.
    pub(crate) fn shut(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        number: u64,
        cause: CallCause,
        farewell: Farewell,
        now: Now,
    ) {
        let Some(call) = self.call(number) else { return };
        if farewell == Farewell::Bye {
            let tags: SmallVec<[Box<[u8]>; 2]> =
                call.dialogs.iter().map(|dialog| dialog.tag.clone()).collect();
            for tag in tags {
                self.send_byes(book, number, &tag, ENDING);
            }
        }
        let challenged = call.asking.challenged().cloned();
        let end = challenged.unwrap_or_else(|| End::of(cause, CallBy::Server, now.unix_micros));
        self.end(book, number, &end);
    }
}
