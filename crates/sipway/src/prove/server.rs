//! The server under proof: this same binary as another process.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prove::Findings;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::place::ProveDirectory;

/// A start reads what was open, an end closes what is open: neither takes longer, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// The server's process, dead or alive. It ends with this value.
pub(super) struct Server {
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    running: Option<(Child, JoinHandle<()>)>,
    panics: Arc<Mutex<Findings>>,
}

/// What a process had of the processors.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
    pub(super) used: Duration,
    /// Ready to run, while others ran.
    pub(super) waited: Duration,
}

impl Cpu {
    /// Adds another's.
    pub(super) fn add(&mut self, other: Self) {
        self.used += other.used;
        self.waited += other.waited;
    }

    /// What was added since.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            used: self.used.saturating_sub(before.used),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

impl Server {
    pub(super) fn of(place: &ProveDirectory) -> Result<Self, String> {
        let binary = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        Ok(Self { binary, config: place.config(), log: place.log(), running: None, panics: Arc::default() })
    }

    /// Starts it, and waits until it serves.
    pub(super) async fn start(&mut self) -> io::Result<()> {
        let ready = self.spawn()?;
        match timeout(PATIENCE, ready).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                let log = self.log.display();
                Err(io::Error::other(format!("the server ended before it was ready; its log is {log}")))
            }
            Err(_) => Err(io::Error::other(format!("the server was not ready within {PATIENCE:?}"))),
        }
    }

    /// Starts it and kills it so soon that it may not have got ready.
    pub(super) async fn start_and_kill(&mut self, after: Duration) -> io::Result<()> {
        let _ready = self.spawn()?;
        sleep(after).await;
        self.kill().await
    }

    fn spawn(&mut self) -> io::Result<oneshot::Receiver<()>> {
        let mut command = Command::new(&self.binary);
        command.args(["run", "--config"]).arg(&self.config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let said = child.stderr.take().ok_or_else(|| io::Error::other("the server has no standard error"))?;
        let (tell, ready) = oneshot::channel();
        let reading = tokio::spawn(listen(said, self.log.clone(), Arc::clone(&self.panics), tell));
        self.running = Some((child, reading));
        Ok(ready)
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        let Some((mut child, reading)) = self.running.take() else { return Ok(()) };
        child.kill().await?;
        let _ = reading.await;
        Ok(())
    }

    /// SIGTERM; it must end well.
    pub(super) async fn terminate(&mut self) -> io::Result<()> {
        let Some((mut child, reading)) = self.running.take() else { return Ok(()) };
        if let Some(pid) = pid(&child) {
            kill_process(pid, Signal::TERM)?;
        }
        let status = timeout(PATIENCE, child.wait()).await;
        let status = status.map_err(|_| io::Error::other("the server did not end on SIGTERM"))??;
        let _ = reading.await;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("the server ended with {status}")))
        }
    }

    /// How many descriptors it has open; `None` when it is dead or the system does not tell.
    pub(super) fn descriptors(&self) -> Option<u64> {
        let (child, _) = self.running.as_ref()?;
        let open = fs::read_dir(format!("/proc/{}/fd", child.id()?)).ok()?;
        Some(open.count() as u64)
    }

    /// Processor time of all its threads so far, system calls included, and the time they waited for a
    /// processor.
    pub(super) fn cpu(&self) -> Option<Cpu> {
        let (child, _) = self.running.as_ref()?;
        let mut cpu = Cpu::default();
        for task in fs::read_dir(format!("/proc/{}/task", child.id()?)).ok()?.filter_map(Result::ok) {
            let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let mut numbers = stat.split(' ').map_while(|number| number.parse().ok());
            cpu.used += Duration::from_nanos(numbers.next()?);
            cpu.waited += Duration::from_nanos(numbers.next()?);
        }
        Some(cpu)
    }

    /// Panics that it told of.
    pub(super) fn panics(&self) -> Findings {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    /// Its directory is removed next: it must not be writing there.
    fn drop(&mut self) {
        let Some((child, _)) = &mut self.running else { return };
        let _ = child.start_kill();
        for _ in 0..1_000 {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

/// Writes what it says to the log, and waits for the line that says that it serves.
async fn listen(said: ChildStderr, log: PathBuf, panics: Arc<Mutex<Findings>>, tell: oneshot::Sender<()>) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(log).ok();
    let mut tell = Some(tell);
    let mut lines = BufReader::new(said).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(file) = &mut file {
            let _ = writeln!(file, "{line}");
        }
        if line.contains("panicked at") {
            panics.lock().unwrap_or_else(PoisonError::into_inner).add(|| line.clone());
        }
        let is_ready = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            line["fields"]["message"] == "ready"
        };
        if tell.is_some()
            && is_ready(&line)
            && let Some(tell) = tell.take()
        {
            let _ = tell.send(());
        }
    }
}
