//! What a transaction costs from its first message to its end, with 100,000 others resident.
use criterion::{Criterion, criterion_group, criterion_main};
use sip_transaction::{
    ClientKey, KeyMaker, MethodClass, Received, Reliability, RequestKey, Settings, Status, Transactions,
};
use std::hint::black_box;
use std::time::Instant;

const RESIDENT: u32 = 100_000;

fn key_of(keys: &KeyMaker, number: u32) -> Option<RequestKey> {
    let mut branch = *b"z9hG4bK-524287-1---0000000000";
    branch[19..23].copy_from_slice(&number.to_be_bytes());
    keys.request(b"MESSAGE", &branch, b"df7jal23ls0d.invalid", None)
}

fn relay(c: &mut Criterion) {
    let now = Instant::now();
    let ok = Status::new(200).expect("a status");
    let keys = KeyMaker::new([5; 16]);
    let settings = Settings { max_server: 2 * RESIDENT, max_client: 2 * RESIDENT, ..Settings::default() };
    for (name, reliability) in [("reliable", Reliability::Reliable), ("unreliable", Reliability::Unreliable)]
    {
        let mut table: Transactions<u64, u64, u64> = Transactions::new(settings, now);
        for number in 0..RESIDENT {
            if let Some(key) = key_of(&keys, number) {
                let _ = table.receive_request(key, reliability, now, || 0);
            }
            let key = ClientKey { branch: u64::from(number), class: MethodClass::NonInvite };
            let _ = table.start_client(key, reliability, now, 0, || 0);
        }
        let mut number = RESIDENT;
        // Both sides of one relayed MESSAGE; over an unreliable transport they linger, and are abandoned to
        // keep level.
        c.bench_function(&format!("relay a MESSAGE, {name}, among 100,000 of each kind"), |b| {
            b.iter(|| {
                number = number.wrapping_add(1).max(RESIDENT);
                let Some(key) = key_of(&keys, black_box(number)) else { return };
                let Received::New(server) = table.receive_request(key, reliability, now, || 1) else {
                    return;
                };
                let key = ClientKey { branch: u64::from(number), class: MethodClass::NonInvite };
                let client = table.start_client(key, reliability, now, 1, || 1);
                let _ = black_box(table.receive_response(key, ok, now, |_| true));
                let _ = black_box(table.respond(server, ok, now, || 1));
                if reliability == Reliability::Unreliable {
                    table.abandon_server(server);
                    if let Ok(client) = client {
                        table.abandon_client(client);
                    }
                }
                while let Some(event) = table.poll(now) {
                    black_box(event);
                }
            })
        });
    }
    c.bench_function("key of a request", |b| b.iter(|| key_of(&keys, black_box(7))));
}

criterion_group!(benches, relay);
criterion_main!(benches);
