//! "Did you mean": the known word that is nearest to a misspelt one.

/// Bytes of the longest word that is compared. The work grows with the square of the length.
const LONGEST: usize = 64;

/// The candidate nearest to `word`, if it is near enough to be what was meant. Near is one mistake in three
/// letters, or a longer form of a known word ("warning" for "warn").
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let known = candidate.to_lowercase();
            let allowed = (word.chars().count().max(known.chars().count()) / 3).max(1);
            let is_longer_form = known.len() >= 3 && word.starts_with(&known);
            // Letters put in, left out, changed, or swapped with their neighbour.
            let mistakes = if is_longer_form { 1 } else { strsim::osa_distance(&word, &known) };
            (mistakes, allowed, candidate)
        })
        .filter(|(mistakes, allowed, _)| mistakes <= allowed)
        .min_by_key(|(mistakes, _, _)| *mistakes)
        .map(|(_, _, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_of_each_kind_finds_the_word() {
        for word in ["bnid", "bin", "binds", "bond", "BIND"] {
            assert_eq!(nearest(word, ["paths", "bind"]), Some("bind"), "{word}");
        }
    }

    #[test]
    fn nearest_refuses_what_is_far() {
        let known = ["bind", "paths", "origins", "ping_after"];
        assert_eq!(nearest("BIND", known), Some("bind"));
        assert_eq!(nearest("ping-after", known), Some("ping_after"));
        assert_eq!(nearest("origin", known), Some("origins"));
        assert_eq!(nearest("paths_allowed", known), Some("paths"));
        assert_eq!(nearest("password", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
        assert_eq!(nearest("", known), None);
    }
}
