//! "Did you mean": the known word that is nearest to a misspelt one.

/// Longer words are not compared: the work grows with the square of the length, and nobody misspells so much.
const LONGEST: usize = 64;

/// The candidate nearest to `word`, if it is near enough to be what was meant: one slip in three letters, or a known word
/// written on ("warning" for "warn").
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = word.chars().take(LONGEST + 1).flat_map(char::to_lowercase).collect();
    if letters.len() > LONGEST {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| {
            let other: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
            let allowed = (letters.len().max(other.len()) / 3).max(1);
            let written_on = other.len() >= 3 && letters.starts_with(&other);
            (if written_on { 1 } else { slips(&letters, &other) }, allowed, candidate)
        })
        .filter(|(slips, allowed, _)| slips <= allowed)
        .min_by_key(|(slips, _, _)| *slips)
        .map(|(_, _, candidate)| candidate)
}

/// How many letters must be put in, left out, changed or swapped with their neighbour to get from one word to the other.
fn slips(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = Vec::with_capacity(to.len() + 1);
        row.push(i + 1);
        for (j, b) in to.iter().enumerate() {
            let changed = above[j] + usize::from(a != b);
            let mut least = changed.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(from: &str, to: &str) -> usize {
        slips(&from.chars().collect::<Vec<_>>(), &to.chars().collect::<Vec<_>>())
    }

    #[test]
    fn slips_count_each_kind_of_mistake_once() {
        for (from, to, expected) in [
            ("bind", "bind", 0),
            ("bnid", "bind", 1),
            ("bin", "bind", 1),
            ("binds", "bind", 1),
            ("bond", "bind", 1),
            ("", "bind", 4),
            ("bind", "", 4),
            ("max_flow", "maxflows", 2),
        ] {
            assert_eq!(distance(from, to), expected, "{from} → {to}");
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
