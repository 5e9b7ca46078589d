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
    /// Serve on this machine without configuration: softphone page, users on the fly, live events
    Dev(Dev),
    /// Write a configuration to begin with: for a server of its own, or in front of a PBX
    Init(Init),
    /// Serve as a configuration file says
    Run(Run),
    /// Look for what keeps a configuration from working: mistakes, users, certificates, directories,
    /// addresses, servers behind
    Check(Check),
    /// Read the ledger
    Events(Events),
    /// Say what became of a connection, of a call, or of a user's connections and calls
    Why(Why),
    /// Prove from the ledger that every connection that opened closed once, or is open now
    Audit(Audit),
    /// See, ping and close the connections that are open on a running server
    Flows(Flows),
    /// See which addresses a running server has banned and which users it has hindered, and let addresses in
    /// again
    Bans(Bans),
    /// Empty a running server: let nobody in, and close what is open at a pace
    Drain(Drain),
    /// Print what a PostgreSQL sink needs in its database, as SQL for an administrator
    Schema(Schema),
    /// Storm a server with connections that end in every way, kill it meanwhile, and count what its records
    /// miss
    Prove(Prove),
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Where WebSockets and the softphone page are served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) ws: SocketAddr,
    /// Where WebSockets over TLS and the page are served, with a certificate made now; other machines need it
    /// for a microphone
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    pub(crate) wss: SocketAddr,
    /// Where SIP over UDP is served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5060")]
    pub(crate) udp: SocketAddr,
    /// Where SIP over TCP is served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5060")]
    pub(crate) tcp: SocketAddr,
    /// Let listeners be at addresses that other machines reach: everybody there can register any name, call,
    /// and use the admin API
    #[arg(long)]
    pub(crate) expose: bool,
    /// Where the ledger is kept; it outlives the process [default: sipway/dev in the user's state directory]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) ledger: Option<PathBuf>,
    /// Print `ready` with the addresses, then each event as a CloudEvent on a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// What is logged on standard error: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "warn", hide_possible_values = true,
          value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub(crate) log: String,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The PBX: sip:10.0.0.5, sip:10.0.0.5:5080;transport=tcp, sips:pbx.example.com [default: none, a server
    /// of its own]
    #[arg(long, value_name = "URI")]
    pub(crate) backend: Option<Backend>,
    /// What the PBX is
    #[arg(long, value_enum, default_value = "other", requires = "backend")]
    pub(crate) kind: Kind,
    /// Where users register: here, with the PBX as one trunk, or at the PBX, to which registrations are
    /// forwarded
    #[arg(long, value_enum, default_value = "local", requires = "backend")]
    pub(crate) register: Register,
    /// The domain of your users [default: the host of the backend, or example.com]
    #[arg(long, value_name = "NAME", value_parser = domain)]
    pub(crate) domain: Option<config::Host>,
    /// Where to write it: a file that is not there yet, or - for standard output
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
    /// Read the file and what it names alone, as for another machine: neither try the directories and
    /// addresses of this one, nor ask servers whether they are there
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// The name of the schema, as `schema` of the sink says
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
    /// Go on with what happens from now on
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only what happened since: a time (2026-01-31T12:00:00Z) or how long ago (90s, 15m, 2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only what happened before: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only what came behind this event, by its id: to go on where another reading ended
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<String>,
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<lifecycle::EventKind>,
    /// Only events of this flow
    #[arg(long, value_name = "FLOW")]
    pub(crate) flow: Option<String>,
    /// Only events of this address-of-record
    #[arg(long, value_name = "USER@DOMAIN")]
    pub(crate) aor: Option<String>,
    /// Print CloudEvents, one on a line of JSON
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
    /// Have the running server hold the kernel's sockets, its flows and its ledger against each other now. It
    /// is asked at the admin API that --config names, or that of `sipway dev`
    #[arg(long, conflicts_with = "ledger")]
    pub(crate) live: bool,
    /// The same, at this address of an admin API, such as http://127.0.0.1:8090
    #[arg(long, value_name = "URL", conflicts_with_all = ["ledger", "config"])]
    pub(crate) admin: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// Connections in all
    #[arg(long, value_name = "NUMBER", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) flows: u64,
    /// Over how many rounds they are spread [default: as many as it takes, ten at least]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) rounds: Option<u64>,
    /// Go on with rounds for so long, however many connections that makes
    #[arg(long, value_name = "NUMBER", conflicts_with = "rounds")]
    pub(crate) seconds: Option<u64>,
    /// How clients connect, in turn
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "ws,wss,tcp,tls",
          value_parser = ["ws", "wss", "tcp", "tls"], hide_possible_values = true)]
    pub(crate) transport: Vec<String>,
    /// Only rounds of these kinds, in turn: unhurried, instant, second, silence, kill-opening, kill-open,
    /// kill-ending, kill-again, term-open, term-ending [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "server", hide_possible_values = true,
          value_parser = ["unhurried", "instant", "second", "silence", "kill-opening", "kill-open", "kill-ending",
                          "kill-again", "term-open", "term-ending"])]
    pub(crate) only: Vec<String>,
    /// What chance depends on: which rounds come, when the server dies [default: another each time]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Keep the ledger, the server's log and what the sinks were told in this directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "server")]
    pub(crate) keep: Option<PathBuf>,
    /// Storm this server, and start none: ws://HOST:PORT/ or wss://…
    #[arg(long, value_name = "URL", conflicts_with_all = ["transport", "seconds", "seed"])]
    pub(crate) server: Option<String>,
    /// With --server: the file to which it writes its events, one in a line of JSON; - is standard input
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) events: Option<PathBuf>,
    /// With --server: the SIP domain of its users [default: the URL's host]
    #[arg(long, value_name = "NAME", requires = "server")]
    pub(crate) domain: Option<String>,
    /// With --server: how many seconds after the last ending its last event may come
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
    /// Tell all that is known of one
    Show {
        #[command(flatten)]
        place: AdminPlace,
        /// Its id
        flow: String,
    },
    /// Close one
    Close {
        #[command(flatten)]
        place: AdminPlace,
        /// Its id
        flow: String,
        /// What its peer is told
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Ping one's peer, and tell how long its answer took
    Ping {
        #[command(flatten)]
        place: AdminPlace,
        /// Its id
        flow: String,
        /// How long to wait, at most 60s [default: 5s]
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FlowsList {
    #[command(flatten)]
    pub(crate) place: AdminPlace,
    /// Only those with a binding of this address-of-record
    #[arg(long, value_name = "USER@DOMAIN")]
    pub(crate) aor: Option<String>,
    /// Only from this IP address, or this address and port
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) remote: Option<String>,
    /// Only of this listener
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<String>,
    /// Only those whose user agent has this in its name
    #[arg(long, value_name = "TEXT")]
    pub(crate) user_agent: Option<String>,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub(crate) limit: usize,
    /// Print each as a line of JSON
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
    /// List the addresses that are banned
    List {
        #[command(flatten)]
        place: AdminPlace,
    },
    /// List the users that took more than one user may within the last hour
    Users {
        #[command(flatten)]
        place: AdminPlace,
    },
    /// Let one in again
    Lift {
        #[command(flatten)]
        place: AdminPlace,
        /// Its address, as it is listed
        address: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    pub(crate) place: AdminPlace,
    /// Over how long the open connections are closed: 90s, 5m, 2h. Said again, the drain goes on with the new
    /// time
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub(crate) over: String,
    /// Close them all at once
    #[arg(long, conflicts_with = "over")]
    pub(crate) now: bool,
    /// End the drain: new connections are let in again
    #[arg(long, conflicts_with_all = ["over", "now"])]
    pub(crate) cancel: bool,
}
