//! What a registration does, as a user agent and an operator see it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lifecycle::{FlowId, RemovalCause, Transport};
use location::{Binding, BindingHop, Location, Register, RegisterError, SocketPeer, number_of};
use sip_message::Message;
use sip_registrar::{Policy, Refusal, ShortExpiry};

const ALICE: &str = "alice@example.com";
const POLICY: Policy = Policy {
    min_expires: 60,
    shorter: ShortExpiry::Refused,
    max_expires: 3600,
    default_expires: 600,
    max_contacts: 3,
    gruu: sip_registrar::Gruu::Off,
};
const JSSIP_1: &str =
    "Contact: <sip:p1@x.invalid;transport=ws>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires=600";
const JSSIP_2: &str =
    "Contact: <sip:p2@x.invalid;transport=ws>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires=600";
const SIPJS: &str = "Contact: <sip:s1@x.invalid;transport=ws>;expires=600";

fn flow(counter: u64) -> FlowId {
    FlowId { incarnation: 1, counter }
}

/// A table, a clock, and how many rooms were given.
struct Edge {
    location: Location<u32>,
    now: Instant,
    rooms: Cell<u32>,
    cseq: u32,
}

/// What a REGISTER came to: removed contacts with causes, how many were added and refreshed, the 200's
/// Contact.
type Outcome = (Vec<(String, RemovalCause)>, usize, usize, String);

fn contact<R>(binding: &Binding<R>) -> String {
    String::from_utf8_lossy(binding.contact()).into_owned()
}

impl Edge {
    fn new() -> Self {
        Self { location: Location::new(100, &[7; 16]), now: Instant::now(), rooms: Cell::new(0), cseq: 0 }
    }

    fn with_flows(flows: &[u64]) -> Self {
        let mut edge = Self::new();
        for &counter in flows {
            edge.location.flow_opened(flow(counter));
        }
        edge
    }

    fn register_over(
        &mut self,
        way: BindingHop,
        remote: &str,
        headers: &[&str],
    ) -> Result<Outcome, RegisterError<()>> {
        self.cseq += 1;
        let text = format!(
            "REGISTER sip:example.com SIP/2.0\r\nCall-ID: c1\r\nCSeq: {} REGISTER\r\nUser-Agent: JsSIP 3\r\n{}\r\n\r\n",
            self.cseq,
            headers.join("\r\n")
        );
        let request = Message::parse(text.as_bytes()).expect("a whole message");
        let remote: SocketAddr = remote.parse().expect("an address");
        let transport = if matches!(way, BindingHop::Udp { .. }) { Transport::Udp } else { Transport::Wss };
        let register =
            Register { request: &request, aor: ALICE, way, transport, remote, identity: Some("alice") };
        let reserve = || {
            self.rooms.set(self.rooms.get() + 1);
            Ok(self.rooms.get())
        };
        let mut contacts = Vec::new();
        let done = self.location.register(&register, &POLICY, self.now, &mut contacts, reserve)?;
        let (added, refreshed) = (done.added().len(), done.refreshed().len());
        let removed = done.removed.iter().map(|(binding, cause)| (contact(binding), *cause)).collect();
        Ok((removed, added, refreshed, String::from_utf8(contacts).expect("text")))
    }

    fn register(&mut self, counter: u64, headers: &[&str]) -> Result<Outcome, RegisterError<()>> {
        self.register_over(BindingHop::Flow(flow(counter)), "192.0.2.1:4000", headers)
    }

    fn contacts(&self) -> Vec<(String, Option<u64>)> {
        let found = self.location.bindings(ALICE, self.now);
        found.map(|binding| (contact(binding), binding.flow().map(|flow| flow.counter))).collect()
    }
}

#[test]
fn a_reload_that_registers_before_the_old_flow_ends() {
    for (first, second, uri) in
        [(JSSIP_1, JSSIP_2, "sip:p2@x.invalid;transport=ws"), (SIPJS, SIPJS, "sip:s1@x.invalid;transport=ws")]
    {
        let mut edge = Edge::with_flows(&[1, 2]);
        edge.register(1, &[first]).unwrap();
        let (removed, added, refreshed, _) = edge.register(2, &[second]).unwrap();
        assert_eq!((removed[0].1, removed.len(), added, refreshed), (RemovalCause::Replaced, 1, 1, 0));
        assert_eq!(edge.contacts(), [(uri.to_owned(), Some(2))]);
        assert!(edge.location.flow_closed(flow(1)).is_empty(), "a late end touches nothing newer");
        assert_eq!(edge.contacts(), [(uri.to_owned(), Some(2))]);
        let gone = edge.location.flow_closed(flow(2));
        assert_eq!((gone.len(), gone[0].room), (1, 2));
    }
}

