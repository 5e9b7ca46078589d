//! What happens to calls when flows end and when user agents come back.

use lifecycle::{CallBy, CallCause, NAMED_CALLS, Now, Text};
use smallvec::SmallVec;

use crate::{
    Agent, CallWriter, Calls, End, Hop, Side,
    bye::bye,
    call::{Leg, LegLocation, Stage},
    calls::Farewell,
};

/// Reason (RFC 3326) of a BYE to the side that is still there.
const LOST: &str = "SIP;cause=480;text=\"The other side lost its connection\"";

/// Reason of a BYE that waited for its receiver to come back.
const HUNG_UP: &str = "Q.850;cause=16;text=\"The other side hung up\"";

/// Calls that a flow's end hurt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AffectedCalls {
    /// Call-IDs of the first few.
    pub named: Vec<Text<128>>,
    /// How many in all.
    pub total: usize,
    /// Addresses-of-record of the user agents that are expected back.
    pub expected: Vec<Box<str>>,
}

impl AffectedCalls {
    fn add(&mut self, call_id: &Text<128>) {
        self.total += 1;
        if self.named.len() < NAMED_CALLS {
            self.named.push(call_id.clone());
        }
    }
}

impl<H: Hop, R> Calls<H, R> {
    /// A flow ended. `agents` are the user agents that were registered over it: their legs are held, others
    /// are lost at once.
    pub fn hop_gone(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        hop: H,
        agents: &[Agent],
        now: Now,
    ) -> AffectedCalls {
        let mut hurt = AffectedCalls::default();
        for number in self.by_hop.remove(&hop).unwrap_or_default() {
            let Some(call) = self.call_mut(number) else { continue };
            if !call.is_hurt_by(hop) {
                continue;
            }
            hurt.add(&call.call_id_text);
            match call.stage {
                Stage::Trying if call.caller.hop() == Some(hop) => {
                    let end = call.asking.challenged().cloned();
                    let end = end.unwrap_or_else(|| End::lost(Side::Caller, now));
                    self.end(book, number, &end);
                }
                // Its branch is answered by the proxy, and the call goes on with what else rings.
                Stage::Trying => call.lost_callee = Some((CallCause::FlowLost, CallBy::Callee)),
                Stage::Up => self.legs_gone(book, number, hop, agents, now, &mut hurt.expected),
                Stage::Over => {}
            }
        }
        hurt
    }

    /// A flow ended because the process does: its calls end with it. Who has said BYE before has hung up.
    pub fn hop_shut(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        hop: H,
        cause: CallCause,
        farewell: Farewell,
        now: Now,
    ) -> AffectedCalls {
        let mut hurt = AffectedCalls::default();
        for number in self.by_hop.remove(&hop).unwrap_or_default() {
            let end = self.hung_up(number, hop);
            let Some(call) = self.call_mut(number) else { continue };
            if !call.is_hurt_by(hop) {
                continue;
            }
            hurt.add(&call.call_id_text);
            match (end, call.stage) {
                (Some(end), _) => self.end(book, number, &end),
                (None, Stage::Trying) if call.caller.hop() != Some(hop) => {
                    call.lost_callee = Some((cause, CallBy::Server));
                }
                (None, _) => {
                    for (_, leg) in call.legs_mut().filter(|(_, leg)| leg.hop() == Some(hop)) {
                        (leg.location, leg.lost_at) = (LegLocation::Gone, None);
                    }
                    self.shut(book, number, cause, farewell, now);
                }
            }
        }
        hurt
    }

