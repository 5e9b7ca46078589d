//! The identity that a user agent has proved.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::Text;

/// The address-of-record, `user@domain`, that a user agent has proved to be. It is always whole: a name that
/// was cut could be that of another user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity(Text<{ Self::LONGEST }>);

impl Identity {
    /// Bytes that an identity has at most. Records have room for so many.
    pub const LONGEST: usize = 128;

    /// None if the name is longer than [`Identity::LONGEST`], or holds control characters.
    #[must_use]
    pub fn new(aor: &str) -> Option<Self> {
        let text = Text::new(aor);
        (text.as_str() == aor).then_some(Self(text))
    }

    /// The address-of-record.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let aor = <Cow<'de, str>>::deserialize(d)?;
        Self::new(&aor).ok_or_else(|| D::Error::custom("an identity that is too long, or no plain text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_whole_or_none() {
        let longest = "a".repeat(Identity::LONGEST);
        assert_eq!(Identity::new(&longest).unwrap().as_str(), longest);
        for none in [format!("{longest}a"), "a\nb@x".to_owned()] {
            assert_eq!(Identity::new(&none), None);
            assert!(serde_json::from_value::<Identity>(none.into()).is_err());
        }
    }
}
