//! Endings that only time tells: a peer that answers nothing, a peer that reads nothing.

use std::fs;
use std::time::Duration;

use lifecycle::{Cause, Transport};
use prove::{
    Attempt, Became, Client, Ended, Ending, Expected, Farewell, Feed, Outcome, ReceiveBuffer, Registered,
    Setup, Verdict, Waited, now_micros, reconcile,
};

use crate::server::{Directory, Follower, PATIENCE, Server};

const CONFIG: &str = r#"
[ledger]
directory = "ledger"
[keepalive]
ping_after = "1s"
pong_timeout = "1s"
[limits]
write_timeout = "10s"
[log]
format = "json"
[[listener]]
transport = "ws"
bind = "127.0.0.1:0"
"#;

async fn connected(server: &Server, user: &str, buffer: ReceiveBuffer, ending: Ending) -> (Client, Attempt) {
    let setup = Setup { receive_buffer: buffer, ..Setup::new(user) };
    let started = now_micros();
    let mut client = Client::connect(&server.target(Transport::Ws), &setup).await.unwrap();
    assert_eq!(client.register(600).await.unwrap().status, 200);
    let attempt = Attempt {
        transport: Transport::Ws,
        remote: client.local(),
        started,
        became: Became::Flow,
        registered: Registered::Yes,
        ending: Some(ending),
        farewell: Farewell::Nothing,
        acted_at: Some(started),
        expected: ending.expected(),
    };
    (client, attempt)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_and_not_reading_are_told_apart() {
    let directory = Directory::new("timers");
    let config = directory.path().join("sipway.toml");
    fs::write(&config, CONFIG).unwrap();
    let mut server = Server::run(&config).await;
    let feed = Feed::default();
    let _follower = Follower::start(&directory.path().join("ledger"), &feed);

    let (silent, silent_attempt) = connected(&server, "silent", ReceiveBuffer::System, Ending::Silence).await;
    let silent = tokio::spawn(async move { silent.end(Ending::Silence, &Farewell::Nothing, PATIENCE).await });
    let (deaf, mut deaf_attempt) =
        connected(&server, "deaf", ReceiveBuffer::Small, Ending::StopReading).await;
    // Pings are too far apart to come first.
    deaf_attempt.expected = Expected::only(Outcome::any(Cause::SlowReader));
    let address = deaf.address_of_record();
    let deaf = tokio::spawn(async move { deaf.end(Ending::StopReading, &Farewell::Nothing, PATIENCE).await });
    let (mut talker, mut talker_attempt) =
        connected(&server, "talker", ReceiveBuffer::System, Ending::Fin).await;
    let body = vec![b'x'; 60_000];
    let closes = |cause: Cause| {
        feed.look(|log| {
            log.flows()
                .values()
                .flat_map(|flow| &flow.closes)
                .filter(|close| close.cause == Some(cause))
                .count()
        })
    };
    let mut sent = 0;
    while closes(Cause::SlowReader) == 0 && sent < 300 {
        talker.start_message(&address, &body).unwrap();
        talker.flush().await.unwrap();
        sent += 1;
        talker.serve_for(Duration::from_millis(2)).await;
    }
    // It answers pings all the while, so it stays.
    assert_eq!(talker.serve_for(Duration::from_millis(2500)).await, None);
    let seen = silent.await.unwrap().seen;
    assert!(matches!(seen, Some(Ended::Eof | Ended::Cut(_))), "its socket is let go: {seen:?}");
    assert!(deaf.await.unwrap().seen.is_some(), "a reader that reads nothing is cut off");
    talker_attempt.acted_at = Some(talker.end(Ending::Fin, &Farewell::Nothing, PATIENCE).await.acted_at);
    assert_eq!(feed.until(PATIENCE, |log| log.closed_count() == 3).await, Waited::Fulfilled);
    let attempts = [silent_attempt, deaf_attempt, talker_attempt];
    let report = feed.look(|log| reconcile(log, &attempts));
    assert_eq!(report.verdict(), Verdict::AddsUp, "{report}");
    assert_eq!((closes(Cause::PingTimeout), closes(Cause::SlowReader)), (1, 1), "{report}");
    assert!(server.terminate().await.success());
}
