//! The directory of a run: the server's configuration, its ledger, its log, what its sinks are told.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifecycle::Transport;

/// Ports that are tried: below those that the system hands out, so that none is taken while the server is
/// dead.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// How long a silent flow has on the listeners for silence.
const SILENCE: &str = "ping_after = \"2s\"\npong_timeout = \"4s\"\n";

/// The directory, and what stands in it.
pub(super) struct ProveDirectory {
    directory: PathBuf,
    whose: Whose,
    /// What requests of the webhook are signed with.
    pub(super) key: [u8; 32],
    listeners: Vec<(Transport, Patience, u16)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// It goes with this value.
    Ours,
    /// Somebody wants to look at it later.
    Kept,
}

/// How soon a listener notices silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As by default.
    Usual,
    /// Within seconds.
    Short,
}

impl ProveDirectory {
    /// Makes it, empty.
    pub(super) fn make(keep: Option<&Path>) -> Result<Self, String> {
        let name = format!("sipway-prove-{}", std::process::id());
        let (directory, whose) = match keep {
            Some(directory) => (directory.to_owned(), Whose::Kept),
            None => (std::env::temp_dir().join(name), Whose::Ours),
        };
        let fault = |error| format!("{}: {error}", directory.display());
        if whose == Whose::Kept && directory.read_dir().is_ok_and(|mut inside| inside.next().is_some()) {
            return Err(format!(
                "{}: is not empty; choose another directory with --keep",
                directory.display()
            ));
        }
        fs::create_dir_all(&directory).map_err(fault)?;
        let directory = directory.canonicalize().map_err(fault)?;
        Ok(Self { directory, whose, key: rand::random(), listeners: Vec::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.directory.join("ledger")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.directory.join("sipway.toml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// Where the file sink writes.
    pub(super) fn events(&self) -> PathBuf {
        self.directory.join("events.jsonl")
    }

    /// Moves the sink's file away, as logrotate does; the sink begins a new one.
    pub(super) fn rotate(&self, round: u64) -> std::io::Result<PathBuf> {
        let aside = self.directory.join(format!("events-{round}.jsonl"));
        fs::rename(self.events(), &aside)?;
        Ok(aside)
    }

    pub(super) const fn is_kept(&self) -> bool {
        matches!(self.whose, Whose::Kept)
    }

    /// Writes the server's configuration, its secrets and its certificate.
    pub(super) fn write_config(&mut self, wave: u64, consumer: std::net::SocketAddr) -> Result<(), String> {
        let fault = |error: std::io::Error| format!("{}: {error}", self.directory.display());
        let certificate =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
                .map_err(|error| format!("cannot make a certificate: {error}"))?;
        fs::write(self.directory.join("cert.pem"), certificate.cert.pem()).map_err(fault)?;
        self.secret("key.pem", &certificate.signing_key.serialize_pem()).map_err(fault)?;
        self.secret("webhook.secret", &format!("whsec_{}", STANDARD.encode(self.key))).map_err(fault)?;
        let max_flows = wave + 1_000;
        let mut text = format!(
            "# Made by `sipway prove`.\n\
             node = \"prove\"\n\n\
             [ledger]\ndirectory = \"ledger\"\nkeep_size = \"256MiB\"\n\n\
             [registrar]\noffline_after = \"0s\"\n\n\
             [limits]\nmax_flows = {max_flows}\nclose_timeout = \"2s\"\n\n\
             [log]\nformat = \"json\"\n\n\
             [[sink]]\nkind = \"file\"\nname = \"file\"\npath = \"events.jsonl\"\n\n\
             [[sink]]\nkind = \"webhook\"\nname = \"webhook\"\nurl = \"http://{consumer}/events\"\n\
             secret_file = \"webhook.secret\"\nmode = \"batched\"\nbatch_max = 1000\n"
        );
        let tcp = [Transport::Ws, Transport::Wss, Transport::Tcp, Transport::Tls];
        let wanted = tcp.map(|transport| (transport, Patience::Usual));
        let short = [Transport::Ws, Transport::Wss].map(|transport| (transport, Patience::Short));
        let mut listeners = Vec::new();
        for (transport, patience) in
            wanted.into_iter().chain(short).chain([(Transport::Udp, Patience::Usual)])
        {
            let port = free_port(|port| listeners.iter().all(|(_, _, taken)| *taken != port))?;
            let (name, silence) = match patience {
                Patience::Usual => (transport.to_string(), ""),
                Patience::Short => (format!("short-{transport}"), SILENCE),
            };
            text.push_str(&format!(
                "\n[[listener]]\nname = \"{name}\"\ntransport = \"{transport}\"\nbind = \"127.0.0.1:{port}\"\n{silence}"
            ));
            if matches!(transport, Transport::Wss | Transport::Tls) {
                text.push_str("certificate = \"cert.pem\"\nprivate_key = \"key.pem\"\n");
            }
            listeners.push((transport, patience, port));
        }
        fs::write(self.config(), text).map_err(fault)?;
        self.listeners = listeners;
        Ok(())
    }

    fn secret(&self, name: &str, text: &str) -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(self.directory.join(name))?;
        file.write_all(text.as_bytes())
    }

    /// The port of a listener; 0 if there is none.
    pub(super) fn port(&self, transport: Transport, patience: Patience) -> u16 {
        let wanted =
            |listener: &&(Transport, Patience, u16)| (listener.0, listener.1) == (transport, patience);
        self.listeners.iter().find(wanted).map_or(0, |(_, _, port)| *port)
    }
}

impl Drop for ProveDirectory {
    fn drop(&mut self) {
        if self.whose == Whose::Ours {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

fn free_port(fits: impl Fn(u16) -> bool) -> Result<u16, String> {
    let is_free = |port: &u16| {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
        fits(*port) && tcp.is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
    };
    std::iter::repeat_with(|| rand::random_range(PORTS))
        .take(1_000)
        .find(is_free)
        .ok_or_else(|| "no free port on 127.0.0.1 between 10000 and 32000".to_owned())
}
