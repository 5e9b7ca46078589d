//! PostgreSQL: every event a row, once, whatever happens to the server; and what went wrong in plain words.

pub(crate) mod server;

use config::FakeEnvironment;
use ledger::{Batch, Ledger, Position, Save};
use lifecycle::EventKind;
use sinks::{Settings, State};

use crate::broker;
use crate::place::{
    PATIENCE, Place, append, eventually, file, ids, ids_in, settings, settings_among, start, take,
};
use server::Server;

fn postgres(name: &str, url: &str, more: &str) -> Settings {
    settings(&format!("[[sink]]\nkind = \"postgres\"\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n"))
}

fn put(ledger: &Ledger, kind: EventKind, data: &str) {
    let mut batch = Batch::new();
    batch.push(kind.number(), 1_700_000_000_000_000, data.as_bytes());
    take(ledger, batch);
}

/// Many at once.
fn put_many(ledger: &Ledger, count: u64) {
    let mut batch = Batch::new();
    for number in 0..count {
        let data = format!(r#"{{"flow":"edge1.1.m{number}"}}"#);
        batch.push(EventKind::FlowClosed.number(), 1_700_000_000_000_000, data.as_bytes());
    }
    take(ledger, batch);
}

#[test]
fn plain_sql_shows_who_is_online_and_what_became_of_every_flow() {
    let place = Place::new("pg-views");
    let (server, ledger) = (Server::start(place.root()), place.ledger());
    put(&ledger, EventKind::NodeStarted, r#"{"version":"1"}"#);
    for flow in ["f1", "f2", "f3"] {
        put(
            &ledger,
            EventKind::FlowOpened,
            &format!(r#"{{"flow":"{flow}","transport":"wss","remote":"192.0.2.1:1"}}"#),
        );
    }
    for user in ["alice", "bob"] {
        put(&ledger, EventKind::UserOnline, &format!(r#"{{"aor":"{user}@example.com"}}"#));
    }
    let binding =
        |aor: &str, flow: &str| format!(r#"{{"aor":"{aor}","contact":"sip:x@{flow}","flow":"{flow}"}}"#);
    put(&ledger, EventKind::BindingAdded, &binding("alice@example.com", "f1"));
    put(&ledger, EventKind::BindingAdded, &binding("bob@example.com", "f2"));
    put(&ledger, EventKind::BindingRemoved, &binding("bob@example.com", "f2"));
    put(
        &ledger,
        EventKind::FlowClosed,
        r#"{"flow":"f2","cause":"eof","by":"client","code":1006,"duration_ms":1500}"#,
    );
    // JSON can write what PostgreSQL's text cannot hold.
    put(&ledger, EventKind::FlowClosed, r#"{"flow":"f3","cause":"reset","reason":"a\u0000b\ud800c"}"#);
    put(&ledger, EventKind::UserOffline, r#"{"aor":"bob@example.com","last_flow":"f2"}"#);
    let sink = start(&ledger, postgres("db", &server.by_socket("admin"), ""));
    eventually("all are there", || sink.status().lag == 0 && sink.status().delivered == 12);

    let online = server.ask("SELECT aor, flow, contact FROM sipway.users_online");
    assert_eq!(online, [["alice@example.com", "f1", "sip:x@f1"]]);
    let present = server.ask("SELECT aor FROM sipway.presence");
    assert_eq!(present, [["alice@example.com"]]);
    let open = server.ask("SELECT flow, transport, remote FROM sipway.flows_open");
    assert_eq!(open, [["f1", "wss", "192.0.2.1:1"]]);
    let flows = server.ask("SELECT flow, cause, closed_by, code, duration FROM sipway.flows ORDER BY flow");
    assert_eq!(
        flows,
        [
            ["f1", "-", "-", "-", "-"],
            ["f2", "eof", "client", "1006", "00:00:01.5"],
            ["f3", "reset", "-", "-", "-"]
        ]
    );
    let reason = server
        .ask("SELECT data ->> 'reason' FROM sipway.events WHERE subject = 'f3' AND type = 'flow.closed'");
    assert_eq!(reason, [["a\u{fffd}b\u{fffd}c"]]);
    let times = server.ask("SELECT DISTINCT extract(epoch FROM time)::bigint FROM sipway.events");
    assert_eq!(times, [["1700000000"]]);

    // A crash before the cursor was saved: the database says how far it is, and nothing comes twice.
    drop(sink);
    eventually("the cursor is saved", || ledger.cursor("db").unwrap().position() == Position::new(1, 12));
    ledger.cursor("db").unwrap().reset(Position::new(1, 2), Save::Now).unwrap();
    let finished = start(&ledger, postgres("db", &server.by_socket("admin"), "")).finish(PATIENCE);
    assert_eq!((finished.status.delivered, finished.status.lag), (0, 0));
    assert_eq!(server.number("SELECT count(*) FROM sipway.events"), 12);
    // Types that are not wanted do not look like something lost.
    let settings =
        || postgres("some", &server.by_socket("admin"), "schema = \"some\"\ntypes = [\"node.started\"]");
    assert_eq!(start(&ledger, settings()).finish(PATIENCE).status.delivered, 1);
    let again = start(&ledger, settings()).finish(PATIENCE).status;
    assert_eq!((again.delivered, again.cursor), (0, Position::new(1, 12)));
    assert_eq!(server.ask("SELECT incarnation, seq FROM \"some\".cursors"), [["1", "12"]]);
}

#[test]
fn a_server_killed_in_the_middle_holds_every_event_once_and_nobody_else_waits() {
    let place = Place::new("pg-kill");
    let (mut server, ledger, path) =
        (Server::start(place.root()), place.ledger(), place.path("events.jsonl"));
    let sink = start(&ledger, postgres("db", &server.by_socket("admin"), ""));
    let other = start(&ledger, file("other", &path));
    let mut total = 0;
    for round in 0..3 {
        for _ in 0..20 {
            put_many(&ledger, 100);
        }
        total += 2000;
        eventually("some of it is there", || sink.status().delivered > round * 100);
        server.kill();
        put_many(&ledger, 100);
        total += 100;
        eventually("the outage shows", || sink.status().state == State::Retrying);
        eventually("the other sink goes on", || other.status().lag == 0);
        server.go_on();
    }
    eventually("all is delivered", || sink.status().lag == 0);
    let counted = server.ask("SELECT count(*), count(DISTINCT seq), min(seq), max(seq) FROM sipway.events");
    let total = total.to_string();
    assert_eq!(counted, [[total.as_str(), total.as_str(), "1", total.as_str()]]);
    assert_eq!(ids_in(&path).len().to_string(), total);
}

#[test]
fn a_database_restored_from_a_backup_gets_again_what_it_lost() {
    let place = Place::new("pg-restore");
    let (mut server, ledger) = (Server::start(place.root()), place.ledger());
    let sink = start(&ledger, postgres("db", &server.by_socket("admin"), ""));
    append(&ledger, 20);
    eventually("the first are there", || sink.status().delivered == 20);
    server.stop();
    server.back_up();
    server.go_on();
    append(&ledger, 30);
    eventually("all are there", || sink.status().delivered == 50);
    server.stop();
    server.restore();
    server.go_on();
    // Without waiting for the next event.
    eventually("what was lost is delivered again", || sink.status().delivered == 80);
    assert_eq!(server.number("SELECT count(*) FROM sipway.events"), 50);
    assert_eq!(sink.finish(PATIENCE).status.lag, 0);

    // The same, found at the start.
    server.ask("DROP SCHEMA sipway CASCADE");
    let finished = start(&ledger, postgres("db", &server.by_socket("admin"), "")).finish(PATIENCE);
    assert_eq!((finished.status.delivered, finished.status.lag), (50, 0));
}

#[test]
fn what_keeps_it_from_delivering_is_said_in_plain_words() {
    let place = Place::new("pg-words");
    let (server, ledger) = (Server::start(place.root()), place.ledger());
    append(&ledger, 3);
    server.ask(
        "CREATE ROLE guest LOGIN PASSWORD 'right'; REVOKE CREATE ON DATABASE postgres FROM PUBLIC, guest",
    );
    let error = |settings: Settings| {
        let sink = start(&ledger, settings);
        eventually("the trouble shows", || sink.status().last_error.is_some());
        let status = sink.status();
        assert_eq!((status.state, status.lag), (State::Retrying, 3));
        status.last_error.unwrap().text
    };
    let net = format!("postgres://guest@127.0.0.1:{}/postgres", server.port);
    let text = error(postgres("a", &net, "password_env = \"WRONG\""));
    assert!(
        text.contains("password authentication failed") && text.contains("28P01") && text.contains("pg_hba"),
        "{text}"
    );
    let text = error(postgres("b", &server.by_socket("guest"), ""));
    assert!(
        text.contains("permission denied") && text.contains("42501") && text.contains("sipway schema"),
        "{text}"
    );
    let nowhere = format!("postgres://guest@127.0.0.1:{}/nowhere", server.port);
    let text = error(postgres("c", &nowhere, "password_env = \"RIGHT\""));
    assert!(text.contains("3D000") && text.contains("Create the database"), "{text}");
    let secured = error(postgres("d", &net, "password_env = \"RIGHT\"\ntls = \"verify\""));
    assert!(secured.contains("TLS"), "{secured}");

    // An administrator makes the schema, and the role needs no more than the rows.
    server.ask(&sinks::postgres_schema("telephony"));
    server.ask(
        "GRANT USAGE ON SCHEMA telephony TO guest; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA telephony TO guest",
    );
    let settings = postgres("e", &net, "password_env = \"RIGHT\"\nschema = \"telephony\"");
    let finished = start(&ledger, settings).finish(PATIENCE);
    assert_eq!((finished.status.delivered, finished.status.lag), (3, 0));
    assert_eq!(server.number("SELECT count(*) FROM telephony.events"), 3);
    server.ask("INSERT INTO telephony.schema_version VALUES (9)");
    let text = error(postgres("f", &net, "password_env = \"RIGHT\"\nschema = \"telephony\""));
    assert!(text.contains("version 9"), "{text}");
}

#[test]
fn tls_only_to_a_server_that_is_trusted() {
    let place = Place::new("pg-tls");
    let (certificate, key) = broker::certificate(&place);
    let mut server = Server::start(place.root());
    server.secure(&certificate, &key);
    server.ask("CREATE ROLE guest LOGIN PASSWORD 'right'; GRANT CREATE ON DATABASE postgres TO guest");
    let sink = |more: &str| {
        let files = FakeEnvironment::new().file(&certificate, std::fs::read(&certificate).unwrap());
        let url = format!("postgres://guest@127.0.0.1:{}/postgres", server.port);
        let secured = format!("url = \"{url}\"\npassword_env = \"RIGHT\"\ntls = \"verify\"\n{more}\n");
        settings_among(files, &format!("[[sink]]\nkind = \"postgres\"\nname = \"db\"\n{secured}"))
    };
    broker::over_tls(&place, sink(""), sink(&format!("ca_file = \"{certificate}\"")));
    assert_eq!(server.number("SELECT count(*) FROM sipway.events"), 5);
}

#[test]
fn another_ledger_under_the_same_name_is_no_silent_loss() {
    let (place, second) = (Place::new("pg-stranger"), Place::new("pg-stranger-2"));
    let (server, ledger) = (Server::start(place.root()), place.ledger());
    append(&ledger, 5);
    let first = start(&ledger, postgres("db", &server.by_socket("admin"), "")).finish(PATIENCE);
    assert_eq!(first.status.delivered, 5);

    // The ledger was deleted and begun anew: the same ids stand for other events.
    let ledger = second.ledger();
    for number in 0..3 {
        let mut batch = Batch::new();
        batch.push(EventKind::FlowOpened.number(), 1_800_000_000_000_000 + number, br#"{"flow":"x"}"#);
        take(&ledger, batch);
    }
    let sink = start(&ledger, postgres("other", &server.by_socket("admin"), ""));
    eventually("it is blocked", || sink.status().blocked.is_some());
    let blocked = sink.status().blocked.unwrap();
    assert_eq!((blocked.event.as_str(), sink.status().lag), ("edge1.1.1", 3));
    assert!(blocked.error.contains("another event under the id edge1.1.1"), "{blocked:?}");
    drop(sink);

    // Dead letters, if they are asked for, let it go on.
    let letters = second.path("refused.jsonl");
    let more = format!("dead_letter = \"{}\"", letters.display());
    let finished = start(&ledger, postgres("other", &server.by_socket("admin"), &more)).finish(PATIENCE);
    assert_eq!((finished.status.dead_lettered, finished.status.lag), (3, 0));
    let text = std::fs::read_to_string(&letters).unwrap();
    let refused: Vec<String> = text
        .lines()
        .map(|line| {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            letter["event"]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(refused, ids(1, 3));
    assert_eq!(server.number("SELECT count(*) FROM sipway.events WHERE type = 'flow.closed'"), 5);
}
