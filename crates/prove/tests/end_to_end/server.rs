//! A running server: its addresses, its events, its end.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use lifecycle::Transport;
use prove::{Feed, Target, raise_descriptor_limit};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::binary;

/// No step of a test takes longer, unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A directory that goes with its test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sipway-end-to-end-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that was started, and the task that reads what it says.
pub(crate) struct Server {
    child: Child,
    addresses: HashMap<String, SocketAddr>,
    reading: JoinHandle<()>,
}

impl Server {
    /// Starts `sipway dev` on free ports, waits until it is ready, and puts the events it prints into the
    /// feed.
    pub(crate) async fn dev(ledger: &Path, feed: &Feed) -> Self {
        let mut command = sipway(&["dev", "--json"]);
        for flag in ["--ws", "--wss", "--udp", "--tcp"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command.arg("--ledger").arg(ledger).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.expect("ready in time").unwrap();
        let first = first.expect("it says something before it ends");
        let ready = first.strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {first}"));
        let ready: HashMap<String, String> = serde_json::from_str(ready).unwrap();
        let addresses = ready.into_iter().filter_map(|(what, where_)| Some((what, where_.parse().ok()?)));
        let addresses = addresses.collect();
        let reading = tokio::spawn(feed_lines(lines, feed.clone()));
        Self { child, addresses, reading }
    }

    /// Starts `sipway run` with this configuration, whose log must be JSON, and waits until it is ready.
    pub(crate) async fn run(config: &Path) -> Self {
        let mut command = sipway(&["run", "--config"]);
        command.arg(config).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut addresses = HashMap::new();
        loop {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("ready in time").unwrap();
            let line = line.expect("it says that it is ready before it ends");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            let field = |name: &str| line["fields"][name].as_str().unwrap_or_default().to_owned();
            match field("message").as_str() {
                "listening" => {
                    addresses.insert(field("transport"), field("address").parse().unwrap());
                }
                "ready" => break,
                _ => {}
            }
        }
        let reading = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, addresses, reading }
    }

    pub(crate) fn target(&self, transport: Transport) -> Target {
        Target::new(transport, self.addresses[transport.as_str()])
    }

    /// SIGKILL; all that it had said by then is in the feed.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
        (&mut self.reading).await.unwrap();
    }

    /// SIGTERM; all that it says until its end is in the feed.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let status = timeout(PATIENCE, self.child.wait()).await.expect("ends in time").unwrap();
        (&mut self.reading).await.unwrap();
        status
    }
}

/// `sipway events --follow` on a ledger, whichever process writes it; ends with this value.
pub(crate) struct Follower(#[expect(dead_code, reason = "kills its process when it goes")] Child);

impl Follower {
    pub(crate) fn start(ledger: &Path, feed: &Feed) -> Self {
        let mut command = sipway(&["events", "--json", "--follow", "--ledger"]);
        let mut child = command.arg(ledger).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn(feed_lines(lines, feed.clone()));
        Self(child)
    }
}

/// Everything that the ledger holds.
pub(crate) async fn whole_ledger(ledger: &Path) -> Feed {
    let feed = Feed::default();
    ledger_text(ledger).await.lines().for_each(|line| feed.line(line));
    feed
}

/// Everything that the ledger holds, as events.
pub(crate) async fn ledger_lines(ledger: &Path) -> Vec<serde_json::Value> {
    ledger_text(ledger).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn ledger_text(ledger: &Path) -> String {
    let output = sipway(&["events", "--json", "--ledger"]).arg(ledger).stdout(Stdio::piped()).output();
    let output = timeout(PATIENCE, output).await.expect("read in time").unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn sipway(arguments: &[&str]) -> Command {
    raise_descriptor_limit().unwrap();
    let mut command = Command::new(binary::path());
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn feed_lines(mut lines: Lines<BufReader<ChildStdout>>, feed: Feed) {
    while let Ok(Some(line)) = lines.next_line().await {
        feed.line(&line);
    }
}
