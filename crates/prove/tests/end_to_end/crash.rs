//! `kill -9`: what was open is closed by the next start, once and for all.

use std::time::Duration;

use lifecycle::{Cause, Transport};
use prove::{
    Disaster, EventLog, Feed, Kill, LastWord, Moment, Round, Storm, Verdict, Waited, reconcile, storm,
};

use crate::server::{Directory, Follower, PATIENCE, Server, whole_ledger};

/// Runs a storm that kills the server, starts it again, and holds the ledger against what clients know.
async fn killed(directory: &Directory, at: Moment, flows: usize, spread: Duration) -> Round {
    let said = Feed::default();
    let mut server = Server::dev(directory.path(), &said).await;
    let feed = Feed::default();
    let _follower = Follower::start(directory.path(), &feed);
    let plan = Storm {
        patience: PATIENCE,
        spread,
        // Everybody is registered before the end.
        last_words: vec![LastWord::Nothing, LastWord::Unregister, LastWord::Bye],
        ..Storm::new(vec![server.target(Transport::Ws)], flows)
    };
    let restart = async || {
        // Answers do not wait for the disk, and what is asked below is about bindings that are on it.
        let bound = |log: &EventLog| log.flows().values().all(|flow| flow.added == 1);
        let all_open = |log: &EventLog| log.flows().len() == flows + 1 && bound(log);
        if at == Moment::AllOpen {
            assert_eq!(feed.until(PATIENCE, all_open).await, Waited::Fulfilled);
        }
        server.kill().await;
        server = Server::dev(directory.path(), &Feed::default()).await;
        Ok(())
    };
    let round = storm(&plan, &feed, Disaster::Strikes { blow: Kill::Kill, at, server: restart }, |_| {})
        .await
        .unwrap();
    assert_eq!(round.failed.count(), 0, "{}", round.failed);
    let report = feed.look(|log| reconcile(log, &round.attempts));
    assert_eq!(round.events, Waited::Fulfilled, "{report}");
    assert_eq!(report.verdict(), Verdict::AddsUp, "{report}");
    assert_eq!(report.total().right, flows as u64 + 1);
    // Whatever the dead process said was true.
    let all =
        said.look(|said| said.flows().keys().all(|flow| feed.look(|log| log.flows().contains_key(flow))));
    assert!(all && said.look(|said| said.faults.count()) == 0);
    assert!(server.terminate().await.success());
    round
}

fn crashed(log: &EventLog) -> usize {
    log.flows()
        .values()
        .filter(|flow| flow.closes.iter().any(|close| close.cause == Some(Cause::NodeCrash)))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_with_a_thousand_flows_open() {
    let directory = Directory::new("killed");
    let round = killed(&directory, Moment::AllOpen, 1000, Duration::ZERO).await;
    let ledger = whole_ledger(directory.path()).await;
    ledger.look(|log| {
        // The client that others say BYE to is one more.
        assert_eq!((log.opened_count(), log.closed_count(), crashed(log)), (1001, 1001, 1001));
        // `binding.removed` before `flow.closed`, `journal_replay` with `node_crash`: a fault otherwise.
        assert_eq!(log.faults.count(), 0, "{:?}", log.faults);
        assert!(log.flows().values().all(|flow| flow.added == 1 && flow.removals == ["node_crash"]));
    });

    let mut third = Server::dev(directory.path(), &Feed::default()).await;
    assert!(third.terminate().await.success());
    let ledger = whole_ledger(directory.path()).await;
    let report = ledger.look(|log| reconcile(log, &round.attempts));
    assert_eq!(report.verdict(), Verdict::AddsUp, "{report}");
    ledger.look(|log| {
        assert_eq!((log.opened_count(), log.closed_count(), log.started()), (1001, 1001, 3));
        let (_, incarnation, last) = log.runs().last().unwrap();
        assert_eq!(
            (incarnation, last),
            (3, 2),
            "the third start had nothing to write but its start and its end"
        );
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_flows_end() {
    let directory = Directory::new("killed-amid");
    killed(&directory, Moment::AmidEndings, 400, Duration::from_millis(600)).await;
    let ledger = whole_ledger(directory.path()).await;
    ledger.look(|log| {
        assert_eq!((log.opened_count(), log.closed_count(), log.faults.count()), (401, 401, 0));
        assert!((1..401).contains(&crashed(log)), "{} of 401 were open when it died", crashed(log));
    });
}
