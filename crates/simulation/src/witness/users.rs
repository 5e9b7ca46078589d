//! Who is online by the records: online and offline in turn, on the bindings that there are.

use std::{collections::BTreeMap, time::Duration};

use super::field;

#[derive(Default)]
pub(crate) struct Users {
    users: BTreeMap<String, User>,
    /// When the current run began, in microseconds since the Unix epoch.
    begun: u64,
}

#[derive(Default)]
struct User {
    online: bool,
    bindings: u32,
    /// When the last binding went, why, and its flow.
    last: Option<(u64, String, Option<String>)>,
}

impl Users {
    /// A run begins.
    pub(super) fn begin(&mut self, at: u64) {
        self.begun = at;
    }

    pub(super) fn added(&mut self, text: &str) -> Result<(), String> {
        self.user(text)?.bindings += 1;
        Ok(())
    }

    pub(super) fn removed(&mut self, at: u64, text: &str) -> Result<(), String> {
        let cause = field(text, "cause").ok_or("no cause")?.to_owned();
        let flow = field(text, "flow").map(ToOwned::to_owned);
        let user = self.user(text)?;
        user.bindings = user.bindings.saturating_sub(1);
        user.last = Some((at, cause, flow));
        Ok(())
    }

    pub(super) fn online(&mut self, text: &str) -> Result<(), String> {
        let user = self.user(text)?;
        if std::mem::replace(&mut user.online, true) {
            return Err("a user comes online twice".to_owned());
        }
        if user.bindings == 1 { Ok(()) } else { Err(format!("online with {} bindings", user.bindings)) }
    }

    pub(super) fn offline(&mut self, at: u64, text: &str, hold: Duration) -> Result<(), String> {
        let begun = self.begun;
        let user = self.user(text)?;
        if !std::mem::replace(&mut user.online, false) {
            return Err("a user goes offline and is not online".to_owned());
        }
        if user.bindings > 0 {
            return Err(format!("offline with {} bindings", user.bindings));
        }
        let (gone, cause, flow) = user.last.as_ref().ok_or("no binding of this user ever went")?;
        if (field(text, "cause"), field(text, "last_flow")) != (Some(cause), flow.as_deref()) {
            return Err(format!("the last binding went by {cause} from {flow:?}"));
        }
        // Nobody can come back to a process that is not there.
        let without = Duration::from_micros(at.saturating_sub((*gone).max(begun)));
        if without < hold { Err(format!("offline after {without:?}, not {hold:?}")) } else { Ok(()) }
    }

    fn user(&mut self, text: &str) -> Result<&mut User, String> {
        let aor = field(text, "aor").ok_or("no aor")?;
        Ok(self.users.entry(aor.to_owned()).or_default())
    }

    /// Who is online, with the number of bindings.
    pub(crate) fn who(&self) -> impl Iterator<Item = (&str, u32)> {
        let online = self.users.iter().filter(|(_, user)| user.online);
        online.map(|(aor, user)| (aor.as_str(), user.bindings))
    }

    /// Somebody who has a binding and is not online.
    pub(crate) fn overlooked(&self) -> Option<&str> {
        let overlooked = self.users.iter().find(|(_, user)| user.bindings > 0 && !user.online);
        overlooked.map(|(aor, _)| aor.as_str())
    }
}
