//! A PBX behind the server, to which a domain's requests go.

use std::sync::Arc;

use lifecycle::{EventKind, Transport};
use prove::{Answering, Client, Incoming, Setup};
use sip_message::{HeaderId, Message, response::ResponseBuilder};

use crate::{
    kamailio::{DOMAIN, Kamailio},
    test_server::{PATIENCE, TestServer},
};

pub(crate) fn behind(name: &str, targets: &str, domain: &str) -> TestServer {
    TestServer::new(
        name,
        &format!(
            "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"pbx\"\ntargets = [{targets}]\nprobe = \"1s\"\n\
             [[domain]]\nname = \"{DOMAIN}\"\nbackend = \"pbx\"\n{domain}"
        ),
    )
}

pub(crate) async fn client(sipway: &TestServer, transport: Transport, user: &str) -> Client {
    let setup = Setup { patience: PATIENCE, ..Setup::new(user) };
    let mut target = sipway.target(transport);
    target.domain = Arc::from(DOMAIN);
    Client::connect(&target, &setup).await.unwrap()
}

pub(crate) async fn registered(sipway: &TestServer, transport: Transport, user: &str) -> Client {
    let mut client = client(sipway, transport, user).await;
    let answer = client.register(300).await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.bytes));
    client
}

pub(crate) fn of(user: &str) -> String {
    format!("sip:{user}@{DOMAIN}")
}

/// After so long a 200 that nobody acknowledged is said again (RFC 3261 §13.3.1.4).
const T1: std::time::Duration = std::time::Duration::from_millis(500);

