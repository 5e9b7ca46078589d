//! A request goes out (RFC 3261 §16.6).

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Instant,
};

use sip_message::{Message, Method, Rewrite, Rport};
use sip_transaction::{ClientKey, MethodClass, ServerId, StartRefused};
use smallvec::SmallVec;

use crate::{
    Branches, Environment, Notice, Proxy, Target, best,
    context::{Branch, Cancel, Forwarding, Purpose, RecordRoute},
    proxy::Waiting,
    route::{Dialog, Routed},
};

/// Hops that a request without Max-Forwards may make (RFC 3261 §16.6 step 3).
const MAX_FORWARDS: u8 = 70;

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    pub(crate) fn start_forwarding<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        request: &Message<'_>,
        routed: Routed<H>,
        now: Instant,
    ) {
        let Routed { mut targets, own_routes, dialog } = routed;
        let Some(context) = self.transactions.server_mut(id) else { return };
        context.forwarding = Forwarding { own_routes, record_route: record_route(request, dialog) };
        targets.sort_by_key(|target| std::cmp::Reverse(target.q));
        let first = targets.first().map_or(0, |target| target.q);
        let later = targets.iter().position(|target| target.q < first).unwrap_or(targets.len());
        context.waiting = targets.drain(later..).collect();
        self.fork(env, id, targets, request, now);
    }

    /// Tries the next targets, those with the highest q of what waits; tells whether there were any.
    pub(crate) fn next_targets<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        now: Instant,
    ) -> Tried {
        let Some(context) = self.transactions.server_mut(id) else { return Tried::None };
        let Some(highest) = context.waiting.first().map(|target| target.q) else { return Tried::None };
        let later =
            context.waiting.iter().position(|target| target.q < highest).unwrap_or(context.waiting.len());
        let targets = context.waiting.drain(..later).collect();
        let bytes = context.request.clone();
        if let Some(request) = Self::kept(&bytes) {
            self.fork(env, id, targets, &request, now);
        }
        Tried::Some
    }

    fn fork<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        targets: SmallVec<[Target<H>; 1]>,
        request: &Message<'_>,
        now: Instant,
    ) {
        // Failures count when all branches are under way, so that the first is not taken for the last.
        let mut failed: SmallVec<[u16; 2]> = SmallVec::new();
        for target in &targets {
            if let Err(status) = self.start_branch(env, id, target, request, now) {
                failed.push(status);
            }
        }
        if let Some(&status) = failed.iter().min_by_key(|&&status| best::rank(status)) {
            self.failed(env, id, status, None, now);
        }
    }

    fn start_branch<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        target: &Target<H>,
        request: &Message<'_>,
        now: Instant,
    ) -> Result<(), u16> {
        let context = self.transactions.server(id).ok_or(500_u16)?;
        let (from, forwarding, invite) = (context.from, context.forwarding, context.invite);
        let number = self.branches.number(env.random());
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let forward = Forward { from, request, target, forwarding, number };
        let result = match self.splices.write(env, &self.branches, &forward, &mut out) {
            Some(()) => self.send_branch(
                env,
                id,
                target,
                ClientKey { branch: number, class: invite.class() },
                &out,
                now,
            ),
            None => {
                env.notice(Notice::Unwritable);
                Err(500)
            }
        };
        self.out = out;
        result
    }

    fn send_branch<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        target: &Target<H>,
        key: ClientKey,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), u16> {
        if env.send(target.hop, bytes).is_err() {
            return Err(target.when_gone);
        }
        let rings = key.class == MethodClass::Invite;
        let sent: Option<Rc<[u8]>> = rings.then(|| bytes.into());
        let timer_c = rings.then(|| now + self.settings.timer_c);
        let copy = sent.clone();
        let branch = Branch {
            server: id,
            hop: target.hop,
            sent,
            when_gone: target.when_gone,
            purpose: Purpose::Forward,
            timer_c,
            cancel: Cancel::No,
        };
        let reliability = env.reliability(target.hop);
        let keep = || copy.unwrap_or_else(|| bytes.into());
        match self.transactions.start_client(key, reliability, now, branch, keep) {
            Ok(client) => {
                self.waiting_on.insert((target.hop, Waiting::Client(client)));
                if let Some(at) = timer_c {
                    self.ringing.insert((at, client));
                }
                if let Some(context) = self.transactions.server_mut(id) {
                    context.pending.push(client);
                }
                Ok(())
            }
            Err(StartRefused::Full(_) | StartRefused::BranchInUse(_)) => {
                env.notice(Notice::Full);
                Err(503)
            }
        }
    }
}

/// Whether there were targets left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    Some,
    None,
}

/// Requests that begin a dialog ask for its later requests to pass here.
fn record_route(request: &Message<'_>, dialog: Dialog) -> RecordRoute {
    let begins =
        matches!(request.method(), Some(Method::Invite | Method::Subscribe | Method::Refer | Method::Notify));
    if begins && dialog == Dialog::Outside { RecordRoute::Yes } else { RecordRoute::No }
}

/// One request on its way to one target.
pub(crate) struct Forward<'a, H> {
    pub(crate) from: H,
    pub(crate) request: &'a Message<'a>,
    pub(crate) target: &'a Target<H>,
    pub(crate) forwarding: Forwarding,
    /// Of our branch.
    pub(crate) number: u64,
}

/// Buffers for the header values that are spliced in, kept so that forwarding allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Splices {
    via: Vec<u8>,
    this_side: Vec<u8>,
    that_side: Vec<u8>,
}

impl Splices {
    /// Appends the request as it goes out; nothing if it cannot be written.
    pub(crate) fn write<E: Environment>(
        &mut self,
        env: &E,
        branches: &Branches,
        forward: &Forward<'_, E::Hop>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let Forward { from, request, target, forwarding, number } = *forward;
        let Self { via, this_side, that_side } = self;
        via.clear();
        env.write_via(target.hop, via);
        branches.write(number, branches.loop_mark(request), via);
        let mut rewrite = Rewrite::new(request);
        if let Some(uri) = &target.request_uri {
            rewrite.set_request_uri(uri);
        }
        if let Some((received, rport)) = stamp(request, env.address(from)) {
            rewrite.stamp_via(received, rport);
        }
        rewrite.push_via(via);
        let hops = request.max_forwards().ok().flatten().map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1));
        rewrite.set_max_forwards(hops);
        for _ in 0..forwarding.own_routes {
            rewrite.pop_route();
        }
        if forwarding.record_route == RecordRoute::Yes {
            // One entry for each side (RFC 5658): the callee sees its own side first.
            this_side.clear();
            env.write_record_route(from, this_side);
            that_side.clear();
            env.write_record_route(target.hop, that_side);
            rewrite.push_record_route(this_side);
            rewrite.push_record_route(that_side);
        }
        for route in target.routes.iter().rev() {
            rewrite.push_route(route);
        }
        rewrite.ensure_content_length();
        rewrite.write(out).ok().map(|_| ())
    }
}

/// What the topmost Via must be stamped with, if anything (RFC 3261 §18.2.1, RFC 3581 §4).
pub(crate) fn stamp(request: &Message<'_>, source: SocketAddr) -> Option<(IpAddr, Option<u16>)> {
    let via = request.via_top().ok()?;
    let asked = via.rport() != Rport::Absent;
    let same = via.host().ip() == Some(source.ip()) && via.received().is_none();
    (asked || !same).then(|| (source.ip(), asked.then_some(source.port())))
}
