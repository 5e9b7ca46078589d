//! Closed vocabularies: the words of events that consumers match on.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A closed set of words: causes, authors, transports.
pub trait Vocabulary: Copy + 'static {
    /// What its words name, for error messages.
    const NOUN: &'static str;
    /// Every word there is.
    const ALL: &'static [Self];

    /// The word that consumers see.
    fn word(self) -> &'static str;

    /// What has this word.
    ///
    /// # Errors
    /// The word names nothing; the error lists the words that do.
    fn of_word(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL.iter().copied().find(|known| known.word() == word).ok_or_else(|| UnknownWord {
            word: word.to_owned(),
            noun: Self::NOUN,
            known: Self::ALL.iter().map(|known| known.word()).collect(),
        })
    }
}

/// A word that a vocabulary does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not {noun}; known: {}", known.join(", "))]
pub struct UnknownWord {
    word: String,
    noun: &'static str,
    known: Vec<&'static str>,
}

/// Defines an enum of words: `ALL`, `as_str`, `Display`, `FromStr`, and serde by the word.
macro_rules! vocabulary {
    (
        $(#[$meta:meta])*
        $type:ident, $noun:literal, { $($(#[doc = $doc:literal])* $name:ident = $word:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[doc = $doc])* $name,)* }

        impl $type {
            /// Every word there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word that consumers see.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it means: its documentation, as words without a full stop.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim().trim_end_matches('.'),)* }
            }
        }

        impl $crate::vocabulary::Vocabulary for $type {
            const NOUN: &'static str = $noun;
            const ALL: &'static [Self] = Self::ALL;

            fn word(self) -> &'static str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::vocabulary::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                <Self as $crate::vocabulary::Vocabulary>::of_word(word)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                <std::borrow::Cow<'de, str>>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use vocabulary;

/// A word as a record has it. A newer program may have written one that this program does not know; it stays
/// as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Word<T> {
    /// A word of the vocabulary.
    Known(T),
    /// Any other.
    Unknown(Box<str>),
}

impl<T: Vocabulary> Word<T> {
    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(known) => known.word(),
            Self::Unknown(word) => word,
        }
    }

    /// What it names, if this program knows it.
    #[must_use]
    pub const fn known(&self) -> Option<T> {
        match self {
            Self::Known(known) => Some(*known),
            Self::Unknown(_) => None,
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(known: T) -> Self {
        Self::Known(known)
    }
}

impl<T: Vocabulary> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<T: Vocabulary> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de, T: Vocabulary> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = <Cow<'de, str>>::deserialize(d)?;
        Ok(T::of_word(&word).map_or_else(|_| Self::Unknown(word.into()), Self::Known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        By, CallBy, CallCause, Cause, Certainty, DifferenceKind, Direction, RemovalCause, Transport,
    };

    fn reads_back<T: Vocabulary + fmt::Debug + PartialEq + Serialize + for<'de> Deserialize<'de>>() {
        for &known in T::ALL {
            assert_eq!(T::of_word(known.word()), Ok(known));
            let json = serde_json::to_string(&known).unwrap();
            assert_eq!(json, format!("\"{}\"", known.word()));
            assert_eq!(serde_json::from_str::<T>(&json).unwrap(), known);
            assert_eq!(serde_json::from_str::<Word<T>>(&json).unwrap(), Word::Known(known));
        }
        let error = T::of_word("gone").unwrap_err().to_string();
        assert!(error.starts_with(&format!("`gone` is not {}; known: ", T::NOUN)), "{error}");
        assert!(serde_json::from_str::<T>("\"gone\"").is_err());
    }

    #[test]
    fn every_word_reads_back() {
        reads_back::<By>();
        reads_back::<Cause>();
        reads_back::<Certainty>();
        reads_back::<CallBy>();
        reads_back::<CallCause>();
        reads_back::<RemovalCause>();
        reads_back::<DifferenceKind>();
        reads_back::<Transport>();
        reads_back::<Direction>();
    }

    #[test]
    fn a_word_of_a_newer_program_stays_as_it_is() {
        let word: Word<Cause> = serde_json::from_str("\"swallowed \\\"whole\\\"\"").unwrap();
        assert_eq!((word.as_str(), word.known()), ("swallowed \"whole\"", None));
        assert_eq!(serde_json::to_string(&word).unwrap(), "\"swallowed \\\"whole\\\"\"");
    }
}
