//! Events, snapshots and the audit over HTTP: whoever starts, stops and connects again has everything, once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use lifecycle::Transport;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::churn::churn;
use crate::directory::Directory;
use crate::event_source::{Answer, Said, ask, ask_narrowly};
use crate::process::{PATIENCE, Server, dev, ledger_events, run, sipway};

/// Incarnation and sequence.
fn place(id: &str) -> (u64, u64) {
    let mut parts = id.rsplitn(3, '.');
    let sequence = parts.next().unwrap().parse().unwrap();
    (parts.next().unwrap().parse().unwrap(), sequence)
}

/// What a consumer knows to be open: flows, who is online, and how often each binding is there.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    flows: BTreeSet<String>,
    online: BTreeSet<String>,
    bindings: BTreeMap<(String, String, String), u32>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Known {
    async fn snapshot(address: SocketAddr) -> (Self, String) {
        let answer = loop {
            let answer = ask(address, "GET", "/api/snapshot", "").await;
            // Others are being taken.
            if answer.status != 503 {
                break answer;
            }
        };
        assert_eq!(answer.status, 200);
        let snapshot = answer.json().await;
        let mut known = Self::default();
        for flow in snapshot["flows"].as_array().unwrap() {
            assert!(flow["remote"].is_string() && flow["opened_at"].is_string(), "{flow}");
            assert!(known.flows.insert(text(&flow["flow"])));
        }
        for binding in snapshot["bindings"].as_array().unwrap() {
            known.add(binding);
        }
        for user in snapshot["users"].as_array().unwrap() {
            assert!(user["online_at"].is_string(), "{user}");
            assert!(known.online.insert(text(&user["aor"])));
        }
        (known, text(&snapshot["at"]))
    }

    fn add(&mut self, binding: &Value) {
        let key = (text(&binding["flow"]), text(&binding["aor"]), text(&binding["contact"]));
        *self.bindings.entry(key).or_default() += 1;
    }

    fn take(&mut self, event: &Value) {
        let data = &event["data"];
        match event["type"].as_str().unwrap() {
            "flow.opened" => assert!(self.flows.insert(text(&data["flow"])), "opened twice: {event}"),
            "flow.closed" => assert!(self.flows.remove(&text(&data["flow"])), "closed, not open: {event}"),
            "user.online" => assert!(self.online.insert(text(&data["aor"])), "online twice: {event}"),
            "user.offline" => assert!(self.online.remove(&text(&data["aor"])), "not online: {event}"),
            "binding.added" => self.add(data),
            "binding.removed" => {
                let key = (text(&data["flow"]), text(&data["aor"]), text(&data["contact"]));
                let count = self.bindings.get_mut(&key).unwrap_or_else(|| panic!("not there: {event}"));
                *count -= 1;
                self.bindings.retain(|_, count| *count > 0);
            }
            _ => {}
        }
    }
}

