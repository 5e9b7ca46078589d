//! What a server behind this one is told of who calls, what users are told by it, and who gets there at all.

use std::net::SocketAddr;

use lifecycle::Transport;
use metrics::Count;
use prove::{Answering, Client};
use sip_message::{HeaderId, Message, Method, response::ResponseBuilder};
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    test_server::{PATIENCE, TestServer},
    who::{ask, client, credentials, request},
};

/// Answers everything 200, and asserts who it is.
pub(crate) struct Pbx(UdpSocket);

impl Pbx {
    pub(crate) async fn new() -> Self {
        Self(UdpSocket::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next request, answered.
    pub(crate) async fn next(&self) -> String {
        let mut buffer = vec![0; 65_536];
        let (length, from) =
            timeout(PATIENCE, self.0.recv_from(&mut buffer)).await.expect("a request").unwrap();
        let message = Message::parse(&buffer[..length]).unwrap();
        let mut answer = Vec::new();
        let builder = ResponseBuilder::new(&message, 200, "OK").to_tag(b"pbx");
        let builder = builder.header(b"P-Asserted-Identity", b"\"PBX\" <sip:100@pbx.example>");
        let registered =
            message.value(HeaderId::Contact).filter(|_| message.method() == Some(Method::Register));
        let builder = match registered {
            Some(contact) => builder.header(b"Contact", contact),
            None => builder,
        };
        builder.header(b"Remote-Party-ID", b"<sip:100@pbx.example>").write(&mut answer).unwrap();
        self.0.send_to(&answer, from).await.unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// The next message that begins so; nothing is answered.
    async fn hears(&self, beginning: &str) -> String {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = timeout(PATIENCE, self.0.recv(&mut buffer)).await.expect("a message").unwrap();
            if buffer[..length].starts_with(beginning.as_bytes()) {
                return String::from_utf8_lossy(&buffer[..length]).into_owned();
            }
        }
    }

    /// Sends a request to a listener; what is answered.
    pub(crate) async fn ask(&self, to: SocketAddr, request: &str) -> String {
        let request = request.replace("SIP/2.0/WS x.invalid", &format!("SIP/2.0/UDP {}", self.address()));
        self.0.send_to(request.as_bytes(), to).await.unwrap();
        let mut buffer = vec![0; 65_536];
        loop {
            let length = timeout(PATIENCE, self.0.recv(&mut buffer)).await.expect("an answer").unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with("SIP/2.0 ") && !text.starts_with("SIP/2.0 1") {
                return text;
            }
        }
    }
}

/// A server with a PBX behind it, for users who register here. Two UDP listeners: the PBX is spoken to by the
/// first.
pub(crate) fn sipway(name: &str, pbx: &Pbx, domains: &str) -> TestServer {
    let config = format!(
        "[[listener]]\nname = \"inside\"\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"outside\"\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"pbx\"\ntargets = [\"sip:{}\"]\nlistener = \"inside\"\nprobe = \"off\"\n{domains}",
        pbx.address()
    );
    let files = [("users.txt", "alice:wonder\nbob:builder\n"), ("others.txt", "carol:singer\n")];
    TestServer::with_files(name, &config, &files)
}

pub(crate) const USERS: &str = "[[domain]]\nname = \"example.com\"\nusers = \"{here}/users.txt\"\nbackend = \"pbx\"\nregister = \"local\"\n";

const ALICE: &str = "<sip:alice@example.com>";

pub(crate) async fn alice(sipway: &TestServer) -> Client {
    let mut alice = client(sipway, Transport::Ws, "alice", "example.com", Some("wonder")).await;
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    alice
}

/// The lines of a message with these names.
fn lines<'t>(text: &'t str, names: &[&str]) -> Vec<&'t str> {
    text.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).collect()
}

