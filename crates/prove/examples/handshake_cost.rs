//! What a ws handshake costs the server, from the TCP connection to the 101.
//!
//! Usage: `cargo run --release -p prove --example handshake_cost -- COUNT target/release/sipway`, or in place
//! of the binary the address and the process ids of a server that runs: `127.0.0.1:8080 PID PID`

mod child;

use std::{sync::Arc, time::Duration};

use child::{Failure, Server};
use prove::{AfterClose, Client, CloseWord, Ending, Farewell, Setup, Sources, Target};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

/// Handshakes under way at a time.
const AT_A_TIME: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count: u32 = arguments.next().ok_or("how many?")?.parse()?;
    let server = Server::of(&mut arguments)?;
    let sources = Sources::loopback();
    // What the first ones bring along is not the others'.
    leave(open(&server.ws, count / 10, &sources).await?).await;
    let (before, start) = (server.cpu()?, Instant::now());
    let clients = open(&server.ws, count, &sources).await?;
    let (spent, took) = (server.cpu()? - before, start.elapsed());
    println!(
        "{count} handshakes, {:.0}/s, {:.1} µs of the server's each",
        f64::from(count) / took.as_secs_f64(),
        spent.as_secs_f64() * 1e6 / f64::from(count.max(1))
    );
    leave(clients).await;
    Ok(())
}

async fn open(target: &Target, count: u32, sources: &Sources) -> Result<Vec<Client>, Failure> {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let mut opening = JoinSet::new();
    for number in 0..count {
        let patience = Duration::from_secs(60);
        let setup = Setup { source: sources.next(), patience, ..Setup::new(&format!("user-{number}")) };
        let (target, turns) = (target.clone(), Arc::clone(&turns));
        opening.spawn(async move {
            let _turn = turns.acquire().await?;
            Ok::<_, Failure>(Client::connect(&target, &setup).await?)
        });
    }
    let mut clients = Vec::new();
    while let Some(opened) = opening.join_next().await {
        clients.push(opened??);
    }
    Ok(clients)
}

async fn leave(clients: Vec<Client>) {
    let mut leaving = JoinSet::new();
    for client in clients {
        let ending = Ending::Close(CloseWord::Normal, AfterClose::Wait);
        leaving.spawn(async move { client.end(ending, &Farewell::Nothing, Duration::from_secs(10)).await });
    }
    while leaving.join_next().await.is_some() {}
}
