//! A server on a simulated disk, and what its ledger says.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use config::{Config, FakeEnvironment};
use edge::{Handle, Server};
use ledger::{
    ReadFrom,
    storage::sim::{End, Simulated},
};
use lifecycle::{EventId, EventKind, Transport, cloud_event};
use prove::{Client, EventLog, Setup, Target};

/// Far more than anything here takes, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Killed,
    Terminated,
}

pub(crate) struct TestServer {
    server: Option<Server>,
    pub(crate) handle: Handle,
    pub(crate) disk: Simulated,
    config: Config,
    _directory: Directory,
}

impl TestServer {
    /// `more` is configuration for a ws and a tcp listener of two shards.
    pub(crate) fn new(name: &str, more: &str) -> Self {
        Self::with_files(name, more, &[])
    }

    /// The same with files, which are in the directory that `{here}` in the configuration stands for.
    pub(crate) fn with_files(name: &str, more: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("sipway-edge-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let text = format!(
            "[ledger]\ndirectory = \"{}\"\nsegment_size = \"1MiB\"\n[limits]\nshards = 2\n\
             [[listener]]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
             [[listener]]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n{more}",
            path.display()
        );
        let text = text.replace("{here}", &path.display().to_string());
        let mut environment = FakeEnvironment::new();
        for (file, content) in files {
            fs::write(path.join(file), content).unwrap();
            environment = environment.file(path.join(file), *content);
        }
        let directory = Directory(path);
        let config = Config::parse(&text, Path::new("sipway.toml"), &environment).unwrap();
        let disk = Simulated::new(1);
        let server = Server::start_on(Arc::new(disk.mount()), &config, |_| None).unwrap();
        Self { handle: server.handle(), server: Some(server), disk, config, _directory: directory }
    }

    /// Another run behind this one, on the same disk.
    pub(crate) async fn again(mut self, end: How) -> Self {
        let server = self.server.take().unwrap();
        match end {
            How::Killed => drop(server),
            How::Terminated => server.shut_down(Duration::ZERO, PATIENCE).await.unwrap(),
        }
        self.disk.end(End::Kill);
        let server = Server::start_on(Arc::new(self.disk.mount()), &self.config, |_| None).unwrap();
        Self { handle: server.handle(), server: Some(server), ..self }
    }

    pub(crate) fn target(&self, transport: Transport) -> Target {
        let bound = self.handle.listeners().iter().find(|bound| bound.transport == transport).unwrap();
        Target::new(transport, bound.local)
    }

    pub(crate) async fn connect(&self, user: &str) -> Client {
        let setup = Setup { patience: PATIENCE, ..Setup::new(user) };
        Client::connect(&self.target(Transport::Ws), &setup).await.unwrap()
    }

    /// A connected user who is registered.
    pub(crate) async fn registered(&self, user: &str) -> Client {
        let mut client = self.connect(user).await;
        assert_eq!(client.register(600).await.unwrap().status, 200);
        client
    }

    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Handle) -> bool) {
        let begun = Instant::now();
        while !so(&self.handle) {
            assert!(begun.elapsed() < PATIENCE, "not {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What is durable by now.
    pub(crate) fn log(&self) -> EventLog {
        let mut log = EventLog::default();
        for (_, line) in self.events() {
            log.line(&line, 0);
        }
        log
    }

    /// Every durable event and its type.
    pub(crate) fn events(&self) -> Vec<(EventKind, String)> {
        let mut reader = self.handle.ledger().reader(ReadFrom::Oldest);
        let mut events = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            for record in block.records() {
                let id = EventId { incarnation: record.position.incarnation, sequence: record.position.seq };
                let kind = EventKind::try_from(record.kind).unwrap();
                events.push((kind, cloud_event(self.handle.node(), id, kind, record.at, record.payload)));
            }
        }
        events
    }

    /// Ends it; every flow that opened has closed once.
    pub(crate) async fn end(mut self) -> EventLog {
        self.server.take().unwrap().shut_down(Duration::ZERO, PATIENCE).await.unwrap();
        let log = self.log();
        assert_eq!((log.open_count(), log.faults.count()), (0, 0));
        assert!(log.flows().values().all(|flow| flow.closes.len() == 1));
        log
    }
}
