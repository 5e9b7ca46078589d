//! The client part alone, against any SIP-over-WebSocket server; with its events, if it writes any.

use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifecycle::Transport;
use prove::{Disaster, Feed, Sources, Storm, Target, Waited, reconcile, storm};

use super::Verdict;
use super::follow::{Follower, From, standard_input};
use super::machine;
use super::report::Totals;
use super::screen::{Lines, Screen};
use crate::command::Prove;
use crate::speech::say;
use event_text::counted;

pub(super) async fn run(prove: &Prove, url: &str) -> Result<Verdict, String> {
    let largest = machine::largest_wave()?;
    let rounds = prove.rounds.unwrap_or(prove.flows.div_ceil(largest));
    let wave = prove.flows.div_ceil(rounds);
    if wave > largest {
        return Err(format!(
            "{} at once are too many here; the most is {largest}: give more --rounds",
            counted(wave, "connection")
        ));
    }
    let target = target(url, prove.domain.as_deref())?;
    let feed = Feed::joining();
    let mut follower = None;
    match prove.events.as_deref() {
        Some(path) if path == Path::new("-") => standard_input(&feed),
        Some(path) => follower = Some(Follower::start(path, From::End, &feed)),
        None => {}
    }
    let await_events = prove.events.as_ref().map_or(Duration::ZERO, |_| Duration::from_secs(prove.patience));
    let mut screen = Screen::new(if prove.json { Lines::Err } else { Lines::Out });
    let sources = Arc::new(Sources::fitting(target.address));
    let mut totals = Totals::default();
    let begun = Instant::now();
    let mut clients = Clients::default();
    let run: u32 = rand::random();
    for number in 1..=rounds {
        let (flows, at) = (wave.min(prove.flows - wave * (number - 1)), Instant::now());
        let plan = Storm {
            sources: Arc::clone(&sources),
            await_events,
            prefix: format!("p{run:x}-{number}"),
            ..Storm::new(vec![target.clone()], usize::try_from(flows).unwrap_or(usize::MAX))
        };
        let what = format!("{} at one instant", target.transport);
        let round = storm(&plan, &feed, Disaster::never(), |progress| {
            screen.progress(number, &what, flows, progress);
        });
        let round = round.await.map_err(|error| format!("{url}: {error}"))?;
        let report = feed.look(|log| reconcile(log, &round.attempts));
        feed.forget_closed();
        let all = report.total();
        clients.connections += all.connections;
        clients.failed += round.failed.count();
        let told = if prove.events.is_some() {
            format!(
                "{:>6} opened {:>6} closed {:>6} missing {:>3} doubled",
                all.opened,
                all.right + all.wrong + all.untold,
                all.missing,
                all.doubled
            )
        } else {
            String::new()
        };
        screen.line(&format!(
            "{number:>4}  {what:<24} {:>6} flows {told} {:>6.1} s",
            all.connections,
            at.elapsed().as_secs_f64()
        ));
        totals.rounds = number;
        totals.byes.merge(&round.byes);
        totals.wrong("clients that could not connect or register", &round.failed);
        totals.wrong("BYEs lost", &round.lost_byes);
        if round.events == Waited::InVain && prove.events.is_some() {
            screen.line(&format!("      the last events did not come within {} s", prove.patience));
        }
        totals.report.absorb(&report);
    }
    drop(follower);
    totals.took = begun.elapsed();
    if prove.events.is_none() {
        return without_events(prove, &totals, &clients);
    }
    let misses = totals.misses();
    if prove.json {
        say!("{:#}", totals.json());
    } else {
        say!("\n{totals}");
    }
    Ok(if misses == 0 { Verdict::AddsUp } else { Verdict::Misses(misses) })
}

/// What the clients saw.
#[derive(Default)]
struct Clients {
    connections: u64,
    failed: u64,
}

/// Without events nothing can be missed but what clients see.
fn without_events(prove: &Prove, totals: &Totals, clients: &Clients) -> Result<Verdict, String> {
    let Clients { connections, failed } = *clients;
    let lost = totals.byes.lost;
    if prove.json {
        let seen = serde_json::json!({
            "rounds": totals.rounds, "seconds": totals.took.as_secs_f64(), "connections": connections, "failed": failed,
            "byes": {"sent": totals.byes.sent, "arrived": totals.byes.arrived, "lost": lost},
            "events": null,
        });
        say!("{seen:#}");
    } else {
        say!(
            "{connections} connected and ended, {failed} could not connect or register; {} BYEs sent right before the end, {} arrived, {lost} lost",
            totals.byes.sent,
            totals.byes.arrived
        );
        say!(
            "only the clients' view: what the server told of it is not known. Give its events with --events FILE"
        );
    }
    let misses = failed + lost;
    Ok(if misses == 0 { Verdict::AddsUp } else { Verdict::Misses(misses) })
}

/// Reads `ws://HOST[:PORT][/PATH]`, or the same with wss.
fn target(url: &str, domain: Option<&str>) -> Result<Target, String> {
    let wrong = || format!("--server {url}: give ws://HOST:PORT/ or wss://HOST:PORT/");
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let (transport, port) = match scheme {
        "ws" => (Transport::Ws, 80),
        "wss" => (Transport::Wss, 443),
        _ => return Err(wrong()),
    };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let whole = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    let host = whole.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned();
    if host.is_empty() {
        return Err(wrong());
    }
    let mut addresses = whole.to_socket_addrs().map_err(|error| format!("--server {url}: {error}"))?;
    let address = addresses.next().ok_or_else(|| format!("--server {url}: {host} has no address"))?;
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let mut target = Target::new(transport, address).domain(domain.unwrap_or(name));
    if name.parse::<std::net::IpAddr>().is_err() {
        target.host = Some(name.into());
    }
    target.path = format!("/{path}").into();
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let read = target("ws://127.0.0.1:8080/sip?x=1", None).unwrap();
        assert_eq!((read.transport, read.address), (Transport::Ws, "127.0.0.1:8080".parse().unwrap()));
        assert_eq!((&*read.path, &*read.domain), ("/sip?x=1", "127.0.0.1"));
        let read = target("wss://[::1]", Some("example.com")).unwrap();
        assert_eq!(read.address, "[::1]:443".parse().unwrap());
        assert_eq!((&*read.path, &*read.domain, read.host), ("/", "example.com", None));
        for wrong in ["", "127.0.0.1", "http://127.0.0.1/", "ws://", "ws:///x"] {
            assert!(target(wrong, None).is_err(), "{wrong}");
        }
    }
}
