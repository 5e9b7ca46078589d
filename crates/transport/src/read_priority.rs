//! When a flow is read: at once, or in turn with other flows whose clients are unauthenticated.

use std::{future::poll_fn, io, pin::Pin};

use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::tcp::OwnedReadHalf,
    sync::SemaphorePermit,
};

use crate::{
    Link,
    scratch::{READ, SHORT_READ},
};

/// When the peer of a flow is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPriority {
    /// As soon as it says something.
    AtOnce,
    /// After others: one such flow of a shard at a time, a few messages long, and then any other flow that
    /// has something to do. However many there are, and however much they say, others wait for one of them.
    /// Those that have said little yet have turns of their own.
    InTurn,
}

/// The next task of a flow.
pub(crate) enum Step<'l> {
    /// So many bytes, and the turn that they were read in, if it took one.
    Read(io::Result<usize>, Option<SemaphorePermit<'l>>),
    Writable,
    Attention,
    Deadline,
}

impl Link {
    /// Says when its peer is listened to from now on; that is at once if nobody says anything.
    pub fn listen(&self, heard: ReadPriority) {
        self.heard.set(heard);
    }

    /// Resolves when it is the peer's turn, and keeps that. None if it needs none.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        match self.heard.get() {
            ReadPriority::AtOnce => None,
            // Nobody closes them.
            ReadPriority::InTurn if self.has_just_come() => self.scratch().first_turn.acquire().await.ok(),
            ReadPriority::InTurn => self.scratch().turn.acquire().await.ok(),
        }
    }

    /// Whether its peer is listened to at once.
    pub(crate) fn is_heard_at_once(&self) -> bool {
        self.heard.get() == ReadPriority::AtOnce
    }
}

/// Waits until something can be read (and reads it into the scratch buffer), or what waits can be written.
pub(crate) async fn readiness<'l>(reader: &mut OwnedReadHalf, link: &'l Link) -> Step<'l> {
    let ready = if link.has_unsent() {
        match reader.ready(Interest::READABLE | Interest::WRITABLE).await {
            Ok(ready) if ready.is_writable() => return Step::Writable,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    } else if link.is_heard_at_once() {
        // Not `readable` and `try_read`: a short read by `poll_read` tells the runtime that the socket is
        // drained, which saves a system call for each message.
        let read = poll_fn(|context| {
            let mut input = link.scratch().input.borrow_mut();
            let mut buffer = ReadBuf::new(&mut input);
            Pin::new(&mut *reader).poll_read(context, &mut buffer).map_ok(|()| buffer.filled().len())
        });
        return Step::Read(read.await, None);
    } else {
        reader.readable().await
    };
    if let Err(error) = ready {
        return Step::Read(Err(error), None);
    }
    let turn = link.turn().await;
    let most = if turn.is_some() { SHORT_READ } else { READ };
    let mut input = link.scratch().input.borrow_mut();
    match reader.try_read(input.get_mut(..most).unwrap_or_default()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Attention,
        read => Step::Read(read, turn),
    }
}
