//! A server that runs as `sipway.example.toml` says, every key of it: who may come in, and where the events
//! go.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use lifecycle::Transport;
use prove::{Client, ConnectError, Incoming, Persona, RequestError, Setup, Target};
use serde_json::Value;
use sip_auth::Challenge;
use sip_message::HeaderId;

use crate::directory::Directory;
use crate::process::{PATIENCE, Server, ledger_events, run, sipway};
use crate::webhook::Consumer;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sipway.example.toml");
const CRM_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOKEN_SECRET: &str = "0123456789abcdef0123456789abcdef";
const ADMIN_TOKEN: &str = "0123456789abcdef0123456789abcdef";
const PRESENCE_SECRET: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl00000000";

/// The example with free ports of this machine alone, and the consumers of this test.
fn configuration(crm: &Consumer, presence: &Consumer) -> String {
    let example = fs::read_to_string(EXAMPLE).unwrap();
    let replaced = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "the example has {from}");
        text.replace(from, to)
    };
    let text =
        replaced(&example, "https://crm.example.com/sip-events", &format!("http://{}/events", crm.address));
    let text =
        replaced(&text, "http://127.0.0.1:9000/events", &format!("http://{}/events", presence.address));
    // Nobody is there, as nobody is at the example's address.
    let text = replaced(&text, "https://login.example.com/.well-known", "http://127.0.0.1:1/.well-known");
    let text = replaced(&text, "format = \"text\"", "format = \"json\"");
    // It is named by its port, which is another here.
    let text = replaced(&text, "listener = \"udp-5060\"", "listener = \"udp-0\"");
    // Databases and streams that are not there would be waited for at the end.
    let (begin, end) =
        (text.find("[[sink]]\nkind = \"postgres\"").unwrap(), text.find("\n# The admin API").unwrap());
    let text = format!("{}{}", &text[..begin], &text[end..]);
    let free = |line: &str| {
        if line.starts_with("bind = ") { "bind = \"127.0.0.1:0\"".to_owned() } else { line.to_owned() }
    };
    text.lines().map(free).collect::<Vec<_>>().join("\n")
}

struct Installed {
    directory: Directory,
    server: Server,
    crm: Consumer,
    presence: Consumer,
}

impl Installed {
    async fn start(name: &str) -> Self {
        let directory = Directory::new(name);
        let (crm, presence) = (Consumer::start(CRM_SECRET).await, Consumer::start(PRESENCE_SECRET).await);
        let file = directory.write("sipway.toml", configuration(&crm, &presence));
        let pair = rcgen::generate_simple_self_signed(["sip.example.com".to_owned()]).unwrap();
        directory.write("fullchain.pem", pair.cert.pem());
        directory.write("privkey.pem", pair.signing_key.serialize_pem());
        directory.write("pbx-ca.pem", pair.cert.pem());
        directory.write("fleet-ca.pem", pair.cert.pem());
        directory.write("users.txt", "# who may come in\nalice:wonder land\nbob:builder\n");
        let database = rusqlite::Connection::open(directory.at("users.sqlite")).unwrap();
        let schema = "CREATE TABLE subscriber(username TEXT, domain TEXT, ha1 TEXT, ha1_sha256 TEXT)";
        database.execute_batch(schema).unwrap();
        directory.write("login.pem", pair.signing_key.public_key_pem());
        directory.write("token.secret", TOKEN_SECRET);
        directory.write("ephemeral.secret", TOKEN_SECRET);
        directory.write("unregister.secret", TOKEN_SECRET);
        directory.write("webhook.secret", format!("{PRESENCE_SECRET}\n"));

        let mut check = sipway(["check", "--offline"]);
        let variables = [
            ("SIPWAY_WEBHOOK_SECRET", CRM_SECRET),
            ("SIPWAY_ADMIN_TOKEN", ADMIN_TOKEN),
            ("SIPWAY_TOKEN_SECRET", TOKEN_SECRET),
            ("SIPWAY_EPHEMERAL_SECRET", TOKEN_SECRET),
            ("SIPWAY_UNREGISTER_SECRET", TOKEN_SECRET),
        ];
        check.arg(&file).envs(variables);
        let checked = run(check).await;
        assert_eq!(checked.code, Some(0), "{}", checked.err);
        let mut serve = sipway(["run", "--config"]);
        serve.arg(&file).envs(variables);
        Self { server: Server::run(serve).await, directory, crm, presence }
    }

