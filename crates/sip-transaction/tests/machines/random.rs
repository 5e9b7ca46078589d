//! Random inputs in random order keep the promises of the crate.
use crate::driver::{client_key, request, status};
use proptest::prelude::*;
use sip_transaction::{
    ClientEnd, ClientId, Event, MethodClass, Received, Reliability, ResponseFor, ServerId, Settings,
    Transactions,
};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
enum Input {
    Request { method: &'static str, branch: u8, reliability: Reliability },
    Respond { nth: usize, code: u16 },
    Start { branch: u64, class: MethodClass, reliability: Reliability },
    Response { branch: u64, class: MethodClass, code: u16 },
    Cancel { nth: usize },
    ServerFails { nth: usize },
    ClientFails { nth: usize },
    AbandonServer { nth: usize },
    AbandonClient { nth: usize },
    Pass { micros: u64 },
}

fn reliability() -> impl Strategy<Value = Reliability> {
    prop_oneof![Just(Reliability::Reliable), Just(Reliability::Unreliable)]
}

fn class() -> impl Strategy<Value = MethodClass> {
    prop_oneof![Just(MethodClass::Invite), Just(MethodClass::NonInvite)]
}

fn code() -> impl Strategy<Value = u16> {
    prop_oneof![Just(100), Just(180), Just(200), Just(302), Just(408), Just(486), Just(603)]
}

fn input() -> impl Strategy<Value = Input> {
    let method = prop_oneof![Just("INVITE"), Just("ACK"), Just("CANCEL"), Just("MESSAGE"), Just("OPTIONS")];
    prop_oneof![
        4 => (method, 0..4_u8, reliability())
            .prop_map(|(method, branch, reliability)| Input::Request { method, branch, reliability }),
        4 => (0..8_usize, code()).prop_map(|(nth, code)| Input::Respond { nth, code }),
        3 => (0..4_u64, class(), reliability())
            .prop_map(|(branch, class, reliability)| Input::Start { branch, class, reliability }),
        4 => (0..4_u64, class(), code()).prop_map(|(branch, class, code)| Input::Response { branch, class, code }),
        1 => (0..8_usize).prop_map(|nth| Input::Cancel { nth }),
        1 => (0..8_usize).prop_map(|nth| Input::ServerFails { nth }),
        1 => (0..8_usize).prop_map(|nth| Input::ClientFails { nth }),
        1 => (0..8_usize).prop_map(|nth| Input::AbandonServer { nth }),
        1 => (0..8_usize).prop_map(|nth| Input::AbandonClient { nth }),
        4 => prop_oneof![0..5_000_u64, 0..40_000_000_u64].prop_map(|micros| Input::Pass { micros }),
    ]
}

/// What an observer may hold against a table.
struct Observer {
    table: Transactions<u32, u32, u32>,
    now: Instant,
    made: u32,
    servers: Vec<ServerId>,
    clients: Vec<ClientId>,
    /// Data of transactions that were made and not handed back.
    open: HashSet<u32>,
    dead_servers: HashSet<ServerId>,
    dead_clients: HashSet<ClientId>,
    /// Final responses passed to the owner, for each transaction whose first was no 2xx to an INVITE.
    finals: HashMap<ClientId, u32>,
}

impl Observer {
    fn new() -> Observer {
        let now = Instant::now();
        let settings = Settings { max_server: 6, max_client: 6, ..Settings::default() };
        Observer {
            table: Transactions::new(settings, now),
            now,
            made: 0,
            servers: Vec::new(),
            clients: Vec::new(),
            open: HashSet::new(),
            dead_servers: HashSet::new(),
            dead_clients: HashSet::new(),
            finals: HashMap::new(),
        }
    }

