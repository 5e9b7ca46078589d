//! Connections that this server makes: to a server behind, or to a phone that asks for it. Once open, they
//! are flows like all others.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use lifecycle::{Direction, FlowFacts, Text};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    ConnectionHandler, Framing, Link, Listener, Scratch,
    flow::{self, Receiver},
    handshake::{READ, stream_codec, watch_over},
    linger,
    tls::{Progress, Tls},
};

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The address.
    pub remote: SocketAddr,
    /// For TLS: the settings, and whom the peer must prove to be.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// How long it may take until messages can be sent.
    pub patience: Duration,
}

/// No connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The system says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    /// TLS failed: the peer did not prove to be who it should, or does not speak it.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The peer left before anything was said.
    #[error("the peer left before anything was said")]
    LeftEarly,
}

/// A connection that we made, and that is no flow yet. Dropping it closes it.
#[derive(Debug)]
pub struct Dialled {
    link: Rc<Link>,
    receiver: Receiver,
    /// What came behind the handshake.
    early: Vec<u8>,
    facts: FlowFacts,
}

impl Dialled {
    /// Connects, from the address that `listener` has, and by its limits and times.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect(dial: &Dial, listener: &Listener, scratch: Rc<Scratch>) -> Result<Self, DialError> {
        let connecting = async {
            let mut stream = connect(dial.remote, listener.local).await?;
            let mut early = Vec::new();
            let tls = match &dial.tls {
                None => None,
                Some((config, name)) => {
                    let tls = Tls::connect(Arc::clone(config), name.clone())?;
                    Some(shake_hands(tls, &mut stream, &mut early).await?)
                }
            };
            Ok::<_, DialError>((stream, tls, early))
        };
        let (stream, tls, early) = match timeout(dial.patience, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(DialError::TimedOut(dial.patience)),
        };
        let facts = FlowFacts {
            transport: listener.transport,
            direction: Direction::Connected,
            listener: Text::new(&listener.name),
            local: stream.local_addr()?,
            remote: dial.remote,
            forwarded: None,
            host: None,
            origin: None,
            path: None,
            user_agent: None,
            tls: tls.as_ref().map(Tls::facts),
        };
        let settings = Rc::clone(&listener.settings);
        watch_over(&stream, Framing::Stream, &settings);
        let codec = stream_codec(&settings);
        let (reader, writer) = stream.into_split();
        let link = Rc::new(Link::new(writer, Framing::Stream, tls, settings, scratch));
        Ok(Self { link, receiver: Receiver { reader, codec }, early, facts })
    }

    /// The sending side.
    #[must_use]
    pub fn link(&self) -> &Rc<Link> {
        &self.link
    }

    /// The known facts.
    #[must_use]
    pub fn facts(&self) -> &FlowFacts {
        &self.facts
    }

    /// Runs it as a flow, to its end.
    pub async fn run<O: ConnectionHandler>(self, owner: Rc<O>, flow: O::Flow) {
        flow::run(owner, self.link, self.receiver, self.early, flow).await;
    }

    /// Lets go of it unused.
    pub async fn close(self) {
        self.link.close_notify();
        linger::part(self.link, self.receiver.reader, linger::Peer::Present).await;
    }
}

/// Connects from this address, says something, and reads until `enough` has found what it looks for in what
/// came. For those who have no server that runs.
///
/// # Errors
/// There is no connection, or the peer ended it, or it took too long.
pub async fn converse<T>(
    dial: &Dial,
    local: SocketAddr,
    words: &[u8],
    enough: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, DialError> {
    let talking = async {
        let mut stream = connect(dial.remote, local).await?;
        let (mut heard, mut cipher) = (Vec::new(), Vec::new());
        let mut tls = match &dial.tls {
            None => None,
            Some((config, name)) => {
                let tls = Tls::connect(Arc::clone(config), name.clone())?;
                Some(shake_hands(tls, &mut stream, &mut heard).await?)
            }
        };
        match &mut tls {
            None => stream.write_all(words).await?,
            Some(tls) => {
                tls.encrypt(words, &mut cipher)?;
                stream.write_all(&cipher).await?;
            }
        }
        let mut input = vec![0; READ];
        loop {
            if let Some(found) = enough(&heard) {
                return Ok(found);
            }
            let read = stream.read(&mut input).await?;
            let input = input.get_mut(..read).unwrap_or_default();
            match &mut tls {
                _ if read == 0 => return Err(DialError::LeftEarly),
                None => heard.extend_from_slice(input),
                Some(tls) => {
                    let mut reply = Vec::new();
                    tls.receive(input, &mut heard, &mut reply)?;
                    stream.write_all(&reply).await?;
                }
            }
        }
    };
    timeout(dial.patience, talking).await.unwrap_or(Err(DialError::TimedOut(dial.patience)))
}

async fn connect(remote: SocketAddr, listener: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // From the address that peers know us by, if there is one.
    if !listener.ip().is_unspecified() && listener.is_ipv4() == remote.is_ipv4() {
        socket.bind((listener.ip(), 0).into())?;
    }
    let stream = socket.connect(remote).await?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn shake_hands(mut tls: Tls, stream: &mut TcpStream, early: &mut Vec<u8>) -> Result<Tls, DialError> {
    let mut input = vec![0; READ];
    let mut read = 0;
    loop {
        let mut reply = Vec::new();
        let progress = tls.receive(input.get_mut(..read).unwrap_or_default(), early, &mut reply);
        if !reply.is_empty() {
            stream.write_all(&reply).await?;
        }
        match progress? {
            Progress::Open => return Ok(tls),
            Progress::PeerClosed => return Err(DialError::LeftEarly),
            Progress::Handshaking => {}
        }
        read = stream.read(&mut input).await?;
        if read == 0 {
            return Err(DialError::LeftEarly);
        }
    }
}
