//! Which rounds there are, and in which order they come.

use std::fmt;
use std::time::Duration;

use prove::{Ending, Kill, Moment};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::consumer::ConsumerBehaviour;

/// What happens in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Flows end one after the other, with time between them.
    Unhurried,
    /// All end at one instant.
    AtOnce,
    /// All end within one second.
    WithinASecond,
    /// All fall silent, or stop reading.
    Silent,
    /// The server is ended.
    Struck(Kill, Moment),
    /// The server is killed, and again while it recovers.
    KilledAgain,
}

/// A round to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// What the webhook's consumer does while it lasts.
    pub(super) hook: ConsumerBehaviour,
}

/// Each kind once, so that a short run has seen them all.
const FIRST: [Plan; 11] = [
    Plan::of(Kind::Unhurried),
    Plan::of(Kind::AtOnce),
    Plan::of(Kind::Struck(Kill::Kill, Moment::AllOpen)),
    Plan { kind: Kind::WithinASecond, hook: ConsumerBehaviour::Refuses },
    Plan::of(Kind::Struck(Kill::Kill, Moment::AmidEndings)),
    Plan::of(Kind::WithinASecond),
    Plan::of(Kind::Struck(Kill::Kill, Moment::WhileOpening)),
    Plan::of(Kind::Struck(Kill::Terminate, Moment::AllOpen)),
    Plan { kind: Kind::KilledAgain, hook: ConsumerBehaviour::HangsUp },
    Plan::of(Kind::Silent),
    Plan::of(Kind::Struck(Kill::Terminate, Moment::AmidEndings)),
];

/// Kinds that come by chance after that; some more often than others.
const LATER: [Kind; 11] = [
    Kind::AtOnce,
    Kind::AtOnce,
    Kind::WithinASecond,
    Kind::Silent,
    Kind::Struck(Kill::Kill, Moment::WhileOpening),
    Kind::Struck(Kill::Kill, Moment::AllOpen),
    Kind::Struck(Kill::Kill, Moment::AmidEndings),
    Kind::Struck(Kill::Kill, Moment::AmidEndings),
    Kind::KilledAgain,
    Kind::Struck(Kill::Terminate, Moment::AllOpen),
    Kind::Struck(Kill::Terminate, Moment::AmidEndings),
];

/// How often in a hundred the webhook is out of order in a round by chance.
const OUTAGES: u32 = 25;

impl Plan {
    const fn of(kind: Kind) -> Self {
        Self { kind, hook: ConsumerBehaviour::Takes }
    }
}

/// The fewest rounds that have each kind once.
pub(super) const EACH_ONCE: u64 = FIRST.len() as u64;

/// All rounds to come, from one seed.
pub(super) struct Rounds {
    chance: StdRng,
    /// Kinds that come in turn, and no other; none: all kinds.
    only: Vec<Kind>,
    begun: usize,
}

impl Rounds {
    /// `only` names kinds that are known; others are left out.
    pub(super) fn of(seed: u64, only: &[String]) -> Self {
        let only = only.iter().filter_map(|name| Kind::named(name)).collect();
        Self { chance: StdRng::seed_from_u64(seed), only, begun: 0 }
    }

    pub(super) fn next(&mut self) -> Plan {
        self.begun += 1;
        if let Some(kind) = self.only.get((self.begun - 1) % self.only.len().max(1)) {
            return Plan::of(*kind);
        }
        if let Some(first) = FIRST.get(self.begun - 1) {
            return *first;
        }
        let kind = LATER.choose(&mut self.chance).copied().unwrap_or(Kind::AtOnce);
        let hook = match self.chance.random_range(0..200) {
            chance if chance < OUTAGES => ConsumerBehaviour::Refuses,
            chance if chance < 2 * OUTAGES => ConsumerBehaviour::HangsUp,
            _ => ConsumerBehaviour::Takes,
        };
        Plan { kind, hook }
    }

    /// How soon a server that recovers is killed again.
    pub(super) fn moment(&mut self) -> Duration {
        Duration::from_millis(self.chance.random_range(5..250))
    }
}

impl Kind {
    /// By its name on the command line.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "unhurried" => Self::Unhurried,
            "instant" => Self::AtOnce,
            "second" => Self::WithinASecond,
            "silence" => Self::Silent,
            "kill-opening" => Self::Struck(Kill::Kill, Moment::WhileOpening),
            "kill-open" => Self::Struck(Kill::Kill, Moment::AllOpen),
            "kill-ending" => Self::Struck(Kill::Kill, Moment::AmidEndings),
            "kill-again" => Self::KilledAgain,
            "term-open" => Self::Struck(Kill::Terminate, Moment::AllOpen),
            "term-ending" => Self::Struck(Kill::Terminate, Moment::AmidEndings),
            _ => return None,
        })
    }

    /// Over how long the endings are spread.
    pub(super) const fn spread(self) -> Duration {
        match self {
            Self::Unhurried => Duration::from_secs(4),
            Self::WithinASecond | Self::Struck(_, Moment::AmidEndings) => Duration::from_secs(1),
            Self::AtOnce | Self::Silent | Self::Struck(..) | Self::KilledAgain => Duration::ZERO,
        }
    }

    /// The endings; none: all that the server notices at once.
    pub(super) fn endings(self) -> Vec<Ending> {
        match self {
            Self::Silent => vec![Ending::Silence, Ending::StopReading],
            _ => Vec::new(),
        }
    }

    /// The most connections that make sense.
    pub(super) const fn most(self) -> u64 {
        match self {
            Self::Unhurried => 400,
            // Each waits for its own deadline, and all are pinged until then.
            Self::Silent => 2_000,
            _ => u64::MAX,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Unhurried => "one after the other",
            Kind::AtOnce => "at one instant",
            Kind::WithinASecond => "within one second",
            Kind::Silent => "silence",
            Kind::Struck(Kill::Kill, Moment::WhileOpening) => "kill -9 while opening",
            Kind::Struck(Kill::Kill, Moment::AllOpen) => "kill -9, all open",
            Kind::Struck(Kill::Kill, Moment::AmidEndings) => "kill -9 amid endings",
            Kind::Struck(Kill::Terminate, Moment::WhileOpening) => "SIGTERM while opening",
            Kind::Struck(Kill::Terminate, Moment::AllOpen) => "SIGTERM, all open",
            Kind::Struck(Kill::Terminate, Moment::AmidEndings) => "SIGTERM amid endings",
            Kind::KilledAgain => "kill -9 four times",
        };
        let hook = match self.hook {
            ConsumerBehaviour::Takes => "",
            ConsumerBehaviour::Refuses => ", webhook 503",
            ConsumerBehaviour::HangsUp => ", webhook down",
        };
        write!(f, "{kind}{hook}")
    }
}
