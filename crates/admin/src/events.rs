//! The ledger's newest events, as they become durable, for everyone who watches.

use std::{sync::Arc, thread, time::Duration};

use ledger::{Ledger, More, Position};
use lifecycle::{EventId, EventKind, Node, cloud_event};
use tokio::sync::broadcast;

/// Events that a watcher may be behind; beyond, it loses the oldest and is told how many.
const BEHIND: usize = 4096;

/// How often the watching thread looks whether the process ends.
const LOOK: Duration = Duration::from_millis(500);

/// One event.
#[derive(Clone, Debug)]
pub struct LiveEvent {
    /// Its place in the ledger.
    pub id: EventId,
    /// Its type.
    pub kind: EventKind,
    /// When it happened, in microseconds since the Unix epoch.
    pub at: u64,
    /// Its data as in the ledger.
    pub payload: Arc<[u8]>,
    /// It as a CloudEvent in JSON.
    pub json: Arc<str>,
}

/// Everything that happens from now on.
#[derive(Clone, Debug)]
pub struct Live(broadcast::Sender<LiveEvent>);

impl Live {
    /// Follows the ledger from behind `from` on, until it is closed.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn follow(ledger: &Ledger, node: Node, from: Position) -> std::io::Result<Self> {
        let (sender, _) = broadcast::channel(BEHIND);
        let live = Self(sender);
        let (to, mut reader) = (live.clone(), ledger.reader(ledger::ReadFrom::After(from)));
        thread::Builder::new().name("live-events".into()).spawn(move || {
            loop {
                match reader.next_block() {
                    Ok(Some(block)) => {
                        block.records().for_each(|record| to.publish(&node, &record));
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%error, "the live event stream has ended");
                        return;
                    }
                }
                if reader.wait_for(LOOK) == More::Closed {
                    return;
                }
            }
        })?;
        Ok(live)
    }

    /// Everything from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<LiveEvent> {
        self.0.subscribe()
    }

    fn publish(&self, node: &Node, record: &ledger::Record<'_>) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let Ok(kind) = EventKind::try_from(record.kind) else { return };
        let id = EventId { incarnation: record.position.incarnation, sequence: record.position.seq };
        let json = cloud_event(node, id, kind, record.at, record.payload).into();
        // An error means that the last watcher has just left.
        let _ = self.0.send(LiveEvent { id, kind, at: record.at, payload: record.payload.into(), json });
    }
}
