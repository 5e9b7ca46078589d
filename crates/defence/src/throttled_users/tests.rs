use super::*;

#[test]
fn the_last_are_listed_and_a_user_is_logged_once_a_minute() {
    let now = Instant::now();
    let mut all = ThrottledUsers::new(now);
    assert_eq!(all.note("ada@x", Hindrance::Calls, now), Log::Say { times: 1 });
    assert_eq!(all.note("ada@x", Hindrance::Calls, now), Log::Hush);
    assert_eq!(all.note("ada@x", Hindrance::Connections, now), Log::Say { times: 1 });
    let later = now + TELL_EVERY;
    assert_eq!(all.note("ada@x", Hindrance::Calls, later), Log::Say { times: 2 });
    let user = |what, times, ago| HinderedUser { name: "ada@x".into(), what, times, ago };
    let calls = user(Hindrance::Calls, 3, Duration::ZERO);
    assert_eq!(all.list(later), [calls, user(Hindrance::Connections, 1, TELL_EVERY)]);
    assert_eq!(all.list(later + LATELY), []);
}

#[test]
fn many_give_few_lines_and_the_newest_are_kept() {
    let now = Instant::now();
    let mut all = ThrottledUsers::new(now);
    all.most = 10;
    let said = (0..1000_u32).filter(|number| {
        let what = Hindrance::ALL[*number as usize % 4];
        let log = all.note(&format!("{number}"), what, now);
        assert!(all.list(now).len() <= 10 && all.turn.len() <= 10);
        matches!(log, Log::Say { .. })
    });
    assert_eq!(said.count(), BURST as usize);
    assert!(all.list(now).iter().all(|user| user.name.len() == 3 && &*user.name >= "990"));
}
