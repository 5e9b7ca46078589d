//! `[defence]`: what one address and one user may take.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use defence::{Limits, Network, Networks, UserLimits};
use toml::de::DeValue;

use crate::document::{Field, ReadSection, Reading, Section, SectionSchema};
use crate::host::Host;
use crate::value::{Fault, FromToml, text};

/// Bounds of `forget` and `ban`.
const TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);

/// What scanners call themselves that are met every day.
const SCANNERS: [&str; 8] = [
    "friendly-scanner",
    "sipvicious",
    "sip-scan",
    "sipcli",
    "sundayddr",
    "vaxsipuseragent",
    "pplsip",
    "iwar",
];

/// What one address and one user may take, and who is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defence {
    /// The numbers: each from 1 to 10,000,000, or none.
    pub limits: Limits,
    /// Words in lower case that a scanner has in its User-Agent.
    pub scanners: Vec<String>,
    /// Addresses for which no limit holds.
    pub exempt: Networks,
    /// What one user may take: each from 1 to 10,000,000, or none.
    pub user_limits: UserLimits,
    /// Users that may take more, as `name@domain` in lower case but for the name.
    pub exempt_users: BTreeSet<String>,
}

impl Default for Defence {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            scanners: SCANNERS.map(str::to_owned).to_vec(),
            exempt: Networks::loopback(),
            user_limits: UserLimits::default(),
            exempt_users: BTreeSet::new(),
        }
    }
}

/// A part of a User-Agent.
#[derive(PartialEq)]
struct Word(String);

impl FromToml for Word {
    fn expected() -> String {
        "a part of a User-Agent, of at least 3 letters".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        match text(value)? {
            word if word.len() < 3 => Err(Fault::value("others have this in their names, too")),
            word => Ok(Self(word.to_ascii_lowercase())),
        }
    }
}

/// A user.
#[derive(PartialEq)]
struct User(String);

impl FromToml for User {
    fn expected() -> String {
        "a user such as \"trunk@example.com\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let user = text(value)?;
        match user.rsplit_once('@').map(|(name, domain)| (name, Host::new(domain))) {
            Some((name, Some(domain))) if !name.is_empty() => Ok(Self(format!("{name}@{domain}"))),
            Some(_) => Err(Fault::value("a name and a domain with an `@` between them")),
            None => Err(Fault::value("the domain is missing")),
        }
    }
}

impl ReadSection for Defence {
    const SCHEMA: SectionSchema = SectionSchema {
        header: "[defence]",
        keys: &[
            "connections",
            "handshakes",
            "handshake_rate",
            "message_rate",
            "failures",
            "forget",
            "ban",
            "scanners",
            "exempt",
            "user_connections",
            "user_message_rate",
            "user_calls",
            "user_failures",
            "exempt_users",
        ],
    };

    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self {
        let default = Self::default();
        let mut number = |key, default: Option<NonZeroU32>| {
            let read = section
                .unless_off(reading, key, |reading| section.bounded::<u32>(reading, key, 1..=10_000_000));
            match read {
                Field::Given(at) => at.value.and_then(NonZeroU32::new),
                Field::Absent | Field::Faulty => default,
            }
        };
        let limits = Limits {
            connections: number("connections", default.limits.connections),
            handshakes: number("handshakes", default.limits.handshakes),
            handshake_rate: number("handshake_rate", default.limits.handshake_rate),
            message_rate: number("message_rate", default.limits.message_rate),
            failures: number("failures", default.limits.failures),
            ..default.limits
        };
        let user_limits = UserLimits {
            connections: number("user_connections", default.user_limits.connections),
            message_rate: number("user_message_rate", default.user_limits.message_rate),
            calls: number("user_calls", default.user_limits.calls),
            failures: number("user_failures", default.user_limits.failures),
        };
        let limits = Limits {
            forget: section.duration(reading, "forget", TIME).or(limits.forget),
            ban: section.duration(reading, "ban", TIME).or(limits.ban),
            ..limits
        };
        let exempt_users = section
            .unless_off(reading, "exempt_users", |reading| section.set::<User>(reading, "exempt_users"));
        let scanners =
            section.unless_off(reading, "scanners", |reading| section.set::<Word>(reading, "scanners"));
        let exempt =
            section.unless_off(reading, "exempt", |reading| section.set::<Network>(reading, "exempt"));
        Self {
            limits,
            scanners: match scanners {
                Field::Given(at) => at.value.into_iter().flatten().map(|at| at.value.0).collect(),
                Field::Absent | Field::Faulty => default.scanners,
            },
            exempt: match exempt {
                Field::Given(at) => at.value.into_iter().flatten().map(|at| at.value).collect(),
                Field::Absent | Field::Faulty => default.exempt,
            },
            user_limits,
            exempt_users: match exempt_users {
                Field::Given(at) => at.value.into_iter().flatten().map(|at| at.value.0).collect(),
                Field::Absent | Field::Faulty => default.exempt_users,
            },
        }
    }
}
