//! What a binding without a flow is, so that it can be put back after a restart.

use std::net::SocketAddr;
use std::time::Instant;

use lifecycle::Transport;

use crate::binding::{Facts, NO_Q, SocketPeer, Texts};
use crate::{Binding, BindingHop, Location};

/// Everything that there is to know of a binding over UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBinding {
    /// The address-of-record's key, `user@domain`.
    pub aor: String,
    /// The Contact URI, octet for octet as registered.
    pub contact: Vec<u8>,
    /// `+sip.instance`; empty if there was none.
    pub instance: Vec<u8>,
    /// `reg-id`; only beside an instance.
    pub reg_id: Option<u32>,
    /// The preference in thousandths.
    pub q: Option<u16>,
    /// Call-ID of the REGISTER that made or last refreshed it.
    pub call_id: Vec<u8>,
    /// CSeq number of that REGISTER.
    pub cseq: u32,
    /// The Path values, separated by commas; empty if there were none.
    pub path: Vec<u8>,
    /// The identity that the user agent proved; empty if it proved none.
    pub identity: String,
    /// The user agent's name of itself; empty if it gave none.
    pub user_agent: String,
    /// The number of the listener that it came to.
    pub listener: u16,
    /// Where requests go.
    pub remote: SocketAddr,
    /// When it ends if it is not refreshed.
    pub expires: Instant,
}

impl<R> Binding<R> {
    /// What is to be kept of it; nothing of one that goes with its flow.
    pub fn kept(&self) -> Option<StoredBinding> {
        let BindingHop::Udp { listener } = self.way else { return None };
        Some(StoredBinding {
            aor: self.aor().to_owned(),
            contact: self.contact().to_vec(),
            instance: self.instance().unwrap_or_default().to_vec(),
            reg_id: self.reg_id(),
            q: self.q(),
            call_id: self.call_id().to_vec(),
            cseq: self.cseq,
            path: self.path().unwrap_or_default().to_vec(),
            identity: self.identity().unwrap_or_default().to_owned(),
            user_agent: self.user_agent().unwrap_or_default().to_owned(),
            listener,
            remote: self.remote,
            expires: self.expires,
        })
    }
}

impl<R> Location<R> {
    /// Puts a binding back that an earlier process had.
    ///
    /// # Errors
    /// The table is full, or the texts are longer than a REGISTER could have made them: gives back the room.
    pub fn restore(&mut self, kept: &StoredBinding, room: R) -> Result<(), R> {
        let texts = [
            kept.aor.as_bytes(),
            &kept.contact,
            &kept.instance,
            &kept.call_id,
            kept.user_agent.as_bytes(),
            kept.identity.as_bytes(),
            &kept.path,
        ];
        let length: usize = texts.iter().map(|text| text.len()).sum();
        if self.len() >= self.max_bindings() || length > usize::from(u16::MAX) {
            return Err(room);
        }
        let facts = Facts {
            remote: kept.remote,
            way: BindingHop::Udp { listener: kept.listener },
            expires: kept.expires,
            cseq: kept.cseq,
            reg_id: kept.reg_id.unwrap_or(0),
            q: kept.q.unwrap_or(NO_Q),
            transport: Transport::Udp,
            socket_peer: SocketPeer::UserAgent,
        };
        self.insert(Box::new(Binding::new(Texts::new(&texts), facts, room)));
        Ok(())
    }
}
