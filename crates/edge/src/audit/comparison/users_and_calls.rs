//! Users and calls: the server's tables, and what its records say.

use std::collections::BTreeSet;

use lifecycle::{DifferenceKind, Text};

use super::{Subject, Tally};

/// The same things by two accounts. The ledger's is taken first.
#[derive(Clone, Debug)]
pub(crate) struct Accounts<Id> {
    /// In a table of the server's.
    pub(crate) here: BTreeSet<Id>,
    /// By the records.
    pub(crate) in_ledger: BTreeSet<Id>,
    /// Counts over the records of all runs.
    pub(crate) tally: Tally,
}

impl<Id> Default for Accounts<Id> {
    fn default() -> Self {
        Self { here: BTreeSet::new(), in_ledger: BTreeSet::new(), tally: Tally::default() }
    }
}

/// Users who are online, and calls that go on.
#[derive(Clone, Debug, Default)]
pub(crate) struct UsersAndCalls {
    pub(crate) users: Accounts<Text<160>>,
    /// By their ids as text.
    pub(crate) calls: Accounts<Box<str>>,
    /// Counts of calls, all at one moment.
    pub(crate) calls_here: Tally,
}

/// Counters of what was begun, less what ended, less what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counted {
    CallsHere,
    CallsInLedger,
    UsersInLedger,
}

impl UsersAndCalls {
    /// The difference; of counters, its size.
    pub(super) fn differences(&self) -> Vec<(Subject, i128)> {
        let Self { users, calls, calls_here } = self;
        let counted = [
            (Counted::CallsHere, calls_here.off()),
            (Counted::CallsInLedger, calls.tally.off()),
            (Counted::UsersInLedger, users.tally.off()),
        ];
        let counted = counted.into_iter().filter(|(_, off)| *off != 0);
        let mut found: Vec<_> = counted.map(|(what, off)| (Subject::Counted(what), off)).collect();
        let unwritten = users.here.difference(&users.in_ledger);
        found.extend(unwritten.map(|user| (Subject::User(DifferenceKind::UserNotInLedger, user.clone()), 0)));
        let lost = users.in_ledger.difference(&users.here);
        found.extend(lost.map(|user| (Subject::User(DifferenceKind::LedgerWithoutUser, user.clone()), 0)));
        let unwritten = calls.here.difference(&calls.in_ledger);
        found.extend(unwritten.map(|call| (Subject::Call(DifferenceKind::CallNotInLedger, call.clone()), 0)));
        let lost = calls.in_ledger.difference(&calls.here);
        found.extend(lost.map(|call| (Subject::Call(DifferenceKind::LedgerWithoutCall, call.clone()), 0)));
        found
    }
}
