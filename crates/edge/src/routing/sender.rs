//! Who a request comes from, what that lets them do, and what is told of it to others (RFC 3325).

use std::time::Instant;

use config::Outside;
use metrics::{Count, Metrics};
use sip_auth::Role;
use sip_message::{HeaderId, Host, Message, Method, NameAddr, Rewrite, Uri, write_address_of_record};
use sip_proxy::{Answer, Dialog, Environment as _};
use transport::Grant;

use crate::{
    accounts::TooMuch,
    admission::brought,
    attempt::Attempt,
    calls::Refused,
    domains::{DomainRef, Proof},
    hop::Hop,
    routing::environment::{Proved, World},
    shard::Known,
};

/// Said of a caller by equipment that is older than RFC 3325; PBXs believe it.
const REMOTE_PARTY_ID: &[u8] = b"Remote-Party-ID";

/// Who a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum Sender<'d> {
    /// A server behind us: it speaks for whom it will.
    Behind,
    /// A user of this domain, who has proved to be that.
    User {
        /// Where it is a user.
        home: DomainRef<'d>,
        /// Its name there, escapes undone.
        name: Vec<u8>,
        /// Whether its token lets it call to the outside.
        outside: Grant,
    },
    /// Anybody: of this domain, which asks nobody for a proof, or of none of ours.
    Anybody(Option<DomainRef<'d>>),
}

impl Sender<'_> {
    /// Whether this is a user of the domain, or says so where no proof is asked; or is a server behind us.
    pub(crate) fn is_at_home_in(&self, domain: DomainRef<'_>) -> bool {
        match self {
            Self::Behind => true,
            Self::User { home, .. } | Self::Anybody(Some(home)) => domain.is(*home),
            Self::Anybody(None) => false,
        }
    }

    /// Whether its requests may go to the outside: to the server behind a domain, for somebody who is not registered here.
    ///
    /// # Errors
    /// 403; the refusal is counted.
    pub(crate) fn may_call_outside(&self, domain: DomainRef<'_>, metrics: &Metrics) -> Result<(), Answer> {
        let may = match (self, domain.outside()) {
            (Self::Behind, _) => true,
            (Self::Anybody(_), Outside::Everybody)
            | (Self::User { .. }, Outside::Users)
            | (Self::User { outside: Grant::Given, .. }, Outside::Claim(_)) => self.is_at_home_in(domain),
            (Self::User { name, .. }, Outside::Only(names)) => {
                self.is_at_home_in(domain) && names.iter().any(|one| one.as_bytes() == name)
            }
            (Self::Anybody(_), Outside::Users | Outside::Only(_) | Outside::Claim(_))
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

/// Whom a request says that it comes from: From, or where that tells nobody (RFC 3323 §4.1), P-Preferred-Identity
/// (RFC 3325 §9.2).
fn claimed<'b>(request: &Message<'b>) -> Option<Uri<'b>> {
    let from = request.from().ok()?.uri().ok()?;
    if !from.host().is_some_and(|host| host.same(&Host::Name(b"anonymous.invalid"))) {
        return Some(from);
    }
    let preferred = request.values(HeaderId::PPreferredIdentity).next()?;
    NameAddr::parse(preferred.bytes).ok()?.uri().ok()
}

