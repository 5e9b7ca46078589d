//! What a timer costs with 100,000 running: the wheel against an ordered map.
use criterion::{Criterion, criterion_group, criterion_main};
use sip_transaction::TimerWheel;
use std::collections::BTreeMap;
use std::hint::black_box;

const RESIDENT: u32 = 100_000;

/// Spread over the 32 s in which transactions end.
fn deadline_of(token: u32) -> u64 {
    u64::from(token.wrapping_mul(2_654_435_761)) % 32_000 + 1
}

fn insert_and_cancel(c: &mut Criterion) {
    let mut wheel = TimerWheel::new();
    let mut map = BTreeMap::new();
    for token in 0..RESIDENT {
        wheel.schedule(token, deadline_of(token), 0);
        map.insert((deadline_of(token), token), ());
    }
    let mut group = c.benchmark_group("insert and cancel among 100,000");
    let mut next = RESIDENT;
    group.bench_function("wheel", |b| {
        b.iter(|| {
            next = next.wrapping_add(1);
            wheel.schedule(RESIDENT, black_box(deadline_of(next)), 0);
            wheel.cancel(black_box(RESIDENT));
        })
    });
    group.bench_function("ordered map", |b| {
        b.iter(|| {
            next = next.wrapping_add(1);
            let at = black_box(deadline_of(next));
            map.insert((at, RESIDENT), ());
            map.remove(&(at, black_box(RESIDENT)))
        })
    });
    group.finish();
    c.bench_function("earliest of 100,000, wheel", |b| b.iter(|| black_box(&wheel).next_deadline()));
}

fn fire(c: &mut Criterion) {
    let mut group = c.benchmark_group("fire and set again among 100,000");
    group.bench_function("wheel", |b| {
        let mut wheel = TimerWheel::new();
        for token in 0..RESIDENT {
            wheel.schedule(token, deadline_of(token), 0);
        }
        let mut now = 0;
        b.iter(|| {
            now = wheel.next_deadline().unwrap_or(now);
            if let Some(token) = wheel.pop_due(now) {
                wheel.schedule(token, now + 32_000, now);
            }
        })
    });
    group.bench_function("ordered map", |b| {
        let mut map: BTreeMap<(u64, u32), ()> =
            (0..RESIDENT).map(|token| ((deadline_of(token), token), ())).collect();
        b.iter(|| {
            if let Some(((at, token), ())) = map.pop_first() {
                map.insert((at + 32_000, token), ());
            }
        })
    });
    group.finish();
}

criterion_group!(benches, insert_and_cancel, fire);
criterion_main!(benches);
