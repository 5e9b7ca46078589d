//! Forwards a request (RFC 3261 §16.6).

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use sip_message::{HeaderId, Host, Message, Method, NameAddr, Rewrite, Rport, Uri};
use sip_transaction::{ClientKey, MethodClass, ServerId};
use smallvec::SmallVec;

use crate::{
    Branches, Contacts, Environment, Notice, Proxy, Target,
    breadth::Breadth,
    context::{
        AnswerProgress, Branch, Cancel, Context, Forwarding, GoneOn, Purpose, Rang, Resend, ReturnRoute,
    },
    failover::{BranchProgress, Failure, next_alternative},
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
        let breadth = Breadth::of(request);
        context.forwarding = Forwarding { own_routes, way_back: way_back(request, dialog), dialog, breadth };
        if context.forwarding.way_back == ReturnRoute::Binding {
            context.under_way = env.on_register(request, context.from);
        }
        targets.sort_by_key(|target| std::cmp::Reverse(target.q));
        context.waiting = targets.drain(first_group(&targets, breadth)..).collect();
        self.fork(env, id, &targets, request, now);
        self.advance(env, id, now);
    }

    /// While no branch is at work: tries the next targets, those with the highest q of what waits; when there
    /// are none, answers.
    pub(crate) fn advance<E: Environment<Hop = H>>(&mut self, env: &mut E, id: ServerId, now: Instant) {
        loop {
            let Some(context) = self.transactions.server_mut(id) else { return };
            let waiting = match context.progress {
                AnswerProgress::Open | AnswerProgress::Cancelled => !context.pending.is_empty(),
                AnswerProgress::TimedOut | AnswerProgress::Answered => true,
            };
            if waiting {
                return;
            }
            let group = match context.progress {
                AnswerProgress::Open => first_group(&context.waiting, context.forwarding.breadth),
                AnswerProgress::Cancelled | AnswerProgress::TimedOut | AnswerProgress::Answered => 0,
            };
            let targets: SmallVec<[Target<H>; 1]> = context.waiting.drain(..group).collect();
            let bytes = context.request.clone().filter(|_| !targets.is_empty());
            match bytes.as_ref().and_then(|bytes| Self::kept(bytes)) {
                Some(request) => self.fork(env, id, &targets, &request, now),
                None => return self.conclude(env, id, now),
            }
        }
    }

    /// Starts a branch for each target; one that cannot be started counts as failed, when no other way to it
    /// can be.
    pub(crate) fn fork<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        targets: &[Target<H>],
        request: &Message<'_>,
        now: Instant,
    ) {
        for target in targets {
            let mut instead: Option<Target<H>> = None;
            loop {
                let target = instead.as_ref().unwrap_or(target);
                let Err(status) = self.start_branch(env, id, target, targets.len(), request, now) else {
                    break;
                };
                match next_alternative(target, Failure::Unreachable, BranchProgress::Nothing) {
                    Some(next) => instead = Some(next),
                    None => break self.weigh(env, id, status, (target.hop, None), now),
                }
            }
        }
    }

    fn start_branch<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        target: &Target<H>,
        among: usize,
        request: &Message<'_>,
        now: Instant,
    ) -> Result<(), u16> {
        let context = self.transactions.server(id).ok_or(500_u16)?;
        let (from, forwarding, class) = (context.from, context.forwarding, context.invite.class());
        let number = self.branches.number(env.random());
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let forward = Forward { from, request, target, forwarding, number, among };
        let result = match self.splices.write(env, &self.branches, &forward, &mut out) {
            Some(()) => self.send_branch(env, id, &forward, class, &out, now),
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
        forward: &Forward<'_, H>,
        class: MethodClass,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), u16> {
        let target = forward.target;
        let rings = class == MethodClass::Invite;
        if !self.store.has_room(bytes.len()) {
            env.notice(Notice::FullOfBytes);
            return Err(503);
        }
        let context = self.transactions.server(id).ok_or(500_u16)?;
        let (echo, may) = (context.echo, context.second == Resend::Left);
        let reconnect = env.reconnect_hop(target.hop).filter(|_| may);
        let reconnect =
            reconnect.map(|hop| Box::new(Target { hop, alternatives: SmallVec::new(), ..target.clone() }));
        let sent = (rings || reconnect.is_some()).then(|| self.store.keep(bytes));
        let otherwise = (!target.alternatives.is_empty()).then(|| Box::new(target.clone()));
        let patience = otherwise.as_ref().and_then(|_| env.patience(target.hop));
        let failover_at = patience.map(|patience| now + patience);
        let given_up_at = rings.then(|| now + self.settings.timer_c);
        let copy = sent.clone();
        let branch = Branch {
            server: Some(id),
            echo,
            hop: target.hop,
            sent,
            reconnect,
            when_gone: target.when_gone,
            otherwise,
            heard: BranchProgress::Nothing,
            failover_at,
            purpose: Purpose::Forward,
            given_up_at,
            rings_until: None,
            rang: Rang::InTime,
            cancel: Cancel::No,
            dialog: forward.forwarding.dialog,
            recorded: if rings { forward.recorded() } else { 0 },
            successes: SmallVec::new(),
        };
        let reliability = env.reliability(target.hop);
        let keep = || copy.unwrap_or_else(|| self.store.keep(bytes));
        let key = ClientKey { branch: forward.number, class };
        let Ok(client) = self.transactions.start_client(key, reliability, now, branch, keep) else {
            env.notice(Notice::Full);
            return Err(503);
        };
        // Told before it is sent: it may come by again, in another shard, before we are back from sending.
        if self.transactions.server(id).is_some_and(Context::makes_or_is_in_dialog) {
            env.on_forwarded(forward.request, forward.from, target.hop, now);
        }
        if let Some(context) = self.transactions.server_mut(id) {
            context.went = GoneOn::Somewhere;
        }
        if env.send(target.hop, bytes).is_err() {
            self.transactions.abandon_client(client);
            return Err(target.when_gone);
        }
        self.waiting_on.insert((target.hop, Waiting::Client(client)));
        if let Some(at) = given_up_at {
            self.ringing.insert((at, client));
        }
        if let Some(at) = failover_at {
            self.failover_timers.insert((at, client));
        }
        if let Some(context) = self.transactions.server_mut(id) {
            context.pending.push(client);
        }
        Ok(())
    }
}

