//! Every way in which a peer's message can be wrong, each with the answer it deserves.

use thiserror::Error;

/// Why a start line was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum StartLineError {
    /// Neither `METHOD uri SIP/x.y` nor `SIP/x.y status reason`.
    #[error("not a SIP start line")]
    NotSip,
    /// The method is not a token.
    #[error("the method is not a token")]
    Method,
    /// Nothing between method and version.
    #[error("no Request-URI")]
    NoRequestUri,
    /// The status code is not three digits from 100 to 699.
    #[error("the status code is not 100 to 699")]
    Status,
}

/// Why bytes are no message that may be handled or forwarded. Offsets count from the start line's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum ParseError {
    /// Nothing at all, or only line ends: a keep-alive, not a message.
    #[error("no message, only line ends")]
    Empty,
    /// Larger than [`Limits::message`](crate::Limits::message).
    #[error("message of {0} bytes is over the limit")]
    MessageTooLong(usize),
    /// The first line.
    #[error("start line: {0}")]
    StartLine(#[from] StartLineError),
    /// The empty line after the header fields never came.
    #[error("the header section does not end")]
    Unterminated,
    /// A CR without LF after it.
    #[error("bare CR at {0}")]
    BareCr(u32),
    /// A LF without CR before it.
    #[error("bare LF at {0}")]
    BareLf(u32),
    /// The first line after the start line begins with white space.
    #[error("a continuation line at {0} continues nothing")]
    NothingToContinue(u32),
    /// A line without a colon, or with no token before it.
    #[error("the line at {0} is no header field")]
    NotAHeader(u32),
    /// More header fields than [`Limits::headers`](crate::Limits::headers).
    #[error("too many header fields")]
    TooManyHeaders,
    /// The header section is larger than [`Limits::header_section`](crate::Limits::header_section).
    #[error("the header section is too long")]
    HeaderSectionTooLong,
    /// A Content-Length below zero.
    #[error("negative Content-Length")]
    ContentLengthNegative,
    /// A Content-Length that is not digits.
    #[error("Content-Length is not a number")]
    ContentLengthNotANumber,
    /// A Content-Length beyond 2³²-1.
    #[error("Content-Length is too large")]
    ContentLengthTooLarge,
    /// Two Content-Lengths that differ.
    #[error("contradicting Content-Lengths")]
    ContentLengthContradicting,
    /// Fewer bytes follow the header section than Content-Length says.
    #[error("Content-Length says {declared}, but only {available} bytes follow")]
    ShortBody {
        /// What Content-Length says.
        declared: u32,
        /// What is there.
        available: u32,
    },
}

impl ParseError {
    /// Status and reason phrase to answer a request with, if it can be read well enough to be answered
    /// ([`Message::salvage`](crate::Message::salvage) tells); nothing where silence is right.
    pub fn answer(self) -> Option<(u16, &'static str)> {
        Some(match self {
            ParseError::Empty | ParseError::StartLine(_) => return None,
            ParseError::MessageTooLong(_) => (513, "Message Too Large"),
            ParseError::Unterminated => (400, "Unterminated Header Section"),
            ParseError::BareCr(_) | ParseError::BareLf(_) => (400, "Bare CR Or LF"),
            ParseError::NothingToContinue(_) | ParseError::NotAHeader(_) => (400, "Malformed Header Field"),
            ParseError::TooManyHeaders => (400, "Too Many Header Fields"),
            ParseError::HeaderSectionTooLong => (513, "Header Section Too Large"),
            ParseError::ContentLengthNegative
            | ParseError::ContentLengthNotANumber
            | ParseError::ContentLengthTooLarge => (400, "Invalid Content-Length"),
            ParseError::ContentLengthContradicting => (400, "Contradicting Content-Length"),
            ParseError::ShortBody { .. } => (400, "Body Shorter Than Content-Length"),
        })
    }
}

/// Why a number was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum NumberError {
    /// Something else than digits, or nothing.
    #[error("not a number")]
    NotANumber,
    /// Beyond the field's range.
    #[error("number too large")]
    TooLarge,
}

/// Why a CSeq was refused (RFC 3261 §20.16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum CSeqError {
    /// There is none.
    #[error("missing")]
    Missing,
    /// The sequence number is not a number.
    #[error("the sequence number is not a number")]
    NotANumber,
    /// The sequence number is 2³¹ or more.
    #[error("the sequence number is 2^31 or more")]
    TooLarge,
    /// No method, or not a token.
    #[error("the method is missing or not a token")]
    Method,
}

/// Why a Via was refused (RFC 3261 §20.42).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum ViaError {
    /// There is none.
    #[error("missing")]
    Missing,
    /// Not `name/version/transport`.
    #[error("malformed sent-protocol")]
    Protocol,
    /// Malformed host.
    #[error("malformed sent-by host")]
    Host,
    /// Port not 1 to 5 digits up to 65535.
    #[error("malformed sent-by port")]
    Port,
    /// Malformed or empty parameter, or text after the value.
    #[error("malformed parameters")]
    Params,
}

/// Why a name-addr or addr-spec with parameters was refused (RFC 3261 §20.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum NameAddrError {
    /// There is no such header field.
    #[error("missing")]
    Missing,
    /// A quoted string that does not end.
    #[error("unterminated quoted string")]
    UnterminatedQuote,
    /// A `<` without `>`.
    #[error("unclosed angle bracket")]
    UnclosedBracket,
    /// Unquoted text before `<` that no leniency covers, a comma above all.
    #[error("malformed display name")]
    DisplayName,
    /// No URI, or white space within it.
    #[error("malformed address")]
    Address,
    /// A URI with `?` outside angle brackets: whose its parts are cannot be told (RFC 3261 §20.10).
    #[error("URI with headers outside angle brackets")]
    BareHeaders,
    /// Malformed parameter, or text after the address.
    #[error("malformed parameters")]
    Params,
}

