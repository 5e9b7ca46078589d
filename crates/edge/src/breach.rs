//! The rules of defence by which connections are closed, each with the cause that `flow.closed` names.

use defence::{Offence, TurnedAway};
use lifecycle::{Cause, Ending};

/// The rule by which the connection of a client is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// Its credentials were wrong too often.
    Credentials,
    /// Its address is banned for this.
    Banned(Offence),
    /// Those of its address who have not proved to be a user say too much.
    AddressMessageRate,
    /// Its user says too much.
    UserMessageRate,
    /// Its user has too many connections.
    UserConnections,
}

impl Breach {
    /// The rule by which an address is turned away.
    pub(crate) fn of(turned: TurnedAway) -> Self {
        turned.ban.map_or(Self::AddressMessageRate, Self::Banned)
    }

    /// How the connection ends.
    pub(crate) fn ending(self) -> Ending {
        let (cause, reason) = match self {
            Self::Credentials => (Cause::AuthFailed, "wrong credentials too often"),
            Self::Banned(offence) => {
                let reason = format!("the address is banned ({})", offence.as_str());
                return Ending::of(Cause::Banned).code(POLICY).reason(reason);
            }
            Self::AddressMessageRate => (Cause::RateLimited, "too many messages from this address"),
            Self::UserMessageRate => (Cause::RateLimited, "too many messages of this user"),
            Self::UserConnections => (Cause::RateLimited, "too many connections of this user"),
        };
        Ending::of(cause).code(POLICY).reason(reason)
    }
}

/// The close code of all of them (RFC 6455 §7.4.1).
const POLICY: u16 = 1008;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_words_of_its_own_and_its_true_cause() {
        let banned = Offence::ALL.map(|offence| (Breach::Banned(offence), Cause::Banned));
        let others = [
            (Breach::Credentials, Cause::AuthFailed),
            (Breach::AddressMessageRate, Cause::RateLimited),
            (Breach::UserMessageRate, Cause::RateLimited),
            (Breach::UserConnections, Cause::RateLimited),
        ];
        let mut reasons = Vec::new();
        for (breach, cause) in banned.into_iter().chain(others) {
            let ending = breach.ending();
            assert_eq!((ending.cause, ending.code), (cause, Some(1008)), "{breach:?}");
            reasons.push(ending.reason.unwrap().as_str().to_owned());
        }
        let all = reasons.len();
        reasons.sort();
        reasons.dedup();
        assert_eq!(reasons.len(), all, "{reasons:?}");
    }
}
