//! What the heap is asked for on the way.

use std::time::Instant;

use allocation_counter::measure;

#[allow(dead_code, reason = "the benchmark uses the rest")]
mod relay;
use relay::{ACK, Relay, SplicedInvite};

/// Allocations of a hundred runs once everything is warm.
fn of_a_hundred<T>(network: &mut T, run: impl Fn(&mut T) -> usize) -> u64 {
    for _ in 0..200 {
        run(network);
    }
    measure(|| {
        for _ in 0..100 {
            run(network);
        }
    })
    .count_total
}

#[test]
fn an_invite_is_spliced_without_any() {
    let mut invite = SplicedInvite::new();
    assert_eq!(of_a_hundred(&mut invite, SplicedInvite::forward), 0);
    let text = String::from_utf8(invite.out).unwrap();
    assert!(text.starts_with("INVITE sip:bob@kq3n.invalid;transport=ws SIP/2.0\r\n"), "{text}");
    assert_eq!(text.matches("\r\nRecord-Route: ").count(), 2);
    assert_eq!(text.matches("\r\nVia: ").count(), 2);
    assert!(!text.contains("\r\nRoute: "));
}

#[test]
fn an_ack_is_relayed_without_any() {
    let now = Instant::now();
    assert_eq!(of_a_hundred(&mut Relay::new(now), |relay| relay.pass(ACK, now)), 0);
}

/// The copy of the request, and the Request-URI of the target that the network gave.
#[test]
fn a_message_and_its_answer_take_two() {
    let now = Instant::now();
    let mut relay = Relay::new(now);
    assert_eq!(of_a_hundred(&mut relay, |relay| relay.message(now)), 200);
    assert_eq!(relay.transactions(), (0, 0));
}

/// INVITE, 100, 180, 486 and ACK: copies of the request as it came and as it went, of the 100, the 180 and
/// the 486 for repeats, and the Request-URI that the network gave.
#[test]
fn a_declined_call_takes_six() {
    let now = Instant::now();
    let mut relay = Relay::new(now);
    assert_eq!(of_a_hundred(&mut relay, |relay| relay.call(now)), 600);
    assert_eq!(relay.transactions(), (0, 0));
}
