//! `sipway why`: what became of a connection, of a call, or of a user, in plain sentences with the evidence.

mod calling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use event_text::{ago, causes::removal_words, clock, counted, describe, why_closed, why_open};
use ledger::{LogReader, Position, ReadError};
use lifecycle::{
    BindingRemoved, EventId, EventKind, EventSubject, FlowId, Node, OpenBinding, OpenCall, OpenState,
    RemovalCause, Text, Word, mentions,
};
use sip_message::address_of_record_of;

use crate::{
    command::Why,
    now::now,
    outcome::Outcome,
    reverse_reader::{self, FoundRecord, Go},
    speech::say,
};

/// Connections of a user that are told of, the newest.
const FLOWS: usize = 5;

/// Without a sign of life for so long, in microseconds, a node is taken to be gone.
const SILENCE: u64 = 30_000_000;

pub(crate) fn run(why: &Why) -> Outcome {
    let (mut reader, node) = match why.place.open() {
        Ok(opened) => opened,
        Err(outcome) => return outcome,
    };
    let mut inquiry = Inquiry { reader: &mut reader, node: &node, now: now() };
    let subject = &why.subject;
    let sentences = match FlowId::parse(subject) {
        Ok((_, flow)) => inquiry.flow(subject, flow).map(|sentence| sentence.into_iter().collect()),
        Err(_) => match call_incarnation(subject) {
            Some(incarnation) => inquiry.call(subject, incarnation),
            // A Call-ID may look like an address.
            None => inquiry.user(&address_of_record_of(subject)).and_then(|sentences| match sentences[..] {
                [] => inquiry.call_id(subject),
                _ => Ok(sentences),
            }),
        },
    };
    match sentences {
        Ok(sentences) if sentences.is_empty() => Outcome::failed(format!(
            "the ledger knows nothing of {subject}; give a flow id (such as {node}.1.f4096), a call id ({node}.1.c1), a Call-ID or an address-of-record (user@domain or sip:user@domain)"
        )),
        Ok(sentences) => {
            sentences.iter().for_each(|sentence| say!("{sentence}"));
            Outcome::Done
        }
        Err(error) => Outcome::failed(error),
    }
}

/// What a user has now.
struct Present {
    bindings: Vec<(Option<String>, OpenBinding)>,
    /// By the calls' ids.
    calls: Vec<(Box<str>, OpenCall)>,
}

struct Inquiry<'a> {
    reader: &'a mut LogReader,
    node: &'a Node,
    now: u64,
}

