//! What a request of ours in a dialog is made of, beside its routes: the highest CSeq and the remote target
//! of each side. Both follow every request and response from the first provisional response on (RFC 3261
//! §12.2).

use sip_message::{HeaderId, Message, Method};

use crate::{
    Side,
    call::{Sides, contact, kept},
};

/// The state of one dialog, early or confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// The highest CSeq of each side; 0 of one that has sent nothing.
    pub(crate) cseq: Sides<u32>,
    /// Where each side is reached, if it has said so within this dialog.
    pub(crate) target: Sides<Option<Box<[u8]>>>,
    refresh: Sides<Option<Refresh>>,
}

/// A request that moves its sender's target, if it is accepted (RFC 6141 §4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refresh {
    cseq: u32,
    target: Box<[u8]>,
}

impl State {
    /// Of a dialog in which nothing has been said but the INVITE with this CSeq.
    pub(crate) const fn new(invite: u32) -> Self {
        Self {
            cseq: Sides { caller: invite, callee: 0 },
            target: Sides { caller: None, callee: None },
            refresh: Sides { caller: None, callee: None },
        }
    }

    /// One side sends a request.
    pub(crate) fn requested(&mut self, side: Side, request: &Message<'_>) {
        let Ok(cseq) = request.cseq() else { return };
        let highest = self.cseq.of(side);
        *highest = (*highest).max(cseq.number);
        if refreshes(cseq.method)
            && let Some(target) = contact(request).and_then(kept)
        {
            *self.refresh.of(side) = Some(Refresh { cseq: cseq.number, target });
        }
    }

    /// A request of one side is answered, by the other.
    pub(crate) fn answered(&mut self, side: Side, status: u16, answer: &Message<'_>) {
        let Ok(cseq) = answer.cseq() else { return };
        if !refreshes(cseq.method) {
            return;
        }
        let accepted = match status {
            // What is said reliably is agreed (RFC 3262).
            101..=199 if answer.value(HeaderId::RSeq).is_some() => true,
            ..=199 => return,
            200..=299 => true,
            300.. => false,
        };
        let refresh = self.refresh.of(side).take_if(|refresh| refresh.cseq == cseq.number);
        if accepted {
            if let Some(refresh) = refresh {
                *self.target.of(side) = Some(refresh.target);
            }
            if let Some(target) = contact(answer).and_then(kept) {
                *self.target.of(side.other()) = Some(target);
            }
        }
    }
}

/// Whether a method's Contact is where its sender is reached from then on (RFC 3261 §12.2, RFC 3311 §5.1, RFC
/// 3515 §2.2, RFC 6665 §4.4.1).
const fn refreshes(method: Method<'_>) -> bool {
    matches!(method, Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer)
}
