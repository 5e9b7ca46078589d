//! Drives a table in virtual time and tells what it did in short words.
use sip_transaction::{
    ClientId, ClientKey, ClientState, Event, KeyMaker, MethodClass, Received, Reliability, RequestKey,
    ResponseFor, ServerId, ServerState, Settings, Status, Transactions, TryingReminder,
};
use std::time::{Duration, Instant};

pub(crate) type Table = Transactions<&'static str, &'static str, String>;

pub(crate) struct Driver {
    pub(crate) table: Table,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    reliability: Reliability,
}

pub(crate) fn status(code: u16) -> Status {
    Status::new(code).unwrap()
}

pub(crate) fn request(method: &str, branch: &str) -> RequestKey {
    let branch = format!("z9hG4bK{branch}");
    KeyMaker::new([7; 16])
        .request(method.as_bytes(), branch.as_bytes(), b"client.invalid", Some(5060))
        .unwrap()
}

pub(crate) fn client_key(branch: u64, class: MethodClass) -> ClientKey {
    ClientKey { branch, class }
}

impl Driver {
    pub(crate) fn new(reliability: Reliability) -> Driver {
        Driver::with(reliability, Settings { trying: TryingReminder::Silent, ..Settings::default() })
    }

    pub(crate) fn with(reliability: Reliability, settings: Settings) -> Driver {
        let start = Instant::now();
        Driver { table: Transactions::new(settings, start), start, now: start, reliability }
    }

    pub(crate) fn receive(&mut self, method: &str, branch: &str) -> Received<String> {
        self.table.receive_request(request(method, branch), self.reliability, self.now, || "server")
    }

    pub(crate) fn new_server(&mut self, method: &str) -> ServerId {
        match self.receive(method, "1") {
            Received::New(id) | Received::NewCancel { id, .. } => id,
            other => panic!("not new: {other:?}"),
        }
    }

    pub(crate) fn respond(&mut self, id: ServerId, code: u16) -> String {
        match self.table.respond(id, status(code), self.now, || code.to_string()) {
            Ok(()) => format!("send {code}"),
            Err(refusal) => format!("{refusal:?}"),
        }
    }

    pub(crate) fn new_client(&mut self, class: MethodClass) -> ClientId {
        let key = client_key(1, class);
        self.table.start_client(key, self.reliability, self.now, "client", || "request".into()).unwrap()
    }

    /// The owner's part included: an ACK asked for is sent.
    pub(crate) fn response(&mut self, class: MethodClass, code: u16) -> String {
        match self.table.receive_response(client_key(1, class), status(code), self.now, |_| true) {
            ResponseFor::Pass(_) => "pass".into(),
            ResponseFor::PassAndAck(id) => {
                self.table.ack_sent(id, || "ack".into());
                "pass, ack".into()
            }
            ResponseFor::ResendAck { message, .. } => format!("resend {message}"),
            ResponseFor::Absorb(_) => "absorb".into(),
            ResponseFor::Unmatched => "unmatched".into(),
        }
    }

    pub(crate) fn server_state(&self, id: ServerId) -> String {
        match self.table.server_state(id) {
            None => "Terminated".into(),
            Some(ServerState::Invite(state)) => format!("{state:?}"),
            Some(ServerState::NonInvite(state)) => format!("{state:?}"),
        }
    }

    pub(crate) fn client_state(&self, id: ClientId) -> String {
        match self.table.client_state(id) {
            None => "Terminated".into(),
            Some(ClientState::Invite(state)) => format!("{state:?}"),
            Some(ClientState::NonInvite(state)) => format!("{state:?}"),
        }
    }

    pub(crate) fn pass_time(&mut self, millis: u64) -> Vec<(u64, String)> {
        let until = self.now + Duration::from_millis(millis);
        let mut log = Vec::new();
        while let Some(deadline) = self.table.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            while let Some(event) = self.table.poll(self.now) {
                let at = self.now.duration_since(self.start).as_millis() as u64;
                log.push((at, word(event)));
            }
        }
        self.now = until;
        log
    }

    /// Until nothing waits any more.
    pub(crate) fn run_out(&mut self) -> Vec<(u64, String)> {
        let log = self.pass_time(3_600_000);
        assert_eq!(self.table.next_deadline(), None);
        log
    }
}

fn word(event: Event<&'static str, &'static str, String>) -> String {
    match event {
        Event::SendTrying(_) => "send 100".into(),
        Event::ResendResponse { message, .. } | Event::ResendRequest { message, .. } => {
            format!("resend {message}")
        }
        Event::ServerEnded { data, end, .. } => format!("{data} {end:?}"),
        Event::ClientEnded { data, end, .. } => format!("{data} {end:?}"),
    }
}

/// Compares a log with literals.
#[track_caller]
pub(crate) fn assert_log(log: &[(u64, String)], expected: &[(u64, &str)]) {
    let log: Vec<(u64, &str)> = log.iter().map(|(at, word)| (*at, word.as_str())).collect();
    assert_eq!(log, expected);
}
