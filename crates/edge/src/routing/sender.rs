//! The sender of a request, and what it may do (RFC 3261 §22, RFC 3325).

use config::Outside;
use identity::{DomainRef, Proof, QuotaExceeded, brought};
use metrics::{Count, Metrics};
use sip_auth::Role;
use sip_message::{HeaderId, Host, Message, Method, NameAddr, Uri};
use sip_proxy::Answer;
use transport::Grant;
use upstream::Hop;

use crate::{
    call_table::Refused,
    routing::{
        Incoming, Proved, RequestState, Routing,
        flow_lookup::{FlowLookup, Known, SenderProof},
        tables::Tables,
    },
};

/// The sender of a request.
#[derive(Clone, Debug)]
pub(crate) enum Sender<'d> {
    /// A server behind us. It may speak for any user.
    Server,
    /// A user who has proved to be one of this domain.
    User {
        /// The user's domain.
        home: DomainRef<'d>,
        /// The user's name there, with escapes undone.
        name: Vec<u8>,
        /// Whether the user's token allows calls to the outside.
        outside: Grant,
    },
    /// A client that has proved nothing: a user of an open domain, or of no domain of ours.
    Unproved(Option<DomainRef<'d>>),
}

impl Sender<'_> {
    /// Whether the sender is a user of this domain. In an open domain its word is enough; a server behind
    /// always counts as one.
    pub(crate) fn is_at_home_in(&self, domain: DomainRef<'_>) -> bool {
        match self {
            Self::Server => true,
            Self::User { home, .. } | Self::Unproved(Some(home)) => domain.is(*home),
            Self::Unproved(None) => false,
        }
    }

    /// Whether the sender's requests may go to the outside: to the server behind a domain, for somebody who
    /// is not registered here.
    ///
    /// # Errors
    /// 403; the refusal is counted.
    pub(crate) fn may_call_outside(&self, domain: DomainRef<'_>, metrics: &Metrics) -> Result<(), Answer> {
        let may = match (self, domain.outside()) {
            (Self::Server, _) => true,
            (Self::Unproved(_), Outside::Everybody)
            | (Self::User { .. }, Outside::Users)
            | (Self::User { outside: Grant::Given, .. }, Outside::Claim(_)) => self.is_at_home_in(domain),
            (Self::User { name, .. }, Outside::Only(names)) => {
                self.is_at_home_in(domain) && names.iter().any(|one| one.as_bytes() == name)
            }
            (Self::Unproved(_), Outside::Users | Outside::Only(_) | Outside::Claim(_))
            | (Self::User { outside: Grant::NotGiven, .. }, Outside::Claim(_))
            | (Self::User { .. }, Outside::Everybody)
            | (_, Outside::Nobody) => false,
        };
        if may {
            return Ok(());
        }
        metrics.add(Count::OutsideRefused);
        Err(Answer::new(403, "Not Allowed To Call Outside"))
    }
}

/// The user that a request names as its sender: From. If From is anonymous (RFC 3323 §4.1), it is
/// P-Preferred-Identity (RFC 3325 §9.2).
pub(crate) fn claimed<'b>(request: &Message<'b>) -> Option<Uri<'b>> {
    let from = request.from().ok()?.uri().ok()?;
    if !from.host().is_some_and(|host| host.same(&Host::Name(b"anonymous.invalid"))) {
        return Some(from);
    }
    let preferred = request.values(HeaderId::PPreferredIdentity).next()?;
    NameAddr::parse(preferred.bytes).ok()?.uri().ok()
}

impl<'t, F: FlowLookup + SenderProof> Routing<'t, F> {
    /// The sender of a request, as far as earlier requests have proved it. None if this request must bring a
    /// proof of its own.
    pub(crate) fn known_sender(&self, incoming: Incoming<'_>) -> Option<Sender<'t>> {
        let (tables, Incoming { request, from, now }) = (&self.tables, incoming);
        if tables.upstreams.is_upstream(from) {
            return Some(Sender::Server);
        }
        let Some((claimed, home)) = self.home(request) else { return Some(Sender::Unproved(None)) };
        if home.is_open() {
            return Some(Sender::Unproved(Some(home)));
        }
        let aor = claimed.address_of_record()?;
        let name = claimed.unescaped_user().map(|name| name.to_vec()).unwrap_or_default();
        if let Some(Known { identity, outside, .. }) = self.known(from)
            && aor == identity.as_str()
        {
            return Some(Sender::User { home, name, outside });
        }
        let registered = home.registrar().is_some() && self.is_bound(&aor, from, now);
        registered.then_some(Sender::User { home, name, outside: Grant::NotGiven })
    }

    /// The user that a request names as its sender, if its domain is ours.
    fn home<'b>(&self, request: &Message<'b>) -> Option<(Uri<'b>, DomainRef<'t>)> {
        let claimed = claimed(request)?;
        Some((claimed, self.tables.domains.find(&claimed.host()?)?))
    }

