//! A server's event stream, read line by line into what became of each flow.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

use lifecycle::{Cause, EventId, Incarnation};
use serde::Deserialize;

use crate::{author::author, findings::Findings};

/// Faults of the stream itself, independent of the clients.
#[derive(Clone, Debug, Default)]
pub struct StreamFaults {
    /// Lines that are no CloudEvent of this schema.
    pub unreadable: Findings,
    /// Sequence numbers left out, within one incarnation.
    pub gaps: Findings,
    /// Flows opened again under a new event id.
    pub opened_twice: Findings,
    /// Flows closed again under a new event id.
    pub closed_twice: Findings,
    /// Closes of flows that never opened.
    pub closed_without_open: Findings,
    /// Bindings that were still there when their flow closed.
    pub binding_outlived: Findings,
    /// Events of a flow after its close.
    pub after_close: Findings,
    /// A `by` or `certainty` that does not go with the cause.
    pub contradictions: Findings,
    /// Users who came online and were, or went offline and were not.
    pub out_of_turn: Findings,
}

impl StreamFaults {
    /// All kinds with their names.
    #[must_use]
    pub const fn all(&self) -> [(&'static str, &Findings); 9] {
        [
            ("unreadable lines", &self.unreadable),
            ("gaps in sequence numbers", &self.gaps),
            ("flows opened twice", &self.opened_twice),
            ("flows closed twice", &self.closed_twice),
            ("closes without open", &self.closed_without_open),
            ("bindings that outlived their flow", &self.binding_outlived),
            ("events after the close", &self.after_close),
            ("contradictions", &self.contradictions),
            ("users not online and offline in turn", &self.out_of_turn),
        ]
    }

    /// How many there are in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.all().iter().map(|(_, findings)| findings.count()).sum()
    }
}

/// One `flow.closed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenClose {
    /// The event's id.
    pub id: EventId,
    /// The event's time, in microseconds since the Unix epoch.
    pub at: u64,
    /// When it was read here.
    pub read_at: u64,
    /// Why; a server that is not Sipway need not tell.
    pub cause: Option<Cause>,
    /// The WebSocket close code.
    pub code: Option<u16>,
    /// The reason text.
    pub reason: Option<String>,
    /// How surely: `observed`, `journal_replay`, `lease_expired`.
    pub certainty: String,
}

/// What became of one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenFlow {
    /// The client's address as the server saw it.
    pub remote: SocketAddr,
    /// The time of `flow.opened`, in microseconds since the Unix epoch.
    pub opened_at: u64,
    /// The event that opened it.
    pub opened: EventId,
    /// Its closes: one, if all is well.
    pub closes: Vec<SeenClose>,
    /// Bindings added.
    pub added: u64,
    /// Why its bindings went, in order.
    pub removals: Vec<String>,
    held: HashSet<(String, String)>,
}

/// All that an event stream has told.
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    flows: HashMap<String, SeenFlow>,
    runs: BTreeMap<(String, Incarnation), u64>,
    opened: u64,
    closed: u64,
    redelivered: Findings,
    started: u64,
    stopped: Vec<EventId>,
    /// Nodes and addresses-of-record with the last type that was told of them.
    users: HashMap<(String, String), String>,
    /// Of events without an id: the latest flow from each remote address.
    latest: HashMap<SocketAddr, String>,
    unnumbered: u64,
    beginning: Beginning,
    /// What is wrong with the stream.
    pub faults: StreamFaults,
}

/// Which event of a stream comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Beginning {
    /// The first of its incarnation.
    #[default]
    First,
    /// Any: reading began while the server was running.
    Any,
}

#[derive(Deserialize)]
struct Envelope {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    time: Option<jiff::Timestamp>,
    data: serde_json::Value,
}

/// What a server must tell whose events have no id.
#[derive(Deserialize)]
struct Unnumbered {
    remote: SocketAddr,
    cause: Option<String>,
}

#[derive(Deserialize)]
struct Opened {
    flow: String,
    remote: SocketAddr,
}

#[derive(Deserialize)]
struct Closed {
    flow: String,
    by: String,
    cause: String,
    code: Option<u16>,
    reason: Option<String>,
    certainty: String,
}

