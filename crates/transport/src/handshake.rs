//! From an accepted socket to an open flow: TLS, the upgrade request (or a stream's first message), the
//! owner's word.

use std::{mem, net::SocketAddr, rc::Rc, time::Duration};

use defence::{
    Client, ClientAddress, forwarded,
    proxy_header::{self, Header},
};
use lifecycle::{Direction, FlowFacts, Text};
use sip_message::{Frame, FrameLimits, StreamFramer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout, timeout_at},
};
use websocket::{
    Connection, Limits, Role,
    handshake::{self, HeaderValue, Outcome, Policy, Refusal, Request},
};

use crate::{
    Framing, Link, Listener, Opening, Owner, PlainHttp, Refused, Scratch, Settings, Unopened, Vouched,
    flow::{self, Codec, Receiver},
    linger,
    tls::{Progress, Tls},
};

/// Bytes taken from a socket at once before it is a flow.
pub(crate) const READ: usize = 4 * 1024;

/// Most frames of one message (RFC 6455 §5.4); SIP needs one.
const MAX_FRAGMENTS: u32 = 1024;

/// Longest header section of a SIP message, bytes; others are not understood anyway.
const HEADERS: u32 = 64 * 1024;

/// Most probes that the kernel sends to a silent stream's peer.
const MOST_PROBES: u64 = 3;

/// What someone is told who is turned away and has come by a proxy.
const TURNED_AWAY: Refusal = Refusal::RateLimited { retry_after: 60 };

/// What someone is told who forgot the `s` of `wss` or `https`.
const HTTP_WITHOUT_TLS: &str = "This port speaks TLS. Use wss:// here, or the port that serves plain ws://\n";

/// Takes an accepted connection to its end: handshake, flow, end.
pub async fn receive_connection<O: Owner>(
    owner: Rc<O>,
    listener: Rc<Listener>,
    scratch: Rc<Scratch>,
    stream: TcpStream,
    remote: SocketAddr,
) {
    let mut guest = None;
    if !listener.client_address.trusts(remote.ip()) {
        guest = owner.let_in(remote.ip());
        if guest.is_none() {
            // The kernel keeps nothing of it either.
            let _ = stream.set_zero_linger();
            return;
        }
    }
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else {
        return owner.unopened(remote, Unopened::LeftEarly, guest.as_ref());
    };
    let mut pending = Pending::new(stream, remote);
    let place = listener.waiting.enter();
    let greeting = tokio::select! {
        greeting = pending.greeting(&owner, &listener, &mut guest) => Ok(greeting),
        () = sleep(listener.settings.handshake_timeout) => Err(Unopened::HandshakeTimeout),
        () = place.crowded_out() => Err(Unopened::CrowdedOut),
    };
    drop(place);
    let greeting = match greeting {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(why)) => {
            owner.unopened(remote, why, guest.as_ref());
            if matches!(why, Unopened::TlsFailed | Unopened::NotTls) {
                // The alert is on its way.
                pending.let_go(&scratch, listener.settings.close_timeout).await;
            }
            return;
        }
        Err(why) => {
            owner.unopened(remote, why, guest.as_ref());
            return pending.too_slow(&listener);
        }
    };
    let mut facts = FlowFacts {
        transport: listener.transport,
        direction: Direction::Accepted,
        listener: Text::new(&listener.name),
        local,
        remote,
        forwarded: pending.client.map(|client| Text::new(client.to_string())),
        host: None,
        origin: None,
        path: None,
        user_agent: None,
        tls: pending.tls.as_ref().map(Tls::facts),
    };
    let settings = Rc::clone(&listener.settings);
    match greeting {
        Greeting::Upgrade(upgrade) => {
            facts.host = upgrade.host;
            facts.origin = upgrade.origin;
            facts.path = upgrade.path;
            facts.user_agent = upgrade.user_agent;
            facts.forwarded = upgrade.client.map(|client| Text::new(client.to_string())).or(facts.forwarded);
            // What came behind the head are frames already.
            pending.received.drain(..upgrade.head);
            let limits = Limits {
                max_message: settings.max_message,
                max_frame: settings.max_message,
                max_fragments: MAX_FRAGMENTS,
            };
            let codec = Codec::WebSocket(Connection::new(Role::Server, limits));
            let (response, vouched) = (Some(upgrade.response), upgrade.vouched);
            let candidate = Candidate { pending, facts, codec, response, vouched };
            candidate.open(owner, guest, listener, scratch).await;
        }
        Greeting::Message => {
            let codec = stream_codec(&settings);
            let vouched = pending.known_by_certificate(&owner, &listener);
            let candidate = Candidate { pending, facts, codec, response: None, vouched };
            candidate.open(owner, guest, listener, scratch).await;
        }
        Greeting::Http if pending.tls.is_none() => {
            owner.http(PlainHttp { stream: pending.stream, remote, head: pending.received });
        }
        Greeting::Http => {
            refuse(&owner, pending, guest, Refusal::MissingUpgrade, &scratch, &settings).await;
        }
        Greeting::Refuse(refusal) => refuse(&owner, pending, guest, refusal, &scratch, &settings).await,
        Greeting::HttpWithoutTls => {
            owner.unopened(remote, Unopened::TlsFailed, guest.as_ref());
            pending.tls = None;
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Cache-Control: no-store\r\nContent-Length: {}\r\n\r\n{HTTP_WITHOUT_TLS}",
                HTTP_WITHOUT_TLS.len()
            );
            pending.part(answer.as_bytes(), &scratch, settings.close_timeout).await;
        }
        Greeting::NotSip(answer) => {
            owner.unopened(remote, Unopened::NotSip, guest.as_ref());
            if let Some(answer) = answer {
                pending.part(&answer, &scratch, settings.close_timeout).await;
            }
        }
    }
}

