//! Users who are online: those with a binding, or with one until a short time ago.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use lifecycle::{LastBinding, OpenUsers, RemovalCause, Text};

/// Users by their address-of-record as records name it, with a hold-off: who is without a binding for a
/// moment stays.
///
/// Each user carries an `R`, given at its coming and handed back at its going: the room in the ledger for the
/// record of that. One that an earlier process left has none.
#[derive(Debug)]
pub struct Presence<R> {
    users: HashMap<Text<160>, User<R>>,
    /// Those without a binding, by the time when they are offline.
    due: BTreeSet<(Instant, Text<160>)>,
    hold: Duration,
    most: usize,
}

#[derive(Debug)]
struct User<R> {
    online_at: u64,
    bindings: u32,
    room: Option<R>,
    /// When one without a binding is offline, and what took the last one.
    gone: Option<Box<(Instant, LastBinding)>>,
}

/// A user who is offline, and was online until now.
#[derive(Debug)]
pub struct Gone<R> {
    /// The address-of-record.
    pub aor: Text<160>,
    /// When the user came online, in microseconds since the Unix epoch.
    pub online_at: u64,
    /// What took the last binding.
    pub last: LastBinding,
    /// What the user came with.
    pub room: Option<R>,
}

/// What is to be reserved before a binding of a user is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// Nothing: the user is online, and the record of the going is paid for.
    Nothing,
    /// The user is online, and the record of the going is not paid for.
    Going,
    /// The user is not online.
    ComingAndGoing,
}

/// What a binding made of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The user is online from now on.
    Online,
    /// The user was online.
    Stays,
}

impl<R> Presence<R> {
    /// No user is online. A user without a binding for `hold` is offline; there should be at most `most`
    /// users.
    #[must_use]
    pub fn new(hold: Duration, most: usize) -> Self {
        Self { users: HashMap::new(), due: BTreeSet::new(), hold, most }
    }

    /// Users whom an earlier process left online. The hold-off of those without a binding begins now.
    #[must_use]
    pub fn carried_over(left: OpenUsers, hold: Duration, most: usize, now: Instant) -> Self {
        let mut presence = Self::new(hold, most);
        for (aor, left) in left.into_users() {
            let Some(online_at) = left.online_at else { continue };
            let mut user = User { online_at, bindings: left.bindings, room: None, gone: None };
            if left.bindings == 0 {
                let unknown = LastBinding { at: online_at, cause: RemovalCause::NodeCrash, flow: None };
                let due = now + hold;
                presence.due.insert((due, aor.clone()));
                user.gone = Some(Box::new((due, left.last.map_or(unknown, |last| *last))));
            }
            presence.users.insert(aor, user);
        }
        presence
    }

    /// What is to be reserved before a binding of this user is added.
    #[must_use]
    pub fn owed(&self, aor: &Text<160>) -> Owed {
        match self.users.get(aor) {
            None => Owed::ComingAndGoing,
            Some(User { room: None, .. }) => Owed::Going,
            Some(User { room: Some(_), .. }) => Owed::Nothing,
        }
    }

    /// A binding came, at so many microseconds since the Unix epoch. `room` is what [`Presence::owed`] asks
    /// for.
    pub fn added(&mut self, aor: &Text<160>, at: u64, room: Option<R>) -> Came {
        match self.users.entry(aor.clone()) {
            Entry::Vacant(place) => {
                place.insert(User { online_at: at, bindings: 1, room, gone: None });
                Came::Online
            }
            Entry::Occupied(mut place) => {
                let user = place.get_mut();
                user.bindings = user.bindings.saturating_add(1);
                if user.room.is_none() {
                    user.room = room;
                }
                if let Some(gone) = user.gone.take() {
                    self.due.remove(&(gone.0, aor.clone()));
                }
                Came::Stays
            }
        }
    }

    /// A binding went; `last` says how, should it have been the last one.
    pub fn removed(&mut self, aor: &Text<160>, now: Instant, last: impl FnOnce() -> LastBinding) {
        let Some(user) = self.users.get_mut(aor).filter(|user| user.bindings > 0) else { return };
        user.bindings -= 1;
        if user.bindings == 0 {
            let due = now + self.hold;
            user.gone = Some(Box::new((due, last())));
            self.due.insert((due, aor.clone()));
        }
    }

    /// Takes out who has had no binding for the hold-off, the longest first.
    #[must_use = "who is taken out is owed a record"]
    pub fn due(&mut self, now: Instant) -> Option<Gone<R>> {
        self.due.first().filter(|(due, _)| *due <= now)?;
        self.longest_gone()
    }

