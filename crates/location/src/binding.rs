//! One contact of an address-of-record.

use std::net::SocketAddr;
use std::time::Instant;

use lifecycle::{FlowId, Transport};
use sip_registrar::{Gruu, ListedBinding};
use smallvec::SmallVec;

/// How requests reach a binding's user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindingHop {
    /// Over the flow that registered it (ws, wss, tcp, tls), and no other.
    Flow(FlowId),
    /// By datagrams from the socket of this listener to the binding's remote address.
    Udp {
        /// The listener's number.
        listener: u16,
    },
}

/// A contact of an address-of-record. `R` is handed back with it when it goes.
#[derive(Debug)]
pub struct Binding<R> {
    texts: Texts,
    pub(crate) remote: SocketAddr,
    pub(crate) way: BindingHop,
    pub(crate) expires: Instant,
    /// What was reserved for the record of this binding's end.
    pub room: R,
    pub(crate) cseq: u32,
    /// 0 is none: the smallest reg-id is 1.
    pub(crate) reg_id: u32,
    /// Above 1000 is none.
    pub(crate) q: u16,
    pub(crate) transport: Transport,
    pub(crate) socket_peer: SocketPeer,
}

/// The peer at the socket that a binding is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketPeer {
    /// The user agent itself: its REGISTER came directly.
    UserAgent,
    /// A proxy before us: there may be several user agents behind it.
    Proxy,
}

/// The q of a binding that named none.
pub(crate) const NO_Q: u16 = u16::MAX;

impl<R> Binding<R> {
    pub(crate) fn new(texts: Texts, facts: Facts, room: R) -> Self {
        let Facts { remote, way, expires, cseq, reg_id, q, transport, socket_peer } = facts;
        Self { texts, remote, way, expires, room, cseq, reg_id, q, transport, socket_peer }
    }

    /// Takes what a refresh says; the way stays.
    pub(crate) fn refresh(&mut self, texts: &[&[u8]; TEXTS], facts: &Facts) {
        if !self.texts.are(texts) {
            self.texts = Texts::new(texts);
        }
        (self.expires, self.cseq, self.reg_id, self.q) = (facts.expires, facts.cseq, facts.reg_id, facts.q);
        self.socket_peer = facts.socket_peer;
    }

    /// The address-of-record's key, `user@domain`.
    pub fn aor(&self) -> &str {
        self.texts.text(AOR)
    }

    /// The Contact URI, octet for octet as registered.
    pub fn contact(&self) -> &[u8] {
        self.texts.get(CONTACT)
    }

    /// `+sip.instance` without quotes and angle brackets (RFC 5626 §4.1).
    pub fn instance(&self) -> Option<&[u8]> {
        Some(self.texts.get(INSTANCE)).filter(|instance| !instance.is_empty())
    }

    /// `reg-id` (RFC 5626 §4.2); only beside an instance.
    pub fn reg_id(&self) -> Option<u32> {
        Some(self.reg_id).filter(|&id| id != 0)
    }

    /// The preference in thousandths; counts as 1000 when absent.
    pub fn q(&self) -> Option<u16> {
        Some(self.q).filter(|&q| q != NO_Q)
    }

    /// Call-ID of the REGISTER that made or last refreshed it.
    pub fn call_id(&self) -> &[u8] {
        self.texts.get(CALL_ID)
    }

    /// CSeq number of that REGISTER.
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// The Path values (RFC 3327), topmost first, separated by commas: fit for a Route header field.
    pub fn path(&self) -> Option<&[u8]> {
        Some(self.texts.get(PATH)).filter(|path| !path.is_empty())
    }

    /// The registering user agent's name of itself, cut to 128 bytes.
    pub fn user_agent(&self) -> Option<&str> {
        Some(self.texts.text(USER_AGENT)).filter(|agent| !agent.is_empty())
    }

    /// The identity that the user agent proved.
    pub fn identity(&self) -> Option<&str> {
        Some(self.texts.text(IDENTITY)).filter(|identity| !identity.is_empty())
    }

