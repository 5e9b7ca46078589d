//! User agents that were called by another name than they registered.

use lifecycle::{CallBy, CallCause};
use sip_dialog::{RouteOutcome, Side};
use sip_message::Message;

use crate::fake_node::{ALICE, BOB, Scene, agent, answer, device, ended, invite, settings, within};

/// Where a request to whoever answered leads.
fn way(scene: &Scene) -> RouteOutcome<u8> {
    let info = within("INFO", Side::Caller, "b", 2, "");
    scene.calls.way(&Message::parse(info.as_bytes()).unwrap(), BOB, ALICE, |one, other| one == other)
}

#[test]
fn who_was_called_by_another_name_is_waited_for_too() {
    // By its Contact, as a server behind does; by the name of who redirected to it; and its own Contact may
    // be a GRUU.
    let contact = "sip:bob-device@bob.invalid;transport=ws";
    let gruu = "sip:carol@x;gr=urn:uuid:1";
    for (called, answers) in [(contact, contact), ("sip:bob@x", contact), ("sip:bob@x", gruu)] {
        let carol =
            |user: &str| device("carol@x", &format!("sip:{user}@c.invalid"), Some("urn:uuid:1"), user);
        let registered = if answers == gruu { carol("other") } else { carol("bob-device") };
        let begun = || {
            let mut scene = Scene::new(settings());
            let invite = invite(1).replace("INVITE sip:bob@x", &format!("INVITE {called}"));
            scene.request(&invite, ALICE, BOB);
            scene.response(&answer(&invite, 200, "b").replace(contact, answers), Some(BOB));
            scene.done();
            scene
        };
        let mut scene = begun();
        scene.gone(BOB, &[agent("eve"), registered.clone()]);
        assert_eq!((scene.done(), way(&scene)), (vec![], RouteOutcome::Held), "{called} {answers}");
        scene.back(&carol("later"), 7);
        assert_eq!(way(&scene), RouteOutcome::To(7));
        let mut scene = begun();
        scene.calls.moved(&registered, &registered, &[], BOB, 7);
        assert_eq!(way(&scene), RouteOutcome::To(7));
        // Somebody else who was there is not waited for in her stead.
        let mut scene = begun();
        scene.gone(BOB, &[agent("eve")]);
        assert_eq!(ended(&scene.done()), [(CallCause::FlowLost, CallBy::Callee)]);
    }
}
