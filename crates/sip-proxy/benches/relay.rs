//! What a request costs on its way through a proxy, in memory.

use std::{hint::black_box, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};

#[allow(dead_code, reason = "the allocation count uses the rest")]
#[path = "../tests/relay/mod.rs"]
mod relay;
use relay::{ACK, Relay, SplicedInvite};

fn bench(c: &mut Criterion) {
    let now = Instant::now();
    let mut relay = Relay::new(now);
    c.bench_function("relay/message_and_its_answer", |b| b.iter(|| black_box(relay.message(now))));
    let mut relay = Relay::new(now);
    c.bench_function("relay/call_and_hang_up", |b| b.iter(|| black_box(relay.call(now))));
    let mut relay = Relay::new(now);
    c.bench_function("relay/ack_without_transaction", |b| b.iter(|| black_box(relay.pass(ACK, now))));
    let mut invite = SplicedInvite::new();
    c.bench_function("splice/parse_and_forward_invite", |b| b.iter(|| black_box(invite.forward())));
}

criterion_group!(benches, bench);
criterion_main!(benches);
