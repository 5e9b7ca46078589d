//! How fast a sink gets over a backlog: to a webhook on loopback with one request and with eight at a time,
//! and to the servers that are named.
//!
//! `cargo run --release -p sinks --example backlog [EVENTS [postgres://USER@HOST/DATABASE] [nats://HOST] [redis://HOST]]`

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use config::{Config, FakeEnvironment};
use ledger::{Batch, Ledger};
use lifecycle::{EventKind, Node};
use sinks::{Settings, Sink};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Answers every request with 204, one after the other on each connection.
fn serve(mut stream: std::net::TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut seen, mut part) = (Vec::new(), [0; 16 << 10]);
    loop {
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&part[..count]);
        while let Some(head) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let whole = head + 4 + length.unwrap_or(0_usize);
            if seen.len() < whole {
                break;
            }
            seen.drain(..whole);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        }
    }
}

fn main() -> Outcome<()> {
    let events: u64 = std::env::args().nth(1).map_or(Ok(50_000), |count| count.parse())?;
    let servers: Vec<String> = std::env::args().skip(2).collect();
    let folder = std::env::temp_dir().join(format!("sinks-backlog-{}", std::process::id()));
    let node = Node::new(&format!("n{}", std::process::id()))?;
    let ledger = Ledger::open(folder.join("ledger"), ledger::Settings::new(node.as_str()))?.ledger;
    for first in (0..events).step_by(100) {
        let mut batch = Batch::new();
        for number in first..(first + 100).min(events) {
            let (kind, flow) =
                (if number % 2 == 0 { EventKind::FlowOpened } else { EventKind::FlowClosed }, number / 2);
            let data = format!(
                r#"{{"flow":"n.1.f{flow}","cause":"eof","by":"client","transport":"wss","listener":"browsers","local":"192.0.2.1:443","remote":"198.51.100.7:50312","user_agent":"JsSIP 3.10","duration_ms":81234}}"#
            );
            batch.push(kind.number(), 1_700_000_000_000_000 + number, data.as_bytes());
        }
        let last = ledger.append(batch).map_err(|rejected| rejected.why)?.last_seq;
        ledger.durable(last).wait()?;
    }

    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    let hook = |more: &str| {
        format!(
            "kind = \"webhook\"\nname = \"hook\"\nurl = \"http://{address}/\"\nsecret_env = \"SECRET\"\n{more}"
        )
    };
    let mut ways = vec![
        ("webhook, one at a time     ", hook("")),
        ("webhook, eight at a time   ", hook("concurrency = 8")),
        ("webhook, batches of 100    ", hook("mode = \"batched\"")),
        ("webhook, eight batches     ", hook("mode = \"batched\"\nconcurrency = 8")),
    ];
    for url in &servers {
        ways.push(match url.split_once(':').map_or("", |(scheme, _)| scheme) {
            "nats" => (
                "nats                       ",
                format!("kind = \"nats\"\nname = \"bus\"\nservers = [\"{url}\"]"),
            ),
            "redis" => (
                "redis                      ",
                format!("kind = \"redis\"\nname = \"stream\"\nurl = \"{url}\""),
            ),
            _ => (
                "postgres                   ",
                format!("kind = \"postgres\"\nname = \"db\"\nurl = \"{url}\""),
            ),
        });
    }
    for (what, keys) in ways {
        let around =
            FakeEnvironment::new().set("SECRET", "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
        let config = Config::parse(&format!("[[sink]]\n{keys}\n"), Path::new("backlog.toml"), &around)
            .map_err(|errors| errors.to_string())?;
        let sink = Sink::start(&ledger, &node, Settings::from(&config.sinks[0]))?;
        let began = Instant::now();
        while sink.status().lag > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = began.elapsed();
        let status = sink.finish(Duration::from_secs(10)).status;
        let rate = events as f64 / took.as_secs_f64();
        println!(
            "{what}: {events} events in {took:.2?}, {rate:.0}/s, {} deliveries, {} retries",
            status.deliveries, status.retries
        );
        ledger
            .cursor(&config.sinks[0].name.to_string())?
            .reset(ledger::Position::START, ledger::Save::Now)?;
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
