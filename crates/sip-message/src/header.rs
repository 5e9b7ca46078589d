//! Header field names: their ids, and compact forms, and one field as it stands.

pub(crate) mod names;

use crate::Span;
use crate::syntax::trim;

macro_rules! header_ids {
    ($($variant:ident $name:literal $compact:literal;)*) => {
        /// A header field name that this crate knows, in any case of letters and in its compact form too (RFC
        /// 3261 §7.3.3).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum HeaderId {
            $(#[doc = concat!("`", stringify!($variant), "`.")] $variant,)*
            /// Any other name.
            Other,
        }

        impl HeaderId {
            /// Every name but [`HeaderId::Other`].
            pub const KNOWN: &'static [HeaderId] = &[$(HeaderId::$variant,)*];
        }

        const NAMES: &[&[u8]] = &[$($name,)*];
        /// Id, name and compact form, by id.
        const ALL: [(HeaderId, &[u8], &[u8]); NAMES.len()] = [$((HeaderId::$variant, $name, $compact),)*];
    };
}

header_ids! {
    Via b"Via" b"v";
    From b"From" b"f";
    To b"To" b"t";
    CallId b"Call-ID" b"i";
    CSeq b"CSeq" b"";
    Contact b"Contact" b"m";
    MaxForwards b"Max-Forwards" b"";
    Route b"Route" b"";
    RecordRoute b"Record-Route" b"";
    Path b"Path" b"";
    ServiceRoute b"Service-Route" b"";
    ContentLength b"Content-Length" b"l";
    ContentType b"Content-Type" b"c";
    ContentEncoding b"Content-Encoding" b"e";
    ContentDisposition b"Content-Disposition" b"";
    ContentLanguage b"Content-Language" b"";
    MimeVersion b"MIME-Version" b"";
    Expires b"Expires" b"";
    MinExpires b"Min-Expires" b"";
    Require b"Require" b"";
    ProxyRequire b"Proxy-Require" b"";
    Supported b"Supported" b"k";
    Unsupported b"Unsupported" b"";
    Allow b"Allow" b"";
    Accept b"Accept" b"";
    AcceptEncoding b"Accept-Encoding" b"";
    AcceptLanguage b"Accept-Language" b"";
    Authorization b"Authorization" b"";
    ProxyAuthorization b"Proxy-Authorization" b"";
    WwwAuthenticate b"WWW-Authenticate" b"";
    ProxyAuthenticate b"Proxy-Authenticate" b"";
    AuthenticationInfo b"Authentication-Info" b"";
    Timestamp b"Timestamp" b"";
    UserAgent b"User-Agent" b"";
    Server b"Server" b"";
    Date b"Date" b"";
    Subject b"Subject" b"s";
    Organization b"Organization" b"";
    Priority b"Priority" b"";
    Event b"Event" b"o";
    AllowEvents b"Allow-Events" b"u";
    SubscriptionState b"Subscription-State" b"";
    ReferTo b"Refer-To" b"r";
    ReferredBy b"Referred-By" b"b";
    Replaces b"Replaces" b"";
    Join b"Join" b"";
    TargetDialog b"Target-Dialog" b"";
    SessionExpires b"Session-Expires" b"x";
    MinSe b"Min-SE" b"";
    RSeq b"RSeq" b"";
    RAck b"RAck" b"";
    RetryAfter b"Retry-After" b"";
    Warning b"Warning" b"";
    Reason b"Reason" b"";
    Privacy b"Privacy" b"";
    PAssertedIdentity b"P-Asserted-Identity" b"";
    PPreferredIdentity b"P-Preferred-Identity" b"";
    PAssociatedUri b"P-Associated-URI" b"";
    PAccessNetworkInfo b"P-Access-Network-Info" b"";
    PChargingVector b"P-Charging-Vector" b"";
    Identity b"Identity" b"y";
    IdentityInfo b"Identity-Info" b"n";
    HistoryInfo b"History-Info" b"";
    Diversion b"Diversion" b"";
    InReplyTo b"In-Reply-To" b"";
    ReplyTo b"Reply-To" b"";
    AcceptContact b"Accept-Contact" b"a";
    RejectContact b"Reject-Contact" b"j";
    RequestDisposition b"Request-Disposition" b"d";
    CallInfo b"Call-Info" b"";
    AlertInfo b"Alert-Info" b"";
    ErrorInfo b"Error-Info" b"";
    FlowTimer b"Flow-Timer" b"";
    SipETag b"SIP-ETag" b"";
    SipIfMatch b"SIP-If-Match" b"";
    Geolocation b"Geolocation" b"";
    MaxBreadth b"Max-Breadth" b"";
    InfoPackage b"Info-Package" b"";
    RecvInfo b"Recv-Info" b"";
    SecurityClient b"Security-Client" b"";
    SecurityServer b"Security-Server" b"";
    SecurityVerify b"Security-Verify" b"";
    AnswerMode b"Answer-Mode" b"";
}

