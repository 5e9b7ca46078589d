//! A message as an index over its bytes.

use crate::index::{HeaderSpan, Index, line_end};
use crate::syntax::is_token;
use crate::{
    CSeq, CSeqError, Contacts, EditError, Header, HeaderId, Leniencies, Leniency, Method, NameAddr,
    NameAddrError, NameAddrs, NumberError, ParseError, StartLine, Uri, UriError, Values, Via, ViaError,
    syntax,
};

/// A stretch of a message, in bytes from its start line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

/// How large a message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Header fields, at most 255.
    pub headers: u8,
    /// Bytes of start line and header fields together.
    pub header_section: u32,
    /// Bytes of the whole message as given, at most 2³²-1.
    pub message: u32,
}

impl Default for Limits {
    /// 255 header fields, 64 KiB of them, 16 MiB in all.
    fn default() -> Limits {
        Limits { headers: 255, header_section: 64 * 1024, message: 16 * 1024 * 1024 }
    }
}

/// A SIP message over borrowed bytes. Up to 32 header fields are indexed without allocating.
#[derive(Debug, Clone)]
pub struct Message<'b> {
    /// From the start line to the end of the body.
    pub(crate) bytes: &'b [u8],
    pub(crate) start_line: StartLine<'b>,
    pub(crate) index: Index,
    pub(crate) body: u32,
    pub(crate) leniencies: Leniencies,
    /// Set by [`Message::salvage`] only.
    pub(crate) damage: Option<ParseError>,
}

impl<'b> Message<'b> {
    /// Reads one datagram, one WebSocket message, or what a [`StreamFramer`](crate::StreamFramer) cut out.
    ///
    /// CRLFs before the start line are skipped. Octets beyond Content-Length are ignored, fewer are an error;
    /// without a Content-Length the rest is the body (RFC 3261 §18.3).
    pub fn parse(bytes: &'b [u8]) -> Result<Message<'b>, ParseError> {
        Message::parse_within(bytes, &Limits::default())
    }

    /// [`Message::parse`] with limits of your own.
    pub fn parse_within(bytes: &'b [u8], limits: &Limits) -> Result<Message<'b>, ParseError> {
        if bytes.len() > limits.message as usize {
            return Err(ParseError::MessageTooLong(bytes.len()));
        }
        let mut seen = Leniencies::NONE;
        let mut bytes = bytes;
        while let [b'\r', b'\n', rest @ ..] = bytes {
            seen.insert(Leniency::LeadingCrlf);
            bytes = rest;
        }
        if bytes.is_empty() {
            return Err(ParseError::Empty);
        }
        let end = line_end(bytes, 0)?;
        if end > limits.header_section as usize {
            return Err(ParseError::HeaderSectionTooLong);
        }
        let start_line = StartLine::parse(&bytes[..end], &mut seen)?;
        let mut index = Index::new();
        let body = index.read(bytes, end + 2, limits)?;
        if let Some(declared) = index.content_length(bytes, &mut seen)? {
            let available = (bytes.len() - body) as u32;
            if declared > available {
                return Err(ParseError::ShortBody { declared, available });
            }
            if declared < available {
                seen.insert(Leniency::TrailingOctets);
                bytes = &bytes[..body + declared as usize];
            }
        }
        Ok(Message { bytes, start_line, index, body: body as u32, leniencies: seen, damage: None })
    }

    /// The first line.
    #[inline]
    pub fn start_line(&self) -> StartLine<'b> {
        self.start_line
    }

    /// The method, if this is a request.
    #[inline]
    pub fn method(&self) -> Option<Method<'b>> {
        match self.start_line {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI as received, if this is a request.
    #[inline]
    pub fn request_uri_bytes(&self) -> Option<&'b [u8]> {
        match self.start_line {
            StartLine::Request { uri, .. } => Some(uri),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI. A response has none, which counts as one without a scheme.
    pub fn request_uri(&self) -> Result<Uri<'b>, UriError> {
        Uri::parse(self.request_uri_bytes().unwrap_or_default())
    }

    /// The status code, 100 to 699, if this is a response.
    #[inline]
    pub fn status(&self) -> Option<u16> {
        match self.start_line {
            StartLine::Response { status, .. } => Some(status),
            StartLine::Request { .. } => None,
        }
    }

    /// Whether this is a request.
    #[inline]
    pub fn is_request(&self) -> bool {
        matches!(self.start_line, StartLine::Request { .. })
    }

    /// All header fields in order.
    pub fn headers(&self) -> Headers<'_, 'b> {
        Headers { message: self, spans: &self.index.spans, only: None }
    }

    /// The first header field of this id.
    #[inline]
    pub fn first(&self, id: HeaderId) -> Option<Header<'b>> {
        self.index.first(id).map(|at| self.header(&self.index.spans[at]))
    }

    /// The value of the first header field of this id.
    #[inline]
    pub fn value(&self, id: HeaderId) -> Option<&'b [u8]> {
        self.index.first(id).map(|at| self.value_at(at))
    }