async fn refuse<O: Owner>(
    owner: &Rc<O>,
    pending: Pending,
    guest: Option<O::Guest>,
    refusal: Refusal,
    scratch: &Scratch,
    settings: &Settings,
) {
    owner.unopened(pending.remote, Unopened::HandshakeRefused(refusal.status()), guest.as_ref());
    let mut answer = Vec::new();
    refusal.write_response(&mut answer);
    pending.part(&answer, scratch, settings.close_timeout).await;
}

pub(crate) fn stream_codec(settings: &Settings) -> Codec {
    let limits =
        FrameLimits { header_section: settings.max_message.min(HEADERS), body: settings.max_message };
    Codec::Stream { framer: StreamFramer::new(limits), partial: Vec::new() }
}

/// A connection whose handshake is done, before the owner's word.
struct Candidate {
    /// What is left in `received` came behind the handshake.
    pending: Pending,
    facts: FlowFacts,
    codec: Codec,
    /// The 101, for a WebSocket.
    response: Option<Vec<u8>>,
    vouched: Option<Vouched>,
}

impl Candidate {
    /// Asks the owner and, with its consent, answers and starts the flow's own task.
    async fn open<O: Owner>(
        self,
        owner: Rc<O>,
        guest: Option<O::Guest>,
        listener: Rc<Listener>,
        scratch: Rc<Scratch>,
    ) {
        let settings = Rc::clone(&listener.settings);
        let Self { pending: Pending { stream, tls, received, .. }, facts, codec, response, vouched } = self;
        let framing = if response.is_some() { Framing::WebSocket } else { Framing::Stream };
        let remote = facts.remote;
        watch_over(&stream, framing, &settings);
        let (reader, writer) = stream.into_split();
        let link = Rc::new(Link::new(writer, framing, tls, settings, scratch));
        if let Some(vouched) = &vouched {
            link.vouch_until(vouched.until);
        }
        match owner.open(Opening { facts, listener, vouched }, guest, Rc::clone(&link)).await {
            Ok(flow) => {
                if let Some(response) = response {
                    let _ = link.put_head(&response);
                }
                // A task of its own: this one's size is that of a handshake.
                tokio::task::spawn_local(flow::run(owner, link, Receiver { reader, codec }, received, flow));
            }
            Err(Refused { retry_after, .. }) => {
                let status =
                    Refusal::NoRoom { retry_after: u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX) };
                if framing == Framing::WebSocket {
                    let mut answer = Vec::new();
                    status.write_response(&mut answer);
                    let _ = link.put_head(&answer);
                    link.close_notify();
                    owner.unopened(remote, Unopened::HandshakeRefused(status.status()), None);
                } else {
                    owner.unopened(remote, Unopened::NoRoom, None);
                }
                linger::let_go(link, reader, linger::Peer::Present).await;
            }
        }
    }
}

