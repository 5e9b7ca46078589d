//! A fake network around a proxy: hops that write down what they were given, names that are looked up in a
//! list, and a clock that goes where it is told.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use sip_message::{Host, Message, Uri, Via};
use sip_proxy::{
    Alternative, Answer, Decision, Environment, HeaderPolicy, HopGone, Hops, Notice, Observer,
    PendingRegister, Proxy, RouteResolution, Router, Settings, Target,
};
use sip_transaction::{Reliability, Timers};
use smallvec::{SmallVec, smallvec};

/// Hops from this number on are datagram peers; below, connections.
pub(crate) const DATAGRAMS: u32 = 100;

/// Connections of our users are below this; from here to [`DATAGRAMS`] they lead to other elements, and
/// our routes do not name them.
pub(crate) const ELEMENTS: u32 = 50;

/// What lies around the proxy.
pub(crate) struct FakeNetwork {
    /// Where requests to a user go.
    pub(crate) users: BTreeMap<Vec<u8>, Vec<Target<u32>>>,
    /// What requests to a user are answered here.
    pub(crate) refusals: BTreeMap<Vec<u8>, Answer>,
    pub(crate) gone: BTreeSet<u32>,
    /// Hops whose peers are had again by another connection, and how.
    pub(crate) reconnect: BTreeMap<u32, u32>,
    pub(crate) sent: Vec<(u32, Vec<u8>)>,
    /// Attempts on hops that are gone.
    pub(crate) attempts: Vec<u32>,
    pub(crate) notices: Vec<Notice>,
    /// What was told of: the hop that it goes to, and how much had been sent by then.
    pub(crate) told: Vec<(u32, usize)>,
    /// What was told to be answered: the status, whom, and by whom if not by the proxy.
    pub(crate) answered: Vec<(u16, u32, Option<u32>)>,
    /// INVITEs that were told to be refused: the status, and whom.
    pub(crate) refused: Vec<(u16, u32)>,
    /// How long any hop may be silent.
    pub(crate) patience: Option<Duration>,
    pub(crate) failed: Vec<u32>,
    /// Hops that answered 503, and for how long they asked to be left alone.
    pub(crate) unavailable: Vec<(u32, Option<u32>)>,
    /// Hops to which nobody is there.
    pub(crate) unreachable: Vec<u32>,
    /// Hops that said something.
    pub(crate) heard: Vec<u32>,
    /// Hops beside which there is nobody to serve requests, and for how long.
    pub(crate) out_of_service: BTreeMap<u32, u32>,
    /// Hops whose peers know that flows fail.
    pub(crate) outbound: BTreeSet<u32>,
    /// Answers to requests of our own, and those whose answers nobody waits for any more.
    pub(crate) own: Vec<(u64, u16)>,
    pub(crate) unwanted: BTreeSet<u64>,
    pub(crate) path: bool,
    /// Whose REGISTER was told to have succeeded.
    pub(crate) registered: Vec<u32>,
    /// Held by each REGISTER that is under way.
    pub(crate) under_way: Rc<()>,
    /// How whoever a request within a dialog names is reached, and where it goes when its flow is gone.
    pub(crate) named: Option<Target<u32>>,
    pub(crate) instead: Option<Target<u32>>,
    pub(crate) returned: Option<Target<u32>>,
    /// Where contacts of redirections lead.
    pub(crate) redirects: BTreeMap<String, Vec<Target<u32>>>,
    random: u64,
}

pub(crate) fn target(hop: u32) -> Target<u32> {
    Target {
        hop,
        request_uri: None,
        routes: SmallVec::new(),
        q: 1000,
        alternatives: SmallVec::new(),
        when_gone: 480,
    }
}

pub(crate) fn reliability(hop: u32) -> Reliability {
    if hop >= DATAGRAMS { Reliability::Unreliable } else { Reliability::Reliable }
}

