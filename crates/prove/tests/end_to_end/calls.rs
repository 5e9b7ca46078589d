//! What becomes of calls: their events, whoever ends them, whatever becomes of the connections they hung on.

use std::fs;
use std::path::Path;

use lifecycle::Transport;
use prove::{Answering, Client, Feed, Incoming, Setup};
use serde_json::Value;
use sip_message::{HeaderId, Message};
use tokio::time::timeout;

use crate::server::{Directory, PATIENCE, Server, ledger_lines};

const CONFIG: &str = r#"
[ledger]
directory = "ledger"
[log]
format = "json"
[calls]
hold = "HOLD"
[[domain]]
name = "localhost"
auth = "open"
[[listener]]
transport = "ws"
bind = "127.0.0.1:0"
[[listener]]
transport = "udp"
bind = "127.0.0.1:0"
"#;

async fn serve(directory: &Directory, hold: &str) -> Server {
    let config = directory.path().join("sipway.toml");
    fs::write(&config, CONFIG.replace("HOLD", hold)).unwrap();
    Server::run(&config).await
}

/// The data of all events of these types, once there are so many of the last one.
async fn events(ledger: &Path, types: &[&str], count: usize) -> Vec<(String, Value)> {
    let last = types.last().unwrap();
    let look = async {
        loop {
            let lines = ledger_lines(ledger).await;
            let of_interest = |event: &Value| types.contains(&event["type"].as_str().unwrap());
            let events: Vec<_> = lines.into_iter().filter(of_interest).collect();
            if events.iter().filter(|event| event["type"] == **last).count() >= count {
                return events;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let events = timeout(PATIENCE * 2, look).await.expect("the events in time");
    events
        .into_iter()
        .map(|event| (event["type"].as_str().unwrap().to_owned(), event["data"].clone()))
        .collect()
}

const CALL_EVENTS: [&str; 5] = ["call.started", "call.answered", "call.held", "call.resumed", "call.ended"];

/// A user agent that a test speaks for, line by line.
pub(crate) struct Agent {
    client: Client,
    user: String,
    instance: String,
    /// Of this connection, as browsers make them up.
    pub(crate) contact: String,
    via: &'static str,
}

impl Agent {
    pub(crate) async fn register(server: &Server, transport: Transport, user: &str, instance: &str) -> Self {
        let mut client = Client::connect(&server.target(transport), &Setup::new(user)).await.unwrap();
        client.set_answering(Answering::KeepsSilent);
        let contact = match transport {
            Transport::Udp => format!("sip:{user}@{}", client.local()),
            _ => format!("sip:{instance}@{:x}.invalid;transport=ws", rand::random::<u64>()),
        };
        let via = if transport == Transport::Udp { "UDP" } else { "WS" };
        let mut agent = Self { client, user: user.into(), instance: instance.into(), contact, via };
        let lines = format!(
            "To: <sip:{user}@localhost>\r\nFrom: <sip:{user}@localhost>;tag=r\r\nCall-ID: {:x}\r\nCSeq: 1 REGISTER\r\n\
             Contact: <{}>;+sip.instance=\"<urn:uuid:{instance}>\";reg-id=1;expires=600\r\nSupported: outbound\r\n",
            rand::random::<u64>(),
            agent.contact,
        );
        agent.send(&agent.request("REGISTER sip:localhost", &lines));
        agent.hears("SIP/2.0 200").await;
        agent
    }

    fn request(&self, line: &str, lines: &str) -> String {
        let branch = rand::random::<u64>();
        format!(
            "{line} SIP/2.0\r\nVia: SIP/2.0/{} x.invalid;branch=z9hG4bK{branch:016x};rport\r\nMax-Forwards: 70\r\n{lines}Content-Length: 0\r\n\r\n",
            self.via
        )
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.client.send(text.as_bytes()).unwrap();
    }

    /// The next message that begins so.
    pub(crate) async fn hears(&mut self, beginning: &str) -> String {
        let hear = async {
            loop {
                let heard = match self.client.next().await.expect("the connection stands") {
                    Incoming::Request(bytes) => bytes,
                    Incoming::Response(response) => response.bytes,
                };
                let text = String::from_utf8(heard.into_vec()).unwrap();
                if text.starts_with(beginning) {
                    return text;
                }
            }
        };
        timeout(PATIENCE, hear).await.unwrap_or_else(|_| panic!("{} waits for {beginning}", self.user))
    }

    /// Calls somebody; what was sent.
    fn invite(&mut self, to: &str, call_id: &str) -> String {
        let lines = format!(
            "From: \"The {0}\" <sip:{0}@localhost>;tag=from-{0}\r\nTo: <sip:{to}@localhost>\r\nCall-ID: {call_id}\r\nCSeq: 10 INVITE\r\n\
             Contact: <{1}>\r\nUser-Agent: paper\r\n",
            self.user, self.contact
        );
        let invite = self.request(&format!("INVITE sip:{to}@localhost"), &lines);
        self.send(&invite);
        invite
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, request: &str, status: &str) {
        let message = Message::parse(request.as_bytes()).unwrap();
        let mut text = format!("SIP/2.0 {status}\r\n");
        for (name, id) in [("Via", HeaderId::Via), ("Record-Route", HeaderId::RecordRoute)] {
            for value in message.values(id) {
                text.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.bytes)));
            }
        }
        for (name, id) in [("From", HeaderId::From), ("Call-ID", HeaderId::CallId), ("CSeq", HeaderId::CSeq)]
        {
            text.push_str(&format!("{name}: {}\r\n", line(&message, id)));
        }
        let tag = if message.to().unwrap().tag().is_some() {
            String::new()
        } else {
            format!(";tag=to-{}", self.instance)
        };
        text.push_str(&format!(
            "To: {}{tag}\r\nContact: <{}>\r\nContent-Length: 0\r\n\r\n",
            line(&message, HeaderId::To),
            self.contact
        ));
        self.send(&text);
    }
}

