//! Names that may be given once.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::document::Reading;
use crate::listener::TransportKind;
use crate::report::{Problem, ProblemKind};
use crate::value::Name;

/// The names of one kind of thing, and where each was given.
pub(crate) struct Unique {
    what: &'static str,
    taken: BTreeMap<String, Range<usize>>,
}

impl Unique {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, taken: BTreeMap::new() }
    }

    /// Takes a name, or notes that it was taken before.
    pub(crate) fn claim(&mut self, reading: &mut Reading<'_>, name: &str, span: Range<usize>) {
        let Some(first) = self.taken.get(name) else {
            self.taken.insert(name.to_owned(), span);
            return;
        };
        let problem =
            Problem::new(ProblemKind::Duplicate, span, format!("two of `[[{}]]` are `{name}`", self.what));
        reading.error(
            problem
                .label("again here")
                .related(first.clone(), "first here")
                .help(format!("give every {} its own", self.what)),
        );
    }

    /// A free name for a listener that was given none: its transport and port, and a number where that is not
    /// enough.
    pub(crate) fn invent(&mut self, transport: TransportKind, port: u16) -> Option<Name> {
        let stem = format!("{}-{port}", transport.as_str());
        let free = std::iter::once(stem.clone())
            .chain((2..=u32::MAX).map(|number| format!("{stem}-{number}")))
            .find(|name| !self.taken.contains_key(name))?;
        self.taken.insert(free.clone(), 0..0);
        Name::new(&free)
    }
}
