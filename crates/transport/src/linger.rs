//! After the flow: let the peer have our last bytes, then let go of the socket.

use std::rc::Rc;

use lifecycle::{By, Cause};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::tcp::OwnedReadHalf,
    time::timeout,
};

use crate::Link;

/// Whether there is someone to part from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It may read what we said last.
    Present,
    /// It is gone, or does not read.
    Gone,
}

impl Peer {
    /// What a cause says of the peer.
    pub(crate) const fn after(cause: Cause) -> Self {
        match cause.by() {
            By::Network | By::Node => Self::Gone,
            By::Client => {
                if matches!(cause, Cause::Reset) {
                    Self::Gone
                } else {
                    Self::Present
                }
            }
            By::Server => {
                if matches!(cause, Cause::SlowReader) {
                    Self::Gone
                } else {
                    Self::Present
                }
            }
        }
    }
}

/// Lets go of a socket within the close timeout. A peer that is gone or does not read is cut off at once.
pub(crate) async fn let_go(link: Rc<Link>, mut reader: OwnedReadHalf, peer: Peer) {
    if peer == Peer::Gone {
        link.abort_on_drop();
        return;
    }
    let close_timeout = link.settings().close_timeout;
    let parting = async {
        while link.has_unsent() && reader.ready(Interest::WRITABLE).await.is_ok() {
            if link.flush().is_err() {
                return;
            }
        }
        let _ = socket2::SockRef::from(link.writer().as_ref()).shutdown(std::net::Shutdown::Write);
        drop(link);
        // An answer to our Close, or what was on its way, is read and thrown away, so that closing does not
        // turn into a reset that overtakes our last bytes.
        let mut rest = [0; 512];
        while matches!(reader.read(&mut rest).await, Ok(read) if read > 0) {}
    };
    let _ = timeout(close_timeout, parting).await;
}
