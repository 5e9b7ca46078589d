//! Any script of requests, cancels, repeats, junk and dying hops, over a network that delays, loses and
//! doubles what is sent over datagrams: what must hold whatever happens.

#[path = "../fake_network/mod.rs"]
mod fake_network;
mod network;

use network::{Act, Network};
use proptest::prelude::*;

/// Callers and callees: connections 1 to 5 and datagram peers 101 to 103.
fn hop() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 1..=5_u32, 1 => 101..=103_u32]
}

fn act() -> impl Strategy<Value = Act> {
    let method = prop_oneof![
        4 => Just("INVITE"), 2 => Just("MESSAGE"), 1 => Just("SUBSCRIBE"), 1 => Just("OPTIONS")
    ];
    let user = prop_oneof![4 => 0..8_u8, 1 => Just(9_u8)];
    prop_oneof![
        5 => (hop(), method, user).prop_map(|(from, method, user)| Act::Ask { from, method, user }),
        2 => any::<proptest::sample::Index>().prop_map(|which| Act::Cancel { which }),
        1 => any::<proptest::sample::Index>().prop_map(|which| Act::Repeat { which }),
        1 => (hop(), any::<u64>()).prop_map(|(from, seed)| Act::Damage { from, seed }),
        1 => hop().prop_map(|hop| Act::End { hop }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn every_request_has_one_answer_and_nothing_is_left(
        seed in any::<u64>(),
        script in prop::collection::vec((0..40_000_u64, act()), 1..25),
    ) {
        let mut network = Network::new(seed);
        for (at, act) in script {
            network.plan(at, act);
        }
        network.run();
        network.judge();
    }

    #[test]
    fn no_bytes_break_it(
        hop in hop(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut stage = fake_network::Stage::new();
        stage.user("u1", &[2, 103]);
        stage.receive_bytes(hop, &bytes);
        let mut text = fake_network::request("INVITE", "u1", "j").into_bytes();
        for (at, byte) in &cuts {
            let at = at.index(text.len());
            text[at] = *byte;
        }
        stage.receive_bytes(hop, &text);
        let sent = stage.sent();
        for (on, text) in sent.iter().filter(|(_, text)| text.starts_with("INVITE")) {
            let mut answer = fake_network::response(text, 200, "OK").into_bytes();
            for (at, byte) in &cuts {
                let at = at.index(answer.len());
                answer[at] = *byte;
            }
            stage.receive_bytes(*on, &answer);
        }
        stage.settles();
    }
}
