//! The two requests that a client transaction makes out of its INVITE, CANCEL and ACK, and [requests within a
//! dialog](InDialog).

use crate::rewrite::{push_line, push_number};
use crate::{CSeq, EditError, HeaderId, Message, Method, StartLine};

mod in_dialog;
#[cfg(test)]
mod tests;

pub use in_dialog::InDialog;

/// Appends the CANCEL for an INVITE as it was sent (RFC 3261 §9.1) and returns how many bytes that took.
///
/// Request-URI, topmost Via, Route, From, To, Call-ID and CSeq number are the INVITE's. `reason` becomes a
/// Reason header field (RFC 3326), such as `SIP;cause=200;text="Call completed elsewhere"`. On an error `out`
/// is as it was.
pub fn cancel_for(
    invite: &Message<'_>,
    reason: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<usize, EditError> {
    if reason.is_some_and(|reason| memchr::memchr2(b'\r', b'\n', reason).is_some()) {
        return Err(EditError::LineEnd);
    }
    let to = invite.value(HeaderId::To).ok_or(EditError::Missing(HeaderId::To))?;
    build(invite, Method::Cancel, to, reason, out)
}

/// Appends the ACK for a 300 to 699 response to an INVITE as it was sent (RFC 3261 §17.1.1.3) and returns how
/// many bytes that took. To is the response's; the rest is the INVITE's. On an error `out` is as it was.
pub fn ack_for_non2xx(
    invite: &Message<'_>,
    response: &Message<'_>,
    out: &mut Vec<u8>,
) -> Result<usize, EditError> {
    if response.status().is_none_or(|status| status < 300) {
        return Err(EditError::WrongKind);
    }
    let to = response.value(HeaderId::To).ok_or(EditError::Missing(HeaderId::To))?;
    build(invite, Method::Ack, to, None, out)
}

fn build(
    invite: &Message<'_>,
    method: Method<'_>,
    to: &[u8],
    reason: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<usize, EditError> {
    let StartLine::Request { method: Method::Invite, uri, .. } = invite.start_line() else {
        return Err(EditError::WrongKind);
    };
    let via = invite.values(HeaderId::Via).next().ok_or(EditError::NoVia)?;
    let from = invite.value(HeaderId::From).ok_or(EditError::Missing(HeaderId::From))?;
    let call_id = invite.call_id().ok_or(EditError::Missing(HeaderId::CallId))?;
    let CSeq { number, .. } = invite.cseq().map_err(|_| EditError::Missing(HeaderId::CSeq))?;
    let before = out.len();
    out.reserve(512);
    for part in [method.as_bytes(), b" ", uri, b" SIP/2.0\r\n"] {
        out.extend_from_slice(part);
    }
    push_line(out, b"Via", via.bytes);
    for route in invite.all(HeaderId::Route) {
        push_line(out, b"Route", route.value);
    }
    for (name, value) in [(&b"From"[..], from), (b"To", to), (b"Call-ID", call_id)] {
        push_line(out, name, value);
    }
    out.extend_from_slice(b"CSeq: ");
    push_number(out, number);
    for part in [b" ", method.as_bytes(), b"\r\nMax-Forwards: 70\r\n"] {
        out.extend_from_slice(part);
    }
    if let Some(reason) = reason {
        push_line(out, b"Reason", reason);
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    Ok(out.len() - before)
}
