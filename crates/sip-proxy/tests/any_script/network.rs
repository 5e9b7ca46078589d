//! Peers around a proxy, and the wires to them, in virtual time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use sip_message::{Message, Method};

use crate::fake_network::{Stage, flows, hops, request, response_with, target, values, within};

/// What happens from outside.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Ask { from: u32, method: &'static str, user: u8 },
    Cancel { which: proptest::sample::Index },
    Repeat { which: proptest::sample::Index },
    Damage { from: u32, seed: u64 },
    End { hop: u32 },
}

/// What is on its way.
enum Due {
    Act(Act),
    ToProxy(u32, String),
    ToPeer(u32, String),
    /// A peer says something at last.
    Says(u32, String),
    /// A caller without an answer repeats itself.
    Again(usize),
}

/// A request that a peer sent, and what it heard.
struct Asked {
    from: u32,
    method: &'static str,
    text: String,
    reached_proxy: bool,
    /// Somebody kept silent, or a datagram may have been lost, so that there may be no answer to a
    /// non-INVITE.
    excused: bool,
    heard: bool,
    /// Different final responses that the proxy sent.
    failures: BTreeSet<String>,
    successes: BTreeSet<String>,
}

/// An INVITE as one callee got it.
#[derive(Default)]
struct Fork {
    hop: u32,
    text: String,
    last: Option<String>,
    ignores_cancel: bool,
    final_sent: bool,
    /// Of what the callee said, as it reached the proxy.
    provisional_arrived: bool,
    final_arrived: bool,
    cancels: BTreeSet<String>,
    cancelled_at: Option<Instant>,
    /// It was answered with 200 while its transaction was there.
    answered: bool,
}

pub(crate) struct Network {
    stage: Stage,
    queue: BTreeMap<(Instant, u64), Due>,
    count: u64,
    random: u64,
    /// Connections deliver in order.
    last_on: BTreeMap<(u32, bool), Instant>,
    asked: Vec<Asked>,
    forks: BTreeMap<String, Fork>,
    /// When each INVITE was first sent on.
    forked: BTreeMap<String, Instant>,
    asks_of_others: BTreeSet<String>,
    /// Call-ID and To of what the proxy itself acknowledged and hung up, and the branch of the latter.
    acknowledged: BTreeSet<(String, String)>,
    hung_up: BTreeSet<(String, String, String)>,
}

fn is_datagram(hop: u32) -> bool {
    hop >= 100
}

/// What distinguishes one side's part in a transaction.
fn branch(text: &str) -> String {
    let via = values(text, "Via")[0];
    via.split("branch=").nth(1).unwrap_or_default().split(';').next().unwrap_or_default().to_owned()
}

fn method(text: &str) -> &str {
    values(text, "CSeq")[0].split(' ').nth(1).unwrap_or_default()
}

/// Call-ID and To.
fn dialog(text: &str) -> (String, String) {
    (values(text, "Call-ID")[0].to_owned(), values(text, "To")[0].to_owned())
}