    fn apply(&mut self, input: Input) {
        match input {
            Input::Request { method, branch, reliability } => {
                let key = request(method, &branch.to_string());
                let data = self.made;
                let mut asked = false;
                let received = self.table.receive_request(key, reliability, self.now, || {
                    asked = true;
                    data
                });
                match received {
                    Received::New(id) | Received::NewCancel { id, .. } => {
                        assert!(asked);
                        self.made += 1;
                        self.open.insert(data);
                        self.servers.push(id);
                    }
                    Received::Repeat { id, .. } | Received::AckAbsorbed(id) | Received::AckForSuccess(id) => {
                        assert!(!asked && !self.dead_servers.contains(&id));
                    }
                    Received::AckUnmatched => assert!(!asked),
                    Received::Full => assert!(!asked && self.table.server_count() == 6),
                }
            }
            Input::Respond { nth, code } => {
                if let Some(id) = pick(&self.servers, nth) {
                    let was = self.table.server_state(id);
                    let done = self.table.respond(id, status(code), self.now, || u32::from(code));
                    assert!(was.is_some() || done.is_err(), "an answer after the end");
                }
            }
            Input::Start { branch, class, reliability } => {
                let key = client_key(branch, class);
                if let Ok(id) = self.table.start_client(key, reliability, self.now, self.made, || 0) {
                    self.open.insert(self.made);
                    self.made += 1;
                    self.clients.push(id);
                }
            }
            Input::Response { branch, class, code } => {
                match self.table.receive_response(client_key(branch, class), status(code), self.now, |_| true)
                {
                    ResponseFor::Pass(id) => self.count_final(id, class, code),
                    ResponseFor::PassAndAck(id) => {
                        assert!(class == MethodClass::Invite && code >= 300);
                        self.count_final(id, class, code);
                        self.table.ack_sent(id, || 1);
                    }
                    ResponseFor::ResendAck { id, message } => {
                        assert!(message == 1 && code >= 300 && !self.dead_clients.contains(&id));
                    }
                    ResponseFor::Absorb(id) => assert!(!self.dead_clients.contains(&id)),
                    ResponseFor::Unmatched => {}
                }
            }
            Input::Cancel { nth } => {
                if let Some(id) = pick(&self.clients, nth) {
                    self.table.cancel_sent(id, self.now);
                }
            }
            Input::ServerFails { nth } => {
                if let Some(id) = pick(&self.servers, nth) {
                    self.table.server_transport_error(id);
                }
            }
            Input::ClientFails { nth } => {
                if let Some(id) = pick(&self.clients, nth) {
                    self.table.client_transport_error(id);
                }
            }
            Input::AbandonServer { nth } => {
                if let Some(id) = pick(&self.servers, nth) {
                    let data = self.table.abandon_server(id);
                    assert_eq!(data.is_some(), self.dead_servers.insert(id));
                    assert!(data.is_none_or(|data| self.open.remove(&data)));
                }
            }
            Input::AbandonClient { nth } => {
                if let Some(id) = pick(&self.clients, nth) {
                    let data = self.table.abandon_client(id);
                    assert_eq!(data.is_some(), self.dead_clients.insert(id));
                    assert!(data.is_none_or(|data| self.open.remove(&data)));
                }
            }
            Input::Pass { micros } => self.pass(Duration::from_micros(micros)),
        }
    }

    fn count_final(&mut self, id: ClientId, class: MethodClass, code: u16) {
        assert!(!self.dead_clients.contains(&id));
        let success = class == MethodClass::Invite && (200..300).contains(&code);
        if code >= 200 && (!success || self.finals.contains_key(&id)) {
            let count = self.finals.entry(id).or_default();
            *count += 1;
            assert_eq!(*count, 1, "a second final response");
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut last = None;
        while let Some(deadline) = self.table.next_deadline().filter(|deadline| *deadline <= until) {
            assert!(last < Some(deadline), "the deadline did not move on");
            last = Some(deadline);
            self.now = self.now.max(deadline);
            self.poll();
        }
        self.now = until;
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(event) = self.table.poll(self.now) {
            match event {
                Event::SendTrying(id) | Event::ResendResponse { id, .. } => {
                    assert!(!self.dead_servers.contains(&id));
                }
                Event::ResendRequest { id, .. } => assert!(!self.dead_clients.contains(&id)),
                Event::ServerEnded { id, data, .. } => {
                    assert!(self.dead_servers.insert(id) && self.open.remove(&data));
                }
                Event::ClientEnded { id, data, end } => {
                    assert!(self.dead_clients.insert(id) && self.open.remove(&data));
                    if end == ClientEnd::Timeout {
                        assert!(!self.finals.contains_key(&id), "a timeout after a final response");
                    }
                }
            }
        }
    }
}

fn pick<T: Copy>(from: &[T], nth: usize) -> Option<T> {
    from.iter().rev().nth(nth).copied()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold(inputs in prop::collection::vec(input(), 1..120)) {
        let mut observer = Observer::new();
        for input in inputs {
            observer.apply(input);
            let waiting = observer.table.server_count() + observer.table.client_count();
            prop_assert_eq!(waiting, observer.open.len());
        }
        // The owner's part: it answers every INVITE, and cancels every one that is ringing.
        for id in observer.servers.clone() {
            let _ = observer.table.respond(id, status(500), observer.now, || 500);
        }
        for id in observer.clients.clone() {
            observer.table.cancel_sent(id, observer.now);
        }
        observer.pass(Duration::from_secs(65));
        prop_assert!(observer.table.is_empty(), "a leak");
        prop_assert!(observer.open.is_empty());
        prop_assert_eq!(observer.table.next_deadline(), None);
    }
}
