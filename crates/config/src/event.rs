//! Which events go to a sink.

use lifecycle::EventKind;
use toml::de::DeValue;

use crate::value::{Fault, FromToml, text, unknown_word};

/// Which events go to a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTypes {
    /// All, also types that come later.
    All,
    /// These; never empty.
    Only(Vec<EventKind>),
}

impl EventTypes {
    /// Whether events of this type are among them.
    #[must_use]
    pub fn include(&self, kind: EventKind) -> bool {
        match self {
            Self::All => true,
            Self::Only(kinds) => kinds.contains(&kind),
        }
    }
}

impl FromToml for EventKind {
    fn expected() -> String {
        "an event type such as \"flow.closed\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let name = text(value)?;
        let known = || EventKind::ALL.iter().map(|kind| kind.as_str());
        name.parse().map_err(|_| match unknown_word(name, known()) {
            Fault::Value { label: _, help: None } => {
                let all: Vec<&str> = known().collect();
                Fault::mended("no such type", format!("the types are {}", all.join(", ")))
            }
            Fault::Value { label: _, help } => Fault::Value { label: "no such type".to_owned(), help },
            Fault::Type => Fault::Type,
        })
    }
}
