//! Who is at the end of a flow, as far as a registration tells: so that the same one is known when it comes back.

use sip_message::Uri;

/// A user agent as it registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    aor: Box<str>,
    instance: Option<Box<[u8]>>,
    contact_user: Option<Box<[u8]>>,
    identity: Option<Box<str>>,
}

impl Agent {
    /// The user agent of a binding: its address-of-record, Contact URI, `+sip.instance` (RFC 5626 §4.1) and proved identity.
    #[must_use]
    pub fn new(aor: &str, contact: &[u8], instance: Option<&[u8]>, identity: Option<&str>) -> Self {
        let user = Uri::parse(contact).ok().and_then(|uri| uri.user().map(Box::from));
        Self {
            aor: aor.into(),
            instance: instance.map(Box::from),
            contact_user: user,
            identity: identity.map(Box::from),
        }
    }

    /// Its address-of-record.
    #[must_use]
    pub fn aor(&self) -> &str {
        &self.aor
    }

    /// Whether a Contact is this user agent's: by the user part that it registered, or as a GRUU (RFC 5627).
    #[must_use]
    pub(crate) fn is_called(&self, contact: &[u8]) -> bool {
        let Ok(uri) = Uri::parse(contact) else { return false };
        let registered = self.contact_user.is_some() && uri.user() == self.contact_user.as_deref();
        registered || uri.address_of_record().is_some_and(|aor| *aor == *self.aor)
    }

    /// Whether this is the same user agent, come back: of the same user, with the same instance. One that names no instance
    /// is known by the user part of its Contact, and by having proved the same identity or none both times.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.aor == other.aor
            && self.identity == other.identity
            && match (&self.instance, &other.instance) {
                (Some(one), Some(other)) => one == other,
                (None, None) => self.contact_user.is_some() && self.contact_user == other.contact_user,
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(aor: &str, contact: &str, instance: Option<&str>, identity: Option<&str>) -> Agent {
        Agent::new(aor, contact.as_bytes(), instance.map(str::as_bytes), identity)
    }

    #[test]
    fn an_instance_makes_it_the_same_and_without_one_the_contact_user_does() {
        let one = agent("a@x", "sip:abc@1.invalid;transport=ws", Some("urn:uuid:1"), Some("a@x"));
        assert!(one.is(&agent("a@x", "sip:other@2.invalid", Some("urn:uuid:1"), Some("a@x"))));
        assert!(!one.is(&agent("a@x", "sip:abc@1.invalid", Some("urn:uuid:2"), Some("a@x"))));
        assert!(!one.is(&agent("a@x", "sip:abc@1.invalid", None, Some("a@x"))));
        assert!(!one.is(&agent("b@x", "sip:abc@1.invalid", Some("urn:uuid:1"), Some("b@x"))));
        assert!(!one.is(&agent("a@x", "sip:abc@1.invalid", Some("urn:uuid:1"), None)));
        let plain = agent("a@x", "sip:abc@1.invalid", None, None);
        assert!(plain.is(&agent("a@x", "sip:abc@2.invalid", None, None)));
        assert!(!plain.is(&agent("a@x", "sip:abd@1.invalid", None, None)));
        assert!(!agent("a@x", "sip:1.invalid", None, None).is(&agent("a@x", "sip:1.invalid", None, None)));
    }
}
