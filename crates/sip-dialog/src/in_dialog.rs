//! What a call learns from the requests and responses that pass.

use std::time::Duration;

use lifecycle::{CallBy, CallCause, Now, Text};
use sip_message::{HeaderId, Message, Method, StartLine};

use crate::{
    CallWriter, Calls, End, Hop, Side,
    bye::bye,
    call::{Closing, Dialog, Pending, Session, Stage},
    key::{Tags, key},
    pending_invites::FailureMeaning,
    sdp::{Offer, offer},
};

/// Dialogs that one call may have at a time; more pass, and end without a word here.
const MOST_DIALOGS: usize = 8;

/// How long after the end of its session a call is taken for dead: user agents end it themselves before (RFC
/// 4028 §10).
const SESSION_GRACE: Duration = Duration::from_secs(32);

/// How long a caller who was challenged may take to send its INVITE again, with credentials; what comes later
/// is another call.
const CREDENTIALS: Duration = Duration::from_secs(32);

/// Reason (RFC 3326) of a BYE in a dialog that the other side knows no more.
const FORGOTTEN: &str = "SIP;cause=481;text=\"The other side does not know the call any more\"";

/// The longest session that is believed.
const LONGEST_SESSION: u32 = 7 * 24 * 3600;

impl<H: Hop, R> Calls<H, R> {
    /// A request that came from one hop went on to another. Called for every request of a dialog, and for
    /// each place that an INVITE is sent to; for others it does nothing.
    pub fn forwarded(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        request: &Message<'_>,
        from: H,
        to: H,
        now: Now,
    ) {
        let Some(tags) = Tags::of(request) else { return };
        if tags.to.is_some() {
            self.within(request, from, now);
        } else if request.method() == Some(Method::Invite) {
            self.invited(book, request, tags, from, to, now);
        }
    }

    fn invited(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        invite: &Message<'_>,
        tags: Tags<'_>,
        from: H,
        to: H,
        now: Now,
    ) {
        let ringing = self.settings.ringing;
        let number = self.number(&key(tags.call_id, tags.from));
        let number = number.or_else(|| self.begin(book, invite, from, now));
        let Some(call) = number.and_then(|number| self.call_mut(number)) else { return };
        // One that came by again from elsewhere (RFC 3261 §16.3) is the same call, seen from the other side.
        let Ok(cseq) = invite.cseq() else { return };
        if call.asking.challenged().is_some() && call.caller.named == from && cseq.number > call.invite_cseq {
            call.invite_cseq = cseq.number;
        }
        let same = cseq.number == call.invite_cseq;
        if call.stage == Stage::Trying && same {
            let number = call.number;
            call.came_by(from, invite);
            if call.caller.named == from {
                call.asking.began(invite);
            }
            // The next in turn (RFC 3261 §16.5: a lower q) has as long as the first.
            call.dead_at = now.instant + ringing;
            if !call.rung.contains(&to) {
                call.rung.push(to);
                self.put_on(to, number);
            }
            self.reschedule(number);
        }
    }

    /// A request within a dialog.
    fn within(&mut self, request: &Message<'_>, from: H, now: Now) {
        let Some((call, at, side)) = self.find(request) else { return self.before_answer(request) };
        let number = call.number;
        self.spoke(number, at, side, from);
        let Ok(cseq) = request.cseq() else { return };
        let silence = self.settings.silence;
        let Some(call) = self.call_mut(number) else { return };
        let dialog = &mut call.dialogs[at];
        dialog.state.requested(side, request);
        match cseq.method {
            Method::Bye => {
                let reason = request.value(HeaderId::Reason).map(Text::new);
                dialog.closing.get_or_insert(Closing { by: side, since: now.unix_micros, reason });
            }
            Method::Invite | Method::Update => {
                if let Some(offer) = offer(request) {
                    dialog.pending = Some(Pending { by: side, cseq: cseq.number, offer });
                }
            }
            _ => {}
        }
        if call.session == Session::Untimed {
            call.dead_at = now.instant + silence;
            self.reschedule(number);
        }
    }

