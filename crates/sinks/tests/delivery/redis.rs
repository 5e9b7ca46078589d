//! Streams of a real Redis.

use redis::{Connection, RedisResult, Value};
use sinks::{Settings, State};

use crate::broker::{self, Broker, Server, forget, holds};
use crate::place::{PATIENCE, Place, append, append_many, eventually, settings, start};

const KEY: &str = "sipway:events:edge1";

struct Redis {
    server: Server,
    more: Vec<String>,
}

fn connect(address: &str) -> RedisResult<Connection> {
    redis::Client::open(address)?.get_connection()
}

impl Redis {
    fn with(place: &Place, more: &[&str]) -> Self {
        let mut redis = Self::at(place);
        redis.more = more.iter().map(ToString::to_string).collect();
        redis.run();
        redis
    }

    fn address(&self) -> String {
        let login = if self.more.iter().any(|word| word == "--requirepass") { ":s3cret@" } else { "" };
        format!("redis://{login}127.0.0.1:{}", self.server.port)
    }

    fn connection(&self) -> Connection {
        connect(&self.address()).unwrap()
    }

    fn ask(&self, words: &str) -> Value {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query(&mut self.connection()).unwrap()
    }

    fn sink_with(&self, more: &str) -> Settings {
        let port = self.server.port;
        settings(&format!(
            "[[sink]]\nkind = \"redis\"\nname = \"bus\"\nurl = \"redis://127.0.0.1:{port}\"\ntimeout = \"5s\"\n{more}\n"
        ))
    }
}

impl Broker for Redis {
    fn at(place: &Place) -> Self {
        Self { server: Server::at(place, "redis"), more: Vec::new() }
    }

    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn run(&mut self) {
        let (port, data) = (self.server.port.to_string(), self.server.data.display().to_string());
        let mut arguments = vec!["--port", &port, "--bind", "127.0.0.1", "--dir", &data, "--save", ""];
        arguments.extend(["--appendonly", "yes", "--appendfsync", "no"]);
        arguments.extend(self.more.iter().map(String::as_str));
        self.server.run("redis-server", "REDIS_SERVER", "redis-server", &arguments);
        let address = self.address();
        self.server.answers(|| {
            let Ok(mut connection) = connect(&address) else { return false };
            redis::cmd("PING").query::<String>(&mut connection).is_ok()
        });
    }

    fn sink(&self) -> Settings {
        self.sink_with("")
    }

    fn ids(&self) -> Vec<String> {
        let range: redis::streams::StreamRangeReply =
            redis::cmd("XRANGE").arg(KEY).arg("-").arg("+").query(&mut self.connection()).unwrap();
        let entries = range.ids.into_iter().map(|entry| {
            let field = |name| entry.get::<String>(name).unwrap();
            let json: serde_json::Value = serde_json::from_str(&field("data")).unwrap();
            assert_eq!(
                (json["id"].as_str(), json["type"].as_str()),
                (Some(&*field("id")), Some(&*field("type")))
            );
            assert_eq!(json["time"].as_str(), Some(&*field("time")));
            assert_eq!(format!("edge1.{}", entry.id.replace('-', ".")), field("id"));
            field("id")
        });
        entries.collect()
    }
}

#[test]
fn each_event_is_an_entry_under_an_id_of_its_own() {
    let place = Place::new("redis-entries");
    let (ledger, redis) = (place.ledger(), Redis::running(&place));
    let sink = start(&ledger, redis.sink());
    append_many(&ledger, 1500);
    eventually("everything is delivered", || sink.status().lag == 0);
    holds(&redis, 1500);
    let status = sink.status();
    assert_eq!(
        (status.state, status.delivered, status.retries, status.last_error),
        (State::Working, 1500, 0, None)
    );
    assert_eq!(status.target, format!("redis 127.0.0.1:{}/0 {KEY}", redis.server.port));
}

#[test]
fn a_repeat_is_kept_out() {
    broker::a_repeat_is_kept_out::<Redis>("redis-repeat");
}

#[test]
fn a_server_killed_in_mid_stream_has_everything_once() {
    broker::killed_in_mid_stream::<Redis>("redis-killed");
}

#[test]
fn a_server_that_is_down_at_the_start_is_waited_for_alone() {
    broker::down_at_the_start::<Redis>("redis-down");
}

#[test]
fn what_the_server_lost_comes_again() {
    broker::what_the_server_lost_comes_again::<Redis>("redis-lost");
}

#[test]
fn a_sink_ended_in_mid_delivery_goes_on_where_it_was() {
    broker::ended_in_mid_delivery::<Redis>("redis-ended");
}

#[test]
fn a_ledger_begun_anew_is_not_taken_for_the_old_one() {
    broker::a_ledger_begun_anew_is_not_taken_for_the_old_one::<Redis>("redis-anew");
}

