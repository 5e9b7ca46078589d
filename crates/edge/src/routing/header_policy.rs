//! What of a message goes on to whom: what it says of its sender (RFC 3325), credentials, and proofs of ours.

use sip_message::{HeaderId, Message, Method, Rewrite, write_address_of_record};
use sip_proxy::Dialog;
use upstream::Hop;

use crate::routing::{Routing, flow_lookup::FlowLookup, sender::claimed};

/// Said of a caller by equipment that is older than RFC 3325; PBXs believe it.
const REMOTE_PARTY_ID: &[u8] = b"Remote-Party-ID";

impl<F: FlowLookup> Routing<'_, F> {
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
        let tables = &self.tables;
        self.strip_proofs(request, rewrite);
        if self.strip(request, (from, to), rewrite) == Stripped::Nothing {
            return;
        }
        if !tables.upstreams.knows(from) {
            self.keep_credentials(request, rewrite);
            if tables.upstreams.knows(to) && self.write_identity(request, from, dialog, text).is_some() {
                rewrite.append(HeaderId::PAssertedIdentity.name(), text);
            }
        }
    }

    /// Removes what proves to a registrar that a request is this server's own. Nothing that is forwarded keeps it, whoever sent it and
    /// wherever it goes: a server behind may forward what a client sent.
    pub(crate) fn strip_proofs<'m>(&self, message: &'m Message<'m>, rewrite: &mut Rewrite<'m>) {
        let upstreams = self.tables.upstreams;
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
        let upstreams = self.tables.upstreams;
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
            if self.tables.domains.asked_for(header.value) {
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
                let home = self.tables.domains.find(&claimed.host()?)?;
                claimed.address_of_record().filter(|_| !home.is_open())?
            }
            (Dialog::Within, _) => match from {
                Hop::Flow(number) => self.flows.identity(number)?.identity.to_string(),
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
