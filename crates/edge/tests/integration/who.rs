//! Who may do what: the same answer to everybody who may not, whatever there is behind it.

use lifecycle::Transport;
use metrics::Count;
use prove::{Client, Incoming, Setup};
use sip_auth::{Challenge, answer};
use sip_message::{HeaderId, Message};

use crate::test_server::{PATIENCE, TestServer};

const CONFIG: &str = "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
    [[domain]]\nname = \"example.com\"\nusers = \"{here}/users.txt\"\nalgorithms = [\"SHA-512-256\", \"SHA-256\", \"MD5\"]\n\
    [[domain]]\nname = \"example.org\"\nusers = \"{here}/others.txt\"\n";

fn sipway(name: &str) -> TestServer {
    let files = [("users.txt", "alice:wonder\nbob:builder\n"), ("others.txt", "carol:singer\n")];
    TestServer::with_files(name, CONFIG, &files)
}

pub(crate) async fn client(
    sipway: &TestServer,
    transport: Transport,
    user: &str,
    domain: &str,
    password: Option<&str>,
) -> Client {
    let target = sipway.target(transport).domain(domain);
    let setup = Setup { patience: PATIENCE, password: password.map(str::to_owned), ..Setup::new(user) };
    Client::connect(&target, &setup).await.unwrap()
}

/// A request of one's own making.
pub(crate) fn request(method: &str, uri: &str, from: &str, to: &str, more: &str) -> String {
    let n: u64 = rand::random();
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bKx{n};rport\r\nMax-Forwards: 70\r\n\
         From: {from};tag=f{n}\r\nTo: {to}\r\nCall-ID: {n}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:x@x.invalid;transport=ws>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// The final response to a request, as it came.
pub(crate) async fn ask(client: &mut Client, request: &str) -> String {
    client.send(request.as_bytes()).unwrap();
    let call_id = Message::parse(request.as_bytes()).unwrap().call_id().unwrap().to_vec();
    let answered = async {
        loop {
            if let Incoming::Response(response) = client.next().await.unwrap()
                && response.status >= 200
                && Message::parse(&response.bytes).unwrap().call_id() == Some(&call_id[..])
            {
                return String::from_utf8(response.bytes.into_vec()).unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("an answer")
}

/// An answer without what differs from one request to the next: what it repeats of it, tags and nonces.
pub(crate) fn told(answer: &str) -> Vec<String> {
    let own = ["via:", "from:", "to:", "call-id:", "cseq:"];
    let lines = answer.lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        !own.iter().any(|name| line.starts_with(name))
    });
    lines
        .map(|line| match line.split_once("nonce=\"") {
            Some((before, rest)) => format!("{before}nonce={}", rest.split_once('"').unwrap().1),
            None => line.to_owned(),
        })
        .collect()
}

/// Credentials for the first challenge of an answer.
pub(crate) fn credentials(
    challenged: &str,
    method: &str,
    uri: &str,
    user: &str,
    password: &str,
    nc: u32,
) -> String {
    let message = Message::parse(challenged.as_bytes()).unwrap();
    let (name, value) = match message.value(HeaderId::WwwAuthenticate) {
        Some(value) => ("Authorization", value),
        None => ("Proxy-Authorization", message.value(HeaderId::ProxyAuthenticate).unwrap()),
    };
    let challenge = Challenge::parse(value).unwrap();
    format!("{name}: {}\r\n", answer(&challenge, method, uri, user, password, "c0ffee", nc))
}

/// Whoever has no password learns nothing of who has one: by structure, so also not by what is done for the
/// answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_user_and_a_wrong_password_are_told_the_same() {
    let sipway = sipway("who-same");
    let mut unauthenticated = client(&sipway, Transport::Ws, "alice", "example.com", None).await;
    for (method, uri) in [
        ("REGISTER", "sip:example.com"),
        ("INVITE", "sip:bob@example.com"),
        ("MESSAGE", "sip:nobody@example.com"),
    ] {
        let mut seen = Vec::new();
        for user in ["alice", "nobody"] {
            let me = format!("<sip:{user}@example.com>");
            let to = if method == "REGISTER" { me.clone() } else { format!("<{uri}>") };
            let first = ask(&mut unauthenticated, &request(method, uri, &me, &to, "")).await;
            let tried = credentials(&first, method, uri, user, "a guess", 1);
            let second = ask(&mut unauthenticated, &request(method, uri, &me, &to, &tried)).await;
            assert!(!second.contains("stale=true"), "{second}");
            seen.push((told(&first), told(&second)));
        }
        assert_eq!(seen[0], seen[1], "{method}");
        assert!(seen[0].0[0].contains(if method == "REGISTER" { "401" } else { "407" }), "{seen:?}");
    }
    assert_eq!(sipway.handle.metrics().get(Count::WrongCredentials), 6);
    sipway.end().await;
}

/// 404 and 480 tell whether there is such a user: to users of the same domain alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_exists_is_told_to_nobody_but_users_of_the_domain() {
    let sipway = sipway("who-exists");
    let mut alice = client(&sipway, Transport::Ws, "alice", "example.com", Some("wonder")).await;
    let mut carol = client(&sipway, Transport::Ws, "carol", "example.org", Some("singer")).await;
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    assert_eq!(carol.register(600).await.unwrap().status, 200);
    let mut unauthenticated = client(&sipway, Transport::Ws, "eve", "example.net", None).await;
    for method in ["INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE"] {
        let mut statuses = Vec::new();
        for (client, from) in [
            (&mut alice, "<sip:alice@example.com>"),
            (&mut carol, "<sip:carol@example.org>"),
            (&mut unauthenticated, "<sip:eve@example.net>"),
        ] {
            let mut both = Vec::new();
            for uri in ["sip:bob@example.com", "sip:nobody@example.com"] {
                let answer =
                    ask(client, &request(method, uri, from, &format!("<{uri}>"), "Event: dialog\r\n")).await;
                both.push(told(&answer));
            }
            statuses.push((both[0][0].clone(), both[0] == both[1]));
        }
        let gone = "SIP/2.0 480 Temporarily Unavailable".to_owned();
        let unauthenticated_clients = "SIP/2.0 403 Authentication Required".to_owned();
        assert_eq!(
            statuses,
            [(gone.clone(), false), (gone, true), (unauthenticated_clients, true)],
            "{method}"
        );
    }
    sipway.end().await;
}

