//! What every kind of sink has in common: it takes events in order and says when they are safe with it.

use std::time::Duration;

use ledger::Position;
use lifecycle::EventKind;

/// One event on its way out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where its record stands.
    pub position: Position,
    /// Its type; a destination may route by it.
    pub kind: EventKind,
    /// When it happened, in microseconds since the Unix epoch.
    pub at: u64,
    /// Its id as consumers see it, the same at every delivery.
    pub id: String,
    /// The CloudEvent, one line.
    pub json: String,
}

/// How much one delivery may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimit {
    /// At most so many events; at least 1.
    pub events: usize,
    /// No further event once so many bytes are in it.
    pub bytes: usize,
}

/// What a failed delivery means for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The same may work later.
    Transient,
    /// The destination will not take these events as they are.
    Refused,
    /// The destination will not take anything like this, whatever the event: the address or the credentials
    /// are wrong.
    Misconfigured,
    /// What it acknowledged since it was last settled may be gone: it must be delivered again.
    Lost,
}

/// A delivery that did not (wholly) succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub nature: FailureKind,
    /// Events from the front that were acknowledged all the same.
    pub acknowledged: usize,
    /// How many events behind those it is about, if that is known better than "all that were given".
    pub concerned: Option<usize>,
    /// How long the destination asked to be left alone.
    pub retry_after: Option<Duration>,
    /// What happened, for people.
    pub text: String,
}

impl Failure {
    /// A failure with nothing acknowledged and no wish.
    pub fn new(nature: FailureKind, text: impl Into<String>) -> Self {
        Self { nature, acknowledged: 0, concerned: None, retry_after: None, text: text.into() }
    }
}

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

/// An error with its causes, outermost first, without saying the same twice.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    lifecycle::Text::<300>::new(text).as_str().to_owned()
}
