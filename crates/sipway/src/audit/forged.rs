//! Ledgers that someone changed: what became of the records is found, whether or not the files' checksums
//! show it.

use std::path::PathBuf;
use std::time::Duration;

use ledger::{Batch, Durability, Ledger, ReadFrom, Save, Settings};

use super::*;

type Record = (EventKind, String);

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Has the ledger itself write records, so that all numbers and checksums are right; one list for each run of
/// a node.
fn write(name: &str, runs: &[Vec<Record>]) -> Directory {
    let directory =
        Directory(std::env::temp_dir().join(format!("sipway-forged-{name}-{}", std::process::id())));
    let _ = std::fs::remove_dir_all(&directory.0);
    for run in runs {
        let settings = Settings { spare_bytes: 0, durability: Durability::Memory, ..Settings::new("edge1") };
        let ledger = Ledger::open(&directory.0, settings).unwrap().ledger;
        for (kind, json) in run {
            let mut batch = Batch::new();
            batch.push(kind.number(), 1, json.as_bytes());
            let last = ledger.append(batch).unwrap().last_seq;
            ledger.durable(last).wait_for(Duration::from_secs(30)).unwrap().unwrap();
        }
        ledger.close(Duration::from_secs(30)).unwrap();
    }
    directory
}

fn findings(directory: &Directory) -> Vec<(&'static str, String)> {
    let books = LedgerTotals::read(&mut LogReader::open(&directory.0, ReadFrom::Oldest).unwrap()).unwrap();
    assert!(matches!(LedgerPlace::at(directory.0.clone()).open(), Ok((_, node)) if node.as_str() == "edge1"));
    let found = books.findings(&Node::new("edge1").unwrap());
    found
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(what, _, words)| (what, words.join("; ")))
        .collect()
}

/// Whether `sipway audit` ends well.
fn audited(directory: &Directory) -> Result<(), String> {
    let place = LedgerPlace::at(directory.0.clone());
    match run(&Audit { place, live: false, admin: None }) {
        Outcome::Done => Ok(()),
        other => Err(other.words()),
    }
}

fn opened(flow: &str) -> Record {
    let json = format!(
        r#"{{"flow":"edge1.{flow}","opened_at":"2026-01-01T00:00:00Z","transport":"ws","direction":"accepted",
        "listener":"ws","local":"127.0.0.1:80","remote":"127.0.0.1:4000"}}"#
    );
    (EventKind::FlowOpened, json)
}

