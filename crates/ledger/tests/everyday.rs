//! A ledger on a real directory, as a node uses it.

use std::path::PathBuf;
use std::time::Duration;

use ledger::{Batch, Ledger, LogReader, More, OpenError, Position, ReadFrom, Save, Settings};

/// A directory of its own for each test, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ledger-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

fn small() -> Settings {
    Settings {
        segment_bytes: 256 << 10,
        block_bytes: 16 << 10,
        spare_bytes: 128 << 10,
        ..Settings::new("edge-1")
    }
}

fn append(ledger: &Ledger, text: &str) -> u64 {
    let mut batch = Batch::new();
    batch.push(7, 1_000, text.as_bytes());
    ledger.append(batch).expect("there is room").last_seq
}

#[test]
fn what_is_appended_is_read_again_after_a_restart() {
    let place = Place::new("restart");
    let opened = Ledger::open(&place.0, small()).expect("opens");
    assert_eq!(opened.incarnation, 1);
    assert_eq!(opened.previous, None);
    for index in 0..5 {
        append(&opened.ledger, &format!("record {index}"));
    }
    opened.ledger.durable(5).wait().expect("durable");
    opened.ledger.beat(77);
    opened.ledger.close(PATIENCE).expect("all on disk");
    drop(opened);

    let opened = Ledger::open(&place.0, small()).expect("opens again");
    assert_eq!(opened.incarnation, 2);
    let previous = opened.previous.expect("there was a run before");
    assert_eq!(previous.last, Position::new(1, 5));
    assert_eq!(previous.last_at, Some(1_000));
    assert_eq!(previous.ended, ledger::Ended::Cleanly);
    append(&opened.ledger, "another run");
    opened.ledger.durable(1).wait().expect("durable");
    let mut reader = opened.history();
    let mut seen = Vec::new();
    while let Some(block) = reader.next_block().expect("reads") {
        for record in block.records() {
            seen.push((record.position, String::from_utf8_lossy(record.payload).into_owned()));
        }
    }
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[0], (Position::new(1, 1), "record 0".to_owned()));
    assert_eq!(seen[5], (Position::new(2, 1), "another run".to_owned()));

    let mut outside = LogReader::open(&place.0, ReadFrom::After(Position::new(1, 3))).expect("reads outside");
    let mut count = 0;
    while let Some(block) = outside.next_block().expect("reads") {
        count += block.records().count();
    }
    assert_eq!(count, 3);
    assert_eq!(reader.wait_for(Duration::ZERO), More::Elapsed);
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let place = Place::new("held");
    let _opened = Ledger::open(&place.0, small()).expect("opens");
    match Ledger::open(&place.0, small()).map(|_| ()) {
        Err(OpenError::Held { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_segments_are_read_in_order_and_removed_from_the_oldest() {
    let place = Place::new("segments");
    let opened = Ledger::open(&place.0, small()).expect("opens");
    let ledger = opened.ledger.clone();
    let payload = "x".repeat(3000);
    for _ in 0..500 {
        loop {
            let mut batch = Batch::new();
            batch.push(1, 2, payload.as_bytes());
            match ledger.append(batch) {
                Ok(appended) => {
                    if appended.last_seq % 50 == 0 {
                        ledger.durable(appended.last_seq).wait().expect("durable");
                    }
                    break;
                }
                Err(rejected) => {
                    assert!(matches!(rejected.why, ledger::Refused::NoRoom { .. }), "{}", rejected.why);
                    std::thread::yield_now();
                }
            }
        }
    }
    ledger.durable(500).wait().expect("durable");
    assert!(ledger.segments().len() > 4);
    let mut reader = ledger.reader(ReadFrom::Oldest);
    let mut expected = 1;
    while let Some(block) = reader.next_block().expect("reads") {
        for record in block.records() {
            assert_eq!(record.position, Position::new(1, expected));
            assert_eq!(record.payload, payload.as_bytes());
            expected += 1;
        }
    }
    assert_eq!(expected, 501);

    let mut cursor = ledger.cursor("crm").expect("a cursor");
    assert_eq!(cursor.position(), Position::START);
    cursor.advance(Position::new(1, 400), Save::Now).expect("moves");
    let before = ledger.segments().len();
    let removal = ledger.remove_before(cursor.position()).expect("removes");
    assert!(removal.segments > 0);
    assert_eq!(ledger.segments().len() as u64, before as u64 - removal.segments);
    let mut reader = ledger.reader(ReadFrom::After(ledger.cursor("crm").expect("again").position()));
    let block = reader.next_block().expect("reads").expect("has records");
    assert_eq!(block.records().next().map(|record| record.position), Some(Position::new(1, 401)));
    let mut reader = ledger.reader(ReadFrom::After(Position::new(1, 3)));
    assert!(matches!(reader.next_block().map(|_| ()), Err(ledger::ReadError::Removed { .. })));
    let mut reader = ledger.reader(ReadFrom::After(Position::new(1, 501)));
    assert!(matches!(reader.next_block().map(|_| ()), Err(ledger::ReadError::Ahead { .. })));
}

#[tokio::test]
async fn a_follower_is_woken_by_the_commit_and_told_of_the_end() {
    let place = Place::new("follow");
    let opened = Ledger::open(&place.0, small()).expect("opens");
    let ledger = opened.ledger.clone();
    let mut reader = ledger.reader(ReadFrom::Oldest);
    assert!(reader.next_block().expect("reads").is_none());
    let follower = tokio::spawn(async move {
        let mut seen = Vec::new();
        while reader.more().await == More::Ready {
            while let Some(block) = reader.next_block().expect("reads") {
                seen.extend(block.records().map(|record| record.position.seq));
            }
        }
        seen
    });
    for index in 0..20 {
        let seq = append(&ledger, &format!("{index}"));
        ledger.durable(seq).await.expect("durable");
        assert_eq!(ledger.durable_position().seq, seq);
    }
    assert!(ledger.durable(21).await.is_err(), "no such record");
    let closing = ledger.clone();
    tokio::task::spawn_blocking(move || closing.close(PATIENCE)).await.expect("runs").expect("all on disk");
    assert_eq!(follower.await.expect("ends"), (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_reader_outside_follows_across_a_restart() {
    let place = Place::new("outside");
    let mut outside = None;
    for run in 1..=3 {
        let opened = Ledger::open(&place.0, small()).expect("opens");
        let outside =
            outside.get_or_insert_with(|| LogReader::open(&place.0, ReadFrom::Oldest).expect("reads"));
        for expected in 1..=3 {
            append(&opened.ledger, "x");
            let block = outside.follow(PATIENCE).expect("reads").expect("comes");
            assert_eq!(block.last(), Position::new(run, expected));
        }
        opened.ledger.close(PATIENCE).expect("all on disk");
    }
}

#[test]
fn a_place_that_cannot_be_a_ledger_is_named() {
    let place = Place::new("file");
    std::fs::write(&place.0, "a file").expect("writes");
    match Ledger::open(&place.0, small()).map(|_| ()) {
        Err(error @ OpenError::Directory { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&place.0.display().to_string()) && text.contains("directory"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    std::fs::remove_file(&place.0).expect("removes");
    let wrong = Settings { block_bytes: 1 << 20, ..small() };
    assert!(matches!(Ledger::open(&place.0, wrong).map(|_| ()), Err(OpenError::Settings(_))));
}
