//! What a look of the running audit and a snapshot cost with many open flows.
//!
//! Usage: `cargo run --release -p prove --example audit_look -- FLOWS target/release/sipway`

mod child;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use child::{Failure, Server, registered};
use prove::Sources;
use tokio::{sync::Semaphore, task::JoinSet};

/// Handshakes under way at a time.
const AT_A_TIME: usize = 64;

/// Looks, and snapshots.
const TIMES: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let flows: u64 = arguments.next().ok_or("how many flows?")?.parse()?;
    let server = Server::of(&mut arguments)?;
    let (turns, sources) = (Arc::new(Semaphore::new(AT_A_TIME)), Arc::new(Sources::loopback()));
    let mut opening = JoinSet::new();
    for number in 0..flows {
        let (target, turns, sources) = (server.ws.clone(), Arc::clone(&turns), Arc::clone(&sources));
        opening.spawn(async move {
            let _turn = turns.acquire().await?;
            registered(target, format!("user-{number}"), &sources).await
        });
    }
    let mut clients = JoinSet::new();
    while let Some(opened) = opening.join_next().await {
        let mut client = opened??;
        clients.spawn(async move { client.serve().await });
    }
    let address = server.ws.address;
    for _ in 0..TIMES {
        let before = server.cpu()?;
        let body = tokio::task::spawn_blocking(move || ask(address, "POST", "/api/audit")).await??;
        println!("audit, {} ms of a processor: {}", (server.cpu()? - before).as_millis(), body.trim());
    }
    for _ in 0..TIMES {
        let (before, start) = (server.anonymous()?, Instant::now());
        let asking = tokio::task::spawn_blocking(move || ask(address, "GET", "/api/snapshot"));
        let mut most = before;
        while !asking.is_finished() {
            most = most.max(server.anonymous()?);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (length, took) = (asking.await??.len(), start.elapsed());
        println!(
            "snapshot: {length} bytes in {} ms; memory {} kB, at most {} kB more meanwhile",
            took.as_millis(),
            before / 1024,
            (most - before) / 1024
        );
    }
    Ok(())
}

/// The body of the answer to one request.
fn ask(address: SocketAddr, method: &str, path: &str) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    if head.starts_with("HTTP/1.1 200") { Ok(body.to_owned()) } else { Err(answer.into()) }
}
