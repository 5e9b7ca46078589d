//! A BYE of this server in the name of a side that cannot send it (RFC 3261 §15.1.1).

use sip_message::{NameAddr, request::InDialog};

use crate::{
    Call, Side,
    call::{Dialog, Leg},
};

/// The BYE that tells one side of a dialog that the other is gone: whole but for its Via. `reason` is the
/// value of a Reason header field (RFC 3326).
pub(crate) fn bye<H: Copy + Eq>(call: &Call<H>, dialog: &Dialog<H>, to: Side, reason: &str) -> Vec<u8> {
    // To the callee it comes from the caller, as the caller's next request, and the other way round.
    let (leg, from_line, to_line, cseq): (&Leg<H>, _, _, _) = match to {
        Side::Callee => (&dialog.callee, &call.from, &dialog.to, dialog.state.cseq.caller),
        Side::Caller => (&call.caller, &dialog.to, &call.from, dialog.state.cseq.callee),
    };
    let mut more = b"Reason: ".to_vec();
    more.extend_from_slice(reason.as_bytes());
    more.extend_from_slice(b"\r\n");
    let mut request = InDialog {
        method: b"BYE",
        target: call.target(dialog, to),
        routes: &leg.routes,
        from: from_line,
        to: to_line,
        call_id: &call.call_id,
        // Below 2^31 (RFC 3261 §8.1.1.5); a peer at the very top gets its last number again, and refuses it.
        cseq: (cseq + 1).min((1 << 31) - 1),
        more: &more,
    };
    let mut out = Vec::new();
    if request.write(&mut out).is_none() {
        // Its Contact is no URI. The user whom it names is all there is.
        let uri = NameAddr::parse(to_line).map_or(&b""[..], |to| to.uri_bytes());
        request.target = uri;
        let _ = request.write(&mut out);
    }
    out
}
