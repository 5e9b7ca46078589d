//! A disk that takes nothing for a while: nobody comes in, and everybody inside goes on (DESIGN invariant 9).

use std::time::{Duration, Instant};

use ledger::Health;
use lifecycle::{Cause, Transport};
use prove::{AfterClose, Client, CloseWord, ConnectError, Ending, Farewell, Setup};

use crate::test_server::{PATIENCE, TestServer};

/// As long as it takes to be noticed; with `STALL_SECONDS=30`, at least so long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_disk_stops_admission_and_no_conversation() {
    let lasting = std::env::var("STALL_SECONDS").map_or(0, |text| text.parse().expect("seconds"));
    let lasting = Duration::from_secs(lasting);
    let sipway = TestServer::new("stalled", "");
    let mut ada = sipway.registered("ada").await;
    let mut bob = sipway.registered("bob").await;
    let leaves = sipway.registered("leaves").await;
    let to_bob = bob.address_of_record();
    let bob = tokio::spawn(async move { bob.serve().await });
    assert_eq!(ada.message(&to_bob, b"before").await.unwrap().status, 200);

    let stalled = Instant::now();
    sipway.disk.stall();
    // Whoever comes before anything is noticed waits, for its opening is not durable.
    let target = sipway.target(Transport::Ws);
    let setup = Setup { patience: 2 * PATIENCE, ..Setup::new("waits") };
    let waiting = tokio::spawn({
        let (target, setup) = (target.clone(), setup.clone());
        async move { Client::connect(&target, &setup).await }
    });
    sipway.until("stalled", |handle| matches!(handle.ledger().health(), Health::Stalled { .. })).await;
    for _ in 0..3 {
        let refused = Client::connect(&target, &setup).await;
        assert!(matches!(refused, Err(ConnectError::Refused(503))), "{:?}", refused.err());
    }
    // Inside, all goes on: messages, registrations that are there already, and ends.
    for _ in 0..20 {
        assert_eq!(ada.message(&to_bob, b"meanwhile").await.unwrap().status, 200);
    }
    while stalled.elapsed() < lasting {
        assert_eq!(ada.message(&to_bob, b"still").await.unwrap().status, 200);
        assert!(matches!(Client::connect(&target, &setup).await, Err(ConnectError::Refused(503))));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ada.register(600).await.unwrap().status, 200);
    let ending = Ending::Close(CloseWord::Normal, AfterClose::Wait);
    let parting = leaves.end(ending, &Farewell::Nothing, PATIENCE).await;
    assert!(parting.seen.is_some(), "its Close is answered");
    // The one that waits is counted already.
    sipway.until("left", |handle| handle.live() == 3).await;
    assert!(!waiting.is_finished());
    assert_eq!(sipway.log().closed_count(), 0, "nothing of it is durable");

    sipway.disk.release();
    let waited = waiting.await.unwrap().unwrap();
    let again = async {
        loop {
            match Client::connect(&target, &setup).await {
                Ok(client) => return client,
                Err(ConnectError::Refused(503)) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let came = tokio::time::timeout(PATIENCE, again).await.expect("admission resumes by itself");
    sipway.until("durable", |_| sipway.log().closed_count() == 1).await;
    drop((waited, came, ada));
    bob.abort();
    let log = sipway.end().await;
    assert_eq!(log.opened_count(), 5, "who was refused never was a flow");
    let causes: Vec<_> = log.flows().values().map(|flow| flow.closes[0].cause).collect();
    assert_eq!(causes.iter().filter(|cause| **cause == Some(Cause::CloseFrame)).count(), 1);
}
