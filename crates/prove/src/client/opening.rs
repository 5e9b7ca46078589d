//! The WebSocket handshake of a client.

use std::io;

use websocket::client::{Answer, Opening, read_answer};

use crate::wire::Wire;
use crate::{ConnectError, Target};

/// Asks for a WebSocket and waits for the answer; what came behind it is left in `early`.
pub(super) async fn upgrade(
    wire: &mut Wire,
    target: &Target,
    early: &mut Vec<u8>,
) -> Result<(), ConnectError> {
    let host = target.host_header();
    let opening = opening(&host, target);
    send(wire, &opening)?;
    loop {
        let read = wire.read(|bytes| early.extend_from_slice(bytes)).await;
        match read_answer(early, &opening)? {
            Answer::Incomplete => read.map_err(ConnectError::Ended)?,
            Answer::Refused { status, .. } => return Err(ConnectError::Refused(status)),
            Answer::Accepted { protocol, .. } if protocol != Some("sip") => return Err(ConnectError::NoSip),
            Answer::Accepted { head_len, .. } => {
                early.drain(..head_len);
                return Ok(());
            }
        }
    }
}

/// Asks for a WebSocket.
pub(super) fn ask(wire: &mut Wire, target: &Target) -> io::Result<()> {
    send(wire, &opening(&target.host_header(), target))
}

fn send(wire: &mut Wire, opening: &Opening<'_>) -> io::Result<()> {
    let mut request = Vec::with_capacity(320);
    opening.write(&mut request);
    wire.send(&request)
}

fn opening<'a>(host: &'a str, target: &'a Target) -> Opening<'a> {
    Opening {
        host,
        target: &target.path,
        origin: target.origin.as_deref(),
        protocols: &["sip"],
        nonce: rand::random(),
        extra_headers: &[("User-Agent", "sipway-prove")],
    }
}
