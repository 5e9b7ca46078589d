use super::*;
use crate::By;

const SECOND: Duration = Duration::from_secs(1);

/// Ten failures in 120 s.
fn start() -> (Guesses, Instant) {
    let now = Instant::now();
    (Guesses::new(NonZeroU32::new(10), 120 * SECOND, now), now)
}

fn at(name: &str, address: u32) -> LoginTry<'_> {
    let source = Source::of(address.to_be_bytes().into(), By::Connection);
    LoginTry { domain: "example.com", name, source }
}

/// So many addresses guess, each as often as it may.
fn crowd(guesses: &mut Guesses, name: &str, addresses: std::ops::Range<u32>, now: Instant) -> u32 {
    let mut looked_at = 0;
    for address in addresses {
        for _ in 0..20 {
            if guesses.may_try(&at(name, address), now).is_ok() {
                guesses.failed(&at(name, address), now);
                looked_at += 1;
            }
        }
    }
    looked_at
}

#[test]
fn a_crowd_has_few_tries_each_and_the_user_is_let_in_at_the_first() {
    let (mut guesses, now) = start();
    assert_eq!(crowd(&mut guesses, "ada", 0..1000, now), 10 + 1000 * TRIES);
    assert_eq!(guesses.may_try(&at("ada", 7), now), Err(120 * SECOND / TRIES));
    // From a new address she gets in, and others are not hindered at all.
    assert_eq!(guesses.may_try(&at("ada", 5000), now), Ok(()));
    assert_eq!(guesses.may_try(&at("bob", 7), now), Ok(()));
    // It goes on, and so does she, though some of the crowd sit where she does.
    guesses.proved(&at("ada", 7), now);
    assert_eq!(guesses.may_try(&at("ada", 7), now), Ok(()));
    assert!(guesses.may_try(&at("ada", 8), now).is_err());
    // After a while an address may try once more, and later again as ever.
    let later = now + 120 * SECOND / TRIES;
    assert_eq!(guesses.may_try(&at("ada", 8), later), Ok(()));
    assert!((0..10).all(|_| guesses.may_try(&at("ada", 8), now + 240 * SECOND).is_ok()));
}

#[test]
fn other_limits_hold_from_now_on() {
    let (mut guesses, now) = start();
    crowd(&mut guesses, "ada", 0..10, now);
    assert!(guesses.may_try(&at("ada", 7), now).is_err());
    guesses.limit(None, 120 * SECOND);
    assert_eq!(guesses.may_try(&at("ada", 7), now), Ok(()));
    guesses.limit(NonZeroU32::new(2), 60 * SECOND);
    assert!(guesses.may_try(&at("ada", 7), now).is_err(), "nothing is forgotten");
    assert_eq!(crowd(&mut guesses, "bob", 0..1, now), 2 + TRIES);
}

#[test]
fn a_name_that_nobody_has_is_like_any_other() {
    let run = |name: &'static str| {
        let (mut guesses, now) = start();
        let looked_at = crowd(&mut guesses, name, 0..50, now);
        let waits: Vec<_> = (0..60).map(|address| guesses.may_try(&at(name, address), now)).collect();
        (looked_at, waits)
    };
    assert_eq!(run("ada"), run("nobody at all"));
}

#[test]
fn people_who_mistype_and_old_phones_hinder_nobody() {
    let (mut guesses, now) = start();
    for times in 0..1000 {
        let now = now + 12 * times * SECOND;
        assert_eq!(guesses.may_try(&at("ada", 1), now), Ok(()));
        guesses.failed(&at("ada", 1), now);
    }
}

#[test]
fn it_is_remembered_for_a_day_where_a_user_was_let_in_and_of_many_the_newest() {
    let (mut guesses, now) = start();
    guesses.proved(&at("ada", 7), now);
    let later = now + LATELY - SECOND;
    crowd(&mut guesses, "ada", 0..20, later);
    assert_eq!(guesses.may_try(&at("ada", 7), later), Ok(()));
    for address in 100..102 {
        let much_later = now + 2 * LATELY * (address - 99);
        guesses.proved(&at("bob", address), much_later);
    }
    crowd(&mut guesses, "ada", 0..20, now + 5 * LATELY);
    assert!(guesses.may_try(&at("ada", 7), now + 5 * LATELY).is_err());

    guesses.let_in.most = 10;
    for address in 0..1000 {
        guesses.proved(&at("carol", address), now);
        assert!(guesses.let_in.newer.len() <= 10 && guesses.let_in.older.len() <= 10);
    }
    let has = |address| guesses.let_in.has(guesses.number_there(&at("carol", address)));
    assert!((990..1000).all(has) && !has(1));
}

#[test]
fn the_tables_are_bounded_and_nobody_is_kept_out_for_it() {
    let (mut guesses, now) = start();
    (guesses.names.most, guesses.tries.most) = (5, 5);
    let names: Vec<String> = (0..100).map(|number| format!("user{number}")).collect();
    for (name, address) in names.iter().zip(0..) {
        for _ in 0..20 {
            guesses.failed(&at(name, address), now);
        }
        assert!(guesses.names.is_whole() && guesses.tries.is_whole());
    }
    assert!(guesses.may_try(&at("user0", 0), now).is_err());
    assert!(guesses.may_try(&at("user99", 99), now).is_ok());
    // Their place is for others once they are forgotten.
    guesses.failed(&at("user99", 99), now + 1000 * SECOND);
    assert!(guesses.names.is_whole() && guesses.names.get(&guesses.number(&at("user99", 99))).is_some());
}

#[test]
fn without_a_limit_nothing_is_kept() {
    let now = Instant::now();
    let mut guesses = Guesses::new(None, SECOND, now);
    for _ in 0..1000 {
        guesses.failed(&at("ada", 1), now);
        guesses.proved(&at("ada", 1), now);
        assert_eq!(guesses.may_try(&at("ada", 1), now), Ok(()));
    }
    assert_eq!((guesses.names.len(), guesses.let_in.newer.len()), (0, 0));
}