const IDENTITIES: &[&str] = &["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behind_is_told_who_calls_and_users_cannot_say_it_themselves() {
    let pbx = Pbx::new().await;
    let sipway = sipway("told-identity", &pbx, USERS);
    let mut alice = alice(&sipway).await;
    let claims = "P-Asserted-Identity: <sip:boss@example.com>, <tel:+15551>\r\nRemote-Party-ID: <sip:boss@example.com>\r\n\
                  remote-party-id: <sip:boss@example.com>\r\n";
    let own = "P-Preferred-Identity: <sip:alice@example.com>\r\nPrivacy: id\r\n";
    let nobody = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
    for (from, more) in [(ALICE, claims.to_owned()), (nobody, format!("{claims}{own}"))] {
        for method in ["INVITE", "MESSAGE"] {
            let asked = request(method, "sip:100@example.com", from, "<sip:100@example.com>", &more);
            let (answer, seen) = tokio::join!(ask(&mut alice, &asked), pbx.next());
            assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
            assert_eq!(lines(&answer, IDENTITIES), Vec::<&str>::new(), "who is behind is not told: {answer}");
            assert_eq!(lines(&seen, IDENTITIES), ["P-Asserted-Identity: <sip:alice@example.com>"], "{seen}");
            assert_eq!(
                seen.contains("Privacy: id"),
                more.contains("Privacy"),
                "the PBX is to keep it to itself"
            );
            assert!(seen.contains(&format!("From: {from}")), "{seen}");
        }
    }
    // In another's name nobody gets through, whatever he prefers.
    let more = "P-Preferred-Identity: <sip:bob@example.com>\r\n";
    let asked = request("INVITE", "sip:100@example.com", nobody, "<sip:100@example.com>", more);
    let answer = ask(&mut alice, &asked).await;
    assert!(answer.starts_with("SIP/2.0 407 "), "{answer}");
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_behind_asserts_stays_between_servers() {
    let pbx = Pbx::new().await;
    let sipway = sipway("told-inside", &pbx, USERS);
    let mut alice = alice(&sipway).await;
    let more = "P-Asserted-Identity: <sip:chef@pbx.example>\r\nPrivacy: id\r\nRemote-Party-ID: <sip:chef@pbx.example>\r\n";
    let to_alice =
        || request("MESSAGE", "sip:alice@example.com", "<sip:anonymous@anonymous.invalid>", ALICE, more);
    let asked = to_alice();
    let listener =
        |name: &str| sipway.handle.listeners().iter().find(|bound| bound.name == name).unwrap().local;
    let (answer, came) = tokio::join!(pbx.ask(listener("inside"), &asked), alice.next());
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let seen = String::from_utf8_lossy(came.unwrap().bytes()).into_owned();
    assert_eq!(lines(&seen, IDENTITIES), Vec::<&str>::new(), "{seen}");
    // Its address proves something only where it is spoken to: on another listener anybody could write it.
    // Another request: a repeat of the one before would be answered as that was.
    let answer = pbx.ask(listener("outside"), &to_alice()).await;
    assert!(answer.starts_with("SIP/2.0 403 "), "{answer}");
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_is_for_those_who_may() {
    let pbx = Pbx::new().await;
    let domains = "[[domain]]\nname = \"example.com\"\nusers = \"{here}/users.txt\"\nbackend = \"pbx\"\nregister = \"local\"\n\
         outside = [\"alice\"]\n\
         [[domain]]\nname = \"example.org\"\nusers = \"{here}/others.txt\"\n\
         [[domain]]\nname = \"lobby.example\"\nauth = \"open\"\nbackend = \"pbx\"\nregister = \"local\"\n";
    let sipway = sipway("told-outside", &pbx, domains);
    let mut alice = alice(&sipway).await;
    let number = "sip:+15551234@example.com";
    let asked = request("INVITE", number, ALICE, &format!("<{number}>"), "");
    let (answer, seen) = tokio::join!(ask(&mut alice, &asked), pbx.next());
    assert!(answer.starts_with("SIP/2.0 200 ") && seen.starts_with("INVITE sip:+15551234@"), "{answer}");

    let mut bob = client(&sipway, Transport::Ws, "bob", "example.com", Some("builder")).await;
    let mut carol = client(&sipway, Transport::Ws, "carol", "example.org", Some("singer")).await;
    let mut admission = client(&sipway, Transport::Ws, "guest", "lobby.example", None).await;
    for client in [&mut bob, &mut carol, &mut admission] {
        assert_eq!(client.register(600).await.unwrap().status, 200);
    }
    let route = format!("Route: <sip:{};lr>\r\n", pbx.address());
    let lobby = "sip:+15551234@lobby.example";
    let refused = [
        // A user of the domain, who is not on the list; one of another domain; one who proved nothing.
        (&mut bob, "<sip:bob@example.com>", vec![(number, ""), (number, &route)]),
        (&mut carol, "<sip:carol@example.org>", vec![(number, ""), (number, &route)]),
        (
            &mut admission,
            "<sip:guest@lobby.example>",
            vec![(lobby, ""), (lobby, &route), (number, ""), (number, &route)],
        ),
    ];
    for (client, from, ways) in refused {
        for (uri, more) in ways {
            for method in ["INVITE", "MESSAGE"] {
                let answer = ask(client, &request(method, uri, from, &format!("<{uri}>"), more)).await;
                assert!(answer.starts_with("SIP/2.0 403 "), "{method} {from} {uri} {more}: {answer}");
            }
        }
    }
    // Nor does it help to be registered in an open domain and to say to be somebody else.
    for more in ["", &route] {
        let answer =
            ask(&mut admission, &request("INVITE", number, ALICE, &format!("<{number}>"), more)).await;
        assert!(answer.starts_with("SIP/2.0 407 "), "{answer}");
    }
    assert!(sipway.handle.metrics().get(Count::OutsideRefused) >= 8);
    // By a route that names the server behind, those who may get there too; by each request's own proof.
    let first = ask(&mut admission, &request("MESSAGE", number, ALICE, &format!("<{number}>"), &route)).await;
    let proof = credentials(&first, "MESSAGE", number, "alice", "wonder", 1);
    let asked = request("MESSAGE", number, ALICE, &format!("<{number}>"), &format!("{route}{proof}"));
    let (answer, seen) = tokio::join!(ask(&mut admission, &asked), pbx.next());
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert!(!seen.contains("Proxy-Authorization"), "{seen}");
    assert_eq!(lines(&seen, IDENTITIES), ["P-Asserted-Identity: <sip:alice@example.com>"]);
    sipway.end().await;
}

/// A call that came from the server behind gives a way there. It is for that call, whoever else may be
/// reached by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_from_the_outside_opens_no_way_to_the_outside() {
    let pbx = Pbx::new().await;
    let sipway = sipway("told-way-out", &pbx, &format!("{USERS}outside = [\"bob\"]\n"));
    let mut alice = alice(&sipway).await;
    let listener = sipway.handle.listeners().iter().find(|bound| bound.name == "inside").unwrap().local;
    let call = request("INVITE", "sip:alice@example.com", "<sip:100@pbx.example>", ALICE, "");
    let call = call.replace("SIP/2.0/WS x.invalid", &format!("SIP/2.0/UDP {}", pbx.address()));
    alice.set_answering(Answering::KeepsSilent);
    pbx.0.send_to(call.as_bytes(), listener).await.unwrap();
    let came = String::from_utf8_lossy(alice.next().await.unwrap().bytes()).into_owned();
    let mut taken = Vec::new();
    let call = Message::parse(came.as_bytes()).unwrap();
    ResponseBuilder::new(&call, 200, "OK").to_tag(b"alice").write(&mut taken).unwrap();
    alice.send(&taken).unwrap();
    alice.flush().await.unwrap();
    let answered = pbx.hears("SIP/2.0 200 ").await;
    let call_id = came.lines().find_map(|line| line.strip_prefix("Call-ID: ")).unwrap();
    let routes: Vec<&str> =
        came.lines().filter_map(|line| line.strip_prefix("Record-Route: ")).map(str::trim).collect();
    assert_eq!(routes.len(), 2, "{came}");
    let route = format!("Route: {}\r\n", routes.join(", "));
    let number = "sip:+15551234@example.com";
    for method in ["INVITE", "MESSAGE", "SUBSCRIBE", "REFER"] {
        for to in [format!("<{number}>"), format!("<{number}>;tag=madeup")] {
            let answer = ask(&mut alice, &request(method, number, ALICE, &to, &route)).await;
            assert!(answer.starts_with("SIP/2.0 403 "), "{method} {to}: {answer}");
        }
    }
    // Those of the call itself go there.
    let tag = |line: &str| {
        let line = answered.lines().find(|said| said.starts_with(line)).unwrap();
        line.rsplit_once(";tag=").unwrap().1.to_owned()
    };
    let (hers, theirs) = (tag("To:"), tag("From:"));
    let number = "sip:100@pbx.example";
    let within = request("MESSAGE", number, ALICE, &format!("<{number}>;tag={theirs}"), &route);
    let made = Message::parse(within.as_bytes()).unwrap();
    let own = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let within = within
        .replace(&format!(";tag={}", own(made.from().unwrap().tag().unwrap())), &format!(";tag={hers}"))
        .replace(&format!("Call-ID: {}", own(made.call_id().unwrap())), &format!("Call-ID: {call_id}"));
    alice.send(within.as_bytes()).unwrap();
    alice.flush().await.unwrap();
    assert!(pbx.hears("MESSAGE ").await.contains(call_id));
    sipway.end().await;
}