/// How many targets come first: those that share the highest q, as far as the request may be split.
fn first_group<H>(sorted: &[Target<H>], breadth: Breadth) -> usize {
    let highest = sorted.first().map_or(0, |target| target.q);
    sorted.iter().position(|target| target.q < highest).unwrap_or(sorted.len()).min(breadth.branches())
}

/// Requests that begin a dialog ask for its later requests to pass here, a REGISTER for those to its binding.
fn way_back(request: &Message<'_>, dialog: Dialog) -> ReturnRoute {
    match (request.method(), dialog) {
        (Some(Method::Invite | Method::Subscribe | Method::Refer | Method::Notify), Dialog::Outside) => {
            ReturnRoute::Dialog
        }
        (Some(Method::Register), _) => ReturnRoute::Binding,
        _ => ReturnRoute::None,
    }
}

/// One request on its way to one target.
pub(crate) struct Forward<'a, H> {
    pub(crate) from: H,
    pub(crate) request: &'a Message<'a>,
    pub(crate) target: &'a Target<H>,
    pub(crate) forwarding: Forwarding,
    /// Of our branch.
    pub(crate) number: u64,
    /// Branches that start together.
    pub(crate) among: usize,
}

impl<H> Forward<'_, H> {
    /// Record-Routes that it goes out with.
    fn recorded(&self) -> u8 {
        let ours = if self.forwarding.way_back == ReturnRoute::Dialog { OUR_ROUTES } else { 0 };
        u8::try_from(self.request.record_routes().count() + ours).unwrap_or(u8::MAX)
    }
}

/// Record-Routes that we put into a request that begins a dialog: one for each side (RFC 5658).
pub(crate) const OUR_ROUTES: usize = 2;

