//! Things found wrong: the first of them by name, all of them by number.

/// Findings of one kind that are named; the rest is counted.
pub const NAMED_FINDINGS: usize = 1000;

/// What was found wrong, in bounded memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings<T> {
    pub(crate) named: Vec<T>,
    pub(crate) count: u64,
}

impl<T> Default for Findings<T> {
    fn default() -> Self {
        Self { named: Vec::new(), count: 0 }
    }
}

impl<T> Findings<T> {
    pub(crate) fn push(&mut self, finding: T) {
        self.count += 1;
        if self.named.len() < NAMED_FINDINGS {
            self.named.push(finding);
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.count
    }

    /// Whether nothing was found.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first of them, at most [`NAMED_FINDINGS`].
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.named.iter()
    }
}