impl FakeNetwork {
    pub(crate) fn new() -> Self {
        Self {
            users: BTreeMap::new(),
            refusals: BTreeMap::new(),
            gone: BTreeSet::new(),
            reconnect: BTreeMap::new(),
            sent: Vec::new(),
            attempts: Vec::new(),
            notices: Vec::new(),
            told: Vec::new(),
            answered: Vec::new(),
            refused: Vec::new(),
            patience: None,
            failed: Vec::new(),
            unavailable: Vec::new(),
            unreachable: Vec::new(),
            heard: Vec::new(),
            out_of_service: BTreeMap::new(),
            outbound: BTreeSet::new(),
            returned: None,
            own: Vec::new(),
            unwanted: BTreeSet::new(),
            path: false,
            registered: Vec::new(),
            under_way: Rc::default(),
            named: None,
            instead: None,
            redirects: BTreeMap::new(),
            random: 7,
        }
    }
}

impl Environment for FakeNetwork {
    fn random(&mut self) -> u64 {
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Hops for FakeNetwork {
    type Hop = u32;

    fn send(&mut self, hop: u32, message: &[u8]) -> Result<(), HopGone> {
        if self.gone.contains(&hop) {
            self.attempts.push(hop);
            return Err(HopGone);
        }
        self.sent.push((hop, message.to_vec()));
        Ok(())
    }

    fn reliability(&self, hop: u32) -> Reliability {
        reliability(hop)
    }

    fn connection(&self, hop: u32) -> u64 {
        if hop >= DATAGRAMS { 0 } else { u64::from(hop) }
    }

    fn reconnect_hop(&self, hop: u32) -> Option<u32> {
        self.reconnect.get(&hop).copied()
    }

    fn address(&self, hop: u32) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, (hop % 250) as u8], 40_000 + (hop % 1000) as u16))
    }

    fn patience(&self, _: u32) -> Option<Duration> {
        self.patience
    }

    fn out_of_service(&self, hop: u32) -> Option<u32> {
        self.out_of_service.get(&hop).copied()
    }

    fn supports_outbound(&self, hop: u32) -> bool {
        self.outbound.contains(&hop)
    }
}

impl HeaderPolicy for FakeNetwork {
    fn write_via(&self, hop: u32, out: &mut Vec<u8>) {
        let name: &[u8] = if hop >= DATAGRAMS { b"SIP/2.0/UDP edge.test" } else { b"SIP/2.0/WS edge.test" };
        out.extend_from_slice(name);
    }

    fn wrote_via(&self, via: &Via<'_>) -> bool {
        via.host().same(&Host::Name(b"edge.test"))
    }

    fn write_record_route(&self, hop: u32, _other: u32, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let written = if hop < ELEMENTS {
            write!(out, "<sip:f{hop}@edge.test;lr>")
        } else {
            write!(out, "<sip:edge.test;lr>")
        };
        written.expect("a vector takes all");
    }

    fn write_path(&self, _request: &Message<'_>, hop: u32, _to: u32, out: &mut Vec<u8>) {
        if self.path {
            out.extend_from_slice(format!("<sip:f{hop}@edge.test;lr;ob>").as_bytes());
        }
    }
}

impl Router for FakeNetwork {
    fn resolve_route(&mut self, uri: &Uri<'_>, _from: u32, _request: &Message<'_>) -> RouteResolution<u32> {
        if uri.user().is_none() && uri.host().is_some_and(|host| host.same(&Host::Name(b"domain.test"))) {
            return RouteResolution::Domain;
        }
        if !uri.host().is_some_and(|host| host.same(&Host::Name(b"edge.test"))) {
            return RouteResolution::Foreign;
        }
        let Some(user) = uri.user() else { return RouteResolution::Ours };
        let hop = user.strip_prefix(b"f").and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
        match hop {
            Some(hop) if self.gone.contains(&hop) => RouteResolution::Gone,
            Some(hop) => RouteResolution::Flow(hop),
            None => RouteResolution::Forged,
        }
    }

