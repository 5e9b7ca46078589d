//! How SIP messages travel on a connection: in WebSocket messages, in a stream, in datagrams.

use std::mem;

use sip_message::{Frame, StreamFramer};
use websocket::{Connection, Event, Limits, Phase, Role, client, encode, sip};

use crate::Ended;

/// The framing of one connection, and what is incomplete of it.
#[derive(Debug)]
pub(crate) enum Speech {
    WebSocket(Connection),
    Stream { framer: StreamFramer, partial: Vec<u8> },
    Datagrams,
}

impl Speech {
    pub(super) fn web_socket() -> Self {
        let limits = Limits { max_message: 1 << 24, max_frame: 1 << 24, ..Limits::default() };
        Self::WebSocket(Connection::new(Role::Client, limits))
    }

    /// One SIP message as it goes on the wire.
    pub(crate) fn frame(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::WebSocket(_) => {
                let mut frame = Vec::with_capacity(message.len() + 14);
                client::message(encode::kind_for(message), message, rand::random(), &mut frame);
                frame
            }
            Self::Stream { .. } | Self::Datagrams => message.to_vec(),
        }
    }

    /// Hands over each whole SIP message in `bytes`; it may write an answer, a bare message. `out` gets all
    /// answers, framed.
    pub(super) fn hear(
        &mut self,
        bytes: &mut [u8],
        out: &mut Vec<u8>,
        mut message: impl FnMut(&[u8], &mut Vec<u8>),
    ) -> Result<(), Ended> {
        match self {
            Self::WebSocket(connection) => hear_frames(connection, bytes, out, message),
            Self::Stream { framer, partial } => {
                partial.extend_from_slice(bytes);
                let mut joined = mem::take(partial);
                let heard = hear_stream(framer, &joined, out, message)?;
                joined.drain(..heard);
                if !joined.is_empty() {
                    *partial = joined;
                }
                Ok(())
            }
            Self::Datagrams => {
                message(bytes, out);
                Ok(())
            }
        }
    }
}

fn hear_frames(
    connection: &mut Connection,
    mut bytes: &mut [u8],
    out: &mut Vec<u8>,
    mut message: impl FnMut(&[u8], &mut Vec<u8>),
) -> Result<(), Ended> {
    let mut answer = Vec::new();
    while !bytes.is_empty() {
        let received = connection.receive(bytes).map_err(Ended::Breach)?;
        let consumed = received.consumed;
        match received.event {
            None | Some(Event::Pong(_)) => {}
            Some(Event::Message(content)) => match sip::content(&content.data) {
                sip::Content::Message(sip) => {
                    answer.clear();
                    message(sip, &mut answer);
                    if !answer.is_empty() {
                        client::message(encode::kind_for(&answer), &answer, rand::random(), out);
                    }
                }
                sip::Content::KeepAlivePing => client::text(sip::PONG, rand::random(), out),
                sip::Content::KeepAlivePong | sip::Content::Empty => {}
            },
            Some(Event::Ping(payload)) => client::pong(&payload, rand::random(), out),
            Some(Event::Close(frame)) => {
                let ended = Ended::Closed {
                    code: frame.code.map(websocket::CloseCode::get),
                    reason: frame.reason.into_owned(),
                };
                if connection.phase() == Phase::AnswerDue {
                    // Its mask is zero, which no server minds.
                    let _ = connection.answer_close(out);
                }
                return Err(ended);
            }
        }
        bytes = &mut bytes[consumed..];
    }
    Ok(())
}

fn hear_stream(
    framer: &mut StreamFramer,
    bytes: &[u8],
    out: &mut Vec<u8>,
    mut message: impl FnMut(&[u8], &mut Vec<u8>),
) -> Result<usize, Ended> {
    let mut at = 0;
    while at < bytes.len() {
        let frame = framer.next(&bytes[at..]).map_err(Ended::Stream)?;
        match frame {
            Frame::NeedMore => break,
            Frame::Crlf | Frame::Padding { .. } => {}
            Frame::Ping => out.extend_from_slice(b"\r\n"),
            Frame::Message { len, .. } => message(&bytes[at..at + len], out),
        }
        at += frame.len();
    }
    Ok(at)
}
