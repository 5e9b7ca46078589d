//! A request that an element between the two sides makes within their dialog (RFC 3261 §12.2.1.1).

use crate::rewrite::push_number;
use crate::values::split_first;
use crate::{NameAddr, Uri};

/// The state of a dialog, as far as a request within it needs it, and the request's own.
#[derive(Debug, Clone, Copy)]
pub struct InDialog<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The remote target: the other side's Contact URI. What may stand in no Request-URI is left out
    /// ([`Uri::request_form`]).
    pub target: &'a [u8],
    /// The route set: values in the order of the Route header field, comma separated. Empty if there is none.
    pub routes: &'a [u8],
    /// The From value, with its tag.
    pub from: &'a [u8],
    /// The To value, with its tag.
    pub to: &'a [u8],
    /// The Call-ID.
    pub call_id: &'a [u8],
    /// The CSeq number.
    pub cseq: u32,
    /// More header field lines, each with its line end.
    pub more: &'a [u8],
}

impl InDialog<'_> {
    /// Appends the request, whole but for its Via, without a body. Where the first route is a strict
    /// router's, that is the Request-URI and the target is the last Route. Nothing, and `None`, if the target
    /// is no URI.
    pub fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        let target = Uri::parse(self.target).ok()?;
        let form = target.request_form();
        let target = form.as_deref().unwrap_or(self.target);
        let (first, others) = split_first(self.routes);
        let strict = NameAddr::parse(first).ok().and_then(|route| route.uri().ok()).filter(|uri| !uri.lr());
        let strict_form = strict.as_ref().and_then(Uri::request_form);
        out.reserve(512);
        let mut line = |parts: &[&[u8]]| {
            for part in parts {
                out.extend(part.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
            }
            out.extend_from_slice(b"\r\n");
        };
        match &strict {
            None => {
                line(&[self.method, b" ", target, b" SIP/2.0"]);
                if !self.routes.is_empty() {
                    line(&[b"Route: ", self.routes]);
                }
            }
            Some(strict) => {
                line(&[self.method, b" ", strict_form.as_deref().unwrap_or(strict.as_bytes()), b" SIP/2.0"]);
                let comma: &[u8] = if others.is_empty() { b"" } else { b", " };
                line(&[b"Route: ", others, comma, b"<", target, b">"]);
            }
        }
        line(&[b"Max-Forwards: 70"]);
        line(&[b"From: ", self.from]);
        line(&[b"To: ", self.to]);
        line(&[b"Call-ID: ", self.call_id]);
        out.extend_from_slice(b"CSeq: ");
        push_number(out, self.cseq);
        for part in [b" ", self.method, b"\r\n", self.more, b"Content-Length: 0\r\n\r\n"] {
            out.extend_from_slice(part);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(target: &str, routes: &str) -> Option<String> {
        let request = InDialog {
            method: b"BYE",
            target: target.as_bytes(),
            routes: routes.as_bytes(),
            from: b"<sip:a@x>;tag=1",
            to: b"<sip:b@x>;tag=2",
            call_id: b"c",
            cseq: 7,
            more: b"Reason: SIP\r\n",
        };
        let mut out = Vec::new();
        request.write(&mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_strict_router_and_a_contact_with_header_fields() {
        let rest = "Max-Forwards: 70\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: c\r\nCSeq: 7 BYE\r\nReason: SIP\r\n\
                    Content-Length: 0\r\n\r\n";
        for (target, routes, head) in [
            ("sip:b@h", "", "BYE sip:b@h SIP/2.0\r\n"),
            ("sip:b@h;method=INVITE?Route=x", "", "BYE sip:b@h SIP/2.0\r\n"),
            ("sip:b@h", "<sip:p;lr>, <sip:q>", "BYE sip:b@h SIP/2.0\r\nRoute: <sip:p;lr>, <sip:q>\r\n"),
            (
                "sip:b@h?a=b",
                "<sip:p?c=d>, <sip:q;lr>",
                "BYE sip:p SIP/2.0\r\nRoute: <sip:q;lr>, <sip:b@h>\r\n",
            ),
            ("sip:b@h", "<sip:p>", "BYE sip:p SIP/2.0\r\nRoute: <sip:b@h>\r\n"),
        ] {
            assert_eq!(written(target, routes), Some(format!("{head}{rest}")), "{target} {routes}");
        }
        assert_eq!(written("sip:b@h\r\nX: y", ""), None);
    }
}