fn closed(flow: &str) -> Record {
    (EventKind::FlowClosed, format!(r#"{{"flow":"edge1.{flow}"}}"#))
}

fn started(recovered: u64) -> Record {
    (EventKind::NodeStarted, format!(r#"{{"version":"1","flows_recovered":{recovered}}}"#))
}

fn stopped(opened: u64, closed: u64) -> Record {
    (EventKind::NodeStopped, format!(r#"{{"flows_opened":{opened},"flows_closed":{closed}}}"#))
}

/// A run that ended, one that died with a flow open, one that closed it and ended, and one that is running.
fn history() -> Vec<Vec<Record>> {
    vec![
        vec![started(0), opened("1.f1"), opened("1.f2"), closed("1.f1"), closed("1.f2"), stopped(2, 2)],
        vec![started(0), opened("2.f1"), opened("2.f2"), closed("2.f1")],
        vec![started(1), closed("2.f2"), opened("3.f1"), closed("3.f1"), stopped(1, 1)],
        vec![started(0), opened("4.f1")],
    ]
}

#[test]
fn what_nobody_changed_adds_up() {
    let directory = write("whole", &history());
    assert_eq!(findings(&directory), []);
    assert_eq!(audited(&directory), Ok(()));
}

/// All but the open end of a run that died or runs: what it wrote last can only be missed by who heard of it.
#[test]
fn any_record_that_was_taken_out_is_found_though_all_numbers_and_checksums_are_right() {
    let whole = history();
    for (run, records) in whole.iter().enumerate() {
        for place in 0..records.len() {
            let name = format!("removed-{run}-{place}");
            let mut changed = whole.clone();
            let (kind, gone) = changed[run].remove(place);
            let directory = write(&name, &changed);
            let found = findings(&directory);
            let silent = kind == EventKind::NodeStopped || (run, place) == (3, 1);
            if !silent {
                assert!(!found.is_empty(), "{kind} {gone} of run {}", run + 1);
                assert!(audited(&directory).unwrap_err().contains("does not add up"));
            }
        }
    }
}

#[test]
fn any_record_that_was_written_twice_is_found_though_all_numbers_and_checksums_are_right() {
    let whole = history();
    for (run, records) in whole.iter().enumerate() {
        for place in 0..records.len() {
            let mut changed = whole.clone();
            let twice = changed[run][place].clone();
            changed[run].insert(place + 1, twice);
            let directory = write(&format!("doubled-{run}-{place}"), &changed);
            assert!(!findings(&directory).is_empty(), "{:?} of run {}", whole[run][place], run + 1);
            assert!(audited(&directory).is_err());
        }
    }
}

/// What changes a history that was, and the words for it.
#[test]
fn forged_histories_are_told_in_plain_words() {
    type Forge = fn(&mut Vec<Vec<Record>>);
    let cases: [(&str, Forge, &str); 7] = [
        (
            "a close is gone",
            |runs| drop(runs[0].remove(3)),
            "run 1 closed 2 flows as it says itself (1.5), and its records say 1: 1 missing; run 1 ended with all flows \
             closed (1.5), and there is no close of edge1.1.f1",
        ),
        (
            "a flow is gone altogether",
            |runs| {
                runs[0].remove(3);
                runs[0].remove(1);
            },
            "run 1 opened 2 flows as it says itself (1.4), and its records say 1: 1 missing",
        ),
        (
            "a flow that never was",
            |runs| {
                runs[0].insert(5, opened("1.f3"));
                runs[0].insert(6, closed("1.f3"));
            },
            "run 1 opened 2 flows as it says itself (1.8), and its records say 3: 1 too many",
        ),
        (
            "a close and the end of its run are gone",
            |runs| {
                runs[0].truncate(4);
            },
            "run 2 found 0 flows open as it says itself (2.1), and the records before it leave 1 open: 1 too many",
        ),
        (
            "a close that a later run owed is gone",
            |runs| drop(runs[2].remove(1)),
            "run 3 serves from 3.2 on, and there is no close of edge1.2.f2",
        ),
        (
            "something behind the end",
            |runs| runs[0].push(closed("1.f2")),
            "1.7: this flow.closed stands behind the node.stopped of its run",
        ),
        (
            "the start is gone",
            |runs| drop(runs[3].remove(0)),
            "run 4 begins with flow.opened, not with node.started",
        ),
    ];
    for (number, (what, forge, words)) in cases.into_iter().enumerate() {
        let mut runs = history();
        forge(&mut runs);
        let directory = write(&format!("forged-{number}"), &runs);
        let found = findings(&directory);
        let told = found.iter().find(|(kind, _)| *kind == "runs that differ");
        assert!(told.is_some_and(|(_, told)| told.contains(words)), "{what}: {found:?}");
        assert!(audited(&directory).is_err(), "{what}");
    }
}

/// A server that could not wait for all its flows says so, and their closes come behind its end.
#[test]
fn an_end_that_owed_closes_adds_up() {
    for late in [vec![closed("1.f1")], vec![]] {
        let recovered = 1 - late.len() as u64;
        let mut first = vec![started(0), opened("1.f1"), stopped(1, 0)];
        first.extend(late);
        let mut second = vec![started(recovered)];
        second.extend((recovered > 0).then(|| closed("1.f1")));
        second.push(stopped(0, 0));
        let directory = write(&format!("owed-{recovered}"), &[first, second]);
        assert_eq!(findings(&directory), []);
    }
}

/// The files of the ledger that hold records, oldest first.
fn segments(directory: &Directory) -> Vec<PathBuf> {
    let names = std::fs::read_dir(directory.0.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = names.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    files.sort();
    files
}

#[test]
fn a_changed_byte_is_found() {
    let directory = write("byte", &history());
    let first = &segments(&directory)[0];
    let mut bytes = std::fs::read(first).unwrap();
    let at = bytes.windows(4).position(|four| four == b"1.f1").unwrap();
    bytes[at + 3] = b'7';
    std::fs::write(first, bytes).unwrap();
    let why = audited(&directory).unwrap_err();
    assert!(why.contains("cannot be read to its end"), "{why}");
}

#[test]
fn a_removed_segment_is_found() {
    let whole = history();
    for gone in 0..3 {
        let directory = write(&format!("segment-{gone}"), &whole);
        std::fs::remove_file(&segments(&directory)[gone]).unwrap();
        assert!(audited(&directory).is_err(), "segment {gone}");
    }
}

/// An attacker who removes the end and its checkpoint leaves the cursors of the sinks that had read
/// it.
#[test]
fn an_end_that_a_sink_has_read_and_nobody_has_any_more_is_found() {
    let directory = write("read-end", &history());
    let settings = Settings { spare_bytes: 0, durability: Durability::Memory, ..Settings::new("edge1") };
    let ledger = Ledger::open(&directory.0, settings).unwrap().ledger;
    ledger.cursor("crm").unwrap().advance(Position::new(4, 1), Save::Now).unwrap();
    ledger.close(Duration::from_secs(30)).unwrap();
    let told = |directory: &Directory| {
        findings(directory).into_iter().find(|(kind, _)| *kind == "missing end").map(|(_, words)| words)
    };
    assert_eq!(told(&directory), None);
    for last in segments(&directory).split_off(3) {
        std::fs::remove_file(last).unwrap();
    }
    let words = told(&directory).expect("a finding");
    assert!(words.contains("sink crm"), "{words}");
}

/// An attacker who removes the end leaves the checkpoint that names it.
#[test]
fn a_removed_end_is_found() {
    let directory = write("end", &history());
    let at = Position::new(4, 2);
    let mut fold = OpenState::default();
    fold.fold(EventId { incarnation: 4, sequence: 2 }, 1, EventKind::FlowOpened, opened("4.f1").1.as_bytes());
    let settings = Settings { spare_bytes: 0, durability: Durability::Memory, ..Settings::new("edge1") };
    let ledger = Ledger::open(&directory.0, settings).unwrap().ledger;
    ledger.write_checkpoint(at, &fold.snapshot()).unwrap();
    ledger.close(Duration::from_secs(30)).unwrap();
    for last in segments(&directory).split_off(3) {
        std::fs::remove_file(last).unwrap();
    }
    let found = findings(&directory);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].1.contains("a checkpoint tells of 4.2, and the last event there is is 3.5"),
        "{found:?}"
    );
}
