//! Passwords as clients of all kinds prove them: what they write may differ, who they are may not.

use std::net::IpAddr;

use lifecycle::Transport;
use metrics::Count;
use prove::{Answering, Client, Setup};
use sip_auth::Algorithm;

use crate::{
    test_server::{PATIENCE, TestServer},
    who::{ask, client, credentials, request},
};

const DOMAIN: &str = "[[domain]]\nname = \"example.com\"\nusers = \"{here}/users.txt\"\n";

/// Registers by credentials that are changed before they are sent, and once signed for another `uri`.
async fn register(client: &mut Client, written: &str, password: &str, uri: &str) -> String {
    let me = "<sip:alice@example.com>";
    let first = ask(client, &request("REGISTER", "sip:example.com", me, me, "")).await;
    let proof = credentials(&first, "REGISTER", uri, written, password, 1);
    ask(client, &request("REGISTER", "sip:example.com", me, me, &proof)).await
}

fn is(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("SIP/2.0 {status} "))
}

fn sipway(name: &str, more: &str, users: &str) -> TestServer {
    TestServer::with_files(name, &format!("{DOMAIN}{more}"), &[("users.txt", users)])
}

/// Desk phones know MD5 alone, and many take the first challenge or the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_default_there_is_one_challenge_and_it_is_md5() {
    let sipway = sipway("digest-default", "", "alice:wonder\n");
    let mut alice = client(&sipway, Transport::Tcp, "alice", "example.com", None).await;
    for (method, uri) in [("REGISTER", "sip:example.com"), ("INVITE", "sip:bob@example.com")] {
        let me = "<sip:alice@example.com>";
        let answer = ask(&mut alice, &request(method, uri, me, me, "")).await;
        let challenges: Vec<&str> = answer.lines().filter(|line| line.contains("-Authenticate: ")).collect();
        assert!(challenges.len() == 1 && challenges[0].contains("algorithm=MD5"), "{answer}");
    }
    assert!(is(&register(&mut alice, "alice", "wonder", "sip:example.com").await, 200));
    sipway.end().await;
}

/// sipp writes the server's address and port; RFC 3261 §22.4, item 5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_uri_that_is_not_the_request_uri_is_taken_unless_the_domain_is_strict() {
    for (strict, status) in [("", 200), ("digest_uri = \"same\"\n", 400)] {
        let sipway = sipway(&format!("digest-uri-{status}"), strict, "alice:wonder\n");
        let mut alice = client(&sipway, Transport::Tcp, "alice", "example.com", None).await;
        for uri in ["sip:alice@127.0.0.1:5060", "sip:127.0.0.1:5060", "sip:bob@example.org"] {
            let answer = register(&mut alice, "alice", "wonder", uri).await;
            assert!(is(&answer, status), "{uri}: {answer}");
            let guess = register(&mut alice, "alice", "a guess", uri).await;
            assert!(is(&guess, if status == 200 { 401 } else { 400 }), "{uri}: {guess}");
        }
        assert!(is(&register(&mut alice, "alice", "wonder", "sip:example.com").await, 200));
        sipway.end().await;
    }
}

/// Whoever captured credentials can use them for another target, and only if they were not used before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_for_one_target_are_used_up_for_all() {
    let sipway = sipway("digest-once", "", "alice:wonder\n");
    let mut alice = client(&sipway, Transport::Tcp, "alice", "example.com", None).await;
    let (me, bob) = ("<sip:alice@example.com>", "sip:bob@example.com");
    let first = ask(&mut alice, &request("MESSAGE", bob, me, "<sip:bob@example.com>", "")).await;
    let proof = credentials(&first, "MESSAGE", bob, "alice", "wonder", 1);
    let used = ask(&mut alice, &request("MESSAGE", bob, me, "<sip:bob@example.com>", &proof)).await;
    assert!(!is(&used, 407), "{used}");
    let mut eve = client(&sipway, Transport::Tcp, "eve", "example.com", None).await;
    for (method, uri) in [("MESSAGE", "sip:carol@example.com"), ("MESSAGE", bob), ("INVITE", bob)] {
        let again = ask(&mut eve, &request(method, uri, me, "<sip:bob@example.com>", &proof)).await;
        assert!(is(&again, 407), "{method} {uri}: {again}");
    }
    sipway.end().await;
}

