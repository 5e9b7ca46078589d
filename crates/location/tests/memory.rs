//! What a registered flow costs.

use std::net::SocketAddr;
use std::time::Instant;

use lifecycle::{FlowId, Transport};
use location::{BindingHop, Location, Register};
use sip_message::Message;
use sip_registrar::Policy;

/// As large as a reservation in the ledger: a shared pointer and two counts.
type Room = [u64; 3];

const FLOWS: u64 = 10_000;

/// What JsSIP sends, with lengths as in life.
fn register(location: &mut Location<Room>, counter: u64, now: Instant) {
    let flow = FlowId { incarnation: 7, counter };
    location.flow_opened(flow);
    let text = format!(
        "REGISTER sip:example.com SIP/2.0\r\nCall-ID: k3j8d7ha9s0f1g2h3{counter:05}\r\nCSeq: 2 REGISTER\r\n\
         User-Agent: JsSIP 3.13.8\r\nContact: <sip:u{counter:06}x@9f8e7d6c5b4a.invalid;transport=ws>;\
         +sip.instance=\"<urn:uuid:{counter:08}-1c2d-4e3f-8a9b-0c1d2e3f4a5b>\";reg-id=1;expires=600\r\n\r\n"
    );
    let register = Register {
        request: &Message::parse(text.as_bytes()).expect("a whole message"),
        aor: &format!("user{counter:06}@example.com"),
        way: BindingHop::Flow(flow),
        transport: Transport::Wss,
        remote: SocketAddr::from(([192, 0, 2, 1], 4000)),
        identity: Some(&format!("user{counter:06}")),
    };
    let mut contacts = Vec::with_capacity(256);
    let done = location.register(&register, &Policy::default(), now, &mut contacts, || Ok::<_, ()>([0; 3]));
    assert!(done.is_ok());
}

#[test]
fn a_registered_flow_takes_less_than_600_bytes() {
    let now = Instant::now();
    let mut location = Location::new(usize::MAX, &[7; 16]);
    let grown = allocation_counter::measure(|| {
        for counter in 0..FLOWS {
            register(&mut location, counter, now);
        }
    });
    let flows = i64::try_from(FLOWS).expect("few");
    println!(
        "{FLOWS} registered flows: {} bytes and {:.2} allocations each; binding {} bytes, of which room {}",
        grown.bytes_current / flows,
        grown.count_current as f64 / flows as f64,
        size_of::<location::Binding<Room>>(),
        size_of::<Room>(),
    );
    assert!((100..600).contains(&(grown.bytes_current / flows)));
    let grown = allocation_counter::measure(|| {
        for counter in 0..FLOWS {
            assert_eq!(location.flow_closed(FlowId { incarnation: 7, counter }).len(), 1);
        }
    });
    assert!(grown.count_current < 0 && location.is_empty());
}
