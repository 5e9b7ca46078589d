//! Calls that are refused here: of each whose caller is known there is a record, and no flood fills the
//! ledger with them.

use lifecycle::{EventKind, Transport};
use metrics::Count;
use prove::Answering;

use crate::{
    backend::{is, next},
    test_server::TestServer,
    told::{self, Pbx},
    who::{ask, client, credentials, request},
};

const CONFIG: &str = "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
    [[domain]]\nname = \"example.com\"\nusers = \"{here}/users.txt\"\n[defence]\nexempt = \"off\"\nuser_calls = 1\n";

const ALICE: &str = "<sip:alice@example.com>";

fn sipway(name: &str) -> TestServer {
    TestServer::with_files(name, CONFIG, &[("users.txt", "alice:wonder\nbob:builder\n")])
}

fn invite(uri: &str) -> String {
    request("INVITE", uri, ALICE, &format!("<{uri}>"), "")
}

/// The calls that have ended: caller, callee, cause, who ended it, and what the caller was told. Each has
/// started before.
fn ended(sipway: &TestServer) -> Vec<String> {
    let (mut started, mut ended) = (Vec::new(), Vec::new());
    for (kind, text) in sipway.events() {
        let data = serde_json::from_str::<serde_json::Value>(&text).unwrap()["data"].clone();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        match kind {
            EventKind::CallStarted => started.push(text(&data["call"])),
            EventKind::CallEnded => {
                assert!(started.contains(&text(&data["call"])), "{data}");
                assert_eq!((&data["talk_ms"], &data["answered_at"]), (&0.into(), &serde_json::Value::Null));
                ended.push(format!(
                    "{} {} {} {} {} {}",
                    text(&data["caller"]["aor"]),
                    text(&data["callee"]["aor"]),
                    text(&data["cause"]),
                    text(&data["by"]),
                    data["status"],
                    text(&data["reason"])
                ));
            }
            _ => {}
        }
    }
    ended
}

