//! The server under measurement: a `sipway` binary as a child process, or one that runs already.

use std::{
    error::Error,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lifecycle::Transport;
use prove::{Client, Setup, Sources, Target};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A running server.
pub(crate) struct Server {
    processes: Vec<u32>,
    _ours: Option<Ours>,
    pub(crate) ws: Target,
    /// Of a server that runs already it is not known.
    #[allow(dead_code, reason = "not every example asks for it")]
    pub(crate) wss: Target,
}

/// `sipway dev` with a ledger of its own. Killed when dropped.
struct Ours {
    child: Child,
    ledger: PathBuf,
}

impl Server {
    /// As the arguments say: the path of a `sipway` binary; or the address where a server has its WebSockets,
    /// and the ids of all its processes.
    pub(crate) fn of(arguments: &mut dyn Iterator<Item = String>) -> Result<Self, Failure> {
        let first =
            arguments.next().ok_or("which server? Give the path of its binary, or ADDRESS:PORT PID...")?;
        let Ok(address) = first.parse() else { return Self::start(&first) };
        prove::raise_descriptor_limit()?;
        let processes = arguments.map(|pid| pid.parse()).collect::<Result<_, _>>()?;
        let (ws, wss) = (Target::new(Transport::Ws, address), Target::new(Transport::Wss, address));
        Ok(Self { processes, _ours: None, ws, wss })
    }

    /// Starts `binary` and waits until it listens.
    pub(crate) fn start(binary: &str) -> Result<Self, Failure> {
        // What it may open, it has from us.
        prove::raise_descriptor_limit()?;
        let (ws, wss, sip) = (free()?, free()?, free()?);
        let ledger = std::env::temp_dir().join(format!("sipway-bench-{}", std::process::id()));
        fs::create_dir_all(&ledger)?;
        let address = |address: SocketAddr| address.to_string();
        let child = Command::new(binary)
            .args(["dev", "--json", "--ws", &address(ws), "--wss", &address(wss)])
            .args(["--udp", &address(sip), "--tcp", &address(sip), "--ledger"])
            .arg(&ledger)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{binary}: {error}"))?;
        let (ws, wss) = (Target::new(Transport::Ws, ws), Target::new(Transport::Wss, wss));
        let processes = vec![child.id()];
        let server = Self { processes, _ours: Some(Ours { child, ledger }), ws, wss };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(server.wss.address).is_err() {
            if Instant::now() > until {
                return Err("the server does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Processor time so far, system calls included, to 10 ms. That of threads that have ended stays in it,
    /// unlike in a sum over `/proc/PID/task`.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let mut ticks = 0;
        for process in &self.processes {
            let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
            // The name stands in brackets and may hold spaces; behind it, utime and stime are the 12th and
            // 13th.
            let (_, numbers) = stat.rsplit_once(')').ok_or("no name in stat")?;
            for number in numbers.split_ascii_whitespace().skip(11).take(2) {
                ticks += number.parse::<u64>()?;
            }
        }
        // A tick is USER_HZ, 1/100 s on every machine that this runs on.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Bytes of private anonymous memory that it has: heap, stacks, what the allocator holds back.
    #[allow(dead_code, reason = "not every example asks for it")]
    pub(crate) fn anonymous(&self) -> Result<u64, Failure> {
        let mut bytes = 0;
        for process in &self.processes {
            let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
            let line =
                rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).ok_or("no Anonymous")?;
            bytes += line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024;
        }
        Ok(bytes)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.ledger);
    }
}

fn free() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A registered user.
#[allow(dead_code, reason = "not every example asks for it")]
pub(crate) async fn registered(target: Target, user: String, sources: &Sources) -> Result<Client, Failure> {
    let setup = Setup { source: sources.next(), patience: Duration::from_secs(60), ..Setup::new(&user) };
    let mut client = Client::connect(&target, &setup).await?;
    match client.register(3600).await?.status {
        200 => Ok(client),
        status => Err(format!("REGISTER was answered {status}").into()),
    }
}
