//! Why a REGISTER is not obeyed.

use sip_message::{CSeqError, NameAddrError, UriError};

/// The most Contact values of one request: each is compared with every binding.
pub const CONTACT_VALUES: usize = 64;

/// A part of a REGISTER that is kept with the binding, and so has a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoredPart {
    /// The address-of-record.
    #[error("address-of-record")]
    AddressOfRecord,
    /// A Contact URI.
    #[error("Contact URI")]
    ContactUri,
    /// `+sip.instance`.
    #[error("+sip.instance")]
    Instance,
    /// Call-ID.
    #[error("Call-ID")]
    CallId,
    /// All Path values together.
    #[error("Path")]
    Path,
}

impl StoredPart {
    /// The most octets it may have.
    #[must_use]
    pub const fn limit(self) -> usize {
        match self {
            Self::AddressOfRecord | Self::Instance => 256,
            Self::ContactUri => 1024,
            Self::CallId => 512,
            Self::Path => 2048,
        }
    }

    /// Refuses what is longer than its limit.
    ///
    /// # Errors
    /// [`Refusal::TooLong`].
    pub fn check(self, len: usize) -> Result<(), Refusal> {
        if len > self.limit() { Err(Refusal::TooLong(self)) } else { Ok(()) }
    }
}

/// Why a REGISTER is not obeyed. No binding was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// To is missing or malformed.
    #[error("malformed To: {0}")]
    To(NameAddrError),
    /// To holds no URI.
    #[error("malformed URI in To: {0}")]
    ToUri(UriError),
    /// To's URI is neither sip, sips nor tel.
    #[error("the scheme of To cannot be registered")]
    ToScheme,
    /// A Contact value is malformed.
    #[error("malformed Contact: {0}")]
    Contact(NameAddrError),
    /// A Contact value holds no URI.
    #[error("malformed URI in Contact: {0}")]
    ContactUri(UriError),
    /// A Path value is malformed.
    #[error("malformed Path: {0}")]
    Path(NameAddrError),
    /// CSeq is missing or malformed.
    #[error("malformed CSeq: {0}")]
    CSeq(CSeqError),
    /// There is no Call-ID.
    #[error("no Call-ID")]
    NoCallId,
    /// `+sip.instance` holds a line end or another control character.
    #[error("+sip.instance holds control characters")]
    Instance,
    /// `Contact: *` beside other contacts.
    #[error("Contact: * must stand alone")]
    StarNotAlone,
    /// `Contact: *` without `Expires: 0`.
    #[error("Contact: * needs Expires: 0")]
    StarWithoutZero,
    /// Two Contact values name one binding.
    #[error("the same contact twice")]
    ContactTwice,
    /// More than [`CONTACT_VALUES`] of them.
    #[error("more than {CONTACT_VALUES} Contact values")]
    TooManyValues,
    /// More octets than are kept.
    #[error("{0} is too long")]
    TooLong(StoredPart),
    /// The time asked for is too short.
    #[error("expires in less than {min_expires} s")]
    TooBrief {
        /// The shortest time that is granted, in seconds.
        min_expires: u32,
    },
    /// The address-of-record would have too many bindings.
    #[error("more than {max_contacts} contacts")]
    TooManyContacts {
        /// How many it may have.
        max_contacts: u32,
    },
    /// A binding of the same Call-ID was made by this CSeq or a higher one: a request overtaken by a later
    /// one.
    #[error("CSeq is not higher than that of the binding")]
    OutOfOrder,
    /// The proxy next to the user agent keeps no flow for it (RFC 5626 §6).
    #[error("the first hop has no ob in its Path")]
    FirstHop,
}

impl Refusal {
    /// The response's status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::To(_)
            | Self::ToUri(_)
            | Self::Contact(_)
            | Self::ContactUri(_)
            | Self::Path(_)
            | Self::CSeq(_)
            | Self::NoCallId
            | Self::Instance
            | Self::StarNotAlone
            | Self::StarWithoutZero
            | Self::ContactTwice
            | Self::TooManyValues
            | Self::TooLong(_) => 400,
            Self::TooManyContacts { .. } => 403,
            Self::ToScheme => 404,
            Self::TooBrief { .. } => 423,
            Self::FirstHop => 439,
            Self::OutOfOrder => 500,
        }
    }

    /// The response's reason phrase.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::To(_) => "Malformed To",
            Self::ToUri(_) => "Malformed URI in To",
            Self::ToScheme => "Not Found",
            Self::Contact(_) => "Malformed Contact",
            Self::ContactUri(_) => "Malformed URI in Contact",
            Self::Path(_) => "Malformed Path",
            Self::CSeq(_) => "Malformed CSeq",
            Self::NoCallId => "Missing Call-ID",
            Self::Instance => "Malformed +sip.instance",
            Self::StarNotAlone => "Contact * Must Stand Alone",
            Self::StarWithoutZero => "Contact * Needs Expires 0",
            Self::ContactTwice => "Same Contact Twice",
            Self::TooManyValues => "Too Many Contact Values",
            Self::TooLong(StoredPart::AddressOfRecord) => "Address-of-Record Too Long",
            Self::TooLong(StoredPart::ContactUri) => "Contact URI Too Long",
            Self::TooLong(StoredPart::Instance) => "+sip.instance Too Long",
            Self::TooLong(StoredPart::CallId) => "Call-ID Too Long",
            Self::TooLong(StoredPart::Path) => "Path Too Long",
            Self::TooBrief { .. } => "Interval Too Brief",
            Self::TooManyContacts { .. } => "Too Many Contacts",
            Self::OutOfOrder => "CSeq Out of Order",
            Self::FirstHop => "First Hop Lacks Outbound Support",
        }
    }

    /// The value of the Min-Expires header field that a 423 must have (RFC 3261 §20.23), in seconds.
    #[must_use]
    pub const fn min_expires(&self) -> Option<u32> {
        match *self {
            Self::TooBrief { min_expires } => Some(min_expires),
            _ => None,
        }
    }
}