fn line(message: &Message<'_>, id: HeaderId) -> String {
    String::from_utf8(message.value(id).unwrap().to_vec()).unwrap()
}

/// One side of a dialog: what its requests are made of.
pub(crate) struct Side {
    lines: String,
    remote: String,
    cseq: u32,
}

impl Side {
    fn caller(answer: &str) -> Self {
        let message = Message::parse(answer.as_bytes()).unwrap();
        let mut routes: Vec<_> =
            message.values(HeaderId::RecordRoute).map(|value| value.bytes.to_vec()).collect();
        routes.reverse();
        let names = (line(&message, HeaderId::From), line(&message, HeaderId::To));
        Self::new(&message, &routes, names, 10)
    }

    fn callee(invite: &str, instance: &str) -> Self {
        let message = Message::parse(invite.as_bytes()).unwrap();
        let routes: Vec<_> =
            message.values(HeaderId::RecordRoute).map(|value| value.bytes.to_vec()).collect();
        let own = format!("{};tag=to-{instance}", line(&message, HeaderId::To));
        Self::new(&message, &routes, (own, line(&message, HeaderId::From)), 100)
    }

    fn new(message: &Message<'_>, routes: &[Vec<u8>], (from, to): (String, String), cseq: u32) -> Self {
        let routes: String =
            routes.iter().map(|route| format!("Route: {}\r\n", String::from_utf8_lossy(route))).collect();
        let contact = line(message, HeaderId::Contact);
        let remote = contact.trim_start_matches('<').split('>').next().unwrap().to_owned();
        let lines =
            format!("{routes}From: {from}\r\nTo: {to}\r\nCall-ID: {}\r\n", line(message, HeaderId::CallId));
        Self { lines, remote, cseq }
    }

    pub(crate) fn request(&mut self, by: &Agent, method: &str) -> String {
        self.cseq += u32::from(method != "ACK");
        let lines = format!("{}CSeq: {} {method}\r\n", self.lines, self.cseq);
        by.request(&format!("{method} {}", self.remote), &lines)
    }
}

