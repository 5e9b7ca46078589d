//! Which header fields are forwarded to which peers: identities (RFC 3325), credentials, and the field by
//! which registrars recognise this server's own requests.

use sip_message::{HeaderId, Message, Method, Rewrite, write_address_of_record};
use sip_proxy::Dialog;
use upstream::Hop;

use crate::routing::{Routing, flow_lookup::FlowLookup, sender::claimed};

/// Equipment that is older than RFC 3325 names the caller in it, and PBXs believe it.
const REMOTE_PARTY_ID: &[u8] = b"Remote-Party-ID";

impl<F: FlowLookup> Routing<'_, F> {
    /// Removes identity headers that only servers may set, and credentials that were meant for us. Adds the
    /// proved identity of the sender for a server behind us.
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
        if !tables.upstreams.is_upstream(from) {
            self.keep_credentials(request, rewrite);
            if tables.upstreams.is_upstream(to) && self.write_identity(request, from, dialog, text).is_some()
            {
                rewrite.append(HeaderId::PAssertedIdentity.name(), text);
            }
        }
    }

    /// Removes the field by which a registrar recognises this server's own requests. No forwarded message
    /// keeps it: a server behind may forward what a client sent.
    pub(crate) fn strip_proofs<'m>(&self, message: &'m Message<'m>, rewrite: &mut Rewrite<'m>) {
        let upstreams = self.tables.upstreams;
        if upstreams.has_proofs() {
            for header in message.all(HeaderId::Other).filter(|header| upstreams.proves_ours(header.name)) {
                rewrite.remove_header(&header);
            }
        }
    }

    /// Removes identity headers that only servers that trust each other may set.
    pub(crate) fn strip<'m>(
        &self,
        message: &'m Message<'m>,
        (from, to): (Hop, Hop),
        rewrite: &mut Rewrite<'m>,
    ) -> Stripped {
        let upstreams = self.tables.upstreams;
        let (from, to) = (upstreams.is_upstream(from), upstreams.is_upstream(to));
        if from && to {
            return Stripped::Nothing;
        }
        rewrite.remove(HeaderId::PAssertedIdentity);
        rewrite.remove(HeaderId::PPreferredIdentity);
        // Between users nobody believes it.
        if from || to {
            for header in message.all(HeaderId::Other) {
                if header.name.eq_ignore_ascii_case(REMOTE_PARTY_ID) {
                    rewrite.remove_header(&header);
                }
            }
        }
        Stripped::Identities
    }

    /// Removes credentials that were made for us. Another element could try passwords with them, or use a
    /// token as its own.
    fn keep_credentials<'m>(&self, request: &'m Message<'m>, rewrite: &mut Rewrite<'m>) {
        for header in request.all(HeaderId::ProxyAuthorization).chain(request.all(HeaderId::Authorization)) {
            if self.tables.domains.asked_for(header.value) {
                rewrite.remove_header(&header);
            }
        }
    }

    /// Appends the identity of the sender, if it is proved. Outside of a dialog [`sender`](Self::sender) has
    /// proved it before the request came this far.
    fn write_identity(
        &self,
        request: &Message<'_>,
        from: Hop,
        dialog: Dialog,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let aor = match (dialog, request.method()) {
            // The registrar asks for a proof of its own.
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

/// Header fields that were removed from a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stripped {
    /// Nothing: the message goes from one server to another.
    Nothing,
    /// Asserted and preferred identities.
    Identities,
}
