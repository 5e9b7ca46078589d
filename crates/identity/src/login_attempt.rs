//! One attempt to prove to be a user, judged by its address and by earlier attempts.

use std::cell::RefCell;

use config::Host;
use defence::{LoginTry, Source};
use lifecycle::Identity;
use sip_auth::{Credentials, Secret, Username};
use smallvec::SmallVec;

use crate::{QuotaExceeded, bearer_tokens::identity};

/// Limits guesses at passwords. Names in credentials are the client's choice, so what is remembered must be
/// bounded.
pub trait LoginThrottle {
    /// Whether credentials for a name are looked at now.
    ///
    /// # Errors
    /// Too many for that name were wrong.
    fn may_try(&self, who: &LoginTry<'_>) -> Result<(), QuotaExceeded>;

    /// Credentials for a name were wrong.
    fn failed(&self, who: &LoginTry<'_>);

    /// Credentials for a name were right.
    fn succeeded(&self, who: &LoginTry<'_>);

    /// The address that the request came from brought one set of wrong credentials.
    fn offends(&self);
}

/// An attempt to prove who sends a request.
pub struct LoginAttempt<'s> {
    throttle: &'s dyn LoginThrottle,
    /// The source that limits are counted for; none if there are no limits for it.
    source: Option<Source>,
    /// The identity that the user agent on that hop has proved before.
    known: Option<Identity>,
}

impl<'s> LoginAttempt<'s> {
    /// An attempt from `source`, for whose guesses limits are counted; none if none hold. `known` is the user
    /// that was proved on that connection before.
    #[must_use]
    pub fn new(throttle: &'s dyn LoginThrottle, source: Option<Source>, known: Option<Identity>) -> Self {
        Self { throttle, source, known }
    }

    /// It brought wrong credentials.
    pub(crate) fn is_wrong(&self) {
        self.throttle.offends();
    }

    /// It brought so many sets of wrong credentials, each of which is a guess.
    pub(crate) fn are_wrong(&self, how_many: usize) {
        (0..how_many).for_each(|_| self.is_wrong());
    }

    /// Users as this attempt may ask for them.
    pub(crate) fn asks<'a, C>(&'a self, domain: &'a Host, users: &'a C) -> Asked<'a, C> {
        Asked { attempt: self, domain: domain.to_string(), host: domain, users, names: RefCell::default() }
    }
}

/// Users of a domain. For a name that is guessed there is none, as if nobody had it: so also not by what is
/// done for the answer.
pub(crate) struct Asked<'a, C> {
    attempt: &'a LoginAttempt<'a>,
    domain: String,
    host: &'a Host,
    users: &'a C,
    /// In their order.
    names: RefCell<SmallVec<[Named; 1]>>,
}

/// A user whom the credentials of the request name, however they write it: guesses at one user are counted
/// together.
struct Named {
    name: String,
    /// Whether they are to be looked at.
    may: Result<(), QuotaExceeded>,
}

/// The verdict on the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'v> {
    /// They were those of this user.
    Proved(&'v str),
    /// All were wrong.
    Wrong,
    /// Those that counted were right, but old.
    Old,
}

impl<C> Asked<'_, C> {
    /// How many sets of credentials were wrong. Who proves to be one user has guessed at the others: right
    /// credentials of one's own hide no guesses.
    pub(crate) fn wrong(&self, outcome: Outcome<'_>) -> usize {
        let names = self.names.borrow();
        match outcome {
            Outcome::Proved(user) => names.iter().filter(|named| named.name != user).count(),
            Outcome::Wrong => names.len(),
            Outcome::Old => 0,
        }
    }

    fn whom<'t>(&'t self, name: &'t str) -> Option<LoginTry<'t>> {
        let known = self.attempt.known.as_ref();
        let same = known.is_some() && identity(name, self.host).as_ref() == known;
        let source = self.attempt.source.filter(|_| !same)?;
        Some(LoginTry { domain: &self.domain, name, source })
    }

    /// Remembers what became of it.
    ///
    /// # Errors
    /// Some were not looked at.
    pub(crate) fn done(self, outcome: Outcome<'_>) -> Result<(), QuotaExceeded> {
        let throttle = self.attempt.throttle;
        let mut answer = Ok(());
        for (place, Named { name, may }) in self.names.borrow().iter().enumerate() {
            let Some(who) = self.whom(name) else { continue };
            match (may, outcome) {
                (Err(too_much), Outcome::Wrong | Outcome::Old) => answer = Err(*too_much),
                (Ok(()), Outcome::Proved(user)) if user == name => throttle.succeeded(&who),
                // Several credentials in one request are several guesses.
                (Ok(()), Outcome::Old) if place == 0 => {}
                (Ok(()), _) => throttle.failed(&who),
                (Err(_), Outcome::Proved(_)) => {}
            }
        }
        answer
    }
}

impl<C: Credentials> Credentials for Asked<'_, C> {
    fn lookup(&self, user: Username<'_>, realm: &str) -> Option<Secret<'_>> {
        let throttle = self.attempt.throttle;
        let may = self.whom(user.account).map_or(Ok(()), |who| throttle.may_try(&who));
        self.names.borrow_mut().push(Named { name: user.account.to_owned(), may });
        // Looked up in any case.
        let secret = self.users.lookup(user, realm);
        secret.filter(|_| may.is_ok())
    }
}
