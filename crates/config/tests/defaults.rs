//! What the example, the empty file and `sipway dev` give; and that the example knows every key.

mod example;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{
    Admin, Authentication, Config, DatabaseHost, DatabaseTls, Delivery, DevPorts, DigestAlgorithm, DigestUri,
    Domain, EventTypes, FakeEnvironment, File, Host, Jwt, Limits, Machine, MissingOrigin, NatsLogin, Origins,
    Outside, Password, Paths, ProblemKind, Redirects, Registration, Rotation, Security, SinkTarget,
    StreamName, Style, TlsMaterial, TokenSource, TransportKind, UserSource,
};
use lifecycle::FlowLimits;

const FILE: &str = "/etc/sipway/sipway.toml";

fn example() -> Config {
    Config::parse(example::TEXT, Path::new(FILE), &example::environment())
        .unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_example_loads_without_a_warning() {
    let config = example();
    assert_eq!(config.warnings().render(Style::Plain), "");
    let environment = example::environment().file(FILE, example::TEXT);
    assert!(Config::load(Path::new(FILE), &environment).is_ok());
}

#[test]
fn the_example_states_the_defaults() {
    let (config, default) = (example(), Config::default());
    assert_eq!(config.node, default.node);
    assert_eq!(config.ledger.directory, Path::new("/etc/sipway").join(&default.ledger.directory));
    assert_eq!(config.ledger.durability, default.ledger.durability);
    assert_eq!(config.ledger.segment_size, default.ledger.segment_size);
    assert_eq!(config.ledger.keep_for, default.ledger.keep_for);
    assert_eq!(config.ledger.keep_size, default.ledger.keep_size);
    assert_eq!(config.registrar, default.registrar);
    assert_eq!(config.keepalive, default.keepalive);
    assert_eq!(config.limits, default.limits);
    assert_eq!(config.timers, default.timers);
    assert_eq!(config.calls, default.calls);
    assert_eq!(config.audit, default.audit);
    assert_eq!(config.log, default.log);
    assert_eq!(config.dns.servers, ["10.0.0.53:53".parse().unwrap()]);
    let admin = config.admin.unwrap();
    assert_eq!((admin.bind, admin.token.is_some()), (Admin::default().bind, true));
    assert_eq!(config.shutdown, default.shutdown);
    let browsers = &config.listeners[0];
    assert_eq!(browsers.keepalive, default.keepalive);
    assert_eq!(browsers.max_message, default.limits.max_message);
}

/// Leaving out any one key that has a default changes nothing: the comment in the example is the truth.
#[test]
fn each_default_of_the_example_is_what_leaving_it_out_gives() {
    let whole = example();
    let lists = [
        "paths = ",
        "origins = ",
        "types = ",
        "drop_unread_of = ",
        "backend = ",
        "token_env = ",
        "issuer = ",
        "audience = ",
        "token_cookie = ",
        "name = \"browsers\"",
        "max_rate = ",
        "dead_letter = ",
        "rotate_",
        "previous_secret_",
        "password_",
        "ca_file = ",
        "ca = ",
        "listener = ",
        "servers = ",
        "stream = ",
        "user = ",
        "creds_file = ",
        "key = ",
        "max_len = ",
        "outside_claim = ",
        "ephemeral_secret_",
        "users_db = ",
        "client_ca = ",
        "exempt_users = ",
        "unregister_header = ",
    ];
    let lines: Vec<&str> = example::TEXT.lines().collect();
    let mut tried = 0;
    for (number, line) in lines.iter().enumerate() {
        let states_default = lines[..number].last().is_some_and(|above| above.starts_with("# Default: "));
        if !states_default || lists.iter().any(|list| line.starts_with(list)) || line.starts_with("advertise")
        {
            continue;
        }
        let mut without = lines.clone();
        without.remove(number);
        let config = Config::parse(&without.join("\n"), Path::new(FILE), &example::environment())
            .unwrap_or_else(|errors| panic!("without `{line}`: {errors}"));
        assert_eq!(format!("{whole:?}"), format!("{config:?}"), "without `{line}`");
        tried += 1;
    }
    assert!(tried >= 30, "{tried}");
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let mut section = String::new();
    let mut shown = BTreeSet::new();
    for line in example::TEXT.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
            shown.insert(section.clone());
        } else if let Some((key, _)) = line.split_once(" = ")
            && !line.starts_with(['#', ' '])
        {
            shown.insert(if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") });
        }
    }
    let known: BTreeSet<String> = config::keys().collect();
    assert_eq!(known.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the example");
    assert_eq!(shown.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "not known");
}

#[test]
fn the_example_becomes_valid_types() {
    let config = example();
    let kinds: Vec<TransportKind> = config.listeners.iter().map(|l| l.transport.kind()).collect();
    use TransportKind::{Tcp, Tls, Udp, Ws, Wss};
    assert_eq!(kinds, [Wss, Ws, Udp, Tcp, Tls, Tls]);
    let names: Vec<&str> = config.listeners.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["browsers", "ws-8080", "udp-5060", "tcp-5060", "tls-5061", "fleet"]);

    let browsers = &config.listeners[0];
    assert_eq!(browsers.advertise.to_string(), "sip.example.com:443");
    let websocket = browsers.transport.websocket().unwrap();
    assert_eq!(websocket.paths, Paths::Only(vec!["/".into()]));
    assert_eq!(websocket.origins, Origins::Only(vec!["https://app.example.com".into()]));
    assert_eq!(websocket.missing_origin, MissingOrigin::Accept);
    let Some(TlsMaterial::Files(files)) = browsers.transport.tls() else { panic!("files were named") };
    assert_eq!(files.certificate, PathBuf::from("/etc/sipway/fullchain.pem"));
    assert_eq!(files.private_key, PathBuf::from("/etc/sipway/privkey.pem"));
    assert_eq!(files.chain.len(), 2);

    let bound: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    assert_eq!(browsers.advertised_port(bound), 443);
    assert_eq!(config.listeners[1].advertise.to_string(), "127.0.0.1:8080");
    assert_eq!(config.listeners[2].advertise.port, None);
    assert_eq!(config.listeners[2].advertised_port("0.0.0.0:5060".parse().unwrap()), 5060);

    let pbx = config.upstreams[0].name.clone();
    assert_eq!(
        [&config.domains[0], &config.domains[8]],
        [
            &Domain {
                name: Host::Name("example.com".into()),
                backend: None,
                authentication: Authentication::Digest {
                    realm: "example.com".into(),
                    algorithms: vec![DigestAlgorithm::Md5],
                    digest_uri: DigestUri::Any,
                    users: Some(UserSource::File("/etc/sipway/users.txt".into())),
                    ephemeral: None,
                },
                outside: Outside::Users,
                redirects: Redirects::Pass,
            },
            &Domain {
                name: Host::Name("pbx.example.com".into()),
                backend: Some(pbx),
                authentication: Authentication::Backend(Registration::Path),
                outside: Outside::Users,
                redirects: Redirects::Pass,
            }
        ]
    );
    let targets = config.upstreams[0].targets.iter();
    let targets: Vec<_> =
        targets.map(|at| (at.host.to_string(), at.port, at.transport, at.priority, at.weight)).collect();
    assert_eq!(
        targets,
        [
            ("10.0.0.5".to_owned(), Some(5060), None, 1, 1),
            ("10.0.0.6".to_owned(), None, Some(targets::Transport::Tcp), 2, 3),
            ("sbc.example.com".to_owned(), None, Some(targets::Transport::Tls), 2, 1),
        ]
    );
    let tokens: Vec<&Jwt> = config.domains[4..7]
        .iter()
        .map(|domain| match &domain.authentication {
            Authentication::Jwt(jwt) => &**jwt,
            other => panic!("{other:?}"),
        })
        .collect();
    let [page, kiosk, lobby] = tokens.as_slice() else { panic!("three domains") };
    assert_eq!(page.source, TokenSource::Keys("/etc/sipway/login.pem".into()));
    assert_eq!(
        (page.issuer.as_deref(), page.audience.as_deref()),
        (Some("https://login.example.com"), Some("sipway"))
    );
    assert_eq!(
        (page.claim.as_str(), page.query.as_str(), page.leeway.as_secs()),
        ("sub", "access_token", 30)
    );
    assert_eq!((page.cookie.as_deref(), kiosk.cookie.as_deref()), (Some("sip_token"), None));
    for jwt in [kiosk, lobby] {
        let TokenSource::Secret(secret) = &jwt.source else { panic!("a secret") };
        assert_eq!(secret.expose(), b"0123456789abcdef0123456789abcdef");
        assert!(!format!("{jwt:?}").contains("0123456789"), "secrets are not shown");
    }

    let [archive, crm, presence, reports, local, ..] = config.sinks.as_slice() else { panic!("five sinks") };
    let rotation = Rotation {
        size: Some(100 << 20),
        every: Some(Duration::from_secs(86_400)),
        keep: NonZeroU32::new(10).unwrap(),
    };
    let path = PathBuf::from("/etc/sipway/events.jsonl");
    assert_eq!(archive.target, SinkTarget::File(File { path, rotation: Some(rotation) }));
    assert_eq!(archive.max_rate, NonZeroU32::new(20_000));
    assert_eq!(archive.dead_letter.as_deref(), Some(Path::new("/etc/sipway/archive.refused.jsonl")));
    assert!(archive.types.include(lifecycle::EventKind::FlowClosed));
    assert!(!archive.types.include(lifecycle::EventKind::NodeStarted));
    assert_eq!(crm.types, EventTypes::All);
    let (SinkTarget::Webhook(crm), SinkTarget::Webhook(presence)) = (&crm.target, &presence.target) else {
        panic!("two webhooks")
    };
    assert_eq!(crm.url.to_string(), "https://crm.example.com/sip-events");
    assert_eq!(crm.secret.expose(), b"0123456789abcdef0123456789abcdef");
    assert_eq!(crm.delivery, Delivery::Single);
    assert_eq!(presence.delivery, Delivery::Batched { max: 100 });
    assert_eq!(presence.secret, crm.secret);
    assert_eq!(presence.previous_secret.as_ref(), Some(&crm.secret));
    let (SinkTarget::Postgres(reports), SinkTarget::Postgres(local)) = (&reports.target, &local.target)
    else {
        panic!("two databases")
    };
    assert_eq!(reports.url.to_string(), "db.example.com:5432/telephony");
    assert_eq!(reports.password.as_ref().map(Password::expose), Some("correct horse"));
    assert!(matches!(&reports.tls, DatabaseTls::Verify { authorities } if authorities.len() == 2));
    assert_eq!(local.tls, DatabaseTls::Off);
    assert_eq!(local.url.host, DatabaseHost::Directory("/run/postgresql".into()));
    assert_eq!(local.password, reports.password);

    let [.., bus, cloud, workers] = config.sinks.as_slice() else { panic!("three streams") };
    let (SinkTarget::Nats(bus), SinkTarget::Nats(cloud), SinkTarget::Redis(workers)) =
        (&bus.target, &cloud.target, &workers.target)
    else {
        panic!("two of NATS, one of Redis")
    };
    assert_eq!(bus.servers[0].to_string(), "nats://127.0.0.1:4222");
    assert_eq!(bus.stream.as_ref().map(StreamName::as_str), Some("SIPWAY_edge1"));
    assert!(matches!(&bus.login, NatsLogin::User { name, .. } if name == "sipway"));
    assert_eq!(cloud.servers[0].security, Security::Tls);
    assert_eq!((cloud.stream.as_ref(), cloud.subject.as_str()), (None, "sipway"));
    assert_eq!(cloud.login, NatsLogin::Credentials("/etc/sipway/nats.creds".into()));
    assert_eq!(workers.url.to_string(), "redis://127.0.0.1:6379/0");
    assert_eq!((workers.key.as_deref(), workers.max_len), (Some("sipway:events:edge1"), Some(1_000_000)));
}

