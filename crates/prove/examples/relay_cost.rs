//! What a MESSAGE costs the server that is relayed from one ws flow to another and answered.
//!
//! Usage: `cargo run --release -p prove --example relay_cost -- SECONDS target/release/sipway`, or in place
//! of the binary the address and the process ids of a server that runs: `127.0.0.1:8080 PID PID`

mod child;

use std::{collections::HashSet, time::Duration};

use child::{Failure, Server, registered};
use prove::{Client, Incoming, Sources};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

/// Pairs of a sender and a receiver.
const PAIRS: usize = 32;

/// Messages of one sender without an answer, at saturation.
const IN_FLIGHT: usize = 4;

/// Messages a second of all pairs together, when they are paced.
const RATE: u32 = 500;

const BODY: &[u8] = &[b'x'; 100];

#[derive(Clone, Copy)]
enum Pace {
    AsFastAsAnswered,
    Every(Duration),
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().ok_or("for how many seconds?")?.parse()?;
    let server = Server::of(&mut arguments)?;
    let sources = Sources::loopback();
    let mut receivers = JoinSet::new();
    let mut senders = Vec::new();
    for pair in 0..PAIRS {
        let mut receiver = registered(server.ws.clone(), format!("to-{pair}"), &sources).await?;
        let to = receiver.address_of_record();
        receivers.spawn(async move { receiver.serve().await });
        senders.push((registered(server.ws.clone(), format!("from-{pair}"), &sources).await?, to));
    }
    let paced = Pace::Every(Duration::from_secs(1) * u32::try_from(PAIRS)? / RATE);
    for (name, pace) in [("at saturation", Pace::AsFastAsAnswered), ("at 500/s", paced)] {
        let (before, start) = (server.cpu()?, Instant::now());
        let until = start + Duration::from_secs(seconds);
        let mut tasks = JoinSet::new();
        for (sender, to) in senders.drain(..) {
            tasks.spawn(send(sender, to, pace, until));
        }
        let mut answered = 0;
        while let Some(done) = tasks.join_next().await {
            let (sender, to, count) = done??;
            answered += count;
            senders.push((sender, to));
        }
        let spent = server.cpu()? - before;
        println!(
            "{name}: {answered} MESSAGEs answered, {:.0}/s, {:.1} µs of the server's each (bar: 40)",
            f64::from(answered) / start.elapsed().as_secs_f64(),
            spent.as_secs_f64() * 1e6 / f64::from(answered.max(1))
        );
    }
    Ok(())
}

/// Sends until the time is up and everything is answered.
async fn send(
    mut client: Client,
    to: String,
    pace: Pace,
    until: Instant,
) -> Result<(Client, String, u32), Failure> {
    let (mut waiting, mut answered) = (HashSet::new(), 0);
    let every = match pace {
        Pace::Every(every) => every,
        Pace::AsFastAsAnswered => Duration::from_secs(3600),
    };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let over = Instant::now() >= until;
        if over && waiting.is_empty() {
            return Ok((client, to, answered));
        }
        if let (Pace::AsFastAsAnswered, false) = (pace, over) {
            while waiting.len() < IN_FLIGHT {
                waiting.insert(client.start_message(&to, BODY)?);
            }
        }
        tokio::select! {
            incoming = client.next() => match incoming {
                Ok(Incoming::Response(response)) if response.status == 200 => {
                    // Each counts once, however often it is answered.
                    let ours = response.transaction.is_some_and(|transaction| waiting.remove(&transaction));
                    answered += u32::from(ours);
                }
                Ok(Incoming::Response(response)) if response.status > 200 => {
                    return Err(format!("MESSAGE was answered {}", response.status).into());
                }
                Ok(_) => {}
                Err(ended) => return Err(format!("the flow ended: {ended:?}").into()),
            },
            _ = ticks.tick(), if matches!(pace, Pace::Every(_)) && !over => {
                waiting.insert(client.start_message(&to, BODY)?);
            }
            () = tokio::time::sleep_until(until), if !over => {}
        }
    }
}
