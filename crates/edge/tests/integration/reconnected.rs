//! A connection to a server behind ends in mid-call. A server is no user agent: the call goes on, and whoever
//! hangs up is heard.

use std::net::SocketAddr;

use lifecycle::{EventKind, Transport};
use metrics::Count;
use prove::Client;
use sip_message::{Frame, HeaderId, Message, StreamFramer, response::ResponseBuilder};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    backend::{is, next, within},
    outgoing::behind,
    test_server::{PATIENCE, TestServer},
};

/// A PBX, at an address that is no one else's.
pub(crate) struct Pbx(TcpListener);

/// A connection of its.
pub(crate) struct Line {
    stream: TcpStream,
    framer: StreamFramer,
    bytes: Vec<u8>,
}

impl Pbx {
    pub(crate) async fn new() -> Self {
        Self::at("127.0.0.3").await.unwrap()
    }

    /// None where there is no such address.
    pub(crate) async fn at(ip: &str) -> Option<Self> {
        TcpListener::bind((ip, 0)).await.ok().map(Self)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// One that it was made.
    pub(crate) async fn accept(&self) -> Line {
        Line::new(timeout(PATIENCE, self.0.accept()).await.expect("nobody connects to the PBX").unwrap().0)
    }

    /// One that it makes.
    pub(crate) async fn connect(&self, sipway: &TestServer) -> Line {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((self.address().ip(), 0).into()).unwrap();
        Line::new(socket.connect(sipway.target(Transport::Tcp).address).await.unwrap())
    }

    /// A message of its own.
    pub(crate) fn signed(&self, message: Vec<u8>) -> Vec<u8> {
        let via = format!("SIP/2.0/TCP {}", self.address());
        String::from_utf8(message).unwrap().replace("SIP/2.0/WS x.invalid", &via).into_bytes()
    }
}

impl Line {
    fn new(stream: TcpStream) -> Self {
        Self { stream, framer: StreamFramer::default(), bytes: Vec::new() }
    }