impl World<'_> {
    /// Who a request comes from, as far as that was proved before it came; none if it has a proof of its own to bring.
    pub(crate) fn standing(&self, request: &Message<'_>, from: Hop, now: Instant) -> Option<Sender<'_>> {
        let shared = &*self.shard.shared;
        if shared.upstreams.knows(from) {
            return Some(Sender::Behind);
        }
        let Some((claimed, home)) = self.home(request) else { return Some(Sender::Anybody(None)) };
        if home.is_open() {
            return Some(Sender::Anybody(Some(home)));
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

    /// Whom a request says that it comes from, if that is a user of a domain of ours.
    fn home<'b>(&self, request: &Message<'b>) -> Option<(Uri<'b>, DomainRef<'_>)> {
        let claimed = claimed(request)?;
        Some((claimed, self.shard.shared.domains.find(&claimed.host()?)?))
    }

    /// Who has proved to be somebody over a connection.
    fn known(&self, from: Hop) -> Option<Known> {
        match from {
            Hop::Flow(number) => self.shard.known(number),
            Hop::Udp { .. } | Hop::Peer { .. } => None,
        }
    }

    /// Who a request comes from that is not sent along a route of ours. A To tag proves nothing.
    ///
    /// A user of a domain with passwords or tokens must have proved to be that user, on this flow or in this request; one of
    /// a domain whose registrar is behind us must have registered there over this way.
    ///
    /// # Errors
    /// What to answer to one who has not proved it: the same, whether there is such a user or not.
    pub(crate) fn sender(
        &self,
        request: &Message<'_>,
        from: Hop,
        now: Instant,
    ) -> Result<Sender<'_>, Answer> {
        if let Some(sender) = self.standing(request, from, now) {
            return Ok(sender);
        }
        let shared = &*self.shard.shared;
        let Some((claimed, home)) = self.home(request) else { return Ok(Sender::Anybody(None)) };
        if home.registrar().is_some() {
            return Err(Answer::new(403, "Register First"));
        }
        let name = claimed.unescaped_user().map(|name| name.to_vec()).unwrap_or_default();
        let aor = claimed.address_of_record();
        let known = self.known(from);
        // Its connection was vouched for: for somebody else.
        if home.is_by_token() && known.is_some() && brought(request).is_none() {
            return Err(Answer::new(403, "Not Your Address"));
        }
        // It cannot be challenged, and repeats the credentials of its INVITE (RFC 3261 §22.1).
        if request.method() == Some(Method::Ack) {
            return Err(Answer::new(403, "Strangers Are Not Let In"));
        }
        let attempt = Attempt::new(self.shard, from);
        let proof = home.prove(request, Role::Proxy, rand::random(), &shared.metrics, &attempt)?;
        if proof != Proof::NotAsked {
            self.shard.proved(from);
        }
        let sender = match proof {
            Proof::User(user) if user.as_bytes() == name => {
                Sender::User { home, name, outside: Grant::NotGiven }
            }
            Proof::Vouched(vouched) if aor.as_deref() == Some(vouched.identity.as_str()) => {
                Sender::User { home, name, outside: vouched.outside }
            }
            Proof::NotAsked => Sender::Anybody(Some(home)),
            Proof::User(_) | Proof::Vouched(_) => return Err(Answer::new(403, "Not Your Address")),
        };
        if let (Sender::User { .. }, Some(aor)) = (&sender, &aor) {
            self.proved.set(Proved::Yes);
            self.shard.speaks_for(from, aor).map_err(TooMuch::answer)?;
        }
        Ok(sender)
    }

    /// Whose call it is that was refused: a server's behind us, or that of a user who has proved to be it or is registered over this way.
    /// None if it may be anybody's.
    pub(crate) fn whose_call(&self, invite: &Message<'_>, from: Hop, now: Instant) -> Option<Refused> {
        let standing = self.standing(invite, from, now);
        if matches!(standing, Some(Sender::Behind)) {
            return Some(Refused::Server(self.address(from).ip().to_string()));
        }
        let aor = claimed(invite)?.address_of_record()?;
        let known = self.proved.get() == Proved::Yes
            || matches!(standing, Some(Sender::User { .. }))
            || self.is_bound(&aor, from, now);
        known.then_some(Refused::User(aor))
    }

    /// Who sends a request for a user of a domain, if he may.
    pub(crate) fn let_in(
        &self,
        request: &Message<'_>,
        from: Hop,
        domain: DomainRef<'_>,
        now: Instant,
    ) -> Result<Sender<'_>, Answer> {
        let sender = self.sender(request, from, now)?;
        if !domain.is_open() && matches!(sender, Sender::Anybody(_)) {
            return Err(Answer::new(403, "Strangers Are Not Let In"));
        }
        self.take_place(request, from, &sender)?;
        Ok(sender)
    }

    /// Whether somebody is let in to the domain that a request is for, by what was proved before it came.
    pub(crate) fn is_let_in(&self, request: &Message<'_>, from: Hop, now: Instant) -> bool {
        let host = request.request_uri().ok().and_then(|uri| uri.host());
        let open =
            host.and_then(|host| self.shard.shared.domains.find(&host)).is_some_and(DomainRef::is_open);
        open || matches!(self.standing(request, from, now), Some(Sender::User { .. } | Sender::Behind))
    }

    /// Whether a request may begin something now. What belongs to something that is may go on, so that it can end.
    pub(crate) fn begins(&self, request: &Message<'_>) -> Result<(), Answer> {
        match self.hasty {
            Some(too_much) if request.to().is_ok_and(|to| to.tag().is_none()) => Err(too_much.answer()),
            _ => Ok(()),
        }
    }

    /// A request that begins a call has a place among those of its user.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn take_place(
        &self,
        request: &Message<'_>,
        from: Hop,
        sender: &Sender<'_>,
    ) -> Result<(), Answer> {
        let begins =
            request.method() == Some(Method::Invite) && request.to().is_ok_and(|to| to.tag().is_none());
        if !begins {
            return Ok(());
        }
        let user = match sender {
            Sender::Behind => None,
            Sender::User { .. } => {
                let aor = claimed(request).and_then(|claimed| claimed.address_of_record());
                aor.and_then(|aor| self.shard.pays(from, Some(&aor)))
            }
            Sender::Anybody(_) => self.shard.pays(from, None),
        };
        let accounts = &self.shard.shared.door.accounts;
        let call = user.map(|user| accounts.call(&user)).transpose().map_err(TooMuch::answer)?;
        self.call.set(call);
        Ok(())
    }

    /// Whether somebody may send a request along a route of ours that says that it belongs to a dialog, which is no call that is
    /// known here. A server behind may ask no more than that tag before it calls anybody: what could begin something there needs
    /// what it would need without the tag.
    pub(crate) fn may_begin(&self, request: &Message<'_>, from: Hop, to: Hop) -> bool {
        let shared = &*self.shard.shared;
        let begins = matches!(
            request.method(),
            Some(Method::Invite | Method::Message | Method::Subscribe | Method::Refer | Method::Publish)
        );
        !begins || !shared.upstreams.knows(to) || self.may_send(request, from, to)
    }

    /// Whether somebody may send a request to a server behind, or to a phone, that no dialog gives a right to.
    pub(crate) fn may_send(&self, request: &Message<'_>, from: Hop, to: Hop) -> bool {
        let shared = &self.shard.shared;
        match self.sender(request, from, Instant::now()) {
            Ok(Sender::Behind) => true,
            Ok(sender @ (Sender::User { home, .. } | Sender::Anybody(Some(home)))) => {
                !shared.upstreams.knows(to)
                    || home.registrar().is_some()
                    || sender.may_call_outside(home, &shared.metrics).is_ok()
            }
            Ok(Sender::Anybody(None)) | Err(_) => false,
        }
    }

    /// Takes out what the sender says of itself that only servers may say, and credentials that were meant for us; tells a
    /// server behind us whose request it is.
    pub(crate) fn amend<'m>(
        &self,
        request: &'m Message<'m>,
        (from, to): (Hop, Hop),
        dialog: Dialog,
        text: &'m mut Vec<u8>,
        rewrite: &mut Rewrite<'m>,
    ) {
        let shared = &*self.shard.shared;
        self.strip_proofs(request, rewrite);
        if self.strip(request, (from, to), rewrite) == Stripped::Nothing {
            return;
        }
        if !shared.upstreams.knows(from) {
            self.keep_credentials(request, rewrite);
            if shared.upstreams.knows(to) && self.write_identity(request, from, dialog, text).is_some() {
                rewrite.append(HeaderId::PAssertedIdentity.name(), text);
            }
        }
    }

    /// Removes what proves to a registrar that a request is this server's own. Nothing that is forwarded keeps it, whoever sent it and
    /// wherever it goes: a server behind may forward what a client sent.
    pub(crate) fn strip_proofs<'m>(&self, message: &'m Message<'m>, rewrite: &mut Rewrite<'m>) {
        let upstreams = &self.shard.shared.upstreams;
        if upstreams.has_proofs() {
            for header in message.all(HeaderId::Other).filter(|header| upstreams.proves_ours(header.name)) {
                rewrite.remove_header(&header);
            }
        }
    }

    /// Takes out what only servers that trust each other may say of a user.
    pub(crate) fn strip<'m>(
        &self,
        message: &'m Message<'m>,
        (from, to): (Hop, Hop),
        rewrite: &mut Rewrite<'m>,
    ) -> Stripped {
        let upstreams = &self.shard.shared.upstreams;
        let (from, to) = (upstreams.knows(from), upstreams.knows(to));
        if from && to {
            return Stripped::Nothing;
        }
        rewrite.remove(HeaderId::PAssertedIdentity);
        rewrite.remove(HeaderId::PPreferredIdentity);
        // From one user to another nobody believes it.
        if from || to {
            for header in message.all(HeaderId::Other) {
                if header.name.eq_ignore_ascii_case(REMOTE_PARTY_ID) {
                    rewrite.remove_header(&header);
                }
            }
        }
        Stripped::Identities
    }

    /// Whoever has credentials that were made for us could try passwords with them, or be us with a token.
    fn keep_credentials<'m>(&self, request: &'m Message<'m>, rewrite: &mut Rewrite<'m>) {
        for header in request.all(HeaderId::ProxyAuthorization).chain(request.all(HeaderId::Authorization)) {
            if self.shard.shared.domains.asked_for(header.value) {
                rewrite.remove_header(&header);
            }
        }
    }

    /// Appends whose request this is, if that is proved: outside of a dialog it was before the request came this far, in
    /// [`sender`](Self::sender).
    fn write_identity(
        &self,
        request: &Message<'_>,
        from: Hop,
        dialog: Dialog,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let aor = match (dialog, request.method()) {
            // Its registrar asks for a proof of its own.
            (_, Some(Method::Register)) => return None,
            (Dialog::Outside, _) => {
                let claimed = claimed(request)?;
                let home = self.shard.shared.domains.find(&claimed.host()?)?;
                claimed.address_of_record().filter(|_| !home.is_open())?
            }
            (Dialog::Within, _) => match from {
                Hop::Flow(number) => self.shard.known(number)?.identity.to_string(),
                Hop::Udp { .. } | Hop::Peer { .. } => return None,
            },
        };
        out.push(b'<');
        write_address_of_record(&aor, out)?;
        out.push(b'>');
        Some(())
    }
}

/// What was taken out of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stripped {
    /// It goes from one server to another.
    Nothing,
    /// What there was of asserted and preferred identities.
    Identities,
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
