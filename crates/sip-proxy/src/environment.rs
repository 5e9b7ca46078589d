//! What a proxy asks of its environment.

use std::{
    fmt::Debug,
    net::SocketAddr,
    time::{Duration, Instant},
};

use sip_message::{Message, Rewrite, Uri, Via};
use sip_transaction::Reliability;
use smallvec::SmallVec;

use crate::{Answer, Dialog, PendingRegister};

/// The hop takes no messages any more: its connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopGone;

/// One place to forward a request to.
#[derive(Clone, Debug)]
pub struct Target<H> {
    /// The way there.
    pub hop: H,
    /// The Request-URI it gets; none: as it came.
    pub request_uri: Option<Box<[u8]>>,
    /// Route values to put on top, the next hop first (a Path, RFC 3327 §5.3).
    pub routes: SmallVec<[Box<[u8]>; 0]>,
    /// Preference in thousandths, 0 to 1000 (RFC 3261 §20.10 `q`); higher goes first, equal ones together.
    pub q: u16,
    /// Other ways to the same place, tried in turn when the one before is silent, gone, or says that it leads
    /// nowhere.
    pub alternatives: SmallVec<[Alternative<H>; 0]>,
    /// What to answer for it when its hop is gone: 480 for a contact of ours, 430 for a flow that the
    /// request itself named (RFC 5626 §5.3).
    pub when_gone: u16,
}

/// Another way to where a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alternative<H> {
    /// The same request by another hop (RFC 3263 §4.3).
    Hop {
        /// The way there.
        hop: H,
        /// The server that it leads to, as a number of this list. [`SAME_SERVER`]: the one that the target
        /// itself leads to, or, behind a flow, the user agent of that flow; its turn comes only when that
        /// cannot be reached. Any other number is another server; its turn comes too when the one before is
        /// silent, or answers 503 before any sign of progress.
        server: u8,
    },
    /// Another flow of the same user agent (RFC 5626 §5.3). Its turn comes too when the way before answers
    /// 430, or 408 without having rung; anything else is what the user agent has to say.
    Flow {
        /// The way there.
        hop: H,
        /// The Request-URI it gets.
        request_uri: Box<[u8]>,
        /// Route values to put on top, the next hop first.
        routes: SmallVec<[Box<[u8]>; 0]>,
    },
}

/// Which Contact values a REGISTER is forwarded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// Those that it has.
    AsTheyAre,
    /// Those that were written, which may be none.
    These,
}

/// The server that a target leads to itself, in [`Alternative::Hop`].
pub const SAME_SERVER: u8 = 0;

/// What to do with a request that is not bound by its Route headers.
#[derive(Clone, Debug)]
pub enum Decision<H> {
    /// Forward it to these; to none is answered 480.
    Forward(SmallVec<[Target<H>; 1]>),
    /// Answer it here.
    Answer(Answer),
}

/// What a URI in a Route header is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteResolution<H> {
    /// Another element's.
    Foreign,
    /// Ours, without a flow in it.
    Ours,
    /// It names a domain that is served here, and no user (RFC 3261 §16.4). Within a dialog, behind a route
    /// of ours that leads on, it is the route of the element that comes next: that may go by the name of the
    /// domain, too.
    Domain,
    /// Ours, and it names this way onward (RFC 5626 §5.3).
    Flow(H),
    /// Ours, but the flow it names is gone.
    Gone,
    /// Ours, and the flow it names is gone; but its user agent is expected back on another, and what ends the
    /// dialog meanwhile is noted for it.
    Held,
    /// Ours, but the dialog that it was made for is over.
    Over,
    /// It looks like ours, but we did not make it.
    Forged,
}

/// What was noticed on the way, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// A message that could not be parsed; answered if it could be.
    Unparsed(sip_message::ParseError),
    /// A message that parses but is not valid.
    Invalid(sip_message::Invalid),
    /// A message with deviations that were understood all the same.
    Forgiven(sip_message::Leniencies),
    /// A response that belongs to no transaction, or answers another request than the one with its branch:
    /// dropped.
    StrayResponse,
    /// A response to a request of ours that does not come from where that went: dropped.
    ForeignResponse,
    /// An ACK with nowhere to go: dropped.
    StrayAck,
    /// A repeat of a request, absorbed.
    Repeat,
    /// The request had been here before in the same form.
    Loop,
    /// No room for another transaction.
    Full,
    /// A request that was refused because the messages kept for others are as many bytes as they may be.
    FullOfBytes,
    /// A request was sent again because the connection that it had gone over ended.
    Resent,
    /// A message could not be rewritten.
    Unwritable,
}

