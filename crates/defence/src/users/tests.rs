use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> UserLimits {
    let number = NonZeroU32::new;
    UserLimits { connections: number(2), message_rate: number(10), calls: number(1), failures: None }
}

fn start(most: usize) -> (Users, Instant) {
    (Users::new(limits(), most), Instant::now())
}

#[test]
fn connections_and_calls_are_counted_until_they_are_over_and_for_each_user() {
    let (mut users, now) = start(10);
    let ada = users.find("ada@x", now).unwrap();
    let one = ada.connect().unwrap();
    let other = users.find("ada@x", now).unwrap().connect().unwrap();
    assert!(ada.connect().is_none());
    let call = ada.call().unwrap();
    assert!(ada.call().is_none());
    let bob = users.find("bob@x", now).unwrap();
    assert!(bob.connect().is_some() && bob.call().is_some(), "another has limits of its own");
    drop((one, call));
    let again = (ada.connect(), ada.call());
    assert!(again.0.is_some() && again.1.is_some() && ada.connect().is_none());
    assert_eq!(other.user().name(), "ada@x");
}

#[test]
fn other_limits_hold_for_who_is_there_and_who_has_more_keeps_it() {
    let (mut users, now) = start(10);
    let ada = users.find("ada@x", now).unwrap();
    let (one, other) = (ada.connect().unwrap(), ada.connect().unwrap());
    users.limit(UserLimits { connections: NonZeroU32::new(3), message_rate: None, ..limits() }, |_| false);
    let third = ada.connect().unwrap();
    assert!(ada.connect().is_none());
    assert!((0..1000).all(|_| ada.speaks(now) == Pace::Good));
    users.limit(UserLimits { connections: NonZeroU32::new(1), ..limits() }, |_| false);
    drop((one, other));
    assert!(ada.connect().is_none());
    drop(third);
    assert!(ada.connect().is_some());
    let bob = users.find("bob@x", now).unwrap();
    assert!(bob.connect().is_some_and(|_one| bob.connect().is_none()), "and for who comes later");
}

#[test]
fn who_becomes_exempt_is_so_on_what_it_holds_and_for_as_long() {
    let (mut users, now) = start(10);
    let (ada, bob) = (users.find("ada@x", now).unwrap(), users.find("bob@x", now).unwrap());
    let (_connection, _call) = (ada.connect().unwrap(), ada.call().unwrap());
    users.limit(limits(), |name| name == "ada@x");
    let calls = [ada.call(), ada.call()];
    assert!(calls.iter().all(Option::is_some) && (0..1000).all(|_| ada.speaks(now) == Pace::Good));
    let _one = bob.call();
    assert!(bob.call().is_none(), "another is not");
    users.limit(limits(), |_| false);
    assert!(ada.call().is_none());
    drop(calls);
    assert!(ada.call().is_none(), "the first call is counted all the while");
}

#[test]
fn who_speaks_too_fast_is_refused_and_who_goes_on_is_sent_away() {
    let (mut users, now) = start(10);
    let ada = users.find("ada@x", now).unwrap();
    let burst = 10 * MESSAGE_BURST;
    let said = |times: u32, now| (0..times).map(|_| ada.speaks(now)).collect::<Vec<_>>();
    assert!(said(burst, now).iter().all(|pace| *pace == Pace::Good));
    assert!(said(burst, now).iter().all(|pace| matches!(pace, Pace::TooFast { .. })));
    assert_eq!(said(2, now), [Pace::FarTooFast; 2]);
    // What was said fades: by a tenth of a second for each.
    let later = now + SECOND * MESSAGE_BURST;
    assert_eq!(ada.speaks(later), Pace::TooFast { wait: SECOND / 10 });
    assert_eq!(ada.speaks(later + SECOND), Pace::Good);
    // At the rate, for ever.
    let bob = users.find("bob@x", now).unwrap();
    assert!((0..10_000).all(|at| bob.speaks(now + at * SECOND / 10) == Pace::Good));
}

#[test]
fn coming_again_does_not_make_a_user_new() {
    let (mut users, now) = start(2);
    for _ in 0..10 * MESSAGE_BURST {
        assert_eq!(users.find("ada@x", now).unwrap().speaks(now), Pace::Good);
    }
    let bob = users.find("bob@x", now).unwrap().connect().unwrap();
    assert!(users.find("carol@x", now).is_none(), "ada has spoken, bob is here");
    assert!(matches!(users.find("ada@x", now).unwrap().speaks(now), Pace::TooFast { .. }));
    // Who has nothing gives way.
    let later = now + 100 * SECOND;
    let carol = users.find("carol@x", later).unwrap();
    assert_eq!((users.len(), carol.speaks(later)), (2, Pace::Good));
    drop(bob);
}

#[test]
fn without_limits_a_user_takes_what_it_wants() {
    let none = UserLimits { connections: None, message_rate: None, calls: None, failures: None };
    let (mut users, now) = (Users::new(none, 1), Instant::now());
    let ada = users.find("ada@x", now).unwrap();
    let taken: Vec<_> = (0..10_000).map(|_| (ada.connect(), ada.call(), ada.speaks(now))).collect();
    assert!(taken.iter().all(|(one, call, pace)| one.is_some() && call.is_some() && *pace == Pace::Good));
}

proptest! {
    /// Whoever comes, calls and goes, in whatever order: what is counted is what is there, and the table is
    /// bounded.
    #[test]
    fn what_is_counted_is_what_is_there(acts in prop::collection::vec((0..5_u8, 0..4_u8), 0..200)) {
        let (mut users, now) = start(3);
        let (mut connections, mut calls) = (Vec::new(), Vec::new());
        for (who, act) in acts {
            let name = format!("user{who}");
            match act {
                0 => connections.extend(users.find(&name, now).and_then(|user| user.connect())),
                1 => calls.extend(users.find(&name, now).and_then(|user| user.call())),
                2 => drop(connections.pop()),
                _ => drop(calls.pop()),
            }
            prop_assert!(users.all.is_whole());
            for (name, user) in users.all.iter() {
                let open = connections.iter().filter(|one: &&UserConnection| one.0.name == *name).count();
                let under_way = calls.iter().filter(|one: &&UserCall| one.0.name == *name).count();
                let taken = user.taken();
                prop_assert_eq!((taken.connections as usize, taken.calls as usize), (open, under_way));
                prop_assert!(open <= 2 && under_way <= 1);
            }
            // Nobody who has something is forgotten.
            prop_assert!(connections.iter().all(|one| users.all.get(&*one.0.name).is_some()));
        }
    }
}
