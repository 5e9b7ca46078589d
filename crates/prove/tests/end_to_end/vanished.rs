//! Clients that vanish in the handshake: no flow, or one that is opened and closed like any other.

use lifecycle::Transport;
use prove::{
    Attempt, Became, Client, Dialled, Expected, Farewell, Feed, Outcome, Registered, Setup, Verdict,
    now_micros, reconcile,
};
use tokio::task::JoinSet;

use crate::server::{Directory, PATIENCE, Server, whole_ledger};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_in_the_handshake_leaves_nothing_open() {
    let directory = Directory::new("vanished");
    let feed = Feed::default();
    let mut server = Server::dev(directory.path(), &feed).await;
    let mut vanishing = JoinSet::new();
    for n in 0..400 {
        let transport = if n % 8 == 0 { Transport::Wss } else { Transport::Ws };
        let target = server.target(transport);
        vanishing.spawn(async move {
            let started = now_micros();
            // An address of its own: a port is free again at once when its client vanishes, and another one's
            // flow would look like a second of this one's.
            let source =
                Some([127, 0, 1 + u8::try_from(n / 200).unwrap(), 1 + u8::try_from(n % 200).unwrap()].into());
            let dialled = Dialled::connect(&target, &Setup { source, ..Setup::new("nobody") }).await.unwrap();
            let remote = dialled.local();
            dialled.ask_and_vanish().unwrap();
            Attempt {
                transport,
                remote,
                started,
                became: Became::Nothing,
                registered: Registered::No,
                ending: None,
                farewell: Farewell::Nothing,
                acted_at: None,
                expected: Expected::only(Outcome::any(lifecycle::Cause::Reset)),
            }
        });
    }
    let mut attempts = vanishing.join_all().await;
    // One that stays, so that what came before it has surely been dealt with when it is shut down.
    let started = now_micros();
    let mut stays = Client::connect(&server.target(Transport::Ws), &Setup::new("stays")).await.unwrap();
    assert_eq!(stays.register(600).await.unwrap().status, 200);
    attempts.push(Attempt {
        remote: stays.local(),
        transport: Transport::Ws,
        started,
        became: Became::Flow,
        registered: Registered::Yes,
        expected: Expected::only(Outcome::any(lifecycle::Cause::Shutdown)),
        ..attempts[0].clone()
    });
    let stays = tokio::spawn(async move { stays.serve_for(PATIENCE).await });
    assert!(server.terminate().await.success());
    assert!(stays.await.unwrap().is_some());
    for told in [feed, whole_ledger(directory.path()).await] {
        let report = told.look(|log| reconcile(log, &attempts));
        assert_eq!(report.verdict(), Verdict::AddsUp, "{report}");
        assert_eq!((report.never_flows, report.total().right), (400, 1));
        assert_eq!(told.look(|log| log.open_count()), 0);
    }
}