/// The world around a proxy: hops, names, policy. Every call is answered at once.
pub trait Environment: HeaderPolicy + Router + Observer {
    /// A number that nobody can guess.
    fn random(&mut self) -> u64;
}

/// Ways to peers: what is sent by them, and what is known of them.
pub trait Hops {
    /// A way to a peer: a connection, or a socket and an address.
    type Hop: Copy + Ord + Debug;

    /// Sends a message.
    ///
    /// # Errors
    /// The hop is gone.
    fn send(&mut self, hop: Self::Hop, message: &[u8]) -> Result<(), HopGone>;

    /// Whether what is sent on the hop arrives without our repeating it.
    fn reliability(&self, hop: Self::Hop) -> Reliability;

    /// What tells the peers of connections apart: a request's repeats and its CANCEL come over the connection
    /// that it came over, even if another peer knows its branch. 0 where repeats may come by another way
    /// (UDP).
    fn connection(&self, hop: Self::Hop) -> u64;

    /// Where the hop's messages come from.
    fn address(&self, hop: Self::Hop) -> SocketAddr;

    /// Whether a response that comes from a hop may answer a request that was sent on another. The default:
    /// on the same alone.
    fn may_answer(&self, sent: Self::Hop, from: Self::Hop) -> bool {
        sent == from
    }

    /// How long a hop may give no sign of life before another way is tried, if there is one. The default is
    /// as long as its transaction lasts.
    fn patience(&self, hop: Self::Hop) -> Option<Duration> {
        let _ = hop;
        None
    }

    /// Where the peer of a hop can be had by a new connection, once the one that stands has ended: the hop
    /// itself, if it outlives its connections. The default knows of none.
    fn reconnect_hop(&self, hop: Self::Hop) -> Option<Self::Hop> {
        let _ = hop;
        None
    }

    /// How many seconds it takes until requests that go the way of this hop may be served again, if none can
    /// be now: then its 503 goes to the caller, and is no 500 (RFC 3261 §16.7 step 6). The default is that
    /// others can be served.
    fn out_of_service(&self, hop: Self::Hop) -> Option<u32> {
        let _ = hop;
        None
    }

    /// Whether the peer of a hop knows that flows fail (430, RFC 5626 §5.3). To others it is 480. The default
    /// is that it does not.
    fn supports_outbound(&self, hop: Self::Hop) -> bool {
        let _ = hop;
        false
    }
}

/// What we write of ourselves into messages, and what of a message goes on to whom.
pub trait HeaderPolicy: Hops {
    /// Appends the sent-protocol and sent-by of our Via on this hop, such as
    /// `SIP/2.0/WS edge.example.com:80`.
    fn write_via(&self, hop: Self::Hop, out: &mut Vec<u8>);

    /// Whether the sent-by of a Via is one that [`HeaderPolicy::write_via`] writes on some hop (RFC 3261
    /// §18.1.2).
    fn wrote_via(&self, via: &Via<'_>) -> bool;

    /// Appends a Record-Route value of ours that leads back to this hop, for requests that come over the
    /// other.
    fn write_record_route(&self, hop: Self::Hop, other: Self::Hop, out: &mut Vec<u8>);

    /// Appends a Path value of ours (RFC 3327) that leads back to `from`, for a REGISTER that came from there
    /// and is forwarded to `to`. Nothing, which is the default, leaves the REGISTER without one.
    fn write_path(&self, request: &Message<'_>, from: Self::Hop, to: Self::Hop, out: &mut Vec<u8>) {
        let _ = (request, from, to, out);
    }

    /// Appends the Contact values of a REGISTER that came from `from`, as the registrar is to see them, and
    /// says so. The default leaves them as they are.
    fn write_contacts(&self, request: &Message<'_>, from: Self::Hop, out: &mut Vec<u8>) -> Contacts {
        let _ = (request, from, out);
        Contacts::AsTheyAre
    }

    /// Appends the Contact values of the answer to such a REGISTER, as its sender is to see them. Nothing,
    /// which is the default, leaves them as they are.
    fn restore_contacts(&self, request: &Message<'_>, response: &Message<'_>, out: &mut Vec<u8>) {
        let _ = (request, response, out);
    }

    /// Edits a request on its way from one hop to another beyond what every proxy does: what it says of its
    /// sender may not be for everybody's eyes. What is put in is written to `text`, which is empty. The
    /// default does nothing.
    fn amend_request<'m>(
        &self,
        request: &'m Message<'m>,
        (from, to): (Self::Hop, Self::Hop),
        dialog: Dialog,
        text: &'m mut Vec<u8>,
        rewrite: &mut Rewrite<'m>,
    ) {
        let _ = (request, from, to, dialog, text, rewrite);
    }

