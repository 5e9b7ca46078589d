//! Messages out of a byte stream (RFC 3261 §18.3, RFC 5626 §3.5.1).

#[cfg(test)]
mod tests;

use memchr::memmem;
use thiserror::Error;

use crate::index::{Index, line_end};
use crate::sip_or_not::is_padding;
use crate::syntax::is_token_byte;
use crate::{HeaderId, Leniencies, Leniency, Limits, ParseError, StartLine};

/// How much of a stream one message may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of start line and header fields together.
    pub header_section: u32,
    /// Bytes of the body.
    pub body: u32,
}

impl Default for FrameLimits {
    /// 64 KiB and 16 MiB.
    fn default() -> FrameLimits {
        FrameLimits { header_section: 64 * 1024, body: 16 * 1024 * 1024 - 64 * 1024 }
    }
}

/// What the stream's next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Nothing whole yet.
    NeedMore,
    /// One CRLF (2 bytes): an answer to a ping, or the first half of one.
    Crlf,
    /// A CRLF (2 bytes) that follows a [`Frame::Crlf`] and makes a ping of both: answer with one CRLF.
    Ping,
    /// NULs, blanks and bare line ends (so many bytes), which some phones send between messages to keep a NAT
    /// binding open.
    Padding {
        /// Their number.
        len: usize,
    },
    /// A message of `len` bytes, for [`Message::parse`](crate::Message::parse).
    Message {
        /// Its length in bytes.
        len: usize,
        /// What had to be forgiven to find its end.
        leniencies: Leniencies,
    },
}

impl Frame {
    /// How many bytes the caller takes out of its buffer before it asks again.
    pub fn len(&self) -> usize {
        match self {
            Frame::NeedMore => 0,
            Frame::Crlf | Frame::Ping => 2,
            Frame::Padding { len } | Frame::Message { len, .. } => *len,
        }
    }

    /// Whether nothing is to be taken out of the buffer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a stream can be read no further. The request it broke off at may still be answered (see
/// [`Message::salvage`](crate::Message::salvage) with [`FrameError::as_parse_error`]); then the stream is to
/// be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum FrameError {
    /// The first byte begins no SIP message: another protocol, or lost framing.
    #[error("not SIP")]
    NotSip,
    /// The header section is longer than [`FrameLimits::header_section`].
    #[error("the header section is too long")]
    HeaderSectionTooLong,
    /// Content-Length is more than [`FrameLimits::body`].
    #[error("a body of {0} bytes is over the limit")]
    BodyTooLong(u32),
    /// A Content-Type announces a body, but no Content-Length says where it ends.
    #[error("a body without Content-Length")]
    NoContentLength,
    /// The header section is damaged, or its Content-Length is.
    #[error(transparent)]
    Damaged(ParseError),
}

impl FrameError {
    /// The same for a [`Message::salvage`](crate::Message::salvage); nothing where silence is right.
    pub fn as_parse_error(self) -> Option<ParseError> {
        match self {
            FrameError::NotSip => None,
            FrameError::HeaderSectionTooLong => Some(ParseError::HeaderSectionTooLong),
            FrameError::BodyTooLong(length) => Some(ParseError::MessageTooLong(length as usize)),
            FrameError::NoContentLength => Some(ParseError::ContentLengthNotANumber),
            FrameError::Damaged(error) => Some(error),
        }
    }
}

/// Cuts messages out of a stream by Content-Length, over a buffer that the caller owns.
///
/// Every byte is looked at a bounded number of times, however the stream is chopped up. A message without
/// Content-Length has no body if it has no Content-Type either ([`Leniency::NoContentLength`]); otherwise its
/// end cannot be told, and the stream ends with [`FrameError::NoContentLength`].
#[derive(Debug, Clone, Default)]
pub struct StreamFramer {
    limits: FrameLimits,
    /// How far the end of the header section has been looked for.
    scanned: usize,
    /// The whole length of the message that the buffer begins with, once its header section is read.
    whole: Option<(usize, Leniencies)>,
    half_ping: HalfPing,
    failed: Option<FrameError>,
}

