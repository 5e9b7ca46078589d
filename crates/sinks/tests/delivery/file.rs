//! Files: rotation, torn lines, devices, and readers that stall.

use std::io::Write as _;
use std::time::{Duration, Instant};

use ledger::Position;
use lifecycle::EventKind;
use sinks::{Rest, State};

use crate::place::{PATIENCE, Place, append, append_one, eventually, file, ids, ids_in, settings, start};

#[test]
fn each_event_is_a_line_and_rotation_loses_none() {
    let place = Place::new("rotation");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    let sink = start(&ledger, file("archive", &path));
    append(&ledger, 5);
    eventually("the first are there", || ids_in(&path).len() == 5);
    std::fs::rename(&path, place.path("events.1")).unwrap();
    append(&ledger, 5);
    eventually("a new file is begun", || path.exists() && ids_in(&path).len() == 5);
    std::fs::rename(&path, place.path("events.2")).unwrap();
    std::fs::write(&path, "").unwrap();
    append(&ledger, 5);
    eventually("the file that logrotate made is used", || ids_in(&path).len() == 5);
    std::fs::remove_file(&path).unwrap();
    append(&ledger, 1);
    let finished = sink.finish(PATIENCE);
    assert_eq!((finished.rest, finished.status.lag), (Rest::Ended, 0));
    assert_eq!(ids_in(&place.path("events.1")), ids(1, 5));
    assert_eq!(ids_in(&place.path("events.2")), ids(6, 5));
    assert_eq!(ids_in(&path), ids(16, 1));
}

#[test]
fn a_file_moved_in_the_middle_of_a_stream_of_events_loses_none() {
    let place = Place::new("moving");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    let sink = start(&ledger, file("archive", &path));
    let mut parts = Vec::new();
    for round in 0..20 {
        append(&ledger, 10);
        let part = place.path(&format!("part.{round}"));
        if std::fs::rename(&path, &part).is_ok() {
            parts.push(part);
        }
    }
    assert_eq!(sink.finish(PATIENCE).status.lag, 0);
    parts.push(path);
    let mut all: Vec<String> = parts.iter().flat_map(|part| ids_in(part)).collect();
    // Lines written while the file was being moved stand in both.
    all.sort_by_key(|id| id.rsplit('.').next().unwrap().parse::<u64>().unwrap());
    all.dedup();
    assert_eq!(all, ids(1, 200));
}

#[test]
fn a_torn_line_is_cut_and_delivered_whole() {
    let place = Place::new("torn");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    append(&ledger, 3);
    assert_eq!(start(&ledger, file("archive", &path)).finish(PATIENCE).status.delivered, 3);
    let whole = std::fs::metadata(&path).unwrap().len();
    // As a crash leaves it: the third line is half there, and the cursor knows of two.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(whole - 40).unwrap();
    ledger.cursor("archive").unwrap().reset(Position::new(1, 2), ledger::Save::Now).unwrap();
    append(&ledger, 1);
    assert_eq!(start(&ledger, file("archive", &path)).finish(PATIENCE).status.delivered, 2);
    assert_eq!(ids_in(&path), ids(1, 4));
}

#[test]
fn what_the_file_holds_behind_the_cursor_is_not_written_again() {
    let place = Place::new("behind");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    append(&ledger, 40);
    let behind =
        |to| ledger.cursor("archive").unwrap().reset(Position::new(1, to), ledger::Save::Now).unwrap();
    assert_eq!(start(&ledger, file("archive", &path)).finish(PATIENCE).status.lag, 0);
    behind(13);
    append(&ledger, 5);
    let finished = start(&ledger, file("archive", &path)).finish(PATIENCE);
    assert_eq!((finished.status.lag, finished.status.delivered), (0, 32));
    assert_eq!(ids_in(&path), ids(1, 45));
    // logrotate came, and the new file is empty or not there yet.
    for (at, number) in [(20, 1), (44, 2)] {
        std::fs::rename(place.path("events.jsonl.1"), place.path("events.jsonl.2")).unwrap_or_default();
        std::fs::rename(&path, place.path("events.jsonl.1")).unwrap();
        if number == 1 {
            std::fs::write(&path, "").unwrap();
        }
        behind(at);
        append(&ledger, 1);
        assert_eq!(start(&ledger, file("archive", &path)).finish(PATIENCE).status.lag, 0);
        assert_eq!(ids_in(&path), ids(45 + number, 1));
    }
    assert_eq!(ids_in(&place.path("events.jsonl.2")), ids(1, 45));
    // What the operator cut is gone, and does not come again.
    std::fs::write(&path, "").unwrap();
    append(&ledger, 1);
    assert_eq!(start(&ledger, file("archive", &path)).finish(PATIENCE).status.lag, 0);
    assert_eq!(ids_in(&path), ids(48, 1));
}

#[test]
fn only_the_types_that_were_asked_for() {
    let place = Place::new("types");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    for number in 0..300 {
        append_one(&ledger, EventKind::FlowOpened, number);
    }
    append_one(&ledger, EventKind::FlowClosed, 0);
    append_one(&ledger, EventKind::NodeStopped, 0);
    let sink = start(
        &ledger,
        settings(&format!(
            "[[sink]]\nkind = \"file\"\nname = \"a\"\npath = \"{}\"\ntypes = [\"flow.closed\"]",
            path.display()
        )),
    );
    // The cursor passes what is not wanted, so that it can be removed.
    eventually("the cursor is saved", || ledger.cursor("a").unwrap().position() == Position::new(1, 302));
    assert_eq!(ids_in(&path), ids(301, 1));
    assert_eq!((sink.status().lag, sink.status().delivered), (0, 1));
}

