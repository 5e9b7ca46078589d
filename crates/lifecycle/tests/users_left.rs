//! Who is online is known from the records alone, whatever the process that wrote them came to.
#![allow(clippy::unwrap_used)]

use lifecycle::{
    BindingAdded, BindingRemoved, Event, EventId, EventKind, LastBinding, OFFLINE_RESERVE, ONLINE_RESERVE,
    OpenState, OpenUser, RemovalCause, Text, Transport, UserOffline, UserOnline,
};
use proptest::prelude::*;

type Record = (EventKind, Vec<u8>);

fn record(event: &Event<'_>) -> Record {
    (event.kind(), event.to_json())
}

fn added(aor: &str, flow: Option<&str>) -> Record {
    record(&Event::BindingAdded(BindingAdded {
        aor: Text::new(aor),
        contact: Text::new("sip:x@y.invalid"),
        flow,
        transport: Transport::Ws,
        remote: "127.0.0.1:40000".parse().unwrap(),
        instance: None,
        reg_id: None,
        identity: None,
        user_agent: None,
        expires_at: 9_000_000,
    }))
}

fn removed(aor: &str, flow: Option<&str>, cause: RemovalCause) -> Record {
    let (aor, contact) = (Text::new(aor), Text::new("sip:x@y.invalid"));
    record(&Event::BindingRemoved(BindingRemoved { aor, contact, flow, cause: cause.into() }))
}

fn online(aor: &str) -> Record {
    record(&Event::UserOnline(UserOnline { aor: Text::new(aor), online_at: 5_000_000 }))
}

fn offline(aor: &str) -> Record {
    record(&Event::UserOffline(UserOffline::new(
        Text::new(aor),
        None,
        RemovalCause::Expired,
        5_000_000,
        6_000_000,
    )))
}

fn fold(records: &[Record]) -> OpenState {
    let mut unfinished = OpenState::default();
    for (sequence, (kind, payload)) in (1..).zip(records) {
        unfinished.fold(EventId { incarnation: 1, sequence }, sequence * 1000, *kind, payload);
    }
    unfinished
}

#[test]
fn what_took_the_last_binding_of_a_user_is_known_until_another_comes() {
    let mut records = vec![
        added("ada@x", Some("e.1.f1")),
        online("ada@x"),
        added("ada@x", None),
        removed("ada@x", Some("e.1.f1"), RemovalCause::FlowClosed),
    ];
    let user = |records: &[Record]| fold(records).users.users().get(&Text::new("ada@x")).cloned();
    let with = |bindings, last| Some(OpenUser { bindings, online_at: Some(5_000_000), last });
    assert_eq!(user(&records), with(1, None));
    records.push(removed("ada@x", None, RemovalCause::Expired));
    let last = LastBinding { at: 5000, cause: RemovalCause::Expired, flow: None };
    assert_eq!(user(&records), with(0, Some(last.into())));
    let mut back = records.clone();
    back.push(added("ada@x", Some("e.1.f9")));
    assert_eq!(user(&back), with(1, None));
    records.push(offline("ada@x"));
    assert_eq!(user(&records), None);
    let users = fold(&records).users;
    assert_eq!((users.came, users.went, users.online(), users.wrong()), (1, 1, 0, 0));
}

#[test]
fn users_who_do_not_alternate_are_found() {
    let users = fold(&[
        online("a@x"),
        online("a@x"),
        offline("b@x"),
        added("c@x", None),
        online("c@x"),
        offline("c@x"),
    ])
    .users;
    let named = |findings: &lifecycle::Findings<(EventId, String)>| -> Vec<_> {
        findings.iter().map(|(id, aor)| (id.sequence, aor.clone())).collect()
    };
    assert_eq!(named(&users.online_twice), [(2, "a@x".to_owned())]);
    assert_eq!(named(&users.offline_without_online), [(3, "b@x".to_owned())]);
    assert_eq!(named(&users.offline_with_binding), [(6, "c@x".to_owned())]);
    assert_eq!((users.wrong(), users.online()), (3, 1));
}

#[test]
fn a_snapshot_from_before_there_were_users_is_still_good() {
    let records = [added("a@x", None), added("a@x", Some("e.1.f1")), added("b@x", None)];
    let mut old: serde_json::Value = serde_json::from_slice(&fold(&records).snapshot()).unwrap();
    old["version"] = 2.into();
    old.as_object_mut().unwrap().remove("users").unwrap();
    let restored = OpenState::restore(old.to_string().as_bytes()).unwrap();
    assert_eq!(restored, fold(&records));
    assert_eq!(restored.users.users()[&Text::new("a@x")].bindings, 2);
}

#[test]
fn offline_tells_for_how_long_the_user_was_online() {
    let told: serde_json::Value = serde_json::from_slice(&offline("ada@x").1).unwrap();
    assert_eq!((&told["aor"], &told["cause"]), (&"ada@x".into(), &"expired".into()));
    assert_eq!(told["offline_at"], "1970-01-01T00:00:06.000000Z");
    assert_eq!(told["duration_ms"], 1000);
}

#[test]
fn reserved_room_holds_the_longest_records_of_users() {
    let (aor, most) = (Text::new("\"".repeat(160)), u64::MAX);
    let name = format!("{}.{most}.f{most}", "n".repeat(32));
    let last_flow = Some(name.as_str());
    let online = Event::UserOnline(UserOnline { aor: aor.clone(), online_at: most }).to_json().len();
    assert!(online <= ONLINE_RESERVE, "{online} bytes");
    for &cause in RemovalCause::ALL {
        let offline = UserOffline::new(aor.clone(), last_flow, cause, 0, most);
        let length = Event::UserOffline(offline).to_json().len();
        assert!(length <= OFFLINE_RESERVE, "{length} bytes");
    }
}

proptest! {
    /// Whatever the records say, and wherever the fold was interrupted, what came, less what went, is who is
    /// online.
    #[test]
    fn online_less_offline_is_who_is_online(
        steps in proptest::collection::vec((0u8..3, 0u8..4, any::<bool>()), 0..60),
    ) {
        let mut records = Vec::new();
        let mut pieces = OpenState::default();
        for (sequence, (user, what, cut)) in (1..).zip(steps) {
            let aor = format!("u{user}@x");
            let (kind, payload) = match what {
                0 => added(&aor, None),
                1 => removed(&aor, None, RemovalCause::Unregistered),
                2 => online(&aor),
                _ => offline(&aor),
            };
            pieces.fold(EventId { incarnation: 1, sequence }, sequence * 1000, kind, &payload);
            records.push((kind, payload));
            if cut {
                pieces = OpenState::restore(&pieces.snapshot()).unwrap();
            }
        }
        let users = &pieces.users;
        let off = users.online_twice.len() as i64 - users.offline_without_online.len() as i64;
        prop_assert_eq!(users.came as i64 - users.went as i64 - off, users.online() as i64);
        prop_assert_eq!(users.online(), users.users().values().filter(|user| user.online_at.is_some()).count());
        prop_assert_eq!(pieces, fold(&records));
    }
}