    /// The user that a connection has proved to be.
    fn known(&self, from: Hop) -> Option<Known> {
        match from {
            Hop::Flow(number) => self.flows.identity(number),
            Hop::Udp { .. } | Hop::Peer { .. } => None,
        }
    }

    /// The sender of a request that is not sent along a route of ours. A To tag proves nothing.
    ///
    /// A user of a domain with passwords or tokens must have proved its identity on this flow or in this
    /// request. A user of a domain whose registrar is behind us must have registered there over this flow.
    ///
    /// # Errors
    /// The answer to a client that has not proved it. It is the same whether or not the user exists.
    pub(crate) fn sender(
        &self,
        incoming: Incoming<'_>,
        state: &mut RequestState,
    ) -> Result<Sender<'t>, Answer> {
        if let Some(sender) = self.known_sender(incoming) {
            return Ok(sender);
        }
        let Incoming { request, from, .. } = incoming;
        let Some((claimed, home)) = self.home(request) else { return Ok(Sender::Unproved(None)) };
        if home.registrar().is_some() {
            return Err(Answer::new(403, "Register First"));
        }
        let name = claimed.unescaped_user().map(|name| name.to_vec()).unwrap_or_default();
        let aor = claimed.address_of_record();
        let known = self.known(from);
        // A token or certificate vouches for its connection, but for another user.
        if home.is_by_token() && known.is_some() && brought(request).is_none() {
            return Err(Answer::new(403, "Not Your Address"));
        }
        // An ACK cannot be challenged. It repeats the credentials of its INVITE (RFC 3261 §22.1).
        if request.method() == Some(Method::Ack) {
            return Err(Answer::new(403, "Authentication Required"));
        }
        let proof = self.flows.prove(home, request, from, Role::Proxy)?;
        if proof != Proof::NotAsked {
            self.flows.authenticated(from);
        }
        let sender = match proof {
            Proof::User(user) if user.as_bytes() == name => {
                Sender::User { home, name, outside: Grant::NotGiven }
            }
            Proof::Vouched(vouched) if aor.as_deref() == Some(vouched.identity.as_str()) => {
                Sender::User { home, name, outside: vouched.outside }
            }
            Proof::NotAsked => Sender::Unproved(Some(home)),
            Proof::User(_) | Proof::Vouched(_) => return Err(Answer::new(403, "Not Your Address")),
        };
        if let (Sender::User { .. }, Some(aor)) = (&sender, &aor) {
            state.proved = Proved::Yes;
            self.flows.charge(from, aor).map_err(QuotaExceeded::answer)?;
        }
        Ok(sender)
    }

    /// The caller of a refused call: a server behind us, or a user who has proved its identity or is
    /// registered over this flow. None if it may be anybody.
    pub(crate) fn whose_call(&self, incoming: Incoming<'_>, proved: Proved) -> Option<Refused> {
        let Incoming { request: invite, from, now } = incoming;
        let known_sender = self.known_sender(incoming);
        if matches!(known_sender, Some(Sender::Server)) {
            return Some(Refused::Server(self.flows.address(from).ip().to_string()));
        }
        let aor = claimed(invite)?.address_of_record()?;
        let known = proved == Proved::Yes
            || matches!(known_sender, Some(Sender::User { .. }))
            || self.is_bound(&aor, from, now);
        known.then_some(Refused::User(aor))
    }

    /// The sender of a request for a user of a domain, if that sender may call there. A call takes one of the
    /// places of its user.
    ///
    /// # Errors
    /// The answer to a sender that may not, or whose user has as many calls as it may have.
    pub(crate) fn authorize(
        &self,
        incoming: Incoming<'_>,
        domain: DomainRef<'_>,
        state: &mut RequestState,
    ) -> Result<Sender<'t>, Answer> {
        let sender = self.sender(incoming, state)?;
        if !domain.is_open() && matches!(sender, Sender::Unproved(_)) {
            return Err(Answer::new(403, "Authentication Required"));
        }
        self.reserve_call_slot(incoming, &sender, state)?;
        Ok(sender)
    }

    /// Whether the sender may call users of the domain that a request is for, by what earlier requests have
    /// proved.
    pub(crate) fn is_authorized(&self, incoming: Incoming<'_>) -> bool {
        let host = incoming.request.request_uri().ok().and_then(|uri| uri.host());
        let open = host.and_then(|host| self.tables.domains.find(&host)).is_some_and(DomainRef::is_open);
        open || matches!(self.known_sender(incoming), Some(Sender::User { .. } | Sender::Server))
    }

    /// Refuses a request that begins something while its user sends too many messages. Requests within a
    /// dialog pass, so that calls can end.
    ///
    /// # Errors
    /// 503: its user sends more messages than it may.
    pub(crate) fn refuse_if_throttled(
        &self,
        request: &Message<'_>,
        state: &RequestState,
    ) -> Result<(), Answer> {
        match state.throttled {
            Some(too_much) if request.to().is_ok_and(|to| to.tag().is_none()) => Err(too_much.answer()),
            _ => Ok(()),
        }
    }

    /// Takes a place among the calls of its user, if the request begins a call.
    ///
    /// # Errors
    /// 503: the user has as many calls as it may have.
    pub(crate) fn reserve_call_slot(
        &self,
        Incoming { request, from, .. }: Incoming<'_>,
        sender: &Sender<'_>,
        state: &mut RequestState,
    ) -> Result<(), Answer> {
        let begins =
            request.method() == Some(Method::Invite) && request.to().is_ok_and(|to| to.tag().is_none());
        if !begins {
            return Ok(());
        }
        let user = match sender {
            Sender::Server => None,
            Sender::User { .. } => {
                let aor = claimed(request).and_then(|claimed| claimed.address_of_record());
                aor.and_then(|aor| self.flows.quota_holder(from, Some(&aor)))
            }
            Sender::Unproved(_) => self.flows.quota_holder(from, None),
        };
        let quotas = self.tables.quotas;
        state.call = user.map(|user| quotas.call(&user)).transpose().map_err(QuotaExceeded::answer)?;
        Ok(())
    }

    /// Whether the sender may send this request along a route of ours, with a To tag, if the call is not
    /// known here. A server behind may check no more than that tag before it calls a user. So a request
    /// that could begin something there needs the same rights as one without the tag.
    pub(crate) fn may_begin(&self, incoming: Incoming<'_>, to: Hop, state: &mut RequestState) -> bool {
        let begins = matches!(
            incoming.request.method(),
            Some(Method::Invite | Method::Message | Method::Subscribe | Method::Refer | Method::Publish)
        );
        !begins || !self.tables.upstreams.is_upstream(to) || self.may_send(incoming, to, state)
    }

    /// Whether the sender may send a request to a server behind, or to a phone, without a dialog that allows
    /// it. A server must be one behind the sender's own domain.
    pub(crate) fn may_send(&self, incoming: Incoming<'_>, to: Hop, state: &mut RequestState) -> bool {
        let Tables { upstreams, metrics, .. } = self.tables;
        match self.sender(incoming, state) {
            Ok(Sender::Server) => true,
            Ok(sender @ (Sender::User { home, .. } | Sender::Unproved(Some(home))))
                if upstreams.is_upstream(to) =>
            {
                let behind = home.backend().is_some_and(|upstream| upstreams.leads_to(upstream, to));
                behind && (home.registrar().is_some() || sender.may_call_outside(home, metrics).is_ok())
            }
            Ok(Sender::User { .. }) => true,
            Ok(Sender::Unproved(Some(_))) => self.is_of_open_domain(incoming, to),
            Ok(Sender::Unproved(None)) | Err(_) => false,
        }
    }

    /// Whether the user in To is one of an open domain, and registered over this hop.
    fn is_of_open_domain(&self, Incoming { request, now, .. }: Incoming<'_>, hop: Hop) -> bool {
        let Some(to) = request.to().ok().and_then(|to| to.uri().ok()) else { return false };
        let domain = to.host().and_then(|host| self.tables.domains.find(&host));
        domain.is_some_and(DomainRef::is_open)
            && to.address_of_record().is_some_and(|aor| self.is_bound(&aor, hop, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_in_from_may_say_it_to_us_alone() {
        let read = |from: &str, more: &str| {
            let text = format!(
                "INVITE sip:b@x SIP/2.0\r\nVia: SIP/2.0/WS a.invalid;branch=z9hG4bK1\r\nFrom: {from};tag=1\r\nTo: <sip:b@x>\r\n\
                 Call-ID: 1\r\nCSeq: 1 INVITE\r\n{more}Content-Length: 0\r\n\r\n"
            );
            let message = Message::parse(text.as_bytes()).unwrap();
            claimed(&message).map(|uri| String::from_utf8_lossy(uri.as_bytes()).into_owned())
        };
        let preferred = "P-Preferred-Identity: \"Ada\" <sip:ada@x>\r\n";
        let nobody = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
        assert_eq!(read(nobody, preferred).as_deref(), Some("sip:ada@x"));
        assert_eq!(read(nobody, ""), None);
        assert_eq!(read("<sip:eve@x>", preferred).as_deref(), Some("sip:eve@x"));
    }
}
