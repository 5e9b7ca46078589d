//! A connection of which something was read already.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Gives `head` first, then what the stream gives.
#[derive(Debug)]
pub(crate) struct Prefixed {
    head: io::Cursor<Vec<u8>>,
    stream: TcpStream,
}

impl Prefixed {
    pub(crate) fn new(head: Vec<u8>, stream: TcpStream) -> Self {
        Self { head: io::Cursor::new(head), stream }
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let left = usize::try_from(this.head.position()).ok().and_then(|at| this.head.get_ref().get(at..));
        match left {
            Some(left) if !left.is_empty() => {
                let taken = left.len().min(buf.remaining());
                buf.put_slice(&left[..taken]);
                this.head.set_position(this.head.position() + taken as u64);
                Poll::Ready(Ok(()))
            }
            _ => Pin::new(&mut this.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
