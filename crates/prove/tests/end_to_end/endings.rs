//! Many flows ended at one instant, in every way: one close of each, of the right cause.

use lifecycle::Transport;
use prove::{Disaster, Feed, Progress, Storm, Target, Verdict, Waited, reconcile, storm};

use crate::server::{Directory, PATIENCE, Server};

async fn all_end(name: &str, transport: Transport, flows: usize) {
    let directory = Directory::new(name);
    let feed = Feed::default();
    let mut server = Server::dev(directory.path(), &feed).await;
    let targets: Vec<Target> = vec![server.target(transport)];
    let plan = Storm { patience: PATIENCE, ..Storm::new(targets, flows) };
    let mut told = Vec::new();
    let round = storm(&plan, &feed, Disaster::never(), |progress| told.push(progress)).await.unwrap();
    let report = feed.look(|log| reconcile(log, &round.attempts));
    assert_eq!(round.failed.count(), 0, "{}", round.failed);
    assert_eq!(round.events, Waited::Fulfilled, "{report}");
    assert_eq!(report.verdict(), Verdict::AddsUp, "{report}");
    // All of them, and the one they said BYE to.
    assert_eq!(report.total().right, flows as u64 + 1);
    assert_eq!(round.lost_byes.count(), 0, "sent before the end, not handled: {}", round.lost_byes);
    assert_eq!(report.redelivered, 0);
    assert_eq!(feed.look(|log| log.open_count()), 0);
    assert!(told.contains(&Progress::Ready(flows)) && told.contains(&Progress::Ending));
    assert!(server.terminate().await.success());
    assert_eq!(feed.look(|log| (log.opened_count(), log.faults.count())), (flows as u64 + 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_ws_flows_at_one_instant() {
    all_end("ws", Transport::Ws, 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_wss_flows_at_one_instant() {
    all_end("wss", Transport::Wss, 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_flows_at_one_instant() {
    all_end("tcp", Transport::Tcp, 200).await;
}