    /// A request within a dialog that is not confirmed: its number counts, and it may move its sender's
    /// target.
    fn before_answer(&mut self, request: &Message<'_>) {
        if let Some((number, side, tag)) = self.find_early(request)
            && let Some(call) = self.call_mut(number)
        {
            call.early_request(tag, side, request);
        }
    }

    /// The call of a message within a dialog that is not confirmed, who sent the request, and the callee's
    /// tag.
    fn find_early<'m>(&self, message: &Message<'m>) -> Option<(u64, Side, &'m [u8])> {
        let tags = Tags::of(message)?;
        tags.to?;
        [Side::Caller, Side::Callee].into_iter().find_map(|side| {
            let (key, tag) = tags.sent_by(side)?;
            Some((self.number(&key)?, side, tag?))
        })
    }

    /// A response goes upstream, to the hop `asked` that the request came from. `head` is the response; or
    /// the request, if the answer is the proxy's own, and then `by` is none; else it is the hop that it came
    /// from.
    pub fn answered(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        status: u16,
        head: &Message<'_>,
        (asked, by): (H, Option<H>),
        now: Now,
    ) {
        let Ok(cseq) = head.cseq() else { return };
        let Some(tags) = Tags::of(head) else { return };
        if cseq.method == Method::Invite
            && let Some(number) = self.number(&key(tags.call_id, tags.from))
            && self.call(number).is_some_and(|call| call.invite_cseq == cseq.number)
        {
            return self.invite_answered(book, number, status, head, (asked, by), now);
        }
        let Some((call, at, side)) = self.find(head) else {
            if let (Some((number, side, tag)), Some(_)) = (self.find_early(head), by)
                && let Some(state) = self.call_mut(number).and_then(|call| call.early(tag))
            {
                state.answered(side, status, head);
            }
            return;
        };
        let number = call.number;
        if let (Some(call), Some(_)) = (self.call_mut(number), by) {
            call.dialogs[at].state.answered(side, status, head);
            if status > 100
                && !matches!(status, 408 | 481)
                && let Some(asked) = call.leg_mut(side.other(), at)
            {
                asked.is_there();
            }
        }
        let Some(call) = self.call(number) else { return };
        match (cseq.method, status) {
            // The callee asks who it is: the same BYE comes again.
            (Method::Bye, 401 | 407) => {
                if let Some(call) = self.call_mut(number) {
                    call.dialogs[at].closing = None;
                }
            }
            // It was refused here: the other side has not heard of it, and the call goes on.
            (Method::Bye, 200..) if call.dialogs[at].closing.is_none() && by.is_none() && !over(status) => {}
            (Method::Bye, 200..) => {
                let dialog = &call.dialogs[at];
                let closing = dialog.closing.as_ref();
                let end = closing
                    .map_or_else(|| End::of(CallCause::Hangup, side.by(), now.unix_micros), Closing::end);
                let asked = if side == Side::Caller { &dialog.callee } else { &call.caller };
                let lost_at = asked.lost_at.filter(|_| status == 481 && by.is_some());
                let end = End { lost_at, ..end };
                self.dialog_over(book, number, at, &end);
            }
            (method, _) if says_over(method, status, by.is_some()) => {
                self.forgotten(book, number, at, side, (head, by), now);
            }
            (Method::Invite | Method::Update, 200..=299) => {
                self.agreed(book, number, at, cseq.number, side, now);
                self.refreshed(number, head, now);
            }
            (Method::Invite | Method::Update, 300..) => {
                if let Some(call) = self.call_mut(number) {
                    call.dialogs[at]
                        .pending
                        .take_if(|pending| (pending.by, pending.cseq) == (side, cseq.number));
                }
                // JsSIP refreshes towards phones that know neither UPDATE nor session timers: they go on
                // talking without.
                if cseq.method == Method::Update && matches!(status, 405 | 501) && by.is_some() {
                    self.lasts(number, Session::Untimed, self.settings.silence, now);
                }
            }
            _ => {}
        }
    }

    /// The user agent that a side has asked something knows the dialog no more (RFC 3261 §12.2.1.2). The one
    /// who asked may not have heard it, or go on all the same: it is told that the dialog is over, and so is
    /// whoever of the other side may still have it.
    fn forgotten(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        number: u64,
        at: usize,
        asker: Side,
        (head, by): (&Message<'_>, Option<H>),
        now: Now,
    ) {
        let Some(call) = self.call(number) else { return };
        let dialog = &call.dialogs[at];
        // A BYE is under way: its answer ends the dialog.
        if dialog.closing.is_some() {
            return;
        }
        let (asking, asked) = match asker {
            Side::Caller => (&call.caller, &dialog.callee),
            Side::Callee => (&dialog.callee, &call.caller),
        };
        if let Some(hop) = asking.hop() {
            book.send(hop, bye(call, dialog, asker, FORGOTTEN));
        }
        // The one that said so need not be told.
        let said_so = by.filter(|_| head.status() == Some(481));
        for hop in asked.hops().filter(|hop| Some(*hop) != said_so) {
            book.send(hop, bye(call, dialog, asker.other(), FORGOTTEN));
        }
        let reason = match head.start_line() {
            StartLine::Response { reason, .. } => Some(Text::new(reason)),
            StartLine::Request { .. } => None,
        };
        // If it has come back from somewhere, it has not come back to this.
        let lost_at = asked.lost_at;
        let end =
            End { reason, lost_at, ..End::of(CallCause::DialogLost, asker.other().by(), now.unix_micros) };
        self.dialog_over(book, number, at, &end);
    }

    fn invite_answered(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        number: u64,
        status: u16,
        head: &Message<'_>,
        (asked, by): (H, Option<H>),
        now: Now,
    ) {
        let ringing = self.settings.ringing;
        let Some(call) = self.call_mut(number) else { return };
        match (status, by) {
            (101..=199, Some(_)) if call.stage == Stage::Trying => {
                if let Some(tag) = head.to().ok().and_then(|to| to.tag())
                    && head.value(HeaderId::RSeq).is_some()
                    && let Some(state) = call.early(tag)
                {
                    state.answered(Side::Caller, status, head);
                }
                call.ringing_at.get_or_insert(now.unix_micros);
                call.dead_at = now.instant + ringing;
                self.reschedule(number);
            }
            (200..=299, Some(hop)) => self.confirmed(book, number, head, (asked, hop), now),
            // What a proxy behind that sent it back here is answered is not yet what the caller hears.
            (300.., _) if call.stage == Stage::Trying && call.caller.named == asked => {
                let lost = call.lost_callee.filter(|_| by.is_none() || matches!(status, 430 | 480));
                let (cause, by) = match (status, by, lost) {
                    (487, ..) => (CallCause::Cancelled, CallBy::Caller),
                    (.., Some(lost)) => lost,
                    (408, None, None) => (CallCause::NoAnswer, CallBy::Server),
                    (408, Some(_), None) => (CallCause::NoAnswer, CallBy::Callee),
                    (_, None, None) => (CallCause::Failed, CallBy::Server),
                    (_, Some(_), None) => (CallCause::Rejected, CallBy::Callee),
                };
                let reason = match head.start_line() {
                    StartLine::Response { reason, .. } => Some(Text::new(reason)),
                    StartLine::Request { .. } => None,
                };
                let end = End { status: Some(status), reason, ..End::of(cause, by, now.unix_micros) };
                match call.asking.failed(head, end) {
                    FailureMeaning::NotLast => {}
                    FailureMeaning::Challenged => {
                        call.dead_at = now.instant + CREDENTIALS;
                        self.reschedule(number);
                    }
                    FailureMeaning::Last(end) => self.end(book, number, &end),
                }
            }
            _ => {}
        }
    }

    /// A 2xx to the INVITE: a dialog is there.
    fn confirmed(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        number: u64,
        answer: &Message<'_>,
        (asked, hop): (H, H),
        now: Now,
    ) {
        let silence = self.settings.silence;
        let Some(call) = self.call_mut(number) else { return };
        let tag = answer.to().ok().and_then(|to| to.tag()).unwrap_or_default();
        if call.dialog(tag).is_some() || call.dialogs.len() >= MOST_DIALOGS {
            return;
        }
        let Some(dialog) = Dialog::new(call, answer, (asked, hop)) else {
            // It cannot be followed: better a record that says so than one that stays open.
            return self.end(book, number, &End::of(CallCause::Failed, CallBy::Server, now.unix_micros));
        };
        let first = call.stage == Stage::Trying;
        let mut silent = smallvec::SmallVec::<[H; 2]>::new();
        if first {
            call.stage = Stage::Up;
            call.answered_at = Some(now.unix_micros);
            call.callee_party.hop = Some(hop);
            call.callee_party.contact = Some(Text::new(&*dialog.callee.target));
            let agent = answer.value(HeaderId::Server).or(answer.value(HeaderId::UserAgent));
            call.callee_party.user_agent = agent.map(Text::new);
            silent = call.rung.drain(..).filter(|rung| *rung != call.caller.named).collect();
        }
        call.dialogs.push(dialog);
        call.dead_at = now.instant + silence;
        for rung in silent {
            self.take_off(rung, number);
        }
        self.put_on(hop, number);
        self.record_answer(book, number);
        self.refreshed(number, answer, now);
    }

    /// An offer was accepted.
    fn agreed(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        number: u64,
        at: usize,
        cseq: u32,
        by: Side,
        now: Now,
    ) {
        let Some(call) = self.call_mut(number) else { return };
        let dialog = &mut call.dialogs[at];
        let Some(pending) = dialog.pending.take_if(|pending| (pending.by, pending.cseq) == (by, cseq)) else {
            return;
        };
        let before = std::mem::replace(dialog.holds.of(by), pending.offer);
        match (before, pending.offer) {
            (Offer::Talks, Offer::Holds) => {
                call.hold_count += 1;
                book.held(call, by, now);
            }
            (Offer::Holds, Offer::Talks) => book.resumed(call, by, now),
            (Offer::Talks, Offer::Talks) | (Offer::Holds, Offer::Holds) => {}
        }
    }

    /// A 2xx may say how long the session lasts (RFC 4028 §8).
    fn refreshed(&mut self, number: u64, answer: &Message<'_>, now: Now) {
        let (session, time) = match answer.value(HeaderId::SessionExpires).and_then(seconds) {
            Some(seconds) => (Session::Timed, Duration::from_secs(u64::from(seconds)) + SESSION_GRACE),
            None => (Session::Untimed, self.settings.silence),
        };
        self.lasts(number, session, time, now);
    }

    /// The call is there for so long from now on, if nothing is heard of it.
    fn lasts(&mut self, number: u64, session: Session, time: Duration, now: Now) {
        let Some(call) = self.call_mut(number) else { return };
        (call.session, call.dead_at) = (session, now.instant + time);
        self.reschedule(number);
    }

    /// One dialog is over; with the last one the call is.
    pub(crate) fn dialog_over(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        number: u64,
        at: usize,
        end: &End,
    ) {
        let Some(call) = self.call_mut(number) else { return };
        if call.dialogs.len() <= 1 {
            return self.end(book, number, end);
        }
        let dialog = call.dialogs.remove(at);
        self.leave(number, &dialog.callee);
        self.reschedule(number);
    }
}

