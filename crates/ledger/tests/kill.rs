//! A real child process appends and says over a pipe what was acknowledged; it is killed with SIGKILL again
//! and again, and every acknowledged record must be there, in order, without a gap.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use ledger::{Batch, Ledger, LogReader, Position, ReadFrom, Settings, Tail};

const ROUNDS: usize = 12;

fn settings() -> Settings {
    Settings {
        segment_bytes: 128 << 10,
        block_bytes: 8 << 10,
        spare_bytes: 64 << 10,
        ..Settings::new("edge-1")
    }
}

fn payload(position: Position) -> Vec<u8> {
    let length = (position.seq * 37 % 700) as usize;
    (0..length).map(|index| (position.incarnation + position.seq + index as u64) as u8).collect()
}

/// Append for ever; print each acknowledged position.
fn child(directory: &Path) {
    let opened = Ledger::open(directory, settings()).expect("opens");
    let mut out = std::io::stdout().lock();
    let mut seq = 0;
    loop {
        let mut batch = Batch::new();
        let count = seq % 5 + 1;
        for index in 1..=count {
            batch.push(3, seq, &payload(Position::new(opened.incarnation, seq + index)));
        }
        match opened.ledger.append(batch) {
            Ok(appended) => {
                seq = appended.last_seq;
                // Some are waited for, some are on their way when the end comes.
                if seq.is_multiple_of(3) {
                    opened.ledger.durable(seq).wait().expect("durable");
                    writeln!(out, "{} {seq}", opened.incarnation).expect("the pipe is open");
                    out.flush().expect("the pipe is open");
                }
            }
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// Read all and compare; returns the last position.
fn check(directory: &Path, acknowledged: &[Position]) -> Position {
    let mut reader = LogReader::open(directory, ReadFrom::Oldest).expect("opens");
    let mut last = Position::START;
    let mut acknowledged = acknowledged.iter().peekable();
    while let Some(block) = reader.next_block().expect("reads") {
        for record in block.records() {
            let at = record.position;
            let follows = (at.incarnation == last.incarnation && at.seq == last.seq + 1)
                || (at.incarnation > last.incarnation && at.seq == 1);
            assert!(follows, "{at} after {last}");
            assert_eq!(record.payload, payload(at));
            acknowledged.next_if_eq(&&at);
            last = at;
        }
    }
    assert_eq!(acknowledged.next(), None, "an acknowledged record is missing");
    assert_ne!(reader.tail().expect("no damage"), Tail::Empty);
    last
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("child") {
        let directory = arguments.next().expect("the parent names a directory");
        child(Path::new(&directory));
        return;
    }
    let directory = std::env::temp_dir().join(format!("ledger-kill-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .arg("child")
            .arg(&directory)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut note = |line: String| {
            let (incarnation, seq) = line.split_once(' ')?;
            acknowledged.push(Position::new(incarnation.parse().ok()?, seq.parse().ok()?));
            Some(())
        };
        for _ in 0..30 + round * 25 {
            note(lines.next().expect("the child goes on").expect("reads")).expect("two numbers");
        }
        child.kill().expect("kills");
        // What it said before it died counts, to the last whole line.
        for line in lines.map_while(Result::ok) {
            let _ = note(line);
        }
        child.wait().expect("ended");
        check(&directory, &acknowledged);
    }
    let last = check(&directory, &acknowledged);
    let opened = Ledger::open(&directory, settings()).expect("opens after the last kill");
    assert_eq!(opened.incarnation, ROUNDS as u64 + 1);
    let previous = opened.previous.expect("runs before");
    assert_eq!(previous.last, last);
    assert_eq!(previous.ended, ledger::Ended::Abruptly);
    drop(opened);
    let _ = std::fs::remove_dir_all(&directory);
    println!("{ROUNDS} kills, {} acknowledgements, none lost", acknowledged.len());
}
