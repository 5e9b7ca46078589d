//! Deviations that are understood although no grammar allows them, so that an operator can count who sends
//! what.

/// One deviation that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Leniency {
    /// More than one space between the parts of the start line, or space after it. Written out with single
    /// spaces.
    StartLineSpace,
    /// A status line that ends after the code, without the space before the (empty) reason phrase.
    NoReasonSpace,
    /// CRLFs before the start line (RFC 3261 §7.5 asks for this one).
    LeadingCrlf,
    /// Octets after the body in a datagram or WebSocket message; they are dropped (RFC 3261 §18.3).
    TrailingOctets,
    /// The same Content-Length stated more than once.
    RepeatedContentLength,
    /// No Content-Length on a stream, and no Content-Type either: taken as a message without a body.
    NoContentLength,
    /// A display name with characters that would need quotes, such as `bell@home`.
    DisplayName,
    /// White space just inside `<` and `>`.
    SpaceInBrackets,
    /// An empty parameter, as in `;;lr` or a trailing `;`.
    EmptyParam,
    /// A parameter with `=` and nothing behind it, as in `;rport=`.
    EmptyValue,
    /// An IPv6 reference with three colons where two belong (RFC 5118 §4.10).
    ThreeColons,
}

impl Leniency {
    /// All of them, in declaration order.
    pub const ALL: [Leniency; 11] = [
        Leniency::StartLineSpace,
        Leniency::NoReasonSpace,
        Leniency::LeadingCrlf,
        Leniency::TrailingOctets,
        Leniency::RepeatedContentLength,
        Leniency::NoContentLength,
        Leniency::DisplayName,
        Leniency::SpaceInBrackets,
        Leniency::EmptyParam,
        Leniency::EmptyValue,
        Leniency::ThreeColons,
    ];

    /// A short name, fit for a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Leniency::StartLineSpace => "start_line_space",
            Leniency::NoReasonSpace => "no_reason_space",
            Leniency::LeadingCrlf => "leading_crlf",
            Leniency::TrailingOctets => "trailing_octets",
            Leniency::RepeatedContentLength => "repeated_content_length",
            Leniency::NoContentLength => "no_content_length",
            Leniency::DisplayName => "display_name",
            Leniency::SpaceInBrackets => "space_in_brackets",
            Leniency::EmptyParam => "empty_param",
            Leniency::EmptyValue => "empty_value",
            Leniency::ThreeColons => "three_colons",
        }
    }
}

/// A set of [`Leniency`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Leniencies(u16);

impl Leniencies {
    /// The empty set.
    pub const NONE: Leniencies = Leniencies(0);

    /// Adds one.
    #[inline]
    pub fn insert(&mut self, leniency: Leniency) {
        self.0 |= 1 << leniency as u8;
    }

    /// Whether it was seen.
    #[inline]
    pub fn contains(self, leniency: Leniency) -> bool {
        self.0 & (1 << leniency as u8) != 0
    }

    /// Whether nothing had to be forgiven.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Leniencies) -> Leniencies {
        Leniencies(self.0 | other.0)
    }

    /// Those seen, in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Leniency> {
        Leniency::ALL.into_iter().filter(move |&leniency| self.contains(leniency))
    }
}
