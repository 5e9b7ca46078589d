//! One TOML file to a validated, typed configuration, and every mistake in it at once.
//!
//! [`Config::load`] reads a file once and gives either a [`Config`], in which every value is valid and every
//! default is filled in, or [`Errors`]: all that is wrong, each with its line, a caret and the mend. The rest
//! of the house sees valid types only. Files and environment variables are read through [`Environment`] and
//! nowhere else.
//!
//! To add a key: name it in the `SCHEMA` of its section, read it there, put it into `sipway.example.toml`. A
//! test compares the three.
#![forbid(unsafe_code)]

mod admin;
mod audit;
mod calls;
mod client_address;
mod defence;
mod dev;
mod difference;
mod dns;
mod document;
mod domain;
mod duration;
mod environment;
mod event;
mod host;
mod keepalive;
mod ledger;
mod limits;
mod listener;
mod log;
mod registrar;
mod report;
mod secret;
mod shutdown;
mod sink;
mod size;
mod spelling;
mod syntax;
mod timers;
mod tls;
mod unique;
mod upstream;
mod url;
mod value;
mod websocket;

use std::path::Path;

use toml::de::DeTable;

use document::{At, ReadSection as _, Reading, Section, SectionSchema};

pub use self::defence::Defence;
pub use admin::Admin;
pub use audit::{Audit, AuditPace};
pub use calls::{AtShutdown, Calls};
pub use dev::DevPorts;
pub use dns::Dns;
pub use domain::{
    Authentication, DigestAlgorithm, DigestUri, Domain, Ephemeral, EphemeralHash, Jwt, Outside, Redirects,
    Registration, TokenSource, UserQuery, UserSource,
};
pub use duration::duration;
pub use environment::{Environment, FakeEnvironment, LARGEST_FILE, Machine};
pub use event::EventTypes;
pub use host::{Advertised, Host};
pub use keepalive::Keepalive;
pub use ledger::{Durability, Ledger};
pub use limits::{Limits, Shards};
pub use listener::{Listener, Transport, TransportKind};
pub use log::{Log, LogFormat, LogLevel};
pub use registrar::{Gruu, Registrar, ReplacedFlow};
pub use report::{Errors, Problem, ProblemKind, Style, Warnings};
pub use secret::{AdminToken, Password, TokenSecret, UnregisterSecret, WebhookSecret};
pub use shutdown::Shutdown;
pub use sink::{
    DatabaseHost, DatabaseTls, DatabaseUrl, Delivery, File, Nats, NatsLogin, NatsServer, Postgres, Redis,
    RedisScheme, RedisUrl, Rotation, Security, Sink, SinkTarget, StreamName, SubjectPrefix, Webhook,
};
pub use timers::Timers;
pub use tls::{ClientAuthorities, ClientCertificate, ClientIdentity, TlsFiles, TlsMaterial};
pub use upstream::{BadTarget, HeaderName, Unregister, UnregisterHeader, Upstream, UpstreamTarget};
pub use url::{Scheme, WebhookUrl};
pub use value::Name;
pub use websocket::{MissingOrigin, Origins, Paths, WebSocket};

/// Every section of the file.
const SECTIONS: [SectionSchema; 16] = [
    ledger::SCHEMA,
    listener::SCHEMA,
    domain::SCHEMA,
    upstream::SCHEMA,
    Registrar::SCHEMA,
    Keepalive::SCHEMA,
    Limits::SCHEMA,
    Dns::SCHEMA,
    Defence::SCHEMA,
    Timers::SCHEMA,
    Calls::SCHEMA,
    sink::SCHEMA,
    admin::SCHEMA,
    Audit::SCHEMA,
    Shutdown::SCHEMA,
    Log::SCHEMA,
];

/// What may stand at the top of the file: the name of the node, and the sections.
const TOP_KEYS: [&str; SECTIONS.len() + 1] = {
    let mut keys = ["node"; SECTIONS.len() + 1];
    let mut at = 0;
    while at < SECTIONS.len() {
        keys[at + 1] = SECTIONS[at].name();
        at += 1;
    }
    keys
};

const TOP: SectionSchema = SectionSchema { header: "", keys: &TOP_KEYS };

/// A valid configuration, with every default filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of this node in flow ids and events.
    pub node: Name,
    /// Where the ledger is kept.
    pub ledger: Ledger,
    /// Where flows come in; never empty.
    pub listeners: Vec<Listener>,
    /// The domains that this server is responsible for; never empty.
    pub domains: Vec<Domain>,
    /// The servers behind this one.
    pub upstreams: Vec<Upstream>,
    /// How long bindings live and how many there may be.
    pub registrar: Registrar,
    /// The keys of `[keepalive]`. What holds for a flow is in its [`Listener`].
    pub keepalive: Keepalive,
    /// Bounds on what peers may take.
    pub limits: Limits,
    /// The DNS servers that resolve names of upstreams.
    pub dns: Dns,
    /// What one address may take.
    pub defence: Defence,
    /// The times of SIP transactions.
    pub timers: Timers,
    /// What becomes of calls.
    pub calls: Calls,
    /// Where events are delivered.
    pub sinks: Vec<Sink>,
    /// The listener of the admin API; `None` has none.
    pub admin: Option<Admin>,
    /// How often the running audit looks.
    pub audit: Audit,
    /// How the server ends.
    pub shutdown: Shutdown,
    /// What is logged.
    pub log: Log,
    warnings: Warnings,
}

