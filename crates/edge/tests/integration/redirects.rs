//! Redirections (3xx): where the caller may go himself, and nowhere else.

use lifecycle::Transport;
use metrics::Count;
use prove::{Answering, Client, Incoming};
use sip_message::{Message, response::ResponseBuilder};
use tokio::time::timeout;

use crate::{
    test_server::{PATIENCE, TestServer},
    told::{self, Pbx},
    who::{ask, client, request},
};

const FOLLOW: &str = "[[domain]]\nname = \"localhost\"\nauth = \"open\"\nredirects = \"follow\"\n";

/// Asks for a user who redirects to these contacts; what is answered.
async fn redirected(caller: &mut Client, asked: &str, by: &mut Client, contacts: &str) -> String {
    by.set_answering(Answering::KeepsSilent);
    let redirecting = async {
        loop {
            if let Incoming::Request(bytes) = timeout(PATIENCE, by.next()).await.expect("a request").unwrap()
            {
                let message = Message::parse(&bytes).unwrap();
                let builder = ResponseBuilder::new(&message, 302, "Moved").to_tag(b"moved");
                let mut answer = Vec::new();
                builder.header(b"Contact", contacts.as_bytes()).write(&mut answer).unwrap();
                return by.send(&answer).unwrap();
            }
        }
    };
    tokio::join!(ask(caller, asked), redirecting).0
}

fn message(from: &str, to: &str) -> String {
    request("MESSAGE", &format!("sip:{to}"), &format!("<sip:{from}>"), &format!("<sip:{to}>"), "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirection_is_followed_to_users_of_ours_and_passed_on_otherwise() {
    let sipway = TestServer::new("redirects", FOLLOW);
    let mut bob = sipway.registered("bob").await;
    let mut ada = sipway.registered("ada").await;
    let mut carl = sipway.registered("carl").await;
    let asked = || message("bob@localhost", "ada@localhost");
    let contacts = "<sip:x@far.invalid>, <sip:nobody@localhost>;q=0.9, <sip:carl@localhost>;q=0.1";
    let reached = async {
        loop {
            if let Incoming::Request(bytes) = carl.next().await.unwrap() {
                return bytes;
            }
        }
    };
    let text = asked();
    let (answer, came) =
        tokio::join!(redirected(&mut bob, &text, &mut ada, contacts), timeout(PATIENCE, reached));
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert!(String::from_utf8_lossy(&came.expect("carl is asked")).contains("To: <sip:ada@localhost>"));
    let count = |what| sipway.handle.metrics().get(what);
    assert_eq!((count(Count::RedirectsFollowed), count(Count::RedirectsLeft)), (1, 2));
    let elsewhere = [
        "<sip:x@far.invalid>",
        "<sip:x@192.0.2.9:5060>",
        "<sip:ada@localhost>",
        "<tel:+15551>",
        "<sip:nobody@localhost>",
        "<sip:carl@localhost?Replaces=1>",
    ];
    for contacts in elsewhere {
        let answer = redirected(&mut bob, &asked(), &mut ada, contacts).await;
        assert!(answer.starts_with("SIP/2.0 302 ") && answer.contains(contacts), "{contacts}: {answer}");
    }
    assert_eq!(count(Count::RedirectsFollowed), 1);
    drop((bob, ada, carl));
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_default_it_is_passed_on() {
    let sipway = TestServer::new("redirects-pass", "");
    let mut bob = sipway.registered("bob").await;
    let mut ada = sipway.registered("ada").await;
    let carl = sipway.registered("carl").await;
    let asked = message("bob@localhost", "ada@localhost");
    let answer = redirected(&mut bob, &asked, &mut ada, "<sip:carl@localhost>").await;
    assert!(answer.starts_with("SIP/2.0 302 ") && answer.contains("<sip:carl@localhost>"), "{answer}");
    assert_eq!(sipway.handle.metrics().get(Count::RedirectsLeft), 0);
    drop((bob, ada, carl));
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_a_redirection_leads_only_who_may_call_there_himself() {
    let pbx = Pbx::new().await;
    let domains = "[[domain]]\nname = \"example.com\"\nusers = \"{here}/users.txt\"\nbackend = \"pbx\"\nregister = \"local\"\n\
         outside = [\"alice\"]\nredirects = \"follow\"\n\
         [[domain]]\nname = \"lobby.example\"\nauth = \"open\"\nredirects = \"follow\"\n";
    let sipway = told::sipway("redirects-outside", &pbx, domains);
    let mut alice = client(&sipway, Transport::Ws, "alice", "example.com", Some("wonder")).await;
    let mut bob = client(&sipway, Transport::Ws, "bob", "example.com", Some("builder")).await;
    let mut admission = client(&sipway, Transport::Ws, "guest", "lobby.example", None).await;
    let mut host = client(&sipway, Transport::Ws, "host", "lobby.example", None).await;
    for client in [&mut alice, &mut bob, &mut admission, &mut host] {
        assert_eq!(client.register(600).await.unwrap().status, 200);
    }
    let number = "sip:+15551234@example.com".to_owned();
    let named = format!("sip:100@{}", pbx.address());
    for contact in [&number, &named] {
        let asked = message("alice@example.com", "bob@example.com");
        let contacts = format!("<{contact}>");
        let (answer, seen) = tokio::join!(redirected(&mut alice, &asked, &mut bob, &contacts), pbx.next());
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert!(seen.starts_with(&format!("MESSAGE {contact} SIP/2.0")), "{seen}");
        assert!(seen.contains("P-Asserted-Identity: <sip:alice@example.com>"), "{seen}");

        let asked = message("bob@example.com", "alice@example.com");
        let answer = redirected(&mut bob, &asked, &mut alice, &contacts).await;
        assert!(answer.starts_with("SIP/2.0 302 "), "bob may not call there: {answer}");
    }
    // Nor does it open a domain with passwords to unauthenticated clients.
    for contact in [&number, &named, &"sip:bob@example.com".to_owned()] {
        let asked = message("guest@lobby.example", "host@lobby.example");
        let answer = redirected(&mut admission, &asked, &mut host, &format!("<{contact}>")).await;
        assert!(answer.starts_with("SIP/2.0 302 "), "{contact}: {answer}");
    }
    // What comes from the server behind is not sent back to it.
    let asked = message("100@pbx.example", "alice@example.com");
    let inside = sipway.handle.listeners().iter().find(|bound| bound.name == "inside").unwrap().local;
    alice.set_answering(Answering::KeepsSilent);
    let redirecting = async {
        loop {
            if let Incoming::Request(bytes) = alice.next().await.unwrap() {
                let message = Message::parse(&bytes).unwrap();
                let mut answer = Vec::new();
                let builder = ResponseBuilder::new(&message, 302, "Moved").to_tag(b"moved");
                builder.header(b"Contact", format!("<{number}>").as_bytes()).write(&mut answer).unwrap();
                return alice.send(&answer).unwrap();
            }
        }
    };
    let (answer, _) = tokio::join!(pbx.ask(inside, &asked), timeout(PATIENCE, redirecting));
    assert!(answer.starts_with("SIP/2.0 302 "), "{answer}");
    drop((alice, bob, admission, host));
    sipway.end().await;
}
