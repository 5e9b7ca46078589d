//! A user with two phones that say no more of themselves than their address: a call stays with the one that
//! answered it.

use lifecycle::EventKind;
use prove::{Answering, Client};
use sip_message::{Message, response::ResponseBuilder};

use crate::{
    backend::{is, next},
    reconnected::{Dialog, ok},
    test_server::TestServer,
    who::{ask, request},
};

const CALLS: &str = "[calls]\nhold = \"1s\"\n";

/// A phone of Bob's at this address, on a connection of its own. It keeps the Call-ID of its registration.
async fn phone(sipway: &TestServer, host: &str, call_id: &str) -> Client {
    let mut phone = sipway.connect("bob").await;
    phone.set_answering(Answering::KeepsSilent);
    let register = request(
        "REGISTER",
        "sip:localhost",
        "<sip:bob@localhost>",
        "<sip:bob@localhost>",
        "Expires: 600\r\n",
    );
    let (before, rest) = register.split_once("Call-ID: ").unwrap();
    let rest = rest.split_once("\r\n").unwrap().1;
    let register = format!("{before}Call-ID: {call_id}\r\n{rest}")
        .replace("<sip:x@x.invalid;transport=ws>", &format!("<sip:bob@{host}>"));
    let call = call_id.as_bytes();
    phone.send(register.as_bytes()).unwrap();
    next(&mut phone, "200", |message| message.call_id() == Some(call) && message.status() == Some(200)).await;
    phone
}

/// Alice calls Bob, and the first of his phones answers. What Alice may say in it.
async fn call(alice: &mut Client, phones: &mut [Client]) -> Dialog {
    let invite = request("INVITE", "sip:bob@localhost", "<sip:alice@localhost>", "<sip:bob@localhost>", "");
    alice.send(invite.as_bytes()).unwrap();
    let asked = next(&mut phones[0], "INVITE", is("INVITE")).await;
    phones[0].send(&ok(&asked.message(), "<sip:bob@10.0.0.1>")).unwrap();
    let answered = next(alice, "200", |message| message.status() == Some(200)).await;
    let dialog = Dialog::of_caller(&answered.message());
    alice.send(&dialog.request("ACK", 1)).unwrap();
    next(&mut phones[0], "ACK", is("ACK")).await;
    dialog
}

fn ended(sipway: &TestServer) -> Option<serde_json::Value> {
    let events = sipway.events();
    let ended = events.iter().find(|(kind, _)| *kind == EventKind::CallEnded)?;
    Some(serde_json::from_str::<serde_json::Value>(&ended.1).unwrap()["data"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_does_not_go_to_the_other_phone_when_the_one_that_has_it_is_lost() {
    let sipway = TestServer::new("two-phones", CALLS);
    let mut alice = sipway.registered("alice").await;
    alice.set_answering(Answering::KeepsSilent);
    let mut phones = [phone(&sipway, "10.0.0.1", "p1").await, phone(&sipway, "10.0.0.2", "p2").await];
    call(&mut alice, &mut phones).await;
    let [lost, mut other] = phones;
    drop(lost);
    // She is told, by the one who knows it.
    next(&mut alice, "BYE", is("BYE")).await;
    sipway.until("ended", |_| ended(&sipway).is_some()).await;
    let end = ended(&sipway).unwrap();
    assert_eq!(
        (&end["cause"], &end["by"], &end["moves"]),
        (&"flow_lost".into(), &"callee".into(), &0.into())
    );
    assert!(sipway.handle.calls(9).is_empty());
    // The other was never asked anything about it.
    let mut heard = Vec::new();
    let done = request("OPTIONS", "sip:localhost", "<sip:bob@localhost>", "<sip:localhost>", "");
    other.send(done.as_bytes()).unwrap();
    next(&mut other, "answer", |message| {
        heard.extend(message.method().map(|method| String::from_utf8_lossy(method.as_bytes()).into_owned()));
        message.cseq().is_ok_and(|cseq| cseq.method.as_bytes() == b"OPTIONS")
    })
    .await;
    assert!(!heard.iter().any(|method| method == "BYE" || method == "INFO"), "{heard:?}");
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_comes_back_without_its_call_ends_it() {
    let sipway = TestServer::new("two-phones-forgotten", "");
    let mut alice = sipway.registered("alice").await;
    alice.set_answering(Answering::KeepsSilent);
    let mut phones = [phone(&sipway, "10.0.0.1", "p1").await, phone(&sipway, "10.0.0.2", "p2").await];
    let dialog = call(&mut alice, &mut phones).await;
    let [lost, _other] = phones;
    drop(lost);
    sipway.until("held", |handle| handle.calls(9).first().is_some_and(|call| call.waiting)).await;
    // From another port, as its registration goes on.
    let mut again = phone(&sipway, "10.0.0.1:49152", "p1").await;
    sipway.until("back", |handle| handle.calls(9).first().is_some_and(|call| !call.waiting)).await;
    alice.send(&dialog.request("INFO", 2)).unwrap();
    let info = next(&mut again, "INFO", is("INFO")).await;
    let mut answer = Vec::new();
    ResponseBuilder::new(&info.message(), 481, "Call/Transaction Does Not Exist").write(&mut answer).unwrap();
    again.send(&answer).unwrap();
    let bye = next(&mut alice, "BYE", is("BYE")).await;
    let bye = String::from_utf8_lossy(bye.message().bytes()).into_owned();
    assert!(bye.contains("Reason: SIP;cause=481"), "{bye}");
    sipway.until("ended", |_| ended(&sipway).is_some()).await;
    let end = ended(&sipway).unwrap();
    assert_eq!(
        (&end["cause"], &end["by"], &end["moves"]),
        (&"dialog_lost".into(), &"callee".into(), &1.into())
    );
    assert_eq!(end["reason"], "Call/Transaction Does Not Exist");
    assert!(sipway.handle.calls(9).is_empty());
    // And there is nothing left that could be asked.
    let over = ask(&mut alice, &String::from_utf8(dialog.request("INFO", 3)).unwrap()).await;
    assert!(Message::parse(over.as_bytes()).unwrap().status().is_some_and(|status| status >= 400), "{over}");
    sipway.end().await;
}
