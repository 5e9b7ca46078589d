//! Requests of our own to a server behind us, by UDP from a socket of their own.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use config::Host;
use sip_message::Message;
use tokio::{net::UdpSocket, time::Instant};

/// T1 of RFC 3261 §17.1.2.2: when a request is first repeated.
const T1: Duration = Duration::from_millis(500);

/// The longest answer that is read.
const LONGEST: usize = 65_535;

/// A request other than INVITE.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'static str,
    /// The Request-URI.
    pub(crate) uri: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// A new one if there is none.
    pub(crate) call_id: Option<&'a str>,
    pub(crate) cseq: u32,
    /// Whole lines.
    pub(crate) headers: &'a str,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Of the final response.
    pub(crate) status: u16,
}

/// Asks a server by OPTIONS whether it is there; gives the status of its answer, whatever it is. Needs no server of ours that
/// runs. `from` is the address that it is asked from, and the host that it is told.
///
/// # Errors
/// No answer came in time, or the system did not let the request out.
pub async fn ask_whether_there(
    from: (IpAddr, &Host),
    server: SocketAddr,
    patience: Duration,
) -> io::Result<u16> {
    let options = Ask {
        method: "OPTIONS",
        uri: format!("sip:{server}"),
        from: format!("sip:{}", from.1),
        to: format!("sip:{server}"),
        call_id: None,
        cseq: 1,
        headers: "Accept: application/sdp\r\n",
    };
    Ok(ask(from, server, &options, patience).await?.status)
}

/// Asks a server; repeats it until there is a final answer.
///
/// # Errors
/// No answer came in time, or the system did not let it out.
pub(crate) async fn ask(
    from: (IpAddr, &Host),
    server: SocketAddr,
    ask: &Ask<'_>,
    patience: Duration,
) -> io::Result<Asked> {
    // From the address that all else comes from: servers know us by it.
    let (local, host) = from;
    let socket = UdpSocket::bind((local, 0)).await?;
    // Connected: an answer comes from there and from nowhere else, and a port that is closed says so.
    socket.connect(server).await?;
    let port = socket.local_addr()?.port();
    let Ask { method, uri, from, to, call_id, cseq, headers } = ask;
    let numbers: [u64; 3] = rand::random();
    let call_id = call_id.map_or_else(|| format!("{:016x}", numbers[0]), str::to_owned);
    let branch = format!("z9hG4bK{:016x}", numbers[1]);
    let request = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};rport;branch={branch}\r\nMax-Forwards: 70\r\n\
         From: <{from}>;tag={:016x}\r\nTo: <{to}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{headers}\
         Content-Length: 0\r\n\r\n",
        numbers[2]
    );
    let until = Instant::now() + patience;
    let mut gap = T1;
    let mut answer = vec![0; LONGEST];
    while Instant::now() < until {
        socket.send(request.as_bytes()).await?;
        let again = (Instant::now() + gap).min(until);
        gap *= 2;
        while let Ok(read) = tokio::time::timeout_at(again, socket.recv(&mut answer)).await {
            if let Some(status) = final_status(&answer[..read?], branch.as_bytes()) {
                return Ok(Asked { status });
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
