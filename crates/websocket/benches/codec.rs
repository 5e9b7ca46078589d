//! The codec's cost: one 1 KiB message in and out, unmasking, a handshake.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use websocket::handshake::{Outcome, Policy, examine};
use websocket::{Connection, Event, Limits, Role, apply_mask, client, encode};

fn codec(c: &mut Criterion) {
    let text = "REGISTER sip:example.com SIP/2.0\r\n".repeat(32);
    let text = &text[..1024];
    let mut frame = Vec::new();
    client::text(text, [0x37, 0xfa, 0x21, 0x3d], &mut frame);

    let mut group = c.benchmark_group("message");
    group.throughput(Throughput::Bytes(1024));
    let mut connection = Connection::new(Role::Server, Limits::default());
    group.bench_function("decode_1k_text", |b| {
        b.iter_batched_ref(
            || frame.clone(),
            |frame| match connection.receive(frame) {
                Ok(received) => received.consumed,
                Err(error) => panic!("{error}"),
            },
            BatchSize::SmallInput,
        );
    });
    let mut out = Vec::with_capacity(2048);
    group.bench_function("encode_1k_text", |b| {
        b.iter(|| {
            out.clear();
            encode::text(black_box(text), &mut out);
        });
    });
    group.bench_function("decode_and_encode_1k_text", |b| {
        b.iter_batched_ref(
            || frame.clone(),
            |frame| {
                out.clear();
                match connection.receive(frame).map(|received| received.event) {
                    Ok(Some(Event::Message(message))) => {
                        encode::message(message.kind, &message.data, &mut out)
                    }
                    other => panic!("{other:?}"),
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();

    let mut group = c.benchmark_group("unmask");
    for size in [1024usize, 65_536] {
        let mut data = vec![0x55; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(size.to_string(), |b| {
            b.iter(|| apply_mask(black_box(&mut data), black_box([1, 2, 3, 4]), 1));
        });
    }
    group.finish();

    let head = b"GET /ws HTTP/1.1\r\nHost: sip.example.com\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
        Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
        Upgrade: websocket\r\nOrigin: https://app.example.com\r\nSec-WebSocket-Version: 13\r\n\
        Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
        Sec-WebSocket-Protocol: sip\r\n\r\n";
    c.bench_function("handshake", |b| {
        b.iter(|| {
            out.clear();
            match examine(black_box(head), &Policy::default()) {
                Outcome::Accept(accepted) => accepted.write_response(&mut out, &[]),
                other => panic!("{other:?}"),
            }
        });
    });
}

criterion_group!(benches, codec);
criterion_main!(benches);
