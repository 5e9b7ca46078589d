//! What a REGISTER does to an address-of-record (RFC 3261 §10.3 steps 5 to 8, RFC 5626 §6), as pure
//! decisions.
//!
//! [`decide`] takes the request and the bindings that the address-of-record has now, and answers with a
//! [`Refusal`] or with the [`Change`]s to make, all of them or none. [`write_contacts`] writes the Contact
//! value of the 200. [`unsupported`] is step 2 (Require), [`returned_path`] and [`Outbound`] say what else
//! the 200 has. Who may register what (steps 1, 3 and 4: domain, digest, authorization) is for others to say
//! before.
//!
//! Where the RFCs leave a choice:
//!
//! - **What makes two contacts one binding.** If both have `+sip.instance` and `reg-id`, these alone, octet
//!   for octet; else URI equality (RFC 3261 §19.1.4). So a client without an instance that re-registers
//!   another Contact URI, even on the same flow with the same Call-ID, adds a binding, as RFC 3261 says; the
//!   old one goes with its flow or its time. `reg-id` without an instance is ignored (RFC 5626 §4.2.1).
//!   `outbound` need not stand in Supported: clients on flows that send the pair mean it. Only those that
//!   name it are told of it, or refused for want of it at the first hop.
//! - **Moved or reworded.** A binding whose contact is registered again from another flow, or with other
//!   octets in its URI, is replaced; with the same octets over the same flow it is refreshed.
//! - **Too many contacts** are answered 403: trying again will not help, as a 503 would say, and nothing is
//!   pushed out. A request that does not add to the number is let pass even if the limit has been lowered
//!   meanwhile.
//! - **CSeq not higher** under one Call-ID fails the whole request with 500, as a lower CSeq does within a
//!   dialog (§12.2.2). The bindings stay as they are.
//! - **Path without `path` in Supported** (RFC 3327 §5.3 leaves it to policy) is kept, for without it the
//!   binding would lead nowhere, and not returned.
//! - **423** is only for intervals below an hour, even if the minimum is longer (§10.3 step 7).
#![forbid(unsafe_code)]

mod contact_request;
mod contacts;
mod decide;
mod extensions;
mod gruu;
mod policy;
mod refusal;

pub use contact_request::{ContactRequest, address_of_record};
pub use contacts::{ListedBinding, write_contacts};
pub use decide::{Change, CurrentBinding, Decision, HopMatch, decide};
pub use extensions::{Outbound, granted_gruu, returned_path, supported, unsupported};
pub use gruu::{Gruu, write_gruu};
pub use policy::{Policy, ShortExpiry};
pub use refusal::{CONTACT_VALUES, Refusal, StoredPart};