impl Inquiry<'_> {
    /// The sentence about a flow; none if the ledger does not know it.
    fn flow(&mut self, name: &str, flow: FlowId) -> Result<Option<String>, ReadError> {
        let wanted = |kind, payload: &[u8]| {
            matches!(kind, EventKind::FlowOpened | EventKind::FlowClosed)
                && mentions(payload, name)
                && EventSubject::read(payload).is_some_and(|subject| subject.is_flow(name))
        };
        let mut newest = None;
        reverse_reader::read(self.reader, wanted, |segment, found| {
            newest = found.into_iter().next_back();
            // Its run began later than what is older.
            if newest.is_some() || segment < Position::new(flow.incarnation, 1) { Go::Stop } else { Go::On }
        })?;
        let Some(found) = newest else { return Ok(None) };
        Ok(if found.kind == EventKind::FlowClosed { self.closed(&found) } else { self.open(&found)? })
    }

    /// What happened to a call, from its beginning; nothing if the ledger does not know it.
    fn call(&mut self, name: &str, incarnation: u64) -> Result<Vec<String>, ReadError> {
        let wanted = |kind: EventKind, payload: &[u8]| {
            kind.as_str().starts_with("call.")
                && mentions(payload, name)
                && EventSubject::read(payload).is_some_and(|subject| subject.is_call(name))
        };
        let mut all = VecDeque::new();
        reverse_reader::read(self.reader, wanted, |segment, mut found| {
            found.append(&mut all);
            all = found;
            // Its run began later than what is older.
            let begun = all.front().is_some_and(|first: &FoundRecord| first.kind == EventKind::CallStarted);
            if begun || segment < Position::new(incarnation, 1) { Go::Stop } else { Go::On }
        })?;
        let tell = |found: &FoundRecord| describe(self.node, found.id, found.kind, found.at, &found.payload);
        let mut sentences: Vec<String> = all.iter().map(tell).collect();
        if all.back().is_some_and(|last| last.kind != EventKind::CallEnded) {
            sentences.push(format!("{name} goes on, as far as is known."));
        }
        Ok(sentences)
    }

    /// What happened to the newest call with this Call-ID, which user agents write into their logs.
    fn call_id(&mut self, call_id: &str) -> Result<Vec<String>, ReadError> {
        // Longer ones are cut in events.
        let kept = Text::<128>::new(call_id);
        let kept = kept.as_str();
        let wanted = |kind: EventKind, payload: &[u8]| {
            kind.as_str().starts_with("call.")
                && mentions(payload, kept)
                && EventSubject::read(payload).is_some_and(|subject| subject.call_id.as_deref() == Some(kept))
        };
        let mut newest = None;
        reverse_reader::read(self.reader, wanted, |_, found| {
            newest = found.into_iter().next_back();
            if newest.is_some() { Go::Stop } else { Go::On }
        })?;
        let name = newest.and_then(|found| Some(EventSubject::read(&found.payload)?.call?.into_owned()));
        match name.as_deref().and_then(|name| Some((name, call_incarnation(name)?))) {
            Some((name, incarnation)) => self.call(name, incarnation),
            None => Ok(Vec::new()),
        }
    }

    fn closed(&self, found: &FoundRecord) -> Option<String> {
        why_closed(&found.payload, self.now).map(|sentence| self.with_evidence(&sentence, found.id))
    }

    fn open(&self, found: &FoundRecord) -> Result<Option<String>, ReadError> {
        let Some(mut sentence) = why_open(&found.payload, self.now) else { return Ok(None) };
        let beat = self.reader.last_beat().map_err(ReadError::Fault)?;
        if let Some(beat) = beat.filter(|beat| beat.at.saturating_add(SILENCE) < self.now) {
            sentence.push_str(&format!(
                ", as far as is known: the server's last sign of life was {} ({}), and its next start writes what is owed",
                ago(beat.at, self.now),
                clock(beat.at)
            ));
        }
        Ok(Some(self.with_evidence(&sentence, found.id)))
    }

    fn with_evidence(&self, sentence: &str, id: EventId) -> String {
        format!("{sentence}. [{}]", self.node.event(id))
    }

    /// What is true of a user now, its calls, then a sentence about each of its newest connections.
    fn user(&mut self, aor: &str) -> Result<Vec<String>, ReadError> {
        let Present { bindings: present, calls } = self.present(aor)?;
        let wanted = |kind: EventKind, payload: &[u8]| {
            mentions(payload, aor)
                && EventSubject::read(payload).is_some_and(|subject| match kind {
                    EventKind::CallEnded => subject.has_party(aor),
                    _ => subject.is_user(aor),
                })
        };
        let mut flows: Vec<String> = Vec::new();
        let mut closes: BTreeMap<String, FoundRecord> = BTreeMap::new();
        let (mut last_removed, mut last_call) = (None, None);
        let mut unexplained: BTreeSet<&OpenBinding> = present.iter().map(|(_, binding)| binding).collect();
        let mut since = None;
        reverse_reader::read(self.reader, wanted, |_, found| {
            for found in found.into_iter().rev() {
                let subject = EventSubject::read(&found.payload).unwrap_or_default();
                let flow = subject.flow.as_deref().unwrap_or_default().to_owned();
                match found.kind {
                    EventKind::BindingAdded => {
                        let is = |binding: &&OpenBinding| {
                            subject.contact.as_deref() == Some(binding.contact.as_str())
                                && subject.aor.as_deref() == Some(binding.aor.as_str())
                        };
                        if let Some(binding) = unexplained.iter().copied().find(is) {
                            unexplained.remove(binding);
                            since = Some(found.at);
                        }
                    }
                    EventKind::BindingRemoved if last_removed.is_none() => last_removed = Some(found.clone()),
                    EventKind::CallEnded if last_call.is_none() => last_call = Some(found.clone()),
                    EventKind::FlowClosed => {
                        closes.entry(flow.clone()).or_insert(found);
                    }
                    _ => {}
                }
                if !flow.is_empty() && !flows.contains(&flow) && flows.len() < FLOWS {
                    flows.push(flow);
                }
            }
            let known = !present.is_empty() || last_removed.is_some();
            if flows.len() >= FLOWS && unexplained.is_empty() && known { Go::Stop } else { Go::On }
        })?;
        let calls = self.calls(aor, calls, last_call.as_ref());
        if present.is_empty() && last_removed.is_none() && flows.is_empty() {
            return Ok(calls);
        }
        let mut sentences = vec![match last_removed {
            Some(removed) if present.is_empty() => self.offline(aor, &removed),
            _ => self.online(aor, &present, since),
        }];
        sentences.extend(calls);
        for flow in flows {
            let sentence = match (closes.get(&flow), FlowId::parse(&flow)) {
                (Some(found), _) => self.closed(found),
                (None, Ok((_, id))) => self.flow(&flow, id)?,
                (None, Err(_)) => None,
            };
            sentences.extend(sentence);
        }
        Ok(sentences)
    }

    /// The bindings and calls that a user has now: from the newest checkpoint on.
    fn present(&mut self, aor: &str) -> Result<Present, ReadError> {
        let checkpoints = self.reader.checkpoints().map_err(ReadError::Fault)?;
        let restored = checkpoints.iter().find_map(|checkpoint| {
            Some((checkpoint.position, OpenState::restore(&checkpoint.payload).ok()?))
        });
        let (from, mut books) = match restored {
            Some((position, books)) => (ledger::ReadFrom::After(position), books),
            None => (ledger::ReadFrom::Oldest, OpenState::default()),
        };
        self.reader.seek(from);
        while let Some(block) = self.reader.next_block()? {
            for record in block.records() {
                let Ok(kind) = EventKind::try_from(record.kind) else { continue };
                let binding = matches!(kind, EventKind::BindingAdded | EventKind::BindingRemoved);
                // An answer names the callee alone.
                let call = kind.as_str().starts_with("call.");
                if call || binding && mentions(record.payload, aor) {
                    books.fold(reverse_reader::id_of(record.position), record.at, kind, record.payload);
                }
            }
        }
        let own = books.bindings().filter(|(_, binding)| binding.aor.as_str() == aor);
        let bindings = own.map(|(flow, binding)| (flow.map(ToOwned::to_owned), binding.clone())).collect();
        let calls = books.calls.into_open().into_iter();
        let own = |call: &OpenCall| [&call.caller, &call.callee].iter().any(|one| one.aor.as_str() == aor);
        Ok(Present { bindings, calls: calls.filter(|(_, call)| own(call)).collect() })
    }

    fn online(&self, aor: &str, present: &[(Option<String>, OpenBinding)], since: Option<u64>) -> String {
        let since = since
            .map_or_else(String::new, |since| format!(" since {} ({})", ago(since, self.now), clock(since)));
        let places: Vec<String> = present
            .iter()
            .map(|(flow, binding)| match flow {
                Some(flow) => format!("{} on {flow}", binding.contact),
                None => format!("{} over UDP", binding.contact),
            })
            .collect();
        let contacts = counted(present.len() as u64, "contact");
        format!("{aor} is online at {contacts}{since}: {}.", places.join(", "))
    }

    fn offline(&self, aor: &str, removed: &FoundRecord) -> String {
        let removal = serde_json::from_slice::<BindingRemoved<'_>>(&removed.payload).ok();
        let why = match &removal {
            Some(BindingRemoved {
                cause: Word::Known(RemovalCause::FlowClosed), flow: Some(flow), ..
            }) => {
                format!("its connection {flow} was closed")
            }
            Some(removal) => removal_words(&removal.cause).to_owned(),
            None => "the event that says why cannot be read".to_owned(),
        };
        let (ago, at) = (ago(removed.at, self.now), clock(removed.at));
        let sentence = format!("{aor} is offline since {ago} ({at}): {why}");
        self.with_evidence(&sentence, removed.id)
    }
}

/// The run of a call, by the call's name.
fn call_incarnation(name: &str) -> Option<u64> {
    let (run, call) = name.rsplit_once(".c")?;
    call.parse::<u64>().ok()?;
    run.rsplit_once('.')?.1.parse().ok()
}
