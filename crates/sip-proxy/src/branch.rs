//! Branches in Vias of this proxy. A branch names the shard and the transaction, and holds what the request
//! looked like, so that a loop is seen (RFC 3261 §16.6 step 8).

use std::{hash::Hasher as _, net::IpAddr};

use sip_message::{CSeq, HeaderId, Message, Via};
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

/// Every branch of ours starts with this.
pub(crate) const PREFIX: &[u8] = b"z9hG4bKsw";

/// Hexadecimal digits of one number.
pub(crate) const DIGITS: usize = 16;

/// Makes and reads branches of one shard. The secret is shared by all shards of a process.
#[derive(Clone)]
pub struct Branches {
    seeded: SipHasher13,
    shard: u8,
}

impl std::fmt::Debug for Branches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Branches").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl Branches {
    /// `secret` should be random and change with every run of the process.
    #[must_use]
    pub fn new(secret: [u8; 16], shard: u8) -> Self {
        Self { seeded: SipHasher13::new_with_key(&secret), shard }
    }

    /// A branch number of this shard out of a random one.
    pub(crate) fn number(&self, random: u64) -> u64 {
        random & !0xff | u64::from(self.shard)
    }

    /// The branch number for a request that is forwarded without a transaction: the same for each repeat
    /// (RFC 3261 §16.11).
    pub(crate) fn stateless(&self, request: &Message<'_>) -> u64 {
        let mut hasher = self.seeded;
        if let Some(via) = request.values(HeaderId::Via).next() {
            hasher.write(via.bytes);
        }
        self.number(hasher.finish())
    }

    /// A To tag for an answer without a transaction: the same for each repeat (RFC 3261 §8.2.7).
    pub(crate) fn tag(&self, request: &Message<'_>) -> [u8; DIGITS] {
        let mut hasher = self.seeded;
        hasher.write_u8(b't');
        for id in [HeaderId::Via, HeaderId::CallId, HeaderId::From] {
            hasher.write(request.values(id).next().map_or(b"", |value| value.bytes));
        }
        digits(hasher.finish())
    }

    /// Whether the To tag of this ACK is the one that [`Branches::tag`] made for its INVITE.
    pub(crate) fn is_for_own_answer(&self, ack: &Message<'_>) -> bool {
        let to = ack.to();
        let tag = to.as_ref().ok().and_then(|to| to.tag());
        tag.is_some_and(|tag| tag.len() == DIGITS && tag == self.tag(ack))
    }

    /// What may not be the same when a request comes by again (RFC 3261 §16.6 step 8): all that decides where
    /// it goes, the side it came from included. Not the port there: each connection has another.
    pub(crate) fn loop_mark(&self, request: &Message<'_>, source: IpAddr) -> u64 {
        let mut hasher = self.seeded;
        match source {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher.write(request.request_uri_bytes().unwrap_or_default());
        for id in [HeaderId::From, HeaderId::To, HeaderId::CallId, HeaderId::Route, HeaderId::ProxyRequire] {
            hasher.write_u8(0);
            for header in request.all(id) {
                hasher.write(header.value);
            }
        }
        hasher.write_u32(request.cseq().map_or(0, |cseq| cseq.number));
        hasher.finish()
    }

    /// What a response has to repeat of its request beside our Via (RFC 3261 §8.2.6.2): number and method of
    /// CSeq (§17.1.3), Call-ID, the tag of From, and the branch of the Via below ours (`sender`), in any case
    /// of letters. To is not among it: the answer brings its tag.
    ///
    /// Call-ID and From tag are in it because whatever follows dialogs goes by them: an answer with those of
    /// another call would be taken for that call's. The branch is, because the sender finds its transaction
    /// by it: an answer with another one would be lost, and end ours.
    pub(crate) fn echo(&self, message: &Message<'_>, cseq: &CSeq<'_>, sender: Option<&Via<'_>>) -> u64 {
        let method = cseq.method.as_bytes();
        let tag = message.from_tag().unwrap_or_default();
        let call_id = message.call_id().unwrap_or_default();
        let branch = sender.map(|via| via.branch().unwrap_or_default());
        let length = |part: &[u8]| part.len() as u64 & 0xffff;
        // The lengths first, so that no two lists of parts give the same bytes.
        let lengths = length(method) | length(tag) << 16 | length(call_id) << 32;
        let mut parts: SmallVec<[u8; 192]> = SmallVec::new();
        parts.extend_from_slice(&lengths.to_le_bytes());
        parts.extend_from_slice(&cseq.number.to_le_bytes());
        parts.push(u8::from(branch.is_some()));
        for part in [method, tag, call_id, branch.unwrap_or_default()] {
            parts.extend_from_slice(part);
        }
        let folded = parts.len() - branch.map_or(0, <[u8]>::len);
        parts[folded..].make_ascii_lowercase();
        let mut hasher = self.seeded;
        hasher.write(&parts);
        hasher.finish()
    }

    /// The same for a request of our own, which has no Via but ours.
    pub(crate) fn echo_of_own(&self, request: &Message<'_>) -> u64 {
        request.cseq().map_or(0, |cseq| self.echo(request, &cseq, None))
    }

    /// Whether one of our Vias in it says that the request was here before in the same form.
    pub(crate) fn has_looped(&self, request: &Message<'_>, source: IpAddr) -> bool {
        let mut own = None;
        request
            .values(HeaderId::Via)
            // Nearly no Via is ours, and most are ruled out by a glance.
            .filter(|value| has_prefix(value.bytes))
            .filter_map(|value| parse(Via::parse(value.bytes).ok()?.branch()?))
            .any(|(_, mark)| mark == *own.get_or_insert_with(|| self.loop_mark(request, source)))
    }

    /// Appends `;branch=…`.
    pub(crate) fn write(&self, number: u64, loop_mark: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b";branch=");
        out.extend_from_slice(PREFIX);
        out.extend_from_slice(&digits(number));
        out.extend_from_slice(&digits(loop_mark));
    }
}

