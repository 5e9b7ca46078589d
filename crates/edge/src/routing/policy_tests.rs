//! The security policy as rows: who sends what to whom, and what becomes of it.
//!
//! A row names its sender in words (see [`Sent`]), its request, and what is expected: where the request goes,
//! or the status and reason of the answer. Nothing here has a socket, and nothing waits. [`FakeTables`] says
//! which domains and devices there are.

use std::{
    cell::RefCell,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use config::{Config, FakeEnvironment};
use defence::User;
use ledger::{Ledger, Settings, Stepper, storage::sim::Simulated};
use lifecycle::{Direction, FlowFacts, Identity, Node, Text};
use location::{BindingHop, Location, Presence, Register};
use metrics::Metrics;
use sip_auth::Role;
use sip_message::Message;
use sip_proxy::{Alternative, Answer, Target};
use state::Registry;
use transport::{Grant, VerifiedClient};

use super::{
    Incoming, RequestState, Routing,
    decision::Destination,
    flow_lookup::{By, FlowLookup, Known, SenderProof},
    flow_token::FlowTokens,
    register::RegistrantProof,
    tables::Tables,
};
use identity::{DomainRef, Domains, Proof, QuotaExceeded};
use upstream::{ExpectedPeer, FlowNumber, Hop, Upstreams};

use crate::{BoundListener, call_table::CallTable, server::policy, user_quotas::UserQuotas};

mod calling;
mod headers;
mod moving;
mod redirecting;
mod registering;
mod replacing;
mod routes;

/// The domains of the tests, by what they stand for.
const DOMAINS: &str = r#"
[registrar]
gruu = "public"
[defence]
user_calls = 1
[[listener]]
transport = "ws"
bind = "192.0.2.1:80"
[[listener]]
transport = "udp"
bind = "192.0.2.1:5060"
[[upstream]]
name = "pbx"
targets = ["sip:192.0.2.9;transport=udp"]
[[upstream]]
name = "registrar"
targets = ["sip:192.0.2.8;transport=udp"]

# Its users prove who they are by a password, and it has no server behind.
[[domain]]
name = "home.test"
users = "USERS"
redirects = "follow"
[[domain]]
name = "other.test"
users = "USERS"
[[domain]]
name = "open.test"
auth = "open"
redirects = "follow"
# A trunk that all users may use, one that some may, one for nobody.
[[domain]]
name = "trunk.test"
users = "USERS"
backend = "pbx"
register = "local"
outside = "users"
[[domain]]
name = "few.test"
users = "USERS"
backend = "pbx"
register = "local"
outside = ["ada"]
redirects = "follow"
[[domain]]
name = "inner.test"
users = "USERS"
backend = "pbx"
register = "local"
outside = "nobody"
# Tokens, some of which say that their holder may call outside.
[[domain]]
name = "token.test"
auth = "jwt"
secret_env = "SECRET"
backend = "pbx"
register = "local"
outside_claim = "outside"
# Open domains with a trunk.
[[domain]]
name = "public.test"
auth = "open"
backend = "pbx"
register = "local"
outside = "everybody"
[[domain]]
name = "lobby.test"
auth = "open"
backend = "pbx"
register = "local"
# Its users register at a server behind.
[[domain]]
name = "behind.test"
backend = "registrar"
register = "auto"
"#;

/// Who there is: the flow, the address-of-record, and parameters of the Contact.
const DEVICES: [(u64, &str, &str); 11] = [
    (BOB, "bob@home.test", ";+sip.instance=\"<urn:uuid:b>\""),
    (BOB, "bob@other.test", ""),
    (BOB, "bob@open.test", ""),
    (BOB, "bob@trunk.test", ";+sip.instance=\"<urn:uuid:b>\""),
    (BOB, "bob@few.test", ""),
    (BOB, "bob@inner.test", ""),
    (BOB, "bob@token.test", ""),
    (BOB, "bob@public.test", ""),
    (BOB, "bob@lobby.test", ""),
    (BOB_BEHIND, "bob@behind.test", ""),
    (ADA_BEHIND, "ada@behind.test", ""),
];

/// The users of all domains with passwords.
const USERS: &str = "ada:wonder\nbob:builder\ncarl:carrot\n";

/// Where they stand: domains read them from a file.
static USERS_FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("sipway-policy-users-{}", std::process::id()));
    fs::write(&file, USERS).unwrap();
    file
});

