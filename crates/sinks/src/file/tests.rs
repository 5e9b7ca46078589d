//! A process that dies at any step, and an operator who does what operators do with files.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use config::EventTypes;
use futures_util::FutureExt as _;
use ledger::{Batch, Ledger, Save};
use lifecycle::EventKind;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use delivery::{Moment, Pace, SinkProgress, Work};

/// More files than there ever are.
const KEEP: u32 = 200;

/// A line that another process wrote.
const NOTE: &str = "{\"note\":\"by hand\"}";

struct Scene {
    folder: PathBuf,
    ledger: Ledger,
    rotation: Option<Rotation>,
    chance: StdRng,
    appended: u64,
    moved: u32,
    notes: u64,
    life: Option<(SinkProgress, FileSink)>,
}

impl Scene {
    fn new(name: &str, seed: u64, rotation: Option<Rotation>) -> Self {
        // In memory where there is such a place: every step syncs.
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = root.join(format!("sinks-file-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let settings = ledger::Settings {
            durability: ledger::Durability::Memory,
            segment_bytes: 256 << 10,
            block_bytes: 16 << 10,
            spare_bytes: 16 << 10,
            ..ledger::Settings::new("edge1")
        };
        let ledger = Ledger::open(folder.join("ledger"), settings).unwrap().ledger;
        let chance = StdRng::seed_from_u64(seed);
        Self { folder, ledger, rotation, chance, appended: 0, moved: 0, notes: 0, life: None }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("events")
    }

    fn once_in(&mut self, odds: u32) -> bool {
        self.chance.random_range(0..odds) == 0
    }

    fn append_many(&mut self, count: u64) {
        (0..count / 10).for_each(|_| self.append(10));
    }

    fn append(&mut self, count: u64) {
        let mut batch = Batch::new();
        for _ in 0..count {
            let filling = "x".repeat(self.chance.random_range(0..60));
            let data = format!(r#"{{"flow":"edge1.1.f{}","is":"{filling}"}}"#, self.appended);
            batch.push(EventKind::FlowClosed.number(), 1, data.as_bytes());
            self.appended += 1;
        }
        let until = Instant::now() + Duration::from_secs(30);
        while let Err(rejected) = self.ledger.append(batch) {
            assert!(Instant::now() < until, "the ledger has no room");
            batch = rejected.batch;
            std::thread::yield_now();
        }
        self.ledger.durable(self.appended).wait().unwrap();
    }

    fn start(&mut self) {
        let node = Node::new("edge1").unwrap();
        let file = config::File { path: self.path(), rotation: self.rotation };
        let sink = FileSink::new(file, node.clone());
        let events = self.chance.random_range(1..20);
        let batch_limit = BatchLimit { events, ..sink.batch_limit() };
        let pace = Pace { save_every: Duration::ZERO, ..Pace::default() };
        let progress =
            SinkProgress::open(&self.ledger, &node, "file".to_owned(), EventTypes::All, pace, batch_limit)
                .unwrap();
        self.life = Some((progress, sink));
    }

    fn moment() -> Moment {
        Moment { now: Instant::now(), at: SystemTime::now(), chance: 0.5 }
    }

    /// What the worker does when it saves the cursor; it may die in between.
    fn save(&mut self) {
        let dies = self.once_in(6);
        let Some((progress, sink)) = &mut self.life else { return };
        let Some(to) = progress.begin_save() else { return };
        let settled = sink.settle(to).now_or_never().unwrap();
        if dies {
            self.life = None;
            return;
        }
        settled.unwrap();
        progress.settled(to, Ok(()), Save::Soon, Self::moment());
        assert_eq!(progress.saved(), to);
    }

    /// One step of the worker; whether there is more to do.
    fn step(&mut self) -> bool {
        if self.life.is_none() {
            self.start();
        }
        let (dies, tears, saves) = (self.once_in(8), self.once_in(2), self.once_in(4));
        let path = self.path();
        let Some((progress, sink)) = &mut self.life else { return true };
        match progress.next(Self::moment()) {
            Work::Again => {}
            Work::Pause(due) => panic!("something failed: pause until {due:?}"),
            Work::Idle => {
                self.save();
                return self.life.is_none();
            }
            Work::Prepare(from) => {
                let outcome = sink.prepare(from).now_or_never().unwrap();
                progress.prepared(Ok(outcome.unwrap()), Self::moment());
            }
            Work::Deliver => {
                let before = std::fs::metadata(&path).ok().map(|file| (file.ino(), file.len()));
                let taken = sink.deliver(progress.batch()).now_or_never().unwrap().unwrap();
                if taken == 0 {
                    self.save();
                    return true;
                }
                if dies
                    && tears
                    && let Ok(file) = File::options().write(true).open(&path)
                {
                    // It dies in the middle of the write.
                    let after = file.metadata().unwrap();
                    let from =
                        before.filter(|(inode, _)| *inode == after.ino()).map_or(0, |(_, length)| length);
                    file.set_len(self.chance.random_range(from.min(after.len())..=after.len())).unwrap();
                }
                if dies {
                    self.life = None;
                    return true;
                }
                progress.delivered(taken, Ok(()), Self::moment());
            }
        }
        if saves {
            self.save();
        }
        true
    }

    /// Whether the cursor is behind nothing that the file holds, and nothing of it is half there.
    fn is_settled(&self) -> bool {
        self.life.as_ref().is_some_and(|(_, sink)| {
            sink.open.is_some() && sink.cursor == CursorLag::None && sink.read_back.is_none()
        })
    }

    fn shift(&self) {
        for number in (1..KEEP).rev() {
            let _ = std::fs::rename(
                rotation::numbered(&self.path(), number),
                rotation::numbered(&self.path(), number + 1),
            );
        }
    }

    /// Somebody does something to the files.
    fn meddle(&mut self) {
        let path = self.path();
        if !path.exists() {
            return;
        }
        let last = rotation::numbered(&path, 1);
        match self.chance.random_range(0..6) {
            // As logrotate does.
            0 => {
                self.shift();
                std::fs::rename(&path, &last).unwrap();
            }
            1 => {
                self.shift();
                std::fs::rename(&path, &last).unwrap();
                File::create(&path).unwrap();
            }
            // As it does with `copytruncate`, though not while the file is being compared.
            2 if self.life.as_ref().is_none_or(|(_, sink)| sink.read_back.is_none()) => {
                self.shift();
                std::fs::copy(&path, &last).unwrap();
                File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
            }
            // A line that a crash tore is not to be joined to this one.
            3 if (self.life.is_none() || self.is_settled())
                && std::fs::read(&path).unwrap().last().is_none_or(|last| *last == b'\n') =>
            {
                let end = if self.once_in(2) { "" } else { "\n" };
                let mut file = File::options().append(true).open(&path).unwrap();
                write!(file, "{NOTE}{end}").unwrap();
                self.notes += 1;
            }
            4 if self.is_settled() => {
                self.moved += 1;
                std::fs::rename(&path, self.folder.join(format!("aside.{:04}", self.moved))).unwrap();
            }
            5 if self.is_settled() && last.exists() => {
                self.moved += 1;
                std::fs::rename(&last, self.folder.join(format!("aside.{:04}", self.moved))).unwrap();
            }
            _ => {}
        }
    }

    /// A rotation that is cut short, and the end of the process.
    fn die_while_rotating(&mut self) {
        if !self.is_settled() || !self.path().exists() {
            return;
        }
        self.life = None;
        let steps = rotation::steps(&self.path(), KEEP);
        let done = self.chance.random_range(0..=steps.len());
        steps.iter().take(done).for_each(|(from, to)| std::fs::rename(from, to).unwrap());
    }

    fn finish(&mut self) {
        while self.step() {}
        let (progress, _) = self.life.as_ref().unwrap();
        let end = Position::new(1, self.appended);
        assert!(progress.read_up_to(end) && progress.saved() == end);
    }

    /// How often each event is in any file, and how many notes there are.
    fn counted(&self) -> (BTreeMap<u64, u32>, u64) {
        let (mut events, mut notes) = (BTreeMap::new(), 0);
        for entry in std::fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let mut last = 0;
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                if line == NOTE {
                    notes += 1;
                    continue;
                }
                // What a crash tore is left as it is in a file that was moved away.
                let Ok(json) = serde_json::from_str::<serde_json::Value>(line) else {
                    assert_ne!(path, self.path(), "a torn line: {line}");
                    continue;
                };
                let id = json["id"].as_str().unwrap();
                let sequence: u64 = id.rsplit('.').next().unwrap().parse().unwrap();
                assert!(sequence > last, "{sequence} after {last} in {}", path.display());
                last = sequence;
                *events.entry(sequence).or_default() += 1;
            }
        }
        (events, notes)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// `SEEDS=FROM..TO` chooses others.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let chosen = std::env::var("SEEDS").ok();
    let range = chosen.as_deref().and_then(|text| text.split_once(".."));
    range.map_or(0..usual, |(from, to)| from.parse().unwrap()..to.parse().unwrap())
}

fn by_size(size: u64, keep: u32) -> Rotation {
    Rotation { size: Some(size), every: None, keep: NonZeroU32::new(keep).unwrap() }
}

#[test]
fn a_process_that_dies_at_any_step_leaves_each_event_in_its_files_once() {
    for seed in seeds(100) {
        let rotation = [None, Some(by_size(2000, KEEP))][seed as usize % 2];
        let mut scene = Scene::new("once", seed, rotation);
        for _ in 0..120 {
            if scene.once_in(5) {
                let count = scene.chance.random_range(1..12);
                scene.append(count);
            }
            if scene.once_in(12) {
                scene.meddle();
            }
            if scene.once_in(20) {
                scene.die_while_rotating();
            }
            scene.step();
        }
        scene.finish();
        let (events, notes) = scene.counted();
        let wrong: Vec<_> = (1..=scene.appended)
            .map(|sequence| (sequence, events.get(&sequence).copied().unwrap_or(0)))
            .filter(|(_, times)| *times != 1)
            .collect();
        assert!(wrong.is_empty(), "seed {seed}: events and how often they are there: {wrong:?}");
        assert_eq!(notes, scene.notes, "seed {seed}");
    }
}

/// What rotation drops is what the cursor has passed, so that a crash brings none of it back.
#[test]
fn of_few_files_that_are_kept_none_holds_an_event_again() {
    for seed in seeds(30) {
        let mut scene = Scene::new("few", seed, Some(by_size(600, 1)));
        for _ in 0..100 {
            if scene.once_in(3) {
                let count = scene.chance.random_range(1..12);
                scene.append(count);
            }
            scene.step();
        }
        scene.append(1);
        scene.finish();
        let (events, _) = scene.counted();
        let kept: Vec<u64> = events.keys().copied().collect();
        let newest: Vec<u64> = (scene.appended + 1 - kept.len() as u64..=scene.appended).collect();
        assert_eq!(kept, newest, "seed {seed}");
        assert!(events.values().all(|times| *times == 1), "seed {seed}: {events:?}");
    }
}

#[test]
fn a_line_of_another_ledger_costs_no_event() {
    let mut scene = Scene::new("anew", 1, None);
    let old = |sequence: u64| {
        format!(r#"{{"specversion":"1.0","id":"edge1.1.{sequence}","source":"an older ledger"}}"#) + "\n"
    };
    std::fs::write(scene.path(), (1..=50).map(old).collect::<String>()).unwrap();
    scene.append(20);
    scene.finish();
    let text = std::fs::read_to_string(scene.path()).unwrap();
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("flow.closed")).collect();
    assert_eq!(ours.len(), 20, "{text}");
    // Nor one of a run that this ledger never had.
    let far = old(1).replace("edge1.1.1\"", "edge1.9.77\"");
    std::fs::write(scene.path(), &far).unwrap();
    scene.life = None;
    scene.append(5);
    scene.finish();
    assert_eq!(std::fs::read_to_string(scene.path()).unwrap().lines().count(), 6);
}

/// As after a sink got another name.
#[test]
fn a_new_cursor_adds_nothing_to_a_file_that_has_everything() {
    let mut scene = Scene::new("new-cursor", 2, Some(by_size(4000, KEEP)));
    scene.append_many(300);
    scene.finish();
    scene.life = None;
    let before = scene.counted();
    assert_eq!(before.0.len(), 300);
    let mut cursor = scene.ledger.cursor("file").unwrap();
    cursor.reset(Position::START, Save::Now).unwrap();
    // More rotated files than are looked at are not read back; their events come again.
    for number in 4..40 {
        let _ = std::fs::remove_file(rotation::numbered(&scene.path(), number));
    }
    let first = *scene.counted().0.keys().next().unwrap();
    cursor.reset(Position::new(1, first - 1), Save::Now).unwrap();
    let before = scene.counted();
    scene.finish();
    assert_eq!(scene.counted(), before);
}
