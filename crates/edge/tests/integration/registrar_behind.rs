//! A registrar behind the one that is tested, which is told how to behave. As Asterisk does, it tells
//! registrations apart by the Contact URI alone, and looks neither at Call-ID nor at CSeq: what comes last
//! counts.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use lifecycle::Transport;
use sip_message::{Contact, HeaderId, Message, Uri, response::ResponseBuilder};
use tokio::{net::UdpSocket, task::JoinSet};

use crate::test_server::{PATIENCE, TestServer};

/// One registration: the Contact URI, its parameters but `expires`, and how long it lasts.
pub(crate) type Registered = (String, String, u32);

/// How it lists what it has in a 200, as header lines.
pub(crate) type Lists = Box<dyn Fn(&[Registered]) -> String + Send>;

/// Which REGISTERs wait until they are let through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Nothing,
    Registers,
    Unregisters,
}

/// What an un-REGISTER that is answered 200 does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unregisters {
    Removes,
    /// Nothing, as at an Asterisk that keeps the Contact under another URI (`rewrite_contact`).
    RemovesNothing,
}

pub(crate) struct State {
    contacts: BTreeMap<String, Vec<Registered>>,
    /// What came, repeats left out.
    pub(crate) came: Vec<String>,
    answers: Vec<String>,
    pub(crate) holds: Holds,
    held: Vec<(Vec<u8>, SocketAddr)>,
    /// The status that it refuses REGISTERs with.
    pub(crate) refuses: Option<u16>,
    pub(crate) lists: Lists,
    pub(crate) unregisters: Unregisters,
}

/// It ends when it is dropped.
pub(crate) struct RegistrarBehind {
    pub(crate) address: SocketAddr,
    socket: Arc<UdpSocket>,
    state: Arc<Mutex<State>>,
    _task: JoinSet<()>,
}

pub(crate) fn plain(registered: &[Registered]) -> String {
    let one = |(uri, params, expires): &Registered| format!("Contact: <{uri}>{params};expires={expires}\r\n");
    registered.iter().map(one).collect()
}