/// The next message that satisfies this.
pub(crate) async fn next(
    client: &mut Client,
    what: &str,
    mut so: impl FnMut(&Message<'_>) -> bool,
) -> Incoming {
    let found = async {
        loop {
            let incoming = client.next().await.unwrap();
            if so(&incoming.message()) {
                return incoming;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {what} came"))
}

pub(crate) fn is(method: &'static str) -> impl Fn(&Message<'_>) -> bool {
    move |message| message.method().is_some_and(|is| is.as_bytes() == method.as_bytes())
}

/// A request within a dialog, from what one side has seen of it: its Record-Routes and the other side's
/// Contact.
pub(crate) fn within(
    method: &str,
    seen: &Message<'_>,
    (from, to): (&[u8], &[u8]),
    routes: Vec<&[u8]>,
    cseq: u32,
) -> Vec<u8> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let contact = text(seen.value(HeaderId::Contact).unwrap());
    let remote = contact.trim_start_matches('<').split('>').next().unwrap().to_owned();
    let routes: String = routes.iter().map(|route| format!("Route: {}\r\n", text(route))).collect();
    format!(
        "{method} {remote} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{};rport\r\nMax-Forwards: 70\r\n{routes}\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n",
        rand::random::<u64>(),
        text(from),
        text(to),
        text(seen.call_id().unwrap())
    )
    .into_bytes()
}

/// One side calls, the other answers, and the answering side hangs up: every request along the routes that
/// were recorded.
pub(crate) async fn call(caller: (&mut Client, &str), callee: (&mut Client, &str)) {
    // Twice through here, and once through the PBX.
    call_along(5, caller, callee).await;
}

/// The same along at least so many recorded routes: two for each time through here, one for each through the
/// PBX.
pub(crate) async fn call_along(routes: usize, caller: (&mut Client, &str), callee: (&mut Client, &str)) {
    let ((caller, from), (callee, to)) = (caller, callee);
    callee.set_answering(Answering::KeepsSilent);
    // A phone may be no user of ours, so that nobody but its own server knows the way to it.
    let host = |client: &Client, name: &str| match client.target().transport {
        Transport::Udp => client.local().to_string(),
        _ => format!("{name}.invalid"),
    };
    let (at_caller, at_callee) = (host(caller, "caller"), host(callee, "callee"));
    let invite = format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{n};rport\r\nMax-Forwards: 70\r\nFrom: <{me}>;tag=a\r\n\
         To: <{uri}>\r\nCall-ID: {n}\r\nCSeq: 1 INVITE\r\nContact: <sip:{from}@{at_caller}>\r\nContent-Length: 0\r\n\r\n",
        uri = of(to),
        me = of(from),
        n = rand::random::<u64>()
    );
    caller.send(invite.as_bytes()).unwrap();
    let asked = next(callee, "INVITE", is("INVITE")).await;
    let asked = asked.message();
    assert!(asked.record_routes().count() >= routes, "{:?}", asked.record_routes().count());
    let mut answer = Vec::new();
    let contact = format!("<sip:{to}@{at_callee}>");
    let ok = ResponseBuilder::new(&asked, 200, "OK").to_tag(b"b").header(b"Contact", contact.as_bytes());
    ok.write(&mut answer).unwrap();
    callee.send(&answer).unwrap();
    let answered = next(caller, "200", |message| message.status() == Some(200)).await;
    let answered = answered.message();
    let value = |message: &Message<'_>, id| message.value(id).unwrap().to_vec();
    let (a, b) = (value(&answered, HeaderId::From), value(&answered, HeaderId::To));
    let mut routes: Vec<&[u8]> = answered.record_routes().map(|(value, _)| value.bytes).collect();
    routes.reverse();
    // An ACK that is lost on the way is said again, as it is for every repeat of the 200 (RFC 3261
    // §13.2.2.4).
    let acknowledged = async {
        loop {
            caller.send(&within("ACK", &answered, (&a, &b), routes.clone(), 1)).unwrap();
            let came = next(callee, "ACK", is("ACK"));
            if tokio::time::timeout(T1, came).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, acknowledged).await.expect("no ACK came");
    let routes = asked.record_routes().map(|(value, _)| value.bytes).collect();
    callee.set_answering(Answering::Answers);
    callee.send(&within("BYE", &asked, (&b, &a), routes, 1)).unwrap();
    next(caller, "BYE", is("BYE")).await;
    next(callee, "answer to the BYE", |message| message.status() == Some(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_and_a_phone_call_each_other_through_the_registrar_behind() {
    let pbx = Kamailio::run("calls").await;
    let sipway = behind("backend-calls", &format!("\"sip:{}\"", pbx.address), "");
    let mut ada = registered(&sipway, Transport::Ws, "ada").await;
    let mut bob = registered(&sipway, Transport::Udp, "bob").await;
    let mut cleo = registered(&sipway, Transport::Tcp, "cleo").await;
    for user in ["ada", "bob", "cleo"] {
        assert!(!pbx.contacts(user).await.is_empty(), "the registrar has {user}");
    }
    call((&mut ada, "ada"), (&mut bob, "bob")).await;
    call((&mut bob, "bob"), (&mut ada, "ada")).await;
    call((&mut ada, "ada"), (&mut cleo, "cleo")).await;
    // What the PBX says of someone who is not there comes through.
    let answer = ada.message(&of("nobody"), b"hello").await.unwrap();
    assert!(String::from_utf8_lossy(&answer.bytes).starts_with("SIP/2.0 404 Not Found Here"));
    sipway.end().await;
}

/// Both the connection that we make to it and the one that it makes to us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registrar_behind_over_tcp() {
    let pbx = Kamailio::run_with_tcp("tcp").await;
    let sipway = behind("backend-tcp", &format!("\"sip:{};transport=tcp\"", pbx.address), "");
    let mut ada = registered(&sipway, Transport::Ws, "ada").await;
    let mut bob = registered(&sipway, Transport::Udp, "bob").await;
    assert!(pbx.contacts("ada").await.contains(".invalid"));
    call((&mut ada, "ada"), (&mut bob, "bob")).await;
    call((&mut bob, "bob"), (&mut ada, "ada")).await;
    let answer = ada.message(&of("nobody"), b"hello").await.unwrap();
    assert!(String::from_utf8_lossy(&answer.bytes).starts_with("SIP/2.0 404 Not Found Here"));
    drop(ada);
    pbx.until_contacts("ada", "unregistered", str::is_empty).await;
    let connections = |direction| {
        let text = format!("\"direction\":\"{direction}\"");
        let tcp = |(kind, event): &(EventKind, String)| {
            *kind == EventKind::FlowOpened && event.contains(&text) && event.contains("\"transport\":\"tcp\"")
        };
        sipway.events().iter().filter(|event| tcp(event)).count()
    };
    assert_eq!((connections("connected"), connections("accepted")), (1, 1));
    sipway.end().await;
}

/// A registrar that calls along no Path learns Contacts of ours; with `auto` it may know Path or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registrar_behind_that_need_not_know_path() {
    for (register, knows_path) in [("contact-rewrite", false), ("auto", false), ("auto", true)] {
        let name = format!("{register}-{knows_path}");
        let pbx =
            if knows_path { Kamailio::run(&name).await } else { Kamailio::run_without_path(&name).await };
        let more = format!("register = \"{register}\"\n");
        let sipway = behind(&format!("backend-{name}"), &format!("\"sip:{}\"", pbx.address), &more);
        let mut ada = client(&sipway, Transport::Ws, "ada").await;
        let answer = ada.register(300).await.unwrap();
        let answer = String::from_utf8_lossy(&answer.bytes);
        assert!(answer.starts_with("SIP/2.0 200 ") && answer.contains(".invalid;transport=ws>"), "{answer}");
        let mut bob = registered(&sipway, Transport::Udp, "bob").await;
        let contacts = pbx.contacts("ada").await;
        let udp = sipway.target(Transport::Udp).address;
        assert!(
            contacts.contains(&format!("@{udp};transport=udp>")) && !contacts.contains(".invalid"),
            "{contacts}"
        );
        call((&mut ada, "ada"), (&mut bob, "bob")).await;
        call((&mut bob, "bob"), (&mut ada, "ada")).await;
        // Registered again, it is the same binding.
        assert_eq!(ada.register(300).await.unwrap().status, 200);
        assert_eq!(pbx.contacts("ada").await.matches("<sip:").count(), 1);
        bob.start_message(&of("ada"), b"hello").unwrap();
        let came = next(&mut ada, "MESSAGE", is("MESSAGE")).await;
        assert!(came.bytes().windows(8).any(|part| part == b".invalid"), "in the name it gave itself");
        drop(ada);
        pbx.until_contacts("ada", "unregistered", str::is_empty).await;
        // An unauthenticated client makes nothing of such a Contact.
        let contact = contacts.split(['<', '>']).nth(1).unwrap();
        let mut unauthenticated = client(&sipway, Transport::Ws, "mallory").await;
        assert_eq!(unauthenticated.message(contact, b"hello").await.unwrap().status, 403);
        sipway.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_tab_is_gone_from_the_registrar_behind() {
    let pbx = Kamailio::run("close").await;
    let sipway = behind("backend-close", &format!("\"sip:{}\"", pbx.address), "");
    let ada = registered(&sipway, Transport::Ws, "ada").await;
    let mut bob = registered(&sipway, Transport::Ws, "bob").await;
    assert!(!pbx.contacts("ada").await.is_empty());
    drop(ada);
    pbx.until_contacts("ada", "unregistered", str::is_empty).await;
    assert_eq!(bob.message(&of("ada"), b"hello").await.unwrap().status, 404);
    assert!(!pbx.contacts("bob").await.is_empty(), "nobody else's");
    // Who unregisters is gone at once on both sides.
    assert_eq!(bob.register(0).await.unwrap().status, 200);
    assert_eq!(pbx.contacts("bob").await, "");
    assert_eq!(sipway.handle.bindings().0, 0);
    // Told when it is done, and durable with the next block.
    let recorded = |_: &edge::Handle| {
        let kinds: Vec<EventKind> = sipway.events().into_iter().map(|(kind, _)| kind).collect();
        let count = |kind| kinds.iter().filter(|is| **is == kind).count();
        (count(EventKind::BindingAdded), count(EventKind::BindingRemoved)) == (2, 2)
    };
    sipway.until("recorded", recorded).await;
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthenticated_clients_reach_nobody_behind() {
    let pbx = Kamailio::run("strangers").await;
    let sipway = behind("backend-strangers", &format!("\"sip:{}\"", pbx.address), "");
    let _ada = registered(&sipway, Transport::Ws, "ada").await;
    for transport in [Transport::Ws, Transport::Udp, Transport::Tcp] {
        // Neither by a name of their own nor by one that is registered elsewhere.
        for name in ["mallory", "ada"] {
            let mut unauthenticated = client(&sipway, transport, name).await;
            assert_eq!(
                unauthenticated.message(&of("ada"), b"hello").await.unwrap().status,
                403,
                "{transport:?}"
            );
            let beyond = format!("sip:ada@{}", pbx.address);
            assert_eq!(unauthenticated.message(&beyond, b"hello").await.unwrap().status, 403);
        }
    }
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_passed_over() {
    let pbx = Kamailio::run("failover").await;
    // Nobody listens there: datagrams to it are lost.
    let nobody = std::net::UdpSocket::bind("127.0.0.3:0").unwrap();
    let targets = format!("\"sip:{}\", \"sip:{}\"", nobody.local_addr().unwrap(), pbx.address);
    let sipway = behind("backend-failover", &targets, "");
    sipway.until("found out", |handle| handle.upstreams()[0].health == edge::Health::Down).await;
    let mut ada = registered(&sipway, Transport::Ws, "ada").await;
    let mut bob = registered(&sipway, Transport::Ws, "bob").await;
    call((&mut ada, "ada"), (&mut bob, "bob")).await;
    let views = sipway.handle.upstreams();
    assert_eq!((views[1].target, views[1].health), (pbx.address, edge::Health::Up));
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_registered_here_are_reached_here_and_all_others_behind() {
    let pbx = Kamailio::run("local").await;
    let more = "register = \"local\"\nauth = \"open\"\noutside = \"everybody\"\n";
    let sipway = behind("backend-local", &format!("\"sip:{}\"", pbx.address), more);
    let mut ada = registered(&sipway, Transport::Ws, "ada").await;
    let _bob = registered(&sipway, Transport::Ws, "bob").await;
    assert_eq!(pbx.contacts("ada").await, "", "the PBX knows nothing of it");
    let answer = ada.message(&of("nobody"), b"hello").await.unwrap();
    assert!(String::from_utf8_lossy(&answer.bytes).starts_with("SIP/2.0 404 Not Found Here"));
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_lasts_as_long_as_the_registrar_behind_says() {
    let pbx = Kamailio::run_with_long_registrations("long").await;
    let sipway = behind("backend-long", &format!("\"sip:{}\"", pbx.address), "");
    let mut ada = client(&sipway, Transport::Ws, "ada").await;
    let answer = ada.register(30).await.unwrap();
    assert!(String::from_utf8_lossy(&answer.bytes).contains("expires=300"), "it got more than it asked for");
    sipway.until("added", |handle| handle.bindings().0 == 1).await;
    sipway
        .until("written", |_| sipway.events().iter().any(|(kind, _)| *kind == EventKind::BindingAdded))
        .await;
    let added = sipway.events().into_iter().find(|(kind, _)| *kind == EventKind::BindingAdded).unwrap().1;
    let added: serde_json::Value = serde_json::from_str(&added).unwrap();
    // Of the day.
    let seconds = |time: &serde_json::Value| {
        let clock = &time.as_str().unwrap()[11..19];
        clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i32>().unwrap())
    };
    let lasts = (seconds(&added["data"]["expires_at"]) - seconds(&added["time"])).rem_euclid(24 * 3600);
    assert!((299..=300).contains(&lasts), "{added}");
    sipway.end().await;
}