#[derive(Deserialize)]
struct Binding {
    flow: Option<String>,
    aor: String,
    contact: String,
    cause: Option<String>,
}

#[derive(Deserialize)]
struct User {
    aor: String,
}

impl EventLog {
    /// A log of a stream that is read from somewhere in its middle on: what came before its first event is no
    /// gap.
    #[must_use]
    pub fn joining() -> Self {
        Self { beginning: Beginning::Any, ..Self::default() }
    }

    /// Takes in one line, read at this time (microseconds since the Unix epoch).
    ///
    /// Of a line without `id` only `type` and `data.remote` are asked for: `flow.closed` is then that of the
    /// latest flow from this address, and what its event leaves out is not judged.
    pub fn line(&mut self, line: &str, read_at: u64) {
        if let Err(error) = self.take(line, read_at) {
            self.faults.unreadable.add(|| format!("{error}: {line}"));
        }
    }

    fn take(&mut self, line: &str, read_at: u64) -> Result<(), serde_json::Error> {
        let Envelope { id, kind, time, data } = serde_json::from_str(line)?;
        let told_at = time.map(|time| u64::try_from(time.as_microsecond()).unwrap_or(0));
        let Some(text) = id else {
            let event = serde_json::from_value(data)?;
            return self.unnumbered(&kind, told_at.unwrap_or(read_at), read_at, event);
        };
        let (node, id) = EventId::parse(&text).map_err(serde::de::Error::custom)?;
        let at = told_at.unwrap_or(read_at);
        let joins = self.beginning == Beginning::Any && self.runs.is_empty();
        let last = self.runs.entry((node.to_string(), id.incarnation)).or_insert(0);
        if id.sequence <= *last {
            self.redelivered.add(|| text);
            return Ok(());
        }
        if id.sequence > *last + 1 && !joins {
            self.faults.gaps.add(|| format!("{text} came after {last}"));
        }
        *last = id.sequence;
        match kind.as_str() {
            "node.started" => self.started += 1,
            "node.stopped" => self.stopped.push(id),
            "flow.opened" => self.opened(id, at, serde_json::from_value(data)?),
            "flow.closed" => self.closed(id, at, read_at, serde_json::from_value(data)?)?,
            "binding.added" => self.binding_added(&text, serde_json::from_value(data)?),
            "binding.removed" => self.binding_removed(&text, serde_json::from_value(data)?),
            "user.online" | "user.offline" => {
                let User { aor } = serde_json::from_value(data)?;
                self.user(&text, (node.to_string(), aor), kind);
            }
            _ => {}
        }
        Ok(())
    }

    fn user(&mut self, event: &str, user: (String, String), kind: String) {
        let turn = match self.users.get(&user) {
            Some(last) => *last != kind,
            None => kind == "user.online" || self.beginning == Beginning::Any,
        };
        if !turn {
            self.faults.out_of_turn.add(|| format!("{kind} of {} by {event}", user.1));
        }
        self.users.insert(user, kind);
    }