/// Signs routes.
const SECRET: [u8; 32] = [2; 32];

/// Flows of one shard, by their counts.
const SENDER: u64 = 1;
const BOB: u64 = 2;
const BOB_BEHIND: u64 = 3;
const ADA_BEHIND: u64 = 4;
const CARL: u64 = 5;
/// Connections that the pbx made: one stands, one has ended.
const PBX_CAME: u64 = 6;
const PBX_LEFT: u64 = 7;
/// This one was open and has ended.
const ENDED: u64 = 9;

/// Where all flows come from.
const HOST: &str = "203.0.113.1";
const PBX: &str = "192.0.2.9:5060";
const REGISTRAR: &str = "192.0.2.8:5060";
const PHONE: &str = "198.51.100.7:5060";

fn flow(count: u64) -> Hop {
    Hop::Flow(number(count))
}

fn number(count: u64) -> FlowNumber {
    FlowNumber::new(count, 0, 0)
}

/// A server or phone that we connect to, by its address.
fn peer(host: &str) -> Hop {
    let remote = SocketAddr::new(host.parse().unwrap(), 5061);
    Hop::Peer { listener: 0, proves: ExpectedPeer::NOTHING, remote }
}

fn udp(address: &str) -> Hop {
    Hop::Udp { listener: 1, remote: address.parse().unwrap() }
}

/// What is known of a connection that the pbx makes.
fn facts_of_pbx() -> FlowFacts {
    FlowFacts {
        transport: lifecycle::Transport::Tcp,
        direction: Direction::Accepted,
        listener: Text::new("tcp"),
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "192.0.2.9:40000".parse().unwrap(),
        forwarded: None,
        host: None,
        origin: None,
        path: None,
        user_agent: None,
        tls: None,
    }
}

/// Tables as a server has them, without the server.
struct FakeTables {
    domains: Domains,
    upstreams: Upstreams,
    flow_tokens: FlowTokens,
    listeners: Vec<BoundListener>,
    registry: Registry,
    /// The ledger's writer, which writes nothing here.
    _stepper: Stepper,
    calls: CallTable,
    quotas: UserQuotas,
    policy: sip_registrar::Policy,
    now: Instant,
}

impl FakeTables {
    fn new() -> Self {
        Self::with(DOMAINS)
    }

    fn with(text: &str) -> Self {
        let text = text.replace("USERS", USERS_FILE.to_str().unwrap());
        let environment = FakeEnvironment::new()
            .file(&*USERS_FILE, USERS)
            .set("SECRET", "0123456789abcdef0123456789abcdef");
        let config = Config::parse(&text, Path::new("/sipway.toml"), &environment).unwrap();
        let now = Instant::now();
        let upstreams = Upstreams::new(&config.upstreams, &config.listeners).unwrap();
        let domains = Domains::new(&config.domains, |name| upstreams.find(name), &[1; 32]).unwrap();
        let settings = Settings { stall_after: Duration::from_secs(3600), ..Settings::new("n") };
        let (opened, stepper) = Ledger::open_stepped(Arc::new(Simulated::new(1).mount()), settings).unwrap();
        let tokens = FlowTokens::new(&SECRET, opened.ledger.incarnation());
        let registry = Registry::new(
            Node::new("n").unwrap(),
            opened.ledger,
            Location::new(100, tokens.numbers()),
            Presence::new(Duration::from_secs(1), 100),
        );
        let listeners = config
            .listeners
            .iter()
            .map(|listener| BoundListener::new(&config, listener, listener.bind, (None, None), 1))
            .collect();
        let site = Self {
            domains,
            upstreams,
            flow_tokens: tokens,
            listeners,
            calls: CallTable::new(&config.calls, Duration::from_secs(180)),
            quotas: UserQuotas::new(&config.defence, 100, Arc::new(Metrics::new())),
            policy: policy(&config.registrar),
            registry,
            _stepper: stepper,
            now,
        };
        for count in [PBX_CAME, PBX_LEFT] {
            site.upstreams.connected(number(count), &facts_of_pbx());
        }
        let _ = site.upstreams.disconnected(number(PBX_LEFT));
        for count in [SENDER, BOB, BOB_BEHIND, ADA_BEHIND, CARL, PBX_CAME] {
            site.registry.location().flow_opened(number(count).id(site.registry.incarnation()));
        }
        site
    }