fn status(text: &str) -> u16 {
    text.get(8..11).and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let mut stage = Stage::new();
        // Nobody, one, several at once, one after another, over both kinds of transport, and oneself.
        stage.user("u0", &[]);
        stage.user("u1", &[2]);
        stage.user("u2", &[2, 3, 101]);
        stage.user_at(
            "u3",
            [(3, 900), (4, 900), (5, 300), (102, 100)]
                .map(|(hop, q)| sip_proxy::Target { q, ..target(hop) })
                .to_vec(),
        );
        stage.user("u4", &[101, 102]);
        stage.user("u5", &[1, 103]);
        // Two user agents, one with several flows; and one of several servers.
        stage.network.patience = Some(Duration::from_secs(10));
        let flow = |hop, alternatives: &[u32]| sip_proxy::Target {
            alternatives: flows(alternatives),
            ..target(hop)
        };
        stage.user_at("u6", vec![flow(2, &[103, 4]), flow(5, &[])]);
        stage.user_at("u7", vec![sip_proxy::Target { alternatives: hops(&[3, 101]), ..target(102) }]);
        // Where redirections lead: to one, to one after the other, to whoever may redirect again.
        for user in ["u1", "u3", "u6"] {
            let targets = stage.network.users[user.as_bytes()].clone();
            stage.network.redirects.insert(format!("sip:{user}@edge.test"), targets);
        }
        Self {
            stage,
            queue: BTreeMap::new(),
            count: 0,
            random: seed,
            last_on: BTreeMap::new(),
            asked: Vec::new(),
            forks: BTreeMap::new(),
            forked: BTreeMap::new(),
            asks_of_others: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            hung_up: BTreeSet::new(),
        }
    }

    fn chance(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 33) % below
    }

    fn due(&mut self, at: Instant, due: Due) {
        self.count += 1;
        self.queue.insert((at, self.count), due);
    }

    pub(crate) fn plan(&mut self, at: u64, act: Act) {
        self.due(self.stage.start + Duration::from_millis(at), Due::Act(act));
    }

    /// On the wire after a while: datagrams may be lost, doubled and overtaken.
    fn wire(&mut self, hop: u32, text: String, towards_proxy: bool) {
        let copies = match self.chance(10) {
            0 | 1 if is_datagram(hop) => 0,
            2 if is_datagram(hop) => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let mut at = self.stage.now + Duration::from_millis(1 + self.chance(80));
            if !is_datagram(hop) {
                let last = self.last_on.entry((hop, towards_proxy)).or_insert(at);
                at = at.max(*last);
                *last = at;
            }
            let due =
                if towards_proxy { Due::ToProxy(hop, text.clone()) } else { Due::ToPeer(hop, text.clone()) };
            self.due(at, due);
        }
    }

    pub(crate) fn run(&mut self) {
        loop {
            let wire = self.queue.first_key_value().map(|(&(at, _), _)| at);
            let timer = self.stage.proxy.next_deadline();
            match (wire, timer) {
                (Some(wire), timer) if timer.is_none_or(|timer| wire <= timer) => {
                    self.stage.now = self.stage.now.max(wire);
                    let (_, due) = self.queue.pop_first().expect("just seen");
                    self.happen(due);
                }
                (_, Some(timer)) => {
                    self.stage.now = self.stage.now.max(timer);
                    self.stage.proxy.expire(&mut self.stage.network, self.stage.now);
                }
                (_, None) => return,
            }
            self.collect();
            assert!(self.stage.now < self.stage.start + Duration::from_secs(3600), "it never comes to rest");
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Act(Act::Ask { from, method, user }) => self.ask(from, method, user),
            Due::Act(Act::Cancel { which }) => {
                if let Some(asked) = self.choose(which) {
                    let (from, text) = (asked.from, within("CANCEL", &asked.text, None));
                    self.wire(from, text, true);
                }
            }
            Due::Act(Act::Repeat { which }) => {
                // Later, or over a connection that repeats nothing, it would be a new transaction.
                if let Some(asked) = self.choose(which)
                    && asked.failures.is_empty()
                    && asked.successes.is_empty()
                    && (asked.method == "INVITE" || is_datagram(asked.from))
                {
                    let (from, text) = (asked.from, asked.text.clone());
                    self.wire(from, text, true);
                }
            }
            Due::Act(Act::Damage { from, seed }) => {
                let mut text = request("INVITE", "u1", "damaged").into_bytes();
                let at = seed as usize % text.len();
                text[at] = (seed >> 32) as u8;
                if Message::parse(&text).is_err() {
                    // What is due by now, such as a repeat, is no answer to it.
                    self.stage.pass(Duration::ZERO);
                    self.collect();
                    self.stage.receive_bytes(from, &text);
                    // The answer repeats what could be read, damage and all.
                    let sent = self.stage.sent();
                    assert!(sent.len() <= 1 && sent.iter().all(|(on, _)| *on == from), "{sent:?}");
                }
            }
            Due::Act(Act::End { hop }) => self.stage.end(hop),
            Due::ToProxy(hop, text) => {
                if !self.stage.network.gone.contains(&hop) {
                    self.arrives(&text);
                    self.stage.receive(hop, &text);
                }
            }
            Due::ToPeer(hop, text) => {
                if !self.stage.network.gone.contains(&hop) {
                    self.peer(hop, &text);
                }
            }
            Due::Says(hop, text) => self.wire(hop, text, true),
            Due::Again(which) => {
                let asked = &self.asked[which];
                if !asked.heard {
                    let (from, text) = (asked.from, asked.text.clone());
                    self.wire(from, text, true);
                }
            }
        }
    }

    fn choose(&self, which: proptest::sample::Index) -> Option<&Asked> {
        (!self.asked.is_empty()).then(|| which.get(&self.asked))
    }

    fn ask(&mut self, from: u32, method: &'static str, user: u8) {
        let number = self.asked.len();
        let text = request(method, &format!("u{user}"), &format!("n{number}x"));
        self.asked.push(Asked {
            from,
            method,
            text: text.clone(),
            reached_proxy: false,
            excused: false,
            heard: false,
            failures: BTreeSet::new(),
            successes: BTreeSet::new(),
        });
        self.wire(from, text, true);
        if is_datagram(from) {
            for millis in [500, 1500, 3500, 7500] {
                self.due(self.stage.now + Duration::from_millis(millis), Due::Again(number));
            }
        }
    }

    /// Notes what reaches the proxy.
    fn arrives(&mut self, text: &str) {
        if !text.starts_with("SIP/2.0") {
            if let Some(asked) = self.asked.iter_mut().find(|asked| asked.text == text) {
                asked.reached_proxy = true;
            }
        } else if let (Some(fork), "INVITE") = (self.forks.get_mut(&branch(text)), method(text)) {
            // Timer B: nobody waits for the first word any more.
            let late = self.stage.now >= self.forked[&branch(text)] + Duration::from_secs(32);
            let given_up = fork.cancelled_at.is_some_and(|at| self.stage.now >= at + Duration::from_secs(32));
            let over = given_up || (late && !fork.provisional_arrived) || fork.final_arrived;
            match status(text) {
                ..200 if late => {}
                ..200 => fork.provisional_arrived = true,
                status => {
                    fork.answered |= status == 200 && !over;
                    fork.final_arrived = true;
                }
            }
        }
    }

    /// Judges what the proxy sent, and puts it on the wires.
    fn collect(&mut self) {
        for (hop, bytes) in std::mem::take(&mut self.stage.network.sent) {
            let message = Message::parse(&bytes).expect("what is forwarded parses");
            if message.is_request() {
                message.check_request().expect("what is forwarded is valid");
            } else {
                message.check_response().expect("what is forwarded is valid");
            }
            let text = String::from_utf8(bytes.clone()).expect("all of it was text");
            if message.is_request() {
                self.check_request(&message, &text);
            } else {
                self.check_response(hop, &text);
            }
            self.wire(hop, text, false);
        }
    }

    fn check_request(&mut self, message: &Message<'_>, text: &str) {
        let vias = values(text, "Via");
        if message.method() == Some(Method::Invite) {
            self.forked.entry(branch(text)).or_insert(self.stage.now);
        }
        assert!(vias[0].contains("edge.test;branch=z9hG4bKsw"), "{text}");
        match message.method() {
            Some(Method::Cancel) => {
                assert_eq!(vias.len(), 1);
                let fork = self.forks.get_mut(&branch(text)).expect("an INVITE was sent before");
                assert!(fork.provisional_arrived, "CANCEL before a provisional response");
                fork.cancels.insert(text.to_owned());
                fork.cancelled_at.get_or_insert(self.stage.now);
                assert_eq!(fork.cancels.len(), 1, "one CANCEL, repeated as it is");
            }
            Some(Method::Ack) if vias.len() == 1 => match self.forks.get(&branch(text)) {
                Some(fork) => assert!(fork.final_arrived),
                None => drop(self.acknowledged.insert(dialog(text))),
            },
            Some(Method::Bye) if vias.len() == 1 => {
                let (call, to) = dialog(text);
                assert!(
                    self.acknowledged.contains(&(call.clone(), to.clone())),
                    "acknowledged first: {text}"
                );
                self.hung_up.insert((call, to, branch(text)));
            }
            // A subscription of somebody who has gone.
            Some(Method::Subscribe) if vias.len() == 1 => assert_eq!(values(text, "Expires"), ["0"]),
            _ => {
                assert_eq!(vias.len(), 2, "{text}");
                let call = values(text, "Call-ID")[0];
                let asked = self.asked.iter().find(|asked| values(&asked.text, "Call-ID")[0] == call);
                let asked = asked.expect("somebody asked for it");
                let came = Message::parse(asked.text.as_bytes()).expect("sound");
                if message.method() != Some(Method::Ack) {
                    assert_eq!(message.body(), came.body());
                    let own = values(&asked.text, "Via")[0];
                    assert_eq!(vias[1], own, "our Via is pushed, the sender's is as it was");
                    assert_eq!(values(text, "Max-Forwards"), ["69"]);
                }
            }
        }
    }

    fn check_response(&mut self, hop: u32, text: &str) {
        assert_eq!(values(text, "Via").len(), 1, "our Via is taken off: {text}");
        if status(text) < 200 || method(text) == "CANCEL" {
            assert!(method(text) == "INVITE" || status(text) == 100 || status(text) >= 200, "{text}");
            return;
        }
        let via = values(text, "Via")[0];
        let asked = self.asked.iter_mut().find(|asked| values(&asked.text, "Via")[0] == via);
        let asked = asked.expect("somebody asked for it");
        assert_eq!(asked.from, hop, "the answer goes where the request came from");
        if asked.method != "INVITE" {
            assert_ne!(status(text), 408, "RFC 4320 §4.2");
        }
        match status(text) {
            ..300 => asked.successes.insert(text.to_owned()),
            _ => asked.failures.insert(text.to_owned()),
        };
    }

    /// A peer hears something.
    fn peer(&mut self, hop: u32, text: &str) {
        if text.starts_with("SIP/2.0") {
            self.hears(hop, text);
        } else if text.starts_with("INVITE") {
            self.rings(hop, text);
        } else if text.starts_with("CANCEL") {
            self.is_cancelled(hop, text);
        } else if text.starts_with("ACK") {
            if let Some(tag) = values(text, "To")[0].split("tag=h").nth(1) {
                assert_eq!(tag.parse(), Ok(hop), "an ACK reaches who took the call");
            }
        } else {
            self.is_asked(hop, text);
        }
    }

    fn hears(&mut self, hop: u32, text: &str) {
        let via = values(text, "Via")[0];
        let Some(asked) = self.asked.iter_mut().find(|asked| values(&asked.text, "Via")[0] == via) else {
            return;
        };
        asked.heard = true;
        if asked.method != "INVITE" || method(text) != "INVITE" || status(text) < 200 {
            return;
        }
        let to = values(text, "To")[0];
        let ack = if status(text) >= 300 {
            within("ACK", &asked.text, Some(to))
        } else {
            let routes: Vec<_> = values(text, "Record-Route").into_iter().rev().collect();
            let tag = to.split("tag=h").nth(1).expect("a callee's tag");
            within("ACK", &asked.text, Some(to))
                .replacen("ACK sip:", &format!("ACK sip:h{tag}-"), 1)
                .replace("branch=z9hG4bK", "branch=z9hG4bKack")
                .replacen("Max-Forwards", &format!("Route: {}\r\nMax-Forwards", routes.join(", ")), 1)
        };
        self.wire(hop, ack, true);
    }

    /// A callee's answer, its tag telling who it is.
    fn says(&mut self, hop: u32, to: &str, status: u16, after: u64) -> String {
        let contacts = ["u1", "u3", "u6", "elsewhere"].map(|user| format!("<sip:{user}@edge.test>"));
        let contacts = match status {
            302 => format!("Contact: {}\r\n", contacts[self.chance(4) as usize..].join(", ")),
            _ => String::new(),
        };
        let text = response_with(to, status, "Whatever", &contacts).replace("tag=b2", &format!("tag=h{hop}"));
        self.due(self.stage.now + Duration::from_millis(after), Due::Says(hop, text.clone()));
        text
    }

    fn rings(&mut self, hop: u32, text: &str) {
        let branch = branch(text);
        if let Some(fork) = self.forks.get(&branch) {
            if let Some(last) = fork.last.clone() {
                self.wire(hop, last, true);
            }
            return;
        }
        let mut fork = Fork { hop, text: text.to_owned(), ..Fork::default() };
        fork.ignores_cancel = self.chance(5) == 0;
        let kind = self.chance(8);
        let first = self.chance(20_000);
        if kind != 0 && kind != 7 {
            let status = [100, 180, 183][self.chance(3) as usize];
            fork.last = Some(self.says(hop, text, status, first));
        }
        if kind >= 3 {
            let after = first + 1 + self.chance(30_000);
            let status = [200, 200, 486, 603, 302, 302, 401, 503, 404, 430, 408][self.chance(11) as usize];
            fork.last = Some(self.says(hop, text, status, after));
            fork.final_sent = true;
            if status == 200 {
                for pause in [500, 1500, 3500] {
                    self.says(hop, text, status, after + pause);
                }
            }
        }
        self.forks.insert(branch, fork);
    }

    fn is_cancelled(&mut self, hop: u32, text: &str) {
        let answer = if self.forks.contains_key(&branch(text)) { 200 } else { 481 };
        let Some(fork) = self.forks.get_mut(&branch(text)) else { return };
        if fork.ignores_cancel {
            return;
        }
        let ends = !std::mem::replace(&mut fork.final_sent, true);
        let invite = fork.text.clone();
        self.says(hop, text, answer, 0);
        if ends {
            let last = self.says(hop, &invite, 487, 5);
            if let Some(fork) = self.forks.get_mut(&branch(text)) {
                fork.last = Some(last);
            }
        }
    }

    fn is_asked(&mut self, hop: u32, text: &str) {
        let again = !self.asks_of_others.insert(branch(text));
        let call = values(text, "Call-ID")[0];
        let kind = self.chance(10);
        if let Some(asked) = self.asked.iter_mut().find(|asked| values(&asked.text, "Call-ID")[0] == call)
            && (kind < 3 || again || is_datagram(hop))
        {
            asked.excused = true;
        }
        let after = self.chance(4000);
        match kind {
            0 => {}
            1 => drop(self.says(hop, text, 408, after)),
            2 => drop(self.says(hop, text, 180, after)),
            3 => drop(self.says(hop, text, 404, after)),
            4 => drop(self.says(hop, text, 503, after)),
            5 => drop(self.says(hop, text, 430, after)),
            6 => drop(self.says(hop, text, 302, after)),
            _ => drop(self.says(hop, text, 200, after)),
        }
    }

    /// After everything has come to rest.
    pub(crate) fn judge(mut self) {
        self.stage.settles();
        let gone = self.stage.network.gone.clone();
        for asked in &self.asked {
            let (failures, successes) = (asked.failures.len(), asked.successes.len());
            let said = || format!("{} {:?} {:?}", asked.text, asked.failures, asked.successes);
            assert!(failures == 0 || successes == 0, "one kind of answer: {}", said());
            assert!(failures <= 1, "one failure: {}", said());
            if asked.method != "INVITE" {
                assert!(successes <= 1, "one success: {}", said());
            }
            let owed = asked.reached_proxy
                && !gone.contains(&asked.from)
                && (asked.method == "INVITE" || !asked.excused && gone.is_empty());
            assert!(!owed || failures + successes > 0, "an answer is owed: {}", said());
        }
        for fork in self.forks.values().filter(|fork| !gone.contains(&fork.hop)) {
            assert!(
                !fork.provisional_arrived || fork.final_arrived || !fork.cancels.is_empty(),
                "it rings for ever: {}",
                fork.text
            );
        }
        for fork in self.forks.values().filter(|fork| fork.answered && !gone.contains(&fork.hop)) {
            let (call, to) = dialog(&fork.text);
            let dialog = (call, format!("{to};tag=h{}", fork.hop));
            let mut heard = self.asked.iter().flat_map(|asked| &asked.successes);
            let heard = heard.any(|text| self::dialog(text) == dialog);
            assert!(heard || self.acknowledged.contains(&dialog), "nobody acknowledges it: {}", fork.text);
        }
        for dialog in &self.acknowledged {
            let byes = self.hung_up.iter().filter(|(call, to, _)| (call, to) == (&dialog.0, &dialog.1));
            assert!(byes.count() >= 1, "acknowledged and left: {dialog:?}");
        }
        // What was damaged is answered, too.
        assert!(
            self.stage.network.attempts.len() <= 40 * (self.asked.len() + 1),
            "a hop that is gone is not to be tried for ever"
        );
    }
}
