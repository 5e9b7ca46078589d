//! What a registrar hears of a binding whose connection has ended, and by what it knows that this server says
//! it.

use sip_message::HeaderId;
use toml::de::DeValue;

use crate::document::{At, Field, Reading, Section};
use crate::report::{Problem, ProblemKind};
use crate::secret::UnregisterSecret;
use crate::value::{Fault, FromToml, Keyword, text};

/// What a registrar hears of a binding whose connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unregister {
    /// The binding is taken back at once.
    AtClose,
    /// Nothing: it keeps the binding until it expires.
    Never,
}

impl Keyword for Unregister {
    const CHOICES: &'static [(&'static str, Self)] = &[("at-close", Self::AtClose), ("never", Self::Never)];
}

/// The header field by which a registrar knows an un-REGISTER of this server from one of a client. The server
/// removes every field of this name from all that it forwards, so no client can send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnregisterHeader {
    /// The name of the field.
    pub name: HeaderName,
    /// Its value.
    pub secret: UnregisterSecret,
}

/// The name of a header field that SIP gives no meaning: 2 to 64 letters, digits and `-`, the first of them a
/// letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName(String);

impl HeaderName {
    /// The longest name, in characters.
    pub const LONGEST: usize = 64;

    /// The name as it is written in the configuration. Fields are compared with it without case (RFC 3261
    /// §7.3.1).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromToml for HeaderName {
    fn expected() -> String {
        "the name of a header field of your own, such as \"X-Sipway-Close\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        const MEND: &str = "write a name of your own, such as \"X-Sipway-Close\"";
        let name = text(value)?;
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !plain
            || name.len() > Self::LONGEST
            || !name.starts_with(|first: char| first.is_ascii_alphabetic())
        {
            let label = format!("not 2 to {} letters, digits and `-`", Self::LONGEST);
            return Err(Fault::mended(label, MEND));
        }
        // Fields of this name are removed from all that is forwarded. One letter is, or may become, a compact
        // form.
        let known = HeaderId::from_name(name.as_bytes()) != HeaderId::Other
            || name.len() == 1
            || REGISTERED.iter().any(|one| name.eq_ignore_ascii_case(one));
        if known {
            return Err(Fault::mended("this field has a meaning in SIP", MEND));
        }
        Ok(Self(name.to_owned()))
    }
}

/// Fields that are registered (IANA, SIP parameters) or in wide use and that [`HeaderId`] does not know.
const REGISTERED: &[&str] = &[
    "Accept-Resource-Priority",
    "Additional-Identity",
    "Answer-Mode",
    "Attestation-Info",
    "Cellular-Network-Info",
    "Content-ID",
    "DC-Info",
    "Encryption",
    "Feature-Caps",
    "Geolocation-Error",
    "Geolocation-Routing",
    "Hide",
    "Max-Breadth",
    "Origination-Id",
    "P-Answer-State",
    "P-Asserted-Service",
    "P-Called-Party-ID",
    "P-Charge-Info",
    "P-Charging-Function-Addresses",
    "P-DCS-Trace-Party-ID",
    "P-DCS-OSPS",
    "P-DCS-Billing-Info",
    "P-DCS-LAES",
    "P-DCS-Redirect",
    "P-Early-Media",
    "P-Media-Authorization",
    "P-Preferred-Service",
    "P-Private-Network-Indication",
    "P-Profile-Key",
    "P-Refused-URI-List",
    "P-Served-User",
    "P-User-Database",
    "P-Visited-Network-ID",
    "Permission-Missing",
    "Policy-Contact",
    "Policy-ID",
    "Priority-Share",
    "Priority-Verstat",
    "Priv-Answer-Mode",
    "Proxy-Authentication-Info",
    "Refer-Events-At",
    "Refer-Sub",
    "Relayed-Charge",
    "Remote-Party-ID",
    "Resource-Priority",
    "Resource-Share",
    "Response-Key",
    "Response-Source",
    "Restoration-Info",
    "RP-Attest",
    "Service-Interact-Info",
    "Session-ID",
    "Sipway-Flow",
    "Suppress-If-Match",
    "Trigger-Consent",
    "User-to-User",
];

impl UnregisterHeader {
    /// Reads `unregister_header` and the secret that goes with it. None without them, or if something is
    /// wrong with them, which has been noted then.
    pub(super) fn read(
        reading: &mut Reading<'_>,
        section: &Section<'_>,
        unregister: Unregister,
    ) -> Option<Self> {
        const SECRETS: &[&str] = &["unregister_secret_env", "unregister_secret_file"];
        if unregister == Unregister::Never {
            let why = "no un-REGISTER is sent: unregister = \"never\"";
            section.not_applicable(reading, &["unregister_header"], why, "remove one of the two");
            section.not_applicable(reading, SECRETS, why, "remove it");
            return None;
        }
        let name = section.field::<HeaderName>(reading, "unregister_header");
        if name.is_absent() {
            let help = "add `unregister_header = \"X-Sipway-Close\"`";
            section.not_applicable(reading, SECRETS, "no header field has this secret for its value", help);
            return None;
        }
        let secret = UnregisterSecret::read(reading, section)?;
        let Field::Given(At { value: name, span }) = name else { return None };
        let Some(secret) = secret else {
            reading.error(
                Problem::new(ProblemKind::MissingKey, span, "this header field has no secret")
                    .label("a name alone proves nothing")
                    .help(
                        "add `unregister_secret_env = \"SIPWAY_UNREGISTER_SECRET\"` or `unregister_secret_file = \"unregister.secret\"`",
                    ),
            );
            return None;
        };
        Some(Self { name, secret })
    }
}