/// Has the kernel watch over a connection by the same times as we do (`tcp_timeout`, `unreachable`): bytes that are not
/// acknowledged in that time are the end of it. A stream's peer need not answer pings of ours, so there the kernel also asks
/// when all is silent. It counts in whole seconds.
pub(crate) fn watch_over(stream: &TcpStream, framing: Framing, settings: &Settings) {
    let socket = socket2::SockRef::from(stream);
    let silence = settings.ping_after.as_secs().max(1);
    let answer = settings.pong_timeout.as_secs().max(1);
    let probes = answer.min(MOST_PROBES);
    // A socket with a user timeout is given up at the first probe due after it, whatever the number of probes.
    let given_up = silence + answer / probes * probes;
    // Where the system refuses, the write timeout is left.
    let _ = socket.set_tcp_user_timeout(Some(Duration::from_secs(given_up)));
    if framing == Framing::Stream {
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(silence))
            .with_interval(Duration::from_secs(answer / probes));
        let _ = socket.set_tcp_keepalive(&keepalive);
    }
}

/// A connection that is no flow yet.
struct Pending {
    stream: TcpStream,
    remote: SocketAddr,
    /// Whose connection a proxy says that it is.
    client: Option<Client>,
    tls: Option<Tls>,
    /// Bytes from the socket that were read with the proxy's header and stand behind it.
    early: Vec<u8>,
    /// Plain text received and not used.
    received: Vec<u8>,
    silent: Silent,
}

/// Whether the peer has said nothing at all yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silent {
    Yes,
    No,
}

/// What came of reading.
enum Heard {
    Bytes,
    HttpWithoutTls,
}

/// What a connection began with.
enum Greeting {
    Upgrade(Box<Upgrade>),
    Message,
    Http,
    Refuse(Refusal),
    NotSip(Option<Vec<u8>>),
    /// HTTP without TLS, where TLS is spoken.
    HttpWithoutTls,
}

/// An upgrade request that may be accepted.
struct Upgrade {
    host: Option<Text<128>>,
    origin: Option<Text<128>>,
    path: Option<Text<200>>,
    user_agent: Option<Text<200>>,
    /// Length of the request head.
    head: usize,
    /// The 101.
    response: Vec<u8>,
    vouched: Option<Vouched>,
    /// Whose connection a proxy says in the request that it is.
    client: Option<Client>,
}

impl Pending {
    fn new(stream: TcpStream, remote: SocketAddr) -> Self {
        Self {
            stream,
            remote,
            client: None,
            tls: None,
            early: Vec::new(),
            received: Vec::new(),
            silent: Silent::Yes,
        }
    }

    /// Reads until it is clear what the peer wants.
    async fn greeting<O: Owner>(
        &mut self,
        owner: &Rc<O>,
        listener: &Listener,
        guest: &mut Option<O::Guest>,
    ) -> Result<Greeting, Unopened> {
        if let ClientAddress::ProxyProtocol(_) = &listener.client_address {
            if !listener.client_address.trusts(self.remote.ip()) {
                return Err(Unopened::NotByProxy);
            }
            self.read_proxy_header().await?;
            if let Some(client) = self.client {
                *guest = Some(owner.let_in(client.ip).ok_or(Unopened::TurnedAway)?);
            }
        }
        if let Some(config) = &listener.tls {
            self.tls = Some(Tls::new(config.clone()).map_err(|_| Unopened::TlsFailed)?);
        }
        let mut framer = match stream_codec(&listener.settings) {
            Codec::Stream { framer, .. } => framer,
            Codec::WebSocket(_) => return Err(Unopened::NotSip),
        };
        loop {
            if let Heard::HttpWithoutTls = self.read_more().await? {
                return Ok(Greeting::HttpWithoutTls);
            }
            if self.received.is_empty() {
                continue;
            }
            if Framing::of(listener.transport) == Some(Framing::WebSocket) {
                if let Some(greeting) = examine(
                    owner,
                    &self.received,
                    self.remote,
                    self.known_by_certificate(owner, listener),
                    listener,
                    guest,
                ) {
                    return Ok(greeting);
                }
                continue;
            }
            loop {
                match framer.next(&self.received) {
                    Ok(Frame::NeedMore) => break,
                    Ok(Frame::Message { .. }) => return Ok(Greeting::Message),
                    Ok(keepalive @ (Frame::Crlf | Frame::Ping)) => {
                        self.received.drain(..keepalive.len());
                        if keepalive == Frame::Ping {
                            self.send(b"\r\n").await?;
                        }
                    }
                    Err(error) => return Ok(Greeting::NotSip(owner.unframed(&self.received, error))),
                }
            }
        }
    }

