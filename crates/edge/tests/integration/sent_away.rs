//! A connection that is closed by a rule of defence says by which.

use std::net::IpAddr;

use lifecycle::{Cause, Transport};
use prove::{Client, Ended, EventLog, Setup};
use tokio::time::timeout;

use crate::test_server::{PATIENCE, TestServer};

fn sipway(name: &str, limits: &str) -> TestServer {
    TestServer::with_files(
        name,
        &format!(
            "[[domain]]\nname = \"localhost\"\nusers = \"{{here}}/users.txt\"\nalgorithms = [\"MD5\"]\n\
             [defence]\nexempt = \"off\"\n{limits}\n"
        ),
        &[("users.txt", "ada:right\nbob:right\n")],
    )
}

async fn client(sipway: &TestServer, user: &str, password: &str) -> Client {
    let (source, password) = (Some(IpAddr::from([127, 0, 0, 2])), Some(password.to_owned()));
    let setup = Setup { patience: PATIENCE, source, password, ..Setup::new(user) };
    Client::connect(&sipway.target(Transport::Ws), &setup).await.unwrap()
}

fn options(user_agent: &str) -> String {
    format!(
        "OPTIONS sip:localhost SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n\
         From: <sip:x@localhost>;tag=1\r\nTo: <sip:localhost>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\
         User-Agent: {user_agent}\r\nContent-Length: 0\r\n\r\n",
        rand::random::<u64>()
    )
}

/// Says this again and again until the connection is closed; the words that it is closed with.
async fn until_closed(client: &mut Client, text: &str) -> String {
    let ended = async {
        loop {
            let _ = client.send(text.as_bytes());
            if let Err(ended) = client.next().await {
                break ended;
            }
        }
    };
    match timeout(PATIENCE, ended).await.unwrap() {
        Ended::Closed { code: Some(1008), reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// The causes and reasons of all flows, sorted.
fn causes(log: &EventLog) -> Vec<(Option<Cause>, String)> {
    let closes = log.flows().values().flat_map(|flow| &flow.closes);
    let mut causes: Vec<_> =
        closes.map(|close| (close.cause, close.reason.clone().unwrap_or_default())).collect();
    causes.sort_by(|one, other| one.1.cmp(&other.1));
    causes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_banned_is_the_cause_for_each_of_its_unauthenticated_clients() {
    let sipway = sipway("sent-away-banned", "");
    let mut user = client(&sipway, "ada", "right").await;
    assert_eq!(user.register(600).await.unwrap().status, 200);
    let mut other = client(&sipway, "bob", "right").await;
    let mut scanner = client(&sipway, "bob", "right").await;
    let words = "the address is banned (scanner)";
    assert_eq!(until_closed(&mut scanner, &options("friendly-scanner")).await, words);
    assert_eq!(until_closed(&mut other, &options("Page")).await, words);
    assert_eq!(user.register(600).await.unwrap().status, 200);
    let log = sipway.end().await;
    let banned = (Some(Cause::Banned), words.to_owned());
    assert_eq!(causes(&log)[..2], [banned.clone(), banned], "the user's is the shutdown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_and_too_many_messages_are_told_apart() {
    let sipway = sipway("sent-away-rates", "failures = 3\nban = \"1s\"\nmessage_rate = 20");
    // A user, and then an unauthenticated client, guesses; the ban is over before the next one comes.
    for first_right in [true, false] {
        let mut guessing = client(&sipway, "ada", "right").await;
        if first_right {
            assert_eq!(guessing.register(600).await.unwrap().status, 200);
        }
        guessing.set_password("wrong");
        let ended = loop {
            match guessing.register(600).await {
                Err(prove::RequestError::Unauthorized) => {}
                Err(prove::RequestError::Ended(Ended::Closed { code, reason, .. })) => break (code, reason),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ended, (Some(1008), "wrong credentials too often".to_owned()));
        sipway.until("nobody is banned", |handle| handle.bans().is_empty()).await;
    }
    let mut unauthenticated = client(&sipway, "bob", "right").await;
    assert_eq!(
        until_closed(&mut unauthenticated, &options("Page")).await,
        "too many messages from this address"
    );
    let log = sipway.end().await;
    let failed = (Some(Cause::AuthFailed), "wrong credentials too often".to_owned());
    let rate = (Some(Cause::RateLimited), "too many messages from this address".to_owned());
    assert_eq!(causes(&log), [rate, failed.clone(), failed]);
}
