use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;

/// Segments of ten records and a hundred bytes each.
fn segments(count: u64) -> Vec<Segment> {
    let segment = |n| Segment { file: String::new(), first: Position::new(1, 1 + 10 * n), bytes: 100 };
    (0..count).map(segment).collect()
}

fn policy(keep_for: u64, keep_size: u64, dropping: &[&str]) -> Retention {
    Retention {
        keep_for: Duration::from_secs(keep_for),
        keep_size,
        sinks: Vec::new(),
        drop_unread_of: dropping.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Segment `n` ends at second `n`.
fn at(policy: &Retention, count: u64, now: u64, checkpoint: u64, readers: &[(&str, u64)]) -> Plan {
    let readers: Vec<_> =
        readers.iter().map(|(name, seq)| ((*name).to_owned(), Position::new(1, *seq))).collect();
    let facts = Facts {
        segments: &segments(count),
        checkpoint: Position::new(1, checkpoint),
        readers: &readers,
        now: now * SECOND,
    };
    plan(policy, &facts, |number| Some(number as u64 * SECOND))
}

#[test]
fn by_age_by_size_and_no_further_than_a_start_would_read() {
    let everything = u64::MAX;
    assert_eq!(at(&policy(10, everything, &[]), 6, 13, 60, &[]).drop, Some((3, TrimReason::Age)));
    assert_eq!(at(&policy(10, everything, &[]), 6, 10, 60, &[]).drop, None);
    assert_eq!(at(&policy(99, 250, &[]), 6, 13, 60, &[]).drop, Some((4, TrimReason::Size)));
    assert_eq!(at(&policy(10, everything, &[]), 6, 99, 60, &[]).drop, Some((5, TrimReason::Age)));
    assert_eq!(at(&policy(10, everything, &[]), 6, 99, 25, &[]).drop, Some((2, TrimReason::Age)));
    assert_eq!(at(&policy(10, everything, &[]), 6, 99, 5, &[]).drop, None);
}

#[test]
fn a_sink_holds_back_what_it_has_not_read() {
    let plan = at(&policy(10, 0, &[]), 6, 99, 60, &[("crm", 25), ("archive", 60)]);
    assert_eq!(plan.drop, Some((2, TrimReason::Size)));
    assert_eq!(plan.held_back, Some(HeldBack { by: "crm".into(), bytes: 300 }));
    let plan = at(&policy(10, 0, &["crm"]), 6, 99, 60, &[("crm", 25), ("archive", 45)]);
    assert_eq!(plan.drop, Some((4, TrimReason::Size)));
    assert_eq!(plan.held_back, Some(HeldBack { by: "archive".into(), bytes: 100 }));
}

#[test]
fn a_sink_that_never_acknowledged_anything_holds_everything() {
    let policy = Retention { sinks: vec!["crm".into()], ..policy(1, 0, &[]) };
    let readers = policy.readers(vec![("old".into(), Position::new(1, 60))]);
    assert_eq!(readers.len(), 2);
    assert_eq!(policy.slowest(&readers), Some(&("crm".to_owned(), Position::START)));
}

proptest! {
    /// Whatever the numbers: the newest segment stays, and so does all that a start or a sink would read.
    #[test]
    fn what_is_needed_stays(
        count in 1u64..12, now in 0u64..30, checkpoint in 0u64..130, cursor in 0u64..130,
        keep_for in 0u64..30, keep_size in 0u64..1300,
    ) {
        let plan = at(&policy(keep_for, keep_size, &[]), count, now, checkpoint, &[("crm", cursor)]);
        if let Some((drop, _)) = plan.drop {
            prop_assert!((drop as u64) < count);
            let kept = segments(count)[drop].first;
            prop_assert!(kept <= Position::new(1, checkpoint.min(cursor)));
        }
    }
}
