//! Requests of the server itself, and requests of `sipway check` without a running server.

use std::{io, net::SocketAddr, time::Duration};

use config::{Config, Host, UpstreamTarget};
use sip_message::Message;
use targets::Transport;
use tokio::{net::UdpSocket, time::Instant};
use transport::{Dial, DialError, converse};

use crate::{
    resolve::{ResolvedServer, Unresolved, resolve, resolver},
    upstream::{client_tls, place, server_name, speaking, spoken},
};

/// T1 of RFC 3261 §17.1.2.2: when a request is first repeated.
const T1: Duration = Duration::from_millis(500);

/// The longest answer that is read.
const LONGEST: usize = 65_535;

/// A request other than INVITE.
pub struct Ask<'a> {
    /// Its method.
    pub method: &'static str,
    /// The Request-URI.
    pub uri: String,
    /// The From URI; none: our own.
    pub from: Option<String>,
    /// The To URI.
    pub to: String,
    /// A new one if there is none.
    pub call_id: Option<&'a str>,
    /// Its CSeq number.
    pub cseq: u32,
    /// Whole lines.
    pub headers: &'a str,
}

impl Ask<'_> {
    /// Whether a server is there.
    #[must_use]
    pub fn options(server: SocketAddr) -> Self {
        Ask {
            method: "OPTIONS",
            uri: format!("sip:{server}"),
            from: None,
            to: format!("sip:{server}"),
            call_id: None,
            cseq: 1,
            headers: "Accept: application/sdp\r\n",
        }
    }

    /// The request, with this Via line.
    #[must_use]
    pub fn write(&self, host: &Host, via: &str) -> String {
        let Ask { method, uri, from, to, call_id, cseq, headers } = self;
        let [call, tag]: [u64; 2] = rand::random();
        let call_id = call_id.map_or_else(|| format!("{call:016x}"), str::to_owned);
        let from = from.clone().unwrap_or_else(|| format!("sip:{host}"));
        format!(
            "{method} {uri} SIP/2.0\r\n{via}Max-Forwards: 70\r\nFrom: <{from}>;tag={tag:016x}\r\nTo: <{to}>\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{headers}Content-Length: 0\r\n\r\n"
        )
    }
}

/// Where a server of an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerPlace {
    /// How it is spoken to.
    pub transport: Transport,
    /// Its address.
    pub address: SocketAddr,
}

/// The servers that a target of the configuration leads to now, those that are wanted more first. Needs no
/// server of ours that runs.
///
/// # Errors
/// Its name cannot be looked up.
pub async fn find_servers(
    config: &Config,
    upstream: &config::Upstream,
    target: &UpstreamTarget,
) -> Result<Vec<ServerPlace>, Unresolved> {
    let Some(place) = place(target) else {
        let address = target.address();
        return Ok(address
            .map(|address| ServerPlace { transport: target.usual(), address })
            .into_iter()
            .collect());
    };
    let spoken = spoken(&speaking(upstream, &config.listeners));
    let (mut found, _) = resolve(&resolver(&config.dns.servers)?, &place, &spoken).await?;
    found.sort_by_key(|found| found.preference.priority);
    let place = |found: &ResolvedServer| ServerPlace { transport: found.transport, address: found.address };
    Ok(found.iter().map(place).collect())
}

/// Asks a server by OPTIONS whether it is there; gives the status of its answer, whatever it is. Needs no
/// server of ours that runs.
///
/// # Errors
/// No answer came in time, there is no connection, or the system did not let the request out.
pub async fn ask_whether_there(
    config: &Config,
    upstream: &config::Upstream,
    target: &UpstreamTarget,
    place: ServerPlace,
    patience: Duration,
) -> Result<u16, DialError> {
    let server = place.address;
    let listener = upstream.spoken_to_by(&config.listeners, place.transport, server.ip());
    let listener = listener.and_then(|number| config.listeners.get(number));
    let Some(listener) = listener else { return Err(io::Error::from(io::ErrorKind::NotFound).into()) };
    let (local, host) = (SocketAddr::new(listener.bind.ip(), 0), &listener.advertise.host);
    let branch = format!("z9hG4bK{:016x}", rand::random::<u64>());
    let request = |transport: &str, port: u16| {
        let via = format!("Via: SIP/2.0/{transport} {host}:{port};rport;branch={branch}\r\n");
        Ask::options(server).write(host, &via).into_bytes()
    };
    let answered = |bytes: &[u8]| final_status(bytes, branch.as_bytes());
    let port = listener.advertised_port(listener.bind);
    let tls = match place.transport {
        Transport::Udp => return Ok(by_datagrams(local, server, request, answered, patience).await?),
        Transport::Tcp => None,
        Transport::Tls => {
            let tls = client_tls(upstream).map_err(|error| DialError::Io(io::Error::other(error)))?;
            let name = server_name(target).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
            Some((tls, name))
        }
    };
    let request = request(if tls.is_some() { "TLS" } else { "TCP" }, port);
    converse(&Dial { remote: server, tls, patience }, local, &request, answered).await
}

async fn by_datagrams(
    local: SocketAddr,
    server: SocketAddr,
    request: impl Fn(&str, u16) -> Vec<u8>,
    answered: impl Fn(&[u8]) -> Option<u16>,
    patience: Duration,
) -> io::Result<u16> {
    // From the address that all else comes from: servers know us by it.
    let socket = UdpSocket::bind(local).await?;
    // Connected: an answer comes from there and from nowhere else, and a port that is closed says so.
    socket.connect(server).await?;
    let request = request("UDP", socket.local_addr()?.port());
    let until = Instant::now() + patience;
    let mut gap = T1;
    let mut answer = vec![0; LONGEST];
    while Instant::now() < until {
        socket.send(&request).await?;
        let again = (Instant::now() + gap).min(until);
        gap *= 2;
        while let Ok(read) = tokio::time::timeout_at(again, socket.recv(&mut answer)).await {
            if let Some(status) = answered(&answer[..read?]) {
                return Ok(status);
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn final_status(bytes: &[u8], branch: &[u8]) -> Option<u16> {
    let response = Message::parse(bytes).ok()?;
    let ours = response.via_top().ok()?.branch() == Some(branch);
    response.status().filter(|&status| ours && status >= 200)
}
