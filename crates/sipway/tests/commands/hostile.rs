//! A hostile crowd storms the server while users go on as ever.
//!
//! The test has a crowd of 1,000. `SIPWAY_HOSTILE=10000` makes it another, `SIPWAY_HOSTILE_FAILURES='"off"'`
//! has nobody banned; with `--nocapture` it prints what was measured.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lifecycle::Transport;
use prove::{Client, Setup};

use crate::crowd::{Crowd, Place};
use crate::directory::Directory;
use crate::operator::{eventually, get};
use crate::process::{Server, ledger_events, sipway, types};

const PAIRS: usize = 6;
const ROUNDS: usize = 30;

/// Far more than anything takes: what counts is that it is done.
const PATIENCE: Duration = Duration::from_secs(60);

fn setup(user: &str) -> Setup {
    Setup { source: Some(IpAddr::from([127, 0, 0, 2])), patience: PATIENCE, ..Setup::new(user) }
}

async fn start(directory: &Directory, most: &str) -> Server {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    directory.write("chain.pem", pair.cert.pem());
    directory.write("key.pem", pair.signing_key.serialize_pem());
    let failures = std::env::var("SIPWAY_HOSTILE_FAILURES").unwrap_or("100".to_owned());
    let tls = "certificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n";
    let listener = |transport: &str, more: &str| {
        format!(
            "[[listener]]\nname = \"{transport}\"\ntransport = \"{transport}\"\nbind = \"127.0.0.1:0\"\n{more}"
        )
    };
    let text = [
        "[ledger]\ndirectory = \"ledger\"\n[log]\nformat = \"json\"\n[admin]\nbind = \"127.0.0.1:0\"\n",
        &format!("[limits]\n{most}\n"),
        "[defence]\nexempt = \"off\"\n",
        &format!("failures = {failures}\n"),
        &listener("ws", ""),
        &listener("wss", tls),
        &listener("tcp", ""),
        "[[domain]]\nname = \"localhost\"\nauth = \"open\"\n",
    ];
    let file = directory.write("sipway.toml", text.concat());
    let mut command = sipway(["run", "--config"]);
    command.arg(file);
    Server::run(command).await
}

/// How long things took.
#[derive(Default)]
struct Took {
    rounds: Vec<Duration>,
    /// To connect, and to register.
    coming: Vec<(Duration, Duration)>,
}

/// Two who write to each other, and somebody new now and then.
async fn talk(server: &Server, pair: usize) -> Took {
    let coming = std::cell::RefCell::new(Vec::new());
    let transports = [Transport::Ws, Transport::Wss, Transport::Tcp];
    let come = async |name: String, transport: usize| {
        let target = server.target(transports[transport % transports.len()]);
        // As a browser does: in the first storm a handshake may be crowded out before it has been looked at.
        let began = Instant::now();
        let mut client =
            eventually("is let in", async || Client::connect(&target, &setup(&name)).await.ok()).await;
        let connected = Instant::now();
        assert_eq!(client.register(600).await.unwrap().status, 200, "{name}");
        coming.borrow_mut().push((connected - began, connected.elapsed()));
        client
    };
    let mut ada = come(format!("ada{pair}"), pair).await;
    let mut bob = come(format!("bob{pair}"), pair + 1).await;
    let to = bob.address_of_record();
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let began = Instant::now();
        let (answer, heard) = tokio::join!(ada.message(&to, b"hello"), bob.next());
        rounds.push(began.elapsed());
        assert_eq!(answer.unwrap().status, 200);
        assert_eq!(heard.unwrap().message().body(), b"hello");
        if round % 10 == 0 {
            drop(come(format!("new{pair}"), pair + round).await);
        }
    }
    Took { rounds, coming: coming.into_inner() }
}

async fn everybody_talks(server: &Server) -> Took {
    let talking: Vec<_> = (0..PAIRS).map(|pair| talk(server, pair)).collect();
    let mut all = Took::default();
    for took in futures_util::future::join_all(talking).await {
        all.rounds.extend(took.rounds);
        all.coming.extend(took.coming);
    }
    all.rounds.sort_unstable();
    all
}

/// The middle and the longest of the times that newcomers took.
fn coming(took: &Took) -> String {
    let of = |which: fn(&(Duration, Duration)) -> Duration| {
        let mut times: Vec<_> = took.coming.iter().map(which).collect();
        times.sort_unstable();
        format!("{:?}, {:?} at most", times[times.len() / 2], times[times.len() - 1])
    };
    format!("to connect {}; to register {}", of(|times| times.0), of(|times| times.1))
}

/// Kilobytes of memory that the server had at most.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_go_on_while_a_hostile_crowd_storms_the_server() {
    let number = std::env::var("SIPWAY_HOSTILE").map_or(1000, |number| number.parse().unwrap());
    prove::raise_descriptor_limit().unwrap();
    let directory = Directory::new("hostile");
    // So few are crowded out at once; larger crowds meet the default.
    let most = if number <= 1000 { "max_handshakes = 200" } else { "" };
    let mut server = start(&directory, most).await;
    let alone = everybody_talks(&server).await;
    let (before, began) = (memory(&server), Instant::now());
    let place = Place { ws: server.address("ws"), wss: server.address("wss"), tcp: server.address("tcp") };
    let crowd = Crowd::come(place, number);
    while crowd.connected() < number {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let came = began.elapsed();
    let among = everybody_talks(&server).await;
    let (after, connections) = (memory(&server), crowd.connected());
    let page = get(server.address("admin"), "/metrics").await.body;
    crowd.leave().await;
    let at = |took: &[Duration], part: usize| took[(took.len() - 1) * part / 100];
    println!(
        "{number} hostile at a time, {connections} connections, the first {number} within {came:?}\n\
         round trips alone: p50 {:?}, p99 {:?}; among them: p50 {:?}, p99 {:?}\n\
         newcomers alone: {}\n newcomers among them: {}\n\
         memory: {before} kB before, {after} kB at most",
        at(&alone.rounds, 50),
        at(&alone.rounds, 99),
        at(&among.rounds, 50),
        at(&among.rounds, 99),
        coming(&alone),
        coming(&among)
    );
    for line in page.lines().filter(|line| {
        ["sipway_turned_away", "sipway_offences", "sipway_bans", "sipway_handshake", "sipway_flows"]
            .iter()
            .any(|name| line.starts_with(name))
    }) {
        println!("{line}");
    }
    assert!(
        most.is_empty()
            || page.lines().any(|line| {
                line.strip_prefix("sipway_handshakes_crowded_out_total ").is_some_and(|count| count != "0")
            })
    );
    // About what one thousand of them cost at most; twice as much without bounds.
    let bound = 400_000 + 40 * u64::try_from(number).unwrap();
    assert!(after < bound, "{after} kB");
    let log = server.terminate_and_read().await;
    let lines = log.lines().filter(|line| line.contains("an address is")).count();
    assert!(lines < 500, "{lines} lines in the log");
    let events = ledger_events(&directory.at("ledger")).await;
    let count = |kind| types(&events).iter().filter(|of| **of == kind).count();
    assert_eq!(count("flow.opened"), count("flow.closed"));
}
