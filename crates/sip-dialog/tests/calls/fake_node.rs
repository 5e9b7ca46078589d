//! A writer of call records in memory, and messages as a proxy sees them.

use std::time::{Duration, Instant};

use lifecycle::{CallCause, Now};
use sip_dialog::{Agent, Call, CallWriter, Calls, End, Registered, Rooms, Settings, Side};
use sip_message::Message;

/// A way to a peer.
pub(crate) type Hop = u8;

pub(crate) const ALICE: Hop = 1;
pub(crate) const BOB: Hop = 2;
pub(crate) const HOLD: Duration = Duration::from_secs(30);

/// What was written or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    Started(u64),
    Answered(u64),
    Held(u64, Side),
    Resumed(u64, Side),
    Ended(u64, End),
    Sent(Hop, String),
}

/// Room that is either used up or given back.
#[derive(Debug)]
pub(crate) struct Room(&'static str);

#[derive(Debug, Default)]
pub(crate) struct FakeWriter {
    pub(crate) done: Vec<Done>,
    pub(crate) full: bool,
}

impl CallWriter for FakeWriter {
    type Hop = Hop;
    type Room = Room;

    fn started(&mut self, call: &Call<Hop>) -> Option<Rooms<Room>> {
        if self.full {
            return None;
        }
        self.done.push(Done::Started(call.number()));
        Some(Rooms { answered: Room("answered"), ended: Room("ended") })
    }

    fn answered(&mut self, call: &Call<Hop>, room: Room) {
        assert_eq!(room.0, "answered");
        self.done.push(Done::Answered(call.number()));
    }

    fn held(&mut self, call: &Call<Hop>, by: Side, _at: Now) {
        self.done.push(Done::Held(call.number(), by));
    }

    fn resumed(&mut self, call: &Call<Hop>, by: Side, _at: Now) {
        self.done.push(Done::Resumed(call.number(), by));
    }

    fn ended(&mut self, call: &Call<Hop>, end: &End, room: Room) {
        assert_eq!(room.0, "ended");
        self.done.push(Done::Ended(call.number(), end.clone()));
    }

    fn send(&mut self, hop: Hop, request: Vec<u8>) {
        let message = Message::parse(&request).expect("what we send parses");
        assert!(message.is_request());
        self.done.push(Done::Sent(hop, String::from_utf8(request.clone()).unwrap()));
    }
}

/// A table, its book, and the time.
pub(crate) struct Scene {
    pub(crate) calls: Calls<Hop, Room>,
    pub(crate) writer: FakeWriter,
    began: Instant,
    pub(crate) passed: Duration,
}

pub(crate) fn settings() -> Settings {
    Settings { hold: HOLD, ringing: Duration::from_secs(240), silence: Duration::from_secs(3600), most: 1000 }
}

impl Scene {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            calls: Calls::new(settings),
            writer: FakeWriter::default(),
            began: Instant::now(),
            passed: Duration::ZERO,
        }
    }

    pub(crate) fn now(&self) -> Now {
        let micros = 1_000_000_000 + u64::try_from(self.passed.as_micros()).unwrap();
        Now { instant: self.began + self.passed, unix_micros: micros }
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.passed += time;
        let now = self.now();
        self.calls.expire(&mut self.writer, now, usize::MAX);
    }

    pub(crate) fn request(&mut self, text: &str, from: Hop, to: Hop) {
        let now = self.now();
        self.calls.forwarded(&mut self.writer, &Message::parse(text.as_bytes()).unwrap(), from, to, now);
    }

    /// It goes to the caller.
    pub(crate) fn response(&mut self, text: &str, by: Option<Hop>) {
        self.response_to(ALICE, text, by);
    }

    pub(crate) fn response_to(&mut self, asked: Hop, text: &str, by: Option<Hop>) {
        let now = self.now();
        let message = Message::parse(text.as_bytes()).unwrap();
        let status = message.status().unwrap();
        self.calls.answered(&mut self.writer, status, &message, (asked, by), now);
    }

    /// The proxy's own answer to a request.
    pub(crate) fn own(&mut self, status: u16, request: &str) {
        self.own_to(ALICE, status, request);
    }

    pub(crate) fn own_to(&mut self, asked: Hop, status: u16, request: &str) {
        let (now, message) = (self.now(), Message::parse(request.as_bytes()).unwrap());
        self.calls.answered(&mut self.writer, status, &message, (asked, None), now);
    }

    pub(crate) fn gone(&mut self, hop: Hop, agents: &[Agent]) -> usize {
        let now = self.now();
        self.calls.hop_gone(&mut self.writer, hop, agents, now).total
    }

    pub(crate) fn back(&mut self, agent: &Agent, hop: Hop) {
        self.calls.came_back(&mut self.writer, agent, hop);
    }

    /// What was done since this was asked last.
    pub(crate) fn done(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.writer.done)
    }

    /// Alice calls Bob, who answers.
    pub(crate) fn call(&mut self) -> u64 {
        self.request(&invite(1), ALICE, BOB);
        self.response(&answer(&invite(1), 180, "b"), Some(BOB));
        self.wait(Duration::from_secs(2));
        self.response(&answer(&invite(1), 200, "b"), Some(BOB));
        let Some(Done::Started(number)) = self.done().first().cloned() else { panic!("started") };
        number
    }
}

