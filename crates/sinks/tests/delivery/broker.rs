//! What every broker must stand: the same scenarios for a real NATS and a real Redis.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ledger::{Ledger, Position};
use sinks::{Rest, Settings, Sinks, State};

use crate::place::{PATIENCE, Place, append, append_many, eventually, file, ids, ids_in, node, start};

/// A server of some kind with a place of its own, running or not.
pub(crate) trait Broker: Sized {
    /// A port and a directory for one; it does not run yet.
    fn at(place: &Place) -> Self;
    fn server(&mut self) -> &mut Server;
    /// Starts it and waits until it answers.
    fn run(&mut self);
    /// A sink that delivers there.
    fn sink(&self) -> Settings;
    /// The ids of the events it holds, in its order; each whole and under the id that it says.
    fn ids(&self) -> Vec<String>;

    fn running(place: &Place) -> Self {
        let mut broker = Self::at(place);
        broker.run();
        broker
    }
}

/// A server's process, killed when it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) data: PathBuf,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn at(place: &Place, data: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { port, data: place.path(data), child: None }
    }

    /// Runs a program. `variable` may say where it is, otherwise it is looked for; `package` has it.
    pub(crate) fn run(&mut self, program: &str, variable: &str, package: &str, arguments: &[&str]) {
        std::fs::create_dir_all(&self.data).unwrap();
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let program = std::env::var(variable).unwrap_or_else(|_| program.to_owned());
        let log = std::fs::File::create(self.data.with_extension("log")).unwrap();
        let mut command = Command::new(&program);
        command.args(arguments).env("PATH", path).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.child = Some(child.unwrap_or_else(|error| {
            panic!("cannot run {program}: {error}. Install it (apt-get install {package}), or set {variable} to its path")
        }));
    }

    /// Waits until it answers, or fails with what it said.
    pub(crate) fn answers(&mut self, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = || std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default();
            assert!(ended.is_none(), "the server ended: {}", log());
            assert!(Instant::now() < until, "the server does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Puts a copy of its data there, or takes it from there.
    fn copy(from: &Path, to: &Path) {
        let _ = std::fs::remove_dir_all(to);
        assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A certificate for this machine, and its key.
pub(crate) fn certificate(place: &Place) -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        std::fs::write(place.path(name), text).unwrap();
        place.path(name).display().to_string()
    };
    (write("certificate.pem", pair.cert.pem()), write("key.pem", pair.signing_key.serialize_pem()))
}

/// Only a server whose certificate is trusted gets events.
pub(crate) fn over_tls(place: &Place, untrusting: Settings, trusting: Settings) {
    let ledger = place.ledger();
    append(&ledger, 5);
    let sink = start(&ledger, untrusting);
    eventually("it is not trusted", || {
        sink.status().last_error.is_some_and(|error| error.text.to_lowercase().contains("certificate"))
    });
    assert_eq!(sink.status().delivered, 0);
    drop(sink);
    let finished = start(&ledger, trusting).finish(PATIENCE);
    assert_eq!((finished.status.lag, finished.status.delivered), (0, 5), "{finished:?}");
}

fn settled(sinks: &sinks::Sink) {
    eventually("everything is delivered", || {
        sinks.status().lag == 0 && sinks.status().state == State::Working
    });
}

/// Everything there once, in order.
pub(crate) fn holds(broker: &impl Broker, count: u64) {
    let there = broker.ids();
    if let Some(wrong) = there.iter().zip(ids(1, count)).find(|(there, wanted)| *there != wanted) {
        panic!("{wrong:?} of {} and {count}", there.len());
    }
    assert_eq!(there.len() as u64, count);
}

pub(crate) fn a_repeat_is_kept_out<B: Broker>(name: &str) {
    let place = Place::new(name);
    let (ledger, broker) = (place.ledger(), B::running(&place));
    append(&ledger, 50);
    assert_eq!(start(&ledger, broker.sink()).finish(PATIENCE).status.lag, 0);
    // As a crash leaves it: the cursor is behind what was delivered.
    forget(&ledger, 10);
    append(&ledger, 5);
    let finished = start(&ledger, broker.sink()).finish(PATIENCE);
    assert_eq!((finished.status.lag, finished.status.delivered), (0, 45));
    holds(&broker, 55);
}

/// Sets the cursor back.
pub(crate) fn forget(ledger: &Ledger, to: u64) {
    ledger.cursor("bus").unwrap().reset(Position::new(1, to), ledger::Save::Now).unwrap();
}

pub(crate) fn killed_in_mid_stream<B: Broker>(name: &str) {
    let place = Place::new(name);
    let (ledger, mut broker) = (place.ledger(), B::running(&place));
    let sink = start(&ledger, broker.sink());
    for round in 1..=4 {
        let (before, writer) = (sink.status().delivered, ledger.clone());
        let appending = std::thread::spawn(move || append_many(&writer, 1000));
        eventually("some of it is delivered", || sink.status().delivered > before);
        broker.server().kill();
        appending.join().unwrap();
        eventually("the outage shows", || sink.status().state == State::Retrying);
        assert!(sink.status().last_error.is_some());
        broker.run();
        settled(&sink);
        holds(&broker, round * 1000);
    }
}

pub(crate) fn down_at_the_start<B: Broker>(name: &str) {
    let place = Place::new(name);
    let (ledger, mut broker, path) = (place.ledger(), B::at(&place), place.path("events.jsonl"));
    let sinks = Sinks::start(&ledger, &node(), [broker.sink(), file("file", &path)]).unwrap();
    append(&ledger, 50);
    eventually("the neighbour has all", || sinks.status()[1].lag == 0);
    assert_eq!(ids_in(&path), ids(1, 50));
    eventually("the outage shows", || sinks.status()[0].last_error.is_some());
    let down = &sinks.status()[0];
    assert_eq!((down.state, down.lag, down.delivered), (State::Retrying, 50, 0));
    assert!(down.last_error.as_ref().unwrap().text.contains("refused"), "{down:?}");
    broker.run();
    eventually("everything is delivered", || sinks.status()[0].lag == 0);
    holds(&broker, 50);
    eventually("it is well again", || sinks.status()[0].state == State::Working);
}

pub(crate) fn what_the_server_lost_comes_again<B: Broker>(name: &str) {
    let place = Place::new(name);
    let (ledger, mut broker) = (place.ledger(), B::running(&place));
    let (data, older) = (broker.server().data.clone(), place.path("older"));
    let sink = start(&ledger, broker.sink());
    append(&ledger, 60);
    settled(&sink);
    broker.server().kill();
    Server::copy(&data, &older);
    broker.run();
    append(&ledger, 40);
    settled(&sink);
    holds(&broker, 100);

    // It comes back as it was before. Nothing new happens here.
    broker.server().kill();
    Server::copy(&older, &data);
    broker.run();
    eventually("what was lost is there", || {
        sink.status().state == State::Working && broker.ids().len() == 100
    });
    holds(&broker, 100);

    // It comes back with nothing, and we were away too.
    assert_eq!(sink.finish(PATIENCE).rest, Rest::Ended);
    broker.server().kill();
    std::fs::remove_dir_all(&data).unwrap();
    broker.run();
    let sink = start(&ledger, broker.sink());
    eventually("all is there again", || sink.status().lag == 0 && broker.ids().len() == 100);
    holds(&broker, 100);
}

pub(crate) fn ended_in_mid_delivery<B: Broker>(name: &str) {
    let place = Place::new(name);
    let (ledger, broker) = (place.ledger(), B::running(&place));
    append_many(&ledger, 4000);
    for _ in 0..3 {
        let sink = start(&ledger, broker.sink());
        eventually("some of it is delivered", || sink.status().delivered > 0);
        drop(sink);
    }
    assert_eq!(start(&ledger, broker.sink()).finish(PATIENCE).status.lag, 0);
    holds(&broker, 4000);
}

/// Another ledger under the same node's name: its events have the ids of others.
pub(crate) fn a_ledger_begun_anew_is_not_taken_for_the_old_one<B: Broker>(name: &str) {
    let (place, other) = (Place::new(name), Place::new(&format!("{name}-anew")));
    let (ledger, broker) = (place.ledger(), B::running(&place));
    append(&ledger, 20);
    assert_eq!(start(&ledger, broker.sink()).finish(PATIENCE).status.lag, 0);
    let ledger = other.ledger();
    append_many(&ledger, 5);
    crate::place::append_one(&ledger, lifecycle::EventKind::NodeStarted, 7);
    let anew = start(&ledger, broker.sink());
    eventually("it is noticed", || {
        anew.status().last_error.is_some_and(|error| error.text.contains("begun anew"))
    });
    assert_eq!(anew.status().delivered, 0);
    holds(&broker, 20);
}