    /// Where the registration came from; over UDP, where requests go.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// How requests reach it.
    pub fn way(&self) -> BindingHop {
        self.way
    }

    /// The flow that owns it; none over UDP.
    pub fn flow(&self) -> Option<FlowId> {
        match self.way {
            BindingHop::Flow(flow) => Some(flow),
            BindingHop::Udp { .. } => None,
        }
    }

    /// What its REGISTER travelled by.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The peer at its socket. After a restart that counts as the user agent until the binding is refreshed,
    /// unless it has a Path.
    pub fn socket_peer(&self) -> SocketPeer {
        if self.path().is_some() { SocketPeer::Proxy } else { self.socket_peer }
    }

    /// When it ends if it is not refreshed.
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// Whether it is still to be used.
    pub(crate) fn is_live(&self, now: Instant) -> bool {
        self.expires > now
    }

    /// Seconds left, rounded up.
    pub fn seconds_left(&self, now: Instant) -> u32 {
        let left = self.expires.saturating_duration_since(now);
        u32::try_from(left.as_secs() + u64::from(left.subsec_nanos() > 0)).unwrap_or(u32::MAX)
    }

    /// As a 200 to REGISTER lists it.
    pub(crate) fn listed(&self, gruu: Gruu, now: Instant) -> ListedBinding<'_> {
        ListedBinding {
            contact: self.contact(),
            instance: self.instance(),
            reg_id: self.reg_id(),
            q: self.q(),
            expires: self.seconds_left(now),
            gruu: match gruu {
                Gruu::Off => None,
                Gruu::Public => Some(self.aor()),
            },
        }
    }

    /// Order of preference: as high a q first.
    pub(crate) fn preference(&self) -> u16 {
        self.q.min(1000)
    }
}

/// What a REGISTER says of a binding besides its texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) remote: SocketAddr,
    pub(crate) way: BindingHop,
    pub(crate) expires: Instant,
    pub(crate) cseq: u32,
    pub(crate) reg_id: u32,
    pub(crate) q: u16,
    pub(crate) transport: Transport,
    pub(crate) socket_peer: SocketPeer,
}

pub(crate) const AOR: usize = 0;
pub(crate) const CONTACT: usize = 1;
pub(crate) const INSTANCE: usize = 2;
pub(crate) const CALL_ID: usize = 3;
pub(crate) const USER_AGENT: usize = 4;
pub(crate) const IDENTITY: usize = 5;
pub(crate) const PATH: usize = 6;
pub(crate) const TEXTS: usize = 7;

/// All texts of a binding in one allocation of exactly their size.
#[derive(Debug)]
pub(crate) struct Texts {
    bytes: Box<[u8]>,
    /// Behind the last byte of each.
    ends: [u16; TEXTS],
}

impl Texts {
    /// The texts together must be shorter than 64 KiB, as the limits on a REGISTER's parts make sure.
    pub(crate) fn new(texts: &[&[u8]; TEXTS]) -> Self {
        let mut bytes = Vec::with_capacity(texts.iter().map(|text| text.len()).sum());
        let ends = texts.map(|text| {
            bytes.extend_from_slice(text);
            u16::try_from(bytes.len()).expect("every text is limited")
        });
        Self { bytes: bytes.into_boxed_slice(), ends }
    }

    fn are(&self, texts: &[&[u8]; TEXTS]) -> bool {
        (0..TEXTS).all(|which| self.get(which) == texts[which])
    }

    fn get(&self, which: usize) -> &[u8] {
        let start = if which == 0 { 0 } else { self.ends[which - 1] };
        &self.bytes[usize::from(start)..usize::from(self.ends[which])]
    }

    fn text(&self, which: usize) -> &str {
        std::str::from_utf8(self.get(which)).unwrap_or_default()
    }
}

/// Comma separated values on one line.
pub(crate) fn join<'a>(values: impl Iterator<Item = &'a [u8]>) -> SmallVec<[u8; 128]> {
    let mut line = SmallVec::new();
    for value in values {
        if !line.is_empty() {
            line.extend_from_slice(b", ");
        }
        line.extend(value.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    }
    line
}
