//! Limits for unauthenticated clients: how much they may send, and what counts against them. The state of
//! addresses is in `admission_control`.

use std::{sync::Arc, time::Duration};

use defence::{By, Hindrance, Offence, Source, User};
use identity::QuotaExceeded;
use lifecycle::Ending;
use sip_message::Message;
use upstream::Hop;

use crate::{
    admission_control::{AdmittedClient, Consequence, Trust},
    breach::Breach,
    shard::Shard,
};

impl Shard {
    /// The trust in a hop. None if its messages are dropped; a connection is then closed.
    pub(crate) fn speaker(&self, from: Hop) -> Option<Trust> {
        match from {
            Hop::Flow(number) => self.with_admitted(number, |admitted| {
                match admitted.map_or(Ok(Trust::Authenticated), AdmittedClient::speaks) {
                    Ok(heard) => (Some(heard), Consequence::None),
                    Err(breach) => (None, Consequence::Leaves(breach)),
                }
            }),
            // We chose to connect to it.
            Hop::Peer { .. } => Some(Trust::Authenticated),
            Hop::Udp { .. } if self.shared.upstreams.is_upstream(from) => Some(Trust::Authenticated),
            Hop::Udp { listener, remote } => {
                let is_registered = || self.shared.state.location().has_phone(u16::from(listener), remote);
                self.shared.admission.hear_datagram(remote.ip(), is_registered)
            }
        }
    }

    /// A client did what counts against unauthenticated clients, and wrong credentials against anybody.
    pub(crate) fn offends(&self, from: Hop, offence: Offence) {
        match from {
            Hop::Flow(number) => self.with_admitted(number, |admitted| {
                ((), admitted.map_or(Consequence::None, |admitted| admitted.offends(offence)))
            }),
            Hop::Peer { .. } => {}
            Hop::Udp { .. } if self.shared.upstreams.is_upstream(from) => {}
            Hop::Udp { listener, remote } => {
                // A registered sender may make mistakes, as on a connection; it may not guess or scan.
                let may_err = match offence {
                    Offence::Malformed | Offence::Refused | Offence::Unproved => true,
                    Offence::Credentials | Offence::Handshake | Offence::Scanner => false,
                };
                if !(may_err && self.shared.state.location().has_phone(u16::from(listener), remote)) {
                    self.shared.admission.datagram_offends(remote.ip(), offence);
                }
            }
        }
    }

    /// Somebody proved to be a user, or registered where that is asked of nobody.
    pub(crate) fn proved(&self, from: Hop) {
        match from {
            Hop::Flow(number) => self.with_admitted(number, |admitted| {
                if let Some(admitted) = admitted {
                    admitted.proved();
                }
                ((), Consequence::IsKnown)
            }),
            Hop::Peer { .. } => {}
            Hop::Udp { remote, .. } => self.shared.admission.datagram_proved(remote.ip()),
        }
    }

    /// The source that limits are counted for on a hop; none if there are no limits for it.
    pub(crate) fn source(&self, from: Hop) -> Option<Source> {
        match from {
            Hop::Flow(number) => self.with_admitted(number, |admitted| {
                (admitted.and_then(AdmittedClient::source), Consequence::None)
            }),
            Hop::Peer { .. } => None,
            Hop::Udp { .. } if self.shared.upstreams.is_upstream(from) => None,
            Hop::Udp { remote, .. } => self.shared.admission.source(remote.ip(), By::Datagram),
        }
    }

    /// A flow becomes a user's own, who has proved to be that, or registers where that is asked of nobody.
    ///
    /// # Errors
    /// The user has as many as it may have.
    pub(crate) fn belongs_to(&self, from: Hop, aor: &str) -> Result<(), QuotaExceeded> {
        let Some(number) = self.flow_of(from) else { return Ok(()) };
        self.with_admitted(number, |admitted| {
            (admitted.map_or(Ok(()), |admitted| admitted.belongs_to(aor)), Consequence::None)
        })
    }

    /// A user has proved in a request who it is: what it says goes against its quota.
    ///
    /// # Errors
    /// It has said more by datagrams than it may.
    pub(crate) fn speaks_for(&self, from: Hop, aor: &str) -> Result<(), QuotaExceeded> {
        if let Hop::Flow(number) = from {
            self.with_admitted(number, |admitted| {
                admitted.into_iter().for_each(|admitted| admitted.speaks_for(aor));
                ((), Consequence::None)
            });
            return Ok(());
        }
        let quotas = &self.shared.admission.quotas;
        match self.source(from).and_then(|_| quotas.user(aor)).map(|user| quotas.hear(&user)) {
            Some(Some(Trust::Throttled(too_much))) => Err(too_much),
            Some(None) => Err(QuotaExceeded { what: Hindrance::MessageRate, wait: Duration::ZERO }),
            Some(Some(Trust::Authenticated | Trust::Unauthenticated)) | None => Ok(()),
        }
    }

    /// The user against whose quota a call counts that a request begins: the user that it has proved to come
    /// from, or else the one that has registered over this hop. None if no limits hold.
    pub(crate) fn quota_holder(&self, from: Hop, proved: Option<&str>) -> Option<Arc<User>> {
        self.source(from)?;
        match (proved, from) {
            (Some(aor), _) => self.shared.admission.quotas.user(aor),
            (None, Hop::Flow(number)) => self.with_admitted(number, |admitted| {
                (admitted.and_then(AdmittedClient::quota_holder), Consequence::None)
            }),
            (None, Hop::Udp { .. } | Hop::Peer { .. }) => None,
        }
    }

    /// Whether this request of an unauthenticated client says itself that nobody is to answer it.
    pub(crate) fn is_of_a_scanner(&self, from: Hop, request: &Message<'_>) -> bool {
        let scanner = self.shared.admission.is_scanner(request);
        if scanner {
            self.offends(from, Offence::Scanner);
        }
        scanner
    }
}

/// How a connection ends that its user has one too many of.
pub(crate) fn too_many() -> Ending {
    Breach::UserConnections.ending()
}
