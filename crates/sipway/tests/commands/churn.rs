//! Clients that come and go.

use std::time::Duration;

use lifecycle::Transport;
use prove::{Client, ConnectError, Setup, Target};
use tokio::time::timeout;

use crate::process::{PATIENCE, Server};

/// What is answered while the ledger has no room: with small segments, for as long as the next one is in the
/// making.
const NO_ROOM: u16 = 503;

/// Whoever is refused for want of room knocks again.
async fn admitted(target: &Target, user: &str) -> Client {
    loop {
        match Client::connect(target, &Setup::new(user)).await {
            Err(ConnectError::Refused(NO_ROOM)) => tokio::time::sleep(Duration::from_millis(5)).await,
            connected => return connected.unwrap(),
        }
    }
}

/// Clients that come, register and go, in different ways.
pub(crate) async fn churn(server: &Server, people: usize, rounds: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for person in 0..people {
        let target = server.target(Transport::Ws);
        tasks.spawn(async move {
            for round in 0..rounds {
                let user = format!("user-{person}-{}", round % 3);
                let mut client = timeout(PATIENCE, admitted(&target, &user)).await.expect("is let in");
                if round % 4 != 0 {
                    let answer = client.register(600).await.unwrap();
                    assert!(matches!(answer.status, 200 | NO_ROOM), "{answer:?}");
                }
                drop(client);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