#[test]
fn what_is_taken_out_of_the_stream_is_not_put_in_again() {
    let place = Place::new("redis-trimmed");
    let (ledger, redis) = (place.ledger(), Redis::running(&place));
    append(&ledger, 20);
    assert_eq!(start(&ledger, redis.sink()).finish(PATIENCE).status.lag, 0);
    redis.ask(&format!("XTRIM {KEY} MAXLEN 0"));
    forget(&ledger, 10);
    append(&ledger, 1);
    let finished = start(&ledger, redis.sink()).finish(PATIENCE);
    assert_eq!((finished.status.lag, finished.status.delivered), (0, 11));
    assert_eq!(redis.ids(), ["edge1.1.21"]);
}

#[test]
fn a_stream_can_be_kept_short() {
    let place = Place::new("redis-short");
    let (ledger, redis) = (place.ledger(), Redis::running(&place));
    append_many(&ledger, 2000);
    assert_eq!(start(&ledger, redis.sink_with("max_len = 300")).finish(PATIENCE).status.lag, 0);
    let left = redis.ids();
    // It drops whole nodes of its tree: about a hundred entries each.
    assert!((300..600).contains(&left.len()), "{}", left.len());
    assert_eq!(left.last().unwrap(), "edge1.1.2000");
}

#[test]
fn a_full_server_is_waited_for_and_nothing_is_left_out() {
    let place = Place::new("redis-full");
    let (ledger, redis) = (place.ledger(), Redis::running(&place));
    let sink = start(&ledger, redis.sink());
    append_many(&ledger, 100);
    eventually("the first are delivered", || sink.status().lag == 0);
    redis.ask("CONFIG SET maxmemory 1");
    append_many(&ledger, 100);
    eventually("it is full", || {
        sink.status().last_error.is_some_and(|error| error.text.contains("maxmemory"))
    });
    assert_eq!(sink.status().lag, 100);
    redis.ask("CONFIG SET maxmemory 0");
    eventually("it goes on", || sink.status().lag == 0);
    holds(&redis, 200);
}

#[test]
fn the_password_is_needed_and_never_shown() {
    let place = Place::new("redis-password");
    let (ledger, redis) = (place.ledger(), Redis::with(&place, &["--requirepass", "s3cret"]));
    append(&ledger, 3);
    let sink = start(&ledger, redis.sink());
    eventually("it is asked for", || {
        sink.status().last_error.is_some_and(|error| error.text.contains("password_env"))
    });
    drop(sink);
    redis.ask("CONFIG SET requirepass other");
    let sink = start(&ledger, redis.sink_with("password_env = \"PASSWORD\""));
    eventually("it is wrong", || sink.status().last_error.is_some());
    let status = format!("{:?}", sink.status());
    assert!(status.contains("Set the right") && !status.contains("s3cret"), "{status}");
}

#[test]
fn a_password_lets_us_in() {
    let place = Place::new("redis-let-in");
    let (ledger, redis) = (place.ledger(), Redis::with(&place, &["--requirepass", "s3cret"]));
    append(&ledger, 3);
    let finished = start(&ledger, redis.sink_with("password_env = \"PASSWORD\"")).finish(PATIENCE);
    assert_eq!(finished.status.lag, 0, "{finished:?}");
    holds(&redis, 3);
}

#[test]
fn a_key_that_others_use_is_left_alone() {
    let place = Place::new("redis-foreign");
    let (ledger, redis) = (place.ledger(), Redis::running(&place));
    append(&ledger, 3);
    for (prepare, said) in [
        (format!("SET {KEY} x"), "set another `key`"),
        (format!("XADD {KEY} 7-7 a b"), "somebody else writes there"),
    ] {
        redis.ask("FLUSHALL");
        redis.ask(&prepare);
        let sink = start(&ledger, redis.sink());
        eventually(said, || sink.status().last_error.is_some_and(|error| error.text.contains(said)));
        assert_eq!(sink.status().delivered, 0);
    }
    // The mend is taken up by itself.
    let sink = start(&ledger, redis.sink());
    eventually("it waits", || sink.status().retries > 0);
    redis.ask(&format!("DEL {KEY}"));
    eventually("it goes on", || sink.status().lag == 0);
    holds(&redis, 3);
}

#[test]
fn tls_only_to_a_server_that_is_trusted() {
    let place = Place::new("redis-tls");
    let (certificate, key) = broker::certificate(&place);
    let mut server = Server::at(&place, "redis");
    let port = server.port.to_string();
    let mut arguments = vec!["--port", "0", "--tls-port", &port, "--bind", "127.0.0.1", "--save", ""];
    arguments.extend(["--tls-cert-file", &certificate, "--tls-key-file", &key]);
    arguments.extend(["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"]);
    server.run("redis-server", "REDIS_SERVER", "redis-server", &arguments);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.port));
    server.answers(|| std::net::TcpStream::connect(address).is_ok());
    let sink = |more: &str| {
        let url = format!("url = \"rediss://127.0.0.1:{port}\"");
        settings(&format!("[[sink]]\nkind = \"redis\"\nname = \"bus\"\n{url}\n{more}\n"))
    };
    broker::over_tls(&place, sink(""), sink(&format!("ca_file = \"{certificate}\"")));
}
