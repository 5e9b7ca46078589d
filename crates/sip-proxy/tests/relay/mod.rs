//! Traffic for the benchmark and the allocation count: two browsers and a network that keeps one message a
//! hop.

use std::{net::SocketAddr, time::Instant};

use sip_message::{Host, Message, Uri, Via};
use sip_proxy::{
    Answer, Decision, Environment, HeaderPolicy, HopGone, Hops, Notice, Observer, Proxy, RouteResolution,
    Router, Settings, Splicer, Target,
};
use sip_transaction::{Reliability, Timers};
use smallvec::{SmallVec, smallvec};

const ALICE: u32 = 1;
const BOB: u32 = 2;

/// A message between two browsers.
pub(crate) const MESSAGE: &[u8] = b"MESSAGE sip:bob@example.com SIP/2.0\r\n\
Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK00000000\r\n\
Max-Forwards: 70\r\n\
To: <sip:bob@example.com>\r\n\
From: \"Alice\" <sip:alice@example.com>;tag=r8dkn3qh7s\r\n\
Call-ID: 7vq1d4tn9e2kqk3ai1qe\r\n\
CSeq: 4711 MESSAGE\r\n\
Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\n\
Supported: ice,replaces,outbound\r\n\
User-Agent: JsSIP 3.13.8\r\n\
Content-Type: text/plain\r\n\
Content-Length: 11\r\n\
\r\n\
hello there";

/// A call from a browser, with its SDP.
pub(crate) const INVITE: &[u8] = b"INVITE sip:bob@example.com SIP/2.0\r\n\
Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK00000000\r\n\
Max-Forwards: 70\r\n\
Route: <sip:edge.example.com;transport=wss;lr>\r\n\
To: <sip:bob@example.com>\r\n\
From: \"Alice\" <sip:alice@example.com>;tag=r8dkn3qh7s\r\n\
Call-ID: 7vq1d4tn9e2kqk3ai1qe\r\n\
CSeq: 4711 INVITE\r\n\
Contact: <sip:alice@df7jal23ls0d.invalid;transport=ws;ob>\r\n\
Proxy-Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"WScZ31knGbRr9l\", uri=\"sip:bob@example.com\", response=\"3f1c\"\r\n\
Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\n\
Supported: timer,ice,replaces,outbound\r\n\
Session-Expires: 90\r\n\
Min-SE: 90\r\n\
P-Preferred-Identity: <sip:alice@example.com>\r\n\
User-Agent: JsSIP 3.13.8\r\n\
X-Trace-Id: 0af7651916cd43dd8448eb211c80319c\r\n\
Accept: application/sdp\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 199\r\n\
\r\n\
v=0\r\n\
o=- 4962303333179871722 1 IN IP4 0.0.0.0\r\n\
s=-\r\n\
t=0 0\r\n\
a=group:BUNDLE 0\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
c=IN IP4 0.0.0.0\r\n\
a=ice-ufrag:7sFv\r\n\
a=setup:actpass\r\n\
a=mid:0\r\n\
a=rtpmap:111 opus/48000/2\r\n";

/// The ACK for a call's 200, along our routes.
pub(crate) const ACK: &[u8] = b"ACK sip:bob@kq3n.invalid;transport=ws SIP/2.0\r\n\
Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK99999999\r\n\
Max-Forwards: 70\r\n\
Route: <sip:f1@edge.example.com;lr>\r\n\
Route: <sip:f2@edge.example.com;lr>\r\n\
To: <sip:bob@example.com>;tag=81hd\r\n\
From: \"Alice\" <sip:alice@example.com>;tag=r8dkn3qh7s\r\n\
Call-ID: 7vq1d4tn9e2kqk3ai1qe\r\n\
CSeq: 4711 ACK\r\n\
User-Agent: JsSIP 3.13.8\r\n\
Content-Length: 0\r\n\
\r\n";

/// Keeps the last message of each hop in a buffer that was allocated once.
struct World {
    last: [Vec<u8>; 3],
    random: u64,
}

impl Environment for World {
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random
    }
}

impl Hops for World {
    type Hop = u32;

    fn send(&mut self, hop: u32, message: &[u8]) -> Result<(), HopGone> {
        let last = &mut self.last[hop as usize];
        last.clear();
        last.extend_from_slice(message);
        Ok(())
    }

    fn reliability(&self, _: u32) -> Reliability {
        Reliability::Reliable
    }

    fn connection(&self, hop: u32) -> u64 {
        u64::from(hop)
    }

    fn address(&self, hop: u32) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, hop as u8], 40_000))
    }
}

impl HeaderPolicy for World {
    fn write_via(&self, _: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"SIP/2.0/WSS edge.example.com:443");
    }

    fn wrote_via(&self, via: &Via<'_>) -> bool {
        via.sent_by() == b"edge.example.com:443"
    }

    fn write_record_route(&self, hop: u32, _other: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<sip:f");
        out.push(b'0' + hop as u8);
        out.extend_from_slice(b"@edge.example.com;lr>");
    }
}

impl Router for World {
    fn resolve_route(&mut self, uri: &Uri<'_>, _from: u32, _request: &Message<'_>) -> RouteResolution<u32> {
        if !uri.host().is_some_and(|host| host.same(&Host::Name(b"edge.example.com"))) {
            return RouteResolution::Foreign;
        }
        match uri.user() {
            Some([b'f', digit]) => RouteResolution::Flow(u32::from(digit - b'0')),
            _ => RouteResolution::Ours,
        }
    }

