//! Numbers come with their nouns: one connection *was* open.

use std::process::Stdio;

use lifecycle::Transport;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use crate::directory::Directory;
use crate::process::{PATIENCE, Server, dev, run, sipway};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_open_is_counted_in_words() {
    for (number, words) in [(1, "1 connection was open when"), (2, "2 connections were open when")] {
        let directory = Directory::new("counts");
        let ledger = directory.at("ledger");
        let mut server = Server::dev(dev(&ledger, &[])).await;
        let mut clients = Vec::new();
        for _ in 0..number {
            clients.push(server.connect(Transport::Ws, "ada").await);
        }
        server.signal("KILL").await;
        server.end().await;
        let mut people = sipway(["dev", "--ledger"]);
        people.arg(&ledger).stdout(Stdio::piped());
        for flag in ["--ws", "--wss", "--udp", "--tcp"] {
            people.args([flag, "127.0.0.1:0"]);
        }
        let mut child = people.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let hearing = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("open when") {
                    return line;
                }
            }
            panic!("it never says what was open")
        };
        let said = timeout(PATIENCE, hearing).await.unwrap();
        assert!(said.contains(words), "{said}");
        child.start_kill().unwrap();
        child.wait().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_counts_in_words() {
    let directory = Directory::new("counts-audit");
    let ledger = directory.at("ledger");
    for runs in ["of 1 run\n", "of 2 runs\n"] {
        let mut server = Server::dev(dev(&ledger, &[])).await;
        assert!(server.terminate().await.success());
        let mut audit = sipway(["audit", "--ledger"]);
        audit.arg(&ledger);
        let ended = run(audit).await;
        assert!(ended.out.contains(runs), "{}", ended.out);
    }
}
