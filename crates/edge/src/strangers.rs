//! What is asked of those who have not proved to be a user: that they say no more than they may, and nothing that only those say who
//! try doors. How addresses stand is in `door`.

use defence::Offence;
use lifecycle::{Cause, Ending};
use sip_message::Message;

use crate::{
    door::{Acquaintance, Consequence, Guest},
    hop::Hop,
    shard::Shard,
};

impl Shard {
    /// Who speaks on a hop. None if it is not listened to; if it has a connection, that ends.
    pub(crate) fn speaker(&self, from: Hop) -> Option<Acquaintance> {
        match from {
            Hop::Flow(number) => self.with_guest(number, |guest| {
                let heard = guest.map_or(Some(Acquaintance::Known), Guest::speaks);
                let consequence = if heard.is_some() { Consequence::None } else { Consequence::Leaves };
                (heard, consequence)
            }),
            // We chose to connect to it.
            Hop::Peer { .. } => Some(Acquaintance::Known),
            Hop::Udp { .. } if self.shared.upstreams.knows(from) => Some(Acquaintance::Known),
            Hop::Udp { remote, .. } => self.shared.door.hear_datagram(remote.ip()),
        }
    }

    /// Somebody did what is remembered against strangers, and wrong credentials against anybody.
    pub(crate) fn offends(&self, from: Hop, offence: Offence) {
        match from {
            Hop::Flow(number) => self.with_guest(number, |guest| {
                ((), guest.map_or(Consequence::None, |guest| guest.offends(offence)))
            }),
            Hop::Peer { .. } => {}
            Hop::Udp { .. } if self.shared.upstreams.knows(from) => {}
            Hop::Udp { remote, .. } => self.shared.door.datagram_offends(remote.ip(), offence),
        }
    }

    /// Somebody proved to be a user, or registered where that is asked of nobody.
    pub(crate) fn proved(&self, from: Hop) {
        match from {
            Hop::Flow(number) => self.with_guest(number, |guest| {
                if let Some(guest) = guest {
                    guest.proved();
                }
                ((), Consequence::None)
            }),
            Hop::Peer { .. } => {}
            Hop::Udp { remote, .. } => self.shared.door.datagram_proved(remote.ip()),
        }
    }

    /// Whether this request of a stranger says itself that nobody is to answer it.
    pub(crate) fn is_of_a_scanner(&self, from: Hop, request: &Message<'_>) -> bool {
        let scanner = self.shared.door.is_scanner(request);
        if scanner {
            self.offends(from, Offence::Scanner);
        }
        scanner
    }
}

/// How the connection ends of somebody who is not listened to any more.
pub(crate) fn sent_away() -> Ending {
    Ending::of(Cause::RateLimited).code(1008).reason("too many messages or failures from this address")
}
