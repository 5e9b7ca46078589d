//! What one user may take, from whatever addresses: connections, messages, calls, and guesses at its
//! password. Clients come from several addresses of 127.0.0.0/8.

use std::{net::IpAddr, time::SystemTime};

use lifecycle::Transport;
use metrics::Count;
use prove::{Client, ConnectError, Ended, Incoming, Setup};
use sip_auth::{Ephemeral, EphemeralHash};
use tokio::time::timeout;

use crate::{
    test_server::{PATIENCE, TestServer},
    who::{ask, credentials, request, told},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Two domains with the same users, and one that asks nobody.
fn sipway(name: &str, limits: &str) -> TestServer {
    let config = format!(
        "[[domain]]\nname = \"example.com\"\nusers = \"{{here}}/users.txt\"\nephemeral_secret_file = \"{{here}}/secret\"\n\
         [[domain]]\nname = \"open.example\"\nauth = \"open\"\n\
         [defence]\nexempt = [\"127.0.0.9\"]\nexempt_users = [\"trunk@example.com\"]\n{limits}"
    );
    let users = "alice:wonder\nbob:builder\ntrunk:full\n";
    TestServer::with_files(name, &config, &[("users.txt", users), ("secret", SECRET)])
}

async fn connect(sipway: &TestServer, from: [u8; 4], path: &str) -> Result<Client, ConnectError> {
    let mut target = sipway.target(Transport::Ws).domain("example.com");
    target.path = path.into();
    let source = Some(IpAddr::from(from));
    Client::connect(&target, &Setup { patience: PATIENCE, source, ..Setup::new("anybody") }).await
}

async fn client(sipway: &TestServer, from: [u8; 4]) -> Client {
    connect(sipway, from, "/").await.unwrap()
}

/// Registers with a password; the last answer.
async fn login(client: &mut Client, user: &str, password: &str) -> String {
    let (uri, me) = ("sip:example.com", format!("<sip:{user}@example.com>"));
    let first = ask(client, &request("REGISTER", uri, &me, &me, "")).await;
    if !first.starts_with("SIP/2.0 401 ") {
        return first;
    }
    let proof = credentials(&first, "REGISTER", uri, user, password, 1);
    ask(client, &request("REGISTER", uri, &me, &me, &proof)).await
}

/// Asks again and again, faster than once a second; the first answer that is not 200.
async fn until_refused(client: &mut Client, request: impl Fn() -> String) -> String {
    loop {
        let answer = ask(client, &request()).await;
        if !is(&answer, 200) {
            return answer;
        }
    }
}

fn is(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("SIP/2.0 {status} "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_connections_wherever_they_come_from() {
    let sipway = sipway("user-connections", "user_connections = 2");
    let mut alices = Vec::new();
    for address in 2..4 {
        let mut alice = client(&sipway, [127, 0, 0, address]).await;
        assert!(is(&login(&mut alice, "alice", "wonder").await, 200));
        alices.push(alice);
    }
    let mut third = client(&sipway, [127, 0, 0, 4]).await;
    let refused = login(&mut third, "alice", "wonder").await;
    assert!(refused.starts_with("SIP/2.0 503 Too Many Connections\r\n"), "{refused}");
    assert!(refused.contains("\r\nRetry-After: 10\r\n"), "{refused}");
    // Those that are there refresh, and others are not concerned.
    assert!(is(&login(&mut alices[0], "alice", "wonder").await, 200));
    assert!(is(&login(&mut third, "bob", "builder").await, 200));
    for _ in 0..5 {
        let mut trunk = client(&sipway, [127, 0, 0, 4]).await;
        assert!(is(&login(&mut trunk, "trunk", "full").await, 200));
        alices.push(trunk);
    }
    let mut exempt = client(&sipway, [127, 0, 0, 9]).await;
    assert!(is(&login(&mut exempt, "alice", "wonder").await, 200));

    // One that is vouched for is no flow at all.
    let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 600;
    let name = format!("{until}:alice");
    let password = Ephemeral::new(SECRET.as_bytes(), EphemeralHash::Sha1).password(&name);
    let path =
        format!("/?username={until}%3Aalice&password={}", password.replace('=', "%3D").replace('+', "%2B"));
    let by_voucher = connect(&sipway, [127, 0, 0, 5], &path).await;
    assert!(matches!(by_voucher, Err(ConnectError::Refused(503))), "{by_voucher:?}");

    let seen = sipway.handle.hindered();
    assert_eq!(
        (seen.len(), seen[0].user.as_str(), seen[0].limit, seen[0].times),
        (1, "alice@example.com", "connections", 2)
    );
    assert_eq!(sipway.handle.metrics().get(Count::HinderedConnections), 2);
    // Once one is over there is room for another.
    alices.remove(0);
    let begun = std::time::Instant::now();
    while connect(&sipway, [127, 0, 0, 5], &path).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "no room");
    }
    drop((alices, third, exempt));
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_is_asked_for_a_proof_it_is_who_registered() {
    let sipway = sipway("user-open", "user_connections = 1");
    let me = "<sip:ada@open.example>";
    let register = request("REGISTER", "sip:open.example", me, me, "");
    let mut one = client(&sipway, [127, 0, 0, 2]).await;
    let mut other = client(&sipway, [127, 0, 0, 3]).await;
    assert!(is(&ask(&mut one, &register).await, 200));
    assert!(is(&ask(&mut other, &request("REGISTER", "sip:open.example", me, me, "")).await, 503));
    // Another name on the same connection leaves room for this one.
    let eve = "<sip:eve@open.example>";
    assert!(is(&ask(&mut one, &request("REGISTER", "sip:open.example", eve, eve, "")).await, 200));
    assert!(is(&ask(&mut other, &request("REGISTER", "sip:open.example", me, me, "")).await, 200));
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_too_much_is_refused_and_then_sent_away_and_may_hang_up() {
    let sipway = sipway("user-messages", "user_message_rate = 1");
    let mut one = client(&sipway, [127, 0, 0, 2]).await;
    let mut other = client(&sipway, [127, 0, 0, 3]).await;
    assert!(is(&login(&mut one, "alice", "wonder").await, 200));
    assert!(is(&login(&mut other, "alice", "wonder").await, 200));
    let me = "<sip:alice@example.com>";
    let options = || request("OPTIONS", "sip:example.com", me, "<sip:example.com>", "");
    let refused = until_refused(&mut one, options).await;
    assert!(refused.starts_with("SIP/2.0 503 Too Many Messages\r\n"), "{refused}");
    assert!(refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
    // It is one account; what is within a dialog is judged as ever, so that calls can be ended.
    let bye = request("BYE", "sip:bob@example.com", me, "<sip:bob@example.com>;tag=b", "");
    assert!(!is(&ask(&mut other, &bye).await, 503));
    assert!(is(&until_refused(&mut other, options).await, 503));
    let mut bob = client(&sipway, [127, 0, 0, 2]).await;
    assert!(is(&login(&mut bob, "bob", "builder").await, 200));
    for _ in 0..5 {
        let _ = one.send(request("OPTIONS", "sip:example.com", me, "<sip:example.com>", "").as_bytes());
    }
    let ended = timeout(PATIENCE, async {
        loop {
            let _ = one.send(options().as_bytes());
            if let Err(ended) = one.next().await {
                break ended;
            }
        }
    });
    let ended = ended.await.expect("sent away");
    let words = "too many messages of this user";
    assert!(matches!(&ended, Ended::Closed { code: Some(1008), reason, .. } if reason == words), "{ended:?}");
    assert!(is(&login(&mut bob, "bob", "builder").await, 200));
    assert!(sipway.handle.metrics().get(Count::HinderedMessageRate) > 2);
    assert_eq!(sipway.handle.hindered()[0].limit, "message_rate");
    sipway.end().await;
}

/// Calls that went to somebody.
fn went_on(handle: &edge::Handle) -> u64 {
    let metrics = handle.metrics();
    // Failed first: one that is refused in between has started by then.
    let failed = metrics.get(Count::CallsFailed);
    metrics.get(Count::CallsStarted).saturating_sub(failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_calls_over_all_its_connections() {
    let sipway = sipway("user-calls", "user_calls = 1");
    let mut one = client(&sipway, [127, 0, 0, 2]).await;
    let mut other = client(&sipway, [127, 0, 0, 3]).await;
    let mut bob = client(&sipway, [127, 0, 0, 4]).await;
    for alice in [&mut one, &mut other] {
        assert!(is(&login(alice, "alice", "wonder").await, 200));
    }
    assert!(is(&login(&mut bob, "bob", "builder").await, 200));
    let invite = |from: &str, to: &str| {
        request("INVITE", &format!("sip:{to}@example.com"), from, &format!("<sip:{to}@example.com>"), "")
    };
    // One that goes nowhere takes no place.
    for _ in 0..3 {
        assert!(is(&ask(&mut one, &invite("<sip:alice@example.com>", "nobody")).await, 480));
    }
    one.send(invite("<sip:alice@example.com>", "bob").as_bytes()).unwrap();
    sipway.until("ringing", |handle| went_on(handle) == 1).await;
    for from in ["<sip:alice@example.com>", "\"Anonymous\" <sip:anonymous@anonymous.invalid>"] {
        let preferred = "P-Preferred-Identity: <sip:alice@example.com>\r\nContent-Length";
        let invite = invite(from, "bob").replace("Content-Length", preferred);
        let refused = ask(&mut other, &invite).await;
        assert!(refused.starts_with("SIP/2.0 503 Too Many Calls\r\n"), "{refused}");
    }
    // Being called is not calling.
    bob.send(invite("<sip:bob@example.com>", "alice").as_bytes()).unwrap();
    sipway.until("ringing", |handle| went_on(handle) == 2).await;
    // Bob is busy: the call is over, and the next begins.
    assert!(matches!(
        timeout(PATIENCE, bob.next()).await.unwrap(),
        Ok(Incoming::Request(_) | Incoming::Response(_))
    ));
    let rejected = async {
        loop {
            let _ = timeout(std::time::Duration::from_millis(20), bob.next()).await;
            if sipway.handle.metrics().get(Count::CallsRejected) > 0 {
                break;
            }
        }
    };
    timeout(PATIENCE, rejected).await.expect("over");
    other.send(invite("<sip:alice@example.com>", "bob").as_bytes()).unwrap();
    sipway.until("ringing", |handle| went_on(handle) == 3).await;
    assert_eq!(sipway.handle.metrics().get(Count::HinderedCalls), 2);
    sipway.end().await;
}

/// Many addresses guess, each too seldom to be banned. Nobody learns who exists, and the user gets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_guesses_one_password_has_few_tries_and_the_user_gets_in() {
    let sipway = sipway("user-guesses", "user_failures = 4");
    let mut home = client(&sipway, [127, 0, 0, 2]).await;
    assert!(is(&login(&mut home, "alice", "wonder").await, 200));
    let mut seen = Vec::new();
    for user in ["alice", "nobody"] {
        let mut answers = Vec::new();
        for address in 1..5 {
            let mut guesser = client(&sipway, [127, 0, 1, address]).await;
            for _ in 0..6 {
                answers.push(told(&login(&mut guesser, user, "a guess").await));
            }
        }
        seen.push(answers);
    }
    let statuses: Vec<&str> = seen[0].iter().map(|answer| &answer[0][8..11]).collect();
    let tries: [&[&str]; 4] = [
        // The first four make it guessed, and the address has its tries as all have.
        &["401"; 6],
        &["401", "401", "401", "503", "503", "503"],
        &["401", "401", "401", "503", "503", "503"],
        &["401", "401", "401", "503", "503", "503"],
    ];
    assert_eq!(statuses, tries.concat());
    // Seconds pass while they try.
    let bare = |answers: &[Vec<String>]| {
        let lines = answers
            .iter()
            .map(|answer| answer.iter().filter(|line| !line.starts_with("Retry-After")).cloned());
        lines.map(Iterator::collect).collect::<Vec<Vec<_>>>()
    };
    assert_eq!(bare(&seen[0]), bare(&seen[1]), "who exists");
    assert!(seen[0].last().unwrap().iter().any(|line| line.starts_with("Retry-After: ")));

    // The right password is not looked at from there, and is at once from elsewhere, and where she has been.
    let mut guesser = client(&sipway, [127, 0, 1, 4]).await;
    assert!(is(&login(&mut guesser, "alice", "wonder").await, 503));
    let mut abroad = client(&sipway, [127, 0, 2, 1]).await;
    assert!(is(&login(&mut abroad, "alice", "wonder").await, 200));
    for _ in 0..5 {
        let mut beside = client(&sipway, [127, 0, 0, 2]).await;
        assert!(is(&login(&mut beside, "alice", "an old one").await, 401));
    }
    let mut beside = client(&sipway, [127, 0, 0, 2]).await;
    assert!(is(&login(&mut beside, "alice", "wonder").await, 200));
    assert!(is(&login(&mut home, "alice", "wonder").await, 200));
    let mut bob = client(&sipway, [127, 0, 1, 4]).await;
    assert!(is(&login(&mut bob, "bob", "builder").await, 200));

    let names: Vec<_> = sipway.handle.hindered().into_iter().map(|one| (one.user, one.limit)).collect();
    assert!(
        names.contains(&("alice@example.com".into(), "failures"))
            && names.contains(&("nobody@example.com".into(), "failures"))
    );
    assert_eq!(sipway.handle.metrics().get(Count::HinderedFailures), 19);
    sipway.end().await;
}
