//! Which side of a dialog an INVITE with Replaces takes the place of (RFC 3891).

use sip_message::{HeaderId, Message, Uri};

use crate::{
    Calls, Hop, Side,
    call::{Dialog, Leg},
    key::key,
};

/// The user agent that has a dialog which an INVITE is to take the place of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced<H> {
    /// Its address-of-record.
    pub aor: String,
    /// The way to it; none while it is away.
    pub hop: Option<H>,
    /// Its Contact URI in that dialog.
    pub target: Box<[u8]>,
    /// Record-Routes of others between it and us, the one next to us first, comma separated; empty if there
    /// are none.
    pub routes: Box<[u8]>,
}

impl<H: Hop, R> Calls<H, R> {
    /// The user agent that an INVITE with Replaces is for, if its Request-URI means that one: by its Contact
    /// in that dialog, as transferors name it (RFC 5589 §7.1), which is no address that anybody else could be
    /// reached by if it is a browser's; or by its address-of-record. None if the table knows no such dialog.
    #[must_use]
    pub fn replaced(&self, invite: &Message<'_>) -> Option<Replaced<H>> {
        let replaces = Replaces::parse(invite.value(HeaderId::Replaces)?)?;
        let uri = invite.request_uri().ok()?;
        // Its own tag is the to-tag, whichever side it is.
        let sides = [
            (Side::Caller, replaces.to_tag, replaces.from_tag),
            (Side::Callee, replaces.from_tag, replaces.to_tag),
        ];
        sides.into_iter().find_map(|(side, caller, callee)| {
            let call = self.call(self.number(&key(replaces.call_id, caller))?)?;
            let dialog: &Dialog<H> = call.dialogs.iter().find(|dialog| *dialog.tag == *callee)?;
            let (leg, party): (&Leg<H>, _) = match side {
                Side::Caller => (&call.caller, call.caller()),
                Side::Callee => (&dialog.callee, call.callee()),
            };
            let target = call.target(dialog, side);
            let named = Uri::parse(target).is_ok_and(|target| target.same(&uri));
            let known = || uri.address_of_record().is_some_and(|aor| aor == party.aor.as_str());
            (named || known()).then(|| Replaced {
                aor: party.aor.to_string(),
                hop: leg.hop(),
                target: target.into(),
                routes: leg.routes.clone(),
            })
        })
    }
}

/// The value of a Replaces header.
struct Replaces<'m> {
    call_id: &'m [u8],
    to_tag: &'m [u8],
    from_tag: &'m [u8],
}

impl<'m> Replaces<'m> {
    fn parse(value: &'m [u8]) -> Option<Self> {
        let mut parts = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let call_id = parts.next()?;
        let (mut to_tag, mut from_tag) = (None, None);
        for part in parts {
            let Some(at) = part.iter().position(|&byte| byte == b'=') else { continue };
            let (name, tag) = (part[..at].trim_ascii_end(), part[at + 1..].trim_ascii_start());
            if name.eq_ignore_ascii_case(b"to-tag") {
                to_tag = Some(tag);
            } else if name.eq_ignore_ascii_case(b"from-tag") {
                from_tag = Some(tag);
            }
        }
        Some(Self { call_id, to_tag: to_tag?, from_tag: from_tag? })
    }
}
