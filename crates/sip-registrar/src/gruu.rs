//! Public GRUUs (RFC 5627): names that lead to one user agent of a user, `sip:user@domain;gr=…`. What follows
//! `gr` is its `+sip.instance`, so nothing has to be remembered, and it has the same one whenever it
//! registers.

use sip_message::write_address_of_record;

/// Which GRUUs are given to user agents that ask for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gruu {
    /// None.
    #[default]
    Off,
    /// Public ones (RFC 5627 §5.4).
    Public,
}

/// Appends the public GRUU of an instance of a user; nothing, and `None`, for an address-of-record without a
/// user.
pub fn write_gruu(aor: &str, instance: &[u8], out: &mut Vec<u8>) -> Option<()> {
    write_address_of_record(aor, out)?;
    out.extend_from_slice(b";gr=");
    for &byte in instance {
        // RFC 3261 §25.1 paramchar.
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    Some(())
}