/// Buffers for the header values that are spliced in, kept so that forwarding allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Splices {
    via: Vec<u8>,
    this_side: Vec<u8>,
    that_side: Vec<u8>,
    /// For the last Route, where the next hop is a strict router.
    last_route: Vec<u8>,
    /// For the Request-URI, where a URI has what may not stand there.
    request_uri: Vec<u8>,
    breadth: Vec<u8>,
    amended: Vec<u8>,
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
        let Forward { from, request, target, forwarding, number, among } = *forward;
        let Self { via, this_side, that_side, last_route, request_uri: own_uri, breadth, amended } = self;
        let source = env.address(from);
        via.clear();
        env.write_via(target.hop, via);
        branches.write(number, branches.loop_mark(request, source.ip()), via);
        let mut rewrite = Rewrite::new(request);
        if let Some((received, rport)) = stamp(request, source) {
            rewrite.stamp_via(received, rport);
        }
        rewrite.push_via(via);
        let hops = request.max_forwards().ok().flatten().map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1));
        rewrite.set_max_forwards(hops);
        for _ in 0..forwarding.own_routes {
            rewrite.pop_route();
        }
        this_side.clear();
        that_side.clear();
        match forwarding.way_back {
            ReturnRoute::Dialog => {
                // One entry for each side (RFC 5658): the callee sees its own side first.
                env.write_record_route(from, target.hop, this_side);
                env.write_record_route(target.hop, from, that_side);
                rewrite.push_record_route(this_side);
                rewrite.push_record_route(that_side);
            }
            ReturnRoute::Binding => {
                if env.write_contacts(request, from, that_side) == Contacts::These {
                    rewrite.remove(HeaderId::Contact);
                    if !that_side.is_empty() {
                        rewrite.append(HeaderId::Contact.name(), that_side);
                    }
                }
                env.write_path(request, from, target.hop, this_side);
                if !this_side.is_empty() {
                    rewrite.push_path(this_side);
                    // A registrar may refuse a Path that the user agent does not speak of (RFC 3327 §5.3).
                    if !request.has_option_tag(HeaderId::Supported, b"path") {
                        rewrite.append(HeaderId::Supported.name(), b"path");
                    }
                }
            }
            ReturnRoute::None => {}
        }
        let mut request_uri = target.request_uri.as_deref();
        let mut routes = &target.routes[..];
        if let Some(strict) = strict_router(request, target, forwarding.own_routes) {
            // It takes its own URI out of the Request-URI, and the request's from the end (RFC 3261 §16.6
            // step 6).
            last_route.clear();
            last_route.push(b'<');
            let uri = request_uri.or(request.request_uri_bytes())?;
            match request_form(uri) {
                Some(form) => last_route.extend_from_slice(&form),
                None => last_route.extend_from_slice(uri),
            }
            last_route.push(b'>');
            rewrite.append(HeaderId::Route.name(), last_route);
            request_uri = Some(strict);
            match routes {
                [_, rest @ ..] => routes = rest,
                [] => rewrite.pop_route(),
            }
        }
        if let Some(form) = request_form(request_uri.or(request.request_uri_bytes())?) {
            *own_uri = form;
            rewrite.set_request_uri(own_uri);
        } else if let Some(uri) = request_uri {
            rewrite.set_request_uri(uri);
        }
        for route in routes.iter().rev() {
            rewrite.push_route(route);
        }
        if let Some(share) = forwarding.breadth.share(among) {
            breadth.clear();
            // A vector takes all.
            let _ = write!(breadth, "{share}");
            rewrite.set(HeaderId::MaxBreadth, breadth);
        }
        rewrite.ensure_content_length();
        amended.clear();
        env.amend_request(request, (from, target.hop), forwarding.dialog, amended, &mut rewrite);
        rewrite.write(out).ok().map(|_| ())
    }
}

/// A URI as it may stand in a Request-URI, if it has what may not (RFC 3261 §16.6 step 2). Next to no URI
/// does.
fn request_form(uri: &[u8]) -> Option<Vec<u8>> {
    let suspect = |pair: &[u8]| pair[0] == b'?' || (pair[0] == b';' && matches!(pair[1], b'm' | b'M' | b'%'));
    if !uri.windows(2).any(suspect) && uri.last() != Some(&b'?') {
        return None;
    }
    Uri::parse(uri).ok()?.request_form()
}

/// The URI of the next Route that will stand on top, if it is not a loose router's.
fn strict_router<'r, H>(request: &'r Message<'r>, target: &'r Target<H>, own_routes: u8) -> Option<&'r [u8]> {
    let route = match target.routes.first() {
        Some(route) => NameAddr::parse(route).ok()?,
        None => request.routes().nth(usize::from(own_routes))?.1.ok()?,
    };
    let loose = route.uri().ok()?.param(b"lr").is_some();
    (!loose).then(|| route.uri_bytes())
}

/// What the topmost Via must be stamped with, if anything (RFC 3261 §18.2.1, RFC 3581 §4).
pub(crate) fn stamp(request: &Message<'_>, source: SocketAddr) -> Option<(IpAddr, Option<u16>)> {
    let via = request.via_top().ok()?;
    let asked = via.rport() != Rport::Absent;
    // A name that no address has tells that the sender can be reached on its connection alone. Then nobody
    // needs the address, and the callee is not to learn it (RFC 7118 §5.2.4 leaves it to us).
    let nameless = matches!(via.host(), Host::Name(name) if ends_in_invalid(name));
    let same = via.host().ip() == Some(source.ip()) && via.received().is_none();
    (asked || !(same || nameless)).then(|| (source.ip(), asked.then_some(source.port())))
}

fn ends_in_invalid(name: &[u8]) -> bool {
    const INVALID: &[u8] = b".invalid";
    name.len().checked_sub(INVALID.len()).is_some_and(|at| name[at..].eq_ignore_ascii_case(INVALID))
}

/// Requests spliced without transactions, for the benchmark alone.
#[doc(hidden)]
#[derive(Debug)]
pub struct Splicer {
    branches: Branches,
    splices: Splices,
}

impl Splicer {
    /// With room for nothing yet.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self { branches: Branches::new(secret, 0), splices: Splices::default() }
    }

    /// Parses a request that begins a dialog, and appends it as it goes to the target, the topmost Route
    /// taken off.
    pub fn forward<E: Environment>(
        &mut self,
        env: &E,
        from: E::Hop,
        bytes: &[u8],
        target: &Target<E::Hop>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let request = &Message::parse(bytes).ok()?;
        let breadth = Breadth::of(request);
        let forwarding =
            Forwarding { own_routes: 1, way_back: ReturnRoute::Dialog, dialog: Dialog::Outside, breadth };
        let forward = Forward { from, request, target, forwarding, number: 1, among: 1 };
        self.splices.write(env, &self.branches, &forward, out)
    }
}