/// Small numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Follows with breaks up to a place that is told in time; gives every id it was told, and what it then knew.
async fn follow_with_breaks(
    address: SocketAddr,
    seed: u64,
    mut last: watch::Receiver<Option<(u64, u64)>>,
) -> (Vec<String>, Known) {
    let mut dice = Dice(seed);
    let (mut known, mut at) = Known::snapshot(address).await;
    let mut told = vec![at.clone()];
    // Snapshots taken meanwhile, to be held against what is known at the same place.
    let mut snapshots: BTreeMap<(u64, u64), Known> = BTreeMap::new();
    loop {
        let (target, header) = match dice.roll(2) {
            0 => (format!("/api/events?after={at}"), String::new()),
            _ => ("/api/events".to_owned(), format!("Last-Event-ID: {at}\r\n")),
        };
        let mut stream = ask(address, "GET", &target, &header).await;
        assert_eq!(stream.status, 200);
        for _ in 0..=dice.roll(30) {
            if last.borrow_and_update().is_some_and(|last| place(&at) >= last) {
                return (told, known);
            }
            let said = tokio::select! {
                said = stream.said() => said.expect("goes on"),
                // Perhaps nothing comes any more; what was half read is asked for again.
                _ = last.changed() => break,
            };
            let Said::Event { id, event } = said else { panic!("nothing is passed over: {said:?}") };
            assert_eq!(event["id"], *id);
            known.take(&event);
            at = id;
            told.push(at.clone());
            if let Some(then) = snapshots.remove(&place(&at)) {
                assert_eq!(known, then, "at {at}");
            }
        }
        drop(stream);
        if dice.roll(3) == 0 {
            let (then, id) = Known::snapshot(address).await;
            if place(&id) > place(&at) {
                snapshots.insert(place(&id), then);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_stops_and_connects_again_has_everything_once() {
    let directory = Directory::new("reading");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    let address = server.address("ws");
    // What one has that only ever listened.
    let mut listener = ask(address, "GET", "/api/events", "").await;
    let (tell, last) = watch::channel(None);
    let consumers: Vec<_> =
        (1..4).map(|seed| tokio::spawn(follow_with_breaks(address, seed, last.clone()))).collect();
    churn(&server, 4, 25).await;
    // One that stays to the end.
    let stays = server.connect(Transport::Ws, "stays").await;
    let (known, at) = timeout(PATIENCE, async {
        loop {
            let (known, at) = Known::snapshot(address).await;
            if known.flows.len() == 1 {
                break (known, at);
            }
        }
    })
    .await
    .expect("all but one are gone");
    let mut listened = Known::default();
    loop {
        let Some(Said::Event { id, event }) = listener.said().await else { panic!("goes on") };
        listened.take(&event);
        if id == at {
            break;
        }
    }
    assert_eq!(listened, known);
    drop(stays);
    let id = loop {
        match listener.said().await {
            Some(Said::Event { id, event }) if event["type"] == "flow.closed" => break id,
            Some(Said::Event { .. }) => {}
            said => panic!("goes on: {said:?}"),
        }
    };
    tell.send(Some(place(&id))).unwrap();
    let mut ended = Vec::new();
    for consumer in consumers {
        ended.push(timeout(PATIENCE, consumer).await.expect("comes to the end").unwrap());
    }
    assert!(server.terminate().await.success());
    let all: Vec<String> = ledger_events(&ledger).await.iter().map(|event| text(&event["id"])).collect();
    for (told, known) in ended {
        // Users stay online for a while.
        assert!(known.flows.is_empty() && known.bindings.is_empty(), "all are gone: {known:?}");
        let first = all.iter().position(|id| *id == told[0]).unwrap();
        assert!(told.len() > 100, "{}", told.len());
        assert_eq!(told, all[first..first + told.len()], "every id behind the snapshot, once, in order");
        assert!(place(told.last().unwrap()) >= place(&id));
    }
}

async fn refused(address: SocketAddr, target: &str) -> (u16, String) {
    let answer = ask(address, "GET", target, "").await;
    (answer.status, text(&answer.json().await["error"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_is_chosen_and_what_cannot_be_is_refused() {
    let directory = Directory::new("asked");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    let address = server.address("ws");
    churn(&server, 1, 3).await;
    let mut ada = server.connect(Transport::Ws, "ada").await;
    assert_eq!(ada.register(600).await.unwrap().status, 200);
    let (_, at) = Known::snapshot(address).await;
    let node = at.rsplitn(3, '.').last().unwrap().to_owned();
    let chosen = async |target: String, count: usize| {
        let mut stream = ask(address, "GET", &target, "").await;
        assert_eq!(stream.status, 200);
        let mut events = Vec::new();
        while events.len() < count {
            if let Said::Event { event, .. } = stream.said().await.unwrap() {
                events.push(event);
            }
        }
        events
    };
    let kinds = |events: &[Value]| events.iter().map(|event| text(&event["type"])).collect::<Vec<_>>();
    let since = chosen("/api/events?since=1h&type=flow.opened&type=node.started".to_owned(), 5).await;
    assert_eq!(kinds(&since)[..2], ["node.started", "flow.opened"]);
    let flow = text(&since[4]["data"]["flow"]);
    assert_eq!(
        kinds(&chosen(format!("/api/events?since=1h&flow={flow}"), 2).await),
        ["flow.opened", "binding.added"]
    );
    drop(ada);
    let of_ada = chosen("/api/events?since=1h&aor=ada@localhost".to_owned(), 4).await;
    assert_eq!(kinds(&of_ada), ["binding.added", "user.online", "binding.removed", "flow.closed"]);

    for (target, words) in [
        (format!("/api/events?after={node}.1.999999"), "newest"),
        (format!("/api/events?after={node}.9.1"), "newest"),
        ("/api/events?after=other.1.1".to_owned(), "node other"),
        ("/api/events?after=here".to_owned(), "event id"),
        ("/api/events?type=flow.closd".to_owned(), "flow.closed"),
        ("/api/events?since=yesterday".to_owned(), "15m"),
        ("/api/events?sincere=1h".to_owned(), "sincere"),
    ] {
        let (status, error) = refused(address, &target).await;
        assert_eq!(status, 400, "{target}: {error}");
        assert!(error.contains(words), "{error}");
    }
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_retention_dropped_is_gone_and_a_snapshot_goes_on() {
    let directory = Directory::new("gone");
    let ledger = directory.at("ledger");
    let text = format!(
        "[ledger]\ndirectory = \"{}\"\nsegment_size = \"64KiB\"\nkeep_size = \"256KiB\"\n\
         [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [log]\nformat = \"json\"\n",
        ledger.display()
    );
    let mut command = sipway(["run", "--config"]);
    command.arg(directory.write("sipway.toml", text));
    let mut server = Server::run(command).await;
    let address = server.address("admin");
    let error = timeout(4 * PATIENCE, async {
        loop {
            churn(&server, 4, 40).await;
            let answer = ask(address, "GET", "/api/events?after=sipway.1.1", "").await;
            if answer.status == 410 {
                break answer.json().await["error"].to_string();
            }
        }
    })
    .await
    .expect("retention drops the beginning");
    assert!(error.contains("/api/snapshot"), "{error}");
    let (_, at) = Known::snapshot(address).await;
    let mut stream: Answer = ask(address, "GET", &format!("/api/events?after={at}"), "").await;
    let _one = server.connect(Transport::Ws, "one").await;
    let Some(Said::Event { id, .. }) = stream.said().await else { panic!("goes on") };
    assert_eq!(place(&id).1, place(&at).1 + 1);
    assert!(server.terminate().await.success());
}

/// Whatever comes and goes, and however often one looks: the kernel, the server and the ledger agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_nothing_while_connections_come_and_go() {
    let directory = Directory::new("audited");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    let address = server.address("ws");
    let mut stay = Vec::new();
    for (transport, user) in [(Transport::Ws, "ada"), (Transport::Tcp, "bob")] {
        let mut client = server.connect(transport, user).await;
        assert_eq!(client.register(600).await.unwrap().status, 200);
        // However long this takes, its pings are answered.
        stay.push(tokio::spawn(async move { client.serve().await }));
    }
    let look = async || {
        let answer = ask(address, "POST", "/api/audit", "").await;
        assert_eq!(answer.status, 200);
        answer.json().await
    };
    let looks = async {
        let (mut looks, mut most) = (0, 0);
        loop {
            let view = look().await;
            assert_eq!(view["certain"], 0, "{view}");
            assert!(view["sockets"].as_u64().is_some(), "{view}");
            looks += 1;
            most = most.max(view["flows"].as_u64().unwrap());
            if looks >= 20 && most > 2 {
                break;
            }
        }
    };
    let busy = async {
        loop {
            churn(&server, 4, 5).await;
        }
    };
    tokio::select! {
        looked = timeout(4 * PATIENCE, looks) => looked.expect("looks"),
        () = busy => unreachable!(),
    }
    let quiet = timeout(PATIENCE, async {
        loop {
            let view = look().await;
            if view["flows"] == 2 && view["flows_in_ledger"] == 2 && view["suspected"] == 0 {
                break view;
            }
        }
    });
    let quiet = quiet.await.expect("it settles");
    assert_eq!(quiet["differences"], Value::Array(Vec::new()));
    let last = ask(address, "GET", "/api/audit", "").await.json().await;
    assert_eq!(last, quiet);
    let audit = async |admin: String| run(sipway(["audit", "--admin", &admin])).await;
    let audited = audit(format!("http://{address}")).await;
    assert_eq!(audited.code, Some(0), "{audited:?}");
    let shown: Vec<Vec<&str>> =
        audited.out.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    assert!(shown.contains(&vec!["flows", "the", "server", "has", "2"]), "{audited:?}");
    assert!(shown.contains(&vec!["flows", "the", "ledger", "has", "2"]), "{audited:?}");
    assert!(audited.out.ends_with("they agree\n"), "{audited:?}");
    stay.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(server.terminate().await.success());
    let nobody = audit(format!("http://{address}")).await;
    assert!(nobody.code == Some(1) && nobody.err.contains("is the server running?"), "{nobody:?}");
    let events = ledger_events(&ledger).await;
    assert!(events.iter().all(|event| event["type"] != "audit.differed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_64_readers_at_most_and_who_leaves_makes_room() {
    let directory = Directory::new("readers");
    let mut server = Server::dev(dev(&directory.at("ledger"), &[])).await;
    let address = server.address("ws");
    let mut readers = Vec::new();
    for _ in 0..64 {
        let reader = ask(address, "GET", "/api/events", "").await;
        assert_eq!(reader.status, 200);
        readers.push(reader);
    }
    let (status, error) = refused(address, "/api/events").await;
    assert!(status == 503 && error.contains("64 readers"), "{status} {error}");
    let metrics = String::from_utf8(ask(address, "GET", "/metrics", "").await.body().await).unwrap();
    assert!(metrics.lines().any(|line| line == "sipway_event_readers 64"), "{metrics}");
    drop(readers.pop());
    // Whoever left is noticed once something is to be said to it.
    let next = timeout(PATIENCE, async {
        loop {
            churn(&server, 1, 1).await;
            let reader = ask(address, "GET", "/api/events", "").await;
            if reader.status == 200 {
                break reader;
            }
        }
    });
    readers.push(next.await.expect("there is room again"));
    for reader in &mut readers[..63] {
        assert!(matches!(reader.said().await, Some(Said::Event { .. })), "those that were there are served");
    }
    drop(readers);
    assert!(server.terminate().await.success());
}

/// Its window is shut for as long as the server writes what is far more than all buffers on the way hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_falls_far_behind_gets_everything() {
    let directory = Directory::new("behind");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    let mut slow = ask_narrowly(server.address("ws"), "GET", "/api/events?since=1h", "").await;
    assert_eq!(slow.status, 200);
    churn(&server, 4, 250).await;
    let last = ledger_events(&ledger).await.last().map(|event| text(&event["id"])).unwrap();
    let (mut told, mut bytes) = (Vec::<String>::new(), 0);
    while told.last().is_none_or(|id| place(id) < place(&last)) {
        let Some(Said::Event { id, event }) = slow.said().await else { panic!("goes on") };
        bytes += event.to_string().len();
        told.push(id);
    }
    assert!(bytes > 1 << 20, "{bytes}");
    drop(slow);
    assert!(server.terminate().await.success());
    let all: Vec<String> = ledger_events(&ledger).await.iter().map(|event| text(&event["id"])).collect();
    assert_eq!(told, all[..told.len()]);
}