impl HeaderId {
    /// How many ids there are, [`HeaderId::Other`] included.
    pub(crate) const COUNT: usize = NAMES.len() + 1;

    /// The id of a header field name as received.
    pub fn from_name(name: &[u8]) -> HeaderId {
        let mut room = [0; names::LONGEST];
        let Some(place) = room.get_mut(..name.len()) else { return HeaderId::Other };
        place.copy_from_slice(name);
        names::find(&room, name.len()).unwrap_or(HeaderId::Other)
    }

    /// The name in its usual spelling; empty for [`HeaderId::Other`].
    #[inline]
    pub fn name(self) -> &'static [u8] {
        NAMES.get(self as usize).copied().unwrap_or(b"")
    }
}

/// One header field as it stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'b> {
    /// Which field it is.
    pub id: HeaderId,
    /// The name as received.
    pub name: &'b [u8],
    /// The value without white space around it; raw bytes, line folds included.
    pub value: &'b [u8],
    /// The whole field, from its name to the end of its (last) line, CRLF included.
    pub span: Span,
}

impl Header<'_> {
    /// Whether the value goes over several lines.
    pub fn is_folded(&self) -> bool {
        memchr::memchr(b'\n', self.value).is_some()
    }

    /// Appends the value to `out` with every fold replaced by one space (RFC 3261 §7.3.1).
    pub fn unfold_into(&self, out: &mut Vec<u8>) {
        let mut lines = self.value.split(|&byte| byte == b'\n').map(trim).filter(|line| !line.is_empty());
        if let Some(first) = lines.next() {
            out.extend_from_slice(first);
        }
        for line in lines {
            out.push(b' ');
            out.extend_from_slice(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_in_compact_form() {
        for (index, &id) in HeaderId::KNOWN.iter().enumerate() {
            assert_eq!(id as usize, index);
            assert_eq!(HeaderId::from_name(id.name()), id);
            assert_eq!(HeaderId::from_name(&id.name().to_ascii_uppercase()), id);
            assert_eq!(HeaderId::from_name(&id.name().to_ascii_lowercase()), id);
            if !ALL[index].2.is_empty() {
                assert_eq!(HeaderId::from_name(ALL[index].2), id);
                assert_eq!(HeaderId::from_name(&ALL[index].2.to_ascii_uppercase()), id);
            }
        }
        for name in [&b"X-Via"[..], b"Vi", b"Viaa", b"", b"z", b"Contact-Length", b"Tp"] {
            assert_eq!(HeaderId::from_name(name), HeaderId::Other);
        }
    }

    #[test]
    fn folds_become_one_space() {
        let header = Header {
            id: HeaderId::Subject,
            name: b"s",
            value: b"one\r\n  two\r\n\tthree",
            span: Span { start: 0, end: 0 },
        };
        let mut out = Vec::new();
        header.unfold_into(&mut out);
        assert_eq!(out, b"one two three");
        assert!(header.is_folded());
    }
}
