//! The extensions of REGISTER: which are understood (RFC 3261 §10.3 step 2), Path (RFC 3327), outbound (RFC
//! 5626), GRUU (RFC 5627).

use sip_message::{Contact, HeaderId, Message};

use crate::{Gruu, Policy, Refusal};

/// The option tags that are understood in a REGISTER, as the value of a Supported header field.
#[must_use]
pub const fn supported(gruu: Gruu) -> &'static str {
    match gruu {
        Gruu::Off => "path, outbound",
        Gruu::Public => "path, outbound, gruu",
    }
}

const PATH: &[u8] = b"path";
const OUTBOUND: &[u8] = b"outbound";
const GRUU: &[u8] = b"gruu";

/// The option tags of Require that are not understood, as the value of the Unsupported header field of a 420
/// (RFC 3261 §8.2.2.3); nothing if all are.
#[must_use]
pub fn unsupported(request: &Message<'_>, gruu: Gruu) -> Option<Vec<u8>> {
    let understood: &[&[u8]] = match gruu {
        Gruu::Off => &[PATH, OUTBOUND],
        Gruu::Public => &[PATH, OUTBOUND, GRUU],
    };
    let tags = request.option_tags(HeaderId::Require);
    listed(tags.filter(|tag| !understood.iter().any(|known| tag.eq_ignore_ascii_case(known))))
}

/// Which GRUUs the 200 lists: those that there are, for a user agent that says that it knows them (RFC 5627
/// §5.3).
#[must_use]
pub fn granted_gruu(request: &Message<'_>, policy: &Policy) -> Gruu {
    if knows(request, GRUU) { policy.gruu } else { Gruu::Off }
}

/// The value of the Path header field that a 200 returns (RFC 3327 §5.3): what the request had of it, for a
/// user agent that says that it knows Path. For another the Path is kept with the binding all the same, and
/// it does not hear of it.
#[must_use]
pub fn returned_path(request: &Message<'_>) -> Option<Vec<u8>> {
    if !knows(request, PATH) {
        return None;
    }
    listed(request.paths().map(|(value, _)| value.bytes))
}

/// Whether a REGISTER makes a registration over a flow in the sense of RFC 5626, and whose flow that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outbound {
    /// It does not: no `outbound` in Supported, or no contact with `+sip.instance` and `reg-id`.
    No,
    /// The user agent's to us.
    Direct,
    /// The user agent's to an edge proxy before us, which said so with `ob` in its Path.
    AtEdge,
}

impl Outbound {
    /// Reads it from a request (RFC 5626 §6).
    ///
    /// # Errors
    /// [`Refusal::FirstHop`]: there is a proxy before us, and the one next to the user agent keeps no flow.
    pub fn of(request: &Message<'_>) -> Result<Self, Refusal> {
        let over_flow = |contact: Contact<'_>| match contact {
            Contact::Addr(contact) => {
                contact.reg_id().is_some() && contact.instance().is_some_and(|instance| !instance.is_empty())
            }
            Contact::Star => false,
        };
        if !knows(request, OUTBOUND) || !request.contacts().any(|(_, contact)| contact.is_ok_and(over_flow)) {
            return Ok(Self::No);
        }
        if request.vias().nth(1).is_none() {
            return Ok(Self::Direct);
        }
        // Each proxy puts its Path in front, so the last is of the one that is next to the user agent.
        let nearest = request.paths().last().and_then(|(_, path)| path.ok()?.uri().ok());
        match nearest.and_then(|path| path.param(b"ob")) {
            Some(_) => Ok(Self::AtEdge),
            None => Err(Refusal::FirstHop),
        }
    }
}

fn knows(request: &Message<'_>, tag: &[u8]) -> bool {
    request.has_option_tag(HeaderId::Supported, tag) || request.has_option_tag(HeaderId::Require, tag)
}

/// The values with commas between them; nothing if there is none.
fn listed<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for value in values {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value);
    }
    (!out.is_empty()).then_some(out)
}