#[test]
fn a_reload_that_registers_after_the_old_flow_ended() {
    let mut edge = Edge::with_flows(&[1, 2]);
    edge.register(1, &[JSSIP_1]).unwrap();
    let gone = edge.location.flow_closed(flow(1));
    assert_eq!((gone.len(), gone[0].room, gone[0].aor()), (1, 1, ALICE));
    let (removed, added, ..) = edge.register(2, &[JSSIP_2]).unwrap();
    assert_eq!((removed.len(), added), (0, 1));
    assert_eq!(edge.contacts(), [("sip:p2@x.invalid;transport=ws".to_owned(), Some(2))]);
}

#[test]
fn a_register_that_is_late_leaves_no_ghost() {
    let mut edge = Edge::with_flows(&[1, 2]);
    edge.register(2, &[JSSIP_1]).unwrap();
    assert!(edge.location.flow_closed(flow(1)).is_empty());
    for headers in [SIPJS, JSSIP_2] {
        assert_eq!(edge.register(1, &[headers]).unwrap_err(), RegisterError::FlowNotOpen);
    }
    assert_eq!(edge.register(9, &[SIPJS]).unwrap_err(), RegisterError::FlowNotOpen);
    assert_eq!(edge.rooms.get(), 1, "nothing was reserved for them");
    assert_eq!(edge.contacts().len(), 1);
    // Taking back and asking need no open flow.
    assert_eq!(edge.register(1, &[]).unwrap().3.matches("<sip:").count(), 1);
    let removal = JSSIP_1.replace("expires=600", "expires=0");
    assert_eq!(edge.register(1, &[&removal]).unwrap().0[0].1, RemovalCause::Unregistered);
}

#[test]
fn the_200_lists_everything_with_the_time_left() {
    let mut edge = Edge::with_flows(&[1, 2]);
    let listed = edge.register(1, &[JSSIP_1]).unwrap().3;
    assert_eq!(listed, "<sip:p1@x.invalid;transport=ws>;expires=600;+sip.instance=\"<urn:uuid:1>\";reg-id=1");
    edge.now += Duration::from_millis(100_500);
    let listed = edge.register(2, &["Contact: <sip:s1@x.invalid>;q=0.5;expires=9999"]).unwrap().3;
    assert_eq!(
        listed,
        "<sip:p1@x.invalid;transport=ws>;expires=500;+sip.instance=\"<urn:uuid:1>\";reg-id=1, \
         <sip:s1@x.invalid>;q=0.5;expires=3600"
    );
    assert_eq!(edge.register(2, &[]).unwrap().3, listed);
    let (removed, .., left) = edge.register(2, &["Contact: *", "Expires: 0"]).unwrap();
    assert_eq!((removed.len(), left.as_str()), (2, ""));
    assert!(edge.location.is_empty());
}

#[test]
fn a_refresh_keeps_the_binding_and_its_room() {
    let mut edge = Edge::with_flows(&[1]);
    edge.register(1, &[SIPJS]).unwrap();
    edge.now += Duration::from_secs(500);
    let (removed, added, refreshed, listed) = edge.register(1, &[SIPJS, "Path: <sip:edge;lr>"]).unwrap();
    assert_eq!((removed.len(), added, refreshed), (0, 0, 1));
    assert!(listed.ends_with("expires=600"));
    assert_eq!(edge.location.next_expiry(), Some(edge.now + Duration::from_secs(600)));
    let binding = edge.location.bindings(ALICE, edge.now).next().unwrap();
    assert_eq!((binding.room, binding.cseq(), binding.path()), (1, 2, Some(&b"<sip:edge;lr>"[..])));
    assert_eq!((binding.user_agent(), binding.identity()), (Some("JsSIP 3"), Some("alice")));
    assert_eq!((binding.instance(), binding.reg_id(), binding.q()), (None, None, None));
    assert_eq!((binding.call_id(), binding.transport()), (&b"c1"[..], Transport::Wss));
}