impl Default for Config {
    /// What an empty file gives: reachable from this machine alone.
    fn default() -> Self {
        Self {
            node: default_node(),
            ledger: Ledger::default(),
            listeners: dev::default_listeners(),
            domains: dev::default_domains(),
            upstreams: Vec::new(),
            registrar: Registrar::default(),
            keepalive: Keepalive::default(),
            limits: Limits::default(),
            dns: Dns::default(),
            defence: Defence::default(),
            timers: Timers::default(),
            calls: Calls::default(),
            sinks: Vec::new(),
            admin: None,
            audit: Audit::default(),
            shutdown: Shutdown::default(),
            log: Log::default(),
            warnings: Warnings::new(Path::new(""), "", Vec::new()),
        }
    }
}

fn default_node() -> Name {
    Name::new("sipway").expect("lower case letters")
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or something in it or in a file it refers to is wrong: all of it, not only
    /// the first.
    pub fn load(path: &Path, environment: &dyn Environment) -> Result<Self, Errors> {
        let unreadable = |reason: String| {
            let title = format!("cannot read the configuration `{}`: {reason}", path.display());
            Errors::new(path, "", vec![Problem::new(ProblemKind::Unreadable, 0..0, title)])
        };
        let content = environment.read_file(path).map_err(|error| unreadable(environment::reason(&error)))?;
        let text = String::from_utf8(content)
            .map_err(|error| unreadable(format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to())))?;
        Self::parse(&text, path, environment)
    }

    /// Checks the text of a configuration that came from `file`: errors name it, relative paths start beside
    /// it.
    ///
    /// # Errors
    /// Something in the text or in a file it refers to is wrong: all of it, not only the first.
    pub fn parse(text: &str, file: &Path, environment: &dyn Environment) -> Result<Self, Errors> {
        let (document, faults) = DeTable::parse_recoverable(text);
        let mut reading = Reading::new(file, environment);
        let span = document.span();
        let top = Section::new(&mut reading, TOP, document.get_ref(), span);
        let config = Self::read(&mut reading, &top);
        let Reading { errors, warnings, .. } = reading;
        let errors = syntax::merge(text, faults, errors);
        if !errors.is_empty() {
            return Err(Errors::new(file, text, errors));
        }
        Ok(Self { warnings: Warnings::new(file, text, warnings), ..config })
    }

    /// What is allowed but seldom wanted.
    #[must_use]
    pub fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// Reads all sections. What could not be read is noted and stands in as its default or is left out; the
    /// result counts only when nothing was noted.
    fn read(reading: &mut Reading<'_>, top: &Section<'_>) -> Self {
        let node = top.or(reading, "node", default_node());
        let section = top.section(reading, ledger::SCHEMA);
        let ledger = Ledger::read(reading, section.as_ref());
        let registrar: Registrar = top.section_or_default(reading);
        let keepalive: Keepalive = top.section_or_default(reading);
        let limits: Limits = top.section_or_default(reading);
        let dns: Dns = top.section_or_default(reading);
        let defence: Defence = top.section_or_default(reading);
        let timers: Timers = top.section_or_default(reading);
        let calls: Calls = top.section_or_default(reading);
        let log: Log = top.section_or_default(reading);
        let audit: Audit = top.section_or_default(reading);
        let shutdown: Shutdown = top.section_or_default(reading);
        let admin = top.section(reading, admin::SCHEMA).map(|section| Admin::read(reading, &section));
        let sections = top.sections(reading, sink::SCHEMA);
        let sinks = sink::read(reading, &sections, &ledger.directory);

        let admin_bind = admin.as_ref().map(|at| At { value: at.value.bind, span: at.span.clone() });
        let sections = top.sections(reading, listener::SCHEMA);
        let listener::Listeners { mut listeners, outside } =
            listener::read(reading, &sections, keepalive, &limits, admin_bind);
        if sections.is_empty() {
            let own = |listener| Listener {
                keepalive,
                max_message: limits.max_message,
                flow_limits: limits.flow,
                ..listener
            };
            listeners.extend(dev::default_listeners().into_iter().map(own));
        }
        let sections = top.sections(reading, upstream::SCHEMA);
        let upstreams = upstream::read(reading, &sections, &listeners);
        let domains = domain::read(reading, top, outside, &listeners, &upstreams);

        upstream::warn_of_unused(reading, &sections, &upstreams, &domains);
        let admin = admin.map(|at| at.value);
        let warnings = Warnings::new(Path::new(""), "", Vec::new());
        Self {
            node,
            ledger,
            listeners,
            domains,
            upstreams,
            registrar,
            keepalive,
            limits,
            dns,
            defence,
            timers,
            calls,
            sinks,
            admin,
            audit,
            shutdown,
            log,
            warnings,
        }
    }
}

/// Every key that the reader knows, as `section.key`; those at the top of the file by their name alone.
pub fn keys() -> impl Iterator<Item = String> {
    std::iter::once(TOP)
        .chain(SECTIONS)
        .flat_map(|schema| schema.keys.iter().map(move |key| schema.path(key)))
}
