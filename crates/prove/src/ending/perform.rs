//! Ending a connection in each of the ways.

use std::io;
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use websocket::encode::FrameHeader;
use websocket::{CloseCode, MessageKind, Opcode, client};

use super::{AfterClose, Breach, CloseWord, Ending, REASON};
use crate::{Client, Ended, now_micros};

/// What a client sends right before it ends its connection, without waiting for an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Farewell {
    /// Nothing.
    #[default]
    Nothing,
    /// The REGISTER that removes its binding.
    Unregister,
    /// A REGISTER that adds or refreshes its binding.
    Register,
    /// A BYE to this URI.
    Bye {
        /// Whom it is for.
        to: String,
        /// Its Call-ID as a number.
        call: u64,
    },
}

/// How a connection was ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Parting {
    /// Just before the last act, in microseconds since the Unix epoch.
    pub acted_at: u64,
    /// How the server was then seen to end its side; `None` if this end did not wait, or in vain.
    pub seen: Option<Ended>,
}

impl Client {
    /// Says farewell, ends the connection in this way, and waits so long for the server's reaction where the
    /// way leaves something to wait for. Errors of the socket are no errors here: the server may have ended
    /// it first.
    pub async fn end(mut self, ending: Ending, farewell: &Farewell, patience: Duration) -> Parting {
        let said = match farewell {
            Farewell::Nothing => Ok(()),
            Farewell::Unregister => self.start_register(0).map(|_| ()),
            Farewell::Register => self.start_register(600).map(|_| ()),
            Farewell::Bye { to, call } => self.start_bye(to, *call).map(|_| ()),
        };
        if said.is_ok() && ending != Ending::StopReading {
            let _ = tokio::time::timeout(patience, self.flush()).await;
        }
        let acted_at = now_micros();
        let seen = self.act(ending, patience).await.unwrap_or_else(|error| Some(Ended::of(&error)));
        Parting { acted_at, seen }
    }

    async fn act(mut self, ending: Ending, patience: Duration) -> io::Result<Option<Ended>> {
        match ending {
            Ending::Close(word, after) => {
                self.wire.send(&close_frame(word))?;
                match after {
                    AfterClose::Wait => return Ok(self.serve_for(patience).await),
                    AfterClose::Fin => self.fin()?,
                    AfterClose::Reset => self.wire.reset()?,
                }
            }
            Ending::Fin => self.fin()?,
            Ending::HalfFin => {
                self.wire.shut_down_writing()?;
                return Ok(self.serve_for(patience).await);
            }
            Ending::Reset => self.wire.reset()?,
            Ending::FinInFrame => {
                self.wire.send(&half_a_frame())?;
                self.fin()?;
            }
            Ending::ResetInFrame => {
                self.wire.send(&half_a_frame())?;
                self.wire.reset()?;
            }
            Ending::Breach(breach) => {
                self.wire.send(&broken(breach))?;
                return Ok(self.serve_for(patience).await);
            }
            Ending::Silence => return Ok(self.wire.ignore(patience).await),
            Ending::StopReading => return Ok(self.wire.leave_unread(patience).await),
            Ending::TlsAlert => {
                self.wire.fatal_alert()?;
                return Ok(self.wire.ignore(patience).await);
            }
            Ending::CloseNotify => {
                self.wire.close_notify()?;
                return Ok(self.wire.ignore(patience).await);
            }
            Ending::FinInRecord => {
                let record = self.wire.encrypt(b"OPTIONS")?;
                self.wire.send_raw(&record[..record.len() / 2])?;
                self.fin()?;
            }
            Ending::GarbageRecord => {
                let mut record = vec![0x17, 3, 3, 0, 64];
                record.extend(std::iter::repeat_with(rand::random::<u8>).take(64));
                self.wire.send_raw(&record)?;
                return Ok(self.wire.ignore(patience).await);
            }
        }
        Ok(None)
    }

    /// FIN, then the socket goes. What lies unread is read first, or the kernel would make a RST of it.
    fn fin(self) -> io::Result<()> {
        self.wire.shut_down_writing()?;
        self.wire.drain();
        Ok(())
    }
}

