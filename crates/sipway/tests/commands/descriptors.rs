//! Descriptors: when they run out, and that none is kept for a peer that is gone.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lifecycle::Transport;
use prove::{Client, Setup};
use tokio::process::Command;

use crate::directory::Directory;
use crate::http::ask;
use crate::process::{PATIENCE, Server, sipway};

/// All that the process may have.
const LIMIT: usize = 220;

fn configuration(directory: &Directory, more: &str) -> std::path::PathBuf {
    let text = format!(
        "[ledger]\ndirectory = \"ledger\"\n[[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
         [admin]\nbind = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n{more}"
    );
    directory.write("sipway.toml", text)
}

fn in_use(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

/// Those of them that are sockets: files are opened whenever the ledger wants one.
fn sockets(server: &Server) -> usize {
    let all = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    // One may be closed while we look.
    let what = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    what.filter(|what| what.to_string_lossy().starts_with("socket:")).count()
}

async fn metric(server: &Server, name: &str) -> u64 {
    let page = ask(server.address("admin"), "GET", "/metrics").await;
    let line = page.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    let value = line.unwrap_or_else(|| panic!("no {name} in {page}")).split(' ').next_back().unwrap();
    value.parse().unwrap()
}

async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < PATIENCE, "not {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn registered(server: &Server, user: &str) -> Client {
    let mut client = server.connect(Transport::Ws, user).await;
    assert_eq!(client.register(600).await.unwrap().status, 200);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_never_take_the_last_ones() {
    let directory = Directory::new("descriptors");
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"")]).kill_on_drop(true);
    let mut command = sipway(["run", "--config"]);
    command.arg(configuration(&directory, "[limits]\nhandshake_timeout = \"1m\"\n"));
    limited.arg(command.as_std().get_program()).args(command.as_std().get_args());
    let mut server = Server::run(limited).await;
    let mut ada = registered(&server, "ada").await;
    let mut bob = registered(&server, "bob").await;
    let to_bob = bob.address_of_record();
    let bob = tokio::spawn(async move { bob.serve().await });
    let before = in_use(&server);

    // Whoever only connects says nothing for a minute.
    let address = server.address("ws");
    let idle: Vec<TcpStream> = (0..2 * LIMIT).map(|_| TcpStream::connect(address).unwrap()).collect();
    // The admin API answers all the while.
    let starved = "sipway_accepts_starved_total";
    until("starved", async || metric(&server, starved).await > 0).await;
    let (first, begun) = (metric(&server, starved).await, Instant::now());
    for _ in 0..20 {
        assert_eq!(ada.message(&to_bob, b"meanwhile").await.unwrap().status, 200);
    }
    until("tried again", async || metric(&server, starved).await >= first + 5).await;
    let (tried, within) = (metric(&server, starved).await - first, begun.elapsed());
    assert!(u128::from(tried) <= within.as_millis() / 100 + 1, "{tried} attempts within {within:?}");
    assert!(in_use(&server) < LIMIT - 32, "some are left for the ledger and for admin");

    drop(idle);
    // The ledger may have opened another file meanwhile.
    until("freed", async || in_use(&server) <= before + 8).await;
    registered(&server, "eve").await;
    bob.abort();
    assert!(server.terminate().await.success());
}

