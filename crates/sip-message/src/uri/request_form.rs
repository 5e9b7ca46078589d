//! A URI as a Request-URI may have it.

use super::Uri;
use super::escape::unescape;

impl Uri<'_> {
    /// This URI without what RFC 3261 §19.1.1 (table 1) allows in no Request-URI: header fields and the
    /// `method` parameter. `None` if it has neither, or is no SIP URI. A proxy removes them from every URI
    /// that becomes a Request-URI (§16.6 step 2): the author of a Contact must not write into requests of
    /// others.
    #[must_use]
    pub fn request_form(&self) -> Option<Vec<u8>> {
        let is_method = |name: &[u8]| unescape(name).map(|byte| byte.to_ascii_lowercase()).eq(*b"method");
        let has_method = || self.params.iter().any(|param| is_method(param.name));
        if !self.is_sip() || (self.headers.is_none() && !has_method()) {
            return None;
        }
        let params = self.params.as_bytes();
        let before = self.bytes.len() - params.len() - self.headers.map_or(0, |headers| headers.len() + 1);
        let mut out = self.bytes[..before].to_vec();
        for param in self.params.iter().filter(|param| !is_method(param.name)) {
            out.push(b';');
            out.extend_from_slice(param.bytes);
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_uri_has_neither_header_fields_nor_a_method() {
        for (uri, form) in [
            ("sip:a@b?Subject=x", Some("sip:a@b")),
            ("sip:a@b;transport=ws?Subject=x&Route=%3Csip:c%3E", Some("sip:a@b;transport=ws")),
            ("sips:a:p?w@b:5061;method=BYE;lr", Some("sips:a:p?w@b:5061;lr")),
            ("sip:a@[::1]:5060;x;Method=INVITE;y=1?", Some("sip:a@[::1]:5060;x;y=1")),
            ("sip:b;%6dethod=BYE", Some("sip:b")),
            ("SIP:b?X=y", Some("SIP:b")),
            ("sip:b?X=y?z", Some("sip:b")),
            ("sip:a?b;method=c@d;lr", None),
            ("sip:a@b;methods=x;transport=tcp", None),
            ("tel:+1;method=x", None),
            ("mailto:a@b?Subject=x", None),
        ] {
            let parsed = Uri::parse(uri.as_bytes()).unwrap();
            let found = parsed.request_form().map(|form| String::from_utf8(form).unwrap());
            assert_eq!(found.as_deref(), form, "{uri}");
            if let Some(form) = form {
                assert_eq!(Uri::parse(form.as_bytes()).unwrap().request_form(), None, "{uri}");
            }
        }
    }
}