    fn next_hop(&mut self, _: &Uri<'_>, _: &Message<'_>, _: u32, _: Instant) -> Result<u32, Answer> {
        Ok(BOB)
    }

    fn decide(&mut self, _: &Message<'_>, _: u32, _: Instant) -> Decision<u32> {
        Decision::Forward(smallvec![bob()])
    }
}

impl Observer for World {
    fn notice(&mut self, notice: Notice) {
        panic!("{notice:?}");
    }
}

fn bob() -> Target<u32> {
    Target {
        hop: BOB,
        request_uri: Some(Box::from(&b"sip:bob@kq3n.invalid;transport=ws"[..])),
        routes: SmallVec::new(),
        q: 1000,
        alternatives: SmallVec::new(),
        when_gone: 480,
    }
}

fn network() -> World {
    World { last: std::array::from_fn(|_| Vec::with_capacity(8192)), random: 1 }
}

/// Two browsers and a proxy between them.
pub(crate) struct Relay {
    proxy: Proxy<u32>,
    network: World,
    count: u32,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Relay {
    pub(crate) fn new(now: Instant) -> Self {
        let settings = Settings {
            timers: Timers::default(),
            timer_c: std::time::Duration::from_secs(181),
            ring_timeout: std::time::Duration::from_secs(120),
            max_transactions: 1000,
            max_kept: 1 << 30,
        };
        Self {
            proxy: Proxy::new(settings, [3; 16], 0, now),
            network: network(),
            count: 0,
            request: Vec::with_capacity(8192),
            answer: Vec::with_capacity(8192),
        }
    }

    /// A MESSAGE comes in, goes out, is answered 200, and the 200 goes out.
    pub(crate) fn message(&mut self, now: Instant) -> usize {
        self.next(MESSAGE);
        self.take_request(now);
        self.answer_as_bob(b"SIP/2.0 200 OK\r\n", now);
        assert!(self.network.last[ALICE as usize].starts_with(b"SIP/2.0 200"));
        self.network.last[ALICE as usize].len()
    }

    /// An INVITE rings, and its caller hangs up.
    pub(crate) fn call(&mut self, now: Instant) -> usize {
        self.next(INVITE);
        self.take_request(now);
        self.answer_as_bob(b"SIP/2.0 180 Ringing\r\n", now);
        self.answer_as_bob(b"SIP/2.0 486 Busy Here\r\n", now);
        assert!(self.network.last[ALICE as usize].starts_with(b"SIP/2.0 486"));
        let mut ack = std::mem::take(&mut self.answer);
        ack.clear();
        let invite = Message::parse(&self.request).expect("sound");
        let response = Message::parse(&self.network.last[ALICE as usize]).expect("sound");
        sip_message::request::ack_for_non2xx(&invite, &response, &mut ack).expect("sound");
        self.pass(&ack, now);
        self.answer = ack;
        self.network.last[ALICE as usize].len()
    }

    /// One request, whatever becomes of it.
    pub(crate) fn pass(&mut self, request: &[u8], now: Instant) -> usize {
        let message = Message::parse(request).expect("sound");
        self.proxy.request(&mut self.network, ALICE, &message, now);
        self.proxy.expire(&mut self.network, now);
        self.network.last[BOB as usize].len()
    }

    pub(crate) fn transactions(&self) -> (usize, usize) {
        self.proxy.transactions()
    }

    /// A transaction that was not there before.
    fn next(&mut self, request: &[u8]) {
        self.count += 1;
        self.request.clear();
        self.request.extend_from_slice(request);
        let at = self.request.windows(8).position(|window| window == b"00000000").expect("room for a number");
        let mut rest = self.count;
        for digit in self.request[at..at + 8].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    fn take_request(&mut self, now: Instant) {
        let request = std::mem::take(&mut self.request);
        self.pass(&request, now);
        self.request = request;
    }

    /// Vias, From, To, Call-ID and CSeq of what Bob was sent last.
    fn answer_as_bob(&mut self, line: &[u8], now: Instant) {
        let head: &[&[u8]] = &[b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:"];
        self.answer.clear();
        self.answer.extend_from_slice(line);
        for line in self.network.last[BOB as usize].split_inclusive(|&byte| byte == b'\n') {
            if head.iter().any(|name| line.starts_with(name)) {
                self.answer.extend_from_slice(line);
            }
        }
        self.answer.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        let response = Message::parse(&self.answer).expect("sound");
        self.proxy.response(&mut self.network, BOB, &response, now);
        self.proxy.expire(&mut self.network, now);
    }
}

/// An INVITE that is parsed and spliced, without transactions.
pub(crate) struct SplicedInvite {
    splicer: Splicer,
    network: World,
    bob: Target<u32>,
    pub(crate) out: Vec<u8>,
}

impl SplicedInvite {
    pub(crate) fn new() -> Self {
        Self { splicer: Splicer::new([3; 16]), network: network(), bob: bob(), out: Vec::with_capacity(8192) }
    }

    pub(crate) fn forward(&mut self) -> usize {
        self.out.clear();
        self.splicer
            .forward(&self.network, ALICE, INVITE, &self.bob, &mut self.out)
            .expect("it can be written");
        self.out.len()
    }
}
