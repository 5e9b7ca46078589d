//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{admin_place::AdminPlace, init::Backend, ledger_place::LedgerPlace, version::VERSION};

/// A SIP-over-WebSocket edge with a ledger: every connection accepted yields exactly one close record.
#[derive(Debug, Parser)]
#[command(name = "sipway", version = VERSION, max_term_width = 100)]
pub(crate) struct Sipway {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server for trying out: no configuration, any user may register, softphone page, live events
    Dev(Dev),
    /// Write a first configuration: for a standalone server, or for one in front of a PBX
    Init(Init),
    /// Run the server with a configuration file
    Run(Run),
    /// Check a configuration file, and the users, certificates, directories, addresses and servers that it
    /// names
    Check(Check),
    /// Print events of the ledger
    Events(Events),
    /// Explain in plain words what happened to a connection, a call or a user
    Why(Why),
    /// Prove from the ledger that every connection that opened either closed once or is still open
    Audit(Audit),
    /// List, show, ping and close the open connections of a running server
    Flows(Flows),
    /// List the addresses that a running server has banned and the users that it has throttled; lift bans
    Bans(Bans),
    /// Drain a running server: refuse new connections, and close the open ones at an even pace
    Drain(Drain),
    /// Print the SQL that prepares a database for a PostgreSQL sink
    Schema(Schema),
    /// Load a server with connections that end in every way, kill it meanwhile, and count missing records
    Prove(Prove),
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Address for WebSockets and the softphone page
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) ws: SocketAddr,
    /// Address for WebSockets over TLS and the softphone page, with a self-signed certificate. Browsers on
    /// other machines allow the microphone on this one only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    pub(crate) wss: SocketAddr,
    /// Address for SIP over UDP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5060")]
    pub(crate) udp: SocketAddr,
    /// Address for SIP over TCP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5060")]
    pub(crate) tcp: SocketAddr,
    /// Allow addresses that other machines can reach. Everybody on them can then register any name, call, and
    /// use the admin API
    #[arg(long)]
    pub(crate) expose: bool,
    /// Directory of the ledger, which outlives the process [default: sipway/dev in the user's state
    /// directory]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) ledger: Option<PathBuf>,
    /// Print one line `ready` with the addresses, then one CloudEvent (JSON) a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Lowest level of log lines on standard error: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "warn", hide_possible_values = true,
          value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub(crate) log: String,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// SIP URI of the PBX, such as sip:10.0.0.5, sip:10.0.0.5:5080;transport=tcp or sips:pbx.example.com
    /// [default: none, a standalone server]
    #[arg(long, value_name = "URI")]
    pub(crate) backend: Option<Backend>,
    /// Kind of the PBX
    #[arg(long, value_enum, default_value = "other", requires = "backend")]
    pub(crate) kind: Kind,
    /// Where users register: `local` here, with the PBX as a trunk; `forward` at the PBX, which gets all
    /// registrations
    #[arg(long, value_enum, default_value = "local", requires = "backend")]
    pub(crate) register: Register,
    /// SIP domain of your users [default: the host of the backend, or example.com]
    #[arg(long, value_name = "NAME", value_parser = domain)]
    pub(crate) domain: Option<config::Host>,
    /// File to write, which must not exist yet; - is standard output
    #[arg(long, value_name = "FILE", default_value = "sipway.toml")]
    pub(crate) output: PathBuf,
}

/// A name that a domain can have.
fn domain(text: &str) -> Result<config::Host, &'static str> {
    config::Host::new(text).ok_or("not a domain name or an IP address, such as example.com")
}

/// Kinds of PBX, by how they learn where their users are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Freeswitch,
    Asterisk,
    Kamailio,
    Other,
}

/// Where the users of a domain with a PBX register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Register {
    Local,
    Forward,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/sipway/sipway.toml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = "/etc/sipway/sipway.toml")]
    pub(crate) config: PathBuf,
    /// Check only the file and the files that it names. Do not try directories, addresses or servers: the
    /// configuration is for another machine
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Name of the schema: the `schema` key of the sink
    #[arg(long, value_name = "NAME", default_value = "sipway", value_parser = plain_name)]
    pub(crate) name: String,
}

