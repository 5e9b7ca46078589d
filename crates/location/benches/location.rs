//! What registering, refreshing, looking up and closing cost in a table of few and of many flows.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use lifecycle::{FlowId, Transport};
use location::{BindingHop, Location, Register};
use sip_message::Message;
use sip_registrar::Policy;

fn flow(counter: u64) -> FlowId {
    FlowId { incarnation: 1, counter }
}

fn text(user: u64, cseq: u32) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\nCall-ID: k3j8d7ha9s0f1g2h3{user}\r\nCSeq: {cseq} REGISTER\r\n\
         User-Agent: JsSIP 3.13.8\r\nContact: <sip:u{user:06}x@9f8e7d6c5b4a.invalid;transport=ws>;\
         +sip.instance=\"<urn:uuid:{user:08}-1c2d-4e3f-8a9b-0c1d2e3f4a5b>\";reg-id=1;expires=600\r\n\r\n"
    )
}

fn aor(user: u64) -> String {
    format!("user{user:06}@example.com")
}

fn register(location: &mut Location<[u64; 3]>, user: u64, over: FlowId, cseq: u32, now: Instant) {
    let text = text(user, cseq);
    let request = Message::parse(text.as_bytes()).expect("a whole message");
    register_parsed(location, &request, &aor(user), over, now);
}

fn register_parsed(
    location: &mut Location<[u64; 3]>,
    request: &Message<'_>,
    aor: &str,
    over: FlowId,
    now: Instant,
) {
    let (remote, transport) = (SocketAddr::from(([192, 0, 2, 1], 4000)), Transport::Wss);
    let register = Register { request, aor, way: BindingHop::Flow(over), transport, remote, identity: None };
    let mut contacts = Vec::with_capacity(256);
    let done = location.register(&register, &Policy::default(), now, &mut contacts, || Ok::<_, ()>([0; 3]));
    assert!(done.is_ok());
}

fn costs(criterion: &mut Criterion) {
    let now = Instant::now();
    for flows in [100u64, 18_000] {
        let mut location = Location::new(usize::MAX, &[7; 16]);
        for user in 0..flows {
            location.flow_opened(flow(user));
            let age = Duration::from_millis(user % 600_000);
            register(&mut location, user, flow(user), 1, now + age);
        }
        let aors: Vec<String> = (0..flows).map(aor).collect();
        let mut at = 0;
        let mut next = move || {
            at = (at + 7919) % flows;
            at
        };
        criterion.bench_function(&format!("look up/{flows}"), |bench| {
            bench.iter(|| black_box(location.bindings(&aors[next() as usize], now).count()))
        });
        let texts: Vec<String> = (0..flows).map(|user| text(user, u32::MAX >> 1)).collect();
        let mut cseq = 2;
        criterion.bench_function(&format!("parse and refresh/{flows}"), |bench| {
            bench.iter_batched(
                || {
                    cseq += 1;
                    let user = next();
                    (user, text(user, cseq))
                },
                |(user, text)| {
                    let request = Message::parse(text.as_bytes()).expect("a whole message");
                    register_parsed(&mut location, &request, &aors[user as usize], flow(user), now);
                },
                criterion::BatchSize::SmallInput,
            )
        });
        let mut fresh = flows;
        criterion.bench_function(&format!("open, register, close/{flows}"), |bench| {
            bench.iter(|| {
                fresh += 1;
                let user = fresh % flows;
                let request = Message::parse(texts[user as usize].as_bytes()).expect("a whole message");
                location.flow_opened(flow(fresh));
                register_parsed(&mut location, &request, "visitor@example.com", flow(fresh), now);
                black_box(location.flow_closed(flow(fresh)))
            })
        });
    }
}

criterion_group!(benches, costs);
criterion_main!(benches);