/// Whoever listens in on a REGISTER cannot say it again, and is not told apart from one with an old nonce.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_good_once() {
    let sipway = sipway("who-once");
    let mut alice = client(&sipway, Transport::Ws, "alice", "example.com", None).await;
    let (uri, me) = ("sip:example.com", "<sip:alice@example.com>");
    let first = ask(&mut alice, &request("REGISTER", uri, me, me, "")).await;
    // RFC 8760 section 2.3: the strongest on top.
    let offered: Vec<&str> = first
        .lines()
        .filter_map(|line| line.split_once("algorithm="))
        .map(|(_, rest)| rest.split(',').next().unwrap())
        .collect();
    assert_eq!(offered, ["SHA-512-256", "SHA-256", "MD5"]);
    let good = credentials(&first, "REGISTER", uri, "alice", "wonder", 1);
    let answer = ask(&mut alice, &request("REGISTER", uri, me, me, &good)).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let mut listener = client(&sipway, Transport::Ws, "alice", "example.com", None).await;
    let again = ask(&mut listener, &request("REGISTER", uri, me, me, &good)).await;
    assert!(again.starts_with("SIP/2.0 401 ") && again.contains("stale=true"), "{again}");
    // A changed count is another response.
    let changed = good.replace("nc=00000001", "nc=00000002");
    let forged = ask(&mut listener, &request("REGISTER", uri, me, me, &changed)).await;
    assert!(forged.starts_with("SIP/2.0 401 ") && !forged.contains("stale=true"), "{forged}");
    // The next count, by whom knows the password.
    let next = credentials(&first, "REGISTER", uri, "alice", "wonder", 2);
    let answer = ask(&mut alice, &request("REGISTER", uri, me, me, &next)).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let metrics = sipway.handle.metrics();
    assert_eq!((metrics.get(Count::CredentialsReplayed), metrics.get(Count::WrongCredentials)), (1, 1));
    sipway.end().await;
}

