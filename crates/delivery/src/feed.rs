//! Reading the ledger forward for one sink: blocks in, the events it wants out, in order.

use std::collections::VecDeque;

use config::EventTypes;
use ledger::{BlockRef, Ledger, More, Position, ReadError, ReadFrom, Reader};
use lifecycle::{EventId, EventKind, Node, cloud_event};

use crate::destination::{BatchLimit, Outgoing};

/// Blocks read in one go, so that a sink that wants none of a long history still hears when it is told to
/// end.
const BLOCKS_AT_ONCE: usize = 64;

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// There is something to deliver.
    Ready,
    /// Nothing yet, but there is more to read.
    Further,
    /// Everything was read, and nothing waits.
    Dry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Found,
    NotSought,
}

/// Events read and not yet acknowledged.
pub(crate) struct Feed {
    ledger: Ledger,
    node: Node,
    types: EventTypes,
    reader: Reader,
    queue: VecDeque<Outgoing>,
    bytes: usize,
    /// The last record read, wanted or not.
    read_to: Position,
    /// The last record that is done with: acknowledged, or not wanted and nothing before it waits.
    done_to: Position,
    /// Whether the ledger was found to hold what comes next.
    place: Place,
    /// What was durable when nothing more was found, and nothing waited.
    dry_at: Option<Position>,
    /// Records of types that this release does not know.
    pub(crate) unknown: u64,
}

fn reader(ledger: &Ledger, after: Position) -> Reader {
    ledger.reader(if after == Position::START { ReadFrom::Oldest } else { ReadFrom::After(after) })
}

impl Feed {
    pub(crate) fn new(ledger: Ledger, node: Node, types: EventTypes, after: Position) -> Self {
        let reader = reader(&ledger, after);
        Self {
            ledger,
            node,
            types,
            reader,
            queue: VecDeque::new(),
            bytes: 0,
            read_to: after,
            done_to: after,
            place: Place::NotSought,
            dry_at: None,
            unknown: 0,
        }
    }

    /// Goes on after this record, wherever that is.
    pub(crate) fn restart(&mut self, after: Position) {
        self.reader = reader(&self.ledger, after);
        self.queue.clear();
        self.bytes = 0;
        self.read_to = after;
        self.done_to = after;
        self.place = Place::NotSought;
        self.dry_at = None;
    }

    /// Reads until there is enough for one delivery, or there is no more.
    pub(crate) fn fill(&mut self, batch_limit: BatchLimit) -> Result<Filled, ReadError> {
        let durable = self.ledger.durable_position();
        let mut dry = Filled::Further;
        for _ in 0..BLOCKS_AT_ONCE {
            if self.queue.len() >= batch_limit.events || self.bytes >= batch_limit.bytes {
                break;
            }
            let block = self.reader.next_block()?;
            self.place = Place::Found;
            let Some(block) = block else {
                dry = Filled::Dry;
                break;
            };
            let last = block.last();
            let (taken, unknown) = Self::take(&mut self.queue, &self.node, &self.types, &block);
            self.bytes += taken;
            self.unknown += unknown;
            self.read_to = last;
        }
        if self.queue.is_empty() {
            self.done_to = self.read_to;
            if dry == Filled::Dry {
                self.dry_at = Some(durable);
            }
            return Ok(dry);
        }
        Ok(Filled::Ready)
    }

    fn take(
        queue: &mut VecDeque<Outgoing>,
        node: &Node,
        types: &EventTypes,
        block: &BlockRef<'_>,
    ) -> (usize, u64) {
        let (mut bytes, mut unknown) = (0, 0);
        for record in block.records() {
            let Ok(kind) = EventKind::try_from(record.kind) else {
                unknown += 1;
                continue;
            };
            if !types.include(kind) {
                continue;
            }
            let id = event_id(record.position);
            let mut json = cloud_event(node, id, kind, record.at, record.payload);
            if json.contains(['\n', '\r']) {
                // Raw line ends are whitespace in JSON, but would make two lines of one event.
                json = json.replace(['\n', '\r'], " ");
            }
            bytes += json.len();
            queue.push_back(Outgoing {
                position: record.position,
                kind,
                at: record.at,
                id: node.event(id),
                json,
            });
        }
        (bytes, unknown)
    }

    /// The next delivery: from the front, never empty unless nothing waits; and what tells when there is more
    /// to read.
    pub(crate) fn batch(&mut self, batch_limit: BatchLimit) -> (&[Outgoing], &mut Reader) {
        let mut bytes = 0;
        let mut fits = |event: &Outgoing| {
            let room = bytes < batch_limit.bytes;
            bytes += event.json.len();
            room
        };
        let count = self.queue.iter().take(batch_limit.events).take_while(|event| fits(event)).count();
        (&self.queue.make_contiguous()[..count], &mut self.reader)
    }

    /// The first events were acknowledged.
    pub(crate) fn acknowledge(&mut self, count: usize) {
        for event in self.queue.drain(..count.min(self.queue.len())) {
            self.bytes -= event.json.len();
            self.done_to = event.position;
        }
        if self.queue.is_empty() {
            self.done_to = self.read_to;
        }
    }

    /// The last record that is done with: where the cursor may stand.
    pub(crate) fn done_to(&self) -> Position {
        self.done_to
    }

    /// Whether everything up to `end` is done with, and not only by a cursor that the ledger contradicts.
    pub(crate) fn read_up_to(&self, end: Position) -> bool {
        let reached = self.place == Place::Found && self.done_to >= end;
        // The end of the ledger may be no record of this run.
        reached || self.dry_at.is_some_and(|dry_at| dry_at >= end)
    }

    /// The oldest event that waits.
    pub(crate) fn oldest(&self) -> Option<&Outgoing> {
        self.queue.front()
    }

    /// Waits until there is more to read.
    pub(crate) async fn more(&mut self) -> More {
        self.reader.more().await
    }
}

/// An event's id is its place.
pub(crate) fn event_id(position: Position) -> EventId {
    EventId { incarnation: position.incarnation, sequence: position.seq }
}
