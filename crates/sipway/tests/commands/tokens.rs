//! Tokens at the WebSocket handshake: who has a good one is accepted as its user, until it expires; nobody
//! else is.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lifecycle::Transport;
use prove::{Client, ConnectError, Incoming, Setup};
use serde_json::{Value, json};
use sha2::Sha256;
use sip_message::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::directory::Directory;
use crate::process::{PATIENCE, Server, ledger_events, sipway};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

const CONFIG: &str = r#"
[ledger]
directory = "ledger"
[log]
format = "json"
level = "debug"
[[domain]]
name = "example.com"
auth = "jwt"
secret_file = "token.secret"
audience = "sipway"
leeway = "1s"
token_cookie = "sip_token"
[[listener]]
name = "ws"
transport = "ws"
bind = "127.0.0.1:0"
[[listener]]
name = "udp"
transport = "udp"
bind = "127.0.0.1:0"
"#;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signed(secret: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn token(user: &str, seconds: u64) -> String {
    signed(SECRET, &json!({"sub": user, "aud": "sipway", "exp": now() + seconds}))
}

async fn start(directory: &Directory) -> Server {
    directory.write("token.secret", format!("{SECRET}\n"));
    let file = directory.write("sipway.toml", CONFIG);
    let mut command = sipway(["run", "--config"]);
    command.arg(file);
    Server::run(command).await
}

async fn connect(server: &Server, user: &str, token: &str) -> Result<Client, ConnectError> {
    let mut target = server.target(Transport::Ws).domain("example.com");
    target.path = format!("/ws?access_token={token}").into();
    Client::connect(&target, &Setup::new(user)).await
}