    /// With all devices registered.
    fn populated() -> Self {
        let site = Self::new();
        for (count, aor, params) in DEVICES {
            site.registers(flow(count), aor, params);
        }
        site.registers(udp(PHONE), "phone@home.test", "");
        site
    }

    /// A device registers.
    fn registers(&self, hop: Hop, aor: &str, params: &str) {
        let user = aor.split('@').next().unwrap();
        let (way, contact, transport, remote) = match hop {
            Hop::Flow(number) => (
                BindingHop::Flow(number.id(self.registry.incarnation())),
                format!("sip:{user}@d{}.invalid", number.count()),
                lifecycle::Transport::Ws,
                "203.0.113.1:1".parse().unwrap(),
            ),
            Hop::Udp { listener, remote } => (
                BindingHop::Udp { listener: listener.into() },
                format!("sip:{user}@{remote}"),
                lifecycle::Transport::Udp,
                remote,
            ),
            Hop::Peer { .. } => unreachable!(),
        };
        let text = format!(
            "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/WS d.invalid;branch=z9hG4bK1\r\nFrom: <sip:{aor}>;tag=1\r\nTo: <sip:{aor}>\r\n\
             Call-ID: {aor}\r\nCSeq: 1 REGISTER\r\nContact: <{contact}>{params}\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
        );
        let request = &Message::parse(text.as_bytes()).unwrap();
        let register = Register { request, aor, way, transport, remote, identity: Some(aor) };
        let (registry, now) = (&self.registry, lifecycle::Now { instant: self.now, unix_micros: 1 });
        registry.register(&register, None, &self.policy, now, &mut Vec::new()).unwrap();
    }

    /// A call that is up: who calls whom, and the hops of both.
    fn call(&self, (caller, from): (&str, Hop), (callee, to): (&str, Hop)) {
        let head = format!(
            "From: <sip:{caller}>;tag=a\r\nTo: <sip:{callee}>%\r\nCall-ID: {caller}-{callee}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:x@x.invalid>\r\nContent-Length: 0\r\n\r\n"
        );
        let via = "Via: SIP/2.0/WS c.invalid;branch=z9hG4bK1\r\n";
        let invite = format!("INVITE sip:{callee} SIP/2.0\r\n{via}{}", head.replace('%', ""));
        let invite = Message::parse(invite.as_bytes()).unwrap();
        self.calls.forwarded(self.tables().call_records(), &invite, (from, to), (None, None));
        let answer = format!("SIP/2.0 200 OK\r\n{via}{}", head.replace('%', ";tag=b"));
        let answer = Message::parse(answer.as_bytes()).unwrap();
        self.calls.answered(self.tables().call_records(), 200, &answer, (from, Some(to)));
    }

    fn tables(&self) -> Tables<'_> {
        Tables {
            domains: &self.domains,
            upstreams: &self.upstreams,
            flow_tokens: &self.flow_tokens,
            listeners: &self.listeners,
            registry: &self.registry,
            calls: &self.calls,
            quotas: &self.quotas,
            metrics: self.registry.metrics(),
            policy: &self.policy,
        }
    }

    /// The fate of a request that no route leads on.
    fn decides(&self, sent: &Sent, request: &str) -> String {
        let message = Message::parse(request.as_bytes()).unwrap();
        let incoming = Incoming { request: &message, from: sent.hop, now: self.now };
        let routing = Routing { tables: self.tables(), flows: sent };
        match routing.decide(incoming, &mut sent.state()) {
            Ok(Destination::Forward(targets)) => name_targets(&targets),
            Ok(Destination::Registrar(domain)) => match routing.may_register(domain, incoming) {
                Ok(permission) => {
                    let proof = match permission.proof {
                        RegistrantProof::None => "unproved",
                        RegistrantProof::Flow => "by its flow",
                        RegistrantProof::Password => "by password",
                        RegistrantProof::Voucher(_) => "by voucher",
                    };
                    let left_out = permission.left_out.iter().filter(|left_out| **left_out).count();
                    let but = if left_out > 0 { format!(" but for {left_out}") } else { String::new() };
                    format!("registers {}, {proof}{but}", permission.aor)
                }
                Err(answer) => name_answer(&answer),
            },
            Err(answer) => name_answer(&answer),
        }
    }
}

