//! How long an event takes from its append to an idle sink: a line in a file, a request at a local webhook.
//!
//! `cargo run --release -p sinks --example latency [EVENTS [memory]]`; `memory` leaves the disk out.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use config::{Config, FakeEnvironment};
use ledger::{Batch, Ledger};
use lifecycle::{EventKind, Node};
use sinks::{Settings, Sink};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn show(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    println!("{what}: p50 {:?}  p99 {:?}  longest {:?}  ({} events)", at(0.5), at(0.99), at(1.0), took.len());
}

fn append(ledger: &Ledger) -> Outcome<Instant> {
    let mut batch = Batch::new();
    batch.push(EventKind::FlowClosed.number(), 1, br#"{"flow":"edge1.1.f1","cause":"eof"}"#);
    let began = Instant::now();
    ledger.append(batch).map_err(|rejected| rejected.why)?;
    Ok(began)
}

fn settings(toml: &str) -> Outcome<Settings> {
    let around = FakeEnvironment::new().set("SECRET", "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
    let config = Config::parse(toml, Path::new("latency.toml"), &around).map_err(|e| e.to_string())?;
    Ok(Settings::from(&config.sinks[0]))
}

fn main() -> Outcome<()> {
    let events: usize = std::env::args().nth(1).map_or(Ok(1000), |count| count.parse())?;
    let folder = std::env::temp_dir().join(format!("sinks-latency-{}", std::process::id()));
    let node = Node::new("edge1")?;
    let durability = match std::env::args().nth(2).as_deref() {
        Some("memory") => ledger::Durability::Memory,
        _ => ledger::Durability::Disk,
    };
    let settings_of_ledger = ledger::Settings { durability, ..ledger::Settings::new("edge1") };
    let ledger = Ledger::open(folder.join("ledger"), settings_of_ledger)?.ledger;
    let pause = Duration::from_millis(5);

    let mut durable = Vec::new();
    for seq in 1..=events as u64 {
        let began = append(&ledger)?;
        ledger.durable(seq).wait()?;
        durable.push(began.elapsed());
        std::thread::sleep(pause);
    }
    show("append to durable     ", durable);

    let path = folder.join("events.jsonl");
    let toml = format!("[[sink]]\nkind = \"file\"\nname = \"file\"\npath = \"{}\"", path.display());
    let sink = Sink::start(&ledger, &node, settings(&toml)?)?;
    while sink.status().lag > 0 || !path.exists() {
        std::thread::sleep(pause);
    }
    let mut lines = BufReader::new(std::fs::File::open(&path)?);
    std::io::copy(&mut lines, &mut std::io::sink())?;
    let mut took = Vec::new();
    let mut line = String::new();
    for _ in 0..events {
        let began = append(&ledger)?;
        line.clear();
        while !line.ends_with('\n') {
            lines.read_line(&mut line)?;
            std::thread::sleep(Duration::from_micros(20));
        }
        took.push(began.elapsed());
        std::thread::sleep(pause);
    }
    show("append to line in file", took);
    drop(sink);

    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let toml = format!(
        "[[sink]]\nkind = \"webhook\"\nname = \"hook\"\nurl = \"http://127.0.0.1:{port}/\"\nsecret_env = \"SECRET\""
    );
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line)? > 2 {
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let _ = tell.send(Instant::now());
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        }
    });
    let sink = Sink::start(&ledger, &node, settings(&toml)?)?;
    while sink.status().lag > 0 {
        std::thread::sleep(pause);
    }
    while told.try_recv().is_ok() {}
    let mut took = Vec::new();
    for _ in 0..events {
        let began = append(&ledger)?;
        took.push(told.recv()?.duration_since(began));
        std::thread::sleep(pause);
    }
    show("append to webhook     ", took);
    drop(sink);
    ledger.close(Duration::from_secs(5))?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
