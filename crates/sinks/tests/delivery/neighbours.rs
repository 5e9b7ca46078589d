//! Several sinks on one ledger, and a ledger that does not hold what a sink wants.

use std::time::Instant;

use ledger::Position;
use sinks::{Sinks, State};

use crate::place::{PATIENCE, Place, append, eventually, file, ids, ids_in, node, start, webhook};

#[test]
fn a_sink_that_is_down_does_not_delay_another() {
    let place = Place::new("neighbours");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sinks = Sinks::start(&ledger, &node(), [webhook("down", port, ""), file("up", &path)]).unwrap();
    append(&ledger, 50);
    eventually("the other one delivers", || sinks.status()[1].lag == 0);
    assert_eq!(ids_in(&path), ids(1, 50));
    eventually("the outage shows", || sinks.status()[0].last_error.is_some());
    let down = &sinks.status()[0];
    assert_eq!((down.name.as_str(), down.state, down.lag), ("down", State::Retrying, 50));
    assert!(down.last_error.as_ref().unwrap().text.contains("refused"), "{down:?}");
    drop(sinks);
    eventually("the cursors stay apart", || {
        let cursors = ledger.cursors().unwrap();
        cursors.iter().any(|(name, at)| name == "up" && *at == Position::new(1, 50))
    });
    assert_eq!(ledger.cursor("down").unwrap().position(), Position::START);
}

#[test]
fn a_gap_in_the_ledger_is_told_and_got_over() {
    let place = Place::new("gap");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    append(&ledger, 2);
    assert_eq!(start(&ledger, file("archive", &path)).finish(PATIENCE).status.lag, 0);
    let last = append(&ledger, 2000);
    ledger.remove_before(Position::new(1, last)).unwrap();
    let oldest = ledger.segments()[0].first;
    assert!(oldest.seq > 3, "nothing was removed");
    let finished = start(&ledger, file("archive", &path)).finish(PATIENCE);
    assert_eq!((finished.status.gaps, finished.status.lag), (1, 0));
    assert!(finished.status.last_error.unwrap().text.contains("were removed"));
    assert_eq!(ids_in(&path)[2..], ids(oldest.seq, last - oldest.seq + 1));
}

#[test]
fn a_ledger_older_than_the_cursor_is_told_and_got_over() {
    let (newer, older) = (Place::new("newer"), Place::new("older"));
    let ledger = newer.ledger();
    append(&ledger, 9);
    let path = newer.path("events.jsonl");
    assert_eq!(start(&ledger, file("archive", &path)).finish(PATIENCE).status.lag, 0);

    let (ledger, path) = (older.ledger(), older.path("events.jsonl"));
    append(&ledger, 3);
    let cursor = "ledger/cursors/archive.cursor";
    std::fs::create_dir_all(older.path("ledger/cursors")).unwrap();
    std::fs::copy(newer.path(cursor), older.path(cursor)).unwrap();
    let finished = start(&ledger, file("archive", &path)).finish(PATIENCE);
    assert_eq!((finished.status.gaps, finished.status.delivered, finished.status.lag), (1, 3, 0));
    assert_eq!(ids_in(&path), ids(1, 3));
}

#[test]
fn an_idle_sink_of_an_empty_ledger_rests() {
    let place = Place::new("empty");
    let ledger = place.ledger();
    let sink = start(&ledger, file("archive", &place.path("events.jsonl")));
    assert_eq!(sink.status().lag, 0);
    let began = Instant::now();
    let finished = sink.finish(PATIENCE);
    assert!(began.elapsed() < PATIENCE / 2, "there was nothing to wait for");
    assert_eq!((finished.status.state, finished.status.delivered), (State::Stopped, 0));
}

#[test]
fn a_closed_ledger_ends_its_sinks() {
    let place = Place::new("closed");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    let sink = start(&ledger, file("archive", &path));
    append(&ledger, 3);
    ledger.close(PATIENCE).unwrap();
    eventually("it stops", || sink.status().state == State::Stopped);
    assert_eq!(ids_in(&path), ids(1, 3));
}
