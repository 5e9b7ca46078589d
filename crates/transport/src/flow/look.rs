//! Deadlines of a flow's timer, and what each means.

use std::time::{Duration, Instant};

use lifecycle::LivenessStep;

use crate::{Framing, Link};

/// A timer that is never meant to run out.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// The meaning of the timer's end.
pub(super) enum TimerEvent {
    Again(Instant),
    /// Nothing came after our ping.
    SilentPeer,
    /// It is too old, or had nothing to say for too long.
    OverLimit,
}

/// When a flow's timer runs out next, if nothing moves it. A stream's peer need not answer anything (RFC 5626
/// §4.4 has only the client ask), so there the kernel asks the peer's kernel.
pub(super) fn next_look(link: &Link) -> Instant {
    let liveness = match link.framing() {
        Framing::WebSocket => link.liveness.get().deadline(),
        Framing::Stream => Instant::now() + FAR,
    };
    link.write_deadline().into_iter().chain(link.limit_deadline()).fold(liveness, Instant::min)
}

pub(super) fn deadline(link: &Link) -> TimerEvent {
    let now = Instant::now();
    if link.framing() == Framing::WebSocket {
        let mut liveness = link.liveness.get();
        let step = liveness.step(now);
        link.liveness.set(liveness);
        match step {
            LivenessStep::Wait(_) => {}
            LivenessStep::Ping(_) => {
                let mut frame = Vec::with_capacity(2);
                websocket::encode::ping(b"", &mut frame);
                let _ = link.put(&frame);
            }
            LivenessStep::Dead => return TimerEvent::SilentPeer,
        }
    }
    if link.over_limit(now).is_some() { TimerEvent::OverLimit } else { TimerEvent::Again(next_look(link)) }
}
