//! `user.offline`, and what else is recorded of users besides their bindings.
//!
//! The table goes by the order of the ledger. An addition counts under the lock under which its record is
//! appended, and `user.online` with it; a removal counts once its record is appended. So who is found to be
//! gone here is gone in the ledger, too, and nobody comes between that and the record of it.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use ledger::{Refused, Reservation};
use lifecycle::{Event, Now, OFFLINE_RESERVE, ONLINE_RESERVE, Text, UserOffline};
use location::{Gone, Owed, Presence};
use metrics::{Count, Gauge};

use crate::registry::Registry;

/// Between two attempts at a record for which there was no room.
const RETRY: Duration = Duration::from_secs(1);

/// Room for the records of a user.
#[derive(Default)]
pub struct UserRooms {
    pub coming: Option<Reservation>,
    pub going: Option<Reservation>,
}

impl Registry {
    /// Users who are online. Locked behind the location table, never before it.
    pub fn presence(&self) -> MutexGuard<'_, Presence<Reservation>> {
        // A panic under this lock is a bug of ours; the table's own invariants are kept by its methods.
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pays for what a user is going to need.
    pub fn pay_for_user(&self, owed: Owed, rooms: &mut UserRooms) -> Result<(), Refused> {
        match owed {
            Owed::Nothing => return Ok(()),
            Owed::Going => {}
            Owed::ComingAndGoing => rooms.coming = Some(self.ledger.reserve(ONLINE_RESERVE)?),
        }
        rooms.going = Some(self.ledger.reserve(OFFLINE_RESERVE)?);
        Ok(())
    }

    /// Writes `user.offline` for those who have had no binding for the hold-off, at most `at_most`; says how
    /// many were due.
    pub fn tell_offline(&self, time: Now, at_most: usize) -> usize {
        let now = time.instant;
        let mut due = 0;
        let mut presence = self.presence();
        // Behind node.stopped there is nothing; the next start knows whom it is owed.
        while due < at_most
            && !self.is_closing()
            && let Some(gone) = presence.due(now)
        {
            self.offline(&mut presence, gone, time);
            due += 1;
        }
        due
    }

    /// There are as many users as there may be: who is gone the longest makes room.
    pub fn make_room_for_users(&self, presence: &mut Presence<Reservation>, time: Now) {
        if let Some(gone) = presence.beyond() {
            self.metrics.add(Count::UsersOfflineEarly);
            self.offline(presence, gone, time);
        }
        self.metrics.set(Gauge::UsersOnline, presence.len() as u64);
    }

    fn offline(
        &self,
        presence: &mut Presence<Reservation>,
        mut gone: Gone<Reservation>,
        Now { instant: now, unix_micros: at }: Now,
    ) {
        // Nothing was paid for whom an earlier process left.
        let Some(room) = gone.room.take().or_else(|| self.ledger.reserve(OFFLINE_RESERVE).ok()) else {
            return presence.put_off(gone, now + RETRY);
        };
        let last = &gone.last;
        let offline = UserOffline::new(gone.aor, last.flow.as_deref(), last.cause, gone.online_at, last.at);
        self.write(room, at, &Event::UserOffline(offline));
        self.metrics.add(Count::UsersWentOffline);
        self.metrics.set(Gauge::UsersOnline, presence.len() as u64);
    }

    /// How many users are online, those in their hold-off included.
    pub fn users_online(&self) -> usize {
        self.presence().len()
    }

    /// Users who are online, with the number of their bindings, by address-of-record.
    pub fn users(&self) -> Vec<(Text<160>, u32)> {
        let mut users: Vec<_> =
            self.presence().users().map(|(aor, bindings)| (aor.clone(), bindings)).collect();
        users.sort();
        users
    }
}
