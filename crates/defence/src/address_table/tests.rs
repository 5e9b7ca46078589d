use proptest::prelude::*;

use super::*;
use crate::By;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    let number = NonZeroU32::new;
    Limits {
        connections: number(3),
        handshakes: number(2),
        handshake_rate: number(1),
        message_rate: number(10),
        failures: number(5),
        forget: 50 * SECOND,
        ban: 100 * SECOND,
    }
}

fn at(address: &str) -> Source {
    Source::of(address.parse().unwrap(), By::Connection)
}

fn start() -> (AddressTable, Instant) {
    let now = Instant::now();
    (AddressTable::new(limits(), now), now)
}

fn why<T>(turned: Result<T, TurnedAway>) -> Option<TurnedAwayCause> {
    turned.err().map(|turned| turned.why)
}

#[test]
fn connections_and_handshakes_are_counted_until_they_are_over() {
    let (mut all, now) = start();
    let (one, other) = (at("192.0.2.1"), at("192.0.2.2"));
    assert_eq!(all.arrive(one, now), Ok(Arrived::Counted));
    assert_eq!(all.arrive(one, now), Ok(Arrived::Counted));
    assert_eq!(why(all.arrive(one, now)), Some(TurnedAwayCause::Handshakes));
    assert_eq!(all.arrive(other, now), Ok(Arrived::Counted), "another address has limits of its own");
    all.greeted(one);
    assert_eq!(all.arrive(one, now), Ok(Arrived::Counted));
    all.greeted(one);
    all.greeted(one);
    assert_eq!(why(all.arrive(one, now)), Some(TurnedAwayCause::Connections));
    all.leave(one);
    assert_eq!(all.arrive(one, now), Ok(Arrived::Counted));
}

#[test]
fn rates_let_a_storm_through_and_no_flood() {
    let (mut all, now) = start();
    let one = at("2001:db8::1");
    let mut come = |now| {
        let arrived = all.arrive(one, now);
        all.greeted(one);
        all.leave(one);
        why(arrived)
    };
    for _ in 0..BURST {
        assert_eq!(come(now), None);
    }
    assert_eq!(come(now), Some(TurnedAwayCause::HandshakeRate));
    assert_eq!(come(now + SECOND), None);
    assert_eq!(come(now + SECOND), Some(TurnedAwayCause::HandshakeRate));
    let mut let_in = 0;
    for at in 0..6000 {
        let_in += usize::from(come(now + 2 * SECOND + at * SECOND / 100).is_none());
    }
    assert!((58..=61).contains(&let_in), "{let_in} in a minute");
}

#[test]
fn the_neighbours_in_a_slash_64_are_one_and_others_are_not() {
    let (mut all, now) = start();
    for _ in 0..2 {
        all.arrive(at("2001:db8:0:1::1"), now).unwrap();
    }
    assert_eq!(why(all.arrive(at("2001:db8:0:1:ffff::9"), now)), Some(TurnedAwayCause::Handshakes));
    assert_eq!(all.arrive(at("2001:db8:0:2::1"), now), Ok(Arrived::Counted));
    assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
}

#[test]
fn many_failures_without_a_success_are_a_ban_and_few_or_slow_ones_are_none() {
    let (mut all, now) = start();
    let one = at("192.0.2.1");
    for _ in 0..5 {
        assert_eq!(all.offend(one, Offence::Credentials, now), Judgement::Noted);
    }
    let Judgement::Banned(log) = all.offend(one, Offence::Refused, now) else { panic!("one more") };
    assert_eq!(log, Log::Say { times: 1 });
    assert_eq!(all.offend(one, Offence::Refused, now), Judgement::StillBanned);
    assert_eq!(why(all.arrive(one, now)), Some(TurnedAwayCause::Banned));
    assert_eq!(why(all.message(one, now)), Some(TurnedAwayCause::Banned));
    let bans = all.bans(now, 10);
    assert_eq!((bans.len(), bans[0].source, bans[0].offence, bans[0].turned), (1, one, Offence::Refused, 2));
    assert_eq!(all.arrive(one, now + 100 * SECOND), Ok(Arrived::Counted), "a ban is over");
    assert!(all.bans(now + 100 * SECOND, 10).is_empty());

    // A phone with an old password, for ever.
    let slow = at("192.0.2.2");
    for times in 0..1000 {
        assert_eq!(all.offend(slow, Offence::Credentials, now + 10 * times * SECOND), Judgement::Noted);
    }
    // A storm of an office: everybody is asked for credentials before anybody has given them.
    let storm = at("192.0.2.4");
    for _ in 0..5 * 50 {
        assert_eq!(all.offend(storm, Offence::Unproved, now), Judgement::Noted);
    }
    all.proved(storm, now);
    // Somebody who tries one user after the other.
    for _ in 0..5 * 50 {
        assert_eq!(all.offend(storm, Offence::Unproved, now), Judgement::Noted);
    }
    assert!(matches!(all.offend(storm, Offence::Unproved, now), Judgement::Banned(_)));
    // An office: people mistype, others log in.
    let office = at("192.0.2.3");
    for _ in 0..100 {
        assert_eq!(all.offend(office, Offence::Credentials, now), Judgement::Noted);
        all.proved(office, now);
    }
}