#[test]
fn a_full_disk_is_waited_for() {
    let place = Place::new("full");
    let ledger = place.ledger();
    append(&ledger, 2);
    let sink = start(&ledger, file("archive", std::path::Path::new("/dev/full")));
    eventually("it is tried again", || sink.status().retries > 1);
    let status = sink.status();
    assert_eq!((status.state, status.lag, status.blocked), (State::Retrying, 2, None));
    assert!(status.last_error.unwrap().text.starts_with("cannot write to /dev/full"));
}

#[test]
fn a_directory_that_is_not_there_yet_is_waited_for() {
    let place = Place::new("no-folder");
    let (ledger, path) = (place.ledger(), place.path("later/events.jsonl"));
    append(&ledger, 2);
    let sink = start(&ledger, file("archive", &path));
    eventually("the trouble shows", || sink.status().last_error.is_some());
    std::fs::create_dir(place.path("later")).unwrap();
    eventually("it is delivered", || sink.status().lag == 0);
    assert_eq!(ids_in(&path), ids(1, 2));
}

#[test]
fn a_pipe_nobody_reads_holds_up_neither_the_end_nor_others() {
    let place = Place::new("pipe");
    let (ledger, path, pipe) = (place.ledger(), place.path("events.jsonl"), place.path("pipe"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    append(&ledger, 2);
    let stuck = file("stuck", &pipe);
    let sinks = sinks::Sinks::start(&ledger, &crate::place::node(), [stuck, file("good", &path)]).unwrap();
    eventually("the other one delivers", || sinks.status()[1].lag == 0);
    let began = Instant::now();
    let finished = sinks.finish(Duration::from_millis(200));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!((finished[0].rest, finished[0].status.lag), (Rest::Stuck, 2));
    assert_eq!((finished[1].rest, finished[1].status.lag), (Rest::Ended, 0));
    // Let its thread go.
    drop(std::fs::File::open(&pipe).unwrap());
}

#[test]
fn what_somebody_else_wrote_is_kept() {
    let place = Place::new("foreign");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    std::fs::File::create(&path).unwrap().write_all(b"\"a note without an end\"").unwrap();
    append(&ledger, 1);
    assert_eq!(start(&ledger, file("archive", &path)).finish(PATIENCE).status.lag, 0);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("\"a note without an end\"\n{\"specversion\""), "{text}");
}

fn rotated(name: &str, path: &std::path::Path, size: &str, keep: u32) -> sinks::Settings {
    settings(&format!(
        "[[sink]]\nkind = \"file\"\nname = \"{name}\"\npath = \"{}\"\nrotate_size = \"{size}\"\nkeep = {keep}\n",
        path.display()
    ))
}

#[test]
fn files_of_the_size_that_was_asked_for_hold_every_event_once() {
    let place = Place::new("rotate-size");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    let sink = start(&ledger, rotated("archive", &path, "4KiB", 100));
    append(&ledger, 150);
    assert_eq!(sink.finish(PATIENCE).status.lag, 0);
    // A sink that starts again goes on in the file that is there.
    append(&ledger, 50);
    assert_eq!(start(&ledger, rotated("archive", &path, "4KiB", 100)).finish(PATIENCE).status.lag, 0);
    let mut files: Vec<_> = (1..=100).map(|number| place.path(&format!("events.jsonl.{number}"))).collect();
    files.retain(|file| file.exists());
    assert!(files.len() > 5, "{}", files.len());
    files.reverse();
    files.push(path.clone());
    assert!(files.iter().all(|file| std::fs::metadata(file).unwrap().len() <= 4096));
    let all: Vec<String> = files.iter().flat_map(|file| ids_in(file)).collect();
    assert_eq!(all, ids(1, 200));

    // Fewer are kept from now on: the newest stay.
    append(&ledger, 100);
    let few = place.path("few.jsonl");
    assert_eq!(start(&ledger, rotated("few", &few, "4KiB", 2)).finish(PATIENCE).status.lag, 0);
    assert!(place.path("few.jsonl.2").exists() && !place.path("few.jsonl.3").exists());
    let kept: Vec<String> = [place.path("few.jsonl.2"), place.path("few.jsonl.1"), few]
        .iter()
        .flat_map(|file| ids_in(file))
        .collect();
    assert_eq!(kept, ids(300 - kept.len() as u64 + 1, kept.len() as u64));
}

#[test]
fn no_more_events_a_second_than_was_asked_for() {
    let place = Place::new("rate");
    let (ledger, path) = (place.ledger(), place.path("events.jsonl"));
    append(&ledger, 60);
    let began = Instant::now();
    let toml =
        format!("[[sink]]\nkind = \"file\"\nname = \"a\"\npath = \"{}\"\nmax_rate = 50\n", path.display());
    let sink = start(&ledger, settings(&toml));
    eventually("all is delivered", || sink.status().lag == 0);
    // All but the first burst of 5, and the last.
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(ids_in(&path), ids(1, 60));
}
