//! Errors of TOML itself, and which other errors they cast doubt on.

use std::ops::Range;

use crate::document::shortened;
use crate::report::{Problem, ProblemKind};

/// Puts the errors of the syntax beside those of the meaning, without the ones that merely follow from the
/// former.
///
/// After a syntax error the parser goes on with what it could save. A key that seems to be missing or unknown
/// may then only be lost or torn, and a value on a line with a syntax error is not what was written; other
/// errors stand.
pub(crate) fn merge(text: &str, faults: Vec<toml::de::Error>, errors: Vec<Problem>) -> Vec<Problem> {
    let mut merged: Vec<Problem> = faults.iter().map(|fault| problem(text, fault)).collect();
    // A key that is there twice is lost once; nothing else is.
    let broken: Vec<Range<usize>> = merged
        .iter()
        .filter(|problem| problem.kind == ProblemKind::Syntax)
        .map(|problem| line_around(text, &problem.span))
        .collect();
    merged.extend(errors.into_iter().filter(|problem| {
        let doubtful = matches!(
            problem.kind,
            ProblemKind::MissingKey
                | ProblemKind::UnknownKey
                | ProblemKind::NotApplicable
                | ProblemKind::Conflict
        );
        let torn = broken.iter().any(|line| problem.span.start <= line.end && line.start <= problem.span.end);
        broken.is_empty() || !(doubtful || torn)
    }));
    merged
}

fn problem(text: &str, fault: &toml::de::Error) -> Problem {
    let span = fault.span().unwrap_or(text.len()..text.len());
    let (what, expected) = match fault.message().split_once(", expected ") {
        Some((what, expected)) if expected != "nothing" => (what, Some(expected)),
        Some((what, _)) => (what, None),
        None => (fault.message(), None),
    };
    match what {
        "duplicate key" => Problem::new(ProblemKind::Duplicate, span, "a key or section is there twice")
            .label("this was set before")
            .help("remove one of the two"),
        "string values must be quoted" if span.is_empty() => {
            Problem::new(ProblemKind::Syntax, span, "a value is missing").label("here")
        }
        "string values must be quoted" => {
            let value = text.get(span.clone()).unwrap_or("…").to_owned();
            Problem::new(ProblemKind::Syntax, span, "text must be quoted")
                .label("no number, list, true or false")
                .help(format!("write \"{}\"", shortened(&value)))
        }
        _ => {
            let problem = Problem::new(ProblemKind::Syntax, span, format!("not TOML: {what}"));
            match expected {
                Some(expected) => problem.label(format!("expected {expected}")),
                None => problem.label("here"),
            }
        }
    }
}

/// The whole lines that a span touches.
fn line_around(text: &str, span: &Range<usize>) -> Range<usize> {
    let bytes = text.as_bytes();
    let (start, end) = (span.start.min(bytes.len()), span.end.min(bytes.len()));
    let from = bytes[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let to = bytes[end..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| end + at);
    from..to
}
