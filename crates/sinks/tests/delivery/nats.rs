//! Streams of a real NATS JetStream.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{self, Context, message::StreamMessage};
use sinks::{Settings, State};
use tokio::runtime::Runtime;

use crate::broker::{self, Broker, Server, forget, holds};
use crate::place::{PATIENCE, Place, append, append_many, eventually, settings, start, take};

const STREAM: &str = "SIPWAY_edge1";

struct Nats {
    server: Server,
    jetstream: bool,
    more: Vec<String>,
    runtime: Runtime,
}

impl Nats {
    fn with(place: &Place, more: &[&str]) -> Self {
        let mut nats = Self::at(place);
        nats.more = more.iter().map(ToString::to_string).collect();
        nats.run();
        nats
    }

    fn context(&self) -> Context {
        let options = async_nats::ConnectOptions::new();
        let options = match self.more.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["--user", user, "--pass", password] => options.user_and_password(user.into(), password.into()),
            ["--auth", token] => options.token(token.into()),
            _ => options,
        };
        let address = format!("nats://127.0.0.1:{}", self.server.port);
        self.runtime.block_on(async { jetstream::new(options.connect(address).await.unwrap()) })
    }

    fn make(&self, config: Config) {
        let context = self.context();
        self.runtime.block_on(context.create_stream(config)).unwrap();
    }

    fn messages(&self, stream: &str) -> Vec<StreamMessage> {
        let context = self.context();
        self.runtime.block_on(async {
            let Ok(stream) = context.get_stream(stream).await else { return Vec::new() };
            let state = stream.cached_info().state.clone();
            let mut messages = Vec::new();
            for sequence in state.first_sequence.max(1)..=state.last_sequence {
                match stream.get_raw_message(sequence).await {
                    Ok(message) => messages.push(message),
                    Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {}
                    Err(error) => panic!("{error}"),
                }
            }
            messages
        })
    }

    fn sink_with(&self, more: &str) -> Settings {
        let port = self.server.port;
        settings(&format!(
            "[[sink]]\nkind = \"nats\"\nname = \"bus\"\nservers = [\"nats://127.0.0.1:{port}\"]\ntimeout = \"5s\"\n{more}\n"
        ))
    }
}

fn ours() -> Config {
    Config { name: STREAM.to_owned(), subjects: vec!["sipway.edge1.>".to_owned()], ..Config::default() }
}

impl Broker for Nats {
    fn at(place: &Place) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { server: Server::at(place, "nats"), jetstream: true, more: Vec::new(), runtime }
    }

    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn run(&mut self) {
        let (port, data) = (self.server.port.to_string(), self.server.data.display().to_string());
        let mut arguments = vec!["--addr", "127.0.0.1", "--port", &port];
        if self.jetstream {
            arguments.extend(["--jetstream", "--store_dir", &data]);
        }
        arguments.extend(self.more.iter().map(String::as_str));
        self.server.run("nats-server", "NATS_SERVER", "nats-server", &arguments);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.server.port));
        self.server.answers(|| std::net::TcpStream::connect(address).is_ok());
    }

    fn sink(&self) -> Settings {
        self.sink_with("")
    }

    fn ids(&self) -> Vec<String> {
        let ids = self.messages(STREAM).into_iter().map(|message| {
            let json: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            let header = |name: &str| message.headers.get(name).unwrap().as_str();
            assert_eq!(json["id"].as_str(), Some(header("Nats-Msg-Id")));
            assert_eq!(header("content-type"), "application/cloudevents+json");
            assert_eq!(*message.subject, *format!("sipway.edge1.{}", json["type"].as_str().unwrap()));
            header("Nats-Msg-Id").to_owned()
        });
        ids.collect()
    }
}

#[test]
fn each_event_is_a_message_of_a_stream_that_keeps_them_all() {
    let place = Place::new("nats-messages");
    let (ledger, nats) = (place.ledger(), Nats::running(&place));
    let sink = start(&ledger, nats.sink());
    append_many(&ledger, 1500);
    eventually("everything is delivered", || sink.status().lag == 0);
    holds(&nats, 1500);
    let status = sink.status();
    assert_eq!(
        (status.state, status.delivered, status.retries, status.last_error),
        (State::Working, 1500, 0, None)
    );
    assert_eq!(status.target, format!("nats nats://127.0.0.1:{} {STREAM}", nats.server.port));
    let context = nats.context();
    let config = nats.runtime.block_on(context.get_stream(STREAM)).unwrap().cached_info().config.clone();
    assert_eq!((config.storage, config.retention), (StorageType::File, RetentionPolicy::Limits));
    assert_eq!((config.max_age, config.max_messages, config.max_bytes), (Duration::ZERO, -1, -1));
    assert_eq!((config.discard, config.subjects), (DiscardPolicy::New, vec!["sipway.edge1.>".to_owned()]));
}

