//! `outside`: who may send requests to a domain's backend, for a user that is not registered here.

use super::Authentication;
use crate::document::{At, Field, Reading, Section};
use crate::report::{Problem, ProblemKind};
use crate::value::{Fault, FromToml, text, unknown_word};

/// Who may send requests to the outside: to a domain's backend, for a user that is not registered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outside {
    /// Nobody.
    Nobody,
    /// Every user of the domain who has proved to be one.
    Users,
    /// These users.
    Only(Vec<String>),
    /// Those whose token has this claim, and `true` in it.
    Claim(String),
    /// Everybody, where nobody proves anything.
    Everybody,
}

impl FromToml for Outside {
    fn expected() -> String {
        "\"users\", \"nobody\", \"everybody\" or a list of users".to_owned()
    }

    fn from_toml(value: &toml::de::DeValue<'_>) -> Result<Self, Fault> {
        const WORDS: [(&str, Outside); 3] =
            [("users", Outside::Users), ("nobody", Outside::Nobody), ("everybody", Outside::Everybody)];
        if let Some(names) = value.as_array() {
            let name = |value: &toml::Spanned<toml::de::DeValue<'_>>| match text(value.get_ref())? {
                "" => Err(Fault::value("a name in it is empty")),
                name if name.contains('@') => {
                    let user = name.trim_start_matches("sip:").split('@').next().unwrap_or_default();
                    Err(Fault::mended("names stand in it without the domain", format!("write \"{user}\"")))
                }
                name => Ok(name.to_owned()),
            };
            return names.iter().map(name).collect::<Result<_, _>>().map(Self::Only);
        }
        let word = text(value)?;
        let found = WORDS.iter().find(|(choice, _)| *choice == word);
        found
            .map(|(_, meaning)| meaning.clone())
            .ok_or_else(|| unknown_word(word, WORDS.iter().map(|(choice, _)| *choice)))
    }
}

/// Where nobody proves who they are, nobody gets out unless that is asked for by name: never an open relay by
/// oversight.
pub(super) fn read(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    authentication: &Authentication,
) -> Option<Outside> {
    let open = *authentication == Authentication::Open;
    let default = if open { Outside::Nobody } else { Outside::Users };
    // Elsewhere it has been noted that there are no claims.
    let claim = match section.field::<String>(reading, "outside_claim") {
        Field::Given(at) if matches!(authentication, Authentication::Jwt(_)) => Some(at),
        Field::Faulty => return None,
        Field::Given(_) | Field::Absent => None,
    };
    let (outside, span) = match (section.field::<Outside>(reading, "outside"), claim) {
        (Field::Faulty, _) => return None,
        (Field::Absent, None) => return Some(default),
        (Field::Absent, Some(claim)) => return Some(Outside::Claim(claim.value)),
        (Field::Given(At { value, span }), None) => (value, span),
        (Field::Given(at), Some(claim)) => {
            reading.error(
                Problem::new(ProblemKind::Conflict, claim.span, "who may call outside is said twice")
                    .label("either the tokens say it")
                    .related(at.span, "or this does")
                    .help("remove one of the two"),
            );
            return None;
        }
    };
    match (&outside, open) {
        (Outside::Everybody, true) => reading.warning(
            Problem::new(ProblemKind::Risky, span, "everybody may call through the backend")
                .label("without a password: whoever reaches this server, at your cost")
                .help("write auth = \"digest\", and leave `outside` out"),
        ),
        (Outside::Users | Outside::Only(_) | Outside::Claim(_), true) => {
            reading.error(
                Problem::new(ProblemKind::Conflict, span, "nobody proves to be a user of this domain")
                    .label("auth = \"open\": anybody could take such a name")
                    .help("write auth = \"digest\", or outside = \"nobody\""),
            );
            return None;
        }
        (Outside::Everybody, false) => {
            reading.error(
                Problem::new(ProblemKind::Conflict, span, "only users of this domain are known")
                    .label("unauthenticated clients may neither be called nor call")
                    .help("write outside = \"users\""),
            );
            return None;
        }
        (Outside::Users | Outside::Only(_) | Outside::Claim(_), false) | (Outside::Nobody, _) => {}
    }
    Some(outside)
}
