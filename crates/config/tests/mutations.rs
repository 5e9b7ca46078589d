//! Whatever becomes of the text: no panic, and every problem has a place inside it.

mod example;

use std::path::Path;

use config::{Config, ProblemKind, Style};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Mutation {
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, String),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let pieces = prop::sample::select(vec![
        "\"",
        "[",
        "]",
        "=",
        "\n",
        "'''",
        "\"\"\"",
        "é",
        "\u{0}",
        "\t",
        "\r",
        "👩‍👧",
        "{",
        "}",
        ",",
        "9",
        "-",
        ".",
        "#",
        "true",
        "1979-05-27T07:32:00Z",
        "nan",
        "0x7f",
        "18446744073709551616",
        "[[listener]]\n",
        "[limits]\n",
        "\\u001b",
        "bind = \"[::]:5060\"\n",
        "\u{202e}",
        "ｗｉｄｅ",
    ]);
    prop_oneof![
        (any::<prop::sample::Index>(), 0..40_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (any::<prop::sample::Index>(), pieces).prop_map(|(at, piece)| Mutation::Insert(at, piece.to_owned())),
        (any::<prop::sample::Index>(), "\\PC{0,6}").prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..200_usize)
            .prop_map(|(from, to, length)| Mutation::Copy(from, to, length)),
    ]
}

fn apply(text: &mut Vec<char>, mutation: &Mutation) {
    let place = |index: &prop::sample::Index, text: &[char]| index.index(text.len() + 1);
    match mutation {
        Mutation::Remove(at, length) => {
            let at = place(at, text);
            let end = (at + length).min(text.len());
            text.drain(at..end);
        }
        Mutation::Insert(at, piece) => {
            let at = place(at, text);
            text.splice(at..at, piece.chars());
        }
        Mutation::Copy(from, to, length) => {
            let from = place(from, text);
            let piece: Vec<char> = text[from..(from + length).min(text.len())].to_vec();
            let to = place(to, text);
            text.splice(to..to, piece);
        }
    }
}

fn check(text: &str) -> Result<(), TestCaseError> {
    match Config::parse(text, Path::new("/etc/sipway/sipway.toml"), &example::environment()) {
        Ok(config) => {
            prop_assert!(!config.listeners.is_empty() && !config.domains.is_empty());
            let _ = config.warnings().render(Style::Plain);
        }
        Err(errors) => {
            prop_assert!(!errors.problems().is_empty());
            let mut before = (1, 1);
            for problem in errors.problems() {
                prop_assert!(text.get(problem.span()).is_some(), "{problem:?}");
                prop_assert!(problem.kind() != ProblemKind::Unreadable && !problem.title().is_empty());
                let place = (problem.line(), problem.column());
                prop_assert!(place >= before && problem.line() <= text.matches('\n').count() + 1);
                before = place;
            }
            let drawn = errors.render(Style::Plain);
            prop_assert!(!drawn.contains('\u{1b}'), "{drawn}");
            let _ = errors.render(Style::Coloured);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_mutated_example(mutations in prop::collection::vec(mutation(), 1..12)) {
        let mut text: Vec<char> = example::TEXT.chars().collect();
        for mutation in &mutations {
            apply(&mut text, mutation);
        }
        check(&text.into_iter().collect::<String>())?;
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        check(&text)?;
    }

    #[test]
    fn any_value_behind_any_key(
        key in prop::sample::select(config::keys().filter(|key| key.contains('.')).collect::<Vec<_>>()),
        value in prop_oneof![
            "\\PC{0,12}".prop_map(|text| format!("{text:?}")),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| format!("{number:?}")),
            any::<bool>().prop_map(|value| value.to_string()),
            Just("[]".to_owned()), Just("[[], 1]".to_owned()), Just("{ a = 1 }".to_owned()),
            "[0-9]{1,22}(ms|s|m|h|B|KiB|GiB)".prop_map(|text| format!("{text:?}")),
            "[a-z0-9.:/\\[\\]]{0,24}".prop_map(|text| format!("{text:?}")),
        ],
    ) {
        let (section, key) = key.split_once('.').expect("filtered");
        let header = if ["listener", "domain", "sink"].contains(&section) {
            format!("[[{section}]]")
        } else {
            format!("[{section}]")
        };
        check(&format!("{header}\n{key} = {value}\n"))?;
    }
}
