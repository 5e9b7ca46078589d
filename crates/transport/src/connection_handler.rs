//! The trait that decides what connections and messages mean.

use std::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use lifecycle::{Ending, FlowFacts, Identity};
use sip_message::{FrameError, Leniencies};
use websocket::handshake::{Refusal, Request};

use crate::{Link, Listener, PlainHttp};

/// A connection that wants to become a flow.
#[derive(Debug)]
pub struct Opening {
    /// The known facts.
    pub facts: FlowFacts,
    /// The listener it came to.
    pub listener: Rc<Listener>,
    /// Who it comes from, if its upgrade request proved that.
    pub vouched: Option<VerifiedClient>,
}

/// Who a connection comes from, by the credentials that it brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedClient {
    /// The address-of-record.
    pub identity: Identity,
    /// Until when: then the flow is closed, as `token_expired`.
    pub until: Instant,
    /// Whether the credentials themselves let their user call to the outside.
    pub outside: Grant,
}

/// Whether credentials say that something is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grant {
    /// They do.
    Given,
    /// They do not, or say nothing of it.
    #[default]
    NotGiven,
}

/// A connection that may not become a flow now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When the client may try again, for `Retry-After`.
    pub retry_after: Duration,
    /// Why, in words for the client.
    pub reason: &'static str,
}

/// A connection that ended before it was a flow: no event, only a count and perhaps a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnopenedCause {
    /// Nothing whole came within the handshake timeout.
    HandshakeTimeout,
    /// The peer left before its request was whole.
    LeftEarly,
    /// TLS failed.
    TlsFailed,
    /// The request was refused with this HTTP status.
    HandshakeRefused(u16),
    /// It did not come by the proxy that all connections of its listener come by, or not with a header of the
    /// PROXY protocol.
    NotByProxy,
    /// Bytes came where TLS should begin that are none of it.
    NotTls,
    /// Others came, and it had waited longest for what it wanted to say.
    CrowdedOut,
    /// The handler refused the client that the proxy named.
    TurnedAway,
    /// The first bytes of a stream were no SIP.
    NotSip,
    /// The owner would not have another flow (a stream has no status to say so).
    NoRoom,
}

impl fmt::Display for UnopenedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandshakeTimeout => f.write_str("handshake_timeout"),
            Self::LeftEarly => f.write_str("left_early"),
            Self::TlsFailed => f.write_str("tls_failed"),
            Self::HandshakeRefused(status) => write!(f, "handshake_refused_{status}"),
            Self::NotByProxy => f.write_str("not_by_proxy"),
            Self::NotTls => f.write_str("not_tls"),
            Self::CrowdedOut => f.write_str("crowded_out"),
            Self::TurnedAway => f.write_str("turned_away"),
            Self::NotSip => f.write_str("not_sip"),
            Self::NoRoom => f.write_str("no_room"),
        }
    }
}

/// One shard's owner of flows.
pub trait ConnectionHandler: Sized + 'static {
    /// An open flow. Dropping one closes it as an internal error.
    type Flow: 'static;

    /// A client that was admitted, until this is dropped.
    type Admission: 'static;

    /// A client connects from this address. None if it is refused; then it gets no answer, or 429 if it
    /// has asked for a WebSocket already. Connections that a trusted proxy makes for itself are not asked
    /// about.
    fn admit(self: &Rc<Self>, client: IpAddr) -> Option<Self::Admission>;

    /// Who a TLS client is by its certificate (DER), which an authority of the listener's has signed. The
    /// default knows nobody.
    fn identify_certificate(
        self: &Rc<Self>,
        certificate: &[u8],
        listener: &Listener,
    ) -> Option<VerifiedClient> {
        let _ = (certificate, listener);
        None
    }

    /// Who asks for a WebSocket, if that is asked at all. The request is otherwise good.
    ///
    /// # Errors
    /// Who it is must be proved and is not: the answer.
    fn authorize(
        self: &Rc<Self>,
        request: &Request<'_>,
        admission: Option<&Self::Admission>,
    ) -> Result<Option<VerifiedClient>, Refusal> {
        let _ = (request, admission);
        Ok(None)
    }

    /// Opens a flow: resolves when `flow.opened` is durable.
    fn open(
        self: &Rc<Self>,
        opening: Opening,
        admission: Option<Self::Admission>,
        link: Rc<Link>,
    ) -> impl Future<Output = Result<Self::Flow, Refused>>;

    /// Which of the owner's flows this is, counted one by one: what is done by time is spread over flows by
    /// it.
    fn flow_number(flow: &Self::Flow) -> u64;

    /// A whole SIP message came on the flow.
    fn message(self: &Rc<Self>, flow: &Self::Flow, message: &[u8]);

    /// The deviations that were tolerated to find the end of the message that comes next on a stream.
    fn on_leniencies(self: &Rc<Self>, _what: Leniencies) {}

    /// The flow is over. Uses it up.
    fn close(self: &Rc<Self>, flow: Self::Flow, ending: Ending);

    /// Whether there are pages for those who ask. Within TLS nobody is handed over otherwise: they are
    /// refused.
    fn serves_pages(self: &Rc<Self>) -> bool {
        false
    }

    /// Someone asks for a page. Dropping it closes the connection.
    fn http(self: &Rc<Self>, request: PlainHttp);

    /// A connection ended before it was a flow.
    fn on_unopened(
        self: &Rc<Self>,
        remote: SocketAddr,
        why: UnopenedCause,
        admission: Option<&Self::Admission>,
    );

    /// Answers bytes on a stream that cannot be framed as SIP: what to send back before the connection is
    /// closed, if anything.
    fn answer_unframed(self: &Rc<Self>, bytes: &[u8], error: FrameError) -> Option<Vec<u8>>;
}