#[test]
fn a_repeat_is_kept_out() {
    broker::a_repeat_is_kept_out::<Nats>("nats-repeat");
}

#[test]
fn a_repeat_is_kept_out_long_after_the_duplicate_window() {
    let place = Place::new("nats-window");
    let (ledger, nats) = (place.ledger(), Nats::running(&place));
    let window = Duration::from_millis(100);
    nats.make(Config { duplicate_window: window, ..ours() });
    append(&ledger, 20);
    assert_eq!(start(&ledger, nats.sink()).finish(PATIENCE).status.lag, 0);
    forget(&ledger, 5);
    std::thread::sleep(window * 3);
    assert_eq!(start(&ledger, nats.sink()).finish(PATIENCE).status.delivered, 15);
    holds(&nats, 20);
}

#[test]
fn a_server_killed_in_mid_stream_has_everything_once() {
    broker::killed_in_mid_stream::<Nats>("nats-killed");
}

#[test]
fn a_server_that_is_down_at_the_start_is_waited_for_alone() {
    broker::down_at_the_start::<Nats>("nats-down");
}

#[test]
fn what_the_server_lost_comes_again() {
    broker::what_the_server_lost_comes_again::<Nats>("nats-lost");
}

#[test]
fn a_sink_ended_in_mid_delivery_goes_on_where_it_was() {
    broker::ended_in_mid_delivery::<Nats>("nats-ended");
}

#[test]
fn a_ledger_begun_anew_is_not_taken_for_the_old_one() {
    broker::a_ledger_begun_anew_is_not_taken_for_the_old_one::<Nats>("nats-anew");
}

#[test]
fn what_vanished_from_a_stream_that_keeps_everything_comes_again() {
    let place = Place::new("nats-purged");
    let (ledger, nats) = (place.ledger(), Nats::running(&place));
    nats.make(Config { duplicate_window: Duration::from_millis(100), ..ours() });
    append(&ledger, 30);
    assert_eq!(start(&ledger, nats.sink()).finish(PATIENCE).status.lag, 0);
    let context = nats.context();
    nats.runtime.block_on(async {
        let stream = context.get_stream(STREAM).await.unwrap();
        for sequence in 21..=30 {
            stream.delete_message(sequence).await.unwrap();
        }
    });
    let sink = start(&ledger, nats.sink());
    eventually("the tail is there again", || sink.status().lag == 0 && nats.ids().len() == 30);
    holds(&nats, 30);
    drop(sink);
    nats.runtime.block_on(async { context.get_stream(STREAM).await.unwrap().purge().await.unwrap() });
    let sink = start(&ledger, nats.sink());
    eventually("all is there again", || sink.status().lag == 0 && nats.ids().len() == 30);
    holds(&nats, 30);
}

#[test]
fn what_was_read_from_a_work_queue_stays_away() {
    let place = Place::new("nats-queue");
    let (ledger, nats) = (place.ledger(), Nats::running(&place));
    nats.make(Config { retention: RetentionPolicy::WorkQueue, ..ours() });
    append(&ledger, 20);
    assert_eq!(start(&ledger, nats.sink()).finish(PATIENCE).status.lag, 0);
    let context = nats.context();
    nats.runtime.block_on(async { context.get_stream(STREAM).await.unwrap().purge().await.unwrap() });
    append(&ledger, 2);
    assert_eq!(start(&ledger, nats.sink()).finish(PATIENCE).status.delivered, 2);
    assert_eq!(nats.ids(), ["edge1.1.21", "edge1.1.22"]);
}

#[test]
fn a_full_stream_is_waited_for_and_nothing_is_left_out() {
    let place = Place::new("nats-full");
    let (ledger, nats) = (place.ledger(), Nats::running(&place));
    let limited = Config { max_messages: 150, discard: DiscardPolicy::New, ..ours() };
    nats.make(limited.clone());
    let sink = start(&ledger, nats.sink());
    append_many(&ledger, 400);
    eventually("it is full", || sink.status().last_error.is_some_and(|error| error.text.contains("full")));
    eventually("what fits is acknowledged", || sink.status().lag == 250);
    let context = nats.context();
    nats.runtime.block_on(context.update_stream(Config { max_messages: -1, ..limited })).unwrap();
    eventually("it goes on", || sink.status().lag == 0);
    holds(&nats, 400);
}

