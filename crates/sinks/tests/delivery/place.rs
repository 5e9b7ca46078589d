//! A ledger in a directory of its own, and sinks as a configuration describes them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config::{Config, FakeEnvironment};
use delivery::Pace;
use ledger::{Batch, Ledger};
use lifecycle::{EventKind, Node};
use sinks::{Settings, Sink};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const KEY: [u8; 32] = [7; 32];
const SECRET: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sinks-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn ledger(&self) -> Ledger {
        let settings = ledger::Settings {
            segment_bytes: 64 << 10,
            block_bytes: 16 << 10,
            spare_bytes: 64 << 10,
            ..ledger::Settings::new("edge1")
        };
        Ledger::open(self.path("ledger"), settings).unwrap().ledger
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn node() -> Node {
    Node::new("edge1").unwrap()
}

/// Appends so many events, each durable before the next, and gives the sequence of the last.
pub(crate) fn append(ledger: &Ledger, count: u64) -> u64 {
    (0..count).fold(0, |_, number| append_one(ledger, EventKind::FlowClosed, number))
}

pub(crate) fn append_one(ledger: &Ledger, kind: EventKind, number: u64) -> u64 {
    let mut batch = Batch::new();
    let data = format!(r#"{{"flow":"edge1.1.f{number}","n":{number}}}"#);
    batch.push(kind.number(), 1_700_000_000_000_000, data.as_bytes());
    take(ledger, batch)
}

/// Appends a batch and waits until it is durable; gives its last sequence. A ledger whose next segment is not
/// prepared yet refuses for a moment what nobody paid for in advance.
pub(crate) fn take(ledger: &Ledger, mut batch: Batch) -> u64 {
    let mut seq = 0;
    eventually("the ledger has room", || match ledger.append(std::mem::take(&mut batch)) {
        Ok(appended) => {
            seq = appended.last_seq;
            true
        }
        Err(rejected) => {
            batch = rejected.batch;
            false
        }
    });
    ledger.durable(seq).wait().unwrap();
    seq
}

/// Appends so many events, many at a time.
pub(crate) fn append_many(ledger: &Ledger, count: u64) {
    let mut number = 0;
    while number < count {
        let mut batch = Batch::new();
        for _ in 0..100.min(count - number) {
            let data = format!(r#"{{"flow":"edge1.1.f{number}","many":{number}}}"#);
            batch.push(EventKind::FlowClosed.number(), 1_700_000_000_000_000, data.as_bytes());
            number += 1;
        }
        take(ledger, batch);
    }
}

/// The one sink of this TOML, quick to retry.
pub(crate) fn settings(toml: &str) -> Settings {
    settings_among(FakeEnvironment::new(), toml)
}

/// The same where there are files.
pub(crate) fn settings_among(files: FakeEnvironment, toml: &str) -> Settings {
    let around =
        files.set("SECRET", SECRET).set("RIGHT", "right").set("WRONG", "wrong").set("PASSWORD", "s3cret");
    let config = Config::parse(toml, Path::new("sipway.toml"), &around).unwrap();
    let mut settings = Settings::from(&config.sinks[0]);
    settings.pace = Pace {
        first_retry: Duration::from_millis(5),
        longest_retry: Duration::from_millis(40),
        ..Pace::default()
    };
    settings
}

pub(crate) fn file(name: &str, path: &Path) -> Settings {
    settings(&format!("[[sink]]\nkind = \"file\"\nname = \"{name}\"\npath = \"{}\"\n", path.display()))
}

pub(crate) fn webhook(name: &str, port: u16, more: &str) -> Settings {
    settings(&format!(
        "[[sink]]\nkind = \"webhook\"\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}/events?x=1\"\n\
         secret_env = \"SECRET\"\n{more}\n"
    ))
}

pub(crate) fn start(ledger: &Ledger, settings: Settings) -> Sink {
    Sink::start(ledger, &node(), settings).unwrap()
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The ids of `count` events of the first run, from `first` on.
pub(crate) fn ids(first: u64, count: u64) -> Vec<String> {
    (first..first + count).map(|seq| format!("edge1.1.{seq}")).collect()
}

/// The ids in a file, each line of which must be a whole event.
pub(crate) fn ids_in(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            json["id"].as_str().unwrap().to_owned()
        })
        .collect()
}