/// Lets the process have so many from now on; it may have as many as before again.
fn limit(server: &Server, most: usize) {
    let pid = server.pid().to_string();
    let done =
        std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={most}:")]).status();
    assert!(done.expect("prlimit is part of util-linux").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_system_has_none_left_the_listener_waits_and_goes_on() {
    let directory = Directory::new("none-left");
    let mut command = sipway(["run", "--config"]);
    command.arg(configuration(&directory, ""));
    let mut server = Server::run(command).await;
    let mut ada = registered(&server, "ada").await;
    let to_ada = ada.address_of_record();
    // Asked over a connection that is there already.
    let mut admin = BufReader::new(TcpStream::connect(server.address("admin")).unwrap());
    let mut starved = || {
        admin.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            admin.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut page = vec![0; length];
        admin.read_exact(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        let line = page.lines().find(|line| line.starts_with("sipway_accepts_starved_total")).unwrap();
        line.split(' ').next_back().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(starved(), 0);

    limit(&server, 3);
    let waiting = tokio::spawn({
        let target = server.target(Transport::Ws);
        async move { Client::connect(&target, &Setup::new("bob")).await }
    });
    until("starved", async || starved() > 0).await;
    let (first, begun) = (starved(), Instant::now());
    until("tried again", async || starved() >= first + 5).await;
    let (tried, within) = (starved() - first, begun.elapsed());
    assert!(u128::from(tried) <= within.as_millis() / 100 + 1, "{tried} attempts within {within:?}");
    assert!(!waiting.is_finished(), "nobody turned it away");
    assert_eq!(ada.register(600).await.unwrap().status, 200, "who is there goes on");

    limit(&server, 1024);
    let mut bob = waiting.await.unwrap().expect("it was kept waiting, not refused");
    let serving = tokio::spawn(async move { ada.serve().await });
    assert_eq!(bob.message(&to_ada, b"at last").await.unwrap().status, 200);
    serving.abort();
    assert!(server.terminate().await.success());
}

/// A flow whose peer does as it likes; gives its id and the peer's end.
async fn flow(server: &Server) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(server.address("ws")).unwrap();
    let user = rand_name(&stream);
    let register = format!(
        "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         To: <sip:{user}@localhost>\r\nFrom: <sip:{user}@localhost>;tag=1\r\nCall-ID: {user}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:{user}@x.invalid;transport=ws>\r\nContent-Length: 0\r\n\r\n"
    );
    let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: sip\r\n\r\n"
        .to_vec();
    websocket::client::text(&register, [1, 2, 3, 4], &mut bytes);
    stream.write_all(&bytes).unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((_, rest)) = text.split_once("Sipway-Flow: ")
            && let Some((flow, _)) = rest.split_once("\r\n")
        {
            return (flow.to_owned(), stream);
        }
        let read = stream.read(&mut chunk).unwrap();
        assert_ne!(read, 0, "{text}");
        answer.extend_from_slice(&chunk[..read]);
    }
}

fn rand_name(stream: &TcpStream) -> String {
    format!("user-{}", stream.local_addr().unwrap().port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_peer_does_with_our_close_its_descriptor_is_freed() {
    let directory = Directory::new("freed");
    let mut command = sipway(["run", "--config"]);
    command.arg(configuration(&directory, "[limits]\nclose_timeout = \"100ms\"\n"));
    let mut server = Server::run(command).await;
    let admin: SocketAddr = server.address("admin");
    // What the first request makes the process open stays open.
    metric(&server, "sipway_flows_opened_total").await;
    until("settled", async || {
        let before = sockets(&server);
        tokio::time::sleep(Duration::from_millis(50)).await;
        sockets(&server) == before
    })
    .await;
    let before = sockets(&server);
    let mut peers = Vec::new();
    let mut talkers = Vec::new();
    for what in [&b""[..], b"\xff\xff\xff\xff", b"\x8a\x80\x01\x02\x03\x04"] {
        let (flow, stream) = flow(&server).await;
        if !what.is_empty() {
            let mut talking = stream.try_clone().unwrap();
            talkers.push(std::thread::spawn(move || {
                loop {
                    match talking.write_all(what) {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(_) => return,
                    }
                }
            }));
        }
        // One of them breaks the rules, and may be closed for that before the order comes.
        ask(admin, "DELETE", &format!("/api/flows/{flow}")).await;
        peers.push(stream);
    }
    until("freed", async || sockets(&server) <= before).await;
    for talker in talkers {
        talker.join().unwrap();
    }
    drop(peers);
    assert_eq!(metric(&server, "sipway_flows_closed_total").await, 3);
    assert!(server.terminate().await.success());
}