/// A sender of requests, as tests describe it: what it brings, then the user in From.
///
/// - `nobody X`: has proved nothing and brings nothing.
/// - `proves X`: brings credentials of X in this request.
/// - `proves Y as X`: brings credentials of Y, and says that it is X.
/// - `proves-outside X`: brings a token of X that lets it call outside.
/// - `known X`, `known Y as X`: its flow has registered as X, or as Y, by a password.
/// - `token X`, `token-outside X`, `token Y as X`: its flow was opened with a token, or with a certificate.
/// - `busy X`: as `known`, and has as many calls as it may have.
/// - `throttled X`: as `known`, and says more than it may.
/// - `phone X`: as `nobody`, by datagrams; `phone-proves X`: as `proves`.
/// - `registered X`: its flow is that over which ada@behind.test is registered.
/// - `pbx X`, `registrar X`: a server behind.
struct Sent {
    hop: Hop,
    /// The address-of-record in From.
    from: String,
    known: Option<Known>,
    credentials: Option<Proof>,
    throttled: bool,
    /// Holds the only call that it may have.
    quota: Option<Arc<User>>,
    effects: RefCell<Vec<String>>,
}

impl Sent {
    fn new(words: &str, site: &FakeTables) -> Self {
        let (kind, who) = words.split_once(' ').unwrap();
        let (real, from) = who.split_once(" as ").unwrap_or((who, who));
        let known = |by, outside| Some(Known { identity: Identity::new(real).unwrap(), outside, by });
        let user = || Some(Proof::User(real.split('@').next().unwrap().to_owned()));
        let voucher = |outside| {
            let until = site.now + Duration::from_secs(60);
            Some(Proof::Vouched(VerifiedClient { identity: Identity::new(real).unwrap(), until, outside }))
        };
        let proof = || if real.ends_with("@token.test") { voucher(Grant::NotGiven) } else { user() };
        let (given, not_given) = (Grant::Given, Grant::NotGiven);
        let (hop, known, credentials) = match kind {
            "nobody" => (flow(SENDER), None, None),
            "proves" => (flow(SENDER), None, proof()),
            "proves-outside" => (flow(SENDER), None, voucher(given)),
            "known" | "busy" | "throttled" => (flow(SENDER), known(By::Password, not_given), None),
            "token" => (flow(SENDER), known(By::Voucher, not_given), None),
            "token-outside" => (flow(SENDER), known(By::Voucher, given), None),
            "token-and-proves" => (flow(SENDER), known(By::Voucher, not_given), proof()),
            "phone" => (udp(PHONE), None, None),
            "phone-proves" => (udp(PHONE), None, proof()),
            "registered" => (flow(ADA_BEHIND), None, None),
            "pbx" => (udp(PBX), None, None),
            "registrar" => (udp(REGISTRAR), None, None),
            other => panic!("no such sender: {other}"),
        };
        let quota = (kind == "busy").then(|| site.quotas.user("busy@home.test").unwrap());
        Self {
            hop,
            from: from.to_owned(),
            known,
            credentials,
            throttled: kind == "throttled",
            quota,
            effects: RefCell::default(),
        }
    }

    fn state(&self) -> RequestState {
        let too_much = QuotaExceeded { what: defence::Hindrance::MessageRate, wait: Duration::from_secs(1) };
        RequestState { throttled: self.throttled.then_some(too_much), ..RequestState::default() }
    }

    /// A request to this URI, with these header fields besides those that all have.
    fn asks(&self, method: &str, uri: &str, more: &str) -> String {
        self.asks_for(method, uri, &format!("<{uri}>"), more)
    }

