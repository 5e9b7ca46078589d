//! Which clients are accepted and read. The state of all addresses is one table behind a lock that is held
//! for one look-up. What it refuses is counted and logged here.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::Instant,
};

use config::Defence;
use defence::{
    AddressTable, Arrived, Ban, By, Judgement, Log, Networks, Offence, Source, TurnedAway, TurnedAwayCause,
    User,
};
use identity::QuotaExceeded;
use metrics::{Count, Gauge, Metrics};
use sip_message::{HeaderId, Message};

use crate::{
    breach::Breach,
    user_quotas::{QuotaHolder, UserQuotas},
};

/// Which addresses may connect, and how much their clients may send.
#[derive(Debug)]
pub(crate) struct AdmissionControl {
    standings: Mutex<AddressTable>,
    rules: RwLock<Rules>,
    /// The quotas of users.
    pub(crate) quotas: UserQuotas,
    metrics: Arc<Metrics>,
}

/// The keys of `[defence]` except the limits that the table holds itself.
#[derive(Debug)]
struct Rules {
    exempt: Networks,
    /// In lower case.
    scanners: Vec<String>,
    /// Wrong credentials after which a connection is closed whose user is known.
    patience: u32,
}

impl From<&Defence> for Rules {
    fn from(config: &Defence) -> Self {
        Self {
            exempt: config.exempt.clone(),
            scanners: config.scanners.clone(),
            patience: config.limits.failures.map_or(u32::MAX, std::num::NonZeroU32::get),
        }
    }
}

/// A client that was accepted; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct AdmittedClient {
    admission: Arc<AdmissionControl>,
    /// None if no limit holds for it.
    source: Option<Source>,
    counted: Arrived,
    stage: Cell<Stage>,
    trust: Cell<Trust>,
    /// Wrong credentials since it is known.
    failures: Cell<u32>,
    /// Against whose quota its messages count, if that is known and limits hold.
    holder: RefCell<Option<QuotaHolder>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshake,
    Flow,
}

/// Whether a sender has proved to be a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It has, or has registered in an open domain; or no limits hold for it.
    Authenticated,
    /// It has not.
    Unauthenticated,
    /// It has, and its user sends more messages than it may.
    Throttled(QuotaExceeded),
}

/// What happens to the client that did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    None,
    /// Its connection is closed, for this.
    Leaves(Breach),
    /// It needs not wait for its turn among unauthenticated clients.
    IsKnown,
}

