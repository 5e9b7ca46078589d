//! How every address stands: what it has open, how fast it comes, how often it failed, whether it is banned.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use crate::{
    Limits, Offence, Source, TurnedAwayCause,
    leaky_bucket::LeakyBucket,
    limits::{BURST, MESSAGE_BURST, UNPROVED},
    remembered::Remembered,
};

/// How many addresses are remembered. About 200 bytes each.
const MOST: usize = 100_000;

/// An address that is turned away again and again is logged once in so long.
pub(crate) const TELL_EVERY: Duration = Duration::from_secs(60);

/// All of them together give no more lines than one in so long, twenty at once.
pub(crate) const TELL_ALL: Duration = Duration::from_secs(1);

/// A client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    /// Why.
    pub why: TurnedAwayCause,
    /// What the address is banned for, if that is why.
    pub ban: Option<Offence>,
    /// Whether to say so in the log.
    pub log: Log,
}

/// Whether something is said in the log: there is one line for each address and minute, and few in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// With how often it happened to this address since it was said last, this time included.
    Say {
        /// Times.
        times: u32,
    },
    /// It was said not long ago, or others have said enough.
    Hush,
}

/// Whether a new client is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// It is counted, and has to leave again.
    Counted,
    /// All addresses that can be remembered are in use: it is accepted uncounted.
    Uncounted,
}

/// What an offence led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is remembered.
    Noted,
    /// The address is banned from now on.
    Banned(Log),
    /// It was banned before.
    StillBanned,
}

/// An address that is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Which.
    pub source: Source,
    /// What it did last before that.
    pub offence: Offence,
    /// For how long yet.
    pub left: Duration,
    /// How often it was turned away since.
    pub turned: u64,
}

/// How all addresses stand. What nobody remembers stands well.
#[derive(Debug)]
pub struct AddressTable {
    limits: Limits,
    all: Remembered<Source, AddressState>,
    lines: LeakyBucket,
}

/// How one address stands.
#[derive(Debug)]
struct AddressState {
    connections: u32,
    handshakes: u32,
    arrivals: LeakyBucket,
    messages: LeakyBucket,
    /// Those of registered phones that come beyond.
    phones: LeakyBucket,
    failures: LeakyBucket,
    ban: Option<Banned>,
    told: Option<Instant>,
    untold: u32,
}

#[derive(Debug)]
struct Banned {
    until: Instant,
    offence: Offence,
    turned: u64,
}

impl AddressState {
    fn new(now: Instant) -> Self {
        Self {
            connections: 0,
            handshakes: 0,
            arrivals: LeakyBucket::empty(now),
            messages: LeakyBucket::empty(now),
            phones: LeakyBucket::empty(now),
            failures: LeakyBucket::empty(now),
            ban: None,
            told: None,
            untold: 0,
        }
    }

    /// Whether nothing would be lost by forgetting it.
    fn is_clean(&self, now: Instant) -> bool {
        self.connections == 0
            && self.arrivals.is_empty(now)
            && self.messages.is_empty(now)
            && self.phones.is_empty(now)
            && self.failures.is_empty(now)
            && self.ban.as_ref().is_none_or(|ban| ban.until <= now)
    }

    /// Counts one that is turned away by a ban, if there is one.
    fn is_banned(&mut self, now: Instant) -> bool {
        match &mut self.ban {
            Some(ban) if ban.until > now => {
                ban.turned += 1;
                true
            }
            Some(_) => {
                self.ban = None;
                false
            }
            None => false,
        }
    }

    fn log(&mut self, lines: &mut LeakyBucket, now: Instant) -> Log {
        self.untold = self.untold.saturating_add(1);
        let due = self.told.is_none_or(|told| told + TELL_EVERY <= now);
        if !due || !lines.takes(TELL_ALL, TELL_ALL * BURST, now) {
            return Log::Hush;
        }
        self.told = Some(now);
        Log::Say { times: std::mem::take(&mut self.untold) }
    }

    fn turn_away(&mut self, why: TurnedAwayCause, lines: &mut LeakyBucket, now: Instant) -> TurnedAway {
        let ban = self.ban.as_ref().filter(|_| why == TurnedAwayCause::Banned).map(|ban| ban.offence);
        TurnedAway { why, ban, log: self.log(lines, now) }
    }
}