#[test]
fn no_secret_is_shown() {
    let shown = format!("{:?}", example());
    assert!(!shown.contains("MDEyMzQ1") && !shown.contains("48, 49, 50"), "{shown}");
}

#[test]
fn an_empty_file_is_the_default_and_local() {
    for text in ["", "listener = []\ndomain = []\nsink = []\n"] {
        let config = Config::parse(text, Path::new("sipway.toml"), &FakeEnvironment::new()).unwrap();
        assert_eq!(config.listeners, Config::default().listeners);
        assert_eq!(config.domains, Config::default().domains);
        assert_eq!(config.ledger, Config::default().ledger);
        assert!(config.listeners.iter().all(|listener| listener.bind.ip().is_loopback()));
        assert!(config.sinks.is_empty() && config.admin.is_none());
    }
}

#[test]
fn general_keys_reach_the_listeners_that_do_not_override_them() {
    let text = "[keepalive]\nping_after = \"40s\"\n[limits]\nmax_message = \"64KiB\"\n";
    let none = Config::parse(text, Path::new("s.toml"), &FakeEnvironment::new()).unwrap();
    assert!(none.listeners.iter().all(|l| l.keepalive.ping_after.as_secs() == 40 && l.max_message == 65_536));
    let text = format!(
        "{text}[[listener]]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\npong_timeout = \"3s\"\nmax_message = 2048\n\
         [[listener]]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n"
    );
    let two = Config::parse(&text, Path::new("s.toml"), &FakeEnvironment::new()).unwrap();
    let [own, general] = two.listeners.as_slice() else { panic!("two listeners") };
    assert_eq!((own.keepalive.ping_after.as_secs(), own.keepalive.pong_timeout.as_secs()), (40, 3));
    assert_eq!((own.max_message, general.max_message), (2048, 65_536));
    assert_eq!((own.name.as_str(), general.name.as_str()), ("tcp-0", "tcp-0-2"));
    assert_eq!(own.advertise.port, None);
}