#[test]
fn path_values_become_one_line() {
    let mut edge = Edge::with_flows(&[1]);
    edge.register(1, &[SIPJS, "Path: <sip:a;lr>\r\n ;x=1, <sip:b;lr>", "Path: <sip:c;lr>"]).unwrap();
    let binding = edge.location.bindings(ALICE, edge.now).next().unwrap();
    assert_eq!(
        binding.path().map(String::from_utf8_lossy).as_deref(),
        Some("<sip:a;lr>   ;x=1, <sip:b;lr>, <sip:c;lr>")
    );
}

#[test]
fn highest_q_first_then_the_newest() {
    let mut edge = Edge::with_flows(&[1]);
    edge.register(1, &["Contact: <sip:a@h>;q=0.5, <sip:b@h>;q=0.5, <sip:c@h>"]).unwrap();
    let order = |edge: &Edge| edge.contacts().into_iter().map(|(uri, _)| uri).collect::<Vec<_>>().join(" ");
    assert_eq!(order(&edge), "sip:c@h sip:a@h sip:b@h");
    edge.register(1, &["Contact: <sip:b@h>;q=0.5"]).unwrap();
    assert_eq!(order(&edge), "sip:c@h sip:b@h sip:a@h");
    edge.register(1, &["Contact: <sip:c@h>;q=0.1"]).unwrap();
    assert_eq!(order(&edge), "sip:b@h sip:a@h sip:c@h");
}

#[test]
fn nothing_is_changed_when_anything_fails() {
    let mut edge = Edge::with_flows(&[1]);
    edge.register(1, &[SIPJS]).unwrap();
    edge.cseq = 0;
    let late = edge.register(1, &["Contact: <sip:n@h>, <sip:s1@x.invalid;transport=ws>"]);
    assert_eq!(late.unwrap_err(), RegisterError::Refused(Refusal::OutOfOrder));
    let over = edge.register(1, &["Contact: <sip:a@h>, <sip:b@h>, <sip:c@h>"]);
    assert_eq!(over.unwrap_err(), RegisterError::Refused(Refusal::TooManyContacts { max_contacts: 3 }));
    assert_eq!(edge.contacts().len(), 1);

    // The second reservation fails, so not even the removal in front of it is done.
    let text = "REGISTER sip:h SIP/2.0\r\nCall-ID: c2\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:s1@x.invalid;transport=ws>;expires=0, <sip:a@h>, <sip:b@h>\r\n\r\n";
    let register = Register {
        request: &Message::parse(text.as_bytes()).unwrap(),
        aor: ALICE,
        way: BindingHop::Flow(flow(1)),
        transport: Transport::Ws,
        remote: SocketAddr::from(([192, 0, 2, 1], 1)),
        identity: None,
    };
    let mut contacts = Vec::new();
    let mut calls = 0;
    let failed = edge.location.register(&register, &POLICY, edge.now, &mut contacts, || {
        calls += 1;
        if calls == 2 { Err("full") } else { Ok(7) }
    });
    assert_eq!(failed.unwrap_err(), RegisterError::NoRoom("full"));
    assert!(contacts.is_empty());
    assert_eq!(edge.contacts(), [("sip:s1@x.invalid;transport=ws".to_owned(), Some(1))]);
}

#[test]
fn the_table_has_an_end() {
    let mut edge = Edge::with_flows(&[1]);
    edge.location = Location::new(2, &[7; 16]);
    edge.location.flow_opened(flow(1));
    edge.register(1, &["Contact: <sip:a@h>, <sip:b@h>"]).unwrap();
    assert_eq!(edge.register(1, &["Contact: <sip:c@h>"]).unwrap_err(), RegisterError::Full(2));
    edge.register(1, &["Contact: <sip:c@h>, <sip:a@h>;expires=0"]).unwrap();
    edge.register(1, &["Contact: <sip:b@h>, <sip:c@h>"]).unwrap();
    // What has ended makes way.
    edge.now += Duration::from_secs(601);
    let (removed, added, ..) = edge.register(1, &["Contact: <sip:d@h>, <sip:b@h>"]).unwrap();
    assert_eq!((removed.len(), added), (2, 2));
    assert!(removed.iter().all(|(_, cause)| *cause == RemovalCause::Expired));
}

