//! What one message costs.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sip_message::response::ResponseBuilder;
use sip_message::{Frame, FrameLimits, Message, StreamFramer};

#[path = "../tests/browser_invite/mod.rs"]
mod browser_invite;
use browser_invite::{INVITE, forward};

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("browser_invite");
    group.throughput(Throughput::Bytes(INVITE.len() as u64));
    let mut out = Vec::with_capacity(4096);
    group.bench_function("parse", |b| b.iter(|| Message::parse(black_box(INVITE)).is_ok()));
    group.bench_function("parse_and_check", |b| {
        b.iter(|| Message::parse(black_box(INVITE)).is_ok_and(|message| message.check_request().is_ok()));
    });
    group.bench_function("parse_and_forward", |b| b.iter(|| forward(black_box(INVITE), &mut out)));
    group.bench_function("respond", |b| {
        let message = Message::parse(INVITE).expect("sound");
        b.iter(|| {
            out.clear();
            let response = ResponseBuilder::new(&message, 404, "Not Found").to_tag(b"9fxced76sl");
            black_box(response.write(&mut out)).is_ok()
        });
    });
    group.bench_function("frame", |b| {
        b.iter(|| {
            matches!(
                StreamFramer::new(FrameLimits::default()).next(black_box(INVITE)),
                Ok(Frame::Message { .. })
            )
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
