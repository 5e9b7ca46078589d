//! `sipway events`: the choices, following, and places where there is nothing to read.

use std::path::Path;
use std::process::Stdio;

use lifecycle::Transport;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use crate::churn::churn;
use crate::directory::Directory;
use crate::process::{Ended, PATIENCE, Server, dev, ledger_events, run, sipway, types};

async fn events(ledger: &Path, arguments: &[&str]) -> Ended {
    let mut command = sipway(["events", "--ledger"]);
    command.arg(ledger).args(arguments);
    run(command).await
}

async fn chosen(ledger: &Path, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
    let ended = events(ledger, &arguments).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_choice_chooses() {
    let directory = Directory::new("choices");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    for user in ["ada", "bob"] {
        let mut client = server.connect(Transport::Ws, user).await;
        assert_eq!(client.register(600).await.unwrap().status, 200);
    }
    assert!(server.terminate().await.success());

    let all = ledger_events(&ledger).await;
    assert_eq!(types(&all).len(), 12, "{:?}", types(&all));
    let by_hand =
        |fits: &dyn Fn(&Value) -> bool| all.iter().filter(|event| fits(event)).cloned().collect::<Vec<_>>();

    let closed = chosen(&ledger, &["--type", "flow.closed"]).await;
    assert_eq!(closed, by_hand(&|event| event["type"] == "flow.closed"));
    assert_eq!(closed.len(), 2);
    let both = chosen(&ledger, &["--type", "flow.closed", "--type", "flow.opened"]).await;
    assert_eq!(both.len(), 4);

    let flow = closed[0]["data"]["flow"].as_str().unwrap();
    let of_flow = chosen(&ledger, &["--flow", flow]).await;
    assert_eq!(of_flow, by_hand(&|event| event["data"]["flow"] == flow));
    assert_eq!(types(&of_flow), ["flow.opened", "binding.added", "binding.removed", "flow.closed"]);

    // The close names the bindings that the flow held, so it belongs to the address, too.
    let of_ada = chosen(&ledger, &["--aor", "ada@localhost"]).await;
    assert_eq!(types(&of_ada), ["binding.added", "user.online", "binding.removed", "flow.closed"]);
    assert_eq!(chosen(&ledger, &["--aor", "ada@localhost", "--type", "flow.closed"]).await.len(), 1);
    assert!(chosen(&ledger, &["--aor", "nobody@localhost"]).await.is_empty());

    let time = of_flow[1]["time"].as_str().unwrap();
    let since = chosen(&ledger, &["--since", time]).await;
    // RFC 3339 in UTC with the same number of digits: order of text is order of time.
    assert_eq!(since, by_hand(&|event| event["time"].as_str().unwrap() >= time));
    assert_eq!(chosen(&ledger, &["--since", "1h"]).await, all);
    assert!(chosen(&ledger, &["--since", "2999-01-01T00:00:00Z"]).await.is_empty());

    for (wrong, said) in [
        (&["--flow", "zzz"][..], "is no flow id"),
        (&["--since", "1h", "--until", "2h"], "swap them"),
        (&["--since", "yesterday"], "--since"),
    ] {
        let ended = events(&ledger, wrong).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{wrong:?}");
        assert!(ended.err.contains(said), "{}", ended.err);
    }

    let lines = events(&ledger, &[]).await;
    assert_eq!(lines.code, Some(0), "{}", lines.err);
    assert_eq!(lines.out.lines().count(), all.len(), "a line for each event");
    for (line, event) in lines.out.lines().zip(&all) {
        assert!(line.contains(event["type"].as_str().unwrap()), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_goes_on_over_a_restart() {
    let directory = Directory::new("follow");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    let mut command = sipway(["events", "--json", "--follow", "--ledger"]);
    let mut follower = command.arg(&ledger).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut seen: Vec<Value> = Vec::new();
    let mut until = async |kind: &str| {
        loop {
            let line = timeout(PATIENCE, lines.next_line())
                .await
                .unwrap_or_else(|_| panic!("{kind} in time"))
                .unwrap();
            let event: Value = serde_json::from_str(&line.expect("goes on")).unwrap();
            let kind_seen = event["type"].as_str().unwrap().to_owned();
            seen.push(event);
            if kind_seen == kind {
                return;
            }
        }
    };
    until("node.started").await;
    let client = server.connect(Transport::Ws, "ada").await;
    until("flow.opened").await;
    drop(client);
    until("flow.closed").await;
    assert!(server.terminate().await.success());
    until("node.stopped").await;
    let mut server = Server::dev(dev(&ledger, &[])).await;
    until("node.started").await;
    assert!(server.terminate().await.success());
    until("node.stopped").await;
    assert_eq!(seen, ledger_events(&ledger).await);
}

/// Small segments, so that there are many.
async fn in_small_segments(directory: &Directory) -> Server {
    let text = "[ledger]\ndirectory = \"ledger\"\nsegment_size = \"64KiB\"\n[log]\nformat = \"json\"\n\
         [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n";
    let mut command = sipway(["run", "--config"]);
    command.arg(directory.write("sipway.toml", text));
    Server::run(command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_and_since_go_over_many_segments_and_a_restart() {
    let directory = Directory::new("segments");
    let ledger = directory.at("ledger");
    let segments = || std::fs::read_dir(ledger.join("segments")).unwrap().count();
    let mut server = in_small_segments(&directory).await;
    let mut command = sipway(["events", "--json", "--follow", "--ledger"]);
    let mut follower = command.arg(&ledger).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    for run in 1..=2 {
        if run == 2 {
            server = in_small_segments(&directory).await;
        }
        let before = segments();
        while segments() < before + 3 {
            churn(&server, 2, 20).await;
        }
        assert!(server.terminate().await.success());
    }
    let all = ledger_events(&ledger).await;
    for (number, event) in all.iter().enumerate() {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("in time").unwrap().expect("goes on");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), *event, "event {number}");
    }
    // From the first, from the last, and from some of every part.
    for at in (0..all.len()).step_by(all.len() / 12).chain([all.len() - 1]) {
        let time = all[at]["time"].as_str().unwrap();
        let by_hand = all.iter().filter(|event| event["time"].as_str().unwrap() >= time);
        let since = chosen(&ledger, &["--since", time]).await;
        assert!(since.iter().eq(by_hand), "since {time}, event {at} of {}", all.len());
    }
}

#[tokio::test]
async fn where_there_is_no_ledger() {
    let directory = Directory::new("nothing");
    std::fs::create_dir(directory.at("empty")).unwrap();
    for name in ["missing", "empty"] {
        let place = directory.at(name);
        for arguments in [&[][..], &["--follow"], &["--json"]] {
            let ended = events(&place, arguments).await;
            assert_eq!(ended.code, Some(1), "{}", ended.err);
            assert_eq!(ended.out, "");
            assert!(ended.err.contains(&place.display().to_string()), "{}", ended.err);
            assert!(
                ended.err.contains("there is no ledger here") && ended.err.contains("--ledger"),
                "{}",
                ended.err
            );
        }
    }
    assert_eq!(directory.names(), ["empty"], "looking makes nothing");
    let file = directory.write("file", "");
    let ended = events(&file, &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains(&file.display().to_string()), "{}", ended.err);
}

#[tokio::test]
async fn what_cannot_be_asked_for() {
    let directory = Directory::new("unasked");
    for (arguments, words) in [
        (["--since", "yesterday"], ["yesterday", "15m"]),
        (["--type", "flow.closd"], ["flow.closd", "flow.closed"]),
    ] {
        let ended = events(directory.path(), &arguments).await;
        assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.err);
        for word in words {
            assert!(ended.err.contains(word), "{}", ended.err);
        }
    }
}

/// `events | head -1`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_seen_enough() {
    let directory = Directory::new("enough");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    drop(server.connect(Transport::Ws, "ada").await);
    assert!(server.terminate().await.success());
    for command in ["events", "audit"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = sipway([command, "--ledger"]);
        command.arg(&ledger).stdout(writer).stderr(Stdio::piped());
        let output = timeout(PATIENCE, command.spawn().unwrap().wait_with_output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "quietly");
    }
}