    /// Where there are more users than there should be, takes out who has had no binding for the longest.
    #[must_use = "who is taken out is owed a record"]
    pub fn beyond(&mut self) -> Option<Gone<R>> {
        if self.users.len() > self.most { self.longest_gone() } else { None }
    }

    fn longest_gone(&mut self) -> Option<Gone<R>> {
        let (_, aor) = self.due.pop_first()?;
        let User { online_at, room, gone, .. } = self.users.remove(&aor)?;
        Some(Gone { aor, online_at, last: gone?.1, room })
    }

    /// Puts back who could not be recorded, until then.
    pub fn put_off(&mut self, gone: Gone<R>, until: Instant) {
        let Gone { aor, online_at, last, room } = gone;
        self.due.insert((until, aor.clone()));
        let gone = Some(Box::new((until, last)));
        self.users.insert(aor, User { online_at, bindings: 0, room, gone });
    }

    /// How many users are online, those in their hold-off included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody is online.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Users by address-of-record, with the number of their bindings, in no order.
    pub fn users(&self) -> impl Iterator<Item = (&Text<160>, u32)> {
        self.users.iter().map(|(aor, user)| (aor, user.bindings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(10);

    fn ada() -> Text<160> {
        Text::new("ada@x")
    }

    fn last() -> LastBinding {
        LastBinding { at: 7, cause: RemovalCause::FlowClosed, flow: Some("e.1.f1".into()) }
    }

    #[test]
    fn a_user_without_a_binding_for_a_moment_stays_online() {
        let (mut presence, now) = (Presence::new(HOLD, 10), Instant::now());
        assert_eq!(presence.owed(&ada()), Owed::ComingAndGoing);
        assert_eq!(presence.added(&ada(), 5, Some("room")), Came::Online);
        assert_eq!(presence.owed(&ada()), Owed::Nothing);
        assert_eq!(presence.added(&ada(), 6, None), Came::Stays);
        presence.removed(&ada(), now, last);
        assert!(presence.due(now + 2 * HOLD).is_none(), "another binding is there");
        presence.removed(&ada(), now, last);
        assert!(presence.due(now + HOLD - Duration::from_millis(1)).is_none());
        assert_eq!(presence.added(&ada(), 8, None), Came::Stays);
        assert!(presence.due(now + 2 * HOLD).is_none(), "the user came back");
        presence.removed(&ada(), now + HOLD, last);
        let gone = presence.due(now + 2 * HOLD).unwrap();
        assert_eq!((gone.aor, gone.online_at, gone.last, gone.room), (ada(), 5, last(), Some("room")));
        assert!(presence.is_empty() && presence.due(now + 9 * HOLD).is_none());
    }

    #[test]
    fn who_was_left_online_has_the_whole_hold_off_to_come_back_and_pays_then() {
        let mut left = OpenUsers::default();
        for aor in ["gone@x", "back@x", "phone@x"].map(Text::new) {
            left.added(&aor);
            left.came(aor, 3);
        }
        left.removed(&Text::new("gone@x"), last);
        left.removed(&Text::new("back@x"), last);
        left.added(&Text::new("never told@x"));
        let now = Instant::now();
        let mut presence = Presence::carried_over(left, HOLD, 10, now);
        assert_eq!(presence.len(), 3);
        assert_eq!(presence.owed(&Text::new("back@x")), Owed::Going);
        assert_eq!(presence.added(&Text::new("back@x"), 9, Some(())), Came::Stays);
        assert_eq!(presence.owed(&Text::new("back@x")), Owed::Nothing);
        assert!(presence.due(now).is_none());
        let gone = presence.due(now + HOLD).unwrap();
        assert_eq!((gone.aor.as_str(), gone.online_at, gone.last.clone()), ("gone@x", 3, last()));
        presence.put_off(gone, now + 2 * HOLD);
        assert!(presence.due(now + HOLD).is_none(), "put off, and nobody else is gone");
        assert_eq!(presence.due(now + 2 * HOLD).unwrap().aor.as_str(), "gone@x");
    }

    #[test]
    fn beyond_the_bound_the_longest_gone_goes_and_nobody_who_is_there() {
        let (mut presence, now) = (Presence::new(HOLD, 2), Instant::now());
        for (number, aor) in (1..).zip(["a@x", "b@x", "c@x"].map(Text::new)) {
            presence.added(&aor, 1, Some(()));
            if aor.as_str() != "c@x" {
                presence.removed(&aor, now + Duration::from_secs(number), last);
            }
        }
        assert_eq!(presence.beyond().unwrap().aor.as_str(), "a@x");
        assert!(presence.beyond().is_none());
        presence.added(&Text::new("b@x"), 1, None);
        presence.added(&Text::new("d@x"), 1, Some(()));
        assert!(presence.beyond().is_none(), "all three have a binding");
    }
}