/// The user agent that has the Contact of this user in messages.
pub(crate) fn agent(user: &str) -> Agent {
    device(&format!("{user}@x"), &format!("sip:{user}-device@{user}.invalid;transport=ws"), None, user)
}

/// A user agent, by its Contact, instance and the Call-ID of its REGISTER.
pub(crate) fn device(aor: &str, contact: &str, instance: Option<&str>, call_id: &str) -> Agent {
    Agent::new(&Registered {
        aor,
        contact: contact.as_bytes(),
        instance: instance.map(str::as_bytes),
        identity: None,
        call_id: call_id.as_bytes(),
        source: [192, 0, 2, 1].into(),
    })
}

fn request(method: &str, from: &str, to: &str, cseq: u32, extra: &str, body: &str) -> String {
    let contact = if from.contains("alice") { "alice" } else { "bob" };
    let user = to.split(['<', '>']).nth(1).unwrap();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} {user} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{method}{cseq}\r\nMax-Forwards: 70\r\n\
         From: {from}\r\nTo: {to}\r\nCall-ID: call-1\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:{contact}-device@{contact}.invalid;transport=ws>\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const FROM: &str = "\"Alice\" <sip:alice@x>;tag=a";

pub(crate) fn invite(cseq: u32) -> String {
    request("INVITE", FROM, "Bob <sip:bob@x>", cseq, "User-Agent: paper\r\n", "")
}

/// A request within the dialog that Bob's answer with this tag made.
pub(crate) fn within(method: &str, by: Side, tag: &str, cseq: u32, body: &str) -> String {
    let (alice, bob) = (FROM.to_owned(), format!("Bob <sip:bob@x>;tag={tag}"));
    match by {
        Side::Caller => request(method, &alice, &bob, cseq, "", body),
        Side::Callee => request(method, &bob, &alice, cseq, "", body),
    }
}

pub(crate) fn answer(request: &str, status: u16, tag: &str) -> String {
    answer_with(request, status, tag, "")
}

/// The response to a request of ours, as it comes back.
pub(crate) fn answer_with(request: &str, status: u16, tag: &str, extra: &str) -> String {
    let message = Message::parse(request.as_bytes()).unwrap();
    let to = message.to().unwrap();
    let tagged = if to.tag().is_some() { String::new() } else { format!(";tag={tag}") };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!(
        "SIP/2.0 {status} Because\r\nVia: SIP/2.0/WS ours.invalid;branch=z9hG4bK1\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tagged}\r\nCall-ID: {}\r\n\
         CSeq: {} {}\r\nContact: <sip:bob-device@bob.invalid;transport=ws>\r\n{extra}Content-Length: 0\r\n\r\n",
        text(message.via_top().unwrap().as_bytes()),
        text(message.from().unwrap().as_bytes()),
        text(to.as_bytes()),
        text(message.call_id().unwrap()),
        message.cseq().unwrap().number,
        text(message.method().unwrap().as_bytes()),
    )
}

pub(crate) fn ended(done: &[Done]) -> Vec<(CallCause, lifecycle::CallBy)> {
    let ends = done.iter().filter_map(|done| match done {
        Done::Ended(_, end) => Some((end.cause, end.by)),
        _ => None,
    });
    ends.collect()
}

pub(crate) fn sent(done: &[Done]) -> Vec<(Hop, String)> {
    let sent = done.iter().filter_map(|done| match done {
        Done::Sent(hop, request) => Some((*hop, request.clone())),
        _ => None,
    });
    sent.collect()
}
