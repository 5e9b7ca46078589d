//! A directory as a torn or foreign disk might leave it: opening answers or refuses, never panics; what it
//! opens can be read to the end, and opens again with the same records.
#![no_main]

use std::sync::Arc;

use ledger::storage::sim::{End, Simulated};
use ledger::{Ledger, LogReader, Position, ReadFrom, Settings};
use libfuzzer_sys::fuzz_target;

fn settings() -> Settings {
    Settings { segment_bytes: 64 << 10, block_bytes: 1 << 10, spare_bytes: 0, ..Settings::new("n") }
}

/// A log of three segments in two incarnations, to be spoiled.
fn healthy() -> Vec<(String, Vec<u8>)> {
    let disk = Simulated::new(1);
    for run in 0..2 {
        let Ok((opened, mut stepper)) = Ledger::open_stepped(Arc::new(disk.mount()), settings()) else {
            return Vec::new();
        };
        for seq in 0..70 + run {
            let mut batch = ledger::Batch::new();
            batch.push(1, seq, &[7; 900]);
            let _ = opened.ledger.append(batch);
            stepper.keep();
            stepper.write();
        }
        let _ = opened.ledger.write_checkpoint(opened.ledger.durable_position(), b"state");
        opened.ledger.beat(run);
        stepper.keep();
        disk.end(End::Kill);
    }
    ["segments", "checkpoints", ""]
        .into_iter()
        .flat_map(|folder| {
            let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            disk.files(folder).into_iter().map(move |(name, content)| (format!("{prefix}{name}"), content))
        })
        .filter(|(name, _)| !name.contains("spare"))
        .collect()
}

fn read(opened: &ledger::Opened) -> Option<Vec<Position>> {
    let mut reader = opened.history();
    let mut seen = Vec::new();
    loop {
        match reader.next_block() {
            Ok(Some(block)) => seen.extend(block.records().map(|record| record.position)),
            Ok(None) => return Some(seen),
            Err(_) => return None,
        }
    }
}

fuzz_target!(init: {}, |data: &[u8]| {
    let mut files = FILES.with(Clone::clone);
    // Each spoil: which file, what kind, where, how long, with what.
    for spoil in data.chunks_exact(6) {
        let count = files.len();
        if count == 0 {
            break;
        }
        let content = &mut files[usize::from(spoil[0]) % count].1;
        let at = usize::from(u16::from_le_bytes([spoil[2], spoil[3]]));
        let length = usize::from(spoil[4]);
        match spoil[1] % 5 {
            0 => content.truncate(at),
            1 => content.iter_mut().skip(at).take(length).for_each(|byte| *byte = spoil[5]),
            2 => content.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= spoil[5]),
            3 => {
                let piece: Vec<u8> = content.iter().copied().skip(at).take(length * 8).collect();
                let to = usize::from(spoil[5]) * 256;
                content.iter_mut().skip(to).zip(piece).for_each(|(byte, new)| *byte = new);
            }
            _ => {
                files.remove(usize::from(spoil[0]) % count);
            }
        }
    }
    let disk = Simulated::new(2);
    for (name, content) in &files {
        disk.place_file(name, content);
    }
    if let Ok(mut outside) = LogReader::open_on(Arc::new(disk.mount()), ReadFrom::Oldest) {
        while let Ok(Some(block)) = outside.next_block() {
            assert!(block.records().count() as u64 == block.count());
        }
        let _ = outside.tail();
    }
    let Ok((opened, _stepper)) = Ledger::open_stepped(Arc::new(disk.mount()), settings()) else { return };
    let first = read(&opened);
    disk.end(End::PowerLoss);
    drop(opened);
    let again = match Ledger::open_stepped(Arc::new(disk.mount()), settings()) {
        Ok((again, _stepper)) => again,
        Err(error) => panic!("a log that opened and was mended is refused: {error}"),
    };
    assert_eq!(first, read(&again), "mending loses nothing that was readable");
});

thread_local! {
    static FILES: Vec<(String, Vec<u8>)> = healthy();
}