    fn next_hop(&mut self, uri: &Uri<'_>, _: &Message<'_>, _: u32, _: Instant) -> Result<u32, Answer> {
        let number = match uri.host() {
            Some(Host::Name(name)) => name.strip_prefix(b"h").and_then(|n| n.strip_suffix(b".test")),
            _ => None,
        };
        number
            .and_then(|n| std::str::from_utf8(n).ok()?.parse().ok())
            .ok_or_else(|| Answer::new(404, "No Such Host"))
    }

    fn decide(&mut self, request: &Message<'_>, from: u32, now: Instant) -> Decision<u32> {
        let uri = request.request_uri();
        let user = uri.as_ref().ok().and_then(|uri| uri.user()).unwrap_or_default();
        if let Some(answer) = self.refusals.get(user) {
            return Decision::Answer(answer.clone());
        }
        if let Some(targets) = self.users.get(user) {
            return Decision::Forward(targets.iter().cloned().collect());
        }
        let uri = uri.expect("checked before");
        match self.next_hop(&uri, request, from, now) {
            Ok(hop) => Decision::Forward(smallvec![target(hop)]),
            Err(answer) => Decision::Answer(answer),
        }
    }

    fn resolve_gruu(&self, _: &Message<'_>, _: u32, hop: u32, _: Instant) -> Option<Target<u32>> {
        self.named.clone().filter(|named| named.hop == hop)
    }

    fn reroute_lost(&mut self, _: &Message<'_>, _: u32, _: Instant) -> Option<Decision<u32>> {
        self.instead.clone().map(|target| Decision::Forward(smallvec![target]))
    }

    fn resolve_redirect(
        &mut self,
        contact: &Uri<'_>,
        _: &Message<'_>,
        _: u32,
        _: Instant,
    ) -> Option<SmallVec<[Target<u32>; 1]>> {
        let contact = String::from_utf8_lossy(contact.as_bytes());
        Some(self.redirects.get(&*contact)?.iter().cloned().collect())
    }

    fn reroute_returned(&mut self, _: &Message<'_>, _: u32, _: Instant) -> Option<Decision<u32>> {
        self.returned.clone().map(|target| Decision::Forward(smallvec![target]))
    }
}

impl Observer for FakeNetwork {
    fn on_register(&mut self, _: &Message<'_>, _: u32) -> Option<PendingRegister> {
        Some(PendingRegister::new(Rc::clone(&self.under_way)))
    }

    fn on_registered(&mut self, _: &Message<'_>, from: u32, _: &Message<'_>, _: Instant) {
        assert!(Rc::strong_count(&self.under_way) > 1, "it is under way until this was told");
        self.registered.push(from);
    }

    fn on_no_response(&mut self, hop: u32) {
        self.failed.push(hop);
    }

    fn on_unavailable(&mut self, hop: u32, retry_after: Option<u32>) {
        self.unavailable.push((hop, retry_after));
    }

    fn on_unreachable(&mut self, hop: u32) {
        self.unreachable.push(hop);
    }

    fn on_first_response(&mut self, hop: u32) {
        self.heard.push(hop);
    }

    fn is_own_awaited(&self, own: u64) -> bool {
        !self.unwanted.contains(&own)
    }

    fn on_own_answered(&mut self, own: u64, status: u16, _: Option<&Message<'_>>) {
        self.own.push((own, status));
    }

    fn on_forwarded(&mut self, _: &Message<'_>, _: u32, to: u32, _: Instant) {
        self.told.push((to, self.sent.len()));
    }

    fn on_refused(&mut self, answer: &Answer, _: &Message<'_>, from: u32, _: Instant) {
        self.refused.push((answer.status, from));
    }

    fn on_answered(&mut self, status: u16, _: &Message<'_>, asked: u32, by: Option<u32>, _: Instant) {
        self.answered.push((status, asked, by));
    }

    fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}

