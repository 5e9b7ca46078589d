//! SIGTERM: every flow is closed and told so, `node.stopped` comes last, and the next start has nothing to
//! mend.

use lifecycle::{Cause, Transport};
use prove::{
    Attempt, Became, Client, CodeSeen, Ended, Expected, Farewell, Feed, Outcome, Registered, Setup, Verdict,
    now_micros, reconcile,
};
use tokio::task::JoinSet;

use crate::server::{Directory, PATIENCE, Server, whole_ledger};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flow_is_closed_and_told_why() {
    let directory = Directory::new("shutdown");
    let feed = Feed::default();
    let mut server = Server::dev(directory.path(), &feed).await;
    let mut attempts = Vec::new();
    let mut clients = JoinSet::new();
    for n in 0..230 {
        let transport = match n {
            0..150 => Transport::Ws,
            150..200 => Transport::Wss,
            _ => Transport::Tcp,
        };
        let started = now_micros();
        let mut client =
            Client::connect(&server.target(transport), &Setup::new(&format!("user-{n}"))).await.unwrap();
        assert_eq!(client.register(600).await.unwrap().status, 200);
        let shutdown = Outcome { cause: Cause::Shutdown, code: CodeSeen::Is(1001), reason: None };
        attempts.push(Attempt {
            transport,
            remote: client.local(),
            started,
            became: Became::Flow,
            registered: Registered::Yes,
            ending: None,
            farewell: Farewell::Nothing,
            acted_at: None,
            expected: Expected::only(shutdown),
        });
        clients.spawn(async move { (transport, client.serve_for(PATIENCE).await) });
    }
    assert!(server.terminate().await.success());
    let report = feed.look(|log| reconcile(log, &attempts));
    assert_eq!(report.verdict(), Verdict::AddsUp, "{report}");
    assert_eq!(report.total().right, 230);
    feed.look(|log| {
        let (_, incarnation, last) = log.runs().last().unwrap();
        let [stopped] = log.stopped() else { panic!("{:?}", log.stopped()) };
        assert_eq!((stopped.incarnation, stopped.sequence), (incarnation, last), "node.stopped comes last");
    });
    while let Some(ended) = clients.join_next().await {
        let (transport, ended) = ended.unwrap();
        match (transport, ended.expect("the server ends the connection")) {
            (Transport::Tcp, ended) => assert_eq!(ended, Ended::Eof),
            (_, Ended::Closed { code, .. }) => assert_eq!(code, Some(1001)),
            (transport, ended) => panic!("{transport}: {ended}"),
        }
    }

    let mut next = Server::dev(directory.path(), &Feed::default()).await;
    assert!(next.terminate().await.success());
    let ledger = whole_ledger(directory.path()).await;
    ledger.look(|log| {
        assert_eq!((log.opened_count(), log.closed_count(), log.faults.count()), (230, 230, 0));
        let (_, incarnation, last) = log.runs().last().unwrap();
        assert_eq!((incarnation, last), (2, 2), "the next start had nothing to mend");
    });
}