    /// The same for a response. The default does nothing.
    fn amend_response<'m>(
        &self,
        response: &'m Message<'m>,
        (from, to): (Self::Hop, Self::Hop),
        rewrite: &mut Rewrite<'m>,
    ) {
        let _ = (response, from, to, rewrite);
    }

    /// Whether a challenge (WWW-Authenticate, Proxy-Authenticate) from this hop may reach the sender of the
    /// request. Credentials for a realm of ours are for us alone: a user who may ask for them could use them
    /// here. The default lets all through.
    fn allows_challenge(&self, challenge: &[u8], from: Self::Hop) -> bool {
        let _ = (challenge, from);
        true
    }
}

/// Where a request goes, and who may send it there.
pub trait Router: Hops {
    /// Whether a URI is ours: one in a Route, or a Request-URI that looks like a route of ours because the
    /// sender is a strict router (RFC 3261 §16.4).
    /// `request` is the one that it stands in, which came from `from`.
    fn resolve_route(
        &mut self,
        uri: &Uri<'_>,
        from: Self::Hop,
        request: &Message<'_>,
    ) -> RouteResolution<Self::Hop>;

    /// Where another element's URI in the topmost Route is reached, for a request that came from a hop.
    ///
    /// # Errors
    /// The answer to send instead.
    fn next_hop(
        &mut self,
        uri: &Uri<'_>,
        request: &Message<'_>,
        from: Self::Hop,
        now: Instant,
    ) -> Result<Self::Hop, Answer>;

    /// Decides on a request that neither a flow in a route of ours nor another element's Route leads on: by
    /// its Request-URI (RFC 3261 §16.5). It may lie within a dialog whose remote target is a contact or a
    /// GRUU of ours, or another element's that is reached like a next hop; the Route headers, all ours, are
    /// still in it. A scheme that is not understood is answered 416 here.
    fn decide(&mut self, request: &Message<'_>, from: Self::Hop, now: Instant) -> Decision<Self::Hop>;

    /// How a user agent is reached that a request within a dialog names by a GRUU of ours (RFC 5627 §6.1),
    /// along a route of ours that leads to `hop`. Where that user agent is not at `hop`, the request, which
    /// proves nothing by its To tag, may go elsewhere only if its sender is accepted. None, which is the
    /// default: by that hop, with the Request-URI that it has.
    fn resolve_gruu(
        &self,
        request: &Message<'_>,
        from: Self::Hop,
        hop: Self::Hop,
        now: Instant,
    ) -> Option<Target<Self::Hop>> {
        let _ = (request, from, hop, now);
        None
    }

    /// Decides, as for a request outside of dialogs, on one whose route leads to a flow that is gone, if it
    /// names a user agent by a GRUU of ours that can be reached by another. None, which is the default,
    /// leaves it at that.
    fn reroute_lost(
        &mut self,
        request: &Message<'_>,
        from: Self::Hop,
        now: Instant,
    ) -> Option<Decision<Self::Hop>> {
        let _ = (request, from, now);
        None
    }

    /// How the user agent is reached that a request within a dialog is for, whose route leads to a flow that
    /// is gone: it may have come back by another flow, with the Contact that it had. None, which is the
    /// default: it is not known, or cannot be told safely.
    fn reroute_returned(
        &mut self,
        request: &Message<'_>,
        from: Self::Hop,
        now: Instant,
    ) -> Option<Decision<Self::Hop>> {
        let _ = (request, from, now);
        None
    }

    /// Where a contact leads that a request from `from` was redirected to (3xx). None, which is the default:
    /// nowhere that requests may go. If all of a 3xx lead nowhere, it is an answer like any other.
    fn resolve_redirect(
        &mut self,
        contact: &Uri<'_>,
        request: &Message<'_>,
        from: Self::Hop,
        now: Instant,
    ) -> Option<SmallVec<[Target<Self::Hop>; 1]>> {
        let _ = (contact, request, from, now);
        None
    }
}

/// Who is told what happened, and asked whether answers to requests of our own are still waited for.
pub trait Observer: Hops {
    /// A REGISTER is about to be forwarded. What this gives is kept until it has its final answer and
    /// [`on_registered`](Self::on_registered) was told of that, or until it will have none. The default gives
    /// nothing.
    fn on_register(&mut self, request: &Message<'_>, from: Self::Hop) -> Option<PendingRegister> {
        let _ = (request, from);
        None
    }

