//! Reading what can be read of a request that was refused, so that it can be answered.

use crate::index::{Index, header_span};
use crate::syntax::trim_end;
use crate::{HeaderId, Leniencies, Limits, Message, ParseError, StartLine};

impl<'b> Message<'b> {
    /// What can be read of a request that [`Message::parse`] refused with `error`: enough to answer it, or
    /// nothing.
    ///
    /// There is a result only if the error has an [answer](ParseError::answer), the start line is a request
    /// other than ACK, and a Via is there. The result is only good for a
    /// [`ResponseBuilder`](crate::response::ResponseBuilder): [`check_request`](Message::check_request) and
    /// [`Rewrite::write`](crate::Rewrite::write) refuse it.
    pub fn salvage(bytes: &'b [u8], error: ParseError) -> Option<Message<'b>> {
        error.answer()?;
        let limits = Limits::default();
        let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let bytes = &bytes[start..bytes.len().min(start + limits.header_section as usize)];
        let mut rest_at = next_line(bytes, 0);
        let mut seen = Leniencies::NONE;
        let start_line = StartLine::parse(line_text(&bytes[..rest_at]), &mut seen).ok()?;
        let mut index = Index::new();
        while rest_at < bytes.len() && index.spans.len() < usize::from(limits.headers) {
            let end = next_line(bytes, rest_at);
            let text = line_text(&bytes[rest_at..end]);
            if text.is_empty() {
                rest_at = end;
                break;
            }
            // A CR inside a line is no line end for us but may be one for the client: such a field is not
            // repeated to it.
            if memchr::memchr(b'\r', text).is_none()
                && let Some(mut span) = header_span(&bytes[..rest_at + text.len()], rest_at)
            {
                span.end = end as u32;
                index.push(span);
            }
            rest_at = end;
        }
        let answerable =
            matches!(start_line, StartLine::Request { method, .. } if method != crate::Method::Ack);
        if !answerable || index.first(HeaderId::Via).is_none() {
            return None;
        }
        let body = rest_at as u32;
        Some(Message {
            bytes: &bytes[..rest_at],
            start_line,
            index,
            body,
            leniencies: seen,
            damage: Some(error),
        })
    }
}

/// The offset behind the LF that ends the line at `from`, or the end.
fn next_line(bytes: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |lf| from + lf + 1)
}

/// A line without its end.
fn line_text(line: &[u8]) -> &[u8] {
    trim_end(line)
}