/// The callee answers, and both are in the call.
pub(crate) async fn up(caller: &mut Agent, callee: &mut Agent, call_id: &str) -> (Side, Side) {
    caller.invite(&callee.user, call_id);
    let invite = callee.hears("INVITE").await;
    callee.answer(&invite, "180 Ringing");
    callee.answer(&invite, "200 OK");
    let answer = caller.hears("SIP/2.0 200").await;
    let (mut one, other) = (Side::caller(&answer), Side::callee(&invite, &callee.instance));
    let ack = one.request(caller, "ACK");
    caller.send(&ack);
    callee.hears("ACK").await;
    (one, other)
}

fn words(event: &Value) -> (&str, &str) {
    (event["cause"].as_str().unwrap(), event["by"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_of_a_call_is_recorded_once_with_its_cause() {
    let directory = Directory::new("calls");
    let mut server = serve(&directory, "30s").await;
    let ledger = directory.path().join("ledger");
    let mut ada = Agent::register(&server, Transport::Ws, "ada", "a1").await;
    let mut bob = Agent::register(&server, Transport::Udp, "bob", "b1").await;

    let (mut one, _) = up(&mut ada, &mut bob, "caller-hangs-up").await;
    let bye = one.request(&ada, "BYE");
    ada.send(&bye);
    let bye = bob.hears("BYE").await;
    bob.answer(&bye, "200 OK");
    ada.hears("SIP/2.0 200").await;

    let (_, mut other) = up(&mut ada, &mut bob, "callee-hangs-up").await;
    let bye = other.request(&bob, "BYE");
    bob.send(&bye);
    let bye = ada.hears("BYE").await;
    ada.answer(&bye, "200 OK");
    bob.hears("SIP/2.0 200").await;

    bob.invite("ada", "refused");
    let invite = ada.hears("INVITE").await;
    ada.answer(&invite, "486 Busy Here");
    bob.hears("SIP/2.0 486").await;

    let invite = ada.invite("bob", "given-up");
    let got = bob.hears("INVITE").await;
    bob.answer(&got, "180 Ringing");
    ada.hears("SIP/2.0 180").await;
    ada.send(&invite.replace("INVITE", "CANCEL"));
    let cancel = bob.hears("CANCEL").await;
    bob.answer(&cancel, "200 OK");
    bob.answer(&got, "487 Request Terminated");
    ada.hears("SIP/2.0 487").await;

    // Two devices ring, one answers: one call.
    let mut desk = Agent::register(&server, Transport::Ws, "bob", "b2").await;
    ada.invite("bob", "forked");
    let (rang, took) = (bob.hears("INVITE").await, desk.hears("INVITE").await);
    bob.answer(&rang, "180 Ringing");
    ada.hears("SIP/2.0 180").await;
    desk.answer(&took, "200 OK");
    let answer = ada.hears("SIP/2.0 200").await;
    let cancel = bob.hears("CANCEL").await;
    bob.answer(&cancel, "200 OK");
    bob.answer(&rang, "487 Request Terminated");
    // It closes right behind its BYE.
    let bye = Side::caller(&answer).request(&ada, "BYE");
    ada.send(&bye);
    drop(ada);
    let bye = desk.hears("BYE").await;
    desk.answer(&bye, "200 OK");

    let told = events(&ledger, &CALL_EVENTS, 5).await;
    let of = |call: &str| -> Vec<_> {
        told.iter()
            .filter(|(_, data)| data["call_id"] == call)
            .map(|(kind, data)| (kind.as_str(), data))
            .collect()
    };
    let kinds = |call| of(call).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    let end = |call: &str| of(call).last().unwrap().1.clone();
    for (call, cause, by) in [
        ("caller-hangs-up", "hangup", "caller"),
        ("callee-hangs-up", "hangup", "callee"),
        ("forked", "hangup", "caller"),
    ] {
        assert_eq!(kinds(call), ["call.started", "call.answered", "call.ended"], "{call}");
        assert_eq!(words(&end(call)), (cause, by), "{call}");
    }
    for (call, cause, by, status) in
        [("refused", "rejected", "callee", 486), ("given-up", "cancelled", "caller", 487)]
    {
        assert_eq!(kinds(call), ["call.started", "call.ended"], "{call}");
        assert_eq!((words(&end(call)), end(call)["status"].as_u64()), ((cause, by), Some(status)), "{call}");
    }
    let ended = end("caller-hangs-up");
    assert_eq!(
        (&ended["caller"]["aor"], &ended["caller"]["display"]),
        (&"ada@localhost".into(), &"The ada".into())
    );
    assert_eq!(
        (&ended["callee"]["aor"], &ended["callee"]["transport"]),
        (&"bob@localhost".into(), &"udp".into())
    );
    assert_eq!(
        (&ended["caller"]["transport"], &ended["caller"]["user_agent"]),
        (&"ws".into(), &"paper".into())
    );
    assert!(ended["ringing_at"].is_string() && ended["answered_at"].is_string() && ended["talk_ms"].is_u64());
    assert_eq!(end("forked")["callee"]["transport"], "ws");
    assert!(server.terminate().await.success());
    let told = events(&ledger, &CALL_EVENTS, 5).await;
    assert_eq!(told.iter().filter(|(kind, _)| kind == "call.ended").count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_within_the_hold_has_the_call_on_the_new_flow() {
    let directory = Directory::new("calls-back");
    let mut server = serve(&directory, "2m").await;
    let ledger = directory.path().join("ledger");
    let mut ada = Agent::register(&server, Transport::Ws, "ada", "a1").await;
    let mut bob = Agent::register(&server, Transport::Ws, "bob", "b1").await;
    let (mut one, mut other) = up(&mut ada, &mut bob, "moves").await;
    drop(bob);
    // It is gone when its flow's close says whom that hurt.
    let closed = events(&ledger, &["flow.closed"], 1).await;
    assert_eq!((&closed[0].1["calls"][0], &closed[0].1["calls_total"]), (&"moves".into(), &1.into()));
    // Meanwhile nothing is lost by asking.
    let update = one.request(&ada, "UPDATE");
    ada.send(&update);
    ada.hears("SIP/2.0 491").await;
    // Another device of his does not get it.
    let mut another = Agent::register(&server, Transport::Ws, "bob", "b2").await;
    let info = other.request(&another, "INFO");
    another.send(&info);
    another.hears("SIP/2.0 403").await;

    let mut bob = Agent::register(&server, Transport::Ws, "bob", "b1").await;
    let info = one.request(&ada, "INFO");
    ada.send(&info);
    let info = bob.hears("INFO").await;
    bob.answer(&info, "200 OK");
    ada.hears("SIP/2.0 200").await;
    let info = other.request(&bob, "INFO");
    bob.send(&info);
    let info = ada.hears("INFO").await;
    ada.answer(&info, "200 OK");
    bob.hears("SIP/2.0 200").await;
    // Then the caller's: the newer connection registers before the older one ends.
    let mut ada_again = Agent::register(&server, Transport::Ws, "ada", "a1").await;
    drop(ada);
    let bye = other.request(&bob, "BYE");
    bob.send(&bye);
    let bye = ada_again.hears("BYE").await;
    ada_again.answer(&bye, "200 OK");
    bob.hears("SIP/2.0 200").await;
    let told = events(&ledger, &CALL_EVENTS, 1).await;
    let (_, ended) = told.last().unwrap();
    assert_eq!((words(ended), &ended["moves"]), (("hangup", "callee"), &2.into()));
    assert!(server.terminate().await.success());
}

/// Milliseconds from the answer of a call to its end.
fn milliseconds_up(ended: &Value) -> u64 {
    let at = |name: &str| ended[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    u64::try_from(at("ended_at") - at("answered_at")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_come_back_is_told_of_by_a_bye_in_its_name() {
    let directory = Directory::new("calls-lost");
    let mut server = serve(&directory, "1s").await;
    let ledger = directory.path().join("ledger");
    for (number, transport) in [Transport::Ws, Transport::Udp].into_iter().enumerate() {
        let mut ada = Agent::register(&server, transport, "ada", "a1").await;
        let mut bob = Agent::register(&server, Transport::Ws, "bob", "b1").await;
        let (_, mut other) = up(&mut ada, &mut bob, &format!("lost-{number}")).await;
        let info = other.request(&bob, "INFO");
        bob.send(&info);
        let info = ada.hears("INFO").await;
        ada.answer(&info, "200 OK");
        drop(bob);
        let bye = ada.hears("BYE").await;
        let message = Message::parse(bye.as_bytes()).unwrap();
        let tag =
            |address: sip_message::NameAddr<'_>| String::from_utf8(address.tag().unwrap().to_vec()).unwrap();
        assert_eq!(tag(message.from().unwrap()), "to-b1", "{bye}");
        assert_eq!(tag(message.to().unwrap()), "from-ada", "{bye}");
        assert_eq!(message.cseq().unwrap().number, 102, "{bye}");
        assert!(line(&message, HeaderId::Reason).contains("lost its connection"), "{bye}");
        ada.answer(&bye, "200 OK");
        let told = events(&ledger, &CALL_EVENTS, number + 1).await;
        let ended = &told.last().unwrap().1;
        assert_eq!(words(ended), ("flow_lost", "callee"));
        // The hold is no talk.
        assert!(ended["lost_at"].as_str().unwrap() < ended["ended_at"].as_str().unwrap(), "{ended}");
        assert!(ended["talk_ms"].as_u64().unwrap() + 900 < milliseconds_up(ended), "{ended}");
        // He comes too late.
        let mut bob = Agent::register(&server, Transport::Ws, "bob", "b1").await;
        let info = other.request(&bob, "INFO");
        bob.send(&info);
        bob.hears("SIP/2.0 481").await;
    }
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bye_towards_one_who_is_away_is_answered_at_once_and_waits_for_him() {
    let directory = Directory::new("calls-away");
    let mut server = serve(&directory, "2m").await;
    let ledger = directory.path().join("ledger");
    let mut ada = Agent::register(&server, Transport::Ws, "ada", "a1").await;
    let mut bob = Agent::register(&server, Transport::Ws, "bob", "b1").await;
    let (mut one, _) = up(&mut ada, &mut bob, "away").await;
    drop(bob);
    events(&ledger, &["flow.closed"], 1).await;
    let bye = one.request(&ada, "BYE");
    ada.send(&bye);
    ada.hears("SIP/2.0 200").await;
    let told = events(&ledger, &CALL_EVENTS, 1).await;
    assert_eq!(words(&told.last().unwrap().1), ("hangup", "caller"));
    let mut bob = Agent::register(&server, Transport::Ws, "bob", "b1").await;
    let bye = bob.hears("BYE").await;
    bob.answer(&bye, "200 OK");
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_a_crash_or_the_end_of_the_server_cuts_are_ended_once() {
    let directory = Directory::new("calls-crash");
    let mut server = serve(&directory, "30s").await;
    let ledger = directory.path().join("ledger");
    let mut ada = Agent::register(&server, Transport::Ws, "ada", "a1").await;
    let mut bob = Agent::register(&server, Transport::Udp, "bob", "b1").await;
    up(&mut ada, &mut bob, "crashed").await;
    ada.invite("bob", "rang");
    bob.hears("INVITE").await;
    events(&ledger, &["call.started"], 2).await;
    server.kill().await;
    let mut server = serve(&directory, "30s").await;
    let told = events(&ledger, &CALL_EVENTS, 2).await;
    let ends: Vec<_> = told.iter().filter(|(kind, _)| kind == "call.ended").map(|(_, data)| data).collect();
    assert_eq!(ends.len(), 2);
    for end in ends {
        assert_eq!((words(end), &end["certainty"]), (("node_crash", "node"), &"journal_replay".into()));
        assert!(end["ended_at_earliest"].is_string());
    }
    let mut ada = Agent::register(&server, Transport::Ws, "ada", "a1").await;
    let mut bob = Agent::register(&server, Transport::Udp, "bob", "b1").await;
    up(&mut ada, &mut bob, "shut-down").await;
    assert!(server.terminate().await.success());
    let told = events(&ledger, &CALL_EVENTS, 3).await;
    assert_eq!(words(&told.last().unwrap().1), ("shutdown", "server"));
    let feed = Feed::default();
    ledger_lines(&ledger).await.iter().for_each(|event| feed.line(&event.to_string()));
    assert_eq!(feed.look(|log| (log.faults.count(), log.open_count())), (0, 0));
}
