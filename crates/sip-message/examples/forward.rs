//! Forwards one INVITE a number of times (first argument, 1,000,000 if absent) and says how long one took.
//! With a small number it suits an instruction counter such as callgrind.

use std::time::Instant;

#[path = "../tests/browser_invite/mod.rs"]
mod browser_invite;
use browser_invite::{INVITE, forward};

fn main() {
    let times: u32 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000).max(1);
    let mut out = Vec::with_capacity(4096);
    let start = Instant::now();
    for _ in 0..times {
        forward(std::hint::black_box(INVITE), &mut out);
    }
    let each = start.elapsed().as_nanos() / u128::from(times);
    println!("{} bytes in, {} bytes out, {each} ns each", INVITE.len(), out.len());
}
