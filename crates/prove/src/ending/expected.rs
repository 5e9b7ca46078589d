//! What the server must record of each ending.

use std::fmt;

use lifecycle::{By, Cause};

use crate::author::author;

use super::{AfterClose, Breach, CloseWord, Ending, REASON};

/// What the record must have as WebSocket close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeSeen {
    /// This one.
    Is(u16),
    /// None.
    Absent,
    /// The standards do not say.
    Any,
}

/// One record that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The cause; who ended the flow follows from it.
    pub cause: Cause,
    /// The close code.
    pub code: CodeSeen,
    /// The reason, where the client gave one.
    pub reason: Option<&'static str>,
}

/// All records that are right for an ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// At least one.
    pub outcomes: Vec<Outcome>,
    /// Why there are several, if there are.
    pub because: Option<&'static str>,
}

impl Outcome {
    /// This cause, whatever the code.
    #[must_use]
    pub const fn any(cause: Cause) -> Self {
        Self { cause, code: CodeSeen::Any, reason: None }
    }

    const fn bare(cause: Cause) -> Self {
        Self { cause, code: CodeSeen::Absent, reason: None }
    }

    const fn coded(cause: Cause, code: u16) -> Self {
        Self { cause, code: CodeSeen::Is(code), reason: None }
    }

    /// The author of a flow's end.
    #[must_use]
    pub const fn by(&self) -> By {
        author(self.cause)
    }

    /// Whether a record with this cause, code and reason is right.
    #[must_use]
    pub fn fits(&self, cause: Cause, code: Option<u16>, reason: Option<&str>) -> bool {
        let code_fits = match self.code {
            CodeSeen::Is(wanted) => code == Some(wanted),
            CodeSeen::Absent => code.is_none(),
            CodeSeen::Any => true,
        };
        self.cause == cause && code_fits && self.reason.is_none_or(|wanted| reason == Some(wanted))
    }
}

impl Expected {
    /// One record and no other.
    #[must_use]
    pub fn only(outcome: Outcome) -> Self {
        Self { outcomes: vec![outcome], because: None }
    }

    /// Any of these.
    #[must_use]
    pub fn any_of(outcomes: &[Outcome], because: &'static str) -> Self {
        Self { outcomes: outcomes.to_vec(), because: Some(because) }
    }

    /// The same, or this.
    #[must_use]
    pub fn or(mut self, outcome: Outcome, because: &'static str) -> Self {
        self.outcomes.push(outcome);
        self.because = Some(because);
        self
    }

    /// Whether a record is right.
    #[must_use]
    pub fn fits(&self, cause: Cause, code: Option<u16>, reason: Option<&str>) -> bool {
        self.outcomes.iter().any(|outcome| outcome.fits(cause, code, reason))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, outcome) in self.outcomes.iter().enumerate() {
            let or = if n == 0 { "" } else { " or " };
            write!(f, "{or}{}", outcome.cause)?;
            match outcome.code {
                CodeSeen::Is(code) => write!(f, " {code}")?,
                CodeSeen::Absent => f.write_str(" without code")?,
                CodeSeen::Any => {}
            }
        }
        Ok(())
    }
}

impl CloseWord {
    pub(crate) const fn outcome(self) -> Outcome {
        let (code, reason) = match self {
            Self::Normal => (CodeSeen::Is(1000), None),
            Self::GoingAway => (CodeSeen::Is(1001), None),
            Self::Empty => (CodeSeen::Absent, None),
            Self::WithReason => (CodeSeen::Is(4000), Some(REASON)),
        };
        Outcome { cause: Cause::CloseFrame, code, reason }
    }
}

impl Breach {
    const fn outcome(self) -> Outcome {
        match self {
            Self::NotUtf8 => Outcome::coded(Cause::InvalidPayload, 1007),
            Self::Oversize => Outcome::coded(Cause::MessageTooBig, 1009),
            Self::Unmasked
            | Self::ReservedBits
            | Self::ReservedOpcode
            | Self::LongControl
            | Self::FragmentedControl
            | Self::ContinuationOfNothing
            | Self::MessageInMessage
            | Self::HalfCloseCode
            | Self::ForbiddenCloseCode => Outcome::coded(Cause::ProtocolError, 1002),
        }
    }
}

impl Ending {
    /// What the server must record when a connection ends so.
    #[must_use]
    pub fn expected(self) -> Expected {
        match self {
            Self::Close(word, AfterClose::Wait | AfterClose::Fin) => Expected::only(word.outcome()),
            Self::Close(word, AfterClose::Reset) => Expected::any_of(
                &[word.outcome(), Outcome::bare(Cause::Reset)],
                "a RST may overtake the Close in front of it: TCP throws away what was not yet read",
            ),
            Self::Fin | Self::HalfFin | Self::FinInFrame | Self::CloseNotify | Self::FinInRecord => {
                Expected::only(Outcome::bare(Cause::Eof))
            }
            Self::Reset | Self::ResetInFrame => Expected::only(Outcome::bare(Cause::Reset)),
            Self::Breach(breach) => Expected::only(breach.outcome()),
            Self::TlsAlert | Self::GarbageRecord => Expected::only(Outcome::any(Cause::TlsError)),
            Self::Silence => Expected::only(Outcome::bare(Cause::PingTimeout)),
            Self::StopReading => Expected::any_of(
                &[
                    Outcome::any(Cause::SlowReader),
                    Outcome::any(Cause::WriteTimeout),
                    Outcome::any(Cause::PingTimeout),
                ],
                "who does not read answers no Ping either: what is sent to it, and when, decides which limit is met first",
            ),
        }
    }
}