    /// The next message that satisfies this.
    pub(crate) async fn next(&mut self, what: &str, so: impl Fn(&Message<'_>) -> bool) -> Vec<u8> {
        let found = async {
            loop {
                let frame = self.framer.next(&self.bytes).unwrap();
                if frame.is_empty() {
                    assert!(
                        self.stream.read_buf(&mut self.bytes).await.unwrap() > 0,
                        "it ended before {what}"
                    );
                    continue;
                }
                let rest = self.bytes.split_off(frame.len());
                let whole = matches!(frame, Frame::Message { .. });
                let message = std::mem::replace(&mut self.bytes, rest);
                if whole && so(&Message::parse(&message).unwrap()) {
                    return message;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {what} came to the PBX"))
    }

    pub(crate) async fn send(&mut self, message: &[u8]) {
        self.stream.write_all(message).await.unwrap();
    }
}

/// The 200 of one side.
pub(crate) fn ok(request: &Message<'_>, contact: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    let builder = ResponseBuilder::new(request, 200, "OK").to_tag(b"callee");
    builder.header(b"Contact", contact.as_bytes()).write(&mut answer).unwrap();
    answer
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    User,
    Pbx,
}

/// When a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// While nobody says anything.
    Idle,
    /// When a BYE has gone over it that is not answered.
    UnderBye,
}

pub(crate) const BOB: &str = "<sip:bob@bob.invalid>";

/// The requests of a dialog that one side may send.
pub(crate) struct Dialog {
    pub(crate) seen: Vec<u8>,
    from: Vec<u8>,
    to: Vec<u8>,
    routes: Vec<Vec<u8>>,
}

impl Dialog {
    /// Of the caller, who has seen the 200.
    pub(crate) fn of_caller(answer: &Message<'_>) -> Self {
        let mut dialog = Self::new(answer, HeaderId::From, HeaderId::To);
        dialog.routes.reverse();
        dialog
    }

    /// Of the callee, who has seen the INVITE.
    pub(crate) fn of_callee(invite: &Message<'_>) -> Self {
        let mut dialog = Self::new(invite, HeaderId::To, HeaderId::From);
        dialog.from.extend_from_slice(b";tag=callee");
        dialog
    }

    fn new(seen: &Message<'_>, from: HeaderId, to: HeaderId) -> Self {
        let value = |id| seen.value(id).unwrap().to_vec();
        let routes = seen.record_routes().map(|(value, _)| value.bytes.to_vec()).collect();
        Self { seen: seen.bytes().to_vec(), from: value(from), to: value(to), routes }
    }

    pub(crate) fn request(&self, method: &str, cseq: u32) -> Vec<u8> {
        let routes = self.routes.iter().map(Vec::as_slice).collect();
        let seen = Message::parse(&self.seen).unwrap();
        within(method, &seen, (&self.from, &self.to), routes, cseq)
    }
}

/// A call that is up; the connection that it went over, and what each side may say.
pub(crate) async fn call(
    sipway: &TestServer,
    pbx: &Pbx,
    bob: &mut Client,
    caller: Who,
) -> (Line, Dialog, Dialog) {
    let here = format!("<sip:100@{};transport=tcp>", pbx.address());
    let (from, to, contact) = match caller {
        Who::User => ("bob", "100", BOB),
        Who::Pbx => ("100", "bob", &*here),
    };
    let invite = format!(
        "INVITE sip:{to}@localhost SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:{from}@localhost>;tag=caller\r\nTo: <sip:{to}@localhost>\r\nCall-ID: {n}\r\nCSeq: 1 INVITE\r\n\
         Contact: {contact}\r\nContent-Length: 0\r\n\r\n",
        n = rand::random::<u64>()
    );
    let answered = |message: &Message<'_>| message.status() == Some(200);
    match caller {
        Who::User => {
            bob.send(invite.as_bytes()).unwrap();
            let mut line = pbx.accept().await;
            let asked = line.next("INVITE", is("INVITE")).await;
            let asked = Message::parse(&asked).unwrap();
            line.send(&ok(&asked, &here)).await;
            let answer = next(bob, "200", answered).await;
            let users = Dialog::of_caller(&answer.message());
            bob.send(&users.request("ACK", 1)).unwrap();
            line.next("ACK", is("ACK")).await;
            (line, users, Dialog::of_callee(&asked))
        }
        Who::Pbx => {
            let mut line = pbx.connect(sipway).await;
            line.send(&pbx.signed(invite.into_bytes())).await;
            let asked = next(bob, "INVITE", is("INVITE")).await;
            bob.send(&ok(&asked.message(), BOB)).unwrap();
            let answer = line.next("200", answered).await;
            let pbxs = Dialog::of_caller(&Message::parse(&answer).unwrap());
            line.send(&pbx.signed(pbxs.request("ACK", 1))).await;
            next(bob, "ACK", is("ACK")).await;
            (line, Dialog::of_callee(&asked.message()), pbxs)
        }
    }
}

/// Closes that are in the ledger, but for those of users.
fn closed(sipway: &TestServer) -> usize {
    let tcp = |(kind, text): &&(EventKind, String)| {
        *kind == EventKind::FlowClosed && text.contains("\"transport\":\"tcp\"")
    };
    sipway.events().iter().filter(tcp).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_outlives_the_connection_of_a_server_and_either_side_hangs_up() {
    let cases = [
        (Who::User, Lost::Idle, Who::User),
        (Who::User, Lost::Idle, Who::Pbx),
        (Who::User, Lost::UnderBye, Who::User),
        (Who::Pbx, Lost::Idle, Who::User),
        (Who::Pbx, Lost::Idle, Who::Pbx),
        (Who::Pbx, Lost::UnderBye, Who::User),
    ];
    // The second time without the table of calls: the routes alone lead there.
    for ((caller, lost, by), max) in cases.into_iter().flat_map(|case| [(case, 100), (case, 0)]) {
        let case = format!("{caller:?} calls, lost {lost:?}, {by:?} hangs up, {max} calls");
        let pbx = Pbx::new().await;
        let target = format!("\"sip:{};transport=tcp\"", pbx.address());
        let more = behind(&target, "").replace("\"1s\"", "\"off\"");
        let sipway = TestServer::new("reconnected", &format!("{more}[calls]\nmax = {max}\n"));
        let mut bob = sipway.registered("bob").await;
        bob.set_answering(prove::Answering::KeepsSilent);
        let (mut line, users, pbxs) = call(&sipway, &pbx, &mut bob, caller).await;
        let live = usize::from(max > 0);
        assert_eq!(sipway.handle.calls(9).len(), live, "{case}");
        if lost == Lost::Idle {
            drop(line);
            sipway.until("closed", |_| closed(&sipway) == 1).await;
            assert_eq!(sipway.handle.calls(9).len(), live, "{case}");
            line = match by {
                Who::User => {
                    bob.send(&users.request("BYE", 2)).unwrap();
                    pbx.accept().await
                }
                Who::Pbx => pbx.connect(&sipway).await,
            };
        } else {
            bob.send(&users.request("BYE", 2)).unwrap();
            line.next("BYE", is("BYE")).await;
            drop(line);
            line = pbx.accept().await;
            sipway.until("counted", |handle| handle.metrics().get(Count::RequestsSentAnew) == 1).await;
        }
        let answered = |message: &Message<'_>| message.status().is_some_and(|status| status >= 200);
        let status = match by {
            Who::User => {
                let bye = line.next("BYE", is("BYE")).await;
                line.send(&ok(&Message::parse(&bye).unwrap(), "<sip:x>")).await;
                next(&mut bob, "answer", answered).await.message().status()
            }
            Who::Pbx => {
                line.send(&pbx.signed(pbxs.request("BYE", 2))).await;
                let bye = next(&mut bob, "BYE", is("BYE")).await;
                bob.send(&ok(&bye.message(), BOB)).unwrap();
                Message::parse(&line.next("answer", answered).await).unwrap().status()
            }
        };
        assert_eq!(status, Some(200), "{case}");
        sipway.until("over", |handle| handle.calls(9).is_empty()).await;
        let log = sipway.end().await;
        drop(log);
    }
}

/// RFC 3261 §18.2.2. On our own machine a server that connects by itself is known by nothing but its address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_answers_by_another_connection_when_its_own_has_ended_and_nobody_else_does() {
    for ip in ["127.0.0.3", "127.0.0.1"] {
        let pbx = Pbx::at(ip).await.unwrap();
        let target = format!("\"sip:{};transport=tcp\"", pbx.address());
        let sipway = TestServer::new("answering", &behind(&target, "").replace("\"1s\"", "\"off\""));
        let mut bob = sipway.registered("bob").await;
        bob.set_answering(prove::Answering::KeepsSilent);
        for round in 1..=4 {
            let invite = format!(
                "INVITE sip:100@localhost SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
                 From: <sip:bob@localhost>;tag=caller\r\nTo: <sip:100@localhost>\r\nCall-ID: {n}\r\nCSeq: 1 INVITE\r\n\
                 Contact: {BOB}\r\nContent-Length: 0\r\n\r\n",
                n = rand::random::<u64>()
            );
            bob.send(invite.as_bytes()).unwrap();
            let mut line = pbx.accept().await;
            let asked = line.next("INVITE", is("INVITE")).await;
            let asked = Message::parse(&asked).unwrap();
            let mut ringing = Vec::new();
            ResponseBuilder::new(&asked, 180, "Ringing").to_tag(b"callee").write(&mut ringing).unwrap();
            line.send(&ringing).await;
            next(&mut bob, "180", |message| message.status() == Some(180)).await;
            drop(line);
            let answer = ok(&asked, "<sip:100@pbx.invalid>");
            let other = Pbx::at("127.0.0.4").await.unwrap();
            let mut forger = other.connect(&sipway).await;
            forger
                .send(&String::from_utf8(answer.clone()).unwrap().replace("200 OK", "603 No").into_bytes())
                .await;
            sipway.until("dropped", |handle| handle.metrics().get(Count::ResponsesForeign) == round).await;
            let mut line = pbx.connect(&sipway).await;
            line.send(&answer).await;
            let heard =
                next(&mut bob, "answer", |message| message.status().is_some_and(|status| status >= 200));
            assert_eq!(heard.await.message().status(), Some(200), "{ip}");
        }
        sipway.end().await;
    }
}
