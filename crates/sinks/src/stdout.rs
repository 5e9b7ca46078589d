//! Events to standard output, one a line.

use std::io::Write as _;

use ledger::Position;

use crate::destination::Destination;
use crate::file::{APPETITE, lines};
use delivery::{BatchLimit, Failure, FailureKind, Outgoing};

/// Standard output. A reader that stalls it stalls this sink alone, for it has a thread of its own.
#[derive(Debug)]
pub(crate) struct Stdout {
    buffer: Vec<u8>,
}

impl Stdout {
    pub(crate) fn new() -> Self {
        Self { buffer: Vec::new() }
    }
}

impl Destination for Stdout {
    fn batch_limit(&self) -> BatchLimit {
        APPETITE
    }

    async fn prepare(&mut self, from: Position) -> Result<Position, Failure> {
        Ok(from)
    }

    async fn deliver(&mut self, events: &[Outgoing]) -> Result<usize, Failure> {
        lines(&mut self.buffer, events);
        let mut out = std::io::stdout().lock();
        out.write_all(&self.buffer).and_then(|()| out.flush()).map_err(|error| {
            Failure::new(FailureKind::Transient, format!("cannot write to standard output: {error}"))
        })?;
        Ok(events.len())
    }

    async fn settle(&mut self, _to: Position) -> Result<(), Failure> {
        Ok(())
    }
}
