//! Identifies the user agent of a registration, so that it is recognised when it registers again.

use std::net::IpAddr;

use sip_message::Uri;

/// What a registration says of its user agent.
#[derive(Debug, Clone, Copy)]
pub struct Registered<'a> {
    /// The address-of-record, `user@domain`.
    pub aor: &'a str,
    /// The Contact URI.
    pub contact: &'a [u8],
    /// `+sip.instance` (RFC 5626 §4.1).
    pub instance: Option<&'a [u8]>,
    /// Who it proved to be.
    pub identity: Option<&'a str>,
    /// Call-ID of its REGISTER. A user agent keeps it until it starts anew (RFC 3261 §10.2.4).
    pub call_id: &'a [u8],
    /// The address that the REGISTER came from.
    pub source: IpAddr,
}

/// A user agent as it registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    aor: Box<str>,
    contact: Box<[u8]>,
    instance: Option<Box<[u8]>>,
    identity: Option<Box<str>>,
    call_id: Box<[u8]>,
    source: IpAddr,
}

impl Agent {
    /// The user agent of a registration.
    #[must_use]
    pub fn new(registered: &Registered<'_>) -> Self {
        Self {
            aor: registered.aor.into(),
            contact: registered.contact.into(),
            instance: registered.instance.map(Box::from),
            identity: registered.identity.map(Box::from),
            call_id: registered.call_id.into(),
            source: registered.source,
        }
    }

    /// Its address-of-record.
    #[must_use]
    pub fn aor(&self) -> &str {
        &self.aor
    }

    /// Whether a Contact is the one that this user agent registered.
    fn has_contact(&self, contact: &[u8]) -> bool {
        let (Ok(own), Ok(other)) = (Uri::parse(&self.contact), Uri::parse(contact)) else { return false };
        own.same(&other)
    }

    /// Whether a Contact may be this user agent's: it has the user part that was registered, or is a GRUU of
    /// the user (RFC 5627).
    fn is_called(&self, contact: &[u8]) -> bool {
        let Ok(uri) = Uri::parse(contact) else { return false };
        let own = Uri::parse(&self.contact).ok();
        let user = own.as_ref().and_then(Uri::user);
        (user.is_some() && uri.user() == user) || uri.address_of_record().is_some_and(|aor| *aor == *self.aor)
    }

