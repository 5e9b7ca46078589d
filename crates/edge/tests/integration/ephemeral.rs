//! Passwords that are good for a while: as any password, and when the WebSocket is opened.

use std::time::{SystemTime, UNIX_EPOCH};

use lifecycle::{Cause, EventKind, Transport};
use metrics::Count;
use prove::{Client, ConnectError, Setup};
use sip_auth::{Ephemeral, EphemeralHash};
use tokio::time::timeout;

use crate::{
    test_server::{PATIENCE, TestServer},
    who::{ask, client, credentials, request},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn sipway(name: &str) -> TestServer {
    let config = "[[domain]]\nname = \"example.com\"\nephemeral_secret_file = \"{here}/secret\"\n";
    TestServer::with_files(name, config, &[("secret", SECRET)])
}

/// A name that is good for so many seconds, and its password.
fn made(user: &str, seconds: i64) -> (String, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let name = format!("{}:{user}", now.saturating_add_signed(seconds));
    let password = Ephemeral::new(SECRET.as_bytes(), EphemeralHash::Sha1).password(&name);
    (name, password)
}

async fn open(sipway: &TestServer, name: &str, password: &str) -> Result<Client, ConnectError> {
    let mut target = sipway.target(Transport::Ws).domain("example.com");
    let escaped = password.replace('=', "%3D").replace('+', "%2B");
    target.path = format!("/?username={}&password={escaped}", name.replace(':', "%3A")).into();
    Client::connect(&target, &Setup { patience: PATIENCE, ..Setup::new("ada") }).await
}

/// Registers with credentials for a challenge of their own.
async fn register(client: &mut Client, user: &str, (name, password): &(String, String)) -> String {
    let (uri, me) = ("sip:example.com", format!("<sip:{user}@example.com>"));
    // Without credentials it is accepted by what vouches for the connection, if anything does; with bad ones
    // it is asked again.
    let bad = "Authorization: Digest username=\"x\", realm=\"example.com\", nonce=\"x\", uri=\"sip:example.com\", \
               response=\"00000000000000000000000000000000\", qop=auth, nc=00000001, cnonce=\"x\"\r\n";
    let first = ask(client, &request("REGISTER", uri, &me, &me, bad)).await;
    assert!(first.starts_with("SIP/2.0 401 "), "{first}");
    let proof = credentials(&first, "REGISTER", uri, name, password, 1);
    ask(client, &request("REGISTER", uri, &me, &me, &proof)).await
}

async fn ended(client: &mut Client) {
    timeout(PATIENCE, async { while client.next().await.is_ok() {} }).await.expect("closed in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ephemeral_password_is_one_until_its_time_is_over() {
    let sipway = sipway("ephemeral-digest");
    let mut ada = client(&sipway, Transport::Ws, "ada", "example.com", None).await;
    let good = made("ada", 600);
    for wrong in [
        made("ada", -1),
        (good.0.clone(), "guess".to_owned()),
        (made("ada", 601).0, good.1.clone()),
        ("ada".to_owned(), good.1.clone()),
    ] {
        let answer = register(&mut ada, "ada", &wrong).await;
        assert!(answer.starts_with("SIP/2.0 401 "), "{wrong:?}: {answer}");
    }
    let answer = register(&mut ada, "bob", &good).await;
    assert!(answer.starts_with("SIP/2.0 403 "), "another's name: {answer}");
    let answer = register(&mut ada, "ada", &made("ada", 8)).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    // Over before the control, if it were not for the newer one.
    let mut control = client(&sipway, Transport::Tcp, "eve", "example.com", None).await;
    let answer = register(&mut control, "eve", &made("eve", 10)).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let answer = register(&mut ada, "ada", &good).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    ended(&mut control).await;
    assert_eq!(ada.message("sip:nobody@example.com", b"").await.unwrap().status, 480);
    drop((ada, control));
    sipway.until("closed", |sipway| sipway.live() == 0).await;
    let events = sipway.events();
    let expired = |(kind, text): &&(EventKind, String)| {
        *kind == EventKind::FlowClosed && text.contains(Cause::TokenExpired.as_str())
    };
    assert_eq!(events.iter().filter(expired).count(), 1);
    assert!(!events.iter().any(|(_, text)| text.contains(&good.1)), "no password is written anywhere");
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ephemeral_password_in_the_query_opens_a_connection_for_its_user() {
    let sipway = sipway("ephemeral-query");
    let (name, password) = made("ada", 600);
    let mut ada = open(&sipway, &name, &password).await.unwrap();
    assert_eq!(ada.register(600).await.unwrap().status, 200, "without being asked");
    for (name, password) in [made("ada", -1), (name.clone(), "guess".to_owned()), made("", 600)] {
        assert!(open(&sipway, &name, &password).await.is_err(), "{name}");
    }
    assert_eq!(sipway.handle.metrics().get(Count::TokensRefused), 3);
    // Who brings none is asked later.
    let mut later = client(&sipway, Transport::Ws, "ada", "example.com", None).await;
    let asked = request("REGISTER", "sip:example.com", "<sip:ada@example.com>", "<sip:ada@example.com>", "");
    assert!(ask(&mut later, &asked).await.starts_with("SIP/2.0 401 "));
    let (name, password) = made("ada", 5);
    let mut short = open(&sipway, &name, &password).await.unwrap();
    ended(&mut short).await;
    let events = sipway.events();
    assert!(!events.iter().any(|(_, text)| text.contains("password") || text.contains("username")));
    sipway.end().await;
}