impl RegistrarBehind {
    pub(crate) async fn run() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let state = Arc::new(Mutex::new(State {
            contacts: BTreeMap::new(),
            came: Vec::new(),
            answers: Vec::new(),
            holds: Holds::Nothing,
            held: Vec::new(),
            refuses: None,
            lists: Box::new(plain),
            unregisters: Unregisters::Removes,
        }));
        let mut task = JoinSet::new();
        let (receives, keeps) = (Arc::clone(&socket), Arc::clone(&state));
        task.spawn(async move {
            let mut bytes = vec![0; 65_535];
            loop {
                let Ok((read, from)) = receives.recv_from(&mut bytes).await else { continue };
                let answer = keeps.lock().unwrap().receive(&bytes[..read], from);
                if let Some(answer) = answer {
                    receives.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self { address: socket.local_addr().unwrap(), socket, state, _task: task }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The Contact URIs that it has of a user.
    pub(crate) fn contacts(&self, user: &str) -> Vec<String> {
        let state = self.state();
        state.contacts.get(user).into_iter().flatten().map(|(uri, ..)| uri.clone()).collect()
    }

    /// REGISTERs that came, each as `+` or, if it takes something back, `-`.
    pub(crate) fn came(&self) -> String {
        let state = self.state();
        let sign =
            |text: &String| if takes_back(&Message::parse(text.as_bytes()).unwrap()) { '-' } else { '+' };
        state.came.iter().filter(|text| text.starts_with("REGISTER ")).map(sign).collect()
    }

    /// Lets through what waits, and whatever comes.
    pub(crate) async fn release(&self) {
        let answers: Vec<_> = {
            let mut state = self.state();
            state.holds = Holds::Nothing;
            let held = std::mem::take(&mut state.held);
            held.into_iter().filter_map(|(bytes, from)| Some((state.answer(&bytes)?, from))).collect()
        };
        for (answer, from) in answers {
            self.socket.send_to(&answer, from).await.unwrap();
        }
    }

    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !so(self) {
            assert!(begun.elapsed() < PATIENCE, "not {what}: {} {:?}", self.came(), self.state().contacts);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        !self.state().held.is_empty()
    }

    /// Sends a request to a Contact through the server, and gives the status of its final answer.
    pub(crate) async fn ask(&self, sipway: &TestServer, method: &str, contact: &str) -> u16 {
        let number: u64 = rand::random();
        let request = format!(
            "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
             From: <sip:pbx@pbx.test>;tag=1\r\nTo: <{contact}>\r\nCall-ID: {number}\r\nCSeq: 1 {method}\r\n\
             Content-Length: 0\r\n\r\n",
            self.address
        );
        let begun = Instant::now();
        loop {
            self.socket.send_to(request.as_bytes(), sipway.target(Transport::Udp).address).await.unwrap();
            for _ in 0..50 {
                let status = self.state().answers.iter().find_map(|answer| {
                    let answer = Message::parse(answer.as_bytes()).unwrap();
                    let ours = answer.call_id() == Some(number.to_string().as_bytes());
                    answer.status().filter(|&status| ours && status >= 200)
                });
                if let Some(status) = status {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(begun.elapsed() < PATIENCE, "no answer came");
        }
    }
}

fn takes_back(request: &Message<'_>) -> bool {
    let overall = request.expires().ok().flatten();
    let mut contacts = request.contacts();
    contacts.any(|(_, contact)| match contact.unwrap() {
        Contact::Addr(address) => address.expires().or(overall) == Some(0),
        Contact::Star => true,
    })
}

impl State {
    fn receive(&mut self, bytes: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        let message = Message::parse(bytes).unwrap();
        let text = String::from_utf8_lossy(bytes).into_owned();
        if !message.is_request() {
            self.answers.push(text);
            return None;
        }
        let repeated = self.came.contains(&text);
        if !repeated {
            self.came.push(text);
        }
        let waits = message.method().is_some_and(|method| method.as_bytes() == b"REGISTER")
            && match self.holds {
                Holds::Nothing => false,
                Holds::Registers => !takes_back(&message),
                Holds::Unregisters => takes_back(&message),
            };
        if waits {
            if !repeated {
                self.held.push((bytes.to_vec(), from));
            }
            return None;
        }
        self.answer(bytes)
    }

    fn answer(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let request = Message::parse(bytes).unwrap();
        let mut out = Vec::new();
        let mut listed = String::new();
        let mut status = 200;
        match request.method()?.as_bytes() {
            b"ACK" => return None,
            b"REGISTER" => match self.refuses {
                Some(refused) => status = refused,
                None => listed = self.register(&request),
            },
            _ => {}
        }
        ResponseBuilder::new(&request, status, "As Told").to_tag(b"behind").write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (head, _) = text.split_once("\r\nContent-Length").unwrap_or((text.trim_end(), ""));
        Some(format!("{head}\r\n{listed}Content-Length: 0\r\n\r\n").into_bytes())
    }

    fn register(&mut self, request: &Message<'_>) -> String {
        let user = request.to().unwrap().uri().unwrap().unescaped_user().unwrap();
        let user = String::from_utf8(user.to_vec()).unwrap();
        let overall = request.expires().ok().flatten();
        let contacts = self.contacts.entry(user).or_default();
        for (_, contact) in request.contacts() {
            let Contact::Addr(address) = contact.unwrap() else {
                contacts.clear();
                continue;
            };
            let uri = address.uri().unwrap();
            let expires = address.expires().or(overall).unwrap_or(3600);
            if expires == 0 && self.unregisters == Unregisters::RemovesNothing {
                continue;
            }
            contacts.retain(|(known, ..)| !Uri::parse(known.as_bytes()).unwrap().same(&uri));
            if expires > 0 {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let params =
                    address.params().iter().filter(|param| !param.name.eq_ignore_ascii_case(b"expires"));
                let params: String = params.map(|param| format!(";{}", text(param.bytes))).collect();
                contacts.push((text(uri.as_bytes()), params, expires));
            }
        }
        (self.lists)(contacts)
    }
}

/// The value of a header field of a message, for a test to look at.
pub(crate) fn contacts_of(message: &str) -> Vec<String> {
    let message = Message::parse(message.as_bytes()).unwrap();
    message.values(HeaderId::Contact).map(|value| String::from_utf8_lossy(value.bytes).into_owned()).collect()
}