    /// The listener of the example that has this name, as browsers and phones reach it.
    fn target(&self, transport: Transport, listener: &str) -> Target {
        let mut target = Target::new(transport, self.server.address(listener)).domain("example.com");
        target.host = Some("sip.example.com".into());
        if listener == "browsers" {
            target.origin = Some("https://app.example.com".into());
        }
        target
    }

    fn browsers(&self) -> Target {
        self.target(Transport::Wss, "browsers")
    }
}

fn with_password(user: &str, password: &str, persona: Persona) -> Setup {
    Setup { persona, password: Some(password.to_owned()), ..Setup::new(user) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_come_in_and_every_event_goes_out() {
    let mut installed = Installed::start("example").await;
    let mut alice =
        Client::connect(&installed.browsers(), &with_password("alice", "wonder land", Persona::JsSip))
            .await
            .unwrap();
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    // One phone on each of the other listeners, one after the other: each gets what Alice writes.
    for (transport, listener) in
        [(Transport::Udp, "udp-0"), (Transport::Tcp, "tcp-0"), (Transport::Tls, "tls-0")]
    {
        let target = installed.target(transport, listener);
        let mut bob =
            Client::connect(&target, &with_password("bob", "builder", Persona::Phone)).await.unwrap();
        assert_eq!(bob.register(600).await.unwrap().status, 200, "over {transport}");
        let to = bob.address_of_record();
        let (answer, heard) = tokio::join!(alice.message(&to, b"hello"), bob.next());
        assert_eq!(answer.unwrap().status, 200, "over {transport}");
        assert_eq!(heard.unwrap().message().body(), b"hello");
        assert_eq!(bob.register(0).await.unwrap().status, 200);
    }
    drop(alice);

    assert!(installed.server.terminate().await.success());
    let all = ledger_events(&installed.directory.at("sipway-ledger")).await;
    let ids = |events: &[Value]| -> Vec<String> {
        events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    let sent = |consumer: &Consumer| {
        consumer.deliveries().into_iter().flat_map(|delivery| delivery.events).collect::<Vec<_>>()
    };
    // When the process has ended, every consumer has everything, in order, once: nothing was down.
    assert_eq!(sent(&installed.crm), all);
    assert_eq!(sent(&installed.presence), all);
    for delivery in installed.crm.deliveries() {
        assert_eq!(
            (delivery.content_type.as_str(), delivery.events.len()),
            ("application/cloudevents+json", 1)
        );
    }
    for delivery in installed.presence.deliveries() {
        assert_eq!(delivery.content_type, "application/cloudevents-batch+json");
    }
    let archive = fs::read_to_string(installed.directory.at("events.jsonl")).unwrap();
    let archive: Vec<Value> = archive.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let flows =
        all.iter().filter(|event| ["flow.opened", "flow.closed"].contains(&event["type"].as_str().unwrap()));
    assert_eq!(ids(&archive), ids(&flows.cloned().collect::<Vec<_>>()), "only the types that are wanted");
    assert_eq!(archive.len(), 6, "alice's and those of bob over tcp and tls");

    let opened = archive.iter().find(|event| event["data"]["transport"] == "wss").unwrap();
    assert_eq!(opened["data"]["listener"], "browsers");
    assert_eq!(opened["data"]["origin"], "https://app.example.com");
    let added = all.iter().find(|event| event["type"] == "binding.added").unwrap();
    assert_eq!(added["data"]["aor"], "alice@example.com");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthenticated_clients_stay_outside() {
    let mut installed = Installed::start("strangers").await;
    let browsers = installed.browsers();
    let connect = async |target: &Target, setup: &Setup| Client::connect(target, setup).await.unwrap();

    let mut liar = connect(&browsers, &with_password("alice", "wonder", Persona::JsSip)).await;
    assert_eq!(liar.register(600).await, Err(RequestError::Unauthorized));
    let mut nobody = connect(&browsers, &with_password("mallory", "wonder", Persona::JsSip)).await;
    assert_eq!(nobody.register(600).await, Err(RequestError::Unauthorized));
    // Who has proved to be Bob may not register Alice.
    let mut bob = connect(&browsers, &Setup::new("bob")).await;
    assert_eq!(refusal(&mut bob, "alice", ("bob", "builder")).await.status, 403);
    // Nor learn which names exist.
    let mut prober = connect(&browsers, &Setup::new("prober")).await;
    let wrong = refusal(&mut prober, "alice", ("alice", "guess")).await;
    let unknown = refusal(&mut prober, "mallory", ("mallory", "guess")).await;
    assert_eq!(wrong, unknown);
    assert_eq!(wrong.status, 401);

    let refused = async |target: Target| match Client::connect(&target, &Setup::new("eve")).await {
        Err(ConnectError::Refused(status)) => status,
        other => panic!("{other:?}"),
    };
    let elsewhere = |origin: &str| Target { origin: Some(origin.into()), ..installed.browsers() };
    assert_eq!(refused(elsewhere("https://evil.example")).await, 403);
    assert_eq!(refused(elsewhere("https://app.example.com.evil.example")).await, 403);
    assert_eq!(refused(elsewhere("http://app.example.com")).await, 403);
    assert_eq!(refused(elsewhere("null")).await, 403);
    assert_eq!(refused(Target { path: Arc::from("/elsewhere"), ..installed.browsers() }).await, 404);
    // What is no browser sends no Origin; this listener takes it.
    drop(connect(&Target { origin: None, ..installed.browsers() }, &Setup::new("eve")).await);
    // The listener without `origins` takes any.
    let plain = installed.target(Transport::Ws, "ws-0");
    drop(connect(&Target { origin: Some("https://evil.example".into()), ..plain }, &Setup::new("eve")).await);

    drop((liar, nobody, bob, prober));
    assert!(installed.server.terminate().await.success());
    let all = ledger_events(&installed.directory.at("sipway-ledger")).await;
    assert!(all.iter().all(|event| event["type"] != "binding.added"), "nobody got in");
    let of = |kind: &str| -> BTreeSet<String> {
        let of_kind = all.iter().filter(|event| event["type"] == kind);
        of_kind.map(|event| event["data"]["flow"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("flow.opened").len(), 6, "a refused handshake is no flow");
    assert_eq!(of("flow.opened"), of("flow.closed"));
}

/// What a refusal tells, without what differs from request to request.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    status: u16,
    reason: String,
    headers: Vec<String>,
}

/// Registers a name with somebody's credentials, and gives the answer to the second request.
async fn refusal(client: &mut Client, name: &str, credentials: (&str, &str)) -> Refusal {
    let mut authorization = String::new();
    for cseq in 1.. {
        let request = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/WSS probe.invalid;branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n\
             From: <sip:{name}@example.com>;tag=probe\r\nTo: <sip:{name}@example.com>\r\nCall-ID: {name}-probe\r\n\
             CSeq: {cseq} REGISTER\r\nContact: <sip:{name}@probe.invalid;transport=ws>\r\nExpires: 600\r\n\
             {authorization}Content-Length: 0\r\n\r\n",
            format_args!("{name}{cseq}"),
        );
        client.send(request.as_bytes()).unwrap();
        let incoming = tokio::time::timeout(PATIENCE, client.next()).await.unwrap().unwrap();
        let Incoming::Response(response) = &incoming else { panic!("{incoming:?}") };
        let message = incoming.message();
        if cseq == 1 {
            assert_eq!(response.status, 401);
            let (user, password) = credentials;
            let challenge = message.all(HeaderId::WwwAuthenticate).next().unwrap();
            let challenge = Challenge::parse(challenge.value).unwrap();
            let value =
                sip_auth::answer(&challenge, "REGISTER", "sip:example.com", user, password, "0a4f113b", 1);
            authorization = format!("Authorization: {value}\r\n");
            continue;
        }
        let text = String::from_utf8(response.bytes.to_vec()).unwrap();
        let mut lines = text.lines();
        let reason = lines.next().unwrap().to_owned();
        let headers = lines.map(|line| {
            let (header, value) = line.split_once(':').unwrap_or((line, ""));
            match header {
                "WWW-Authenticate" => {
                    let fields = value.split(',').filter(|field| !field.contains("nonce="));
                    format!("{header}:{}", fields.collect::<Vec<_>>().join(","))
                }
                "Via" | "From" | "To" | "Call-ID" | "CSeq" => header.to_owned(),
                _ => line.to_owned(),
            }
        });
        return Refusal { status: response.status, reason, headers: headers.collect() };
    }
    unreachable!("returns with the second answer")
}
