//! Reading inside the process: up to what is durable, and no further.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::blocks::Blocks;
use crate::durable::thread_waker;
use crate::error::{Fault, ReadError};
use crate::format::SegmentKey;
use crate::position::Position;
use crate::queue::Waited;
use crate::shared::Shared;
use crate::walk::{BlockRef, ReadFrom, View, Walk};

/// Reads records in order, across segments and incarnations.
pub struct Reader {
    shared: Arc<Shared>,
    walk: Walk,
}

/// Why a wait for more records ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// There is more to read.
    Ready,
    /// The ledger was closed and everything durable was read.
    Closed,
    /// The time was over.
    Elapsed,
}

struct Live<'a>(&'a Shared);

impl View for Live<'_> {
    fn bound(&self) -> Option<Position> {
        Some(Position::new(self.0.incarnation, self.0.durable()))
    }

    fn first(&mut self) -> Result<Option<SegmentKey>, Fault> {
        Ok(self.0.catalogue().first())
    }

    fn after(&mut self, key: SegmentKey) -> Result<Option<SegmentKey>, Fault> {
        Ok(self.0.catalogue().after(key))
    }

    fn at_or_before(&mut self, key: SegmentKey) -> Result<Option<SegmentKey>, Fault> {
        Ok(self.0.catalogue().at_or_before(key))
    }

    fn replaced(&mut self, blocks: &Blocks) -> Result<bool, ReadError> {
        Ok(self.0.catalogue().facts(blocks.key).is_some_and(|facts| facts.mark != blocks.mark))
    }

    fn refresh(&mut self) -> Result<bool, Fault> {
        Ok(false)
    }
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, from: ReadFrom) -> Self {
        let walk = Walk::new(Arc::clone(&shared.storage), from);
        Self { shared, walk }
    }

    /// The next block of records; `None` when everything durable was read. Blocks on the disk only if the
    /// records are no longer in the system's memory.
    ///
    /// # Errors
    /// Retention took what should come next, the place does not exist, damage, or the disk refused. The
    /// reader stands where it stood.
    pub fn next_block(&mut self) -> Result<Option<BlockRef<'_>>, ReadError> {
        let found = self.walk.step(&mut Live(&self.shared))?;
        Ok(if found { self.walk.block() } else { None })
    }

    /// Wait until there is more than what was read.
    pub async fn more(&mut self) -> More {
        let (shared, wanted) = (&self.shared, self.walk.wanted());
        let waited = poll_fn(|context| match look(shared, wanted, context.waker()) {
            Waited::NotYet => Poll::Pending,
            over => Poll::Ready(over),
        })
        .await;
        if waited == Waited::Durable { More::Ready } else { More::Closed }
    }

    /// The same on this thread, for at most so long.
    pub fn wait_for(&mut self, timeout: Duration) -> More {
        let until = Instant::now() + timeout;
        let waker = thread_waker();
        loop {
            match look(&self.shared, self.walk.wanted(), &waker) {
                Waited::Durable => return More::Ready,
                Waited::Never => return More::Closed,
                Waited::NotYet => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return More::Elapsed;
            }
            std::thread::park_timeout(left);
        }
    }
}

/// Whether there is anything at `wanted` or after it.
fn look(shared: &Shared, wanted: Position, waker: &std::task::Waker) -> Waited {
    let at_end = (wanted.incarnation == shared.incarnation).then(|| wanted.seq.saturating_sub(1));
    let seen = match at_end {
        Some(seen) => seen,
        // Standing in history, at the end of it perhaps: then only the first record of this run is new.
        None if wanted.incarnation < shared.incarnation && !history_left(shared, wanted) => 0,
        None => return Waited::Durable,
    };
    shared.state().queue.follow(seen, waker)
}

/// Whether an earlier incarnation may hold a record at `wanted` or later.
fn history_left(shared: &Shared, wanted: Position) -> bool {
    wanted <= shared.history_end
}
