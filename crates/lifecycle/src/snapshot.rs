//! What a fold knows, as bytes: so that the next one need not begin at the beginning.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    EventId, Findings, FlowFacts, LastBinding, OpenBinding, OpenCall, OpenCalls, OpenState, OpenUsers, Text,
    Trimmed,
};

/// The form written. A reader knows this one and every older one.
const VERSION: u32 = 3;

/// A snapshot that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A newer program wrote it.
    #[error("the snapshot has form {found}, this program knows {VERSION}: it was written by a newer one")]
    Newer {
        /// Its form.
        found: u32,
    },
    /// It is not what was written.
    #[error("the snapshot cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A flow refers to facts that are not there.
    #[error("the snapshot is not whole: a flow has no facts")]
    NoFacts,
}

#[derive(Deserialize)]
struct Form {
    version: u32,
}

/// An event id.
type Id = (u64, u64);

#[derive(Serialize, Deserialize)]
struct Found<T> {
    named: Vec<T>,
    count: u64,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { named: Vec::new(), count: 0 }
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u32,
    opened: u64,
    closed: u64,
    /// The first and the last record dropped.
    trimmed: Option<(Id, Id)>,
    facts: Vec<FlowFacts>,
    /// Id, opened at, remote, and which of the facts.
    flows: Vec<(Box<str>, u64, SocketAddr, usize)>,
    /// Flow, address-of-record, contact, and how many of them.
    bindings: Vec<(Option<Box<str>>, Text<160>, Text<320>, u32)>,
    closed_without_open: Found<(Id, String)>,
    opened_twice: Found<(Id, String)>,
    unreadable: Found<Id>,
    /// Since form 2.
    #[serde(default)]
    calls: CallsWire,
    /// Since form 3.
    #[serde(default)]
    users: UsersWire,
}

#[derive(Default, Serialize, Deserialize)]
struct UsersWire {
    came: u64,
    went: u64,
    /// Address-of-record, online since when, and what took the last binding. How many bindings there are, the
    /// bindings say.
    online: Vec<(Text<160>, u64, Option<Box<LastBinding>>)>,
    online_twice: Found<(Id, String)>,
    offline_without_online: Found<(Id, String)>,
    offline_with_binding: Found<(Id, String)>,
}

#[derive(Default, Serialize, Deserialize)]
struct CallsWire {
    started: u64,
    ended: u64,
    open: Vec<(Box<str>, OpenCall)>,
    ended_without_start: Found<(Id, String)>,
    started_twice: Found<(Id, String)>,
}

const fn to_id(id: EventId) -> Id {
    (id.incarnation, id.sequence)
}

const fn from_id((incarnation, sequence): Id) -> EventId {
    EventId { incarnation, sequence }
}

fn to_found<T, W>(findings: &Findings<T>, to: impl Fn(&T) -> W) -> Found<W> {
    Found { named: findings.iter().map(to).collect(), count: findings.len() }
}

fn from_found<T, W>(found: Found<W>, from: impl Fn(W) -> T) -> Findings<T> {
    Findings { named: found.named.into_iter().map(from).collect(), count: found.count }
}

impl OpenState {
    /// What this fold knows, as bytes for [`OpenState::restore`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut numbers = std::collections::HashMap::with_capacity(self.pool.len());
        let mut facts = Vec::with_capacity(self.pool.len());
        let flows = self.flows.iter().map(|(flow, left)| {
            let number = *numbers.entry(std::sync::Arc::as_ptr(&left.shared)).or_insert_with(|| {
                facts.push((*left.shared).clone());
                facts.len() - 1
            });
            (flow.clone(), left.opened_at, left.remote, number)
        });
        let flows = flows.collect();
        let binding = |((flow, left), count): (&(Option<Box<str>>, OpenBinding), &u32)| {
            (flow.clone(), left.aor.clone(), left.contact.clone(), *count)
        };
        let named = |(id, flow): &(EventId, String)| (to_id(*id), flow.clone());
        let online = self
            .users
            .users
            .iter()
            .filter_map(|(aor, user)| Some((aor.clone(), user.online_at?, user.last.clone())));
        let wire = Wire {
            version: VERSION,
            opened: self.opened,
            closed: self.closed,
            trimmed: self.trimmed.map(|trimmed| (to_id(trimmed.first), to_id(trimmed.last))),
            facts,
            flows,
            bindings: self.bindings.iter().map(binding).collect(),
            closed_without_open: to_found(&self.closed_without_open, named),
            opened_twice: to_found(&self.opened_twice, named),
            unreadable: to_found(&self.unreadable, |id| to_id(*id)),
            calls: CallsWire {
                started: self.calls.started,
                ended: self.calls.ended,
                open: self.calls.open.iter().map(|(call, left)| (call.clone(), left.clone())).collect(),
                ended_without_start: to_found(&self.calls.ended_without_start, named),
                started_twice: to_found(&self.calls.started_twice, named),
            },
            users: UsersWire {
                came: self.users.came,
                went: self.users.went,
                online: online.collect(),
                online_twice: to_found(&self.users.online_twice, named),
                offline_without_online: to_found(&self.users.offline_without_online, named),
                offline_with_binding: to_found(&self.users.offline_with_binding, named),
            },
        };
        serde_json::to_vec(&wire).expect("plain structs with string keys always serialise")
    }

    /// A fold that goes on where another one left off.
    ///
    /// # Errors
    /// The bytes are no snapshot, or one of a newer program.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let Form { version } = serde_json::from_slice(bytes)?;
        if version > VERSION {
            return Err(SnapshotError::Newer { found: version });
        }
        let wire: Wire = serde_json::from_slice(bytes)?;
        let named = |(id, flow)| (from_id(id), flow);
        let mut restored = Self {
            opened: wire.opened,
            closed: wire.closed,
            trimmed: wire.trimmed.map(|(first, last)| Trimmed { first: from_id(first), last: from_id(last) }),
            closed_without_open: from_found(wire.closed_without_open, named),
            opened_twice: from_found(wire.opened_twice, named),
            unreadable: from_found(wire.unreadable, from_id),
            calls: OpenCalls {
                open: wire.calls.open.into_iter().collect(),
                started: wire.calls.started,
                ended: wire.calls.ended,
                ended_without_start: from_found(wire.calls.ended_without_start, named),
                started_twice: from_found(wire.calls.started_twice, named),
            },
            users: OpenUsers {
                online_twice: from_found(wire.users.online_twice, named),
                offline_without_online: from_found(wire.users.offline_without_online, named),
                offline_with_binding: from_found(wire.users.offline_with_binding, named),
                ..OpenUsers::default()
            },
            ..Self::default()
        };
        for (flow, opened_at, remote, number) in wire.flows {
            let facts = wire.facts.get(number).ok_or(SnapshotError::NoFacts)?;
            restored.insert(flow, opened_at, FlowFacts { remote, ..facts.clone() });
        }
        for (aor, since, last) in wire.users.online {
            restored.users.came(aor.clone(), since);
            if let Some(user) = restored.users.users.get_mut(&aor) {
                user.last = last;
            }
        }
        (restored.users.came, restored.users.went) = (wire.users.came, wire.users.went);
        for (flow, aor, contact, count) in wire.bindings {
            restored.users.count(&aor, count);
            restored.bindings.insert((flow, OpenBinding { aor, contact }), count);
        }
        Ok(restored)
    }
}
