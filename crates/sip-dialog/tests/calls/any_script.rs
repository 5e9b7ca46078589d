//! Any script of two users with three devices: each call is started once and ended once, nothing happens to
//! it before or after, and the table is empty when all is over.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use sip_dialog::{Agent, Side};
use sip_message::Message;

use crate::fake_node::{Done, Hop, Scene, agent, answer, invite, settings, within};

/// One thing that happens; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Invite { call: u8, to: Hop },
    Answer { call: u8, status: u16, tag: u8, by: Hop },
    Own { call: u8, status: u16 },
    Within { call: u8, method: u8, by: bool, tag: u8, cseq: u32, from: Hop },
    WithinAnswered { call: u8, method: u8, by: bool, tag: u8, cseq: u32, status: u16, own: bool },
    Gone { hop: Hop, agents: u8 },
    Back { user: u8, hop: Hop },
    Moved { user: u8, by: u8, from: Hop, to: Hop },
    Wait { seconds: u16 },
    Full { full: bool },
}

const METHODS: [&str; 4] = ["BYE", "INVITE", "UPDATE", "INFO"];
const STATUSES: [u16; 10] = [180, 183, 200, 202, 407, 408, 481, 486, 487, 603];
const OFFERS: [&str; 3] =
    ["", "v=0\r\nm=audio 1 RTP/AVP 0\r\na=sendonly\r\n", "v=0\r\nm=audio 1 RTP/AVP 0\r\n"];

fn step() -> impl Strategy<Value = Step> {
    let (call, hop, tag, cseq) = (0u8..3, 1u8..6, 0u8..3, 1u32..5);
    let status = prop::sample::select(&STATUSES[..]);
    prop_oneof![
        4 => (call.clone(), hop.clone()).prop_map(|(call, to)| Step::Invite { call, to }),
        6 => (call.clone(), status.clone(), tag.clone(), hop.clone())
            .prop_map(|(call, status, tag, by)| Step::Answer { call, status, tag, by }),
        1 => (call.clone(), prop::sample::select(vec![408u16, 480, 503])).prop_map(|(call, status)| Step::Own { call, status }),
        4 => (call.clone(), 0u8..4, any::<bool>(), tag.clone(), cseq.clone(), hop.clone())
            .prop_map(|(call, method, by, tag, cseq, from)| Step::Within { call, method, by, tag, cseq, from }),
        4 => (call, 0u8..4, any::<bool>(), tag, cseq, status, any::<bool>())
            .prop_map(|(call, method, by, tag, cseq, status, own)| Step::WithinAnswered { call, method, by, tag, cseq, status, own }),
        3 => (hop.clone(), 0u8..4).prop_map(|(hop, agents)| Step::Gone { hop, agents }),
        3 => (0u8..2, hop.clone()).prop_map(|(user, hop)| Step::Back { user, hop }),
        1 => (0u8..2, 0u8..2, hop.clone(), hop).prop_map(|(user, by, from, to)| Step::Moved { user, by, from, to }),
        2 => (0u16..40).prop_map(|seconds| Step::Wait { seconds }),
        1 => any::<bool>().prop_map(|full| Step::Full { full }),
    ]
}

fn named(text: &str, call: u8) -> String {
    text.replace("call-1", &format!("call-{call}"))
}

fn user(which: u8) -> &'static str {
    if which == 0 { "alice" } else { "bob" }
}

fn play(scene: &mut Scene, step: &Step) {
    let side = |caller: bool| if caller { Side::Caller } else { Side::Callee };
    let request = |method: u8, caller, tag: u8, cseq: u32| {
        let body = OFFERS[cseq as usize % 3];
        within(METHODS[usize::from(method)], side(caller), &format!("t{tag}"), cseq, body)
    };
    match *step {
        Step::Invite { call, to } => scene.request(&named(&invite(1), call), 1, to),
        Step::Answer { call, status, tag, by } => {
            scene.response(&named(&answer(&invite(1), status, &format!("t{tag}")), call), Some(by));
        }
        Step::Own { call, status } => scene.own(status, &named(&invite(1), call)),
        Step::Within { call, method, by, tag, cseq, from } => {
            let text = named(&request(method, by, tag, cseq), call);
            for named in 1..6 {
                for from in 1..6 {
                    let message = Message::parse(text.as_bytes()).unwrap();
                    let _ = scene.calls.way(&message, named, from, |one, other| one == other);
                }
            }
            scene.request(&text, from, 2);
        }
        Step::WithinAnswered { call, method, by, tag, cseq, status, own } => {
            let text = named(&request(method, by, tag, cseq), call);
            if own {
                scene.own(status, &text);
            } else {
                scene.response(&answer(&text, status, ""), Some(2));
            }
        }
        Step::Gone { hop, agents } => {
            let agents: Vec<Agent> =
                (0..2).filter(|which| agents >> which & 1 == 1).map(|which| agent(user(which))).collect();
            scene.gone(hop, &agents);
        }
        Step::Back { user: which, hop } => scene.back(&agent(user(which)), hop),
        Step::Moved { user: which, by, from, to } => {
            scene.calls.moved(&agent(user(which)), &agent(user(by)), &[], from, to);
        }
        Step::Wait { seconds } => scene.wait(Duration::from_secs(u64::from(seconds))),
        Step::Full { full } => scene.writer.full = full,
    }
}

#[derive(Default)]
struct Life {
    answered: u32,
    ended: u32,
    holds: BTreeMap<bool, i32>,
}

proptest! {
    #[test]
    fn one_start_one_end(steps in prop::collection::vec(step(), 0..60)) {
        let mut scene = Scene::new(sip_dialog::Settings { most: 2, ..settings() });
        for step in &steps {
            play(&mut scene, step);
        }
        // A call may be waited for as long as it may be silent, and who is away after its end as long as the
        // hold.
        scene.wait(settings().silence * 2);
        scene.wait(settings().hold * 2);
        prop_assert!(scene.calls.is_empty(), "{:?}", scene.calls);
        let mut lives: BTreeMap<u64, Life> = BTreeMap::new();
        for done in scene.done() {
            match done {
                Done::Started(call) => prop_assert!(lives.insert(call, Life::default()).is_none()),
                Done::Answered(call) => {
                    let life = lives.get_mut(&call).expect("started before");
                    life.answered += 1;
                    prop_assert_eq!((life.answered, life.ended), (1, 0));
                }
                Done::Held(call, by) | Done::Resumed(call, by) => {
                    let held = matches!(done, Done::Held(..));
                    let life = lives.get_mut(&call).expect("started before");
                    prop_assert_eq!((life.answered, life.ended), (1, 0));
                    let balance = life.holds.entry(by == Side::Caller).or_default();
                    *balance += if held { 1 } else { -1 };
                    prop_assert!((0..=1).contains(balance));
                }
                Done::Ended(call, end) => {
                    let life = lives.get_mut(&call).expect("started before");
                    life.ended += 1;
                    prop_assert_eq!(life.ended, 1);
                    // Only what was never answered has a status.
                    prop_assert!(end.status.is_none() || life.answered == 0, "{:?}", end);
                }
                Done::Sent(_, request) => {
                    let message = Message::parse(request.as_bytes()).unwrap();
                    let cseq = message.cseq().unwrap().number;
                    // Above whatever the side it speaks for may have said: numbers in scripts go to 4.
                    prop_assert!((1..=5).contains(&cseq), "{}", request);
                }
            }
        }
        prop_assert!(lives.values().all(|life| life.ended == 1));
    }
}