/// So many were refused, and nothing is written of so many: a refusal is counted when it has been answered.
async fn counted(sipway: &TestServer, refused: u64, unwritten: u64) {
    let counts = |handle: &edge::Handle| {
        let metrics = handle.metrics();
        (metrics.get(Count::CallsRefused), metrics.get(Count::CallsRefusedUnwritten))
    };
    sipway.until("counted", |handle| counts(handle).0 >= refused && counts(handle).1 >= unwritten).await;
    assert_eq!(counts(&sipway.handle), (refused, unwritten));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_here_leaves_a_record_that_says_why() {
    let sipway = sipway("refused-calls");
    let mut alice = client(&sipway, Transport::Ws, "alice", "example.com", Some("wonder")).await;
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    let mut expected = Vec::new();
    for (uri, answer) in [
        ("sip:bob@example.com", "480 Temporarily Unavailable"),
        ("sip:nobody@example.com", "404 Not Found"),
        ("sip:carol@elsewhere.example", "403 Relaying Denied"),
    ] {
        assert!(ask(&mut alice, &invite(uri)).await.starts_with(&format!("SIP/2.0 {answer}")), "{uri}");
        expected.push(format!("alice@example.com {} failed server {answer}", &uri[4..]));
    }
    let hops = invite("sip:bob@example.com").replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert!(ask(&mut alice, &hops).await.starts_with("SIP/2.0 483"));
    expected.push("alice@example.com bob@example.com failed server 483 Too Many Hops".to_owned());
    // As many calls as one user may have.
    let mut bob = client(&sipway, Transport::Ws, "bob", "example.com", Some("builder")).await;
    bob.set_answering(Answering::KeepsSilent);
    assert_eq!(bob.register(600).await.unwrap().status, 200);
    alice.send(invite("sip:bob@example.com").as_bytes()).unwrap();
    next(&mut bob, "INVITE", is("INVITE")).await;
    assert!(ask(&mut alice, &invite("sip:bob@example.com")).await.starts_with("SIP/2.0 503"));
    expected.push("alice@example.com bob@example.com failed server 503 Too Many Calls".to_owned());
    sipway.until("written", |_| ended(&sipway).len() == expected.len()).await;
    assert_eq!(ended(&sipway), expected);
    counted(&sipway, 5, 0).await;
    assert_eq!(sipway.handle.calls(9).len(), 1);
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_proves_itself_in_the_invite_leaves_a_record_and_a_challenge_is_none() {
    let sipway = sipway("refused-proved");
    // It is not registered, and its first INVITE is challenged.
    let mut alice = client(&sipway, Transport::Udp, "alice", "example.com", None).await;
    let uri = "sip:bob@example.com";
    let first = invite(uri);
    let challenged = ask(&mut alice, &first).await;
    assert!(challenged.starts_with("SIP/2.0 407"), "{challenged}");
    let proof = credentials(&challenged, "INVITE", uri, "alice", "wonder", 1);
    let again = request("INVITE", uri, ALICE, &format!("<{uri}>"), &proof);
    assert!(ask(&mut alice, &again).await.starts_with("SIP/2.0 480"));
    sipway.until("written", |_| !ended(&sipway).is_empty()).await;
    // Whoever guesses, or says that it is somebody, leaves none.
    let wrong = credentials(&challenged, "INVITE", uri, "alice", "guess", 1);
    let refused = ask(&mut alice, &request("INVITE", uri, ALICE, &format!("<{uri}>"), &wrong)).await;
    assert!(refused.starts_with("SIP/2.0 40"), "{refused}");
    for from in ["<sip:eve@elsewhere.example>", "<sip:alice@example.com>"] {
        let uri = "sip:someone@elsewhere.example";
        let scan = request("INVITE", uri, from, &format!("<{uri}>"), "");
        assert!(ask(&mut alice, &scan).await.starts_with("SIP/2.0 403"));
    }
    counted(&sipway, 3, 2).await;
    assert_eq!(ended(&sipway).len(), 1);
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_that_is_repeated_is_one_call() {
    let sipway = sipway("refused-repeated");
    let mut alice = client(&sipway, Transport::Udp, "alice", "example.com", Some("wonder")).await;
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    // Nothing is kept of what is refused over UDP: each of them is answered anew.
    let invite = invite("sip:carol@elsewhere.example");
    for _ in 0..5 {
        assert!(ask(&mut alice, &invite).await.starts_with("SIP/2.0 403"));
    }
    counted(&sipway, 5, 0).await;
    sipway.until("written", |_| !ended(&sipway).is_empty()).await;
    assert_eq!(ended(&sipway).len(), 1);
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_calls_that_fail_fills_no_ledger() {
    let sipway = sipway("refused-flood");
    let mut alice = client(&sipway, Transport::Ws, "alice", "example.com", Some("wonder")).await;
    let mut bob = client(&sipway, Transport::Ws, "bob", "example.com", Some("builder")).await;
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    assert_eq!(bob.register(600).await.unwrap().status, 200);
    let begun = std::time::Instant::now();
    for call in 0..60 {
        ask(&mut alice, &invite(&format!("sip:n{call}@example.com"))).await;
    }
    // Twenty at once, and then one every 6 s.
    let most = 20 + begun.elapsed().as_secs() as usize / 6 + 1;
    // Somebody else's calls are written all the same.
    let uri = "sip:nobody@example.com";
    ask(&mut bob, &request("INVITE", uri, "<sip:bob@example.com>", &format!("<{uri}>"), "")).await;
    sipway.until("written", |_| ended(&sipway).iter().any(|call| call.starts_with("bob@"))).await;
    let alices = ended(&sipway).iter().filter(|call| call.starts_with("alice@")).count();
    assert!((20..=most).contains(&alices), "{alices} of {most}");
    counted(&sipway, 61, 60 - alices as u64).await;
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_a_server_behind_that_reaches_nobody_is_written_once() {
    let pbx = Pbx::new().await;
    let sipway = told::sipway("refused-behind", &pbx, told::USERS);
    let listeners = sipway.handle.listeners();
    let udp = listeners.iter().find(|bound| bound.transport == Transport::Udp).unwrap().local;
    let uri = "sip:bob@example.com";
    let invite = request("INVITE", uri, "<sip:100@example.com>", &format!("<{uri}>"), "");
    let branch = |n: u8| invite.replace("branch=z9hG4bK", &format!("branch=z9hG4bK{n}"));
    for n in 0..3 {
        let answer = pbx.ask(udp, &branch(n)).await;
        assert!(answer.starts_with("SIP/2.0 480"), "{answer}");
    }
    sipway.until("written", |_| !ended(&sipway).is_empty()).await;
    let call = "100@example.com bob@example.com failed server 480 Temporarily Unavailable";
    assert_eq!(ended(&sipway), [call]);
    sipway.end().await;
}
