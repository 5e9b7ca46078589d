//! A handler that panics.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use config::{Config, FakeEnvironment};
use ledger::{ReadFrom, storage::sim::Simulated};
use lifecycle::{Cause, EventId, EventKind, Transport, cloud_event};
use prove::{Client, Ended, EventLog, Setup, Target};
use sip_message::FrameError;
use tokio::{net::TcpListener, task::LocalSet, time::timeout};
use transport::{ConnectionHandler, Link, Opening, PlainHttp, Refused, UnopenedCause};

use super::*;
use crate::{Server, admission_control::AdmittedClient, flow::Flow};

const PATIENCE: Duration = Duration::from_secs(20);

/// A shard whose handler panics when it is told to, in the middle of everything.
struct Panicking(Rc<Shard>);

impl ConnectionHandler for Panicking {
    type Flow = Flow;
    type Admission = AdmittedClient;

    fn admit(self: &Rc<Self>, client: IpAddr) -> Option<AdmittedClient> {
        self.0.admit(client)
    }

    async fn open(
        self: &Rc<Self>,
        opening: Opening,
        admitted: Option<AdmittedClient>,
        link: Rc<Link>,
    ) -> Result<Flow, Refused> {
        self.0.open(opening, admitted, link).await
    }

    fn flow_number(flow: &Flow) -> u64 {
        Shard::flow_number(flow)
    }

    fn message(self: &Rc<Self>, flow: &Flow, message: &[u8]) {
        if message == b"panic" {
            self.0.with_proxy(MessageSource::Nobody, |_, environment, _| {
                let _held = environment.shard.shared.state.location();
                let _flows = environment.shard.flows.borrow_mut();
                panic!("as the message asked");
            });
        }
        self.0.message(flow, message);
    }

    fn close(self: &Rc<Self>, flow: Flow, ending: Ending) {
        self.0.close(flow, ending);
    }

    fn http(self: &Rc<Self>, request: PlainHttp) {
        self.0.http(request);
    }

    fn on_unopened(
        self: &Rc<Self>,
        remote: SocketAddr,
        why: UnopenedCause,
        admitted: Option<&AdmittedClient>,
    ) {
        self.0.on_unopened(remote, why, admitted);
    }

    fn answer_unframed(self: &Rc<Self>, bytes: &[u8], error: FrameError) -> Option<Vec<u8>> {
        self.0.answer_unframed(bytes, error)
    }
}

#[test]
fn a_panic_in_a_handler_ends_one_flow_and_nothing_else() {
    let directory = std::env::temp_dir().join(format!("sipway-panic-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let text = format!(
        "[ledger]\ndirectory = \"{}\"\nsegment_size = \"1MiB\"\n[limits]\nshards = 1\n\
         [[listener]]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n",
        directory.display()
    );
    let config = Config::parse(&text, Path::new("sipway.toml"), &FakeEnvironment::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async { timeout(3 * PATIENCE, one_panics(&config)).await };
    LocalSet::new().block_on(&runtime, test).expect("the test hangs");
    fs::remove_dir_all(&directory).unwrap();
}

async fn one_panics(config: &Config) {
    // Its own shard has nothing to do: nobody knows its listener.
    let server = Server::start_on(Arc::new(Simulated::new(1).mount()), config, |_| None).unwrap();
    let shared = Arc::clone(&server.handle().0);
    let listener = Rc::new(shared.listeners[0].for_shard(0));
    let shard = Shard::new(0, Arc::clone(&shared), vec![Rc::clone(&listener)], HashMap::new());
    spawn_local(keep_time(Rc::clone(&shard)));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::new(Transport::Ws, socket.local_addr().unwrap());
    let owner = Rc::new(Panicking(Rc::clone(&shard)));
    spawn_local(async move {
        while let Ok((stream, remote)) = socket.accept().await {
            let (owner, listener) = (Rc::clone(&owner), Rc::clone(&listener));
            let scratch = Rc::clone(&owner.0.scratch);
            spawn_local(transport::receive_connection(owner, listener, scratch, stream, remote));
        }
    });
    let mut good = Client::connect(&target, &Setup::new("good")).await.unwrap();
    assert_eq!(good.register(600).await.unwrap().status, 200);
    for round in 1..=3 {
        let mut bad = Client::connect(&target, &Setup::new("bad")).await.unwrap();
        assert_eq!(bad.register(600).await.unwrap().status, 200);
        bad.send(b"panic").unwrap();
        let told = Ended::Closed { code: Some(1011), reason: "internal error".into() };
        assert_eq!(timeout(PATIENCE, bad.serve()).await.unwrap(), told);
        // All that the panic was in the middle of goes on.
        assert_eq!(good.register(600).await.unwrap().status, 200);
        assert_eq!(good.message("sip:bad@localhost", b"there?").await.unwrap().status, 480);
        assert_eq!((shared.state.live(), shared.state.location().len()), (1, 1), "round {round}");
    }
    // Nor does one that belongs to no flow end the shard.
    assert_eq!(shard.contained(|| panic!("as the test asked")), Contained::Panicked);
    assert_eq!(shared.metrics.get(Count::Panics), 1);
    assert_eq!(good.register(600).await.unwrap().status, 200);

    let mut log = EventLog::default();
    let mut reader = shared.state.ledger().reader(ReadFrom::Oldest);
    while log.closed_count() < 3 {
        let Some(block) = reader.next_block().unwrap() else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        for record in block.records() {
            let id = EventId { incarnation: record.position.incarnation, sequence: record.position.seq };
            let kind = EventKind::try_from(record.kind).unwrap();
            log.line(&cloud_event(shared.state.node(), id, kind, record.at, record.payload), 0);
        }
    }
    let closes: Vec<_> = log.flows().values().flat_map(|flow| &flow.closes).collect();
    for close in &closes {
        assert_eq!((close.cause, close.code), (Some(Cause::InternalError), Some(1011)));
        assert_eq!(close.reason.as_deref(), Some("a handler panicked"));
    }
    assert_eq!((closes.len(), log.faults.count()), (3, 0));
}
