use ledger::storage::sim::{End, Simulated};
use lifecycle::{BindingAdded, Transport};

use std::sync::Arc;

use ledger::Settings;

use super::*;

const NOW: u64 = 1_700_000_000_000_000;

fn opened(disk: &Simulated) -> Opened {
    let settings = Settings {
        segment_bytes: 64 << 10,
        block_bytes: 16 << 10,
        gather: Duration::ZERO,
        ..Settings::new("e")
    };
    Ledger::open_on(Arc::new(disk.mount()), settings).unwrap()
}

/// Starts on what is there, with all bindings that are there staying; gives who is online, and all that was
/// ever told of it.
fn start(disk: &Simulated) -> (Vec<(String, u32)>, Vec<EventKind>) {
    let opened = opened(disk);
    let (_, _, users) = recover(&opened, NOW, |_| None).unwrap();
    let online = users.users().iter().filter(|(_, user)| user.online_at.is_some());
    let online = online.map(|(aor, user)| (aor.to_string(), user.bindings)).collect();
    let mut reader = opened.ledger.reader(ReadFrom::Oldest);
    let mut told = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        let kinds = block.records().map(|record| EventKind::try_from(record.kind).unwrap());
        told.extend(kinds.filter(|kind| matches!(kind, EventKind::UserOnline | EventKind::UserOffline)));
    }
    drop(opened);
    disk.end(End::Kill);
    (online, told)
}

#[test]
fn who_was_there_before_users_were_recorded_is_online_from_the_next_start_on_and_told_once() {
    let disk = Simulated::new(1);
    let before = opened(&disk);
    let mut batch = Batch::new();
    let started = Event::NodeStarted(NodeStarted { version: Text::new("1"), flows_recovered: 0 });
    batch.push(started.kind().number(), NOW, &started.to_json());
    for contact in ["sip:a@192.0.2.1", "sip:a@192.0.2.2"] {
        let added = Event::BindingAdded(BindingAdded {
            aor: Text::new("ada@x"),
            contact: Text::new(contact),
            flow: None,
            transport: Transport::Udp,
            remote: "192.0.2.1:5060".parse().unwrap(),
            instance: None,
            reg_id: None,
            identity: None,
            user_agent: None,
            expires_at: NOW,
        });
        batch.push(added.kind().number(), NOW, &added.to_json());
    }
    write(&before.ledger, batch).unwrap();
    drop(before);
    disk.end(End::Kill);
    let ada = vec![("ada@x".to_owned(), 2)];
    assert_eq!(start(&disk), (ada.clone(), vec![EventKind::UserOnline]));
    assert_eq!(start(&disk), (ada, vec![EventKind::UserOnline]));
}

/// Each start takes a segment, and what is owed may need many more than lie ready.
#[test]
fn what_is_owed_waits_for_segments_that_are_being_made() {
    const OWED: usize = 1500;
    let disk = Simulated::new(1);
    let before = opened(&disk);
    let mut batch = Batch::new();
    for number in 0..OWED {
        let added = Event::BindingAdded(BindingAdded {
            aor: Text::new(format!("user{number}@x")),
            contact: Text::new(format!("sip:{number}@192.0.2.1")),
            flow: None,
            transport: Transport::Udp,
            remote: "192.0.2.1:5060".parse().unwrap(),
            instance: None,
            reg_id: None,
            identity: None,
            user_agent: None,
            expires_at: NOW,
        });
        batch.push(added.kind().number(), NOW, &added.to_json());
        if batch.weight() > 4096 {
            write(&before.ledger, std::mem::take(&mut batch)).unwrap();
        }
    }
    write(&before.ledger, batch).unwrap();
    drop(before);
    disk.end(End::Kill);
    let opened = opened(&disk);
    let (recovered, ..) = recover(&opened, NOW, |_| Some(RemovalCause::NodeCrash)).unwrap();
    assert_eq!(recovered.bindings, OWED as u64);
}

#[test]
fn room_that_is_being_made_is_waited_for_and_none_that_cannot_be_made() {
    let refused =
        |cause: Option<&str>| Refused::NoRoom { wanted: 2, available: 1, cause: cause.map(Into::into) };
    let mut answers = vec![Ok(7), Err(refused(None)), Err(refused(None))];
    assert_eq!(once_there_is_room(|| answers.pop().unwrap()), Ok(7));
    let full = Err(refused(Some("the disk is full")));
    let mut answers = vec![Ok(7), full.clone()];
    assert_eq!(once_there_is_room(|| answers.pop().unwrap()), full);
}
