//! A difference that someone planted in a server's ledger while it serves: the running audit tells everyone
//! who should know.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Instant,
};

use edge::AuditView;
use ledger::Batch;
use lifecycle::EventKind;
use metrics::{Count, Gauge};
use serde_json::Value;

use crate::test_server::{PATIENCE, TestServer};

/// What this process logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a record of which the server knows nothing.
async fn plant(sipway: &TestServer, kind: EventKind, json: &str) {
    let mut batch = Batch::new();
    batch.push(kind.number(), 1, json.as_bytes());
    let appended = sipway.handle.ledger().append(batch).unwrap();
    sipway.handle.ledger().durable(appended.last_seq).await.unwrap();
}

/// Looks until it is so.
async fn look_until(sipway: &TestServer, what: &str, so: impl Fn(&AuditView) -> bool) -> Arc<AuditView> {
    let begun = Instant::now();
    loop {
        let view = sipway.handle.audit().await.unwrap();
        if so(&view) {
            return view;
        }
        assert!(begun.elapsed() < PATIENCE, "not {what}: {view:?}");
    }
}

fn told(sipway: &TestServer) -> Vec<Value> {
    let events = sipway.events().into_iter().filter(|(kind, _)| *kind == EventKind::AuditDiffered);
    events.map(|(_, event)| serde_json::from_str::<Value>(&event).unwrap()["data"].take()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_difference_is_on_the_api_the_metrics_the_log_and_in_an_event() {
    let logged = Logged::default();
    let writer = logged.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let sipway = TestServer::new("planted", "[audit]\nevery = \"off\"\n");
    let ada = sipway.registered("ada").await;
    // The socket of an attempt that the ledger had no room for yet may still be parting.
    let agree = |view: &AuditView| {
        (view.certain, view.suspected, view.flows_in_ledger, view.flows, view.sockets)
            == (0, 0, 1, 1, Some(1))
    };
    look_until(&sipway, "in agreement", agree).await;

    // A flow that the ledger says is open, and that nobody has.
    let nobodys = sipway.handle.node().flow(lifecycle::FlowId { incarnation: 1, counter: 1 << 40 });
    let opening = format!(
        r#"{{"flow":"{nobodys}","opened_at":"2026-01-01T00:00:00Z","transport":"ws","direction":"accepted",
        "listener":"ws","local":"127.0.0.1:80","remote":"127.0.0.1:4000"}}"#
    );
    plant(&sipway, EventKind::FlowOpened, &opening).await;
    let differs = look_until(&sipway, "found", |view| view.certain == 1).await;
    let one = &differs.differences[0];
    assert_eq!((one.kind.as_str(), one.flow.as_deref()), ("ledger_without_flow", Some(&*nobodys)));
    assert!(one.certain && one.evidence.contains("in no shard's table"), "{one:?}");
    assert_eq!(sipway.handle.last_audit().unwrap().certain, 1);
    let metrics = sipway.handle.metrics();
    assert_eq!((metrics.gauge(Gauge::LedgerWithoutFlow), metrics.get(Count::LedgerWithoutFlow)), (1, 1));
    sipway.until("told in an event", |_| told(&sipway).len() == 1).await;
    let event = &told(&sipway)[0];
    assert_eq!(
        (event["kind"].as_str(), event["flow"].as_str()),
        (Some("ledger_without_flow"), Some(&*nobodys))
    );
    let lines = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    let line = lines.lines().find(|line| line.contains("please report it")).expect("it is logged");
    assert!(line.contains("ERROR") && line.contains(&nobodys), "{line}");

    // Told once, however often one looks.
    look_until(&sipway, "still there", |view| view.certain == 1).await;
    assert_eq!((told(&sipway).len(), metrics.get(Count::LedgerWithoutFlow)), (1, 1));

    // And once it is right again, nothing differs.
    plant(&sipway, EventKind::FlowClosed, &format!(r#"{{"flow":"{nobodys}"}}"#)).await;
    look_until(&sipway, "in agreement again", agree).await;
    assert_eq!(metrics.gauge(Gauge::LedgerWithoutFlow), 0);

    // A user and a call that the ledger has, and nobody else.
    let call = sipway.handle.node().call(1, 1 << 40);
    let calling = format!(
        r#"{{"call":"{call}","call_id":"x","started_at":"2026-01-01T00:00:00Z","caller":{{"aor":"a@x"}},"callee":{{"aor":"b@x"}}}}"#
    );
    plant(&sipway, EventKind::CallStarted, &calling).await;
    let online = r#"{"aor":"nobody@localhost","online_at":"2026-01-01T00:00:00Z"}"#;
    plant(&sipway, EventKind::UserOnline, online).await;
    let differs = look_until(&sipway, "found", |view| view.certain == 2).await;
    let kinds: Vec<_> = differs.differences.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds, ["ledger_without_user", "ledger_without_call"], "{differs:?}");
    plant(&sipway, EventKind::CallEnded, &format!(r#"{{"call":"{call}"}}"#)).await;
    plant(&sipway, EventKind::UserOffline, r#"{"aor":"nobody@localhost"}"#).await;
    look_until(&sipway, "in agreement again", agree).await;

    // A flow whose close was written while it lives.
    let flow = sipway.log().flows().keys().find(|flow| **flow != *nobodys).unwrap().to_string();
    plant(&sipway, EventKind::FlowClosed, &format!(r#"{{"flow":"{flow}"}}"#)).await;
    let differs = look_until(&sipway, "found", |view| view.certain == 1).await;
    let one = &differs.differences[0];
    assert_eq!((one.kind.as_str(), one.flow.as_deref()), ("flow_not_in_ledger", Some(&*flow)));
    assert_eq!(metrics.get(Count::FlowNotInLedger), 1);
    drop(ada);
}
