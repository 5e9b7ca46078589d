//! Which events may be on their way at once: nothing overtakes what concerns the same flow or the same
//! address-of-record.
//!
//! A window of events in order. One may start when every event before it that shares a flow or an address
//! with it is done. What concerns neither (a start or stop of the node) waits for everything before it, and
//! everything behind waits for it.

use std::collections::{HashSet, VecDeque};

use ledger::Position;

use delivery::{BatchLimit, Failure, Outgoing};

/// What an event concerns, as hashes: two that are taken for one only cost time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concerns {
    Some { flow: Option<u64>, aor: Option<u64> },
    All,
}

#[derive(Clone, Debug)]
enum Stage {
    Waiting,
    UnderWay,
    Done,
    Failed(Failure),
}

#[derive(Clone, Debug)]
struct Slot {
    position: Position,
    bytes: usize,
    concerns: Concerns,
    stage: Stage,
}

/// The window.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    slots: VecDeque<Slot>,
    hasher: std::hash::RandomState,
}

impl Lanes {
    /// Brings the window in line with what is to be delivered now. What was begun of it is remembered.
    pub(crate) fn see(&mut self, events: &[Outgoing]) {
        let Some(first) = events.first() else { return };
        while self.slots.front().is_some_and(|slot| slot.position < first.position) {
            self.slots.pop_front();
        }
        let known =
            self.slots.iter().zip(events).take_while(|(slot, event)| slot.position == event.position).count();
        if known < events.len() {
            self.slots.truncate(known);
            for event in &events[known..] {
                let concerns = concerns(&event.json, &self.hasher);
                self.slots.push_back(Slot {
                    position: event.position,
                    bytes: event.json.len(),
                    concerns,
                    stage: Stage::Waiting,
                });
            }
        }
    }

    /// Forgets the events in front that are done, out of the first `window`; gives how many.
    pub(crate) fn take_done(&mut self, window: usize) -> usize {
        let done =
            self.slots.iter().take(window).take_while(|slot| matches!(slot.stage, Stage::Done)).count();
        self.slots.drain(..done);
        done
    }

    /// Why the event in front failed, if it did. Everything that failed may be tried again from then on.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        let Stage::Failed(failure) = &self.slots.front()?.stage else { return None };
        let failure = failure.clone();
        for slot in &mut self.slots {
            if matches!(slot.stage, Stage::Failed(_)) {
                slot.stage = Stage::Waiting;
            }
        }
        Some(failure)
    }

    /// Events for the next request, out of the first `window`: their places in the window, ascending; none if
    /// nothing may start. They are under way from now on.
    pub(crate) fn next(&mut self, window: usize, most: BatchLimit) -> Vec<usize> {
        let (mut chosen, mut bytes) = (Vec::new(), 0);
        // What events before concern that are not done and not chosen.
        let mut held: HashSet<u64> = HashSet::new();
        let mut any_before = false;
        for (index, slot) in self.slots.iter_mut().enumerate().take(window) {
            if chosen.len() >= most.events || bytes >= most.bytes {
                break;
            }
            if matches!(slot.stage, Stage::Done) {
                continue;
            }
            let free = match slot.concerns {
                Concerns::All => !any_before,
                Concerns::Some { flow, aor } => !flow.iter().chain(&aor).any(|one| held.contains(one)),
            };
            if free && matches!(slot.stage, Stage::Waiting) {
                slot.stage = Stage::UnderWay;
                chosen.push(index);
                bytes += slot.bytes;
                continue;
            }
            any_before = true;
            match slot.concerns {
                Concerns::All => break,
                Concerns::Some { flow, aor } => held.extend(flow.iter().chain(&aor)),
            }
        }
        chosen
    }

    /// A request with these events was answered.
    pub(crate) fn answered(&mut self, events: &[Position], outcome: &Result<(), Failure>) {
        for position in events {
            let Ok(index) = self.slots.binary_search_by(|slot| slot.position.cmp(position)) else { continue };
            self.slots[index].stage = match outcome {
                Ok(()) => Stage::Done,
                Err(failure) => Stage::Failed(failure.clone()),
            };
        }
    }
}

