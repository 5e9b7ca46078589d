//! Whole messages: reading, checking, answering and rewriting never panic, and a rewrite without edits is the
//! identity.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::response::ResponseBuilder;
use sip_message::{Contact, HeaderId, Leniency, Message, Rewrite, tries_to_be_sip};

fn read(message: &Message<'_>) {
    let _ = (message.check_request(), message.check_response(), message.expires(), message.request_uri());
    for (_, contact) in message.contacts() {
        if let Ok(Contact::Addr(contact)) = contact {
            let _ = (contact.q(), contact.expires(), contact.instance(), contact.reg_id(), contact.uri());
        }
    }
    for via in message.vias().flatten() {
        let _ = (via.branch(), via.received(), via.rport(), via.maddr(), via.is_rfc3261());
    }
    for header in message.headers() {
        let _ = message.name_addrs(header.id).count();
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut out = Vec::new();
    match Message::parse(bytes) {
        Ok(message) => {
            assert!(tries_to_be_sip(bytes), "what can be read is not dropped before");
            read(&message);
            let mut rewrite = Rewrite::new(&message);
            rewrite.write(&mut out).expect("no edits");
            if !message.leniencies().contains(Leniency::StartLineSpace) {
                assert_eq!(out, message.bytes());
            }
            rewrite.stamp_via([192, 0, 2, 1].into(), Some(5060));
            for (nth, value) in message.values(HeaderId::Route).enumerate() {
                if nth % 2 == 0 {
                    rewrite.remove_value(&value);
                }
            }
            rewrite.pop_via();
            rewrite.push_via(b"SIP/2.0/UDP a;branch=z9hG4bK1");
            rewrite.set_max_forwards(7);
            out.clear();
            rewrite.write(&mut out).expect("sound edits");
            let again = Message::parse(&out).expect("what is written can be read");
            assert_eq!(again.body(), message.body());
            let kept = message.values(HeaderId::Route).skip(1).step_by(2).map(|value| value.bytes);
            assert!(again.values(HeaderId::Route).map(|value| value.bytes).eq(kept));
        }
        Err(error) => {
            if let Some(message) = Message::salvage(bytes, error) {
                read(&message);
                ResponseBuilder::new(&message, 400, "Bad Request")
                    .to_tag(b"t")
                    .write(&mut out)
                    .expect("a Via is there");
                assert_eq!(Message::parse(&out).expect("a sound response").status(), Some(400));
            }
        }
    }
});
