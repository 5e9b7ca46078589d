//! An owner that writes down what it is told, and the listener in front of it.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use lifecycle::{Cause, Ending, FlowFacts, FlowLimits, Traffic, Transport};
use sip_message::FrameError;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{LocalSet, spawn_local},
    time::timeout,
};
use transport::{
    ClientAddress, ConnectionHandler, HandshakeLimit, Link, Listener, MissingOrigin, Opening, PlainHttp,
    ReadPriority, Refused, Scratch, Settings, UnopenedCause,
    accept::{self, Accepted},
    receive_connection,
};

/// Far more than anything here takes, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(crate) struct FakeHandler {
    pub(crate) opened: RefCell<Vec<FlowFacts>>,
    pub(crate) links: RefCell<Vec<Rc<Link>>>,
    pub(crate) messages: RefCell<Vec<Vec<u8>>>,
    pub(crate) endings: RefCell<Vec<(Ending, Traffic)>>,
    /// Flows that were dropped instead of closed.
    pub(crate) lost: Cell<usize>,
    pub(crate) unopened: RefCell<Vec<UnopenedCause>>,
    pub(crate) pages: RefCell<Vec<PlainHttp>>,
    /// Whether it has pages for those who ask within TLS.
    pub(crate) serves_pages: Cell<bool>,
    /// Whom it let in.
    pub(crate) guests: RefCell<Vec<IpAddr>>,
    /// How many of them have gone.
    pub(crate) gone: Cell<usize>,
    /// Whom it does not let in.
    pub(crate) turns_away: RefCell<Vec<IpAddr>>,
    pub(crate) refuses: Cell<bool>,
    /// Whether it listens in turn to those that it lets in now.
    pub(crate) knows_nobody: Cell<bool>,
    /// Opening takes as long as this is so.
    pub(crate) opens_slowly: Cell<bool>,
    changed: Notify,
}

pub(crate) struct FakeFlow {
    handler: Rc<FakeHandler>,
    link: Rc<Link>,
    turn: u64,
    closed: Cell<bool>,
    _guest: Option<FakeAdmission>,
}

impl fmt::Debug for FakeHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHandler")
            .field("messages", &self.messages.borrow().len())
            .field("endings", &self.endings)
            .field("lost", &self.lost)
            .field("unopened", &self.unopened)
            .finish_non_exhaustive()
    }
}

impl Drop for FakeFlow {
    fn drop(&mut self) {
        if !self.closed.get() {
            self.handler.lost.set(self.handler.lost.get() + 1);
            self.handler.links.borrow_mut().retain(|link| !Rc::ptr_eq(link, &self.link));
            self.handler.changed.notify_waiters();
        }
    }
}

/// Somebody who was accepted.
pub(crate) struct FakeAdmission(Rc<FakeHandler>);

impl Drop for FakeAdmission {
    fn drop(&mut self) {
        self.0.gone.set(self.0.gone.get() + 1);
        self.0.changed.notify_waiters();
    }
}

impl ConnectionHandler for FakeHandler {
    type Flow = FakeFlow;
    type Admission = FakeAdmission;

    fn admit(self: &Rc<Self>, client: IpAddr) -> Option<FakeAdmission> {
        if self.turns_away.borrow().contains(&client) {
            return None;
        }
        self.guests.borrow_mut().push(client);
        self.changed.notify_waiters();
        Some(FakeAdmission(Rc::clone(self)))
    }

    async fn open(
        self: &Rc<Self>,
        opening: Opening,
        admission: Option<FakeAdmission>,
        link: Rc<Link>,
    ) -> Result<FakeFlow, Refused> {
        if self.refuses.get() {
            return Err(Refused { retry_after: Duration::from_secs(7), reason: "handler is full" });
        }
        if self.knows_nobody.get() {
            link.listen(ReadPriority::InTurn);
        }
        self.opened.borrow_mut().push(opening.facts);
        self.links.borrow_mut().push(Rc::clone(&link));
        self.changed.notify_waiters();
        while self.opens_slowly.get() {
            tokio::task::yield_now().await;
        }
        let turn = self.opened.borrow().len() as u64;
        Ok(FakeFlow { handler: Rc::clone(self), link, turn, closed: Cell::new(false), _guest: admission })
    }

    fn flow_number(flow: &FakeFlow) -> u64 {
        flow.turn
    }

    /// `echo …` comes back, `panic` panics, `end …` ends the flow as an operator would; all are written down.
    fn message(self: &Rc<Self>, flow: &FakeFlow, message: &[u8]) {
        self.messages.borrow_mut().push(message.to_vec());
        self.changed.notify_waiters();
        if message.starts_with(b"echo") {
            let _ = flow.link.send(message);
        }
        if let Some(reason) = message.strip_prefix(b"end ") {
            flow.link.close(Ending::of(Cause::Admin).code(1000).reason(reason));
        }
        assert_ne!(message, b"panic", "as the message asked");
    }