#[test]
fn a_message_that_is_too_big_blocks_in_plain_sight() {
    let place = Place::new("nats-big");
    let (ledger, nats) = (place.ledger(), Nats::running(&place));
    nats.make(Config { max_message_size: 700, ..ours() });
    append(&ledger, 3);
    let mut batch = ledger::Batch::new();
    let data = format!(r#"{{"flow":"{}"}}"#, "x".repeat(900));
    batch.push(lifecycle::EventKind::FlowClosed.number(), 1_700_000_000_000_000, data.as_bytes());
    take(&ledger, batch);
    append(&ledger, 3);
    let sink = start(&ledger, nats.sink());
    eventually("it blocks", || sink.status().blocked.is_some());
    let status = sink.status();
    assert_eq!((status.state, status.lag), (State::Blocked, 4));
    let blocked = status.blocked.unwrap();
    assert_eq!(blocked.event, "edge1.1.4");
    assert!(blocked.error.contains("max_msg_size"), "{blocked:?}");
    let context = nats.context();
    nats.runtime.block_on(context.update_stream(Config { max_message_size: -1, ..ours() })).unwrap();
    eventually("it goes on", || sink.status().lag == 0);
    holds(&nats, 7);
}

#[test]
fn a_stream_that_was_deleted_is_made_again_with_everything() {
    let place = Place::new("nats-deleted");
    let (ledger, nats) = (place.ledger(), Nats::running(&place));
    let sink = start(&ledger, nats.sink());
    append(&ledger, 20);
    eventually("everything is delivered", || sink.status().lag == 0);
    let context = nats.context();
    nats.runtime.block_on(context.delete_stream(STREAM)).unwrap();
    append(&ledger, 1);
    eventually("all is there again", || sink.status().lag == 0 && nats.ids().len() == 21);
    holds(&nats, 21);
    assert!(sink.status().last_error.unwrap().text.contains("was deleted"));
}

#[test]
fn a_stream_that_cannot_be_used_is_said_with_the_mend() {
    let place = Place::new("nats-unfit");
    let (ledger, nats) = (place.ledger(), Nats::running(&place));
    append(&ledger, 2);
    nats.make(Config { name: "OTHER".to_owned(), subjects: vec!["other.>".to_owned()], ..Config::default() });
    nats.make(Config { name: "ALL".to_owned(), subjects: vec!["sipway.>".to_owned()], ..Config::default() });
    let context = nats.context();
    nats.runtime.block_on(async {
        context.publish("sipway.edge2.flow.closed", "{}".into()).await.unwrap().await.unwrap();
    });
    for (more, said) in [
        ("stream = \"OTHER\"", "add \"sipway.edge1.>\" to its subjects"),
        ("stream = \"ALL\"", "Give each node a stream of its own"),
        ("", "Another stream takes our subjects"),
    ] {
        let sink = start(&ledger, nats.sink_with(more));
        eventually(said, || {
            sink.status().last_error.is_some_and(|error| {
                error.text.split_whitespace().collect::<Vec<_>>().join(" ").contains(said)
            })
        });
        assert_eq!(sink.status().delivered, 0);
    }
}

#[test]
fn a_server_without_jetstream_is_said_with_the_mend() {
    let place = Place::new("nats-plain");
    let ledger = place.ledger();
    let mut nats = Nats::at(&place);
    nats.jetstream = false;
    nats.run();
    append(&ledger, 2);
    let sink = start(&ledger, nats.sink());
    eventually("it is said", || {
        sink.status().last_error.is_some_and(|error| error.text.contains("jetstream {}"))
    });
    nats.server.kill();
    nats.jetstream = true;
    nats.run();
    eventually("it goes on", || sink.status().lag == 0);
    holds(&nats, 2);
}

#[test]
fn a_password_or_a_token_lets_us_in_and_is_never_shown() {
    for (name, server, right, wrong) in [
        (
            "nats-user",
            &["--user", "sip", "--pass", "s3cret"][..],
            "user = \"sip\"\npassword_env = \"PASSWORD\"",
            "user = \"sap\"\npassword_env = \"PASSWORD\"",
        ),
        ("nats-token", &["--auth", "s3cret"], "password_env = \"PASSWORD\"", ""),
    ] {
        let place = Place::new(name);
        let (ledger, nats) = (place.ledger(), Nats::with(&place, server));
        append(&ledger, 3);
        let sink = start(&ledger, nats.sink_with(wrong));
        eventually("it is not let in", || sink.status().last_error.is_some());
        let status = format!("{:?}", sink.status());
        assert!(status.contains("creds_file") && !status.contains("s3cret"), "{status}");
        drop(sink);
        let finished = start(&ledger, nats.sink_with(right)).finish(PATIENCE);
        assert_eq!(finished.status.lag, 0, "{finished:?}");
        holds(&nats, 3);
    }
}

#[test]
fn tls_only_to_a_server_that_is_trusted() {
    let place = Place::new("nats-tls");
    let (certificate, key) = broker::certificate(&place);
    let nats = Nats::with(&place, &["--tls", "--tlscert", &certificate, "--tlskey", &key]);
    let sink = |more: &str| {
        let port = nats.server.port;
        let servers = format!("servers = [\"tls://127.0.0.1:{port}\"]");
        settings(&format!("[[sink]]\nkind = \"nats\"\nname = \"bus\"\n{servers}\n{more}\n"))
    };
    broker::over_tls(&place, sink(""), sink(&format!("ca_file = \"{certificate}\"")));
}
