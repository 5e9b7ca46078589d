//! Connections that a shard makes: one to each peer, opened when there is a message for it, and used both
//! ways (RFC 5923).

use std::{rc::Rc, time::Duration};

use metrics::Count;
use tokio::task::spawn_local;
use transport::{Dial, Dialled, Opening};
use upstream::{FlowNumber, Hop};

use crate::{flow::Flow, inbox::Loss, shard::Shard};

/// Peers that a shard is connected to, or connects to, at a time; beyond, what is for another is as if it
/// were gone.
pub(crate) const MOST: usize = 4096;

/// How long a connection to a phone may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// How far the connection to a peer is.
#[derive(Debug)]
pub(crate) enum DialProgress {
    /// It is being dials; this is sent once it stands.
    Waiting(Queue),
    /// It is this flow.
    Open(FlowNumber),
}

/// Messages for a peer that is being connected to.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: Vec<Box<[u8]>>,
    bytes: usize,
}

impl Queue {
    /// Whether there was room.
    fn put(&mut self, message: &[u8], most: usize) -> bool {
        let fits = self.bytes + message.len() <= most;
        if fits {
            self.bytes += message.len();
            self.messages.push(message.into());
        }
        fits
    }
}

impl Shard {
    /// Sends to a peer of this shard, or has it wait until there is a connection; says whether that went
    /// well.
    pub(crate) fn send_to_peer(&self, hop: Hop, message: &[u8]) -> bool {
        let mut dials = self.dials.borrow_mut();
        if let Some(DialProgress::Open(number)) = dials.get(&hop) {
            let number = *number;
            drop(dials);
            return self.link(number).is_some_and(|link| link.send(message).is_ok());
        }
        if let Some(DialProgress::Waiting(queue)) = dials.get_mut(&hop) {
            return queue.put(message, self.queue_bytes(hop));
        }
        let Some(me) = self.me.upgrade().filter(|_| dials.len() < MOST) else { return false };
        let mut queue = Queue::default();
        if !queue.put(message, self.queue_bytes(hop)) {
            return false;
        }
        dials.insert(hop, DialProgress::Waiting(queue));
        spawn_local(connect(me, hop));
        true
    }

    /// Unsent bytes that a peer may have waiting, connected or not.
    fn queue_bytes(&self, hop: Hop) -> usize {
        let Hop::Peer { listener, .. } = hop else { return 0 };
        self.listener(listener).map_or(0, |listener| listener.settings.outbound_queue)
    }

    /// A connection that we dials is over, or never came about: what waits for it is told.
    pub(crate) fn peer_lost(&self, hop: Hop, loss: Loss) {
        self.dials.borrow_mut().remove(&hop);
        self.announce_gone(hop, loss);
    }
}

/// Forgets the peer, should the connection not come about, however that is.
struct Attempt {
    shard: Rc<Shard>,
    hop: Hop,
    fault: Fault,
}

/// Which side is at fault when there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Peers,
    /// There is no room for another flow.
    Ours,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if matches!(self.shard.dials.borrow().get(&self.hop), Some(DialProgress::Open(_))) {
            return;
        }
        self.shard.shared.metrics.add(Count::DialsFailed);
        if self.fault == Fault::Peers {
            self.shard.shared.upstreams.mark_unreachable(self.hop);
        }
        self.shard.peer_lost(self.hop, Loss::Unreachable);
    }
}

async fn connect(shard: Rc<Shard>, hop: Hop) {
    let mut attempt = Attempt { shard: Rc::clone(&shard), hop, fault: Fault::Peers };
    let (dialled, flow) = match open(&shard, hop).await {
        Ok(opened) => opened,
        Err(fault) => return attempt.fault = fault,
    };
    let before = shard.dials.borrow_mut().insert(hop, DialProgress::Open(flow.number));
    drop(attempt);
    shard.shared.metrics.add(Count::Dialled);
    if let Some(DialProgress::Waiting(queue)) = before {
        for message in queue.messages {
            // If the peer does not read it, the flow ends, and that is recorded.
            let _ = dialled.link().send(&message);
        }
    }
    dialled.run(shard, flow).await;
}

async fn open(shard: &Rc<Shard>, hop: Hop) -> Result<(Dialled, Flow), Fault> {
    let Hop::Peer { listener, proves, remote } = hop else { return Err(Fault::Ours) };
    let listener = shard.listener(listener).ok_or(Fault::Ours)?;
    let upstreams = &shard.shared.upstreams;
    let dial =
        Dial { remote, tls: upstreams.tls(proves), patience: upstreams.timeout(hop).unwrap_or(PATIENCE) };
    let dialled = match Dialled::connect(&dial, &listener, Rc::clone(&shard.scratch)).await {
        Ok(dialled) => dialled,
        Err(error) => {
            tracing::debug!(%remote, %error, "cannot connect to a peer");
            return Err(Fault::Peers);
        }
    };
    let opening = Opening { facts: dialled.facts().clone(), listener: Rc::clone(&listener), vouched: None };
    match Flow::open_to(shard, opening, (Rc::clone(dialled.link()), None), Some(hop)).await {
        Ok(flow) => Ok((dialled, flow)),
        Err(refused) => {
            tracing::debug!(%remote, reason = refused.reason, "a connection to a peer was not accepted as a flow");
            dialled.close().await;
            Err(Fault::Ours)
        }
    }
}