    fn close(self: &Rc<Self>, flow: FakeFlow, ending: Ending) {
        flow.closed.set(true);
        self.endings.borrow_mut().push((ending, flow.link.traffic(Instant::now())));
        self.links.borrow_mut().retain(|link| !Rc::ptr_eq(link, &flow.link));
        self.changed.notify_waiters();
    }

    fn serves_pages(self: &Rc<Self>) -> bool {
        self.serves_pages.get()
    }

    fn http(self: &Rc<Self>, request: PlainHttp) {
        self.pages.borrow_mut().push(request);
        self.changed.notify_waiters();
    }

    fn on_unopened(self: &Rc<Self>, _: SocketAddr, why: UnopenedCause, _: Option<&FakeAdmission>) {
        self.unopened.borrow_mut().push(why);
        self.changed.notify_waiters();
    }

    fn answer_unframed(self: &Rc<Self>, _: &[u8], error: FrameError) -> Option<Vec<u8>> {
        Some(format!("unframed: {error}").into_bytes())
    }
}

impl FakeHandler {
    /// Waits until this is so.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if so(self) {
                    return;
                }
                changed.await;
            }
        };
        if timeout(PATIENCE, waiting).await.is_err() {
            panic!("not {what}: {self:?}");
        }
    }

    pub(crate) async fn until_open(&self, flows: usize) {
        self.until("open", |handler| handler.opened.borrow().len() == flows).await;
    }

    pub(crate) async fn messages(&self, count: usize) -> Vec<Vec<u8>> {
        self.until("so many messages", |handler| handler.messages.borrow().len() >= count).await;
        self.messages.borrow().clone()
    }

    /// The one ending there is, once it is there; no flow was lost.
    pub(crate) async fn ending(&self) -> Ending {
        self.until("ended", |handler| !handler.endings.borrow().is_empty() || handler.lost.get() > 0).await;
        assert_eq!((self.endings.borrow().len(), self.lost.get()), (1, 0), "{self:?}");
        self.endings.borrow()[0].0.clone()
    }

    pub(crate) async fn unopened(&self, expected: UnopenedCause) {
        self.until("told of what was no flow", |handler| !handler.unopened.borrow().is_empty()).await;
        assert_eq!(*self.unopened.borrow(), [expected]);
        assert!(self.opened.borrow().is_empty());
    }
}

/// A listener with a connection handler in memory behind it.
pub(crate) struct HandshakeSlot {
    pub(crate) address: SocketAddr,
    pub(crate) handler: Rc<FakeHandler>,
}

pub(crate) fn settings() -> Settings {
    Settings {
        max_message: 100_000,
        handshake_timeout: PATIENCE,
        close_timeout: PATIENCE,
        ping_after: PATIENCE,
        pong_timeout: PATIENCE,
        outbound_queue: 1 << 20,
        write_timeout: PATIENCE,
        limits: FlowLimits::default(),
    }
}

impl HandshakeSlot {
    pub(crate) fn ws() -> Self {
        Self::new(Transport::Ws, settings(), |_| ())
    }

    pub(crate) fn with(transport: Transport, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        Self::new(transport, settings, |_| ())
    }

    pub(crate) fn new(transport: Transport, settings: Settings, change: impl FnOnce(&mut Listener)) -> Self {
        Self::at("127.0.0.1:0", transport, settings, change)
    }

    pub(crate) fn at(
        address: &str,
        transport: Transport,
        settings: Settings,
        change: impl FnOnce(&mut Listener),
    ) -> Self {
        let socket = accept::bind(address.parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let tls = matches!(transport, Transport::Wss | Transport::Tls).then(crate::tls::server_config);
        let mut listener = Listener {
            number: 0,
            name: "handler".into(),
            transport,
            local: address,
            client_address: ClientAddress::Socket,
            waiting: Rc::new(HandshakeLimit::new(usize::MAX)),
            paths: Vec::new(),
            origins: Vec::new(),
            missing_origin: MissingOrigin::Allow,
            tls,
            settings: Rc::new(settings),
        };
        change(&mut listener);
        let (listener, handler) = (Rc::new(listener), Rc::new(FakeHandler::default()));
        let (scratch, owner) = (Rc::new(Scratch::new()), Rc::clone(&handler));
        spawn_local(async move {
            let socket = TcpListener::from_std(socket).unwrap();
            while let Accepted::Connection(stream, remote) = accept::accept(&socket, u64::MAX).await {
                let (owner, listener, scratch) =
                    (Rc::clone(&owner), Rc::clone(&listener), Rc::clone(&scratch));
                spawn_local(receive_connection(owner, listener, scratch, stream, remote));
            }
        });
        Self { address, handler }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// Runs a test on one thread, as a shard does.
pub(crate) fn on_a_shard(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { timeout(3 * PATIENCE, test).await.expect("the test hangs") };
    LocalSet::new().block_on(&runtime, bounded);
}