/// Two domains may have one realm, and users with the same names and passwords.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_for_one_domain_are_used_up_for_others_of_the_realm() {
    let domain =
        |name| format!("[[domain]]\nname = \"{name}\"\nusers = \"{{here}}/users.txt\"\nrealm = \"R\"\n");
    let domains = domain("example.com") + &domain("example.org");
    let sipway = TestServer::with_files("digest-realm", &domains, &[("users.txt", "alice:wonder\n")]);
    let mut alice = client(&sipway, Transport::Tcp, "alice", "example.com", None).await;
    let (here, there) = ("<sip:alice@example.com>", "<sip:alice@example.org>");
    let first = ask(&mut alice, &request("REGISTER", "sip:example.com", here, here, "")).await;
    let proof = credentials(&first, "REGISTER", "sip:example.com", "alice", "wonder", 1);
    let used = ask(&mut alice, &request("REGISTER", "sip:example.com", here, here, &proof)).await;
    assert!(is(&used, 200), "{used}");
    let mut eve = client(&sipway, Transport::Tcp, "eve", "example.org", None).await;
    let again = ask(&mut eve, &request("REGISTER", "sip:example.org", there, there, &proof)).await;
    assert!(is(&again, 401), "{again}");
    // A client that does so by mistake need not ask its user again.
    assert!(again.contains("stale=true"), "{again}");
    sipway.end().await;
}

/// Many phones write the domain, or the whole address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_proves_the_password_however_the_phone_writes_the_name() {
    let more = "realm = \"Example Phones\"\n[[domain]]\nname = \"example.org\"\nauth = \"open\"\n";
    let sipway = sipway("digest-names", more, "alice:wonder\nalice@example.org:wonder\n");
    let mut alice = client(&sipway, Transport::Tcp, "alice", "example.com", None).await;
    for written in [
        "alice",
        "alice@example.com",
        "alice@EXAMPLE.COM",
        "alice@Example Phones",
        "sip:alice@example.com",
        "%61lice",
    ] {
        let answer = register(&mut alice, written, "wonder", "sip:example.com").await;
        assert!(is(&answer, 200), "{written}: {answer}");
    }
    for written in ["alice@example.net", "sip:alice@example.net", "bob@example.com", "Alice"] {
        let answer = register(&mut alice, written, "wonder", "sip:example.com").await;
        assert!(is(&answer, 401), "{written}: {answer}");
    }
    // That one is a user of this domain whose own name has another domain in it: it is not alice.
    let answer = register(&mut alice, "alice@example.org", "wonder", "sip:example.com").await;
    assert!(answer.starts_with("SIP/2.0 403 Not Your Address\r\n"), "{answer}");
    // And in requests that are not REGISTER.
    let me = "<sip:alice@example.com>";
    let uri = "sip:nobody@example.com";
    let mut other = client(&sipway, Transport::Tcp, "alice", "example.com", None).await;
    let first = ask(&mut other, &request("MESSAGE", uri, me, me, "")).await;
    let proof = credentials(&first, "MESSAGE", uri, "alice@example.com", "wonder", 1);
    let answer = ask(&mut other, &request("MESSAGE", uri, me, me, &proof)).await;
    assert!(is(&answer, 404), "{answer}");
    sipway.end().await;
}