    fn unnumbered(
        &mut self,
        kind: &str,
        at: u64,
        read_at: u64,
        Unnumbered { remote, cause }: Unnumbered,
    ) -> Result<(), serde_json::Error> {
        self.unnumbered += 1;
        let id = EventId { incarnation: 0, sequence: self.unnumbered };
        match kind {
            "flow.opened" => {
                let flow = format!("{remote} no. {}", self.unnumbered);
                self.latest.insert(remote, flow.clone());
                self.opened(id, at, Opened { flow, remote });
            }
            "flow.closed" => {
                let cause = cause.map(|cause| cause.parse()).transpose();
                let cause = cause.map_err(serde::de::Error::custom)?;
                let close = SeenClose {
                    id,
                    at,
                    read_at,
                    cause,
                    code: None,
                    reason: None,
                    certainty: "observed".to_owned(),
                };
                match self.latest.get(&remote).cloned() {
                    Some(flow) => self.close(&flow, close),
                    None => self.faults.closed_without_open.add(|| remote.to_string()),
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn opened(&mut self, id: EventId, at: u64, Opened { flow, remote }: Opened) {
        if self.flows.contains_key(&flow) {
            return self.faults.opened_twice.add(|| flow);
        }
        let seen = SeenFlow {
            remote,
            opened_at: at,
            opened: id,
            closes: Vec::new(),
            added: 0,
            removals: Vec::new(),
            held: HashSet::new(),
        };
        self.opened += 1;
        self.flows.insert(flow, seen);
    }

    fn closed(&mut self, id: EventId, at: u64, read_at: u64, event: Closed) -> Result<(), serde_json::Error> {
        let Closed { flow, by, cause, code, reason, certainty } = event;
        let cause: Cause = cause.parse().map_err(serde::de::Error::custom)?;
        let replayed = certainty == "journal_replay";
        if by != author(cause).as_str() || replayed != (cause == Cause::NodeCrash) {
            self.faults.contradictions.add(|| format!("{flow}: {cause} by {by}, {certainty}"));
        }
        self.close(&flow, SeenClose { id, at, read_at, cause: Some(cause), code, reason, certainty });
        Ok(())
    }

    fn close(&mut self, flow: &str, close: SeenClose) {
        let Some(seen) = self.flows.get_mut(flow) else {
            return self.faults.closed_without_open.add(|| flow.to_owned());
        };
        if !seen.held.is_empty() {
            self.faults.binding_outlived.add(|| format!("{flow}: {}", seen.held.len()));
        }
        if seen.closes.is_empty() {
            self.closed += 1;
        } else {
            self.faults.closed_twice.add(|| format!("{flow}: {}", cause_name(close.cause)));
        }
        seen.closes.push(close);
    }

    fn binding_added(&mut self, text: &str, Binding { flow, aor, contact, .. }: Binding) {
        let Some(flow) = flow else { return };
        let Some(seen) = self.flows.get_mut(&flow) else { return };
        if !seen.closes.is_empty() {
            self.faults.after_close.add(|| format!("{text}: binding added to {flow}"));
        }
        seen.added += 1;
        seen.held.insert((aor, contact));
    }

    fn binding_removed(&mut self, text: &str, Binding { flow, aor, contact, cause }: Binding) {
        let Some(flow) = flow else { return };
        let Some(seen) = self.flows.get_mut(&flow) else { return };
        if !seen.closes.is_empty() {
            self.faults.after_close.add(|| format!("{text}: binding removed from {flow}"));
        }
        if !seen.held.remove(&(aor, contact)) {
            self.faults.contradictions.add(|| format!("{text}: removed a binding that was not there"));
        }
        seen.removals.extend(cause);
    }

    /// Every flow by its id.
    #[must_use]
    pub const fn flows(&self) -> &HashMap<String, SeenFlow> {
        &self.flows
    }

    /// Gives up what is known of flows with their one close, so that a long run does not grow. The counts
    /// stay; another close of such a flow would count as one without open.
    pub fn forget_closed(&mut self) {
        self.flows.retain(|_, flow| flow.closes.len() != 1);
        self.latest.retain(|_, flow| self.flows.contains_key(flow));
    }

    /// Flows opened.
    #[must_use]
    pub const fn opened_count(&self) -> u64 {
        self.opened
    }

    /// Flows closed at least once.
    #[must_use]
    pub const fn closed_count(&self) -> u64 {
        self.closed
    }

    /// Flows that are open.
    #[must_use]
    pub const fn open_count(&self) -> u64 {
        self.opened - self.closed
    }

    /// Events that came again with the same id, as at-least-once delivery allows. A consumer that promises
    /// each event once has none.
    #[must_use]
    pub const fn redelivered(&self) -> &Findings {
        &self.redelivered
    }

    /// `node.started` events.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// `node.stopped` events.
    #[must_use]
    pub fn stopped(&self) -> &[EventId] {
        &self.stopped
    }

    /// The highest sequence number of each node's incarnations.
    pub fn runs(&self) -> impl Iterator<Item = (&str, Incarnation, u64)> {
        self.runs.iter().map(|((node, incarnation), last)| (node.as_str(), *incarnation, *last))
    }
}

pub(crate) fn cause_name(cause: Option<Cause>) -> &'static str {
    cause.map_or("for a cause that is not told", Cause::as_str)
}

#[cfg(test)]
mod tests;