#[test]
fn a_udp_binding_goes_with_its_remote_address() {
    let mut edge = Edge::new();
    let udp = BindingHop::Udp { listener: 0 };
    let phone = "Contact: <sip:alice@10.0.0.5:5060>";
    edge.register_over(udp, "192.0.2.1:5060", &[phone]).unwrap();
    assert_eq!(edge.register_over(udp, "192.0.2.1:5060", &[phone]).unwrap().2, 1);
    let moved = edge.register_over(udp, "192.0.2.1:7000", &[phone]).unwrap();
    assert_eq!((moved.0[0].1, moved.1), (RemovalCause::Replaced, 1));
    let moved = edge.register_over(BindingHop::Udp { listener: 1 }, "192.0.2.1:7000", &[phone]).unwrap();
    assert_eq!((moved.0[0].1, moved.1), (RemovalCause::Replaced, 1));
    let binding = edge.location.bindings(ALICE, edge.now).next().unwrap();
    assert_eq!((binding.remote().port(), binding.flow()), (7000, None));
    assert_eq!(edge.location.take_unowned(10).len(), 1);
    assert!(edge.location.is_empty());
}

#[test]
fn what_belongs_to_no_flow_is_put_back_as_it_was() {
    let phone = "Path: <sip:p1;lr>, <sip:p2;lr>\r\nContact: <sip:a@h;x=1>;q=0.3;expires=600;+sip.instance=\"<urn:x>\";reg-id=2";
    let mut edge = Edge::with_flows(&[1]);
    edge.register_over(BindingHop::Udp { listener: 3 }, "[2001:db8::1]:5060", &[phone]).unwrap();
    edge.register(1, &[SIPJS]).unwrap();
    let kept: Vec<_> = edge.location.bindings(ALICE, edge.now).filter_map(Binding::kept).collect();
    let [kept] = kept.as_slice() else { panic!("the one over UDP alone: {kept:?}") };

    let mut next = Edge::new();
    next.location.restore(kept, 7).unwrap();
    let binding = next.location.bindings(ALICE, next.now).next().unwrap();
    assert_eq!((binding.kept().as_ref(), binding.room), (Some(kept), 7));
    assert_eq!(binding.path(), Some(&b"<sip:p1;lr>, <sip:p2;lr>"[..]));
    assert_eq!(next.location.next_expiry(), Some(kept.expires));
    // It is the same binding to its user agent: what is older than its last REGISTER is refused, what is
    // newer refreshes it.
    assert!(matches!(
        next.register_over(BindingHop::Udp { listener: 3 }, "[2001:db8::1]:5060", &[phone]),
        Err(RegisterError::Refused(Refusal::OutOfOrder))
    ));
    next.cseq = 10;
    let done = next.register_over(BindingHop::Udp { listener: 3 }, "[2001:db8::1]:5060", &[phone]).unwrap();
    assert_eq!((done.0.len(), done.1, done.2), (0, 0, 1));

    let mut full = Edge::new();
    full.location = Location::new(0, &[7; 16]);
    assert_eq!(full.location.restore(kept, 9), Err(9));
    let endless = location::StoredBinding { user_agent: "x".repeat(70_000), ..kept.clone() };
    assert_eq!(next.location.restore(&endless, 9), Err(9));
}

#[test]
fn bindings_end_at_their_time_and_not_before() {
    let mut edge = Edge::with_flows(&[1]);
    edge.register(1, &["Contact: <sip:a@h>;expires=60, <sip:b@h>;expires=70, <sip:c@h>;expires=80"]).unwrap();
    let start = edge.now;
    assert_eq!(edge.location.next_expiry(), Some(start + Duration::from_secs(60)));
    assert!(edge.location.expire(start + Duration::from_millis(59_999), 10).is_empty());
    edge.now = start + Duration::from_secs(70);
    assert_eq!(edge.contacts(), [("sip:c@h".to_owned(), Some(1))], "ended ones are not found any more");
    let first = edge.location.expire(edge.now, 1);
    assert_eq!(contact(&first[0]), "sip:a@h");
    assert_eq!(contact(&edge.location.expire(edge.now, 10)[0]), "sip:b@h");
    assert_eq!(edge.location.flow_closed(flow(1)).len(), 1);
    assert_eq!(edge.location.next_expiry(), None);
}