fn concerns(json: &str, hasher: &std::hash::RandomState) -> Concerns {
    use std::borrow::Cow;
    use std::hash::BuildHasher as _;

    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        data: Option<Names<'a>>,
    }
    #[derive(serde::Deserialize)]
    struct Names<'a> {
        #[serde(borrow)]
        flow: Option<Cow<'a, str>>,
        #[serde(borrow)]
        aor: Option<Cow<'a, str>>,
    }
    let data = serde_json::from_str::<Event<'_>>(json).ok().and_then(|event| event.data);
    let Some(Names { flow, aor }) = data else { return Concerns::All };
    let flow = flow.map(|flow| hasher.hash_one(("flow", flow)));
    let aor = aor.map(|aor| hasher.hash_one(("aor", aor)));
    if flow.is_none() && aor.is_none() { Concerns::All } else { Concerns::Some { flow, aor } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use delivery::FailureKind;
    use lifecycle::EventKind;
    use proptest::prelude::*;

    fn event(seq: u64, flow: Option<u8>, aor: Option<u8>) -> Outgoing {
        let mut data = serde_json::json!({});
        if let Some(flow) = flow {
            data["flow"] = flow.to_string().into();
        }
        if let Some(aor) = aor {
            data["aor"] = aor.to_string().into();
        }
        Outgoing {
            position: Position::new(1, seq),
            kind: EventKind::FlowClosed,
            at: 0,
            id: format!("n.1.{seq}"),
            json: serde_json::json!({ "data": data }).to_string(),
        }
    }

    proptest! {
        /// Whatever answers come in whatever order: each event is done once, none overtakes another of its
        /// flow or address, and what is taken from the front has no gap.
        #[test]
        fn nothing_overtakes_what_concerns_the_same(
            what in proptest::collection::vec((proptest::option::weighted(0.8, 0..5_u8), proptest::option::weighted(0.4, 0..5_u8)), 1..60),
            most in 1..4_usize,
            requests in 1..6_usize,
            mut choices in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 1..70_usize), 1..400),
        ) {
            let events: Vec<Outgoing> =
                what.iter().zip(1..).map(|((flow, aor), seq)| event(seq, *flow, *aor)).collect();
            let shares = |one: usize, other: usize| {
                let ((flow, aor), (flow2, aor2)) = (what[one], what[other]);
                (flow.is_some() && flow == flow2) || (aor.is_some() && aor == aor2)
                    || (flow, aor) == (None, None) || (flow2, aor2) == (None, None)
            };
            let mut lanes = Lanes::default();
            let (mut front, mut under_way, mut done) = (0, Vec::<Vec<usize>>::new(), HashSet::new());
            let mut rounds = 0;
            while front < events.len() {
                rounds += 1;
                prop_assert!(rounds < 5000, "it goes nowhere");
                // When the script is over, everything succeeds.
                let (choice, succeeds, window) =
                    choices.pop().map_or((None, true, usize::MAX), |(index, ok, window)| (Some(index), ok, window));
                let window = window.min(events.len() - front);
                lanes.see(&events[front..front + window]);
                let taken = lanes.take_done(window);
                for index in front..front + taken {
                    prop_assert!(done.contains(&index));
                }
                front += taken;
                let window = window - taken;
                if front == events.len() {
                    break;
                }
                lanes.take_failure();
                while under_way.len() < requests {
                    let chosen: Vec<usize> = lanes.next(window, BatchLimit { events: most, bytes: 1 << 20 }).iter().map(|index| front + index).collect();
                    if chosen.is_empty() {
                        break;
                    }
                    for one in &chosen {
                        prop_assert!(!done.contains(one), "delivered twice: {one}");
                        for before in (0..*one).filter(|before| shares(*before, *one)) {
                            prop_assert!(done.contains(&before) || chosen.contains(&before), "{one} overtakes {before}");
                        }
                    }
                    under_way.push(chosen);
                }
                if under_way.is_empty() {
                    continue;
                }
                let request = under_way.swap_remove(choice.map_or(0, |index| index.index(under_way.len())));
                let positions: Vec<Position> = request.iter().map(|index| events[*index].position).collect();
                let outcome = if succeeds { Ok(()) } else { Err(Failure::new(FailureKind::Transient, "as scripted")) };
                lanes.answered(&positions, &outcome);
                if succeeds {
                    done.extend(request);
                }
            }
            prop_assert_eq!(done.len(), events.len());
        }
    }
}