/// An ACK is never answered, so nobody is asked for a password; it is no way in for unauthenticated clients
/// either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_of_an_unauthenticated_client_goes_nowhere() {
    let sipway = sipway("who-ack");
    let mut bob = client(&sipway, Transport::Ws, "bob", "example.com", Some("builder")).await;
    assert_eq!(bob.register(600).await.unwrap().status, 200);
    let mut alice = client(&sipway, Transport::Ws, "alice", "example.com", Some("wonder")).await;
    for from in ["<sip:alice@example.com>", "<sip:eve@example.net>"] {
        let ack = request("ACK", "sip:bob@example.com", from, "<sip:bob@example.com>;tag=b", "");
        alice.send(ack.as_bytes()).unwrap();
    }
    sipway.until("dropped", |handle| handle.metrics().get(Count::AcksStray) == 2).await;
    let (answer, came) = tokio::join!(alice.message("sip:bob@example.com", b"hello"), bob.next());
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(came.unwrap().message().body(), b"hello", "the first that he hears of anybody");
    sipway.end().await;
}

/// A hash of the password, in a name that does not fit: nobody is known by a part of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_does_not_fit_is_refused_and_never_cut() {
    let long = "a".repeat(120);
    let files = format!("{long}:wonder\n");
    let config = "[[domain]]\nname = \"example.com\"\nusers = \"{here}/users.txt\"\n";
    let sipway = TestServer::with_files("who-long", config, &[("users.txt", &files)]);
    let mut client = client(&sipway, Transport::Ws, &long, "example.com", Some("wonder")).await;
    let answer = client.register(600).await.unwrap();
    assert_eq!(answer.status, 403, "{}", String::from_utf8_lossy(&answer.bytes));
    sipway.end().await;
}

/// What was made for us is no business of whom a request goes to: he could try passwords with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_end_here() {
    let sipway = sipway("who-credentials");
    let mut bob = client(&sipway, Transport::Ws, "bob", "example.com", Some("builder")).await;
    assert_eq!(bob.register(600).await.unwrap().status, 200);
    let mut alice = client(&sipway, Transport::Ws, "alice", "example.com", None).await;
    let (uri, me) = ("sip:bob@example.com", "<sip:alice@example.com>");
    let first = ask(&mut alice, &request("MESSAGE", uri, me, "<sip:bob@example.com>", "")).await;
    let ours = credentials(&first, "MESSAGE", uri, "alice", "wonder", 1);
    let theirs = "Proxy-Authorization: Digest username=\"a\", realm=\"elsewhere\", nonce=\"n\", uri=\"u\", response=\"r\"\r\n";
    let claims =
        "P-Asserted-Identity: <sip:boss@example.com>\r\nP-Preferred-Identity: <sip:alice@example.com>\r\n";
    let more = format!("{ours}{theirs}{claims}");
    let asked = request("MESSAGE", uri, me, "<sip:bob@example.com>", &more);
    let (answer, came) = tokio::join!(ask(&mut alice, &asked), bob.next());
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let text = String::from_utf8_lossy(came.unwrap().bytes()).into_owned();
    assert!(text.contains("realm=\"elsewhere\"") && !text.contains("realm=\"example.com\""), "{text}");
    assert!(!text.contains("P-Asserted") && !text.contains("P-Preferred"), "nobody asserted it: {text}");
    sipway.end().await;
}
