//! A call that goes on: what the audits, a snapshot and `sipway why` say of it.

use std::path::Path;

use lifecycle::Transport;
use prove::{Answering, Client};

use crate::directory::Directory;
use crate::http::ask;
use crate::process::{PATIENCE, Server, run, sipway};

fn invite(from: &str, to: &str) -> String {
    format!(
        "INVITE sip:{to}@localhost SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bKcall\r\nMax-Forwards: 70\r\n\
         From: <sip:{from}@localhost>;tag=a\r\nTo: <sip:{to}@localhost>\r\nCall-ID: of-{from}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:{from}@x.invalid;transport=ws>\r\nContent-Length: 0\r\n\r\n"
    )
}

async fn says(words: &[&str], ledger: &Path) -> String {
    let mut command = sipway(words);
    command.arg("--ledger").arg(ledger);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    ended.out
}

/// The number behind some words at the beginning of a line.
fn number(out: &str, words: &str) -> Option<String> {
    let line = out.lines().find_map(|line| line.strip_prefix(words))?;
    line.split_whitespace().next().map(ToOwned::to_owned)
}

/// Until the server's snapshot has so many calls.
async fn until_calls(server: &Server, count: usize) -> String {
    let look = async {
        loop {
            let snapshot = ask(server.address("ws"), "GET", "/api/snapshot").await;
            if snapshot.matches("\"call_id\":").count() == count && snapshot.contains("\"calls\":[") {
                return snapshot;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the calls in time")
}

async fn come(server: &Server, user: &str) -> Client {
    let mut client = server.connect(Transport::Ws, user).await;
    assert_eq!(client.register(600).await.unwrap().status, 200);
    client.set_answering(Answering::KeepsSilent);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_open_in_the_snapshot_and_in_both_audits_until_it_has_ended() {
    let directory = Directory::new("calling");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(crate::process::dev(&ledger, &[])).await;
    let (mut ada, _bob) = (come(&server, "ada").await, come(&server, "bob").await);
    ada.send(invite("ada", "bob").as_bytes()).unwrap();
    let snapshot = until_calls(&server, 1).await;
    assert!(
        snapshot.contains(r#""call_id":"of-ada""#) && snapshot.contains(r#""started_at":"#),
        "{snapshot}"
    );

    let audit = says(&["audit"], &ledger).await;
    for (words, expected) in
        [("calls started", "1"), ("calls ended", "0"), ("calls open", "1"), ("started-ended-open", "0")]
    {
        assert_eq!(number(&audit, words).as_deref(), Some(expected), "{words}: {audit}");
    }
    let admin = server.address("ws").to_string();
    let mut live = sipway(["audit", "--admin"]);
    live.arg(&admin);
    let live = run(live).await;
    assert_eq!(live.code, Some(0), "{}{}", live.out, live.err);
    for (words, expected) in [
        ("calls the server has", "1"),
        ("calls the ledger has", "1"),
        ("users online, by ledger", "2"),
        ("differences, certain", "0"),
    ] {
        assert_eq!(number(&live.out, words).as_deref(), Some(expected), "{words}: {}", live.out);
    }

    let told = says(&["why", "ada@localhost"], &ledger).await;
    assert!(told.contains("\nada@localhost calls bob@localhost since "), "{told}");
    let told = says(&["why", "bob@localhost"], &ledger).await;
    assert!(told.contains("\nbob@localhost is called by ada@localhost since "), "{told}");
    assert!(told.contains(", not answered yet: ") && !told.contains("The last call"), "{told}");

    let told = says(&["why", "of-ada"], &ledger).await;
    assert!(told.contains("ada@localhost calls bob@localhost (Call-ID of-ada)"), "by its Call-ID: {told}");
    assert!(told.contains("goes on, as far as is known"), "{told}");

    drop(ada);
    until_calls(&server, 0).await;
    let audit = says(&["audit"], &ledger).await;
    assert_eq!(number(&audit, "calls open").as_deref(), Some("0"), "{audit}");
    assert_eq!(number(&audit, "started-ended-open").as_deref(), Some("0"), "{audit}");
    for user in ["ada@localhost", "bob@localhost"] {
        let told = says(&["why", user], &ledger).await;
        let last = told.lines().find(|line| line.starts_with("The last call that ended, ")).unwrap();
        assert!(last.contains(" ada@localhost with bob@localhost by "), "{told}");
        assert!(!told.contains("not answered yet"), "{told}");
    }
    assert!(server.terminate().await.success());
}
