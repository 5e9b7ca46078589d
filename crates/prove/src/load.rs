//! Messages between pairs of users at a set rate, and how long they took.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout_at};

use crate::{
    AfterClose, Client, CloseWord, ConnectError, Ending, Farewell, Incoming, Latencies, RequestError, Setup,
    Sources, Target, Transaction,
};

/// What load to make.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the senders connect.
    pub from: Target,
    /// Where the receivers connect.
    pub to: Target,
    /// Pairs of a sender and a receiver.
    pub pairs: usize,
    /// Messages a second, all pairs together.
    pub rate: f64,
    /// How long to send.
    pub duration: Duration,
    /// Bytes of each message's body, 20 at least.
    pub body: usize,
    /// What users' names begin with.
    pub prefix: String,
}

/// What came of it. Times count from when a message was due, so a stalled server is not flattered by senders
/// that stalled with it.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Messages sent.
    pub sent: u64,
    /// Messages answered with 200.
    pub answered: u64,
    /// Messages answered otherwise.
    pub refused: u64,
    /// Messages without an answer 5 s after the last was sent.
    pub unanswered: u64,
    /// From due to answered.
    pub round_trip: Latencies,
    /// From due to read by the receiver.
    pub one_way: Latencies,
    /// From the first due message to the end.
    pub elapsed: Duration,
}

/// Why there is no load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A client could not connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A client could not register.
    #[error(transparent)]
    Register(#[from] RequestError),
    /// A REGISTER was refused.
    #[error("REGISTER was answered {0}")]
    Refused(u16),
}

const GRACE: Duration = Duration::from_secs(5);

impl Load {
    /// So many messages a second between so many pairs for 10 s, with bodies of 100 bytes.
    #[must_use]
    pub fn new(target: &Target, pairs: usize, rate: f64) -> Self {
        Self {
            from: target.clone(),
            to: target.clone(),
            pairs,
            rate,
            duration: Duration::from_secs(10),
            body: 100,
            prefix: "load".to_owned(),
        }
    }
}

/// Connects and registers all pairs, sends, waits for the answers, leaves.
///
/// # Errors
/// A client could not connect or register.
pub async fn load(plan: &Load) -> Result<LoadReport, LoadError> {
    let sources = Sources::fitting(plan.from.address);
    let mut pairs = Vec::with_capacity(plan.pairs);
    for n in 0..plan.pairs {
        let sender = registered(&plan.from, &format!("{}-from-{n}", plan.prefix), &sources).await?;
        let receiver = registered(&plan.to, &format!("{}-to-{n}", plan.prefix), &sources).await?;
        pairs.push((sender, receiver));
    }
    // All senders' ticks are spread over the first interval.
    let start = Instant::now() + Duration::from_millis(50);
    let every = Duration::from_secs_f64(plan.pairs.max(1) as f64 / plan.rate.max(0.001));
    let end = start + plan.duration;
    let mut tasks = JoinSet::new();
    for (n, (sender, receiver)) in pairs.into_iter().enumerate() {
        let offset = every.mul_f64(n as f64 / plan.pairs as f64);
        let to = receiver.address_of_record();
        tasks.spawn(receive(receiver, start, end + GRACE));
        tasks.spawn(send(sender, to, start, offset, every, end, plan.body));
    }
    let mut report = LoadReport::default();
    while let Some(done) = tasks.join_next().await {
        let Ok(part) = done else { continue };
        report.sent += part.sent;
        report.answered += part.answered;
        report.refused += part.refused;
        report.unanswered += part.unanswered;
        report.round_trip.merge(&part.round_trip);
        report.one_way.merge(&part.one_way);
        report.elapsed = report.elapsed.max(part.elapsed);
    }
    Ok(report)
}

async fn registered(target: &Target, user: &str, sources: &Sources) -> Result<Client, LoadError> {
    let setup = Setup { source: sources.next(), ..Setup::new(user) };
    let mut client = Client::connect(target, &setup).await?;
    match client.register(3600).await?.status {
        200 => Ok(client),
        status => Err(LoadError::Refused(status)),
    }
}

async fn leave(client: Client) {
    let ending = Ending::Close(CloseWord::Normal, AfterClose::Fin);
    client.end(ending, &Farewell::Nothing, Duration::from_secs(1)).await;
}

async fn receive(mut client: Client, start: Instant, end: Instant) -> LoadReport {
    let mut report = LoadReport::default();
    while let Ok(Ok(incoming)) = timeout_at(end, client.next()).await {
        let message = incoming.message();
        let due = message.body().split(|&byte| byte == b' ').next();
        let due = due.and_then(|due| std::str::from_utf8(due).ok()?.parse().ok());
        if let (true, Some(due)) = (message.is_request(), due) {
            report.one_way.add(start.elapsed().saturating_sub(Duration::from_micros(due)));
        } else if matches!(&incoming, Incoming::Request(_)) && message.body() == LAST {
            break;
        }
    }
    leave(client).await;
    report
}

/// The body that ends a receiver.
const LAST: &[u8] = b"that was all";

async fn send(
    mut client: Client,
    to: String,
    start: Instant,
    offset: Duration,
    every: Duration,
    end: Instant,
    size: usize,
) -> LoadReport {
    let mut report = LoadReport::default();
    let mut waiting: HashMap<Transaction, Instant> = HashMap::new();
    sleep_until(start).await;
    let mut ticks = interval_at(start + offset, every.max(Duration::from_micros(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        let over = Instant::now() >= end;
        if (over && waiting.is_empty()) || Instant::now() >= end + GRACE {
            break;
        }
        tokio::select! {
            biased;
            incoming = client.next() => match incoming {
                Ok(Incoming::Response(response)) => {
                    let due = response.transaction.and_then(|transaction| {
                        if response.status >= 200 { waiting.remove(&transaction) } else { None }
                    });
                    if let Some(due) = due {
                        report.round_trip.add(due.elapsed());
                        if response.status == 200 { report.answered += 1 } else { report.refused += 1 }
                    }
                }
                Ok(Incoming::Request(_)) => {}
                Err(_) => break,
            },
            due = ticks.tick(), if !over => {
                let mut body = format!("{} ", (due - start).as_micros());
                body.extend(std::iter::repeat_n('x', size.saturating_sub(body.len())));
                let Ok(transaction) = client.start_message(&to, body.as_bytes()) else { break };
                waiting.insert(transaction, due);
                report.sent += 1;
            }
            () = sleep_until(if over { end + GRACE } else { end }) => {}
        }
    }
    report.unanswered = waiting.len() as u64;
    report.elapsed = start.elapsed();
    let _ = client.message(&to, LAST).await;
    leave(client).await;
    report
}

impl std::fmt::Display for LoadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.answered as f64 / self.elapsed.as_secs_f64().max(0.001);
        writeln!(
            f,
            "{} sent, {} answered ({rate:.0}/s), {} refused, {} unanswered",
            self.sent, self.answered, self.refused, self.unanswered
        )?;
        writeln!(f, "round trip: {}", self.round_trip)?;
        writeln!(f, "one way:    {}", self.one_way)
    }
}
