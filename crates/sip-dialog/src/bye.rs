//! A BYE of our own, in the name of a side that cannot send it (RFC 3261 §15.1.1).

use crate::{
    Call, Side,
    call::{Dialog, Leg},
};

/// The BYE that tells one side of a dialog that the other is gone: whole but for its Via. `reason` is the value of a Reason header
/// field (RFC 3326).
pub(crate) fn bye<H: Copy + Eq>(call: &Call<H>, dialog: &Dialog<H>, to: Side, reason: &str) -> Vec<u8> {
    // To the callee it comes from the caller, as the caller's next request, and the other way round.
    let (leg, from_line, to_line, cseq): (&Leg<H>, _, _, _) = match to {
        Side::Callee => (&dialog.callee, &call.from, &dialog.to, dialog.cseq.caller),
        Side::Caller => (&call.caller, &dialog.to, &call.from, dialog.cseq.callee),
    };
    let mut out = Vec::with_capacity(512);
    let mut line = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n");
    };
    line(&[b"BYE ", &leg.target, b" SIP/2.0"]);
    if !leg.routes.is_empty() {
        line(&[b"Route: ", &leg.routes]);
    }
    line(&[b"Max-Forwards: 70"]);
    line(&[b"From: ", from_line]);
    line(&[b"To: ", to_line]);
    line(&[b"Call-ID: ", &call.call_id]);
    // Below 2^31 (RFC 3261 §8.1.1.5); a peer at the very top gets its last number again, and refuses it.
    line(&[b"CSeq: ", (cseq + 1).min((1 << 31) - 1).to_string().as_bytes(), b" BYE"]);
    line(&[b"Reason: ", reason.as_bytes()]);
    line(&[b"Content-Length: 0"]);
    line(&[]);
    out
}