impl AddressTable {
    /// All addresses stand well.
    #[must_use]
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, all: Remembered::new(MOST), lines: LeakyBucket::empty(now) }
    }

    /// These limits hold from now on. Who is in stays, and a ban lasts as long as it was given for.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A client connects. One that is accepted and counted must [`AddressTable::leave`] later.
    ///
    /// # Errors
    /// The address is banned or takes more than it may.
    pub fn arrive(&mut self, source: Source, now: Instant) -> Result<Arrived, TurnedAway> {
        let limits = self.limits;
        let Some((state, lines)) = self.find_or_make(source, now) else { return Ok(Arrived::Uncounted) };
        let reached =
            |number: u32, limit: Option<NonZeroU32>| limit.is_some_and(|limit| number >= limit.get());
        let why = if state.is_banned(now) {
            TurnedAwayCause::Banned
        } else if reached(state.connections, limits.connections) {
            TurnedAwayCause::Connections
        } else if reached(state.handshakes, limits.handshakes) {
            TurnedAwayCause::Handshakes
        } else if !state.arrivals.takes_at_rate(limits.handshake_rate, BURST, now) {
            TurnedAwayCause::HandshakeRate
        } else {
            state.connections += 1;
            state.handshakes += 1;
            return Ok(Arrived::Counted);
        };
        Err(state.turn_away(why, lines, now))
    }

    /// The handshake of one who was counted is done.
    pub fn greeted(&mut self, source: Source) {
        if let Some(state) = self.all.get_mut(&source) {
            state.handshakes = state.handshakes.saturating_sub(1);
        }
    }

    /// One who was counted, and whose handshake is done, leaves.
    pub fn leave(&mut self, source: Source) {
        if let Some(state) = self.all.get_mut(&source) {
            state.connections = state.connections.saturating_sub(1);
        }
    }

    /// A message comes from an unauthenticated client.
    ///
    /// # Errors
    /// The address is banned, or says too much.
    pub fn message(&mut self, source: Source, now: Instant) -> Result<(), TurnedAway> {
        let rate = self.limits.message_rate;
        let Some((state, lines)) = self.find_or_make(source, now) else { return Ok(()) };
        let why = if state.is_banned(now) {
            TurnedAwayCause::Banned
        } else if !state.messages.takes_at_rate(rate, MESSAGE_BURST, now) {
            TurnedAwayCause::MessageRate
        } else {
            return Ok(());
        };
        Err(state.turn_away(why, lines, now))
    }

    /// Whether a message of an unauthenticated client would be refused now.
    #[must_use]
    pub fn is_silenced(&self, source: Source, now: Instant) -> bool {
        self.all.get(&source).is_some_and(|state| {
            state.ban.as_ref().is_some_and(|ban| ban.until > now)
                || !state.messages.has_room_at_rate(self.limits.message_rate, MESSAGE_BURST, now)
        })
    }

    /// A datagram of a registered phone comes from an address that is silenced. Others may have written the
    /// address on theirs, so the phones there may say as much again.
    ///
    /// # Errors
    /// They say more than that.
    pub fn message_of_phone(&mut self, source: Source, now: Instant) -> Result<(), TurnedAway> {
        let rate = self.limits.message_rate;
        let Some((state, lines)) = self.find_or_make(source, now) else { return Ok(()) };
        if state.phones.takes_at_rate(rate, MESSAGE_BURST, now) {
            return Ok(());
        }
        Err(state.turn_away(TurnedAwayCause::MessageRate, lines, now))
    }

    /// A client did something that only unauthenticated clients do.
    pub fn offend(&mut self, source: Source, offence: Offence, now: Instant) -> Judgement {
        let Limits { failures, forget, ban, .. } = self.limits;
        let Some(failures) = failures else { return Judgement::Noted };
        let Some((state, lines)) = self.find_or_make(source, now) else { return Judgement::Noted };
        if state.ban.as_ref().is_some_and(|ban| ban.until > now) {
            return Judgement::StillBanned;
        }
        let fits = match offence {
            Offence::Scanner => false,
            Offence::Unproved => state.failures.takes(forget / failures.get() / UNPROVED, forget, now),
            Offence::Credentials | Offence::Handshake | Offence::Malformed | Offence::Refused => {
                state.failures.takes(forget / failures.get(), forget, now)
            }
        };
        if fits {
            return Judgement::Noted;
        }
        state.failures = LeakyBucket::empty(now);
        state.ban = Some(Banned { until: now + ban, offence, turned: 0 });
        state.told = None;
        Judgement::Banned(state.log(lines, now))
    }

    /// Somebody at this address proved to be a user: its failures are forgotten, for people mistype.
    pub fn proved(&mut self, source: Source, now: Instant) {
        if let Some(state) = self.all.get_mut(&source) {
            state.failures = LeakyBucket::empty(now);
        }
    }

    /// Addresses that are banned now, at most this many.
    #[must_use]
    pub fn bans(&self, now: Instant, most: usize) -> Vec<Ban> {
        let banned = self.all.iter().filter_map(|(&source, state)| {
            let ban = state.ban.as_ref().filter(|ban| ban.until > now)?;
            let left = ban.until.saturating_duration_since(now);
            Some(Ban { source, offence: ban.offence, left, turned: ban.turned })
        });
        banned.take(most).collect()
    }

    /// Ends the ban of an address, if there is one; its failures are forgotten.
    pub fn lift(&mut self, source: Source, now: Instant) -> Option<Ban> {
        let state = self.all.get_mut(&source)?;
        let ban = state.ban.take().filter(|ban| ban.until > now)?;
        state.failures = LeakyBucket::empty(now);
        let left = ban.until.saturating_duration_since(now);
        Some(Ban { source, offence: ban.offence, left, turned: ban.turned })
    }

    /// How many addresses are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.len() == 0
    }

    /// Nothing if as many as can be are remembered and none of those looked at can be forgotten.
    fn find_or_make(
        &mut self,
        source: Source,
        now: Instant,
    ) -> Option<(&mut AddressState, &mut LeakyBucket)> {
        let state = self.all.find_or_make(&source, || AddressState::new(now), |state| state.is_clean(now))?;
        Some((state, &mut self.lines))
    }
}

#[cfg(test)]
mod tests;
