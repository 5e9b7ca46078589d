use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use config::EventTypes;
use ledger::{Batch, Ledger};
use lifecycle::{EventKind, Node};
use proptest::prelude::*;

use super::*;
use delivery::Pace;
use delivery::{BatchLimit, Failure, FailureKind, Outgoing};

/// What a destination does at its next call.
#[derive(Clone, Copy, Debug)]
enum Does {
    Accepts,
    /// Takes the first so many, then fails.
    Partly(usize, FailureKind),
    /// Loses what it took since it was last settled, and says so when it is settled.
    LosesUnsettled,
    /// Loses its last so many, settled or not, and knows it when it is made ready again.
    ForgetsLast(u64),
}

/// A destination that keeps events in memory.
#[derive(Default)]
struct Kept {
    script: VecDeque<Does>,
    held: Vec<u64>,
    settled: usize,
    /// Everything it was ever given, in order.
    given: Vec<u64>,
    lost: bool,
}

struct Memory(Arc<Mutex<Kept>>);

impl Destination for Memory {
    fn batch_limit(&self) -> BatchLimit {
        BatchLimit { events: 4, bytes: 1 << 20 }
    }

    async fn prepare(&mut self, from: Position) -> Result<Position, Failure> {
        let kept = self.0.lock().unwrap();
        let last = kept.held.last().copied().unwrap_or(0);
        Ok(Position::new(from.incarnation, from.seq.min(last)))
    }

    async fn deliver(&mut self, events: &[Outgoing]) -> Result<usize, Failure> {
        let mut kept = self.0.lock().unwrap();
        let does = kept.script.pop_front().unwrap_or(Does::Accepts);
        let (taken, failure) = match does {
            Does::Accepts => (events.len(), None),
            Does::Partly(count, nature) => (count.min(events.len()), Some(nature)),
            Does::LosesUnsettled => {
                kept.lost = true;
                (events.len(), None)
            }
            Does::ForgetsLast(count) => {
                let left = kept.held.len().saturating_sub(usize::try_from(count).unwrap());
                kept.held.truncate(left);
                kept.settled = kept.settled.min(left);
                (0, Some(FailureKind::Transient))
            }
        };
        for event in &events[..taken] {
            kept.held.push(event.position.seq);
            kept.given.push(event.position.seq);
        }
        match failure {
            None => Ok(taken),
            Some(nature) => Err(Failure { acknowledged: taken, ..Failure::new(nature, "as scripted") }),
        }
    }

    async fn settle(&mut self, _to: Position) -> Result<(), Failure> {
        let mut kept = self.0.lock().unwrap();
        if std::mem::take(&mut kept.lost) {
            let settled = kept.settled;
            kept.held.truncate(settled);
            return Err(Failure::new(FailureKind::Lost, "as scripted"));
        }
        kept.settled = kept.held.len();
        Ok(())
    }
}

const EVENTS: u64 = 23;

/// Runs a worker over a ledger of [`EVENTS`] events; gives what the destination ended with, and the cursor.
fn delivered(script: Vec<Does>, save_every: Duration) -> (Vec<u64>, Vec<u64>, Position) {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder: PathBuf = std::env::temp_dir().join(format!("sinks-worker-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let settings = ledger::Settings {
        durability: ledger::Durability::Memory,
        segment_bytes: 64 << 10,
        block_bytes: 4 << 10,
        spare_bytes: 4 << 10,
        ..ledger::Settings::new("edge1")
    };
    let ledger = Ledger::open(&folder, settings).unwrap().ledger;
    let mut batch = Batch::new();
    for _ in 0..EVENTS {
        batch.push(EventKind::FlowClosed.number(), 1, b"{}");
    }
    ledger.append(batch).unwrap();
    ledger.durable(EVENTS).wait().unwrap();

    let kept = Arc::new(Mutex::new(Kept { script: script.into(), ..Kept::default() }));
    let end = Position::new(1, EVENTS);
    let order = Order::Finish { end, until: Instant::now() + Duration::from_secs(20) };
    let (_keep, orders) = watch::channel(order);
    let destination = Memory(Arc::clone(&kept));
    let pace =
        Pace { first_retry: Duration::from_micros(10), longest_retry: Duration::from_micros(50), save_every };
    let node = Node::new("edge1").unwrap();
    let batch_limit = destination.batch_limit();
    let progress =
        SinkProgress::open(&ledger, &node, "a".to_owned(), EventTypes::All, pace, batch_limit).unwrap();
    let worker = Worker::new(destination, progress, orders);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(worker.run());
    let saved = ledger.cursor("a").unwrap().position();
    std::fs::remove_dir_all(&folder).unwrap();
    let kept = kept.lock().unwrap();
    (kept.held.clone(), kept.given.clone(), saved)
}

#[test]
fn what_was_lost_before_it_was_settled_is_delivered_again() {
    let (held, given, saved) = delivered(vec![Does::Accepts, Does::LosesUnsettled], Duration::ZERO);
    assert_eq!(held, (1..=EVENTS).collect::<Vec<_>>());
    assert!(given.len() > held.len(), "something came twice");
    assert_eq!(saved, Position::new(1, EVENTS));
}

#[test]
fn a_destination_that_forgot_gets_it_again_though_the_cursor_had_moved() {
    let script = vec![Does::Accepts, Does::Accepts, Does::ForgetsLast(5)];
    let (held, _, saved) = delivered(script, Duration::ZERO);
    assert_eq!(held, (1..=EVENTS).collect::<Vec<_>>());
    assert_eq!(saved, Position::new(1, EVENTS));
}

fn anything() -> impl Strategy<Value = Does> {
    let nature = prop_oneof![Just(FailureKind::Transient), Just(FailureKind::Refused)];
    prop_oneof![
        Just(Does::Accepts),
        (0..4_usize, nature).prop_map(|(count, nature)| Does::Partly(count, nature)),
        Just(Does::LosesUnsettled),
        (0..9_u64).prop_map(Does::ForgetsLast),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a destination does until it behaves, in the end it holds every event, once, in order; and the
    /// cursor never stands behind what it holds.
    #[test]
    fn nothing_is_missing_whatever_the_destination_does(
        script in proptest::collection::vec(anything(), 0..12),
        save_every in prop_oneof![Just(Duration::ZERO), Just(Duration::from_secs(60))],
    ) {
        let (held, _, saved) = delivered(script, save_every);
        prop_assert_eq!(held, (1..=EVENTS).collect::<Vec<_>>());
        prop_assert_eq!(saved, Position::new(1, EVENTS));
    }
}