/// Whether an answer to a request within a dialog says that the dialog is over (RFC 3261 §12.2.1.2). Of a
/// subscription that shares the dialog it says nothing about the call (RFC 5057 §5.1), and a PRACK may have
/// come too late for its response (RFC 3262 §3). What is not answered in time is told to the sender of an
/// INVITE alone (RFC 4320 §4.2); that the flow has gone is found out before.
fn says_over(method: Method<'_>, status: u16, by_peer: bool) -> bool {
    let of_the_call = matches!(
        method,
        Method::Invite | Method::Update | Method::Info | Method::Message | Method::Refer | Method::Options
    );
    of_the_call && (status == 481 || status == 408 && (by_peer || method == Method::Invite))
}

/// Whether our own answer to a BYE says that there is nobody to be told of it.
const fn over(status: u16) -> bool {
    matches!(status, 200..=299 | 430)
}

/// The delta-seconds that a Session-Expires begins with.
fn seconds(value: &[u8]) -> Option<u32> {
    let digits = value.trim_ascii_start().iter().take_while(|byte| byte.is_ascii_digit());
    let seconds = digits.fold(None, |seconds: Option<u32>, &digit| {
        Some(seconds.unwrap_or(0).saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    });
    seconds.filter(|&seconds| seconds > 0).map(|seconds| seconds.min(LONGEST_SESSION))
}
