//! Presence and other state of users: asked of a server behind, or of nobody. What only devices know is asked
//! of them.

use std::time::Duration;

use prove::{Answering, Client, Incoming};
use sip_message::{HeaderId, Message};

use crate::{
    backend::{is, next},
    reconnected::{Dialog, ok},
    test_server::TestServer,
    told::{self, Pbx},
    who::{ask, request},
};

const ALICE: &str = "<sip:alice@localhost>";

fn value(answer: &str, id: HeaderId) -> Option<String> {
    let message = Message::parse(answer.as_bytes()).unwrap();
    message.value(id).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn status(answer: &str) -> u16 {
    Message::parse(answer.as_bytes()).unwrap().status().unwrap()
}

/// Whatever has come to a client by the time that it has asked something else.
async fn requests(client: &mut Client) -> Vec<Vec<u8>> {
    let marker = request("OPTIONS", "sip:localhost", ALICE, "<sip:localhost>", "");
    client.send(marker.as_bytes()).unwrap();
    let mut came = Vec::new();
    loop {
        match client.next().await.unwrap() {
            Incoming::Request(request) => came.push(request.to_vec()),
            Incoming::Response(_) => return came,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_keeps_is_refused_and_asked_of_no_device() {
    let sipway = TestServer::new("event-state", "");
    let mut alice = sipway.registered("alice").await;
    let mut bob = sipway.registered("bob").await;
    for client in [&mut alice, &mut bob] {
        client.set_answering(Answering::KeepsSilent);
    }
    // One's own state, somebody else's, and that of somebody who is not there are refused alike.
    for user in ["alice", "bob", "nobody"] {
        let uri = format!("sip:{user}@localhost");
        let to = format!("<{uri}>");
        let publish = ask(&mut alice, &request("PUBLISH", &uri, ALICE, &to, "Event: presence\r\n")).await;
        assert_eq!(status(&publish), 405, "{publish}");
        let allow = value(&publish, HeaderId::Allow).unwrap();
        assert!(allow.contains("SUBSCRIBE") && !allow.contains("PUBLISH"), "{allow}");
        for event in [
            "Event: presence\r\n",
            "o: message-summary\r\n",
            "Event: reg;x=1\r\n",
            "Event: dialog.winfo\r\n",
            "",
        ] {
            let answer = ask(&mut alice, &request("SUBSCRIBE", &uri, ALICE, &to, event)).await;
            assert_eq!(status(&answer), 489, "{event}: {answer}");
            let events = value(&answer, HeaderId::AllowEvents).unwrap();
            assert!(events.split(", ").any(|event| event == "dialog"), "{events}");
            assert!(!events.contains("presence"), "{events}");
        }
    }
    assert_eq!(requests(&mut alice).await, Vec::<Vec<u8>>::new());
    assert_eq!(requests(&mut bob).await, Vec::<Vec<u8>>::new());
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_knows_is_asked_of_it_and_its_subscription_goes_on() {
    let sipway = TestServer::new("event-state-devices", "");
    let mut alice = sipway.registered("alice").await;
    let mut bob = sipway.registered("bob").await;
    bob.set_answering(Answering::KeepsSilent);
    let more = "Event: dialog;include-session-description\r\nExpires: 600\r\n";
    let subscribe = request("SUBSCRIBE", "sip:bob@localhost", ALICE, "<sip:bob@localhost>", more);
    alice.send(subscribe.as_bytes()).unwrap();
    let asked = next(&mut bob, "SUBSCRIBE", is("SUBSCRIBE")).await;
    bob.send(&ok(&asked.message(), "<sip:bob@bob.invalid>")).unwrap();
    let answered = next(&mut alice, "200", |message| message.status() == Some(200)).await;
    // Within its dialog nothing is looked at.
    let notify = Dialog::of_callee(&asked.message()).request("NOTIFY", 1);
    bob.send(&notify).unwrap();
    next(&mut alice, "NOTIFY", is("NOTIFY")).await;
    let again = Dialog::of_caller(&answered.message()).request("SUBSCRIBE", 2);
    alice.send(&again).unwrap();
    next(&mut bob, "SUBSCRIBE", is("SUBSCRIBE")).await;
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_tells_what_may_be_asked() {
    let sipway = TestServer::new("event-state-options", "");
    let mut alice = sipway.registered("alice").await;
    let options = ask(&mut alice, &request("OPTIONS", "sip:localhost", ALICE, "<sip:localhost>", "")).await;
    let allow = value(&options, HeaderId::Allow).unwrap();
    assert!(!allow.contains("PUBLISH"), "{allow}");
    assert!(value(&options, HeaderId::AllowEvents).unwrap().contains("dialog"), "{options}");
    for method in allow.split(", ").filter(|method| !matches!(*method, "ACK" | "CANCEL" | "INVITE")) {
        let uri = if method == "REGISTER" { "sip:localhost" } else { "sip:nobody@localhost" };
        let to = if method == "REGISTER" { ALICE.to_owned() } else { format!("<{uri}>") };
        let answer = ask(&mut alice, &request(method, uri, ALICE, &to, "Event: dialog\r\n")).await;
        assert!(!matches!(status(&answer), 405 | 489 | 501), "{method}: {answer}");
    }
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behind_is_asked_though_the_user_is_registered_here() {
    let pbx = Pbx::new().await;
    let sipway = told::sipway("event-state-behind", &pbx, told::USERS);
    let mut alice = told::alice(&sipway).await;
    let (uri, me) = ("sip:alice@example.com", "<sip:alice@example.com>");
    for (method, event) in [("PUBLISH", "presence"), ("SUBSCRIBE", "presence"), ("SUBSCRIBE", "dialog")] {
        let asked = request(method, uri, me, me, &format!("Event: {event}\r\n"));
        let (answer, seen) = tokio::join!(ask(&mut alice, &asked), pbx.next());
        assert_eq!(status(&answer), 200, "{method} {event}: {answer}");
        assert!(seen.starts_with(method), "{seen}");
    }
    let options = ask(&mut alice, &request("OPTIONS", "sip:example.com", me, "<sip:example.com>", "")).await;
    assert!(value(&options, HeaderId::Allow).unwrap().contains("PUBLISH"), "{options}");
    assert_eq!(value(&options, HeaderId::AllowEvents), None);
    // The server itself may ask a device whatever it likes.
    let listener = sipway
        .handle
        .listeners()
        .iter()
        .find(|bound| bound.transport == lifecycle::Transport::Udp)
        .map(|bound| bound.local)
        .unwrap();
    let asked = request("SUBSCRIBE", uri, "<sip:100@example.com>", me, "Event: x-state\r\n");
    let asking = pbx.ask(listener, &asked);
    let taking = async {
        let came = next(&mut alice, "SUBSCRIBE", is("SUBSCRIBE")).await;
        alice.send(&ok(&came.message(), "<sip:a@a.invalid>")).unwrap();
        alice.serve_for(Duration::from_millis(10)).await;
    };
    let (answer, ()) = tokio::join!(asking, taking);
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    sipway.end().await;
}
