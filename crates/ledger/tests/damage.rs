//! Any byte of what was written is changed: the log is refused, or the very last commit is cut; nothing is
//! ever skipped in silence.

use std::sync::Arc;
use std::time::Duration;

use ledger::storage::sim::{End, Simulated};
use ledger::storage::{File, Storage};
use ledger::{
    Batch, CursorError, DamageKind, Ledger, LogReader, OpenError, Opened, Position, ReadError, ReadFrom,
    Save, Settings, Stepper,
};

fn settings() -> Settings {
    Settings { segment_bytes: 64 << 10, block_bytes: 4 << 10, ..Settings::new("edge-1") }
}

fn open(disk: &Simulated) -> Result<(Opened, Stepper), OpenError> {
    Ledger::open_stepped(Arc::new(disk.mount()), settings())
}

fn append(opened: &Opened, stepper: &mut Stepper, length: usize) {
    let seq = opened.ledger.status().appended + 1;
    let mut batch = Batch::new();
    batch.push(1, seq, &vec![seq as u8; length]);
    opened.ledger.append(batch).expect("room");
    stepper.keep();
    stepper.write();
}

/// How many records can be read, each being what it should.
fn read(opened: &Opened) -> Result<u64, ReadError> {
    let mut reader = opened.history();
    let mut count = 0;
    while let Some(block) = reader.next_block()? {
        for record in block.records() {
            assert!(record.payload.iter().all(|byte| *byte == record.at as u8), "{}", record.position);
            count += 1;
        }
    }
    Ok(count)
}

/// A directory with these files.
fn copy(files: &[(String, Vec<u8>)]) -> Simulated {
    let disk = Simulated::new(1);
    disk.place_file("cursors/x.cursor.new", b"");
    disk.place_file("checkpoints/x.ckpt.new", b"");
    for (name, content) in files {
        disk.place_file(&format!("segments/{name}"), content);
    }
    disk
}

fn segments(disk: &Simulated) -> Vec<(String, Vec<u8>)> {
    disk.files("segments").into_iter().filter(|(name, _)| name.ends_with(".seg")).collect()
}

/// Flip a bit of every byte that holds data; `last_commit` is where the last commit of the last file starts.
fn flip_everything(files: &[(String, Vec<u8>)], records: u64, last_commit: Option<usize>) {
    for (index, (name, content)) in files.iter().enumerate() {
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // Of the header's 4 KiB of padding, some; of the blocks, every byte.
        for at in (0..128).chain((128..4096).step_by(97)).chain(4096..used) {
            let mut changed = files.to_vec();
            changed[index].1[at] ^= 0x10;
            let found = match open(&copy(&changed)) {
                Err(OpenError::Damaged { .. } | OpenError::NewerFormat { .. }) => None,
                Err(other) => panic!("{name} at {at}: {other}"),
                Ok((opened, _)) => match read(&opened) {
                    Ok(count) => Some((count, opened.torn.len())),
                    Err(error) => panic!("{name} at {at}: opened, but {error}"),
                },
            };
            match found {
                None => {}
                // Padding between blocks means nothing, so nothing is lost with it.
                Some((count, _)) if count == records => {}
                Some((count, torn)) => {
                    let last = last_commit.filter(|_| index + 1 == files.len()).unwrap_or(usize::MAX);
                    assert!(at >= last, "{name} at {at}: {count} of {records} records and no refusal");
                    assert_eq!((count, torn), (records - 1, 1), "{name} at {at}");
                }
            }
        }
    }
}

#[test]
fn a_changed_byte_after_a_crash_is_refused_or_in_the_last_commit() {
    let disk = Simulated::new(7);
    let (opened, mut stepper) = open(&disk).expect("opens");
    for length in [100, 3, 250, 40] {
        append(&opened, &mut stepper, length);
    }
    let before = disk.files("segments")[0].1.iter().rposition(|byte| *byte != 0).expect("data") + 1;
    append(&opened, &mut stepper, 60);
    disk.end(End::PowerLoss);
    flip_everything(&segments(&disk), 5, Some(before.next_multiple_of(8)));
}