/// A proxy in a fake network.
pub(crate) struct Stage {
    pub(crate) proxy: Proxy<u32>,
    pub(crate) network: FakeNetwork,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
}

/// How long an INVITE may be without news.
pub(crate) const TIMER_C: Duration = Duration::from_secs(181);

/// How long it may ring.
pub(crate) const RING_TIMEOUT: Duration = Duration::from_secs(500);

/// The same place by these hops, each of which leads to a server of its own.
pub(crate) fn hops(hops: &[u32]) -> SmallVec<[Alternative<u32>; 0]> {
    (1..).zip(hops).map(|(server, &hop)| Alternative::Hop { hop, server }).collect()
}

/// Other flows of the same user agent, each with a Contact of its own.
pub(crate) fn flows(hops: &[u32]) -> SmallVec<[Alternative<u32>; 0]> {
    let flow = |&hop: &u32| {
        let request_uri = format!("sip:bob@h{hop}.invalid").into_bytes().into();
        Alternative::Flow { hop, request_uri, routes: SmallVec::new() }
    };
    hops.iter().map(flow).collect()
}

/// Longer than anything can last without news.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3600);

pub(crate) fn settings() -> Settings {
    Settings {
        timers: Timers::default(),
        timer_c: TIMER_C,
        ring_timeout: RING_TIMEOUT,
        max_transactions: 1000,
        max_kept: 1 << 30,
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        // The only clock that is read, and only for a place to begin.
        let now = Instant::now();
        Self { proxy: Proxy::new(settings, [9; 16], 5, now), network: FakeNetwork::new(), start: now, now }
    }

    /// Requests to this user go there, all at once.
    pub(crate) fn user(&mut self, user: &str, hops: &[u32]) {
        self.user_at(user, hops.iter().map(|&hop| target(hop)).collect());
    }

    pub(crate) fn user_at(&mut self, user: &str, targets: Vec<Target<u32>>) {
        self.network.users.insert(user.as_bytes().to_vec(), targets);
    }

    /// A message comes in, and everything that is due then is done.
    pub(crate) fn receive(&mut self, hop: u32, text: &str) {
        self.receive_bytes(hop, text.as_bytes());
    }

    pub(crate) fn receive_bytes(&mut self, hop: u32, bytes: &[u8]) {
        match Message::parse(bytes) {
            Ok(message) if message.is_request() => {
                self.proxy.request(&mut self.network, hop, &message, self.now);
            }
            Ok(message) => self.proxy.response(&mut self.network, hop, &message, self.now),
            Err(error) => self.proxy.unparsed(&mut self.network, hop, bytes, error),
        }
        self.proxy.expire(&mut self.network, self.now);
    }

    /// A connection ends.
    pub(crate) fn end(&mut self, hop: u32) {
        self.network.gone.insert(hop);
        self.proxy.hop_gone(&mut self.network, hop, self.now);
    }

    /// A datagram that was sent by a hop comes back.
    pub(crate) fn come_back(&mut self, hop: u32, quoted: &str) {
        if let Some(returned) = sip_proxy::QuotedRequest::read(quoted.as_bytes()) {
            self.proxy.came_back(&mut self.network, hop, returned, self.now);
        }
    }

    /// A connection ends whose peer may be had again.
    pub(crate) fn lose(&mut self, hop: u32) {
        self.proxy.connection_lost(&mut self.network, hop, self.now);
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.proxy.next_deadline().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.proxy.expire(&mut self.network, self.now);
        }
        self.now = until;
    }

    /// What was sent since the last time this was asked.
    pub(crate) fn sent(&mut self) -> Vec<(u32, String)> {
        self.network
            .sent
            .drain(..)
            .map(|(hop, bytes)| (hop, String::from_utf8_lossy(&bytes).into_owned()))
            .collect()
    }

    /// The same as hop and start line without version: `1: 180 Ringing`, `2: INVITE sip:bob@edge.test`.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.sent().iter().map(|(hop, text)| format!("{hop}: {}", line(text))).collect()
    }

    /// The one message sent since, which went to this hop.
    pub(crate) fn one(&mut self, hop: u32) -> String {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "one message was expected: {sent:#?}");
        let (on, text) = sent.remove(0);
        assert_eq!(on, hop, "{text}");
        text
    }

    /// The message to this hop that begins so.
    pub(crate) fn pick(&mut self, hop: u32, beginning: &str) -> String {
        let sent = self.sent();
        let found = sent.iter().find(|(on, text)| *on == hop && line(text).starts_with(beginning));
        found.unwrap_or_else(|| panic!("no {beginning} on {hop} in {sent:#?}")).1.clone()
    }

    /// Nothing is left once all timers have run out.
    pub(crate) fn settles(&mut self) {
        self.pass(FOR_EVER);
        assert_eq!(self.proxy.transactions(), (0, 0), "transactions are left");
        assert_eq!(self.proxy.next_deadline(), None, "something waits for ever");
        assert_eq!(self.proxy.kept_bytes(), 0, "messages are kept");
        let state = format!("{:?}", self.proxy);
        for empty in ["waiting_on: {}", "ringing: {}", "failover_timers: {}"] {
            assert!(state.contains(empty), "something is left: no {empty}");
        }
    }
}