impl AdmissionControl {
    /// `most` connections may be open at once.
    pub(crate) fn new(config: &Defence, most: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            standings: Mutex::new(AddressTable::new(config.limits, Instant::now())),
            rules: RwLock::new(config.into()),
            quotas: UserQuotas::new(config, most, Arc::clone(&metrics)),
            metrics,
        })
    }

    /// All decisions use these from now on; connections that are open stay.
    pub(crate) fn take_over(&self, config: &Defence) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = config.into();
        self.standings().limit(config.limits);
        self.quotas.take_over(config);
    }

    fn rules(&self) -> RwLockReadGuard<'_, Rules> {
        // Nothing can panic under this lock.
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn standings(&self) -> MutexGuard<'_, AddressTable> {
        // A panic under this lock is a bug of ours; the table's own invariants are kept by its methods.
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source that limits are counted for; none if there are no limits for it.
    pub(crate) fn source(&self, address: IpAddr, by: By) -> Option<Source> {
        (!self.rules().exempt.contain(address)).then(|| Source::of(address, by))
    }

    /// Somebody connects. None if it is turned away.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<AdmittedClient> {
        let Some(source) = self.source(address, By::Connection) else { return Some(self.admit_uncounted()) };
        let arrived = self.standings().arrive(source, Instant::now());
        let counted = match arrived {
            Ok(counted) => counted,
            Err(turned) => {
                self.turned_away(source, turned);
                return None;
            }
        };
        if counted == Arrived::Uncounted {
            self.metrics.add(Count::Uncounted);
        }
        Some(self.admitted(Some(source), counted, Trust::Unauthenticated))
    }

    /// Somebody connects for whom no limits hold.
    pub(crate) fn admit_uncounted(self: &Arc<Self>) -> AdmittedClient {
        self.admitted(None, Arrived::Uncounted, Trust::Authenticated)
    }

    fn admitted(self: &Arc<Self>, source: Option<Source>, counted: Arrived, trust: Trust) -> AdmittedClient {
        AdmittedClient {
            admission: Arc::clone(self),
            source,
            counted,
            stage: Cell::new(Stage::Handshake),
            trust: Cell::new(trust),
            failures: Cell::new(0),
            holder: RefCell::default(),
        }
    }

    /// A datagram comes. None if it is dropped. A registered phone is heard even if its address is banned or
    /// has sent too much: others may have written that address on their datagrams.
    pub(crate) fn hear_datagram(
        &self,
        address: IpAddr,
        is_registered: impl FnOnce() -> bool,
    ) -> Option<Trust> {
        match self.source(address, By::Datagram) {
            None => Some(Trust::Authenticated),
            Some(source) if self.is_silenced(source) && is_registered() => {
                let heard = self.standings().message_of_phone(source, Instant::now());
                heard.map_err(|turned| self.turned_away(source, turned)).ok().map(|()| Trust::Authenticated)
            }
            Some(source) => self.hear(source).ok().map(|()| Trust::Unauthenticated),
        }
    }

    fn is_silenced(&self, source: Source) -> bool {
        self.standings().is_silenced(source, Instant::now())
    }

    fn hear(&self, source: Source) -> Result<(), Breach> {
        let heard = self.standings().message(source, Instant::now());
        heard.map_err(|turned| {
            self.turned_away(source, turned);
            Breach::of(turned)
        })
    }

    fn turned_away(&self, source: Source, turned: TurnedAway) {
        self.metrics.add(match turned.why {
            TurnedAwayCause::Banned => Count::TurnedBanned,
            TurnedAwayCause::Connections => Count::TurnedConnections,
            TurnedAwayCause::Handshakes => Count::TurnedHandshakes,
            TurnedAwayCause::HandshakeRate => Count::TurnedHandshakeRate,
            TurnedAwayCause::MessageRate => Count::TurnedMessageRate,
        });
        if let Log::Say { times } = turned.log {
            let (by, why) = (source.by.as_str(), turned.why.as_str());
            tracing::warn!(address = %source, by, why, times, "requests of this address are refused for a while; see [defence]");
        }
    }

    /// A sender of datagrams did something that only unauthenticated clients do.
    pub(crate) fn datagram_offends(&self, address: IpAddr, offence: Offence) {
        if let Some(source) = self.source(address, By::Datagram) {
            self.offends(source, offence);
        }
    }

    /// Somebody who sends datagrams proved to be a user.
    pub(crate) fn datagram_proved(&self, address: IpAddr) {
        if let Some(source) = self.source(address, By::Datagram) {
            self.standings().proved(source, Instant::now());
        }
    }

    fn offends(&self, source: Source, offence: Offence) -> Consequence {
        self.metrics.add(match offence {
            Offence::Credentials => Count::OffencesCredentials,
            Offence::Handshake => Count::OffencesHandshake,
            Offence::Malformed => Count::OffencesMalformed,
            Offence::Refused => Count::OffencesRefused,
            Offence::Unproved => Count::OffencesUnproved,
            Offence::Scanner => Count::OffencesScanner,
        });
        let judgement = self.standings().offend(source, offence, Instant::now());
        match judgement {
            Judgement::Noted => return Consequence::None,
            Judgement::StillBanned => {}
            Judgement::Banned(log) => {
                self.metrics.add(Count::Bans);
                if let Log::Say { .. } = log {
                    let (by, offence) = (source.by.as_str(), offence.as_str());
                    tracing::warn!(address = %source, by, offence, "an address is banned for a while; see [defence]");
                }
            }
        }
        Consequence::Leaves(match offence {
            Offence::Credentials => Breach::Credentials,
            other => Breach::Banned(other),
        })
    }

    /// Whether a request says that it comes from a scanner.
    pub(crate) fn is_scanner(&self, request: &Message<'_>) -> bool {
        let rules = self.rules();
        let mut names = request.all(HeaderId::UserAgent).map(|header| header.value.to_ascii_lowercase());
        names.any(|name| {
            rules.scanners.iter().any(|word| memchr::memmem::find(&name, word.as_bytes()).is_some())
        })
    }

    /// Addresses that are banned now, at most this many.
    pub(crate) fn bans(&self, most: usize) -> Vec<Ban> {
        self.standings().bans(Instant::now(), most)
    }

    /// Ends the bans of an address.
    pub(crate) fn lift(&self, address: IpAddr) -> Vec<Ban> {
        let (mut standings, now) = (self.standings(), Instant::now());
        let ways = [By::Connection, By::Datagram];
        ways.into_iter().filter_map(|by| standings.lift(Source::of(address, by), now)).collect()
    }

    /// Measures what is seen on the metrics page.
    pub(crate) fn measure(&self) {
        let remembered = self.standings().len();
        self.metrics.set(Gauge::Addresses, remembered as u64);
        self.quotas.measure();
    }
}

