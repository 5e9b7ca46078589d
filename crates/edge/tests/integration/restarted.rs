//! Calls that go on behind a restart: their routes are signed by the run before, and the flows that they name
//! are gone.

use prove::{Answering, Client};
use sip_message::Message;

use crate::{
    backend::{is, next},
    outgoing::UDP,
    reconnected::{BOB, Pbx, Who, call, ok},
    test_server::{How, PATIENCE, TestServer},
    who::{ask, credentials, request},
};

fn sipway(name: &str, pbx: &Pbx, max: u32) -> TestServer {
    let config = format!(
        "{UDP}[calls]\nmax = {max}\n\
         [[upstream]]\nname = \"pbx\"\ntargets = [\"sip:{};transport=tcp\"]\nprobe = \"off\"\n\
         [[domain]]\nname = \"localhost\"\nusers = \"{{here}}/users.txt\"\nbackend = \"pbx\"\nregister = \"local\"\n",
        pbx.address()
    );
    TestServer::with_files(name, &config, &[("users.txt", "bob:builder\neve:apple\n")])
}

/// A user agent that registers with this Contact, and has no connection but this one.
async fn arrives(sipway: &TestServer, user: &str, password: &str, contact: &str) -> Client {
    let mut client = sipway.connect(user).await;
    client.set_answering(Answering::KeepsSilent);
    let me = format!("<sip:{user}@localhost>");
    let register = |more: &str| {
        let text = request("REGISTER", "sip:localhost", &me, &me, more);
        text.replace("<sip:x@x.invalid;transport=ws>", &format!("{contact};expires=600"))
    };
    let asked = ask(&mut client, &register("")).await;
    let proof = credentials(&asked, "REGISTER", "sip:localhost", user, password, 1);
    let answer = ask(&mut client, &register(&proof)).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    client
}

fn final_status(message: &Message<'_>) -> bool {
    message.status().is_some_and(|status| status >= 200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_either_side_of_a_call_with_a_server_behind_hangs_up() {
    for how in [How::Killed, How::Terminated] {
        for (caller, by) in
            [(Who::User, Who::User), (Who::User, Who::Pbx), (Who::Pbx, Who::User), (Who::Pbx, Who::Pbx)]
        {
            let case = format!("{how:?}, {caller:?} calls, {by:?} hangs up");
            let pbx = Pbx::new().await;
            let sipway = sipway("restarted", &pbx, 100);
            let mut bob = arrives(&sipway, "bob", "builder", BOB).await;
            let (line, users, pbxs) = call(&sipway, &pbx, &mut bob, caller).await;
            drop((bob, line));
            let sipway = sipway.again(how).await;
            let mut bob = arrives(&sipway, "bob", "builder", BOB).await;
            let status = match by {
                Who::User => {
                    bob.send(&users.request("BYE", 2)).unwrap();
                    let mut line = pbx.accept().await;
                    let bye = line.next("BYE", is("BYE")).await;
                    line.send(&ok(&Message::parse(&bye).unwrap(), "<sip:x>")).await;
                    next(&mut bob, "answer", final_status).await.message().status()
                }
                Who::Pbx => {
                    let mut line = pbx.connect(&sipway).await;
                    line.send(&pbx.signed(pbxs.request("BYE", 2))).await;
                    let bye = next(&mut bob, "BYE", is("BYE")).await;
                    bob.send(&ok(&bye.message(), BOB)).unwrap();
                    Message::parse(&line.next("answer", final_status).await).unwrap().status()
                }
            };
            assert_eq!(status, Some(200), "{case}");
            drop(bob);
            sipway.end().await;
        }
    }
}

/// Two devices under one name and Contact cannot be told apart, and another Contact is another device.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_nobody_is_taken_for_who_was_in_the_call_by_guess() {
    for contacts in [&["<sip:bob@elsewhere.invalid>"][..], &[]] {
        let pbx = Pbx::new().await;
        let sipway = sipway("restarted-guess", &pbx, 0);
        let mut bob = arrives(&sipway, "bob", "builder", BOB).await;
        let (line, _, pbxs) = call(&sipway, &pbx, &mut bob, Who::User).await;
        drop((bob, line));
        let sipway = sipway.again(How::Killed).await;
        let mut there = Vec::new();
        for contact in contacts {
            there.push(arrives(&sipway, "bob", "builder", contact).await);
        }
        // Of another user, who has the Contact of the one that is called.
        there.push(arrives(&sipway, "eve", "apple", BOB).await);
        let mut line = pbx.connect(&sipway).await;
        line.send(&pbx.signed(pbxs.request("BYE", 2))).await;
        let answer = line.next("answer", final_status).await;
        // 430 is for registrars that know outbound: Asterisk makes 500 of it.
        assert_eq!(Message::parse(&answer).unwrap().status(), Some(480));
        drop(there);
        sipway.end().await;
    }
}

/// Whoever has a route of an earlier run and none of the connections that it was made for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_route_of_an_earlier_run_ends_what_it_belongs_to_and_begins_nothing() {
    let pbx = Pbx::new().await;
    let sipway = sipway("restarted-thief", &pbx, 100);
    let mut bob = arrives(&sipway, "bob", "builder", BOB).await;
    let (line, users, _) = call(&sipway, &pbx, &mut bob, Who::User).await;
    drop((bob, line));
    let sipway = sipway.again(How::Killed).await;
    let mut thief = sipway.connect("mallory").await;
    thief.set_answering(Answering::KeepsSilent);
    let answer_to = async |thief: &mut Client, message: Vec<u8>| {
        thief.send(&message).unwrap();
        let answer = next(thief, "an answer", final_status).await;
        answer.message().status().unwrap()
    };
    let begins = ["INVITE", "MESSAGE", "SUBSCRIBE", "REFER", "PUBLISH", "NOTIFY", "OPTIONS", "FOO"];
    for (cseq, method) in (10..).zip(begins) {
        let status = answer_to(&mut thief, users.request(method, cseq)).await;
        assert_eq!(status, 403, "{method}");
    }
    // Without a To tag nothing of it counts; and one that is changed is nobody's.
    let text = String::from_utf8(users.request("BYE", 30)).unwrap();
    let without = text.replacen(";tag=callee", "", 1);
    assert_ne!(text, without);
    assert_eq!(answer_to(&mut thief, without.into_bytes()).await, 403);
    let changed = text.replace("Route: <sip:", "Route: <sip:A");
    assert_eq!(answer_to(&mut thief, changed.into_bytes()).await, 403);
    // What goes on or ends a dialog gets there, and the server says whether there is that dialog: it needs
    // the tags.
    thief.send(&users.request("BYE", 31)).unwrap();
    let mut line = pbx.accept().await;
    let came = line.next("a request", |message| message.is_request()).await;
    assert!(came.starts_with(b"BYE "), "nothing before it: {}", String::from_utf8_lossy(&came));
    line.send(&ok(&Message::parse(&came).unwrap(), "<sip:x>")).await;
    let answered = next(&mut thief, "200", |message| message.status() == Some(200));
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
    drop(thief);
    sipway.end().await;
}