    /// The first header field of this name, for names that have no id.
    pub fn first_named(&self, name: &[u8]) -> Option<Header<'b>> {
        match HeaderId::from_name(name) {
            HeaderId::Other => {
                self.all(HeaderId::Other).find(|header| header.name.eq_ignore_ascii_case(name))
            }
            id => self.first(id),
        }
    }

    /// All header fields of this id, in order.
    #[inline]
    pub fn all(&self, id: HeaderId) -> Headers<'_, 'b> {
        Headers { message: self, spans: self.index.all(id), only: Some(id) }
    }

    /// The values of all header fields of this id, split at the commas outside quotes and angle brackets.
    /// Empty values are passed over. Not for Authorization and the like, whose commas separate parameters.
    #[inline]
    pub fn values(&self, id: HeaderId) -> Values<'_, 'b> {
        Values::new(self.all(id))
    }

    /// The topmost Via value.
    pub fn via_top(&self) -> Result<Via<'b>, ViaError> {
        // What reads as a Via is one value, so most need no look for commas.
        if let Some(via) = self.value(HeaderId::Via).and_then(|value| Via::parse(value).ok()) {
            return Ok(via);
        }
        self.values(HeaderId::Via).next().ok_or(ViaError::Missing).and_then(|value| Via::parse(value.bytes))
    }

    /// All Via values, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'b>, ViaError>> {
        self.values(HeaderId::Via).map(|value| Via::parse(value.bytes))
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr<'b>, NameAddrError> {
        NameAddr::parse(self.value(HeaderId::From).ok_or(NameAddrError::Missing)?)
    }

    /// The `tag` of From; nothing if there is none. Of a sound From it is the same as by [`Message::from`],
    /// jittered.
    pub fn from_tag(&self) -> Option<&'b [u8]> {
        let value = self.value(HeaderId::From)?;
        // As nearly everybody writes it. What is all token holds no quote, so the bracket is the address's.
        let rest = memchr::memrchr(b'>', value).map_or(&b""[..], |at| &value[at + 1..]);
        match rest.strip_prefix(b";tag=") {
            Some(tag) if is_token(tag) => Some(tag),
            _ => self.from().ok()?.tag(),
        }
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr<'b>, NameAddrError> {
        NameAddr::parse(self.value(HeaderId::To).ok_or(NameAddrError::Missing)?)
    }

    /// Call-ID, compared byte for byte (RFC 3261 §20.8).
    #[inline]
    pub fn call_id(&self) -> Option<&'b [u8]> {
        self.value(HeaderId::CallId)
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq<'b>, CSeqError> {
        CSeq::parse(self.value(HeaderId::CSeq).ok_or(CSeqError::Missing)?)
    }

    /// Max-Forwards, 0 to 255; nothing when absent.
    pub fn max_forwards(&self) -> Result<Option<u8>, NumberError> {
        let Some(number) = self.number(HeaderId::MaxForwards)? else { return Ok(None) };
        u8::try_from(number).map(Some).map_err(|_| NumberError::TooLarge)
    }

    /// Expires in seconds; nothing when absent.
    pub fn expires(&self) -> Result<Option<u32>, NumberError> {
        self.number(HeaderId::Expires)
    }

    /// Content-Length in bytes, never more than the body has; nothing when absent.
    pub fn content_length(&self) -> Option<u32> {
        self.number(HeaderId::ContentLength).ok().flatten()
    }

    /// The number that the first header field of this id holds; nothing when absent.
    pub fn number(&self, id: HeaderId) -> Result<Option<u32>, NumberError> {
        self.value(id).map(syntax::decimal).transpose()
    }

    /// The Contact values of all Contact header fields.
    pub fn contacts(&self) -> Contacts<'_, 'b> {
        Contacts::new(self.values(HeaderId::Contact))
    }

    /// The Route values, topmost first.
    pub fn routes(&self) -> NameAddrs<'_, 'b> {
        self.name_addrs(HeaderId::Route)
    }

    /// The Record-Route values, topmost first.
    pub fn record_routes(&self) -> NameAddrs<'_, 'b> {
        self.name_addrs(HeaderId::RecordRoute)
    }

    /// The Path values (RFC 3327), topmost first.
    pub fn paths(&self) -> NameAddrs<'_, 'b> {
        self.name_addrs(HeaderId::Path)
    }

    /// The values of any header field that lists name-addrs.
    pub fn name_addrs(&self, id: HeaderId) -> NameAddrs<'_, 'b> {
        NameAddrs::new(self.values(id))
    }

    /// The option tags of Require, Proxy-Require, Supported or Unsupported; compare them without case.
    pub fn option_tags(&self, id: HeaderId) -> impl Iterator<Item = &'b [u8]> {
        self.values(id).map(|value| value.bytes)
    }

    /// Whether a header field of this id lists this option tag.
    pub fn has_option_tag(&self, id: HeaderId, tag: &[u8]) -> bool {
        self.option_tags(id).any(|listed| listed.eq_ignore_ascii_case(tag))
    }

    /// The body.
    #[inline]
    pub fn body(&self) -> &'b [u8] {
        &self.bytes[self.body as usize..]
    }

    /// The message from its start line to the end of its body: without CRLFs before and octets after it.
    #[inline]
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// How long [`bytes`](Message::bytes) is.
    #[inline]
    pub fn len_on_wire(&self) -> usize {
        self.bytes.len()
    }

    /// What had to be forgiven while framing and indexing; [`check_request`](Message::check_request) says
    /// more.
    pub fn leniencies(&self) -> Leniencies {
        self.leniencies
    }

    /// Where a part that was read from this message lies in it; an error if it is not of this message.
    pub fn span_of(&self, part: &[u8]) -> Result<Span, EditError> {
        let start = (part.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= self.bytes.len() => Ok(Span { start: start as u32, end: end as u32 }),
            _ => Err(EditError::Span),
        }
    }

    #[inline]
    pub(crate) fn header(&self, span: &HeaderSpan) -> Header<'b> {
        let start = span.start as usize;
        Header {
            id: span.id,
            name: &self.bytes[start..start + usize::from(span.name_len)],
            value: &self.bytes[span.value_start as usize..span.value_end as usize],
            span: Span { start: span.start, end: span.end },
        }
    }

    #[inline]
    fn value_at(&self, at: usize) -> &'b [u8] {
        let span = &self.index.spans[at];
        &self.bytes[span.value_start as usize..span.value_end as usize]
    }
}

/// Header fields of a message, in order.
#[derive(Debug, Clone)]
pub struct Headers<'m, 'b> {
    message: &'m Message<'b>,
    spans: &'m [HeaderSpan],
    only: Option<HeaderId>,
}

impl<'b> Iterator for Headers<'_, 'b> {
    type Item = Header<'b>;

    #[inline]
    fn next(&mut self) -> Option<Header<'b>> {
        while let [span, rest @ ..] = self.spans {
            self.spans = rest;
            if self.only.is_none_or(|id| id == span.id) {
                return Some(self.message.header(span));
            }
        }
        None
    }
}
