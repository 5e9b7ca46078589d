//! Whether a message is valid enough to be handled (RFC 3261 §8.1.1, §16.3 step 1, §18.3).

use crate::words::{below, none};
use crate::{HeaderId, Invalid, Leniencies, Message, StartLine};

impl Message<'_> {
    /// Whether this request may be handled and forwarded; if not, [`Invalid::answer`] says what to answer.
    ///
    /// Checked are the version, the Request-URI's syntax, that Via, From, To, Call-ID and CSeq are there and
    /// sound, that those and Max-Forwards stand once, that CSeq names the request's method, and Max-Forwards'
    /// range. A URI scheme that nobody serves (416) is the proxy's to judge. RFC 2543 requests (no tag, no
    /// branch, no Max-Forwards) pass.
    pub fn check_request(&self) -> Result<Leniencies, Invalid> {
        if let Some(error) = self.damage {
            return Err(Invalid::Damaged(error));
        }
        let StartLine::Request { method, .. } = self.start_line() else { return Err(Invalid::WrongKind) };
        let seen = self.check_shared()?;
        let uri = self.request_uri().map_err(Invalid::RequestUri)?;
        if uri.headers().is_some() {
            return Err(Invalid::RequestUriHeaders);
        }
        if self.cseq().map_err(Invalid::CSeq)?.method != method {
            return Err(Invalid::CSeqMethod);
        }
        self.once(HeaderId::MaxForwards)?;
        self.max_forwards().map_err(Invalid::MaxForwards)?;
        Ok(seen.union(uri.leniencies()))
    }

    /// Whether this response may be handled and forwarded; if not, it is to be dropped.
    pub fn check_response(&self) -> Result<Leniencies, Invalid> {
        if let Some(error) = self.damage {
            return Err(Invalid::Damaged(error));
        }
        if self.is_request() {
            return Err(Invalid::WrongKind);
        }
        let seen = self.check_shared()?;
        self.cseq().map_err(Invalid::CSeq)?;
        Ok(seen)
    }

    fn check_shared(&self) -> Result<Leniencies, Invalid> {
        if !self.start_line().is_version_2_0() {
            return Err(Invalid::Version);
        }
        for id in [HeaderId::From, HeaderId::To, HeaderId::CallId, HeaderId::CSeq] {
            self.once(id)?;
        }
        self.via_top().map_err(Invalid::Via)?;
        let from = self.from().map_err(Invalid::From)?;
        let to = self.to().map_err(Invalid::To)?;
        let from_uri = from.uri().map_err(Invalid::FromUri)?;
        let to_uri = to.uri().map_err(Invalid::ToUri)?;
        let call_id = self.call_id().filter(|call_id| !call_id.is_empty()).ok_or(Invalid::NoCallId)?;
        if !none(call_id, |word| below(word, b' ' + 1)) && call_id.iter().any(u8::is_ascii_whitespace) {
            return Err(Invalid::CallId);
        }
        let uris = from_uri.leniencies().union(to_uri.leniencies());
        Ok(self.leniencies().union(from.leniencies()).union(to.leniencies()).union(uris))
    }

    fn once(&self, id: HeaderId) -> Result<(), Invalid> {
        if self.index.is_repeated(id) { Err(Invalid::Repeated(id)) } else { Ok(()) }
    }
}