    fn legs_gone(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        number: u64,
        hop: H,
        agents: &[Agent],
        now: Now,
        awaited: &mut Vec<Box<str>>,
    ) {
        if let Some(end) = self.hung_up(number, hop) {
            // It said BYE before its end: whatever becomes of the answer, the call is over.
            return self.end(book, number, &end);
        }
        let until = now.instant + self.settings.hold;
        let hold = !self.settings.hold.is_zero();
        let Some(call) = self.call_mut(number) else { return };
        let parties = [call.caller_party.aor.clone(), call.callee_party.aor.clone()];
        let mut expected: SmallVec<[Box<str>; 2]> = SmallVec::new();
        let mut lost: SmallVec<[(Side, Box<[u8]>); 2]> = SmallVec::new();
        let mut returned: SmallVec<[(Side, H); 2]> = SmallVec::new();
        let tags: SmallVec<[Box<[u8]>; 2]> = call.dialogs.iter().map(|dialog| dialog.tag.clone()).collect();
        for (at, (side, leg)) in call.legs_mut().enumerate() {
            if leg.hop() != Some(hop) {
                continue;
            }
            // Who took it over has gone, and the one who had it before has not.
            if let Some(before) = leg.before.take() {
                leg.location = LegLocation::At(before);
                returned.push((side, before));
                continue;
            }
            let aor = match side {
                Side::Caller => &parties[0],
                Side::Callee => &parties[1],
            };
            leg.lost_at = Some(now.unix_micros);
            let here = agents.iter().chain(leg.agent.as_deref());
            match Agent::with_contact(here, &leg.target, aor.as_str()).filter(|_| hold).cloned() {
                Some(agent) => {
                    expected.push(agent.aor().into());
                    leg.location = LegLocation::Away { agent: Box::new(agent), until };
                }
                None => {
                    leg.location = LegLocation::Gone;
                    // The caller's leg comes first, then one for each dialog.
                    lost.push((
                        side,
                        at.checked_sub(1).and_then(|at| tags.get(at).cloned()).unwrap_or_default(),
                    ));
                }
            }
        }
        for (side, before) in returned {
            call.party_mut(side).hop = Some(before);
        }
        for aor in expected {
            if !awaited.contains(&aor) {
                awaited.push(aor.clone());
            }
            let numbers = self.away.entry(aor).or_default();
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        self.reschedule(number);
        for (side, tag) in lost {
            self.lose(book, number, side, &tag, now);
        }
    }

    /// The hang-up of the side on this hop that had sent BYE; none if that does not end the call.
    fn hung_up(&self, number: u64, hop: H) -> Option<End> {
        let call = self.call(number)?;
        let [dialog] = &call.dialogs[..] else { return None };
        let closing = dialog.closing.as_ref()?;
        let leg = match closing.by {
            Side::Caller => &call.caller,
            Side::Callee => &dialog.callee,
        };
        (leg.hop() == Some(hop)).then(|| closing.end())
    }

    /// A leg is lost for good: everybody else in its dialogs is sent a BYE. `tag` is the dialog's if it is
    /// the callee's.
    fn lose(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        number: u64,
        side: Side,
        tag: &[u8],
        now: Now,
    ) {
        let Some(call) = self.call(number) else { return };
        let closing = call.dialogs.iter().any(|dialog| dialog.closing.is_some());
        let end = End::lost(side, now);
        match side {
            // A BYE to it is under way: its final answer ends the dialog.
            Side::Caller if closing && call.dialogs.len() == 1 => {}
            Side::Callee if closing => {}
            Side::Caller => {
                let tags: SmallVec<[Box<[u8]>; 2]> =
                    call.dialogs.iter().map(|dialog| dialog.tag.clone()).collect();
                for tag in tags {
                    self.send_byes(book, number, &tag, LOST);
                }
                self.end(book, number, &end);
            }
            Side::Callee => {
                self.send_byes(book, number, tag, LOST);
                let at = call_position(self, number, tag);
                if let Some(at) = at {
                    self.dialog_over(book, number, at, &end);
                }
            }
        }
    }

    /// A user agent has registered over a hop: legs that were held for it are there from now on, and it is
    /// told of calls that ended meanwhile. Only one that was accepted as the user it says may be announced
    /// here.
    pub fn came_back(&mut self, book: &mut impl CallWriter<Hop = H, Room = R>, agent: &Agent, hop: H) {
        let Some(numbers) = self.away.get(agent.aor()).cloned() else { return };
        for number in numbers {
            let Some(call) = self.call_mut(number) else { continue };
            let mut back: SmallVec<[Side; 2]> = SmallVec::new();
            let mut tell = Vec::new();
            let expected = |leg: &Leg<H>| matches!(&leg.location, LegLocation::Away { agent: expected, .. } if expected.is(agent));
            match call.stage {
                Stage::Up => {
                    for (side, leg) in call.legs_mut().filter(|(_, leg)| expected(leg)) {
                        leg.location = LegLocation::At(hop);
                        back.push(side);
                    }
                    for side in &back {
                        call.move_count += 1;
                        call.party_mut(*side).hop = Some(hop);
                    }
                }
                Stage::Over => {
                    for dialog in &call.dialogs {
                        if expected(&call.caller) {
                            tell.push(bye(call, dialog, Side::Caller, HUNG_UP));
                        }
                        if expected(&dialog.callee) {
                            tell.push(bye(call, dialog, Side::Callee, HUNG_UP));
                        }
                    }
                    for (side, leg) in call.legs_mut().filter(|(_, leg)| expected(leg)) {
                        leg.location = LegLocation::Gone;
                        back.push(side);
                    }
                }
                Stage::Trying => {}
            }
            if back.is_empty() {
                continue;
            }
            let (over, still) = (call.stage == Stage::Over, call.awaits(agent.aor()));
            let any = call.legs().any(|(_, leg)| matches!(leg.location, LegLocation::Away { .. }));
            for request in tell {
                book.send(hop, request);
            }
            if !still {
                self.forget_away(agent.aor(), number);
            }
            if !over {
                self.put_on(hop, number);
            } else if !any {
                self.remove(number);
                continue;
            }
            self.reschedule(number);
        }
    }

    /// A registration took the place of an older one, which was `old`'s. `new` is whose it is now, `others`
    /// are those that are registered over the old hop still.
    ///
    /// If both are surely the same user agent, what it has on the old hop is on the new one from now on.
    /// Otherwise the old hop keeps its calls while it stands: the new one's user agent may be another, which
    /// took nothing but the name.
    pub fn moved(&mut self, old: &Agent, new: &Agent, others: &[Agent], from: H, to: H) {
        if from == to {
            return;
        }
        let Some(numbers) = self.by_hop.get(&from).cloned() else { return };
        let follows = new.is_surely(old);
        for number in numbers {
            let Some(call) = self.call_mut(number) else { continue };
            if call.stage != Stage::Up {
                continue;
            }
            let (mut sides, mut left): (SmallVec<[Side; 2]>, SmallVec<[H; 2]>) = Default::default();
            let parties = [call.caller_party.aor.clone(), call.callee_party.aor.clone()];
            for (side, leg) in call.legs_mut() {
                let own = match side {
                    Side::Caller => &parties[0],
                    Side::Callee => &parties[1],
                };
                let here = std::iter::once(old).chain(others);
                let whose =
                    Agent::with_contact(here, &leg.target, own.as_str()).filter(|_| leg.hop() == Some(from));
                if !whose.is_some_and(|agent| std::ptr::eq(agent, old)) {
                    continue;
                }
                leg.agent = Some(Box::new(old.clone()));
                if follows {
                    left.extend(leg.before.replace(from));
                    leg.location = LegLocation::At(to);
                    sides.push(side);
                }
            }
            self.went(number, &sides, from, to);
            // A side speaks over its hop and over the one before, and over none further back.
            left.into_iter().for_each(|hop| self.take_off_unused(hop, number));
        }
    }

    /// A side spoke in its dialog. If that was over the hop that it had before it registered over another
    /// one, that one still stands, and it is there. The callee's dialog is the one at this place.
    pub(crate) fn spoke(&mut self, number: u64, at: usize, side: Side, from: H) {
        let Some(leg) = self.call_mut(number).and_then(|call| call.leg_mut(side, at)) else { return };
        leg.is_there();
        let LegLocation::At(there) = leg.location else { return };
        if there != from && leg.before == Some(from) {
            (leg.location, leg.before) = (LegLocation::At(from), Some(there));
            self.went(number, &[side], there, from);
        }
    }

    /// These sides have gone from one hop to another.
    fn went(&mut self, number: u64, sides: &[Side], from: H, to: H) {
        let Some(call) = self.call_mut(number).filter(|_| !sides.is_empty()) else { return };
        for side in sides {
            call.move_count += 1;
            call.party_mut(*side).hop = Some(to);
        }
        self.take_off_unused(from, number);
        self.put_on(to, number);
    }

    /// Does what is due by now, for at most so many calls; says for how many. As many as it was allowed:
    /// there may be more.
    pub fn expire(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        now: Now,
        at_most: usize,
    ) -> usize {
        let mut done = 0;
        while done < at_most
            && let Some(&(at, number)) = self.due.first()
            && at <= now.instant
        {
            done += 1;
            self.fall_due(book, number, now);
        }
        done
    }

    fn fall_due(&mut self, book: &mut impl CallWriter<Hop = H, Room = R>, number: u64, now: Now) {
        let Some(call) = self.call_mut(number) else { return };
        let dead = call.dead_at <= now.instant;
        match call.stage {
            Stage::Trying => {
                let end = call.asking.challenged().cloned();
                let end =
                    end.unwrap_or_else(|| End::of(CallCause::NoAnswer, CallBy::Server, now.unix_micros));
                self.end(book, number, &end);
            }
            Stage::Up if dead => {
                let end = End::of(CallCause::Expired, CallBy::Server, now.unix_micros);
                self.end(book, number, &end);
            }
            Stage::Up => {
                let mut late: Vec<(Side, Box<[u8]>, Box<str>)> = Vec::new();
                let tags: SmallVec<[Box<[u8]>; 2]> =
                    call.dialogs.iter().map(|dialog| dialog.tag.clone()).collect();
                for (at, (side, leg)) in call.legs_mut().enumerate() {
                    if let LegLocation::Away { until, agent } = &leg.location
                        && *until <= now.instant
                    {
                        let tag = at.checked_sub(1).and_then(|at| tags.get(at).cloned()).unwrap_or_default();
                        late.push((side, tag, agent.aor().into()));
                        leg.location = LegLocation::Gone;
                    }
                }
                for (side, tag, aor) in late {
                    if self.call(number).is_none_or(|call| !call.awaits(&aor)) {
                        self.forget_away(&aor, number);
                    }
                    self.lose(book, number, side, &tag, now);
                }
                self.reschedule(number);
            }
            Stage::Over => self.remove(number),
        }
    }

    /// A dialog went, and its callee's leg with it.
    pub(crate) fn leave(&mut self, number: u64, leg: &Leg<H>) {
        leg.hops().for_each(|hop| self.take_off_unused(hop, number));
        let Some(call) = self.call(number) else { return };
        match &leg.location {
            LegLocation::Away { agent, .. } if !call.awaits(agent.aor()) => {
                let aor: Box<str> = agent.aor().into();
                self.forget_away(&aor, number);
            }
            LegLocation::At(_) | LegLocation::Away { .. } | LegLocation::Gone => {}
        }
    }
}

fn call_position<H: Hop, R>(calls: &Calls<H, R>, number: u64, tag: &[u8]) -> Option<usize> {
    calls.call(number)?.dialogs.iter().position(|dialog| *dialog.tag == *tag)
}