    /// Learns whose connection it is, from the proxy.
    async fn read_proxy_header(&mut self) -> Result<(), Unopened> {
        loop {
            match proxy_header::read(&self.early) {
                Ok(Header::Incomplete) => {}
                Ok(Header::Whole { length, client }) => {
                    self.early.drain(..length);
                    self.client = client;
                    return Ok(());
                }
                Err(proxy_header::NotAHeader) => return Err(Unopened::NotByProxy),
            }
            self.early.reserve(READ);
            match self.stream.read_buf(&mut self.early).await {
                Ok(read) if read > 0 => {}
                _ => return Err(Unopened::LeftEarly),
            }
        }
    }

    /// Who the peer is by the certificate that it has shown.
    fn known_by_certificate<O: Owner>(&self, owner: &Rc<O>, listener: &Listener) -> Option<Vouched> {
        owner.recognise(self.tls.as_ref()?.client_certificate()?, listener)
    }

    async fn read_more(&mut self) -> Result<Heard, Unopened> {
        let Some(tls) = &mut self.tls else {
            if !self.early.is_empty() {
                self.received = mem::take(&mut self.early);
                return Ok(Heard::Bytes);
            }
            self.received.reserve(READ);
            return match self.stream.read_buf(&mut self.received).await {
                Ok(read) if read > 0 => Ok(Heard::Bytes),
                _ => Err(Unopened::LeftEarly),
            };
        };
        if tls.has_peer_closed() {
            return Err(Unopened::LeftEarly);
        }
        let mut input = mem::take(&mut self.early);
        if input.is_empty() {
            input.resize(READ, 0);
            let Ok(read @ 1..) = self.stream.read(&mut input).await else { return Err(Unopened::LeftEarly) };
            input.truncate(read);
        }
        let input = input.as_mut_slice();
        let first = mem::replace(&mut self.silent, Silent::No) == Silent::Yes;
        if first && begins_http(input) {
            return Ok(Heard::HttpWithoutTls);
        }
        let before = self.received.len();
        let mut reply = Vec::new();
        let progress = tls.receive(input, &mut self.received, &mut reply);
        if !reply.is_empty() && self.stream.write_all(&reply).await.is_err() {
            return Err(Unopened::LeftEarly);
        }
        match progress {
            Ok(Progress::Handshaking | Progress::Open) => Ok(Heard::Bytes),
            // It may have said all it wanted to say.
            Ok(Progress::PeerClosed) if self.received.len() > before => Ok(Heard::Bytes),
            Ok(Progress::PeerClosed) => Err(Unopened::LeftEarly),
            Err(rustls::Error::InvalidMessage(_)) => Err(Unopened::NotTls),
            Err(_) => Err(Unopened::TlsFailed),
        }
    }

    async fn send(&mut self, plain: &[u8]) -> Result<(), Unopened> {
        let mut cipher = Vec::new();
        let bytes = match &mut self.tls {
            None => plain,
            Some(tls) => {
                tls.encrypt(plain, &mut cipher).map_err(|_| Unopened::TlsFailed)?;
                &cipher
            }
        };
        self.stream.write_all(bytes).await.map_err(|_| Unopened::LeftEarly)
    }

    /// Says why not, and lets the peer read it.
    async fn part(mut self, answer: &[u8], scratch: &Scratch, close_timeout: Duration) {
        let until = Instant::now() + close_timeout;
        let said = timeout_at(until, async {
            self.send(answer).await?;
            let mut goodbye = Vec::new();
            if let Some(tls) = &mut self.tls
                && tls.close_notify(&mut goodbye).is_ok()
            {
                self.stream.write_all(&goodbye).await.map_err(|_| Unopened::LeftEarly)?;
            }
            Ok::<_, Unopened>(())
        });
        if matches!(said.await, Ok(Ok(()))) {
            self.let_go(scratch, until.saturating_duration_since(Instant::now())).await;
        }
    }

    /// Ends our direction and waits for the peer's end, so that what we said last is not lost.
    async fn let_go(mut self, scratch: &Scratch, close_timeout: Duration) {
        let parting = async {
            if self.stream.shutdown().await.is_ok() {
                linger::discard(&mut self.stream, scratch).await;
            }
        };
        if timeout(close_timeout, parting).await.is_err() {
            let _ = self.stream.set_zero_linger();
        }
    }

