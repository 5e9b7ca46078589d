//! Users who are online by the records, and the ends that are owed to those who have gone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{EventId, Findings, RemovalCause, Text, UserOnline, wire::subject::text_at};

/// What took the last binding of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBinding {
    /// When that was recorded, in microseconds since the Unix epoch.
    pub at: u64,
    /// Why it went.
    pub cause: RemovalCause,
    /// The flow that it belonged to; one over UDP had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<Box<str>>,
}

/// A user with bindings, or who has not been told to be offline yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenUser {
    /// How many bindings there are.
    pub bindings: u32,
    /// When the user came online, in microseconds since the Unix epoch; none of one of whom that was not
    /// recorded.
    pub online_at: Option<u64>,
    /// What took the last binding of one who is online.
    pub last: Option<Box<LastBinding>>,
}

/// The part of a fold that is about users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenUsers {
    pub(crate) users: BTreeMap<Text<160>, OpenUser>,
    pub(crate) online: usize,
    /// `user.online` records seen.
    pub came: u64,
    /// `user.offline` records seen.
    pub went: u64,
    /// Users who came online and were.
    pub online_twice: Findings<(EventId, String)>,
    /// Users who went offline and were not online.
    pub offline_without_online: Findings<(EventId, String)>,
    /// Users who went offline and had a binding.
    pub offline_with_binding: Findings<(EventId, String)>,
}

impl OpenUsers {
    /// A binding came.
    pub fn added(&mut self, aor: &Text<160>) {
        self.count(aor, 1);
    }

    /// `bindings` of them came.
    pub(crate) fn count(&mut self, aor: &Text<160>, bindings: u32) {
        let user = self.users.entry(aor.clone()).or_default();
        user.bindings = user.bindings.saturating_add(bindings);
        user.last = None;
    }

    /// A binding went.
    pub fn removed(&mut self, aor: &Text<160>, last: impl FnOnce() -> LastBinding) {
        let Some(user) = self.users.get_mut(aor).filter(|user| user.bindings > 0) else { return };
        user.bindings -= 1;
        if user.bindings > 0 {
            return;
        }
        if user.online_at.is_some() {
            user.last = Some(Box::new(last()));
        } else {
            self.users.remove(aor);
        }
    }

    /// A user came online, at so many microseconds since the Unix epoch; false if the user was.
    pub fn came(&mut self, aor: Text<160>, at: u64) -> bool {
        self.came += 1;
        let user = self.users.entry(aor).or_default();
        let new = user.online_at.is_none();
        if new {
            user.online_at = Some(at);
            self.online += 1;
        }
        new
    }

    pub(crate) fn fold_online(&mut self, id: EventId, payload: &[u8]) -> Option<()> {
        let UserOnline { aor, online_at } = serde_json::from_slice(payload).ok()?;
        if !self.came(aor.clone(), online_at) {
            self.online_twice.push((id, aor.to_string()));
        }
        Some(())
    }

    pub(crate) fn fold_offline(&mut self, id: EventId, payload: &[u8]) -> Option<()> {
        let aor = Text::new(&*text_at(payload, "aor")?);
        self.went += 1;
        match self.users.get_mut(&aor).filter(|user| user.online_at.is_some()) {
            Some(user) => {
                (user.online_at, user.last) = (None, None);
                self.online -= 1;
                if user.bindings == 0 {
                    self.users.remove(&aor);
                } else {
                    self.offline_with_binding.push((id, aor.to_string()));
                }
            }
            None => self.offline_without_online.push((id, aor.to_string())),
        }
        Some(())
    }

    /// How many records do not fit to the others.
    #[must_use]
    pub const fn wrong(&self) -> u64 {
        self.online_twice.len() + self.offline_without_online.len() + self.offline_with_binding.len()
    }

    /// How many users are online.
    #[must_use]
    pub const fn online(&self) -> usize {
        self.online
    }

    /// Users who are online, with the time since when, in microseconds since the Unix epoch.
    pub fn who(&self) -> impl Iterator<Item = (&Text<160>, u64)> {
        self.users.iter().filter_map(|(aor, user)| Some((aor, user.online_at?)))
    }

    /// Users who are online or have a binding, by address-of-record.
    #[must_use]
    pub const fn users(&self) -> &BTreeMap<Text<160>, OpenUser> {
        &self.users
    }

    /// Hands them over.
    #[must_use]
    pub fn into_users(self) -> BTreeMap<Text<160>, OpenUser> {
        self.users
    }
}