#[test]
fn many_users_on_one_flow() {
    let mut edge = Edge::with_flows(&[1]);
    edge.location = Location::new(20_000, &[7; 16]);
    edge.location.flow_opened(flow(1));
    for user in 0..20_000 {
        let text = format!(
            "REGISTER sip:h SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nContact: <sip:{user}@trunk>\r\n\r\n"
        );
        let register = Register {
            request: &Message::parse(text.as_bytes()).unwrap(),
            aor: &format!("{user}@h"),
            way: BindingHop::Flow(flow(1)),
            transport: Transport::Tcp,
            remote: SocketAddr::from(([192, 0, 2, 1], 1)),
            identity: None,
        };
        let mut contacts = Vec::new();
        let done = edge.location.register(&register, &POLICY, edge.now, &mut contacts, || Ok::<_, ()>(user));
        assert_eq!(done.unwrap().added().len(), 1);
    }
    assert_eq!(edge.location.bindings_of_flow(flow(1)).count(), 20_000);
    let mut rooms: Vec<_> = edge.location.flow_closed(flow(1)).iter().map(|binding| binding.room).collect();
    rooms.sort_unstable();
    assert!(rooms.into_iter().eq(0..20_000));
}

/// What a token names by it must be found after a restart, and by nobody who does not know the secret.
#[test]
fn a_number_leads_to_an_address_of_record_in_every_run() {
    let mut edge = Edge::with_flows(&[1, 2]);
    let number = number_of(&[7; 16], ALICE);
    assert_eq!(edge.location.bindings_of_number(number, edge.now).count(), 0);
    edge.register_over(BindingHop::Flow(flow(1)), "192.0.2.1:1", &[JSSIP_1]).unwrap();
    edge.register_over(BindingHop::Flow(flow(2)), "192.0.2.2:2", &[SIPJS]).unwrap();
    let found: Vec<String> = edge.location.bindings_of_number(number, edge.now).map(contact).collect();
    assert_eq!(found, edge.location.bindings(ALICE, edge.now).map(contact).collect::<Vec<_>>());
    assert_eq!(found.len(), 2);
    let bob = number_of(&[7; 16], "bob@example.com");
    assert!(bob != number && edge.location.bindings_of_number(bob, edge.now).next().is_none());
    assert_ne!(number_of(&[8; 16], ALICE), number);
    let later = edge.now + Duration::from_secs(600);
    assert_eq!(edge.location.bindings_of_number(number, later).count(), 0, "they have ended");
}

#[test]
fn who_is_at_a_socket_is_the_user_agent_unless_the_register_came_through_a_proxy() {
    let mut edge = Edge::with_flows(&[1]);
    let via = "Via: SIP/2.0/WS p.test;branch=z9hG4bK1, SIP/2.0/UDP a.test;branch=z9hG4bK2";
    for (more, peer) in [
        ("Via: SIP/2.0/WS a.test;branch=z9hG4bK1", SocketPeer::UserAgent),
        (via, SocketPeer::Proxy),
        ("Path: <sip:p.test;lr>", SocketPeer::Proxy),
        ("Via: SIP/2.0/WS a.test;branch=z9hG4bK1", SocketPeer::UserAgent),
    ] {
        edge.register_over(BindingHop::Flow(flow(1)), "192.0.2.1:1", &[SIPJS, more]).unwrap();
        let binding = edge.location.bindings(ALICE, edge.now).next().unwrap();
        assert_eq!(binding.socket_peer(), peer, "{more}");
    }
}

/// At the end of the process bindings over UDP go in parts, so that no lock is held for long.
#[test]
fn bindings_over_udp_are_taken_a_few_at_a_time() {
    let mut edge = Edge::new();
    let udp = BindingHop::Udp { listener: 0 };
    for port in 5060..5063 {
        let phone = format!("Contact: <sip:alice@10.0.0.5:{port}>");
        edge.register_over(udp, &format!("192.0.2.1:{port}"), &[&phone]).unwrap();
    }
    assert_eq!((edge.location.len(), edge.location.aors()), (3, 1));
    assert!(!edge.location.is_empty());
    assert_eq!(edge.location.take_unowned(2).len(), 2);
    assert_eq!((edge.location.len(), edge.location.aors()), (1, 1));
    assert_eq!(edge.location.take_unowned(2).len(), 1);
    assert_eq!((edge.location.len(), edge.location.aors()), (0, 0));
}