/// Start line without the version.
pub(crate) fn line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("SIP/2.0 ").unwrap_or(line).trim_end_matches(" SIP/2.0").to_owned()
}

/// The values of a header field, in order.
pub(crate) fn values<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(header, _)| header.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

/// A request of a browser to a user of ours; `to` may be a user or a whole URI.
pub(crate) fn request(method: &str, to: &str, branch: &str) -> String {
    request_with(method, to, branch, "")
}

/// With further header fields, each with its line end.
pub(crate) fn request_with(method: &str, to: &str, branch: &str, more: &str) -> String {
    let uri = if to.contains(':') { to.to_owned() } else { format!("sip:{to}@edge.test") };
    // What is sent along our routes belongs to a dialog, so its To has a tag.
    let tag = if matches!(method, "BYE" | "ACK") && more.contains("Route:") { ";tag=b2" } else { "" };
    let body = if method == "INVITE" || method == "MESSAGE" { "hello\u{0}\r\n\r\nworld" } else { "" };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/WS x7.invalid;branch=z9hG4bK{branch}\r\n{more}\
         Max-Forwards: 70\r\nFrom: <sip:alice@edge.test>;tag=a1\r\nTo: <{uri}>{tag}\r\nCall-ID: call-{branch}\r\n\
         CSeq: 1 {method}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What a peer answers to a request it was sent.
pub(crate) fn response(request: &str, status: u16, reason: &str) -> String {
    response_with(request, status, reason, "")
}

/// With further header fields, each with its line end.
pub(crate) fn response_with(request: &str, status: u16, reason: &str, more: &str) -> String {
    let mut text = format!("SIP/2.0 {status} {reason}\r\n");
    let method = request.split(' ').next().unwrap_or_default();
    for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
        for value in values(request, name) {
            let tag = if name == "To" && !value.contains("tag=") && status > 100 { ";tag=b2" } else { "" };
            let value = if name == "CSeq" { value.replace("ACK", method) } else { value.to_owned() };
            text.push_str(&format!("{name}: {value}{tag}\r\n"));
        }
    }
    text + more + "Content-Length: 0\r\n\r\n"
}

/// A request in the transaction of another: its CANCEL, or the ACK for its failure.
pub(crate) fn within(method: &str, request: &str, to: Option<&str>) -> String {
    let uri = request.split(' ').nth(1).unwrap_or_default();
    let value = |name| values(request, name)[0].to_owned();
    format!(
        "{method} {uri} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
        value("Via"),
        value("From"),
        to.map_or_else(|| value("To"), str::to_owned),
        value("Call-ID"),
    )
}
