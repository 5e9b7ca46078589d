//! Messages from one shard to another.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lifecycle::Ending;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use upstream::{FlowNumber, Hop};

use crate::{
    audit::TablePart,
    flow_query::{FlowQuery, Pinged},
    view::FlowView,
};

/// Messages that may wait for a shard; beyond, sending fails as if the hop were gone.
const MOST_MESSAGES: usize = 65_536;

/// Messages to a shard: from other shards, and from the rest of the server.
#[derive(Debug)]
pub(crate) enum ShardMessage {
    /// A connection, accepted by this listener.
    Connection { listener: u8, stream: std::net::TcpStream, remote: std::net::SocketAddr },
    /// A message for a flow of yours, or a peer that you speak to.
    Deliver { hop: Hop, message: Box<[u8]>, from_shard: u8 },
    /// A response that came from this hop and address, to a request that you sent.
    Response { from: Hop, address: Option<IpAddr>, message: Box<[u8]> },
    /// A request that you sent by this hop came back.
    CameBack { hop: Hop, returned: sip_proxy::QuotedRequest },
    /// Send this request, whole but for its Via, and tell what it was answered.
    Originate { hop: Hop, request: Box<[u8]>, answer: Option<oneshot::Sender<Answered>> },
    /// Nothing more comes from this hop.
    Gone(Hop, Loss),
    /// End this flow.
    Close { flow: FlowNumber, ending: Ending, done: oneshot::Sender<Closing> },
    /// Tell of a part of your table: what stands behind this flow.
    ListPage { after: Option<FlowNumber>, answer: oneshot::Sender<TablePart> },
    /// Tell of this flow.
    Describe { flow: FlowNumber, answer: oneshot::Sender<Option<FlowView>> },
    /// Tell of the first flows that are asked for.
    List { wanted: Arc<FlowQuery>, answer: oneshot::Sender<Vec<(FlowNumber, FlowView)>> },
    /// Ping this flow's peer, and tell how long it took.
    Ping { flow: FlowNumber, answer: oneshot::Sender<Pinged>, patience: Duration },
    /// Say that you are there.
    HealthCheck(oneshot::Sender<()>),
}

/// The final answer to a request of our own.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The status of the final response: 408 if none came before the transaction ended, 503 if the request
    /// could not be sent.
    pub(crate) status: u16,
    /// The response as it came; none if none did.
    pub(crate) response: Option<Box<[u8]>>,
}

/// Why nothing comes from a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its connection ended.
    Ended,
    /// There is none to be had.
    Unreachable,
}

/// Whether there was such a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It is being closed.
    Begun,
    /// There is none.
    NoSuchFlow,
}

/// A message that comes back.
#[derive(Debug)]
pub(crate) enum Undelivered {
    /// The shard has too much to do.
    InboxFull(ShardMessage),
    /// There is no such shard (flow ids come from outside too), or it has ended.
    NobodyThere(ShardMessage),
}

/// The inboxes of all shards.
#[derive(Debug)]
pub(crate) struct Inboxes {
    senders: Vec<mpsc::Sender<ShardMessage>>,
    next: AtomicUsize,
}

impl Inboxes {
    pub(crate) fn new(shards: usize) -> (Self, Vec<mpsc::Receiver<ShardMessage>>) {
        let (senders, receivers) = (0..shards).map(|_| mpsc::channel(MOST_MESSAGES)).unzip();
        (Self { senders, next: AtomicUsize::new(0) }, receivers)
    }

    /// Puts a message into a shard's inbox.
    ///
    /// # Errors
    /// It is not delivered: the message comes back.
    pub(crate) fn send(&self, shard: usize, message: ShardMessage) -> Result<(), Undelivered> {
        match self.senders.get(shard) {
            Some(sender) => sender.try_send(message).map_err(|error| match error {
                mpsc::error::TrySendError::Full(message) => Undelivered::InboxFull(message),
                mpsc::error::TrySendError::Closed(message) => Undelivered::NobodyThere(message),
            }),
            None => Err(Undelivered::NobodyThere(message)),
        }
    }

    /// Hands a connection to the next shard in turn; waits if its inbox is full.
    pub(crate) async fn hand_over(&self, listener: u8, stream: TcpStream, remote: std::net::SocketAddr) {
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % self.senders.len();
        if let (Ok(stream), Some(sender)) = (stream.into_std(), self.senders.get(shard)) {
            // An error means that the shards have ended: the connection is dropped with them.
            let _ = sender.send(ShardMessage::Connection { listener, stream, remote }).await;
        }
    }

    /// The shard that speaks to a peer: the same on every shard.
    pub(crate) fn shard_of(&self, hop: Hop) -> usize {
        let shards = self.shards().max(1);
        match hop {
            Hop::Flow(number) => number.shard(),
            Hop::Udp { .. } => 0,
            Hop::Peer { remote, .. } => {
                let ip = match remote.ip() {
                    std::net::IpAddr::V4(ip) => u128::from(u32::from(ip)),
                    std::net::IpAddr::V6(ip) => u128::from(ip),
                };
                let mixed = ip.wrapping_mul(31).wrapping_add(u128::from(remote.port()));
                (mixed % shards as u128) as usize
            }
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.senders.len()
    }
}