#[test]
fn a_scanner_is_banned_at_once_and_datagrams_ban_no_connections() {
    let (mut all, now) = start();
    let datagrams = Source::of("192.0.2.1".parse().unwrap(), By::Datagram);
    assert!(matches!(all.offend(datagrams, Offence::Scanner, now), Judgement::Banned(_)));
    assert_eq!(why(all.message(datagrams, now)), Some(TurnedAwayCause::Banned));
    assert_eq!(all.arrive(at("192.0.2.1"), now), Ok(Arrived::Counted), "anyone can write this address");
    assert!(all.lift(datagrams, now).is_some());
    assert_eq!(all.message(datagrams, now), Ok(()));
    assert_eq!(all.lift(datagrams, now), None);
}

#[test]
fn an_address_is_logged_once_a_minute_and_all_of_them_once_a_second() {
    let (mut all, now) = start();
    let one = at("192.0.2.1");
    all.offend(one, Offence::Scanner, now);
    let mut turn = |now| all.arrive(one, now).unwrap_err().log;
    for _ in 0..1000 {
        assert_eq!(turn(now), Log::Hush);
    }
    assert_eq!(turn(now + TELL_EVERY), Log::Say { times: 1001 });
    assert_eq!(turn(now + TELL_EVERY), Log::Hush);

    let (mut all, now) = start();
    let mut said = 0;
    for address in 0..10_000_u32 {
        let source = Source::of(address.to_be_bytes().into(), By::Connection);
        said += usize::from(matches!(
            all.offend(source, Offence::Scanner, now),
            Judgement::Banned(Log::Say { .. })
        ));
    }
    assert_eq!(said, BURST as usize);
}

#[test]
fn without_limits_nobody_is_turned_away() {
    let now = Instant::now();
    let none = Limits {
        connections: None,
        handshakes: None,
        handshake_rate: None,
        message_rate: None,
        failures: None,
        ..limits()
    };
    let mut all = AddressTable::new(none, now);
    for _ in 0..10_000 {
        assert!(all.arrive(at("192.0.2.1"), now).is_ok() && all.message(at("192.0.2.1"), now).is_ok());
        assert_eq!(all.offend(at("192.0.2.1"), Offence::Scanner, now), Judgement::Noted);
    }
}