#[test]
fn limits_of_a_flow_are_off_and_can_be_lifted_for_a_listener() {
    let limits = |text: &str| -> Vec<FlowLimits> {
        let config = Config::parse(text, Path::new("s.toml"), &FakeEnvironment::new()).unwrap();
        config.listeners.iter().map(|listener| listener.flow_limits).collect()
    };
    assert!(limits("").iter().all(|limits| *limits == FlowLimits::default()));
    let text = "[limits]\nidle = \"1h\"\nlifetime = \"1d\"\nmessage_rate = 50\n";
    let all = FlowLimits {
        idle: Some(Duration::from_secs(3600)),
        lifetime: Some(Duration::from_secs(86_400)),
        message_rate: NonZeroU32::new(50),
    };
    assert!(limits(text).iter().all(|limits| *limits == all));
    let listener = "[[listener]]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n";
    let text = format!("{text}{listener}idle = \"off\"\nmessage_rate = \"off\"\n{listener}");
    assert_eq!(limits(&text), [FlowLimits { idle: None, message_rate: None, ..all }, all]);
}

#[test]
fn dev_is_local_and_open() {
    let config = Config::dev(DevPorts { ws: 0, ..DevPorts::default() });
    let shown: Vec<String> = config
        .listeners
        .iter()
        .map(|l| format!("{} {} {}", l.name, l.transport.kind().as_str(), l.bind))
        .collect();
    assert_eq!(
        shown,
        ["ws ws 127.0.0.1:0", "wss wss 127.0.0.1:8443", "udp udp 127.0.0.1:5060", "tcp tcp 127.0.0.1:5060"]
    );
    assert!(
        matches!(config.listeners[1].transport.tls(), Some(TlsMaterial::SelfSigned { names }) if names.len() == 2)
    );
    assert!(config.domains.iter().all(|domain| domain.authentication == Authentication::Open));
    assert_eq!(config.admin, Some(Admin::default()));
    assert_eq!(config.limits, Limits::default());
    assert!(config.warnings().problems().is_empty());
}

#[test]
fn the_real_machine_reads_the_disk() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sipway.example.toml");
    // The example is there, the files that it names are not beside it.
    let errors = Config::load(&path, &Machine).unwrap_err();
    let kinds: BTreeSet<String> =
        errors.problems().iter().map(|problem| format!("{:?}", problem.kind())).collect();
    assert_eq!(kinds, BTreeSet::from(["BadFile".to_owned(), "BadVariable".to_owned()]), "{errors}");

    let errors = Config::load(Path::new("/nonexistent/sipway.toml"), &Machine).unwrap_err();
    assert_eq!(errors.problems()[0].kind(), ProblemKind::Unreadable);
    assert_eq!(errors.problems()[0].line(), 0);
}
