//! What goes to a destination, how much at a time, and what comes back when it fails.

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

/// An error with its causes, outermost first, without saying the same twice.
pub fn causes(error: &dyn std::error::Error) -> String {
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
