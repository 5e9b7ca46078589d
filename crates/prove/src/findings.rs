//! How often something was found, and the first of it in words.

use std::fmt;

/// Examples that are kept.
const EXAMPLES: usize = 10;

/// A count with a few examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    count: u64,
    examples: Vec<String>,
}

impl Findings {
    /// One more; it is put into words only if it is among the first.
    pub fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        let room = EXAMPLES - self.examples.len();
        self.examples.extend(other.examples.iter().take(room).cloned());
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first few.
    #[must_use]
    pub fn examples(&self) -> &[String] {
        &self.examples
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.count)?;
        self.examples.iter().try_for_each(|example| write!(f, "\n    {example}"))
    }
}
