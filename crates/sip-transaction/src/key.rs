//! What makes two messages belong to one transaction (RFC 3261 §17.1.3 and §17.2.3).
//!
//! Server keys are 128 bits of keyed SipHash over the matching facts: small, of one size, made without
//! allocation, and nobody without the secret can make two of them meet. Client keys are numbers of our own.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::{Hash, Hasher};

/// The branch of a Via made by an RFC 3261 element starts with this.
const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// Names one server transaction: what all repeats of its request have in common.
///
/// The first half is a hash of all but the method, the second one of the method too. A CANCEL does not name
/// the method of what it cancels, so it is looked up by the first half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerKey(pub(crate) [u64; 2]);

/// Which of the two client machines a request or response belongs to, by the method in CSeq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodClass {
    /// INVITE.
    Invite,
    /// Everything else, ACK apart (which has no client transaction). A CANCEL has the branch of the INVITE it
    /// cancels and differs from it by this class.
    NonInvite,
}

/// Names one client transaction: the branch number we put in our Via, and the class of the method in CSeq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientKey {
    /// The number in the branch we made. A number that is hard to guess keeps unauthenticated clients from
    /// forging responses.
    pub branch: u64,
    /// Class of the method in CSeq.
    pub class: MethodClass,
}

impl Hash for ClientKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let class = match self.class {
            MethodClass::Invite => 0,
            MethodClass::NonInvite => 1 << 63,
        };
        state.write_u64(self.branch ^ class);
    }
}

/// What a received request is matched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKey {
    /// An INVITE.
    Invite(ServerKey),
    /// An ACK.
    Ack {
        /// The INVITE it may belong to.
        invite: ServerKey,
        /// RFC 2543 matching only: the same INVITE if it had no To tag yet, as the ACK carries the
        /// response's.
        before_tag: Option<ServerKey>,
    },
    /// A CANCEL. A request of another method that has its branch shares the first half of these keys.
    Cancel {
        /// Its own transaction.
        own: ServerKey,
        /// The INVITE it cancels.
        invite: ServerKey,
    },
    /// Any other method.
    Other(ServerKey),
}

/// The facts RFC 2543 elements are matched by, for requests whose branch lacks the magic cookie.
#[derive(Clone, Copy, Debug)]
pub struct LegacyFacts<'a> {
    /// Method of the request line, as received.
    pub method: &'a [u8],
    /// Request-URI, as received.
    pub request_uri: &'a [u8],
    /// `tag` of To; `None` where there is none.
    pub to_tag: Option<&'a [u8]>,
    /// `tag` of From; `None` where there is none, as RFC 2543 allowed.
    pub from_tag: Option<&'a [u8]>,
    /// Call-ID, as received.
    pub call_id: &'a [u8],
    /// Number in CSeq.
    pub cseq: u32,
    /// Value of the topmost Via, as received.
    pub top_via: &'a [u8],
}

/// Makes [`RequestKey`]s. One for each [`Transactions`](crate::Transactions), or one shared by all shards.
#[derive(Clone)]
pub struct KeyMaker {
    seeded: SipHasher13,
}

impl std::fmt::Debug for KeyMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyMaker(secret)")
    }
}

impl KeyMaker {
    /// `secret` should be random and change with every run of the process.
    pub fn new(secret: [u8; 16]) -> Self {
        KeyMaker { seeded: SipHasher13::new_with_key(&secret) }
    }

    /// The key of a request by method, branch and sent-by of its topmost Via.
    ///
    /// `None` when the branch does not start with the magic cookie (in any case of letters) or holds nothing
    /// after it: then use [`legacy`](Self::legacy). Method and branch are compared byte for byte, the host
    /// without regard to case. A sent-by without port differs from one with port 5060; a peer writes it the
    /// same way every time.
    pub fn request(
        &self,
        method: &[u8],
        branch: &[u8],
        host: &[u8],
        port: Option<u16>,
    ) -> Option<RequestKey> {
        let (cookie, rest) = branch.split_at_checked(MAGIC_COOKIE.len())?;
        if !cookie.eq_ignore_ascii_case(MAGIC_COOKIE) || rest.is_empty() {
            return None;
        }
        let mut base = self.seeded;
        base.write_u8(1);
        write_part(&mut base, rest);
        write_folded(&mut base, host);
        // 0 is no port anyone sends from, so it can stand for "none".
        base.write_u16(port.unwrap_or(0));
        let of = |method: &[u8]| finish(base, method, None);
        Some(match method {
            b"INVITE" => RequestKey::Invite(of(b"INVITE")),
            b"ACK" => RequestKey::Ack { invite: of(b"INVITE"), before_tag: None },
            b"CANCEL" => RequestKey::Cancel { own: of(b"CANCEL"), invite: of(b"INVITE") },
            other => RequestKey::Other(of(other)),
        })
    }

    /// The key of a request of an RFC 2543 element.
    pub fn legacy(&self, facts: &LegacyFacts<'_>) -> RequestKey {
        let mut base = self.seeded;
        base.write_u8(2);
        write_part(&mut base, facts.request_uri);
        write_optional(&mut base, facts.from_tag);
        write_part(&mut base, facts.call_id);
        base.write_u32(facts.cseq);
        write_part(&mut base, facts.top_via);
        let of = |method: &[u8], to_tag: Option<&[u8]>| finish(base, method, Some(to_tag));
        match facts.method {
            b"INVITE" => RequestKey::Invite(of(b"INVITE", facts.to_tag)),
            b"ACK" => RequestKey::Ack {
                invite: of(b"INVITE", facts.to_tag),
                before_tag: facts.to_tag.map(|_| of(b"INVITE", None)),
            },
            b"CANCEL" => {
                RequestKey::Cancel { own: of(b"CANCEL", facts.to_tag), invite: of(b"INVITE", facts.to_tag) }
            }
            other => RequestKey::Other(of(other, facts.to_tag)),
        }
    }
}

fn finish(mut hasher: SipHasher13, method: &[u8], to_tag: Option<Option<&[u8]>>) -> ServerKey {
    let without_method = hasher.finish128().h1;
    write_part(&mut hasher, method);
    if let Some(tag) = to_tag {
        write_optional(&mut hasher, tag);
    }
    ServerKey([without_method, hasher.finish128().h2])
}

/// The length goes first, so that no two lists of parts give the same bytes.
fn write_part(hasher: &mut SipHasher13, part: &[u8]) {
    hasher.write_usize(part.len());
    hasher.write(part);
}

fn write_optional(hasher: &mut SipHasher13, part: Option<&[u8]>) {
    match part {
        None => hasher.write_u8(0),
        Some(part) => {
            hasher.write_u8(1);
            write_part(hasher, part);
        }
    }
}

fn write_folded(hasher: &mut SipHasher13, part: &[u8]) {
    hasher.write_usize(part.len());
    let mut folded = [0; 32];
    for chunk in part.chunks(folded.len()) {
        let folded = &mut folded[..chunk.len()];
        folded.copy_from_slice(chunk);
        folded.make_ascii_lowercase();
        hasher.write(folded);
    }
}

#[cfg(test)]
mod tests;
