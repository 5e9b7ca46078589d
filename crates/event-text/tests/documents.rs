//! docs/EVENTS.md tells every word that an event can carry, and docs/ENDINGS.md every cause of a close.
#![allow(clippy::unwrap_used)]

use std::{fmt::Write as _, fs, path::PathBuf};

use event_text::causes::{call_author, call_cause, certainty, flow_author, flow_cause, removal_cause};
use lifecycle::{By, CallBy, CallCause, Cause, Certainty, DifferenceKind, EventKind, RemovalCause};

const BEGIN: &str = "checked by the same test -->\n";
const END: &str = "<!-- end of words -->";

fn document(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).join(name)
}

fn table<'a>(out: &mut String, about: &str, rows: impl Iterator<Item = (&'static str, &'a str)>) {
    let _ = writeln!(out, "\n{about}\n\n| word | clause |\n|---|---|");
    for (word, clause) in rows {
        let _ = writeln!(out, "| `{word}` | {clause} |");
    }
}

fn words() -> String {
    let mut out = String::from("\nTypes of events:\n\n| word | what happened |\n|---|---|\n");
    for &kind in EventKind::ALL {
        let _ = writeln!(out, "| `{kind}` | {} |", kind.meaning());
    }
    let authors = By::ALL.iter().map(|one| (one.as_str(), flow_author(*one)));
    table(&mut out, "`by` of `flow.closed`:", authors);
    let _ = writeln!(out, "\n`cause` of `flow.closed`:\n\n| word | by | clause |\n|---|---|---|");
    for &cause in Cause::ALL {
        let _ = writeln!(out, "| `{cause}` | `{}` | {} |", cause.by(), flow_cause(cause));
    }
    let certainties = Certainty::ALL.iter().map(|one| match certainty(*one) {
        "" => (one.as_str(), "seen by the server"),
        clause => (one.as_str(), clause),
    });
    table(&mut out, "`certainty` of `flow.closed` and `call.ended`:", certainties);
    let removals = RemovalCause::ALL.iter().map(|one| (one.as_str(), removal_cause(*one)));
    table(&mut out, "`cause` of `binding.removed` and `user.offline`:", removals);
    let authors = CallBy::ALL.iter().map(|one| (one.as_str(), call_author(*one)));
    table(&mut out, "`by` of `call.ended`, `call.held` and `call.resumed`:", authors);
    let calls = CallCause::ALL.iter().map(|one| (one.as_str(), call_cause(*one)));
    table(&mut out, "`cause` of `call.ended`:", calls);
    let differences = DifferenceKind::ALL.iter().map(|one| (one.as_str(), one.meaning()));
    table(&mut out, "`kind` of `audit.differed`:", differences);
    out.push('\n');
    out
}

#[test]
fn the_document_of_events_has_every_word() {
    let path = document("EVENTS.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (there, after) = rest.split_once(END).unwrap();
    let expected = words();
    if std::env::var_os("WRITE_DOCUMENTS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(there, expected, "to mend: WRITE_DOCUMENTS=1 cargo test -p event-text");
}

#[test]
fn the_document_of_endings_has_every_cause() {
    let text = fs::read_to_string(document("ENDINGS.md")).unwrap();
    for cause in Cause::ALL {
        assert!(text.contains(&format!("`{cause}`")), "docs/ENDINGS.md does not tell of {cause}");
    }
}
