//! After the flow: waits until the peer has our last bytes, then releases the socket.

use std::{
    future::poll_fn,
    net::Shutdown,
    pin::Pin,
    rc::Rc,
    task::{Poll, ready},
};

use lifecycle::{By, Cause};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::tcp::OwnedReadHalf,
    time::timeout,
};

use crate::{Link, Scratch};

/// Whether there is someone to part from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It may read what we said last.
    Present,
    /// It is gone, or does not read.
    Gone,
}

impl Peer {
    /// What a cause tells about the peer.
    pub(crate) const fn after(cause: Cause) -> Self {
        match cause {
            Cause::Reset | Cause::SlowReader => Self::Gone,
            _ => match cause.by() {
                By::Network | By::Node => Self::Gone,
                By::Client | By::Server => Self::Present,
            },
        }
    }
}

/// Lets go of a socket within the close timeout, whatever the peer does. A peer that is gone or does not read
/// is cut off at once.
pub(crate) async fn part(link: Rc<Link>, mut reader: OwnedReadHalf, peer: Peer) {
    if peer == Peer::Gone {
        return cut_off(&reader);
    }
    let (close_timeout, scratch) = (link.settings().close_timeout, link.shared_scratch());
    let parting = async {
        while link.has_unsent() && reader.ready(Interest::WRITABLE).await.is_ok() {
            if link.flush().is_err() {
                return;
            }
        }
        // What TLS remembers is not needed to wait for a FIN.
        drop(link);
        let _ = SockRef::from(reader.as_ref()).shutdown(Shutdown::Write);
        discard(&mut reader, &scratch).await;
    };
    if timeout(close_timeout, parting).await.is_err() {
        cut_off(&reader);
    }
}

/// Reads to the end and throws it away: an answer to our Close, or what was on its way. Otherwise closing
/// would turn into a reset that overtakes our last bytes.
pub(crate) async fn discard(reader: &mut (impl AsyncRead + Unpin), scratch: &Scratch) {
    let mut more = true;
    while more {
        more = poll_fn(|context| {
            let mut input = scratch.input.borrow_mut();
            let mut buffer = ReadBuf::new(&mut input);
            let read = ready!(Pin::new(&mut *reader).poll_read(context, &mut buffer));
            Poll::Ready(read.is_ok() && !buffer.filled().is_empty())
        })
        .await;
    }
}

/// The descriptor goes with the reader, and unsent bytes with it: the kernel keeps nothing for this peer.
fn cut_off(reader: &OwnedReadHalf) {
    let _ = reader.as_ref().set_zero_linger();
}