/// Why a URI was refused (RFC 3261 §19.1, RFC 3966).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum UriError {
    /// No scheme, or a malformed one.
    #[error("no scheme")]
    Scheme,
    /// White space, a control character, a quote or an angle bracket.
    #[error("a character that no URI has")]
    Character,
    /// A `%` without two hexadecimal digits.
    #[error("malformed escape")]
    Escape,
    /// An `@` with nothing before it, or more than one.
    #[error("malformed user part")]
    User,
    /// No host, or a malformed one.
    #[error("malformed host")]
    Host,
    /// Port not 1 to 5 digits up to 65535.
    #[error("malformed port")]
    Port,
    /// A tel URI without digits, or with other characters than digits and visual separators.
    #[error("malformed telephone number")]
    Number,
}

/// Why a well framed message is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Invalid {
    /// It was salvaged from bytes that are no message.
    #[error("{0}")]
    Damaged(ParseError),
    /// A request where a response is expected, or the other way round.
    #[error("not a request, or not a response")]
    WrongKind,
    /// Another protocol version than SIP/2.0.
    #[error("unsupported SIP version")]
    Version,
    /// The Request-URI.
    #[error("Request-URI: {0}")]
    RequestUri(UriError),
    /// The Request-URI carries headers, which RFC 3261 §19.1.1 forbids there.
    #[error("Request-URI with headers")]
    RequestUriHeaders,
    /// The topmost Via.
    #[error("Via: {0}")]
    Via(ViaError),
    /// From.
    #[error("From: {0}")]
    From(NameAddrError),
    /// To.
    #[error("To: {0}")]
    To(NameAddrError),
    /// The URI in From.
    #[error("From: {0}")]
    FromUri(UriError),
    /// The URI in To.
    #[error("To: {0}")]
    ToUri(UriError),
    /// CSeq.
    #[error("CSeq: {0}")]
    CSeq(CSeqError),
    /// CSeq names another method than the request line.
    #[error("CSeq method differs from the request's")]
    CSeqMethod,
    /// No Call-ID, or an empty one.
    #[error("missing Call-ID")]
    NoCallId,
    /// White space within the Call-ID.
    #[error("malformed Call-ID")]
    CallId,
    /// Max-Forwards is not 0 to 255.
    #[error("Max-Forwards: {0}")]
    MaxForwards(NumberError),
    /// A header field that may stand once stands more often.
    #[error("repeated {}", String::from_utf8_lossy(.0.name()))]
    Repeated(crate::HeaderId),
}

impl Invalid {
    /// Status and reason phrase for the answer to a request; a response is dropped. Nothing where silence is
    /// right.
    pub fn answer(self) -> Option<(u16, &'static str)> {
        use crate::HeaderId as Id;
        Some(match self {
            Invalid::Damaged(error) => return error.answer(),
            Invalid::WrongKind | Invalid::Via(ViaError::Missing) => return None,
            Invalid::Version => (505, "Version Not Supported"),
            Invalid::RequestUri(_) => (400, "Malformed Request-URI"),
            Invalid::RequestUriHeaders => (400, "Headers In Request-URI"),
            Invalid::Via(_) => (400, "Malformed Via"),
            Invalid::From(NameAddrError::Missing) => (400, "Missing From"),
            Invalid::To(NameAddrError::Missing) => (400, "Missing To"),
            Invalid::From(_) | Invalid::FromUri(_) => (400, "Malformed From"),
            Invalid::To(_) | Invalid::ToUri(_) => (400, "Malformed To"),
            Invalid::CSeq(CSeqError::Missing) => (400, "Missing CSeq"),
            Invalid::CSeq(_) => (400, "Malformed CSeq"),
            Invalid::CSeqMethod => (400, "CSeq Method Does Not Match"),
            Invalid::NoCallId => (400, "Missing Call-ID"),
            Invalid::CallId => (400, "Malformed Call-ID"),
            Invalid::MaxForwards(_) => (400, "Malformed Max-Forwards"),
            Invalid::Repeated(Id::From) => (400, "Repeated From"),
            Invalid::Repeated(Id::To) => (400, "Repeated To"),
            Invalid::Repeated(Id::CallId) => (400, "Repeated Call-ID"),
            Invalid::Repeated(Id::CSeq) => (400, "Repeated CSeq"),
            Invalid::Repeated(Id::MaxForwards) => (400, "Repeated Max-Forwards"),
            Invalid::Repeated(_) => (400, "Repeated Header Field"),
        })
    }
}

/// Why a message was not written. Nothing is written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum EditError {
    /// A text to insert holds CR or LF, so it could end its line and begin another header field.
    #[error("a line end in the text to insert")]
    LineEnd,
    /// A header field name that is not a token.
    #[error("the header field name is not a token")]
    HeaderName,
    /// A Request-URI that is empty or has white space, or an edit of the Request-URI of a response.
    #[error("not a Request-URI")]
    RequestUri,
    /// The message was salvaged: it may be answered, never forwarded.
    #[error("the message is damaged")]
    Damaged,
    /// The request has no Via to answer to.
    #[error("no Via to answer to")]
    NoVia,
    /// A header field that the new message must copy is missing.
    #[error("a header field to copy is missing")]
    Missing(crate::HeaderId),
    /// The message is a response where a request is needed, or the request is not an INVITE where one is
    /// needed.
    #[error("made from the wrong kind of message")]
    WrongKind,
    /// A status outside 100 to 699.
    #[error("status outside 100 to 699")]
    Status,
    /// A span that does not lie in the header section.
    #[error("a span outside the header section")]
    Span,
}