#[test]
fn the_table_is_bounded_and_forgets_those_first_of_whom_nothing_is_to_be_known() {
    let (mut all, now) = start();
    all.all.most = 10;
    let held = at("192.0.2.1");
    all.arrive(held, now).unwrap();
    let banned = at("192.0.2.2");
    all.offend(banned, Offence::Scanner, now);
    // Each of these is clean again after a while, and gives way to the next.
    for address in 0..150_u32 {
        let now = now + SECOND / 2 * address;
        let source = Source::of((0x0a00_0000 + address).to_be_bytes().into(), By::Connection);
        assert_eq!(all.arrive(source, now), Ok(Arrived::Counted), "{address}");
        all.greeted(source);
        all.leave(source);
        assert!(all.all.is_whole());
    }
    assert_eq!(why(all.arrive(banned, now)), Some(TurnedAwayCause::Banned));
    assert_eq!(all.all.get(&held).unwrap().connections, 1);
    // When all have something that must be remembered, the newcomer is not.
    for address in 0..100_u32 {
        all.offend(
            Source::of((0x0b00_0000 + address).to_be_bytes().into(), By::Connection),
            Offence::Scanner,
            now + 2000 * SECOND,
        );
    }
    assert_eq!(all.len(), 10);
    assert_eq!(all.arrive(at("198.51.100.1"), now + 2000 * SECOND), Ok(Arrived::Uncounted));
    all.greeted(at("198.51.100.1"));
    all.leave(at("198.51.100.1"));
    assert_eq!(all.len(), 10);
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Arrive(u8),
    Greeted,
    Leave,
    Message(u8),
    Offend(u8, usize),
    Proved(u8),
    Wait(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let who = 0..5_u8;
    prop::collection::vec(
        prop_oneof![
            4 => who.clone().prop_map(Act::Arrive),
            3 => Just(Act::Greeted),
            3 => Just(Act::Leave),
            2 => who.clone().prop_map(Act::Message),
            2 => (who.clone(), 0..Offence::ALL.len()).prop_map(|(who, what)| Act::Offend(who, what)),
            1 => who.prop_map(Act::Proved),
            1 => (0..20_000_u16).prop_map(Act::Wait),
        ],
        0..200,
    )
}

proptest! {
    /// Whatever happens in whatever order: what is counted is what is there, nobody has more than allowed,
    /// the table is bounded.
    #[test]
    fn what_is_counted_is_what_is_there(acts in acts()) {
        let (mut all, mut now) = start();
        all.all.most = 3;
        let source = |who: u8| Source::of([10, 0, 0, who].into(), By::Connection);
        let mut shaking: Vec<Source> = Vec::new();
        let mut open: Vec<Source> = Vec::new();
        for act in acts {
            match act {
                Act::Arrive(who) => if all.arrive(source(who), now) == Ok(Arrived::Counted) { shaking.push(source(who)) },
                Act::Greeted => if let Some(who) = shaking.pop() {
                    all.greeted(who);
                    open.push(who);
                },
                Act::Leave => {
                    let left = open.pop().or_else(|| shaking.pop().inspect(|who| all.greeted(*who)));
                    if let Some(who) = left {
                        all.leave(who);
                    }
                }
                Act::Message(who) => drop(all.message(source(who), now)),
                Act::Offend(who, what) => drop(all.offend(source(who), Offence::ALL[what], now)),
                Act::Proved(who) => all.proved(source(who), now),
                Act::Wait(time) => now += Duration::from_millis(time.into()),
            }
            for who in 0..5 {
                let number = |list: &[Source]| list.iter().filter(|one| **one == source(who)).count() as u32;
                let counted = all.all.get(&source(who)).map_or((0, 0), |one| (one.connections, one.handshakes));
                prop_assert_eq!(counted, (number(&shaking) + number(&open), number(&shaking)));
                prop_assert!(counted.0 <= 3 && counted.1 <= 2);
            }
            prop_assert!(all.all.is_whole());
        }
    }
}

/// The offence is told where the ban is why, and nowhere else: the log names one cause.
#[test]
fn a_refusal_names_the_offence_of_a_ban_and_of_nothing_else() {
    let (mut all, now) = start();
    let (banned, busy) = (at("192.0.2.1"), at("192.0.2.2"));
    all.offend(banned, Offence::Scanner, now);
    let refused = all.arrive(banned, now).unwrap_err();
    assert_eq!((refused.why, refused.ban), (TurnedAwayCause::Banned, Some(Offence::Scanner)));
    for _ in 0..2 {
        assert_eq!(all.arrive(busy, now), Ok(Arrived::Counted));
    }
    let refused = all.arrive(busy, now).unwrap_err();
    assert_eq!((refused.why, refused.ban), (TurnedAwayCause::Handshakes, None));
}

#[test]
fn new_limits_hold_at_once_and_for_what_comes() {
    let (mut all, now) = start();
    let one = at("192.0.2.1");
    for _ in 0..2 {
        assert_eq!(all.arrive(one, now), Ok(Arrived::Counted));
    }
    assert_eq!(why(all.arrive(one, now)), Some(TurnedAwayCause::Handshakes));
    all.limit(Limits { handshakes: NonZeroU32::new(3), ..limits() });
    assert_eq!(all.arrive(one, now), Ok(Arrived::Counted));
    assert_eq!(why(all.arrive(one, now)), Some(TurnedAwayCause::Connections));
}