/// A name that SQL takes without quotes.
fn plain_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let good = text.bytes().all(plain)
        && text.len() <= 63
        && text.starts_with(|first: char| !first.is_ascii_digit());
    if good {
        Ok(text.to_owned())
    } else {
        Err("not 1 to 63 of a-z, 0-9 and _ without a digit in front".to_owned())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) place: LedgerPlace,
    /// Keep running and print new events as they happen
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only events at or after this time: 2026-01-31T12:00:00Z, or how long ago: 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only events before this time, written in the same way
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only events after the event with this id, to continue where an earlier reading stopped
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<String>,
    /// Only events of this type; can be given several times
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<lifecycle::EventKind>,
    /// Only events of this flow
    #[arg(long, value_name = "FLOW")]
    pub(crate) flow: Option<String>,
    /// Only events of this address-of-record
    #[arg(long, value_name = "USER@DOMAIN")]
    pub(crate) aor: Option<String>,
    /// Print one CloudEvent (JSON) a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// A flow id, a call id, a Call-ID, or an address-of-record (user@domain, sip:user@domain)
    #[arg(value_name = "FLOW|CALL|AOR")]
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) place: LedgerPlace,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    pub(crate) place: LedgerPlace,
    /// Let the running server compare the kernel's sockets, its own flows and its ledger now. The admin API
    /// is the one in --config, or that of `sipway dev`
    #[arg(long, conflicts_with = "ledger")]
    pub(crate) live: bool,
    /// The same, with this URL of the admin API, such as http://127.0.0.1:8090
    #[arg(long, value_name = "URL", conflicts_with_all = ["ledger", "config"])]
    pub(crate) admin: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// Number of connections in all
    #[arg(long, value_name = "NUMBER", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) flows: u64,
    /// Number of rounds that they are spread over [default: as many as needed, at least ten]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) rounds: Option<u64>,
    /// Run rounds for this many seconds, whatever the number of connections
    #[arg(long, value_name = "NUMBER", conflicts_with = "rounds")]
    pub(crate) seconds: Option<u64>,
    /// Transports of the clients, in turn
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "ws,wss,tcp,tls",
          value_parser = ["ws", "wss", "tcp", "tls"], hide_possible_values = true)]
    pub(crate) transport: Vec<String>,
    /// Only rounds of these kinds, in turn: unhurried, instant, second, silence, kill-opening, kill-open,
    /// kill-ending, kill-again, term-open, term-ending [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "server", hide_possible_values = true,
          value_parser = ["unhurried", "instant", "second", "silence", "kill-opening", "kill-open", "kill-ending",
                          "kill-again", "term-open", "term-ending"])]
    pub(crate) only: Vec<String>,
    /// Seed of all random choices, such as the order of rounds and the moment of a kill [default: random]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Keep the ledger, the server's log and the sinks' files in this directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "server")]
    pub(crate) keep: Option<PathBuf>,
    /// Load this running server and start none: ws://HOST:PORT/ or wss://…
    #[arg(long, value_name = "URL", conflicts_with_all = ["transport", "seconds", "seed"])]
    pub(crate) server: Option<String>,
    /// With --server: the file that the server writes its events to, one JSON line each; - is standard input
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) events: Option<PathBuf>,
    /// With --server: SIP domain of its users [default: the host of the URL]
    #[arg(long, value_name = "NAME", requires = "server")]
    pub(crate) domain: Option<String>,
    /// With --server: seconds to wait for the last event after the last connection ended
    #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "server")]
    pub(crate) patience: u64,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Flows {
    #[command(subcommand)]
    pub(crate) order: FlowsOrder,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FlowsOrder {
    /// List open flows
    List(FlowsList),
    /// Show one flow in detail
    Show {
        #[command(flatten)]
        place: AdminPlace,
        /// Flow id
        flow: String,
    },
    /// Close one flow
    Close {
        #[command(flatten)]
        place: AdminPlace,
        /// Flow id
        flow: String,
        /// Reason text that the peer gets
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Ping the peer of one flow and print the round trip time
    Ping {
        #[command(flatten)]
        place: AdminPlace,
        /// Flow id
        flow: String,
        /// Time to wait for the answer, at most 60s [default: 5s]
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FlowsList {
    #[command(flatten)]
    pub(crate) place: AdminPlace,
    /// Only flows with a binding of this address-of-record
    #[arg(long, value_name = "USER@DOMAIN")]
    pub(crate) aor: Option<String>,
    /// Only flows from this IP address, or IP address and port
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) remote: Option<String>,
    /// Only flows of this listener
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<String>,
    /// Only flows whose User-Agent contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) user_agent: Option<String>,
    /// Largest number of flows to list
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub(crate) limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Bans {
    #[command(subcommand)]
    pub(crate) order: BansOrder,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BansOrder {
    /// List banned addresses
    List {
        #[command(flatten)]
        place: AdminPlace,
    },
    /// List users that were throttled within the last hour
    Users {
        #[command(flatten)]
        place: AdminPlace,
    },
    /// Lift the ban of one address
    Lift {
        #[command(flatten)]
        place: AdminPlace,
        /// The address as `bans list` shows it
        address: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    pub(crate) place: AdminPlace,
    /// Time over which the open connections are closed: 90s, 5m, 2h. A second call changes the time of a
    /// drain that is under way
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub(crate) over: String,
    /// Close all connections at once
    #[arg(long, conflicts_with = "over")]
    pub(crate) now: bool,
    /// End the drain: accept new connections again
    #[arg(long, conflicts_with_all = ["over", "now"])]
    pub(crate) cancel: bool,
}
