//! What an idle registered flow costs in memory, over ws and over wss.
//!
//! Usage: `cargo run --release -p prove --example idle_flow -- FLOWS target/release/sipway`

mod child;

use std::{sync::Arc, time::Duration};

use child::{Failure, Server, registered};
use prove::{Sources, Target};
use tokio::{sync::Semaphore, task::JoinSet};

/// Handshakes under way at a time.
const AT_A_TIME: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let flows: u64 = arguments.next().ok_or("how many flows?")?.parse()?;
    let server = Server::of(&mut arguments)?;
    let mut clients = JoinSet::new();
    // What the first flows of a kind bring along (pages of code touched, tables of a first size) is not
    // theirs.
    for (target, bar) in [(&server.ws, 4096), (&server.wss, 8192)] {
        open(target, "warm", 100, &mut clients).await?;
        let before = idle(&server).await?;
        open(target, "user", flows, &mut clients).await?;
        let after = idle(&server).await?;
        println!(
            "{}: {} bytes for each of {flows} idle registered flows (bar: {bar}); {} kB in all",
            target.transport,
            after.saturating_sub(before) / flows,
            after / 1024
        );
    }
    Ok(())
}

/// Opens and registers; the clients then serve until the end.
async fn open(target: &Target, prefix: &str, count: u64, clients: &mut JoinSet<()>) -> Result<(), Failure> {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let sources = Arc::new(Sources::loopback());
    let mut opening = JoinSet::new();
    for number in 0..count {
        let user = format!("{prefix}-{}-{number}", target.transport);
        let (target, turns, sources) = (target.clone(), Arc::clone(&turns), Arc::clone(&sources));
        opening.spawn(async move {
            let _turn = turns.acquire().await?;
            registered(target, user, &sources).await
        });
    }
    while let Some(opened) = opening.join_next().await {
        let mut client = opened??;
        clients.spawn(async move {
            let ended = client.serve().await;
            eprintln!("a flow ended: {ended:?}");
        });
    }
    Ok(())
}

/// Waits until the server does next to nothing; gives its memory then.
async fn idle(server: &Server) -> Result<u64, Failure> {
    loop {
        let before = server.cpu()?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if server.cpu()? - before < Duration::from_millis(10) {
            return server.anonymous();
        }
    }
}
