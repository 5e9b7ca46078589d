//! Many flows ended at one instant, in every way: one close of each, of the right cause.

use std::time::Duration;

use lifecycle::Transport;
use prove::{
    Attempt, Became, Client, Disaster, Ending, Farewell, Feed, LastWord, Progress, Registered, Setup, Storm,
    Target, Verdict, Waited, now_micros, reconcile, storm,
};

use crate::server::{Directory, PATIENCE, Server};

/// A REGISTER is on its way when the connection ends: the first one, or a refresh.
const IN_FLIGHT: &[LastWord] = &[LastWord::Register, LastWord::Refresh];

/// What else is said right before, or nothing.
const OTHERWISE: &[LastWord] = &[LastWord::Nothing, LastWord::Unregister, LastWord::Bye];

/// How long ten thousand may take to open on two slow processors.
const LONG: Duration = Duration::from_secs(120);

async fn all_end(name: &str, transport: Transport, flows: usize, last_words: &[LastWord]) {
    let directory = Directory::new(name);
    let feed = Feed::default();
    let mut server = Server::dev(directory.path(), &feed).await;
    let targets: Vec<Target> = vec![server.target(transport)];
    let last_words = last_words.to_vec();
    let plan = Storm { patience: LONG, last_words, ..Storm::new(targets, flows) };
    let mut told = Vec::new();
    let round = storm(&plan, &feed, Disaster::never(), |progress| told.push(progress)).await.unwrap();
    let report = feed.look(|log| reconcile(log, &round.attempts));
    assert_eq!(round.failed.count(), 0, "{}", round.failed);
    assert_eq!(round.events, Waited::Fulfilled, "{report}");
    assert_eq!(report.verdict(), Verdict::AddsUp, "{report}");
    // All of them, and the one they said BYE to.
    assert_eq!(report.total().right, flows as u64 + 1);
    assert_eq!(round.lost_byes.count(), 0, "sent before the end, not handled: {}", round.lost_byes);
    let said: u64 = report.said.values().chain([&round.byes]).map(|said| said.sent).sum();
    assert!(flows == 1 || said > 0, "somebody said something");
    assert_eq!(report.redelivered, 0);
    assert_eq!(feed.look(|log| log.open_count()), 0);
    assert!(told.contains(&Progress::Ready(flows)) && told.contains(&Progress::Ending));
    assert!(server.terminate().await.success());
    assert_eq!(feed.look(|log| (log.opened_count(), log.faults.count())), (flows as u64 + 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ending_alone() {
    let directory = Directory::new("alone");
    let feed = Feed::default();
    let mut server = Server::dev(directory.path(), &feed).await;
    for transport in [Transport::Ws, Transport::Wss] {
        for (n, ending) in Ending::prompt(transport).into_iter().enumerate() {
            for word in LastWord::ALL {
                let plan = Storm {
                    endings: vec![ending],
                    last_words: vec![word],
                    prefix: format!("{transport}-{n}-{word:?}").to_lowercase(),
                    ..Storm::new(vec![server.target(transport)], 1)
                };
                let round = storm(&plan, &feed, Disaster::never(), |_| {}).await.unwrap();
                let report = feed.look(|log| reconcile(log, &round.attempts));
                assert_eq!(round.events, Waited::Fulfilled, "{ending}, {word:?}: {report}");
                assert_eq!(report.verdict(), Verdict::AddsUp, "{ending}, {word:?}: {report}");
                assert_eq!((report.total().right, round.lost_byes.count()), (2, 0), "{ending}, {word:?}");
                feed.forget_closed();
            }
        }
    }
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_ws_flows_at_one_instant() {
    all_end("ws", Transport::Ws, 1000, OTHERWISE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_ws_flows_with_a_register_in_flight() {
    all_end("ws-register", Transport::Ws, 1000, IN_FLIGHT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_wss_flows_at_one_instant() {
    all_end("wss", Transport::Wss, 1000, OTHERWISE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_wss_flows_with_a_register_in_flight() {
    all_end("wss-register", Transport::Wss, 1000, IN_FLIGHT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_ws_flows_at_one_instant() {
    // As many over wss take minutes in a debug build: `sipway prove --transport wss` has them.
    all_end("ws-many", Transport::Ws, 10_000, &LastWord::ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_flows_at_one_instant() {
    all_end("tcp", Transport::Tcp, 200, &LastWord::ALL).await;
}

/// The server's own write may meet the end first. If that was a RST, the write uses up the socket's error and
/// the next read looks like an end of stream; if it was a FIN, the write fails as if there had been a RST.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fin_and_rst_are_told_apart_while_others_write() {
    let directory = Directory::new("reset");
    let feed = Feed::default();
    let mut server = Server::dev(directory.path(), &feed).await;
    let target = server.target(Transport::Ws);
    let mut talker = Client::connect(&target, &Setup::new("talker")).await.unwrap();
    assert_eq!(talker.register(600).await.unwrap().status, 200);
    let mut attempts = Vec::new();
    for n in 0..300 {
        let started = now_micros();
        let mut client = Client::connect(&target, &Setup::new(&format!("user-{n}"))).await.unwrap();
        assert_eq!(client.register(600).await.unwrap().status, 200);
        let remote = client.local();
        let to = client.address_of_record();
        for _ in 0..4 {
            talker.start_message(&to, b"are you there?").unwrap();
        }
        let ending = [Ending::Reset, Ending::Fin][n % 2];
        let parting = client.end(ending, &Farewell::Nothing, PATIENCE).await;
        attempts.push(Attempt {
            transport: Transport::Ws,
            remote,
            started,
            became: Became::Flow,
            registered: Registered::Yes,
            ending: Some(ending),
            farewell: Farewell::Nothing,
            acted_at: Some(parting.acted_at),
            expected: ending.expected(),
        });
    }
    assert_eq!(feed.until(PATIENCE, |log| log.closed_count() == 300).await, Waited::Fulfilled);
    let report = feed.look(|log| reconcile(log, &attempts));
    assert_eq!(report.verdict(), Verdict::AddsUp, "{report}");
    drop(talker);
    assert!(server.terminate().await.success());
}
