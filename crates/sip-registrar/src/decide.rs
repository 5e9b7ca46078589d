//! From a REGISTER and what is there to the changes to make.

use sip_message::{Message, Uri};
use smallvec::SmallVec;

use crate::contact_request::{ContactRequests, check_path, order};
use crate::{ContactRequest, Policy, Refusal};

/// How a binding there is relates to the flow that the REGISTER came over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HopMatch {
    /// The binding is reached over the same flow (over UDP: the same socket and remote address).
    Same,
    /// It is reached in another way.
    Other,
}

/// A binding that the address-of-record has now.
#[derive(Debug, Clone, Copy)]
pub struct CurrentBinding<'a> {
    /// The Contact URI as it was registered.
    pub contact: &'a [u8],
    /// `+sip.instance` without quotes and angle brackets.
    pub instance: Option<&'a [u8]>,
    /// `reg-id`.
    pub reg_id: Option<u32>,
    /// The Call-ID of the REGISTER that made or last refreshed it.
    pub call_id: &'a [u8],
    /// The CSeq number of that REGISTER.
    pub cseq: u32,
    /// Whether the request came the way that this binding goes.
    pub way: HopMatch,
}

impl CurrentBinding<'_> {
    fn pair(&self) -> Option<(&[u8], u32)> {
        self.instance.zip(self.reg_id)
    }
}

/// One change to an address-of-record. `binding` is an index into the bindings that were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'r> {
    /// A new binding.
    Add(ContactRequest<'r>),
    /// The same contact over the same flow: new time, preference, Call-ID and CSeq.
    Refresh {
        /// Which one.
        binding: usize,
        /// As it is from now on.
        with: ContactRequest<'r>,
    },
    /// The old binding goes, and a new one of the same user agent comes: over another flow, or with another
    /// URI.
    Replace {
        /// The old one.
        binding: usize,
        /// The new one.
        with: ContactRequest<'r>,
    },
    /// The user agent takes it back.
    Remove {
        /// Which one.
        binding: usize,
    },
}

/// What to do, all of it or nothing. No changes for a query, or when all that was to go is gone already.
#[derive(Debug, Clone)]
pub struct Decision<'r> {
    /// The changes. No binding is in two of them.
    pub changes: SmallVec<[Change<'r>; 2]>,
    /// The Call-ID to keep with every binding that is added, refreshed or replaced.
    pub call_id: &'r [u8],
    /// The CSeq number to keep with it.
    pub cseq: u32,
}

/// Decides what becomes of an address-of-record's bindings. `bound` are those that are there and not expired;
/// where several would match a contact, the first does.
///
/// # Errors
/// The request is malformed, too brief, too much or out of order: see [`Refusal`]. Then nothing may be
/// changed.
pub fn decide<'r>(
    request: &Message<'r>,
    bound: &[CurrentBinding<'_>],
    policy: &Policy,
) -> Result<Decision<'r>, Refusal> {
    let (call_id, cseq) = order(request)?;
    check_path(request)?;
    let mut changes = SmallVec::new();
    match ContactRequests::read(request, policy)? {
        ContactRequests::RemoveAll => {
            changes.extend((0..bound.len()).map(|binding| Change::Remove { binding }));
        }
        ContactRequests::Each(wishes) => {
            let mut taken: SmallVec<[bool; 16]> = SmallVec::from_elem(false, bound.len());
            let uris: SmallVec<[Option<Uri<'_>>; 4]> =
                bound.iter().map(|binding| Uri::parse(binding.contact).ok()).collect();
            for wish in wishes {
                let found = find(&wish, bound, &uris, &taken);
                if let Some(binding) = found {
                    taken[binding] = true;
                }
                match (found, wish.expires) {
                    (None, 0) => {}
                    (None, _) => changes.push(Change::Add(wish)),
                    (Some(binding), 0) => changes.push(Change::Remove { binding }),
                    (Some(binding), _)
                        if bound[binding].way == HopMatch::Same
                            && bound[binding].contact == wish.uri.as_bytes() =>
                    {
                        changes.push(Change::Refresh { binding, with: wish });
                    }
                    (Some(binding), _) => changes.push(Change::Replace { binding, with: wish }),
                }
            }
        }
    }
    let late = |change: &Change<'_>| match *change {
        Change::Add(_) => false,
        Change::Refresh { binding, .. } | Change::Replace { binding, .. } | Change::Remove { binding } => {
            bound[binding].call_id == call_id && bound[binding].cseq >= cseq
        }
    };
    if changes.iter().any(late) {
        return Err(Refusal::OutOfOrder);
    }
    let count = |wanted: fn(&Change<'_>) -> bool| changes.iter().filter(|change| wanted(change)).count();
    let added = count(|change| matches!(change, Change::Add(_)));
    let removed = count(|change| matches!(change, Change::Remove { .. }));
    if added > removed && bound.len() + added - removed > policy.max_contacts as usize {
        return Err(Refusal::TooManyContacts { max_contacts: policy.max_contacts });
    }
    Ok(Decision { changes, call_id, cseq })
}

/// The binding that a contact names: the one with its instance and reg-id; else, where one side lacks these,
/// one with its URI, preferably without them too.
fn find(
    wish: &ContactRequest<'_>,
    bound: &[CurrentBinding<'_>],
    uris: &[Option<Uri<'_>>],
    taken: &[bool],
) -> Option<usize> {
    let first = |wanted: &dyn Fn(usize) -> bool| (0..bound.len()).find(|&at| !taken[at] && wanted(at));
    let same_uri = |at: usize| uris[at].is_some_and(|uri| uri.same(&wish.uri));
    if let Some(pair) = wish.pair() {
        first(&|at| bound[at].pair() == Some(pair))
            .or_else(|| first(&|at| bound[at].pair().is_none() && same_uri(at)))
    } else {
        first(&|at| bound[at].pair().is_none() && same_uri(at)).or_else(|| first(&same_uri))
    }
}