impl AdmittedClient {
    /// Its handshake is done.
    pub(crate) fn greeted(&self) {
        if self.stage.replace(Stage::Flow) == Stage::Handshake
            && let (Some(source), Arrived::Counted) = (self.source, self.counted)
        {
            self.admission.standings().greeted(source);
        }
    }

    /// A message comes of it.
    ///
    /// # Errors
    /// It is not listened to: its connection is closed.
    pub(crate) fn speaks(&self) -> Result<Trust, Breach> {
        match (self.trust.get(), self.source) {
            (Trust::Unauthenticated, Some(source)) => {
                self.admission.hear(source).map(|()| Trust::Unauthenticated)
            }
            (trust, _) => match &*self.holder.borrow() {
                Some(holder) => self.admission.quotas.hear(holder.user()).ok_or(Breach::UserMessageRate),
                None => Ok(trust),
            },
        }
    }

    /// The source that limits are counted for; none if there are no limits for it.
    pub(crate) fn source(&self) -> Option<Source> {
        self.source
    }

    /// The user against whose quota its messages count.
    pub(crate) fn quota_holder(&self) -> Option<Arc<User>> {
        self.holder.borrow().as_ref().map(|holder| Arc::clone(holder.user()))
    }

    /// It is this user's own from now on.
    ///
    /// # Errors
    /// The user has as many connections as it may have.
    pub(crate) fn belongs_to(&self, aor: &str) -> Result<(), QuotaExceeded> {
        if self.source.is_none()
            || matches!(&*self.holder.borrow(), Some(holder @ QuotaHolder::ConnectionHandler(_)) if holder.user().name() == aor)
        {
            return Ok(());
        }
        let quotas = &self.admission.quotas;
        let connection = quotas.user(aor).map(|user| quotas.connect(&user)).transpose()?;
        self.holder.replace(connection.map(QuotaHolder::ConnectionHandler));
        Ok(())
    }

    /// A user has proved in a request who it is. Whose own it is pays for all that is said on it.
    pub(crate) fn speaks_for(&self, aor: &str) {
        let mut holder = self.holder.borrow_mut();
        let stays = match &*holder {
            Some(QuotaHolder::ConnectionHandler(_)) => true,
            Some(QuotaHolder::ByRequest(user)) => user.name() == aor,
            None => self.source.is_none(),
        };
        if !stays {
            *holder = self.admission.quotas.user(aor).map(QuotaHolder::ByRequest);
        }
    }

    /// Whether it has not proved to be anybody.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        self.trust.get() == Trust::Unauthenticated
    }

    /// It proved to be a user.
    pub(crate) fn proved(&self) {
        self.trust.set(Trust::Authenticated);
        if let Some(source) = self.source {
            self.admission.standings().proved(source, Instant::now());
        }
    }

    /// It did something that counts against unauthenticated clients. An authenticated client may mistype, but
    /// may guess no more than others. Its address is not banned for that.
    pub(crate) fn offends(&self, offence: Offence) -> Consequence {
        match (self.trust.get(), self.source, offence) {
            (_, None, _) => Consequence::None,
            (Trust::Unauthenticated, Some(source), _) => self.admission.offends(source, offence),
            (Trust::Authenticated | Trust::Throttled(_), Some(_), Offence::Credentials) => {
                self.failures.set(self.failures.get().saturating_add(1));
                if self.failures.get() > self.admission.rules().patience {
                    Consequence::Leaves(Breach::Credentials)
                } else {
                    Consequence::None
                }
            }
            (Trust::Authenticated | Trust::Throttled(_), Some(_), _) => Consequence::None,
        }
    }
}

impl Drop for AdmittedClient {
    fn drop(&mut self) {
        self.greeted();
        if let (Some(source), Arrived::Counted) = (self.source, self.counted) {
            self.admission.standings().leave(source);
        }
    }
}
