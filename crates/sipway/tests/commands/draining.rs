//! A node is emptied: at a pace, with words for everyone, and without a close that is missing.

use std::net::SocketAddr;

use lifecycle::Transport;
use prove::{Client, ConnectError, Ended, Setup};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::directory::Directory;
use crate::operator::{ask, eventually, get};
use crate::process::{PATIENCE, Server, ledger_events, run, sipway, types};

const FLOWS: usize = 200;

/// A server with a `ws` listener, an admin API, and what else the test wants.
async fn start(directory: &Directory, more: &str) -> Server {
    let text = format!(
        "[ledger]\ndirectory = \"ledger\"\n[log]\nformat = \"json\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n{more}"
    );
    let file = directory.write("sipway.toml", text);
    let mut command = sipway(["run", "--config"]);
    command.arg(file);
    Server::run(command).await
}

/// Clients that stay until they are told to go; each gives how its connection ended.
async fn crowd(server: &Server, size: usize) -> JoinSet<Ended> {
    let mut crowd = JoinSet::new();
    for number in 0..size {
        let mut client = server.connect(Transport::Ws, &format!("user{number}")).await;
        assert_eq!(client.register(600).await.unwrap().status, 200);
        crowd.spawn(async move { client.serve().await });
    }
    crowd
}

async fn ends(crowd: JoinSet<Ended>) -> Vec<Ended> {
    tokio::time::timeout(PATIENCE, crowd.join_all()).await.expect("everyone is told in time")
}

fn all_closed_with(wanted: u16, ends: &[Ended]) {
    for end in ends {
        assert!(matches!(end, Ended::Closed { code: Some(code), .. } if *code == wanted), "{end:?}");
    }
}

/// Every flow that opened has one close, and all by the server and for this cause.
fn none_is_missing(events: &[Value], flows: usize, cause: &str) {
    let count = |kind: &str| types(events).iter().filter(|other| **other == kind).count();
    assert_eq!((count("flow.opened"), count("flow.closed")), (flows, flows));
    assert_eq!((count("binding.added"), count("binding.removed")), (flows, flows));
    for close in events.iter().filter(|event| event["type"] == "flow.closed") {
        let data = &close["data"];
        assert_eq!((&data["by"], &data["cause"]), (&"server".into(), &cause.into()), "{data}");
    }
}