    /// Tells who began to ask that it took too long. Who does not listen now will not hear it.
    fn too_slow(mut self, listener: &Listener) {
        if self.received.is_empty() || Framing::of(listener.transport) != Some(Framing::WebSocket) {
            return;
        }
        let (mut answer, mut cipher) = (Vec::new(), Vec::new());
        Refusal::TooSlow.write_response(&mut answer);
        if let Some(tls) = &mut self.tls {
            if tls.encrypt(&answer, &mut cipher).is_err() {
                return;
            }
            let _ = tls.close_notify(&mut cipher);
            answer = cipher;
        }
        let _ = self.stream.try_write(&answer);
    }
}

/// Whether these first bytes, where TLS should begin, are an HTTP request's. A TLS record begins with a control
/// character.
fn begins_http(input: &[u8]) -> bool {
    [&b"GET "[..], b"POST ", b"HEAD ", b"PUT ", b"OPTIONS "].iter().any(|method| input.starts_with(method))
        && !input.windows(7).any(|window| window == b"SIP/2.0")
}

/// The upgrade request as far as it has come; nothing while it is not whole.
fn examine<O: Owner>(
    owner: &Rc<O>,
    received: &[u8],
    remote: SocketAddr,
    known: Option<Vouched>,
    listener: &Listener,
    guest: &mut Option<O::Guest>,
) -> Option<Greeting> {
    // Whom the request is for, by a proxy in front; none if it says nothing that is believed.
    let mut client = None;
    let mut meet = |request: &Request<'_>| {
        client = client_in(request, remote, listener);
        match client {
            Some(client) => {
                *guest = owner.let_in(client.ip);
                if guest.is_some() { Ok(()) } else { Err(Greeting::Refuse(TURNED_AWAY)) }
            }
            None => Ok(()),
        }
    };
    let paths: Vec<&str> = listener.paths.iter().map(String::as_str).collect();
    let origins: Vec<&str> = listener.origins.iter().map(String::as_str).collect();
    let policy = Policy {
        paths: &paths,
        origins: &origins,
        missing_origin: listener.missing_origin,
        ..Policy::default()
    };
    match handshake::examine(received, &policy) {
        Outcome::Incomplete => None,
        Outcome::NotUpgrade(_) => Some(Greeting::Http),
        Outcome::Refuse(refused) => {
            let met = refused.request.as_ref().map_or(Ok(()), meet);
            Some(met.err().unwrap_or(Greeting::Refuse(refused.refusal)))
        }
        Outcome::Accept(accepted) => {
            if let Err(greeting) = meet(&accepted.request) {
                return Some(greeting);
            }
            let admit = || owner.admit(&accepted.request, guest.as_ref());
            let vouched = match known.map_or_else(admit, |known| Ok(Some(known))) {
                Ok(vouched) => vouched,
                Err(refusal) => return Some(Greeting::Refuse(refusal)),
            };
            let mut response = Vec::new();
            accepted.write_response(&mut response, &[]);
            let request = &accepted.request;
            Some(Greeting::Upgrade(Box::new(Upgrade {
                host: request.host().map(|host| Text::new(host.as_bytes())),
                origin: request.origin().map(|origin| Text::new(origin.as_bytes())),
                // Queries hold tokens.
                path: Some(Text::new(request.path())),
                user_agent: request.user_agent().map(|agent| Text::new(agent.as_bytes())),
                head: request.head_len,
                response,
                vouched,
                client,
            })))
        }
    }
}

/// Whose request a proxy in front says in it that it is.
fn client_in(request: &Request<'_>, remote: SocketAddr, listener: &Listener) -> Option<Client> {
    if !listener.client_address.trusts(remote.ip()) {
        return None;
    }
    match &listener.client_address {
        ClientAddress::Socket | ClientAddress::ProxyProtocol(_) => None,
        ClientAddress::XForwardedFor(proxies) => {
            forwarded::by_x_forwarded_for(lines(request, "x-forwarded-for"), proxies)
        }
        ClientAddress::Forwarded(proxies) => forwarded::by_forwarded(lines(request, "forwarded"), proxies),
    }
}

fn lines<'a>(request: &Request<'a>, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    request.values(name).map(HeaderValue::as_bytes).collect::<Vec<_>>().into_iter()
}