    /// Which of the user agents on one connection has a dialog whose Contact is this. `aor` is whom the call
    /// is of or for, which may be another name than any of them registered: a server behind calls a Contact,
    /// a redirection leads elsewhere, a caller may be anonymous.
    pub(crate) fn with_contact<'a>(
        agents: impl Iterator<Item = &'a Self> + Clone,
        contact: &[u8],
        aor: &str,
    ) -> Option<&'a Self> {
        let rank = |agent: &Self| match (agent.aor() == aor, agent.has_contact(contact)) {
            (true, true) => Some(0),
            (false, true) => Some(1),
            (true, false) => Some(2),
            (false, false) => agent.is_called(contact).then_some(3),
        };
        agents
            .filter_map(|agent| Some((rank(agent)?, agent)))
            .min_by_key(|&(rank, _)| rank)
            .map(|(_, agent)| agent)
    }

    /// Whether this is surely the same user agent: it says so by its instance, or, without one, by the
    /// Call-ID of its REGISTER, which it has kept since it started. Neither is known to others of the same
    /// user.
    #[must_use]
    pub fn is_surely(&self, other: &Self) -> bool {
        self.is_user_of(other)
            && match (&self.instance, &other.instance) {
                (Some(one), Some(other)) => one == other,
                (None, None) => !self.call_id.is_empty() && self.call_id == other.call_id,
                _ => false,
            }
    }

    /// Whether this is the same user agent come back, where the connection that it had is over. One without
    /// instance may have started anew, and is also known by its whole Contact URI: from the address that it
    /// had, or with a name that nobody else has.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let no_instance = self.instance.is_none() && other.instance.is_none();
        self.is_surely(other)
            || (no_instance
                && self.is_user_of(other)
                && self.has_contact(&other.contact)
                && (self.source == other.source || self.has_own_name()))
    }

    fn is_user_of(&self, other: &Self) -> bool {
        self.aor == other.aor && self.identity == other.identity
    }

    /// Whether its Contact is a name that it made up (RFC 7118 §5). Some browser clients all have the same
    /// host there, so the user part must be its own too.
    fn has_own_name(&self) -> bool {
        let Ok(uri) = Uri::parse(&self.contact) else { return false };
        let user = self.aor.rsplit_once('@').map_or(&*self.aor, |(user, _)| user);
        let invalid =
            uri.host().is_some_and(|host| host.to_string().to_ascii_lowercase().ends_with(".invalid"));
        invalid && uri.user().is_some_and(|own| own != user.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given(
        &'static str,
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
        &'static str,
        [u8; 4],
    );

    fn agent(Given(aor, contact, instance, identity, call_id, source): &Given) -> Agent {
        Agent::new(&Registered {
            aor,
            contact: contact.as_bytes(),
            instance: instance.map(str::as_bytes),
            identity: *identity,
            call_id: call_id.as_bytes(),
            source: (*source).into(),
        })
    }

    const HERE: [u8; 4] = [192, 0, 2, 1];
    const THERE: [u8; 4] = [192, 0, 2, 2];

    #[test]
    fn an_instance_says_who_it_is_and_nothing_else_does_beside_it() {
        let one = agent(&Given("a@x", "sip:abc@1.invalid", Some("urn:1"), Some("a@x"), "c1", HERE));
        let is = |given: Given| (agent(&given).is(&one), agent(&given).is_surely(&one));
        assert_eq!(
            is(Given("a@x", "sip:o@2.invalid", Some("urn:1"), Some("a@x"), "c2", THERE)),
            (true, true)
        );
        assert_eq!(
            is(Given("a@x", "sip:abc@1.invalid", Some("urn:2"), Some("a@x"), "c1", HERE)),
            (false, false)
        );
        assert_eq!(is(Given("a@x", "sip:abc@1.invalid", None, Some("a@x"), "c1", HERE)), (false, false));
        assert_eq!(
            is(Given("b@x", "sip:abc@1.invalid", Some("urn:1"), Some("b@x"), "c1", HERE)),
            (false, false)
        );
        assert_eq!(is(Given("a@x", "sip:abc@1.invalid", Some("urn:1"), None, "c1", HERE)), (false, false));
    }

    #[test]
    fn without_an_instance_the_registration_or_the_whole_contact_says_who_it_is() {
        let phone = agent(&Given("a@x", "sip:a@10.0.0.1:5060", None, None, "c1", HERE));
        let is = |given: Given| (agent(&given).is(&phone), agent(&given).is_surely(&phone));
        // It got another address.
        assert_eq!(is(Given("a@x", "sip:a@10.0.0.9:5060", None, None, "c1", THERE)), (true, true));
        // It was switched off and on.
        assert_eq!(is(Given("a@x", "sip:a@10.0.0.1:5060", None, None, "c2", HERE)), (true, false));
        // Another phone of the same user: in the same office, or in one where addresses are the same.
        assert_eq!(is(Given("a@x", "sip:a@10.0.0.2:5060", None, None, "c2", HERE)), (false, false));
        assert_eq!(is(Given("a@x", "sip:a@10.0.0.1:5061", None, None, "c2", HERE)), (false, false));
        assert_eq!(is(Given("a@x", "sip:a@10.0.0.1:5060", None, None, "c2", THERE)), (false, false));
        assert_eq!(is(Given("a@x", "sip:a@10.0.0.1:5060", None, Some("a@x"), "c1", HERE)), (false, false));
        // A browser that moves to another network has the name that it made up; one whose name others have
        // too is not known by it.
        let browser = agent(&Given("a@x", "sip:q7f@d8k.invalid;transport=ws", None, None, "c1", HERE));
        assert!(
            agent(&Given("a@x", "sip:q7f@d8k.invalid;transport=ws", None, None, "c2", THERE)).is(&browser)
        );
        let common = agent(&Given("a@x", "sip:a@df7jal23ls0d.invalid;transport=wss", None, None, "c1", HERE));
        assert!(
            !agent(&Given("a@x", "sip:a@df7jal23ls0d.invalid;transport=wss", None, None, "c2", THERE))
                .is(&common)
        );
        // No Call-ID is no proof.
        let silent = Given("a@x", "sip:a@10.0.0.1", None, None, "", HERE);
        assert!(!agent(&silent).is_surely(&agent(&Given("a@x", "sip:a@10.0.0.1", None, None, "", HERE))));
    }

    #[test]
    fn of_those_on_one_connection_the_one_with_the_contact_has_the_dialog() {
        let one = agent(&Given("a@x", "sip:a@10.0.0.1", None, None, "c1", HERE));
        let two = agent(&Given("a@x", "sip:a@10.0.0.2", None, None, "c2", HERE));
        let other = agent(&Given("b@x", "sip:b@10.0.0.3", None, None, "c3", HERE));
        let all = [one.clone(), two.clone(), other.clone()];
        let whose = |contact: &str, aor: &str| Agent::with_contact(all.iter(), contact.as_bytes(), aor);
        assert_eq!(whose("sip:a@10.0.0.2", "a@x"), Some(&two));
        assert_eq!(whose("sip:a@10.0.0.9", "a@x"), Some(&one));
        assert_eq!(whose("sip:b@10.0.0.3", "someone@y"), Some(&other));
        assert_eq!(whose("sip:b@10.0.0.9", "someone@y"), Some(&other));
        assert_eq!(whose("sip:c@10.0.0.9", "someone@y"), None);
    }
}