/// A stored hash is over one spelling; a second hash makes a second spelling good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_hashes_serve_the_spellings_that_were_hashed() {
    let line = |written: &str| {
        let ha1 = Algorithm::Md5.ha1(written, "example.com", "wonder").to_hex();
        format!("{written}:example.com:{ha1}\n")
    };
    let (short, long) = (line("alice"), line("alice@example.com"));
    for (name, users, statuses) in [
        ("short", short.clone(), [200, 401]),
        ("long", long.clone(), [401, 200]),
        ("both", format!("{short}{long}"), [200, 200]),
    ] {
        let sipway = sipway(&format!("digest-hash-{name}"), "", &users);
        let mut alice = client(&sipway, Transport::Tcp, "alice", "example.com", None).await;
        for (written, status) in ["alice", "alice@example.com"].into_iter().zip(statuses) {
            let answer = register(&mut alice, written, "wonder", "sip:example.com").await;
            assert!(is(&answer, status), "{name} {written}: {answer}");
            // The client is not told that there is such a user.
            assert!(!answer.contains("stale=true"), "{answer}");
        }
        sipway.end().await;
    }
}

/// However a guesser writes the name, it is one user whose password is guessed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_under_other_spellings_of_a_name_count_for_the_user() {
    let limits = "[defence]\nuser_failures = 4\nexempt = [\"127.0.0.9\"]\n";
    let sipway = sipway("digest-guess", limits, "alice:wonder\n");
    let spellings =
        ["alice", "alice@example.com", "sip:alice@example.com", "%61lice", "al%69ce", "sips:alice"];
    let mut statuses = Vec::new();
    for address in 1..3 {
        let target = sipway.target(Transport::Tcp).domain("example.com");
        let source = Some(IpAddr::from([127, 0, 1, address]));
        let setup = Setup { patience: PATIENCE, source, ..Setup::new("anybody") };
        let mut guesser = Client::connect(&target, &setup).await.unwrap();
        for written in spellings {
            let answer = register(&mut guesser, written, "a guess", "sip:example.com").await;
            statuses.push(answer[8..11].to_owned());
        }
    }
    // As under one spelling: the first address makes it guessed, the second has three tries.
    let tries: [&[&str]; 3] = [&["401"; 6], &["401"; 3], &["503"; 3]];
    assert_eq!(statuses, tries.concat());
    let hindered = sipway.handle.hindered();
    assert_eq!((hindered.len(), hindered[0].user.as_str()), (1, "alice@example.com"));
    sipway.end().await;
}

/// A user who guesses at others beside the proof of who he is gets in, and the guesses count: one each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_credentials_hide_no_guesses_at_others() {
    let limits = "[defence]\nfailures = 6\nexempt = \"off\"\n";
    let sipway = sipway("digest-hidden", limits, "alice:wonder\nbob:builder\n");
    let target = sipway.target(Transport::Tcp).domain("example.com");
    let source = Some(IpAddr::from([127, 0, 1, 9]));
    let setup = Setup { patience: PATIENCE, source, ..Setup::new("alice") };
    let mut alice = Client::connect(&target, &setup).await.unwrap();
    let me = "<sip:alice@example.com>";
    let first = ask(&mut alice, &request("REGISTER", "sip:example.com", me, me, "")).await;
    let proof = |user, password, nc| credentials(&first, "REGISTER", "sip:example.com", user, password, nc);
    let register = |proofs: String| request("REGISTER", "sip:example.com", me, me, &proofs);
    // What comes behind a proof is not looked at.
    let harmless = proof("alice", "wonder", 1) + &proof("bob", "a guess", 2);
    assert!(is(&ask(&mut alice, &register(harmless)).await, 200));
    assert_eq!(sipway.handle.metrics().get(Count::WrongCredentials), 0);
    let guesses = proof("bob", "one", 3) + &proof("carol", "two", 4) + &proof("bob", "three", 5);
    assert!(is(&ask(&mut alice, &register(guesses + &proof("alice", "wonder", 6))).await, 200));
    assert_eq!(sipway.handle.metrics().get(Count::WrongCredentials), 3);
    let guesses = proof("bob", "four", 7) + &proof("bob", "five", 8) + &proof("bob", "six", 9);
    assert!(is(&ask(&mut alice, &register(guesses)).await, 401));
    assert_eq!(sipway.handle.metrics().get(Count::WrongCredentials), 6);
    // The seventh: one more than the address and the connection have.
    let guess = proof("bob", "seven", 10) + &proof("alice", "wonder", 11);
    alice.send(register(guess).as_bytes()).unwrap();
    let ended = async {
        loop {
            if let Err(ended) = alice.next().await {
                break ended;
            }
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the guesses of a user are at an end, too");
    sipway.end().await;
}

/// Old phones know no `qop` (RFC 2543). Their nonces are good for one request each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_without_qop_proves_its_password_once_with_each_nonce() {
    let sipway = sipway("digest-qop", "", "alice:wonder\n");
    let mut alice = client(&sipway, Transport::Tcp, "alice", "example.com", None).await;
    let me = "<sip:alice@example.com>";
    let first = ask(&mut alice, &request("REGISTER", "sip:example.com", me, me, "")).await;
    let proof = credentials(
        &first.replace(", qop=\"auth\"", ""),
        "REGISTER",
        "sip:example.com",
        "alice",
        "wonder",
        1,
    );
    assert!(!proof.contains("qop"), "{proof}");
    let answer = ask(&mut alice, &request("REGISTER", "sip:example.com", me, me, &proof)).await;
    assert!(is(&answer, 200), "{answer}");
    let again = ask(&mut alice, &request("REGISTER", "sip:example.com", me, me, &proof)).await;
    assert!(is(&again, 401) && again.contains("stale=true"), "{again}");
    assert_eq!(sipway.handle.metrics().get(Count::CredentialsReplayed), 1);
    sipway.end().await;
}

