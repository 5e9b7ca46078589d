//! Calls that pass through a PBX behind the server, which sends them back here: the same call seen twice.

use lifecycle::{EventKind, Transport};
use prove::{Answering, Client};
use sip_message::{HeaderId, Message, response::ResponseBuilder};

use crate::{
    backend::{behind, client, is, next, of, registered, within},
    kamailio::{DOMAIN, Kamailio},
    test_server::TestServer,
};

/// A user who registers with this instance, answers nothing by himself, and whose registration the PBX has.
async fn arrives(sipway: &TestServer, user: &str, instance: &str) -> Client {
    let mut client = client(sipway, Transport::Ws, user).await;
    let register = format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
         From: <{me}>;tag=r\r\nTo: <{me}>\r\nCall-ID: {n}\r\nCSeq: 1 REGISTER\r\nSupported: path, outbound\r\n\
         Contact: <sip:{instance}@{user}.invalid;transport=ws>;+sip.instance=\"<urn:uuid:{instance}>\";reg-id=1\r\n\
         Expires: 300\r\nContent-Length: 0\r\n\r\n",
        me = of(user),
        n = rand::random::<u64>(),
    );
    client.send(register.as_bytes()).unwrap();
    next(&mut client, "200 to the REGISTER", |message| message.status() == Some(200)).await;
    client.set_answering(Answering::KeepsSilent);
    client
}

fn invite(from: &str, to: &str) -> Vec<u8> {
    format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\nFrom: <{me}>;tag=a\r\n\
         To: <{uri}>\r\nCall-ID: {n}\r\nCSeq: 1 INVITE\r\nContact: <sip:{from}@caller.invalid>\r\nContent-Length: 0\r\n\r\n",
        uri = of(to),
        me = of(from),
        n = rand::random::<u64>()
    )
    .into_bytes()
}

fn answers(client: &mut Client, request: &Message<'_>, status: u16, contact: &str) {
    let mut answer = Vec::new();
    let contact = format!("<sip:{contact}@callee.invalid>");
    let builder = ResponseBuilder::new(request, status, "Said").to_tag(&contact.as_bytes()[5..9]);
    builder.header(b"Contact", contact.as_bytes()).write(&mut answer).unwrap();
    client.send(&answer).unwrap();
}

/// The tags and routes of a dialog as one of its sides sees them: its own From, its To, its routes.
fn seen(message: &Message<'_>) -> (Vec<u8>, Vec<u8>, Vec<Vec<u8>>) {
    let value = |id| message.value(id).unwrap().to_vec();
    let routes = message.record_routes().map(|(value, _)| value.bytes.to_vec());
    (value(HeaderId::From), value(HeaderId::To), routes.collect())
}

/// The call has ended, and was one.
async fn one_call(sipway: TestServer) {
    let calls = |sipway: &TestServer| -> Vec<EventKind> {
        let all = [EventKind::CallStarted, EventKind::CallAnswered, EventKind::CallEnded];
        sipway.events().into_iter().map(|(kind, _)| kind).filter(|kind| all.contains(kind)).collect()
    };
    sipway.until("ended", |_| calls(&sipway).contains(&EventKind::CallEnded)).await;
    assert_eq!(calls(&sipway), [EventKind::CallStarted, EventKind::CallAnswered, EventKind::CallEnded]);
    assert_eq!(sipway.handle.metrics().get(metrics::Count::CallsHungUp), 1);
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_one_device_declines_and_another_takes_is_one_call() {
    let pbx = Kamailio::run("forked").await;
    let sipway = behind("behind-forked", &format!("\"sip:{}\"", pbx.address), "");
    let mut ada = registered(&sipway, Transport::Ws, "ada").await;
    let mut desk = arrives(&sipway, "bob", "desk").await;
    let mut mobile = arrives(&sipway, "bob", "mobile").await;
    ada.send(&invite("ada", "bob")).unwrap();
    let at_desk = next(&mut desk, "INVITE", is("INVITE")).await;
    let at_mobile = next(&mut mobile, "INVITE", is("INVITE")).await;
    answers(&mut desk, &at_desk.message(), 486, "desk");
    // Kamailio has heard it.
    next(&mut desk, "ACK", is("ACK")).await;
    answers(&mut mobile, &at_mobile.message(), 200, "mobile");
    let answered = next(&mut ada, "200", |message| message.status() == Some(200)).await;
    let (a, b, mut routes) = seen(&answered.message());
    routes.reverse();
    let routes: Vec<&[u8]> = routes.iter().map(Vec::as_slice).collect();
    ada.send(&within("ACK", &answered.message(), (&a, &b), routes.clone(), 1)).unwrap();
    mobile.set_answering(Answering::Answers);
    ada.send(&within("BYE", &answered.message(), (&a, &b), routes, 2)).unwrap();
    next(&mut mobile, "BYE", is("BYE")).await;
    next(&mut ada, "answer to the BYE", |message| {
        message.status() == Some(200) && message.cseq().is_ok_and(|cseq| cseq.number == 2)
    })
    .await;
    one_call(sipway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_to_a_call_through_the_pbx_has_it_both_ways() {
    let pbx = Kamailio::run("comes-back").await;
    let sipway = behind("behind-comes-back", &format!("\"sip:{}\"", pbx.address), "");
    let mut ada = arrives(&sipway, "ada", "page").await;
    let mut bob = arrives(&sipway, "bob", "desk").await;
    ada.send(&invite("ada", "bob")).unwrap();
    let asked = next(&mut bob, "INVITE", is("INVITE")).await;
    answers(&mut bob, &asked.message(), 200, "desk");
    let answered = next(&mut ada, "200", |message| message.status() == Some(200)).await;
    let (a, b, mut routes) = seen(&answered.message());
    routes.reverse();
    let from_ada: Vec<&[u8]> = routes.iter().map(Vec::as_slice).collect();
    ada.send(&within("ACK", &answered.message(), (&a, &b), from_ada.clone(), 1)).unwrap();
    let (_, _, routes) = seen(&asked.message());
    let from_bob: Vec<&[u8]> = routes.iter().map(Vec::as_slice).collect();

    drop(bob);
    sipway.until("closed", |handle| handle.live() == 1).await;
    let mut bob = arrives(&sipway, "bob", "desk").await;
    bob.set_answering(Answering::Answers);
    ada.set_answering(Answering::Answers);
    ada.send(&within("INFO", &answered.message(), (&a, &b), from_ada.clone(), 2)).unwrap();
    next(&mut bob, "INFO", is("INFO")).await;
    bob.send(&within("INFO", &asked.message(), (&b, &a), from_bob.clone(), 1)).unwrap();
    next(&mut ada, "INFO", is("INFO")).await;

    drop(ada);
    sipway.until("closed", |handle| handle.live() == 1).await;
    let mut ada = arrives(&sipway, "ada", "page").await;
    ada.set_answering(Answering::Answers);
    bob.send(&within("INFO", &asked.message(), (&b, &a), from_bob, 2)).unwrap();
    next(&mut ada, "INFO", is("INFO")).await;
    ada.send(&within("BYE", &answered.message(), (&a, &b), from_ada, 3)).unwrap();
    next(&mut bob, "BYE", is("BYE")).await;
    one_call(sipway).await;
}
