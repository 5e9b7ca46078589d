//! `sipway prove`: a run that adds up, a server whose events do not, an interrupted run.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lifecycle::Transport;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::directory::Directory;
use crate::process::{Server, dev, sipway};

/// A run has several starts of a server, and deadlines of silent flows to wait for.
const LONG: Duration = Duration::from_secs(240);

async fn ended(mut command: Command) -> (Option<i32>, String, String) {
    let output = timeout(LONG, command.output()).await.expect("ends in time").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_with_every_kind_of_round_adds_up() {
    let directory = Directory::new("prove");
    let kept = directory.at("kept");
    let mut command =
        sipway(["prove", "--flows", "880", "--rounds", "11", "--seed", "7", "--json", "--keep"]);
    command.arg(&kept);
    let (code, out, err) = ended(command).await;
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    assert_eq!((code, &report["misses"]), (Some(0), &json!(0)), "{report:#}");
    let total = &report["total"];
    assert_eq!(total["right"], total["done"], "{report:#}");
    let server = &report["server"];
    assert_eq!(
        (&server["kills"], &server["terminations"], &server["webhook_outages"]),
        (&json!(7), &json!(2), &json!(2))
    );
    assert_eq!(
        (&server["ledger"]["opened"], &server["ledger"]["open"]),
        (&server["ledger"]["closed"], &json!(0))
    );
    let (told, webhook) = (total["done"].as_u64().unwrap(), &server["webhook"]["total"]);
    assert!(told > 700 && webhook["done"] == told, "{report:#}");
    let last_words = &report["said_before_the_end"];
    for what in ["BYE", "un-REGISTER", "first REGISTER"] {
        assert!(
            last_words[what]["arrived"].as_u64() > Some(0) && last_words[what]["lost"] == 0,
            "{report:#}"
        );
    }
    // What it kept proves the same.
    let mut audit = sipway(["audit", "--ledger"]);
    audit.arg(kept.join("ledger"));
    let (code, out, err) = ended(audit).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(err.lines().next().is_none() && out.contains("it adds up"), "{out}{err}");
}

/// Copies what a server prints to a file in the form of a server that has neither ids nor causes. It forgets
/// the tenth close and tells the twentieth twice.
async fn tell_wrongly(server: &mut Server, file: &Path) {
    let mut closes = 0;
    let mut written = fs::File::create(file).unwrap();
    let lines = server.out.as_mut().unwrap();
    while let Some(line) = lines.next_line().await.unwrap() {
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        let data = json!({"remote": event["data"]["remote"], "transport": "ws"});
        let line = json!({"type": event["type"], "data": data}).to_string();
        let times = match event["type"].as_str() {
            Some("flow.opened") => 1,
            Some("flow.closed") => {
                closes += 1;
                match closes {
                    10 => 0,
                    20 => 2,
                    _ => 1,
                }
            }
            _ => 0,
        };
        (0..times)
            .for_each(|_| std::io::Write::write_all(&mut written, format!("{line}\n").as_bytes()).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_a_close_and_tells_one_twice_is_found_out() {
    let directory = Directory::new("prove-server");
    let mut server = Server::dev(dev(&directory.at("ledger"), &[])).await;
    let url = format!("ws://{}/", server.target(Transport::Ws).address);
    let events = directory.at("events.jsonl");
    fs::write(&events, "").unwrap();
    let mut command = sipway(["prove", "--flows", "60", "--patience", "3", "--json", "--server", &url]);
    command.args(["--domain", "localhost", "--events"]).arg(&events);
    let proving = ended(command);
    let (code, out, err) = tokio::select! {
        ended = proving => ended,
        () = tell_wrongly(&mut server, &events) => panic!("the server ended"),
    };
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    assert_eq!(code, Some(1), "{report:#}");
    let total = &report["total"];
    // The client that is said BYE to is one more.
    assert_eq!((&total["done"], &total["opened"]), (&json!(61), &json!(61)), "{report:#}");
    assert_eq!(
        (&total["missing"], &total["doubled"], &total["cause_untold"]),
        (&json!(1), &json!(1), &json!(59))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_events_it_says_that_it_knows_the_clients_view_alone() {
    let directory = Directory::new("prove-view");
    let server = Server::dev(dev(&directory.at("ledger"), &[])).await;
    let url = format!("ws://{}/", server.target(Transport::Ws).address);
    let (code, out, err) =
        ended(sipway(["prove", "--flows", "30", "--domain", "localhost", "--server", &url])).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("31 connected and ended") && out.contains("only the clients' view"), "{out}");
}

/// Whether any process was started with this in its command line.
fn runs(with: &Path) -> bool {
    let with = with.to_str().unwrap().as_bytes();
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.windows(with.len()).any(|part| part == with)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_leaves_nothing_behind() {
    let directory = Directory::new("prove-interrupted");
    let temporary = directory.at("tmp");
    fs::create_dir_all(&temporary).unwrap();
    let temporary = temporary.canonicalize().unwrap();
    let mut command = sipway(["prove", "--flows", "100000"]);
    command.env("TMPDIR", &temporary).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    timeout(LONG, lines.next_line()).await.expect("a first round").unwrap().unwrap();
    assert!(runs(&temporary.join("")), "its server is running");
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let output = timeout(LONG, child.wait_with_output()).await.expect("ends in time").unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
    while runs(&temporary.join("")) {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "its directory is gone");
}
