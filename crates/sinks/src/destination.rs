//! What every kind of destination does for the worker.

use delivery::{BatchLimit, Failure, Outgoing};
use ledger::Position;

/// Where events go. One delivery is under way at a time; the next begins when it was answered.
///
/// A destination that pipelines reports what was answered from the front as [`Failure::acknowledged`]. One
/// that can read back what it holds does so in [`Destination::prepare`]. One that acknowledges before it is
/// durable is settled before the cursor is saved.
pub(crate) trait Destination: Send + 'static {
    /// Whether a delivery that is dropped keeps what is under way, so that it may be begun again with the
    /// same events and more behind them.
    const RESUMES: bool = false;

    /// How much one delivery may carry.
    fn batch_limit(&self) -> BatchLimit;

    /// Makes ready: at the start, and after every failure that is no refusal. `from` is the last event it has
    /// acknowledged, or that it does not want; the answer is where to go on: `from`, further back if it knows
    /// that it lost something, further on if it knows that it has more.
    async fn prepare(&mut self, from: Position) -> Result<Position, Failure>;

    /// Hands over these events, in order, and waits for the acknowledgement; gives how many from the front it
    /// has now. None means that it took nothing and wants the cursor saved before it goes on. May be dropped
    /// half way at shutdown.
    async fn deliver(&mut self, events: &[Outgoing]) -> Result<usize, Failure>;

    /// Makes durable what was acknowledged, where that is not the same. The cursor is saved at `to` next.
    async fn settle(&mut self, to: Position) -> Result<(), Failure>;

    /// Resolves when the destination is found to be gone while there is nothing to deliver, so that what it
    /// may have lost does not wait for the next event. Never resolves where that makes no difference. May be
    /// dropped at any time.
    async fn broken(&mut self) -> Failure {
        std::future::pending().await
    }
}
