//! What one shard tells another.

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

use crate::{FlowQuery, Pinged, ask::Answered, audit::Part, view::FlowView};

/// Letters that may wait for a shard; beyond, sending fails as if the hop were gone.
const MOST_LETTERS: usize = 65_536;

/// One letter.
#[derive(Debug)]
pub(crate) enum Letter {
    /// A connection, accepted by this listener.
    Connection { listener: u8, stream: std::net::TcpStream, remote: std::net::SocketAddr },
    /// A message for a flow of yours, or a peer that you speak to.
    Deliver { hop: Hop, message: Box<[u8]>, from_shard: u8 },
    /// A response that came from this hop and address, to a request that you sent.
    Response { from: Hop, address: Option<IpAddr>, message: Box<[u8]> },
    /// A request that you sent by this hop came back.
    CameBack { hop: Hop, returned: sip_proxy::Returned },
    /// Send this request, whole but for its Via, and tell what it was answered.
    Originate { hop: Hop, request: Box<[u8]>, answer: Option<oneshot::Sender<Answered>> },
    /// Nothing more comes from this hop.
    Gone(Hop, Loss),
    /// End this flow.
    Close { flow: FlowNumber, ending: Ending, done: oneshot::Sender<Closing> },
    /// Tell of a part of your table: what stands behind this flow.
    Roll { after: Option<FlowNumber>, answer: oneshot::Sender<Part> },
    /// Tell of this flow.
    Look { flow: FlowNumber, answer: oneshot::Sender<Option<FlowView>> },
    /// Tell of the first flows that are asked for.
    List { wanted: Arc<FlowQuery>, answer: oneshot::Sender<Vec<(FlowNumber, FlowView)>> },
    /// Ping this flow's peer, and tell how long it took.
    Ping { flow: FlowNumber, answer: oneshot::Sender<Pinged>, patience: Duration },
    /// Say that you are there.
    Echo(oneshot::Sender<()>),
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

/// A letter that comes back.
#[derive(Debug)]
pub(crate) enum Undelivered {
    /// The shard has too much to do.
    InboxFull(Letter),
    /// There is no such shard (flow ids come from outside too), or it has ended.
    NobodyThere(Letter),
}

/// The inboxes of all shards.
#[derive(Debug)]
pub(crate) struct Inboxes {
    senders: Vec<mpsc::Sender<Letter>>,
    next: AtomicUsize,
}

impl Inboxes {
    pub(crate) fn new(shards: usize) -> (Self, Vec<mpsc::Receiver<Letter>>) {
        let (senders, receivers) = (0..shards).map(|_| mpsc::channel(MOST_LETTERS)).unzip();
        (Self { senders, next: AtomicUsize::new(0) }, receivers)
    }

    /// Puts a letter into a shard's inbox.
    ///
    /// # Errors
    /// It is not delivered: the letter comes back.
    pub(crate) fn send(&self, shard: usize, letter: Letter) -> Result<(), Undelivered> {
        match self.senders.get(shard) {
            Some(sender) => sender.try_send(letter).map_err(|error| match error {
                mpsc::error::TrySendError::Full(letter) => Undelivered::InboxFull(letter),
                mpsc::error::TrySendError::Closed(letter) => Undelivered::NobodyThere(letter),
            }),
            None => Err(Undelivered::NobodyThere(letter)),
        }
    }

    /// Hands a connection to the next shard in turn; waits if its inbox is full.
    pub(crate) async fn hand_over(&self, listener: u8, stream: TcpStream, remote: std::net::SocketAddr) {
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % self.senders.len();
        if let (Ok(stream), Some(sender)) = (stream.into_std(), self.senders.get(shard)) {
            // An error means that the shards have ended: the connection is dropped with them.
            let _ = sender.send(Letter::Connection { listener, stream, remote }).await;
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.senders.len()
    }
}