/// A user who may ask another for a password in our name could use here what he is told: a call to a number
/// that costs, in the other's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_user_asks_another_for_a_password_in_our_name() {
    let sipway = sipway("digest-relay", "", "alice:wonder\nbob:builder\n");
    let mut alice = client(&sipway, Transport::Ws, "alice", "example.com", Some("wonder")).await;
    let mut bob = client(&sipway, Transport::Ws, "bob", "example.com", Some("builder")).await;
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    assert_eq!(bob.register(600).await.unwrap().status, 200);
    bob.set_answering(Answering::KeepsSilent);
    let ours = [
        "Digest realm=\"example.com\", nonce=\"n\"",
        "digest nonce=\"n\",\r\n realm=\"ex\\ample.com\"",
        "Digest realm=\"EXAMPLE.com\", nonce=\"n\", qop=\"auth\"",
        "Digest realm=\"example.com\", nonce=\"n\", nonce=\"n\"",
        "Digest realm=\"elsewhere\", nonce=\"n\", Digest realm=\"example.com\", nonce=\"n\"",
        "Basic realm=\"x\", Digest realm=\"example.com\", nonce=\"n\"",
    ];
    let theirs = "Digest realm=\"elsewhere\", nonce=\"n\"";
    let me = "<sip:alice@example.com>";
    for (status, name) in [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate"), (407, "WWW-Authenticate")]
    {
        for challenge in ours {
            let message = request("MESSAGE", "sip:bob@example.com", me, "<sip:bob@example.com>", "");
            let more = format!("{name}: {challenge}\r\n{name}: {theirs}\r\n");
            let (answer, ()) = tokio::join!(ask(&mut alice, &message), async {
                let came = bob.next().await.unwrap();
                let text = String::from_utf8(came.bytes().to_vec()).unwrap();
                let kept = |line: &&str| {
                    ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name))
                };
                let lines: Vec<&str> = text.lines().filter(kept).collect();
                let answer = format!(
                    "SIP/2.0 {status} Who Are You\r\n{}\r\nTo: <sip:bob@example.com>;tag=b\r\n{more}Content-Length: 0\r\n\r\n",
                    lines.join("\r\n")
                );
                bob.send(answer.as_bytes()).unwrap();
            });
            assert!(is(&answer, status), "{answer}");
            let asked: Vec<&str> = answer.lines().filter(|line| line.contains("realm")).collect();
            assert_eq!(asked, [format!("{name}: {theirs}")], "{challenge}: {answer}");
        }
    }
    sipway.end().await;
}
