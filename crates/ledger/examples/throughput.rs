//! How fast a real directory takes records, and what it costs.
//!
//! `cargo run --release -p ledger --example throughput -- DIRECTORY [SECONDS [disk|memory [SPARE_MIB [GATHER_MICROSECONDS]]]]`
//!
//! Appenders that each wait for durability before their next record (1, 64, 512 of them), 800-byte payloads;
//! then 512 appenders held to 50,000 records a second in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ledger::{Batch, Durability, Ledger, Refused, Settings};

const PAYLOAD: usize = 800;

/// Processor time so far, user and system: of the whole process, and of the ledger's two threads. From
/// `/proc/self`, in ticks of 10 ms.
#[derive(Clone, Copy, Default)]
struct ProcessorTime {
    all: Duration,
    ledger: Duration,
}

fn stat_time(path: &std::path::Path) -> Duration {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * 10)
}

fn processor_time() -> ProcessorTime {
    let mut ledger = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        if std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("ledger-")) {
            ledger += stat_time(&task.path().join("stat"));
        }
    }
    ProcessorTime { all: stat_time("/proc/self/stat".as_ref()), ledger }
}

struct Outcome {
    records: u64,
    refused: u64,
    waits: Vec<u32>,
    elapsed: Duration,
    processor: ProcessorTime,
    commits: u64,
}

async fn appender(
    ledger: Ledger,
    until: Instant,
    pace: Option<(Instant, Duration)>,
    refused: Arc<AtomicU64>,
) -> Vec<u32> {
    let payload = [0x5a; PAYLOAD];
    let mut waits = Vec::new();
    let mut due = pace.map(|(first, _)| first);
    while Instant::now() < until {
        if let (Some(at), Some((_, every))) = (due, pace) {
            tokio::time::sleep_until(at.into()).await;
            due = Some(at + every);
        }
        let begun = Instant::now();
        let mut batch = Batch::new();
        batch.push(1, 0, &payload);
        match ledger.append(batch) {
            Ok(appended) => {
                if ledger.durable(appended.last_seq).await.is_err() {
                    break;
                }
                waits.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Err(rejected) => {
                refused.fetch_add(1, Ordering::Relaxed);
                if rejected.why == Refused::Closed {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    waits
}

fn measure(
    ledger: &Ledger,
    runtime: &tokio::runtime::Runtime,
    appenders: u32,
    rate: Option<u32>,
    time: Duration,
) -> Outcome {
    let refused = Arc::new(AtomicU64::new(0));
    let commits = ledger.status().commits;
    let (begun, used) = (Instant::now(), processor_time());
    let until = begun + time;
    let tasks: Vec<_> = (0..appenders)
        .map(|index| {
            let pace = rate.map(|rate| {
                let every = Duration::from_secs(1) * appenders / rate;
                (begun + every * index / appenders, every)
            });
            runtime.spawn(appender(ledger.clone(), until, pace, Arc::clone(&refused)))
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(runtime.block_on(task).unwrap_or_default());
    }
    let (elapsed, now) = (begun.elapsed(), processor_time());
    let processor = ProcessorTime {
        all: now.all.saturating_sub(used.all),
        ledger: now.ledger.saturating_sub(used.ledger),
    };
    waits.sort_unstable();
    Outcome {
        records: waits.len() as u64,
        refused: refused.load(Ordering::Relaxed),
        waits,
        elapsed,
        processor,
        commits: ledger.status().commits - commits,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("name a directory")?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let durability = match arguments.next().as_deref() {
        Some("memory") => Durability::Memory,
        _ => Durability::Disk,
    };
    let spare_bytes = arguments.next().map_or(Ok(64), |text| text.parse::<u64>())? << 20;
    let defaults = Settings::new("throughput");
    let gather =
        arguments.next().map_or(Ok(defaults.gather), |text| text.parse().map(Duration::from_micros))?;
    let opened = Ledger::open(&directory, Settings { durability, spare_bytes, gather, ..defaults })?;
    let ledger = opened.ledger;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    println!(
        "appenders  target/s  records/s  p50 µs  p99 µs  max µs  CPU µs/record  % of a core  records/commit  refused"
    );
    for (appenders, rate) in [(1, None), (64, None), (512, None), (512, Some(50_000))] {
        while ledger.status().available_bytes < spare_bytes {
            std::thread::sleep(Duration::from_millis(10));
        }
        let outcome = measure(&ledger, &runtime, appenders, rate, Duration::from_secs(seconds));
        ledger.remove_before(ledger.durable_position())?;
        let at = |share: f64| {
            outcome.waits.get((outcome.waits.len() as f64 * share) as usize).copied().unwrap_or(0)
        };
        let per_record = |time: Duration| time.as_secs_f64() * 1e6 / outcome.records.max(1) as f64;
        let share = |time: Duration| time.as_secs_f64() * 100.0 / outcome.elapsed.as_secs_f64();
        println!(
            "{appenders:>9}  {:>8}  {:>9.0}  {:>6}  {:>6}  {:>6}  {:>9.2}  {:>5.1}  {:>10.2}  {:>5.1}  {:>10.1}  {:>7}",
            rate.map_or_else(|| "-".to_owned(), |rate| rate.to_string()),
            outcome.records as f64 / outcome.elapsed.as_secs_f64(),
            at(0.5),
            at(0.99),
            outcome.waits.last().copied().unwrap_or(0),
            per_record(outcome.processor.ledger),
            share(outcome.processor.ledger),
            per_record(outcome.processor.all),
            share(outcome.processor.all),
            outcome.records as f64 / outcome.commits.max(1) as f64,
            outcome.refused,
        );
    }
    println!("{:?}", ledger.status());
    ledger.close(Duration::from_secs(10))?;
    Ok(())
}