/// What is answered to an upgrade request with this query and these headers.
async fn ask(address: SocketAddr, query: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let protocol =
        if headers.contains("Sec-WebSocket-Protocol") { "" } else { "Sec-WebSocket-Protocol: sip\r\n" };
    let head = format!(
        "GET /ws{query} HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{protocol}{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, async {
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") || !answer.starts_with(b"HTTP/1.1 101") {
            if stream.read_buf(&mut answer).await.unwrap() == 0 {
                break;
            }
        }
    })
    .await
    .expect("answers in time");
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_stand_in_four_places() {
    let directory = Directory::new("token-places");
    let mut server = start(&directory).await;
    let (address, good) = (server.address("ws"), token("ada", 600));
    for (query, headers) in [
        (format!("?v=1&access_token={good}"), String::new()),
        (String::new(), format!("Authorization: Bearer {good}\r\n")),
        (String::new(), format!("Cookie: theme=dark; sip_token={good}\r\n")),
        (String::new(), format!("Sec-WebSocket-Protocol: sip, bearer.{good}\r\n")),
    ] {
        let answer = ask(address, &query, &headers).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Protocol: sip\r\n"), "{answer}");
        assert!(!answer.contains(&good), "{answer}");
    }
    let forged =
        signed(&SECRET.replace('0', "1"), &json!({"sub": "ada", "aud": "sipway", "exp": now() + 600}));
    let elsewhere = signed(SECRET, &json!({"sub": "ada", "aud": "mail", "exp": now() + 600}));
    let foreign = token("ada@example.org", 600);
    let old = signed(SECRET, &json!({"sub": "ada", "aud": "sipway", "exp": now() - 60}));
    for (query, why) in [
        (String::new(), "A token is missing"),
        ("?access_token=nonsense".to_owned(), "malformed"),
        (format!("?access_token={forged}"), "signature is wrong"),
        (format!("?access_token={elsewhere}"), "another audience"),
        (format!("?access_token={foreign}"), "no user of this server"),
        (format!("?access_token={old}"), "has expired"),
    ] {
        let answer = ask(address, &query, "").await;
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains(why), "{why}: {answer}");
        assert!(answer.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{answer}");
    }
    let log = server.terminate_and_read().await;
    assert!(log.contains("refused for its token") && log.contains("signature is wrong"), "{log}");
    // `{"` in base64: every token begins with it.
    assert!(!log.contains("eyJ") && !log.contains("nonsense"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_its_user_and_nobody_else() {
    let directory = Directory::new("token-user");
    let mut server = start(&directory).await;
    let mut ada = connect(&server, "ada", &token("ada", 600)).await.unwrap();
    let mut bob = connect(&server, "bob", &token("bob@example.com", 600)).await.unwrap();
    assert_eq!(ada.register(600).await.unwrap().status, 200);
    assert_eq!(bob.register(600).await.unwrap().status, 200);
    let to = bob.address_of_record();
    let (response, heard) = tokio::join!(ada.message(&to, b"hello"), bob.next());
    assert_eq!(response.unwrap().status, 200);
    assert_eq!(heard.unwrap().message().body(), b"hello");

    // A good token of another user.
    let mut liar = connect(&server, "ada", &token("eve", 600)).await.unwrap();
    assert_eq!(liar.register(600).await.unwrap().status, 403);
    assert_eq!(liar.message(&to, b"from whom?").await.unwrap().status, 403);
    assert!(server.terminate().await.success());

    let events = ledger_events(&directory.at("ledger")).await;
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains("access_token") && !text.contains("eyJ"), "no event has a token");
    let opened = events.iter().find(|event| event["type"] == "flow.opened").unwrap();
    assert_eq!(opened["data"]["path"], "/ws");
    let identities: Vec<_> = events.iter().filter_map(|event| event["data"]["identity"].as_str()).collect();
    for who in ["ada@example.com", "bob@example.com", "eve@example.com"] {
        assert!(identities.contains(&who), "{who} in {identities:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_closes_its_connection_and_no_other() {
    let directory = Directory::new("token-expiry");
    let mut server = start(&directory).await;
    let mut stays = connect(&server, "bob", &token("bob", 600)).await.unwrap();
    let mut goes = connect(&server, "ada", &token("ada", 3)).await.unwrap();
    let closed = timeout(PATIENCE, async { while goes.next().await.is_ok() {} }).await;
    closed.expect("closed in time");
    assert_eq!(stays.register(600).await.unwrap().status, 200);
    assert!(server.terminate().await.success());
    let events = ledger_events(&directory.at("ledger")).await;
    let ended: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "flow.closed").map(|e| &e["data"]).collect();
    let expired: Vec<_> = ended.iter().filter(|data| data["cause"] == "token_expired").collect();
    assert_eq!(expired.len(), 1, "{ended:?}");
    let data = expired[0];
    assert_eq!((&data["by"], &data["code"]), (&json!("server"), &json!(1008)), "{data}");
    assert_eq!(data["identity"], "ada@example.com");
    assert_eq!(ended.len(), 2);
}

/// A request of one's own making, and the final response to it.
async fn request(client: &mut Client, method: &str, user: &str, headers: &str) -> String {
    let (n, me): (u64, _) = (rand::random(), format!("<sip:{user}@example.com>"));
    let (uri, to) = match method {
        "REGISTER" => ("sip:example.com", me.clone()),
        _ => ("sip:bob@example.com", "<sip:bob@example.com>".to_owned()),
    };
    let request = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bKx{n};rport\r\nMax-Forwards: 70\r\n\
         From: {me};tag={n}\r\nTo: {to}\r\nCall-ID: {n}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:{user}@x.invalid>\r\n{headers}Content-Length: 0\r\n\r\n"
    );
    client.send(request.as_bytes()).unwrap();
    let answered = async {
        loop {
            if let Incoming::Response(response) = client.next().await.unwrap()
                && response.status >= 200
                && Message::parse(&response.bytes).unwrap().call_id() == Some(n.to_string().as_bytes())
            {
                return String::from_utf8(response.bytes.into_vec()).unwrap();
            }
        }
    };
    timeout(PATIENCE, answered).await.expect("an answer")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_token_in_a_register_keeps_the_connection() {
    let directory = Directory::new("token-renewed");
    let mut server = start(&directory).await;
    let mut ada = connect(&server, "ada", &token("ada", 7)).await.unwrap();
    // Closed later than ada's would be, if nothing had been done for hers.
    let mut bob = connect(&server, "bob", &token("bob", 9)).await.unwrap();
    // Another's token, an old one and a forged one keep nobody; they are told so, and the connection stays.
    let old = signed(SECRET, &json!({"sub": "ada", "aud": "sipway", "exp": now() - 60}));
    for (headers, status) in
        [(bearer(&token("eve", 600)), "403"), (bearer(&old), "401"), (bearer("x.y.z"), "401")]
    {
        let answer = request(&mut ada, "REGISTER", "ada", &headers).await;
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{answer}");
        let challenge = "\r\nWWW-Authenticate: Bearer realm=\"example.com\", error=\"invalid_token\"\r\n";
        assert_eq!(answer.contains(challenge), status == "401", "{answer}");
    }
    let answer = request(&mut ada, "REGISTER", "ada", &bearer(&token("ada", 600))).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let closed = timeout(PATIENCE, async { while bob.next().await.is_ok() {} }).await;
    closed.expect("closed in time");
    let answer = request(&mut ada, "REGISTER", "ada", "").await;
    assert!(answer.starts_with("SIP/2.0 200 "), "by what vouches for it now: {answer}");
    // A newer token may also be shorter: then it counts.
    let answer = request(&mut ada, "REGISTER", "ada", &bearer(&token("ada", 4))).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let closed = timeout(PATIENCE, async { while ada.next().await.is_ok() {} }).await;
    closed.expect("closed in time");
    assert!(server.terminate().await.success());
    let events = ledger_events(&directory.at("ledger")).await;
    let ended: Vec<_> = events.iter().filter(|event| event["type"] == "flow.closed").collect();
    assert!(
        ended.len() == 2 && ended.iter().all(|event| event["data"]["cause"] == "token_expired"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_no_websocket_requests_bring_the_token() {
    let directory = Directory::new("token-phone");
    let mut server = start(&directory).await;
    let mut bob = connect(&server, "bob", &token("bob", 600)).await.unwrap();
    assert_eq!(bob.register(600).await.unwrap().status, 200);
    let target = server.target(Transport::Udp).domain("example.com");
    let mut ada = Client::connect(&target, &Setup::new("ada")).await.unwrap();
    let answer = request(&mut ada, "REGISTER", "ada", "").await;
    let challenge = "\r\nWWW-Authenticate: Bearer realm=\"example.com\"\r\n";
    assert!(answer.starts_with("SIP/2.0 401 ") && answer.contains(challenge), "{answer}");
    // What is registered by a token lasts no longer than it does: with the leeway of a second, at most 31.
    let answer = request(&mut ada, "REGISTER", "ada", &bearer(&token("ada", 30))).await;
    let expires =
        answer.split_once(";expires=").and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    assert!(expires.unwrap().parse::<u64>().unwrap() <= 31, "{answer}");
    // Each request for itself: the address of a datagram proves nothing.
    let answer = request(&mut ada, "MESSAGE", "ada", "").await;
    let challenge = "\r\nProxy-Authenticate: Bearer realm=\"example.com\"\r\n";
    assert!(answer.starts_with("SIP/2.0 407 ") && answer.contains(challenge), "{answer}");
    let answer = request(&mut ada, "MESSAGE", "ada", &bearer(&token("eve", 30))).await;
    assert!(answer.starts_with("SIP/2.0 403 "), "{answer}");
    for header in ["Proxy-Authorization", "Authorization"] {
        let headers = bearer(&token("ada", 30)).replace("Authorization", header);
        let (answer, came) = tokio::join!(request(&mut ada, "MESSAGE", "ada", &headers), bob.next());
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        let text = String::from_utf8_lossy(came.unwrap().bytes()).into_owned();
        assert!(!text.contains("Bearer") && !text.contains("eyJ"), "nobody else gets it: {text}");
    }
    assert!(server.terminate().await.success());
}
