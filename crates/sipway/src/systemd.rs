//! What systemd is told (sd_notify(3)). Without it nobody listens, and nothing is done.

use std::{
    env, io,
    time::{Duration, Instant},
};

use edge::{Answering, Handle, NodeActivity};
use event_text::counted;
use sd_notify::NotifyState;
use tokio::task::JoinHandle;

/// How often the status line is renewed, unless the watchdog wants to hear more often.
const RENEW: Duration = Duration::from_secs(2);

/// Time beyond the deadline for what comes behind it.
const MARGIN: Duration = Duration::from_secs(5);

/// The server is ready. From now on systemd hears how it is, and its watchdog that the shards answer.
pub(crate) fn ready(handle: Handle) -> Option<JoinHandle<()>> {
    env::var_os("NOTIFY_SOCKET")?;
    tell(&[NotifyState::Ready, NotifyState::Status(&status(&handle))]);
    Some(tokio::spawn(report(handle)))
}

/// The configuration is read again.
pub(crate) fn reloading() {
    // Both in one message, or systemd takes it for a mistake.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the clock cannot be read"),
    }
}

/// It has been read.
pub(crate) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The server ends, which may take until this deadline.
pub(crate) fn stopping(deadline: Duration) {
    let needed = u32::try_from((deadline + MARGIN).as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(needed)]);
}

async fn report(handle: Handle) {
    let watchdog = sd_notify::watchdog_enabled();
    // Half of its patience, as systemd advises.
    let period = watchdog.map_or(RENEW, |patience| RENEW.min(patience / 2));
    let mut was_stuck = None;
    loop {
        let next = Instant::now() + period;
        let stuck = match handle.shards_answer(period).await {
            Answering::All => None,
            Answering::Stuck { shard } => Some(shard),
        };
        if stuck != was_stuck {
            match stuck {
                Some(shard) => tracing::error!(shard, "a shard does not answer: the watchdog is not fed"),
                None => tracing::info!("all shards answer again"),
            }
        }
        was_stuck = stuck;
        let status = status(&handle);
        match (watchdog, stuck) {
            (Some(_), None) => tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]),
            _ => tell(&[NotifyState::Status(&status)]),
        }
        tokio::time::sleep_until(next.into()).await;
    }
}

fn status(handle: &Handle) -> String {
    let progress = handle.progress();
    let (_, users) = handle.bindings();
    let (left, users) = (progress.left, counted(users as u64, "user"));
    match progress.state {
        NodeActivity::Serving => format!("{}, {users} registered", counted(left, "connection")),
        NodeActivity::Disabled => format!("new connections are refused; {left} open, {users} registered"),
        NodeActivity::Drained => format!("drained: {} closed, none open", progress.closed),
        NodeActivity::Draining | NodeActivity::ShuttingDown => {
            let what = if progress.state == NodeActivity::Draining { "draining" } else { "shutting down" };
            format!("{what}: {} closed, {left} open, {:.0} s left", progress.closed, progress.seconds_left)
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%error, "cannot notify systemd");
    }
}