#[test]
fn a_changed_byte_after_a_clean_end_or_in_an_older_incarnation_is_refused() {
    let disk = Simulated::new(8);
    for _ in 0..2 {
        let (opened, mut stepper) = open(&disk).expect("opens");
        for length in [100, 3, 60] {
            append(&opened, &mut stepper, length);
        }
        opened.ledger.close(Duration::ZERO).expect("stepped");
        while stepper.write() != ledger::Stepped::Ended {}
        disk.end(End::PowerLoss);
    }
    flip_everything(&segments(&disk), 6, None);
}

#[test]
fn a_missing_or_exchanged_segment_is_refused() {
    let disk = Simulated::new(9);
    let (opened, mut stepper) = open(&disk).expect("opens");
    for _ in 0..150 {
        append(&opened, &mut stepper, 1500);
    }
    disk.end(End::PowerLoss);
    let files = segments(&disk);
    assert!(files.len() > 3);
    let mut holed = files.clone();
    let gone = holed.remove(1);
    match open(&copy(&holed)) {
        Err(OpenError::Damaged { damage, .. }) => {
            assert!(damage.file.ends_with(&files[0].0));
            assert!(matches!(damage.kind, DamageKind::MissingRecords { .. }), "{damage}");
            assert!(damage.to_string().contains("To mend"), "{damage}");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
    let mut exchanged = files.clone();
    exchanged[2].1 = gone.1;
    assert!(matches!(
        open(&copy(&exchanged)),
        Err(OpenError::Damaged { damage, .. }) if damage.kind == DamageKind::Misnamed
    ));
    // The mend the message names: the damaged file and all older ones go.
    let (opened, _) = open(&copy(&files[2..])).expect("what is left is whole");
    assert!(read(&opened).expect("reads") > 0);
}

#[test]
fn a_payload_that_imitates_a_block_is_not_taken_for_one() {
    let disk = Simulated::new(10);
    let (opened, mut stepper) = open(&disk).expect("opens");
    append(&opened, &mut stepper, 10);
    append(&opened, &mut stepper, 10);
    // A whole valid block of another segment as payload, then a torn end before it.
    let other = Simulated::new(11);
    let (there, mut steps) = open(&other).expect("opens");
    for _ in 0..3 {
        append(&there, &mut steps, 10);
    }
    let block = other.files("segments")[0].1[4096 + 72 * 2..4096 + 72 * 3].to_vec();
    let mut batch = Batch::new();
    batch.push(1, 1, &block);
    opened.ledger.append(batch).expect("room");
    stepper.write();
    disk.end(End::PowerLoss);
    let mut files = segments(&disk);
    files[0].1[4096 + 72 * 2] ^= 1;
    let (opened, _) = open(&copy(&files)).expect("the end is torn, nothing is damaged");
    assert_eq!(opened.torn.len(), 1);
    assert_eq!(read(&opened).expect("reads"), 2);
}

#[test]
fn another_nodes_or_a_newer_directory_is_refused() {
    let disk = Simulated::new(12);
    drop(open(&disk).expect("opens"));
    disk.end(End::Kill);
    let other = Settings { node: "edge-2".to_owned(), ..settings() };
    match Ledger::open_stepped(Arc::new(disk.mount()), other) {
        Err(OpenError::WrongNode { found, wanted, .. }) => {
            assert_eq!((found.as_str(), wanted.as_str()), ("edge-1", "edge-2"));
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
    disk.end(End::Kill);
    let mut files = segments(&disk);
    files[0].1[8] = 2;
    assert!(matches!(open(&copy(&files)), Err(OpenError::NewerFormat { found: 2, supported: 1, .. })));
}

#[test]
fn a_damaged_cursor_is_named_and_a_damaged_checkpoint_has_a_stand_in() {
    let disk = Simulated::new(13);
    let (opened, mut stepper) = open(&disk).expect("opens");
    for round in 0..4 {
        append(&opened, &mut stepper, 10);
        let at = opened.ledger.durable_position();
        opened.ledger.write_checkpoint(at, &[round]).expect("writes");
    }
    let ahead = Position::new(1, 5);
    assert!(matches!(opened.ledger.write_checkpoint(ahead, &[]), Err(ledger::CheckpointError::Ahead { .. })));
    assert_eq!(disk.files("checkpoints").len(), 2, "the last two are kept");
    let mut cursor = opened.ledger.cursor("crm").expect("a cursor");
    cursor.advance(Position::new(1, 3), Save::Now).expect("moves");
    assert!(matches!(cursor.advance(Position::new(1, 2), Save::Soon), Err(CursorError::Backward { .. })));
    assert!(matches!(opened.ledger.cursor("../up"), Err(CursorError::Name { .. })));
    disk.end(End::PowerLoss);

    let (again, _stepper) = open(&disk).expect("opens");
    assert_eq!(
        again.checkpoint.as_ref().map(|one| (one.position, one.payload[0])),
        Some((Position::new(1, 4), 3))
    );
    assert_eq!(read(&again).expect("nothing after the checkpoint"), 0);
    assert_eq!(again.ledger.cursor("crm").expect("reads").position(), Position::new(1, 3));
    disk.end(End::PowerLoss);

    let (name, mut content) = disk.files("cursors").pop().expect("kept");
    content[20] ^= 1;
    disk.place_file(&format!("cursors/{name}"), &content);
    let (name, mut content) = disk.files("checkpoints").pop().expect("kept");
    let last = content.len() - 1;
    content[last] ^= 1;
    disk.place_file(&format!("checkpoints/{name}"), &content);
    let (again, _stepper) = open(&disk).expect("opens");
    assert_eq!(again.checkpoint.as_ref().map(|one| one.position), Some(Position::new(1, 3)));
    assert_eq!(again.unusable_checkpoints, [Position::new(1, 4)]);
    assert_eq!(read(&again).expect("reads"), 1);
    match again.ledger.cursor("crm").map(|_| ()) {
        Err(CursorError::Damaged { file }) => assert_eq!(file, "cursors/crm.cursor"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_older_than_its_checkpoint_is_refused() {
    let disk = Simulated::new(14);
    let (opened, mut stepper) = open(&disk).expect("opens");
    append(&opened, &mut stepper, 10);
    let older = segments(&disk);
    append(&opened, &mut stepper, 10);
    opened.ledger.write_checkpoint(Position::new(1, 2), b"two").expect("writes");
    disk.end(End::Kill);
    disk.place_file(&format!("segments/{}", older[0].0), &older[0].1);
    match open(&disk).map(|_| ()) {
        Err(OpenError::CheckpointAhead { wanted, .. }) => assert_eq!(wanted, Position::new(1, 2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn removed_segments_do_not_bring_an_incarnation_back() {
    let disk = Simulated::new(15);
    for _ in 0..3 {
        let (opened, mut stepper) = open(&disk).expect("opens");
        opened.ledger.beat(5);
        stepper.keep();
        disk.end(End::Kill);
    }
    let last = segments(&disk).pop().expect("three");
    disk.mount().remove(&format!("segments/{}", last.0)).expect("removes");
    match open(&disk).map(|_| ()) {
        Err(OpenError::Damaged { damage, .. }) => {
            assert_eq!(damage.kind, DamageKind::MissingIncarnation { known: 3 });
        }
        other => panic!("{other:?}"),
    }
    for (name, _) in segments(&disk) {
        disk.mount().remove(&format!("segments/{name}")).expect("removes");
    }
    let (opened, _) = open(&disk).expect("opens");
    assert_eq!(opened.incarnation, 4);
    assert_eq!(opened.last_beat.map(|beat| (beat.incarnation, beat.at)), Some((3, 5)));
}

#[test]
fn the_reader_outside_tells_a_torn_end_from_a_damaged_one() {
    let disk = Simulated::new(16);
    let (opened, mut stepper) = open(&disk).expect("opens");
    for _ in 0..3 {
        append(&opened, &mut stepper, 10);
    }
    let tail_after_flip = |at: usize| {
        let mut files = segments(&disk);
        files[0].1[at] ^= 1;
        let mut reader = LogReader::open_on(Arc::new(copy(&files).mount()), ReadFrom::Oldest).expect("opens");
        let mut count = 0;
        while let Some(block) = reader.next_block().expect("reads") {
            count += block.count();
        }
        (count, reader.tail())
    };
    assert!(matches!(tail_after_flip(4096 + 72 * 2 + 50), (2, Ok(ledger::Tail::Torn(66)))));
    assert!(matches!(tail_after_flip(4096 + 50), (0, Err(ReadError::Damaged(_)))));
    let file =
        disk.mount().open(&format!("segments/{}", segments(&disk)[0].0), ledger::storage::Access::Read);
    assert!(file.is_ok_and(|file: Arc<dyn File>| file.length().is_ok()));
}
