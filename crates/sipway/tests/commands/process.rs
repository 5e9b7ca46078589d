//! The binary: run to its end, or as a server.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use lifecycle::Transport;
use prove::{Client, Setup, Target};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

/// No step of a test takes longer, unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The command line so far.
pub(crate) fn sipway(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sipway"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).env_remove("RUST_LOG");
    command
}

/// `sipway dev --json` on free ports, but for those given.
pub(crate) fn dev(ledger: &Path, given: &[(&str, &str)]) -> Command {
    let mut command = sipway(["dev", "--json", "--ledger"]);
    command.arg(ledger);
    for flag in ["--ws", "--wss", "--udp", "--tcp"] {
        let address = given.iter().find(|(name, _)| *name == flag).map_or("127.0.0.1:0", |(_, value)| value);
        command.args([flag, address]);
    }
    command
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) async fn run(mut command: Command) -> Ended {
    let output = timeout(PATIENCE, command.output()).await.expect("ends in time").unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Everything a ledger holds, as CloudEvents.
pub(crate) async fn ledger_events(ledger: &Path) -> Vec<Value> {
    let mut command = sipway(["events", "--json", "--ledger"]);
    command.arg(ledger);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// A server that is ready.
pub(crate) struct Server {
    child: Child,
    addresses: HashMap<String, SocketAddr>,
    /// Standard output behind `ready`; none for `run`.
    pub(crate) out: Option<Lines<BufReader<ChildStdout>>>,
    err: Option<Lines<BufReader<ChildStderr>>>,
}

impl Server {
    /// Starts `dev --json`; standard error goes where the test's goes.
    pub(crate) async fn dev(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.expect("ready in time").unwrap();
        let first = first.expect("it says something before it ends");
        let ready = first.strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {first}"));
        let ready: HashMap<String, String> = serde_json::from_str(ready).unwrap();
        let addresses = ready.into_iter().filter_map(|(what, address)| Some((what, address.parse().ok()?)));
        Self { child, addresses: addresses.collect(), out: Some(lines), err: None }
    }

    /// Starts `run` with a configuration that logs in JSON. Listeners go by their names.
    pub(crate) async fn run(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut addresses = HashMap::new();
        loop {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("ready in time").unwrap();
            let line = line.expect("it says that it is ready before it ends");
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            let fields = &line["fields"];
            let address = || fields["address"].as_str().unwrap().parse().unwrap();
            match fields["message"].as_str().unwrap_or_default() {
                "listening" => {
                    addresses.insert(fields["listener"].as_str().unwrap().to_owned(), address());
                }
                "admin API, metrics and health check" => {
                    addresses.insert("admin".to_owned(), address());
                }
                "ready" => break,
                _ => {}
            }
        }
        Self { child, addresses, out: None, err: Some(lines) }
    }

    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener]
    }

    pub(crate) fn target(&self, transport: Transport) -> Target {
        Target::new(transport, self.address(transport.as_str()))
    }

    pub(crate) async fn connect(&self, transport: Transport, user: &str) -> Client {
        Client::connect(&self.target(transport), &Setup::new(user)).await.unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("has not ended")
    }

    /// The next line of a `run`'s log with these words.
    pub(crate) async fn hear(&mut self, words: &str) -> Value {
        let lines = self.err.as_mut().expect("a `run`");
        let hearing = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it says so before it ends");
                if line.contains(words) {
                    return serde_json::from_str(&line).unwrap();
                }
            }
        };
        timeout(PATIENCE, hearing).await.unwrap_or_else(|_| panic!("never said: {words}"))
    }

    pub(crate) async fn signal(&self, name: &str) {
        signal(self.pid(), name).await;
    }

    pub(crate) async fn end(&mut self) -> ExitStatus {
        self.end_and_words().await.0
    }

    /// Its end, and what it said before that nobody has read yet.
    pub(crate) async fn end_and_words(&mut self) -> (ExitStatus, String) {
        // Both are read to the end, or a full pipe would hold the server up.
        let (out, err) = (self.out.take(), self.err.take());
        let reading = tokio::spawn(async move {
            let mut rest = Vec::new();
            if let Some(out) = out {
                let _ = out.into_inner().read_to_end(&mut rest).await;
            }
            if let Some(err) = err {
                let _ = err.into_inner().read_to_end(&mut rest).await;
            }
            String::from_utf8_lossy(&rest).into_owned()
        });
        let status = timeout(PATIENCE, self.child.wait()).await.expect("ends in time").unwrap();
        (status, reading.await.unwrap())
    }

    /// SIGTERM; what a `run` has logged since it was ready, until its end.
    pub(crate) async fn terminate_and_read(&mut self) -> String {
        self.signal("TERM").await;
        let mut log = String::new();
        let mut rest = self.err.take().expect("a `run`").into_inner();
        timeout(PATIENCE, rest.read_to_string(&mut log)).await.expect("ends in time").unwrap();
        assert!(self.end().await.success());
        log
    }

    /// SIGTERM, and its end.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM").await;
        self.end().await
    }
}

pub(crate) async fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().await.unwrap();
    assert!(sent.success());
}
