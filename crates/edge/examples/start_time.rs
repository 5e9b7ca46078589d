//! How long a start takes after a long history, with checkpoints and without: `start_time [RECORDS] [LIVE
//! [DIRECTORY]]`.
//!
//! With a directory, it only leaves the history there, for other readers to be measured: a connection every
//! 1.2 s of January 2026.
//!
//! Writes a ledger of connections that came and went, and some that are open when the process dies; starts a
//! server on it and says what that cost.

use std::{borrow::Cow, error::Error, path::Path, time::Duration};

use config::{Config, DevPorts};
use edge::Server;
use ledger::{Batch, Durability, Ledger, ReadFrom, Settings};
use lifecycle::{
    Cause, Certainty, ClosedAt, Direction, Ending, Event, EventId, EventKind, FlowEnd, FlowFacts, FlowOpened,
    OpenState, Text, Transport,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checkpoints {
    None,
    AtEveryRoll,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).take(2).map(|text| text.parse::<u64>());
    let records = arguments.next().transpose()?.unwrap_or(1_000_000);
    let live = arguments.next().transpose()?.unwrap_or(100);
    if let Some(directory) = std::env::args().nth(3) {
        let segments = write(Path::new(&directory), records, live, Checkpoints::AtEveryRoll)?;
        println!("{records} records in {segments} segments");
        return Ok(());
    }
    for checkpoints in [Checkpoints::None, Checkpoints::AtEveryRoll] {
        let directory = std::env::temp_dir().join(format!("sipway-start-time-{}", std::process::id()));
        let segments = write(&directory, records, live, checkpoints)?;
        let mut config = Config::dev(DevPorts { ws: 0, wss: 0, sip: 0, admin: 0 });
        config.ledger.directory = directory.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            for what in ["crash", "orderly end"] {
                let server = Server::start(&config, |_| None)?;
                let recovered = &server.recovered;
                println!(
                    "{records} records in {segments} segments, checkpoints {checkpoints:?}, after {what}: {} ms, {} records read, {} flows closed",
                    recovered.took.as_millis(),
                    recovered.records,
                    recovered.flows
                );
                let ledger = server.handle().ledger().clone();
                server.shut_down(Duration::ZERO, Duration::from_secs(30)).await?;
                ledger.close(Duration::from_secs(30))?;
            }
            Ok::<_, Box<dyn Error>>(())
        })?;
        drop(runtime);
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(())
}

/// When a record was written: one every 600 ms, in microseconds since the Unix epoch.
const fn at(counter: u64) -> u64 {
    1_767_225_600_000_000 + counter * 600_000
}

/// Returns how many segments that took.
fn write(
    directory: &Path,
    records: u64,
    live: u64,
    checkpoints: Checkpoints,
) -> Result<usize, Box<dyn Error>> {
    let mut settings = Settings::new("sipway");
    settings.durability = Durability::Memory;
    let ledger = Ledger::open(directory, settings)?.ledger;
    let mut reader = ledger.reader(ReadFrom::Oldest);
    let (mut books, mut rolled) = (OpenState::default(), 0);
    let mut counter = 0;
    while counter < records {
        let mut batch = Batch::new();
        while batch.weight() < 256 * 1024 && counter < records {
            let flow = format!("sipway.1.f{counter}");
            let facts = FlowFacts {
                transport: Transport::Wss,
                direction: Direction::Accepted,
                listener: Text::new("browsers"),
                local: "192.0.2.1:443".parse()?,
                remote: ([192, 0, 2, 7], 1024 + u16::try_from(counter % 60_000)?).into(),
                forwarded: None,
                host: Some(Text::new("sip.example.com")),
                origin: Some(Text::new("https://app.example.com")),
                path: Some(Text::new("/")),
                user_agent: Some(Text::new(
                    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                )),
                tls: None,
            };
            let opened = Event::FlowOpened(FlowOpened {
                flow: &flow,
                opened_at: at(counter),
                facts: Cow::Borrowed(&facts),
            });
            batch.push(opened.kind().number(), at(counter), &opened.to_json());
            counter += 1;
            if counter + live > records {
                continue;
            }
            let closed = Event::FlowClosed(FlowEnd {
                flow: &flow,
                facts: &facts,
                identity: None,
                opened_at: at(counter - 1),
                closed_at: ClosedAt::Seen(at(counter)),
                ending: &Ending::of(Cause::CloseFrame).code(1001),
                certainty: Certainty::Observed,
                traffic: None,
                bindings: &[],
                bindings_total: 0,
                calls: &[],
                calls_total: 0,
            });
            batch.push(closed.kind().number(), at(counter), &closed.to_json());
            counter += 1;
        }
        let appended = loop {
            match ledger.append(batch) {
                Ok(appended) => break appended,
                Err(rejected) => batch = rejected.batch,
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        ledger
            .durable(appended.last_seq)
            .wait_for(Duration::from_secs(60))
            .ok_or("the disk is too slow")??;
        if checkpoints == Checkpoints::AtEveryRoll {
            while let Some(block) = reader.next_block()? {
                for record in block.records() {
                    let id =
                        EventId { incarnation: record.position.incarnation, sequence: record.position.seq };
                    books.fold(id, record.at, EventKind::try_from(record.kind)?, record.payload);
                }
            }
            if ledger.status().rolled > rolled {
                rolled = ledger.status().rolled;
                ledger.write_checkpoint(ledger.durable_position(), &books.snapshot())?;
            }
        }
    }
    let segments = ledger.segments().len();
    ledger.close(Duration::from_secs(60))?;
    Ok(segments)
}