    /// A REGISTER that was forwarded is answered 2xx, also after its connection has ended. The default does
    /// nothing.
    fn on_registered(
        &mut self,
        request: &Message<'_>,
        from: Self::Hop,
        response: &Message<'_>,
        now: Instant,
    ) {
        let _ = (request, from, response, now);
    }

    /// A request of our own ([`Proxy::originate`](crate::Proxy::originate)) has its final answer: 408 if none
    /// came in time, 503 if it could not be sent, or its hop is gone. `response` is what came, if anything
    /// did. The default does nothing.
    fn on_own_answered(&mut self, own: u64, status: u16, response: Option<&Message<'_>>) {
        let _ = (own, status, response);
    }

    /// Whether the answer to a request of our own is still waited for. If not, it is not repeated any more,
    /// and [`on_own_answered`](Self::on_own_answered) says 503. The default is that it is.
    fn is_own_awaited(&self, own: u64) -> bool {
        let _ = own;
        true
    }

    /// Nothing was heard in time of what a hop was asked. The default does nothing.
    fn on_no_response(&mut self, hop: Self::Hop) {
        let _ = hop;
    }

    /// What was sent by a hop came back: nobody is there (ICMP, RFC 3261 §18.4). The default does nothing.
    fn on_unreachable(&mut self, hop: Self::Hop) {
        let _ = hop;
    }

    /// A hop answered 503. `retry_after` are the seconds that it asked to be left alone for, if it did;
    /// without them the answer says nothing about other requests (RFC 3261 §21.5.4). The default does
    /// nothing.
    fn on_unavailable(&mut self, hop: Self::Hop, retry_after: Option<u32>) {
        let _ = (hop, retry_after);
    }

    /// The first response came to something that was sent by a hop. The default does nothing.
    fn on_first_response(&mut self, hop: Self::Hop) {
        let _ = hop;
    }

    /// A request goes on: once for each branch of an INVITE, and for each request within a dialog other than
    /// ACK. As it came, from the hop that it came from; told right before it is sent, so that whatever comes
    /// of it is told later. Should the hop turn out to be gone, that is one more failure to choose an answer
    /// from. The default does nothing.
    fn on_forwarded(&mut self, request: &Message<'_>, from: Self::Hop, to: Self::Hop, now: Instant) {
        let _ = (request, from, to, now);
    }

    /// An INVITE, or a request within a dialog, is answered: each response that goes upstream but our own
    /// provisional ones. `head` is the response and `by` the hop that it came from; or, of an answer of our
    /// own, the request, and none. It goes to `asked`, the hop that the request came from. The default does
    /// nothing.
    fn on_answered(
        &mut self,
        status: u16,
        head: &Message<'_>,
        asked: Self::Hop,
        by: Option<Self::Hop>,
        now: Instant,
    ) {
        let _ = (status, head, asked, by, now);
    }

    /// An INVITE outside of dialogs is refused with this answer, and has gone to nobody. Told when it is
    /// answered; a request that is sent again may be refused again. The default does nothing.
    fn on_refused(&mut self, answer: &Answer, request: &Message<'_>, from: Self::Hop, now: Instant) {
        let _ = (answer, request, from, now);
    }

    /// Something was noticed.
    fn notice(&mut self, notice: Notice);
}
