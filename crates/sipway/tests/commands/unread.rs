//! Nobody reads what the server prints: it serves all the same.

use std::process::Stdio;

use lifecycle::Transport;
use tokio::process::Command;

use crate::directory::Directory;
use crate::process::{Server, dev, ledger_events, sipway, types};

/// The end of a pipe that nobody reads, as after `| head -1`.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

async fn serves_to_the_end(mut server: Server, ledger: &std::path::Path) {
    for user in ["ada", "bob"] {
        let mut client = server.connect(Transport::Ws, user).await;
        assert_eq!(client.register(600).await.unwrap().status, 200);
        let aor = client.address_of_record();
        assert_eq!(client.message(&aor, b"to myself").await.unwrap().status, 200);
    }
    assert_eq!(server.terminate().await.code(), Some(0));
    let events = ledger_events(ledger).await;
    assert_eq!(types(&events).iter().filter(|kind| **kind == "flow.closed").count(), 2);
    assert_eq!(types(&events).last(), Some(&"node.stopped"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_output_that_is_closed_after_the_first_line() {
    let directory = Directory::new("head");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    server.out = None;
    serves_to_the_end(server, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_error_that_is_closed() {
    let directory = Directory::new("deaf-error");
    let ledger = directory.at("ledger");
    let mut command: Command = dev(&ledger, &[]);
    // So much is logged that every thread tries.
    command.args(["--log", "trace"]).stderr(unread());
    serves_to_the_end(Server::dev(command).await, &ledger).await;
}

/// The addresses themselves meet a closed pipe; they are not known then, so the ledger tells that it ran and
/// ended in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_output_that_was_never_read() {
    for arguments in [&["--json"][..], &[]] {
        let directory = Directory::new("never");
        let ledger = directory.at("ledger");
        let mut command = sipway(["dev"]);
        for flag in ["--ws", "--wss", "--udp", "--tcp"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command.args(arguments).arg("--ledger").arg(&ledger).stdout(unread());
        let mut child = command.spawn().unwrap();
        // It would end at the first line that it prints; the ledger shows that it came to that.
        let started = async {
            loop {
                let mut events = sipway(["events", "--json", "--ledger"]);
                let events = events.arg(&ledger).output().await.unwrap();
                if String::from_utf8_lossy(&events.stdout).contains("node.started") {
                    return;
                }
                assert_eq!(child.try_wait().unwrap(), None, "it ended");
            }
        };
        tokio::time::timeout(crate::process::PATIENCE, started).await.expect("starts in time");
        crate::process::signal(child.id().unwrap(), "TERM").await;
        let status = tokio::time::timeout(crate::process::PATIENCE, child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0));
        assert_eq!(types(&ledger_events(&ledger).await).last(), Some(&"node.stopped"));
    }
}