async fn progress(admin: SocketAddr) -> Value {
    get(admin, "/api/drain").await.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_closes_everyone_at_its_pace_and_says_so() {
    let directory = Directory::new("drain");
    let mut server = start(&directory, "").await;
    let admin = server.address("admin");
    assert_eq!(get(admin, "/healthz").await.status, 200);
    let crowd = crowd(&server, FLOWS).await;

    let mut drain = sipway(["drain", "--over", "5s", "--admin"]);
    drain.arg(format!("http://{admin}"));
    let command = tokio::spawn(run(drain));
    eventually("some are gone while others are there", || async {
        let progress = progress(admin).await;
        (progress["closed"] != 0 && progress["left"] != 0).then_some(())
    })
    .await;
    let refused = Client::connect(&server.target(Transport::Ws), &Setup::new("late")).await;
    assert!(matches!(refused, Err(ConnectError::Refused(503))), "{refused:?}");
    let health = get(admin, "/healthz").await;
    assert_eq!((health.status, health.body.as_str()), (503, "draining\n"));
    all_closed_with(1012, &ends(crowd).await);
    let command = command.await.unwrap();
    assert_eq!(command.code, Some(0), "{}", command.err);
    assert!(command.out.contains(&format!("drained: {FLOWS} closed, none open")), "{}", command.out);
    assert_eq!(progress(admin).await["state"], "drained");

    let mut cancel = sipway(["drain", "--cancel", "--admin"]);
    cancel.arg(admin.to_string());
    assert_eq!(run(cancel).await.code, Some(0));
    assert_eq!(get(admin, "/healthz").await.status, 200);
    assert!(server.terminate().await.success());

    let events = ledger_events(&directory.at("ledger")).await;
    none_is_missing(&events, FLOWS, "drain");
    assert_no_wave(&events);
}

/// The closes are spread over the time that they took as a whole, by the times in the ledger.
fn assert_no_wave(events: &[Value]) {
    let closes = events.iter().filter(|event| event["type"] == "flow.closed");
    let ended = |close: &Value| -> jiff::Timestamp { close["time"].as_str().unwrap().parse().unwrap() };
    let mut times: Vec<i64> = closes.map(|close| ended(close).as_millisecond()).collect();
    times.sort_unstable();
    let (first, last) = (times[0], times[times.len() - 1]);
    let quarters: Vec<i64> =
        [1, 2, 3].map(|part| (times[times.len() * part / 4] - first) * 100 / (last - first)).into();
    // A quarter of the flows a quarter of the time, give or take what a busy machine does.
    assert!(
        quarters[0] > 8 && quarters[1] > 25 && quarters[1] < 75 && quarters[2] < 92,
        "in a wave: {quarters:?} %"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_can_be_cancelled_and_sped_up() {
    let directory = Directory::new("cancel");
    let mut server = start(&directory, "").await;
    let admin = server.address("admin");
    let mut client = server.connect(Transport::Ws, "ada").await;
    assert_eq!(ask(admin, "POST /api/drain?over=24h", "", "").await.status, 202);
    assert_eq!(progress(admin).await["state"], "draining");
    assert_eq!(ask(admin, "DELETE /api/drain", "", "").await.status, 200);
    assert_eq!(progress(admin).await["state"], "serving");
    assert_eq!(get(admin, "/healthz").await.status, 200);
    assert_eq!(client.register(600).await.unwrap().status, 200, "who was there is there");
    let mut second = server.connect(Transport::Ws, "bob").await;

    assert_eq!(ask(admin, "POST /api/drain?over=24h", "", "").await.status, 202);
    assert_eq!(ask(admin, "POST /api/drain?over=0s", "", "").await.status, 202);
    for client in [&mut client, &mut second] {
        all_closed_with(1012, &[client.serve_for(PATIENCE).await.expect("is told at once")]);
    }
    eventually("all are gone", || async { (progress(admin).await["state"] == "drained").then_some(()) })
        .await;
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_in_a_call_is_closed_last() {
    let directory = Directory::new("calls-last");
    let mut server = start(&directory, "[limits]\nshards = 1\n").await;
    let admin = server.address("admin");
    // The oldest would go first, were it not for its call.
    let mut talking = server.connect(Transport::Ws, "talking").await;
    assert_eq!(talking.register(600).await.unwrap().status, 200);
    let mut called = server.connect(Transport::Ws, "called").await;
    assert_eq!(called.register(600).await.unwrap().status, 200);
    let invite = "INVITE sip:called@localhost SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bKcalls\r\nMax-Forwards: 70\r\n\
         From: <sip:talking@localhost>;tag=1\r\nTo: <sip:called@localhost>\r\nCall-ID: calls-last\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:talking@x.invalid;transport=ws>\r\nContent-Length: 0\r\n\r\n";
    talking.send(invite.as_bytes()).unwrap();
    let incoming = tokio::time::timeout(PATIENCE, called.next()).await.expect("the call comes").unwrap();
    assert!(incoming.message().is_request());
    let mut crowd = crowd(&server, 20).await;
    crowd.spawn(async move { talking.serve().await });
    crowd.spawn(async move { called.serve().await });
    assert_eq!(ask(admin, "POST /api/drain?over=1s", "", "").await.status, 202);
    all_closed_with(1012, &ends(crowd).await);
    assert!(server.terminate().await.success());

    let events = ledger_events(&directory.at("ledger")).await;
    let closes = events.iter().filter(|event| event["type"] == "flow.closed");
    let users: Vec<_> =
        closes.map(|close| close["data"]["bindings"][0].as_str().unwrap().to_owned()).collect();
    let mut last = users[20..].to_vec();
    last.sort();
    assert_eq!(last, ["called@localhost", "talking@localhost"], "{users:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_is_a_paced_closing_too() {
    let directory = Directory::new("paced-end");
    let mut server = start(&directory, "[shutdown]\nover = \"1s\"\ndeadline = \"1m\"\n").await;
    let crowd = crowd(&server, FLOWS).await;
    server.signal("TERM").await;
    all_closed_with(1001, &ends(crowd).await);
    assert!(server.end().await.success());
    let events = ledger_events(&directory.at("ledger")).await;
    none_is_missing(&events, FLOWS, "shutdown");
    assert_eq!(types(&events).last(), Some(&"node.stopped"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_closes_the_rest_at_once_and_loses_nothing() {
    let directory = Directory::new("hurried-end");
    let mut server = start(&directory, "[shutdown]\nover = \"1h\"\ndeadline = \"1h\"\n").await;
    let admin = server.address("admin");
    let crowd = crowd(&server, FLOWS).await;
    server.signal("TERM").await;
    eventually("it ends", || async { (progress(admin).await["state"] == "shutting_down").then_some(()) })
        .await;
    let refused = ask(admin, "POST /api/drain", "", "").await;
    assert_eq!(refused.status, 409, "{refused:?}");
    server.signal("TERM").await;
    all_closed_with(1001, &ends(crowd).await);
    assert!(server.end().await.success());
    let events = ledger_events(&directory.at("ledger")).await;
    none_is_missing(&events, FLOWS, "shutdown");
    assert_eq!(types(&events).last(), Some(&"node.stopped"));
}