    fn asks_for(&self, method: &str, uri: &str, to: &str, more: &str) -> String {
        let credentials = match &self.credentials {
            Some(Proof::Vouched(_)) => "Authorization: Bearer a.b.c\r\n",
            Some(_) => "Authorization: Digest username=\"x\"\r\n",
            None => "",
        };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/WS c.invalid;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:{}>;tag=f\r\n\
             To: {to}\r\nCall-ID: call\r\nCSeq: 1 {method}\r\nContact: <sip:me@c.invalid>\r\n{credentials}{more}Content-Length: 0\r\n\r\n",
            self.from
        )
    }
}

impl FlowLookup for Sent {
    fn identity(&self, flow: FlowNumber) -> Option<Known> {
        self.known.clone().filter(|_| flow == number(SENDER))
    }

    fn remote(&self, _: FlowNumber) -> Option<SocketAddr> {
        Some(SocketAddr::new(HOST.parse().unwrap(), 1))
    }

    fn is_gone(&self, flow: FlowNumber) -> bool {
        flow == number(ENDED)
    }

    fn current_flow(&self, hop: Hop) -> Option<FlowNumber> {
        match hop {
            Hop::Flow(number) => Some(number),
            Hop::Udp { .. } | Hop::Peer { .. } => None,
        }
    }

    fn quota_holder(&self, _: Hop, _: Option<&str>) -> Option<Arc<User>> {
        self.quota.clone()
    }
}

impl SenderProof for Sent {
    /// Credentials are good if the sender is said to bring some. How they are judged is tested in `identity`.
    fn prove(&self, domain: DomainRef<'_>, _: &Message<'_>, _: Hop, role: Role) -> Result<Proof, Answer> {
        if domain.is_open() || domain.registrar().is_some() {
            return Ok(Proof::NotAsked);
        }
        self.credentials.clone().ok_or_else(|| Answer::new(role.status(), "Prove It"))
    }

    fn authenticated(&self, _: Hop) {
        self.effects.borrow_mut().push("authenticated".to_owned());
    }

    fn charge(&self, _: Hop, aor: &str) -> Result<(), QuotaExceeded> {
        self.effects.borrow_mut().push(format!("charged to {aor}"));
        Ok(())
    }
}

/// Where targets lead, in words.
fn name_targets(targets: &[Target<Hop>]) -> String {
    let mut names: Vec<String> = targets.iter().map(name_target).collect();
    names.sort();
    if names.is_empty() { "nowhere".to_owned() } else { names.join(" and ") }
}

fn name_target(target: &Target<Hop>) -> String {
    let alternatives = target.alternatives.iter().map(|other| match other {
        Alternative::Hop { hop, .. } | Alternative::Flow { hop, .. } => format!(", else {}", name_hop(*hop)),
    });
    name_hop(target.hop) + &alternatives.collect::<String>()
}

fn name_hop(hop: Hop) -> String {
    let known = [
        (flow(SENDER), "the sender"),
        (flow(BOB), "bob"),
        (flow(BOB_BEHIND), "bob of behind.test"),
        (flow(ADA_BEHIND), "ada of behind.test"),
        (flow(CARL), "carl"),
        (flow(PBX_CAME), "the pbx's connection"),
        (udp(PBX), "the pbx"),
        (udp(REGISTRAR), "the registrar"),
        (udp(PHONE), "the phone"),
    ];
    if let Hop::Peer { remote, .. } = hop {
        return format!("the peer at {remote}");
    }
    let named = known.iter().find(|(known, _)| *known == hop);
    named.map_or_else(|| format!("{hop:?}"), |(_, name)| (*name).to_owned())
}

fn name_answer(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.reason)
}

/// Compares what is with what is expected, all rows at once.
fn hold<'r>(rows: impl IntoIterator<Item = (String, &'r str, String)>) {
    let wrong: Vec<String> = rows
        .into_iter()
        .filter(|(_, expected, found)| expected != found)
        .map(|(row, expected, found)| format!("{row}\n    expected: {expected}\n    found:    {found}"))
        .collect();
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