fn close_frame(word: CloseWord) -> Vec<u8> {
    let (code, reason) = match word {
        CloseWord::Normal => (Some(CloseCode::NORMAL), ""),
        CloseWord::GoingAway => (Some(CloseCode::GOING_AWAY), ""),
        CloseWord::Empty => (None, ""),
        CloseWord::WithReason => (CloseCode::new(4000), REASON),
    };
    let mut frame = Vec::new();
    client::close(code, reason, rand::random(), &mut frame);
    frame
}

/// The first part of a message: cut in its header or in its payload.
fn half_a_frame() -> Vec<u8> {
    let mut frame = Vec::new();
    client::message(MessageKind::Text, &[b'M'; 300], rand::random(), &mut frame);
    frame.truncate([1, 5, 150].choose(&mut rand::rng()).copied().unwrap_or(1));
    frame
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    // A mask of zeros leaves the payload as it stands here.
    let mut frame = FrameHeader::client(opcode, payload.len(), [0; 4]).as_slice().to_vec();
    frame.extend_from_slice(payload);
    frame
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

fn broken(breach: Breach) -> Vec<u8> {
    let text = b"OPTIONS sip:nobody@localhost SIP/2.0\r\n";
    let changed = |opcode, change: fn(u8) -> u8| {
        let mut frame = frame(opcode, text);
        frame[0] = change(frame[0]);
        frame
    };
    match breach {
        Breach::Unmasked => {
            let mut frame = FrameHeader::server(Opcode::Text, text.len()).as_slice().to_vec();
            frame.extend_from_slice(text);
            frame
        }
        Breach::ReservedBits => changed(Opcode::Text, |first| first | RSV1),
        Breach::ReservedOpcode => changed(Opcode::Continuation, |first| first | 3),
        Breach::LongControl => frame(Opcode::Ping, &[b'p'; 126]),
        Breach::FragmentedControl => changed(Opcode::Ping, |first| first & !FIN),
        Breach::ContinuationOfNothing => frame(Opcode::Continuation, text),
        Breach::MessageInMessage => {
            let mut frames = changed(Opcode::Text, |first| first & !FIN);
            frames.extend(frame(Opcode::Text, text));
            frames
        }
        Breach::HalfCloseCode => frame(Opcode::Close, &[3]),
        Breach::ForbiddenCloseCode => frame(Opcode::Close, &1005_u16.to_be_bytes()),
        Breach::NotUtf8 => frame(Opcode::Text, b"MESSAGE \xc3\x28"),
        Breach::Oversize => FrameHeader::client(Opcode::Text, 1 << 30, [0; 4]).as_slice().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use websocket::{Connection, Event, Limits, ProtocolError, Role};

    fn judged(mut frames: Vec<u8>) -> Result<bool, ProtocolError> {
        let mut server = Connection::new(Role::Server, Limits::default());
        let mut at = 0;
        while at < frames.len() {
            let received = server.receive(&mut frames[at..])?;
            at += received.consumed;
            if let Some(Event::Close(_)) = received.event {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[test]
    fn each_breach_is_the_one_it_is_named_for() {
        for breach in Breach::ALL {
            let wanted = match breach {
                Breach::Unmasked => ProtocolError::MaskMissing,
                Breach::ReservedBits => ProtocolError::ReservedBits,
                Breach::ReservedOpcode => ProtocolError::ReservedOpcode(3),
                Breach::LongControl => ProtocolError::ControlTooLong,
                Breach::FragmentedControl => ProtocolError::ControlFragmented,
                Breach::ContinuationOfNothing => ProtocolError::ContinuationWithoutStart,
                Breach::MessageInMessage => ProtocolError::DataInsideMessage,
                Breach::HalfCloseCode => ProtocolError::CloseTruncated,
                Breach::ForbiddenCloseCode => ProtocolError::InvalidCloseCode(1005),
                Breach::NotUtf8 => ProtocolError::TextNotUtf8,
                Breach::Oversize => ProtocolError::FrameTooBig,
            };
            assert_eq!(judged(broken(breach)), Err(wanted), "{breach}");
            let code = Ending::Breach(breach).expected().outcomes[0].code;
            assert_eq!(code, super::super::CodeSeen::Is(wanted.close_code().get()), "{breach}");
        }
    }

    #[test]
    fn close_frames_are_good_and_half_frames_are_incomplete() {
        for word in CloseWord::ALL {
            assert_eq!(judged(close_frame(word)), Ok(true), "{word}");
        }
        for _ in 0..20 {
            assert_eq!(judged(half_a_frame()), Ok(false));
        }
    }
}