/// Whether the last thing taken from the stream was a CRLF that may be half a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum HalfPing {
    #[default]
    None,
    Seen,
}

impl StreamFramer {
    /// At the start of a stream.
    pub fn new(limits: FrameLimits) -> StreamFramer {
        StreamFramer { limits, ..StreamFramer::default() }
    }

    /// Looks at all bytes received and not yet taken out. After anything but [`Frame::NeedMore`] the caller
    /// takes [`Frame::len`] bytes out of the buffer's front; after an error it stays an error.
    pub fn next(&mut self, buffer: &[u8]) -> Result<Frame, FrameError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.advance(buffer).inspect_err(|&error| self.failed = Some(error)),
        }
    }

    /// How many bytes the message at the buffer's front has in all, as soon as its header section is there.
    pub fn expected_len(&self) -> Option<usize> {
        self.whole.map(|(len, _)| len)
    }

    fn advance(&mut self, buffer: &[u8]) -> Result<Frame, FrameError> {
        let (len, leniencies) = match self.whole {
            Some(whole) => whole,
            None => match buffer {
                [] | [b'\r'] => return Ok(Frame::NeedMore),
                [b'\r', b'\n', ..] => return Ok(self.keep_alive()),
                [first, ..] if is_padding(*first) => return Ok(self.padding(buffer)),
                [first, ..] if !is_token_byte(*first) => return Err(FrameError::NotSip),
                _ => match self.find_end(buffer)? {
                    Some(whole) => *self.whole.insert(whole),
                    None => return Ok(Frame::NeedMore),
                },
            },
        };
        if buffer.len() < len {
            return Ok(Frame::NeedMore);
        }
        *self = StreamFramer::new(self.limits);
        Ok(Frame::Message { len, leniencies })
    }

    fn keep_alive(&mut self) -> Frame {
        match self.half_ping {
            HalfPing::None => {
                self.half_ping = HalfPing::Seen;
                Frame::Crlf
            }
            HalfPing::Seen => {
                self.half_ping = HalfPing::None;
                Frame::Ping
            }
        }
    }

    /// Up to the next CR, which may begin a ping.
    fn padding(&mut self, buffer: &[u8]) -> Frame {
        self.half_ping = HalfPing::None;
        let rest = buffer.iter().skip(1).take_while(|&&byte| byte != b'\r' && is_padding(byte));
        Frame::Padding { len: 1 + rest.count() }
    }

    /// The length of the whole message and what was forgiven, once the header section is complete.
    fn find_end(&mut self, buffer: &[u8]) -> Result<Option<(usize, Leniencies)>, FrameError> {
        let limit = self.limits.header_section as usize;
        let Some(found) = memmem::find(&buffer[self.scanned..], b"\r\n\r\n") else {
            // The last three bytes may be the beginning of the end.
            self.scanned = buffer.len().saturating_sub(3);
            return if buffer.len() > limit + 4 { Err(FrameError::HeaderSectionTooLong) } else { Ok(None) };
        };
        let section = self.scanned + found + 4;
        if section > limit + 4 {
            return Err(FrameError::HeaderSectionTooLong);
        }
        let headers = &buffer[..section];
        let mut seen = Leniencies::NONE;
        let mut index = Index::new();
        let limits = Limits { header_section: u32::MAX, ..Limits::default() };
        let end = line_end(headers, 0).map_err(FrameError::Damaged)?;
        StartLine::parse(&headers[..end], &mut seen).map_err(|error| FrameError::Damaged(error.into()))?;
        index.read(headers, end + 2, &limits).map_err(FrameError::Damaged)?;
        let body = match index.content_length(headers, &mut seen).map_err(FrameError::Damaged)? {
            Some(length) => length,
            None if index.first(HeaderId::ContentType).is_some() => return Err(FrameError::NoContentLength),
            None => {
                seen.insert(Leniency::NoContentLength);
                0
            }
        };
        if body > self.limits.body {
            return Err(FrameError::BodyTooLong(body));
        }
        Ok(Some((section + body as usize, seen)))
    }
}