/// The number in the branch of a Via, if that is one of ours.
pub(crate) fn number_of(via: &Via<'_>) -> Option<u64> {
    parse(via.branch()?).map(|(number, _)| number)
}

/// The loop mark of requests that begin here.
pub(crate) const BEGINS_HERE: u64 = 0;

/// The shard whose proxy sent the request that this is a response to; none if it is not one of ours.
#[must_use]
pub fn shard_of(response: &Message<'_>) -> Option<u8> {
    number_of(&response.via_top().ok()?).map(|number| (number & 0xff) as u8)
}

/// Reads a branch in any case of letters: it is a token, and an element on the way may write those otherwise
/// (RFC 3261 §7.3.1). In ours case says nothing.
pub(crate) fn parse(branch: &[u8]) -> Option<(u64, u64)> {
    let (prefix, rest) = branch.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    let (number, mark) = rest.split_at_checked(DIGITS)?;
    Some((hex(number)?, hex(mark)?))
}

/// Whether a parameter in this Via begins like a branch of ours.
fn has_prefix(via: &[u8]) -> bool {
    memchr::memchr_iter(b'=', via).any(|at| {
        let value = via.get(at + 1..).map(|value| value.trim_ascii_start());
        value
            .and_then(|value| value.get(..PREFIX.len()))
            .is_some_and(|value| value.eq_ignore_ascii_case(PREFIX))
    })
}

fn hex(digits: &[u8]) -> Option<u64> {
    if digits.len() != DIGITS {
        return None;
    }
    digits.iter().try_fold(0, |number, &digit| {
        let value = (digit as char).to_digit(16)?;
        Some(number << 4 | u64::from(value))
    })
}

/// A number as hexadecimal digits.
fn digits(number: u64) -> [u8; DIGITS] {
    const ALPHABET: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|at| ALPHABET[(number >> (4 * (DIGITS - 1 - at)) & 15) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_reads_back_and_names_its_shard() {
        let branches = Branches::new([7; 16], 3);
        let number = branches.number(0x0123_4567_89ab_cdef);
        let mut out = Vec::new();
        branches.write(number, 42, &mut out);
        let branch = out.strip_prefix(b";branch=").unwrap();
        assert_eq!(parse(branch), Some((number, 42)));
        assert_eq!(number & 0xff, 3);
        assert_eq!(parse(b"z9hG4bKsw12"), None);
        assert_eq!(parse(&branch[..branch.len() - 1]), None);
        assert_eq!(parse(b"z9hG4bK776asdhds"), None);
        for other in [branch.to_ascii_uppercase(), branch.to_ascii_lowercase()] {
            assert_eq!(parse(&other), Some((number, 42)), "{}", String::from_utf8_lossy(&other));
            assert!(has_prefix(&[b"SIP/2.0/UDP a;rport;BRANCH = ", &other[..]].concat()));
        }
        assert!(!has_prefix(b"SIP/2.0/UDP a;branch=z9hG4bK776asdhds;x=z9hG4bKs"));
    }
}
