//! From an accepted socket to an open flow: TLS, the upgrade request (or the first message of a stream), and
//! the handler's decision.

mod pending;
mod request;

use std::{net::SocketAddr, rc::Rc, time::Duration};

use lifecycle::{Direction, FlowFacts, Text};
use sip_message::{FrameLimits, StreamFramer};
use tokio::{net::TcpStream, time::sleep};
use websocket::{Connection, Limits, Role, handshake::Refusal};

use crate::{
    ConnectionHandler, Framing, Link, Listener, Opening, PlainHttp, Refused, Scratch, Settings,
    UnopenedCause, VerifiedClient,
    flow::{self, Codec, Receiver},
    linger,
    tls::Tls,
};
use pending::Pending;
use request::{Greeting, asks_for_head};

/// Bytes taken from a socket at once before it is a flow.
pub(crate) const READ: usize = 4 * 1024;

/// Most frames of one message (RFC 6455 §5.4); SIP needs one.
const MAX_FRAGMENTS: u32 = 1024;

/// Longest header section of a SIP message, bytes; others are not understood anyway.
const HEADERS: u32 = 64 * 1024;

/// Most probes that the kernel sends to a silent stream's peer.
const MOST_PROBES: u64 = 3;

/// The answer to a client that forgot the `s` of `wss` or `https`.
const HTTP_WITHOUT_TLS: &str = "This port speaks TLS. Use wss:// here, or the port that serves plain ws://\n";

/// Takes an accepted connection to its end: handshake, flow, end.
pub async fn receive_connection<O: ConnectionHandler>(
    owner: Rc<O>,
    listener: Rc<Listener>,
    scratch: Rc<Scratch>,
    stream: TcpStream,
    remote: SocketAddr,
) {
    let mut admission = None;
    if !listener.client_address.trusts(remote.ip()) {
        admission = owner.admit(remote.ip());
        if admission.is_none() {
            // The kernel keeps nothing of it either.
            let _ = stream.set_zero_linger();
            return;
        }
    }
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else {
        return owner.on_unopened(remote, UnopenedCause::LeftEarly, admission.as_ref());
    };
    let mut pending = Pending::new(stream, remote);
    let place = listener.waiting.enter();
    let greeting = tokio::select! {
        greeting = pending.greeting(&owner, &listener, &mut admission) => Ok(greeting),
        () = sleep(listener.settings.handshake_timeout) => Err(UnopenedCause::HandshakeTimeout),
        () = place.crowded_out() => Err(UnopenedCause::CrowdedOut),
    };
    drop(place);
    let greeting = match greeting {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(why)) => {
            owner.on_unopened(remote, why, admission.as_ref());
            if matches!(why, UnopenedCause::TlsFailed | UnopenedCause::NotTls) {
                // The alert is on its way.
                pending.close(&scratch, listener.settings.close_timeout).await;
            }
            return;
        }
        Err(why) => {
            owner.on_unopened(remote, why, admission.as_ref());
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
            candidate.open(owner, admission, listener, scratch).await;
        }
        Greeting::Message => {
            let codec = stream_codec(&settings);
            let vouched = pending.known_by_certificate(&owner, &listener);
            let candidate = Candidate { pending, facts, codec, response: None, vouched };
            candidate.open(owner, admission, listener, scratch).await;
        }
        Greeting::Http if pending.tls.is_none() || owner.serves_pages() => {
            let Pending { stream, tls, received, .. } = pending;
            owner.http(PlainHttp { stream, remote, head: received, tls });
        }
        Greeting::Http => {
            refuse(&owner, pending, admission, Refusal::MissingUpgrade, &scratch, &settings).await;
        }
        Greeting::Refuse(refusal) => refuse(&owner, pending, admission, refusal, &scratch, &settings).await,
        Greeting::HttpWithoutTls => {
            owner.on_unopened(remote, UnopenedCause::TlsFailed, admission.as_ref());
            pending.tls = None;
            let body = if asks_for_head(&pending.received) { "" } else { HTTP_WITHOUT_TLS };
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Cache-Control: no-store\r\nContent-Length: {}\r\n\r\n{body}",
                HTTP_WITHOUT_TLS.len()
            );
            pending.part(answer.as_bytes(), &scratch, settings.close_timeout).await;
        }
        Greeting::NotSip(answer) => {
            owner.on_unopened(remote, UnopenedCause::NotSip, admission.as_ref());
            if let Some(answer) = answer {
                pending.part(&answer, &scratch, settings.close_timeout).await;
            }
        }
    }
}

async fn refuse<O: ConnectionHandler>(
    owner: &Rc<O>,
    pending: Pending,
    admission: Option<O::Admission>,
    refusal: Refusal,
    scratch: &Scratch,
    settings: &Settings,
) {
    owner.on_unopened(pending.remote, UnopenedCause::HandshakeRefused(refusal.status()), admission.as_ref());
    let mut answer = Vec::new();
    request::refuse(refusal, &pending.received, &mut answer);
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
    vouched: Option<VerifiedClient>,
}

impl Candidate {
    /// Asks the owner and, with its consent, answers and starts the flow's own task.
    async fn open<O: ConnectionHandler>(
        self,
        owner: Rc<O>,
        admission: Option<O::Admission>,
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
        match owner.open(Opening { facts, listener, vouched }, admission, Rc::clone(&link)).await {
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
                    owner.on_unopened(remote, UnopenedCause::HandshakeRefused(status.status()), None);
                } else {
                    owner.on_unopened(remote, UnopenedCause::NoRoom, None);
                }
                linger::part(link, reader, linger::Peer::Present).await;
            }
        }
    }
}

/// Has the kernel watch over a connection by the same times as we do (`tcp_timeout`, `unreachable`): bytes
/// that are not acknowledged in that time are the end of it. A stream's peer need not answer pings of ours,
/// so there the kernel also asks when all is silent. It counts in whole seconds.
pub(crate) fn watch_over(stream: &TcpStream, framing: Framing, settings: &Settings) {
    let socket = socket2::SockRef::from(stream);
    let silence = settings.ping_after.as_secs().max(1);
    let answer = settings.pong_timeout.as_secs().max(1);
    let probes = answer.min(MOST_PROBES);
    // A socket with a user timeout is given up at the first probe due after it, whatever the number of
    // probes.
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
