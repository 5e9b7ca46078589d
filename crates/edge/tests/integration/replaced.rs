//! A user agent that registers on another connection than before.

use std::time::Duration;

use lifecycle::Cause;
use prove::{AfterClose, Client, CloseWord, Ended, Ending, Farewell, Incoming};
use tokio::time::timeout;

use crate::test_server::{PATIENCE, TestServer};

const CLOSE: &str = "[registrar]\nreplaced_flow = \"close\"\n";
const TOLD: &str = "this user agent is registered on a newer connection";

/// A REGISTER as a page would send it that remembers its instance.
pub(crate) fn registration(user: &str, instance: &str, call: &str) -> String {
    // Without an instance, a user agent is known by its Contact.
    let contact = if instance.is_empty() { user } else { call };
    format!(
        "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
         To: <sip:{user}@localhost>\r\nFrom: <sip:{user}@localhost>;tag={call}\r\nCall-ID: {call}\r\n\
         CSeq: 1 REGISTER\r\nExpires: 600\r\nContact: <sip:{contact}@x.invalid;transport=ws>{instance}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

const INSTANCE: &str = ";reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-000000000001>\"";
const ANOTHER: &str = ";reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-000000000002>\"";

pub(crate) async fn register(client: &mut Client, user: &str, instance: &str, call: &str) {
    client.send(registration(user, instance, call).as_bytes()).unwrap();
    let answered = async {
        loop {
            match client.next().await.unwrap() {
                Incoming::Response(response) => return response.status,
                Incoming::Request(_) => {}
            }
        }
    };
    assert_eq!(timeout(PATIENCE, answered).await.unwrap(), 200);
}

/// Reaches whoever is registered as ada.
async fn reaches(from: &mut Client, ada: &mut Client) {
    from.start_message("sip:ada@localhost", b"here?").unwrap();
    let request = async {
        loop {
            if let Incoming::Request(_) = ada.next().await.unwrap() {
                return;
            }
        }
    };
    timeout(PATIENCE, request).await.expect("the message comes over the newer connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_connection_is_closed_behind_what_it_had_said() {
    let sipway = TestServer::new("replaced", CLOSE);
    let mut bob = sipway.registered("bob").await;
    // On two shards: whether both are of one or not, all the same is done.
    for round in 0..4 {
        let mut old = sipway.connect("ada").await;
        register(&mut old, "ada", INSTANCE, &format!("old{round}")).await;
        let mut new = sipway.connect("ada").await;
        if round >= 2 {
            new = sipway.connect("ada").await;
        }
        old.start_message("sip:bob@localhost", b"last words").unwrap();
        old.flush().await.unwrap();
        register(&mut new, "ada", INSTANCE, &format!("new{round}")).await;
        let heard = async {
            loop {
                if let Incoming::Request(_) = bob.next().await.unwrap() {
                    return;
                }
            }
        };
        timeout(PATIENCE, heard).await.expect("what was said before is handled");
        let ended = timeout(PATIENCE, old.serve()).await.unwrap();
        assert_eq!(ended, Ended::Closed { code: Some(1000), reason: TOLD.into() });
        // Its close comes late, and touches nothing of the newer one's.
        sipway.until("closed", |_| replaced(&sipway) == round + 1).await;
        assert_eq!(sipway.handle.bindings().0, 2);
        reaches(&mut bob, &mut new).await;
        new.end(Ending::Close(CloseWord::Normal, AfterClose::Wait), &Farewell::Nothing, PATIENCE).await;
        sipway.until("gone", |handle| handle.bindings().0 == 1).await;
    }
    drop(bob);
    sipway.end().await;
}

fn replaced(sipway: &TestServer) -> usize {
    let log = sipway.log();
    log.flows()
        .values()
        .flat_map(|flow| &flow.closes)
        .filter(|close| close.cause == Some(Cause::Replaced))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_something_else_is_registered_stays() {
    let sipway = TestServer::new("shared", CLOSE);
    let mut old = sipway.connect("ada").await;
    register(&mut old, "ada", INSTANCE, "ada1").await;
    register(&mut old, "fax", INSTANCE, "fax1").await;
    let mut new = sipway.connect("ada").await;
    register(&mut new, "ada", INSTANCE, "ada2").await;
    // The other page of the same user is another user agent; so is one that has no instance.
    let mut page = sipway.connect("ada").await;
    register(&mut page, "ada", ANOTHER, "ada3").await;
    let mut plain = sipway.connect("eve").await;
    register(&mut plain, "eve", "", "eve").await;
    let mut again = sipway.connect("eve").await;
    register(&mut again, "eve", "", "eve2").await;
    register(&mut old, "fax", INSTANCE, "fax2").await;
    assert_eq!((sipway.handle.live(), sipway.handle.bindings().0), (5, 4));
    // And once it is bare, it goes.
    register(&mut new, "fax", INSTANCE, "fax3").await;
    let ended = timeout(PATIENCE, old.serve()).await.unwrap();
    assert_eq!(ended, Ended::Closed { code: Some(1000), reason: TOLD.into() });
    drop((new, page, plain, again));
    let log = sipway.end().await;
    assert_eq!(log.opened_count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_connections_end_by_themselves_and_take_nothing_with_them() {
    let sipway = TestServer::new("kept", "");
    let mut bob = sipway.registered("bob").await;
    let mut old = sipway.connect("ada").await;
    register(&mut old, "ada", INSTANCE, "ada1").await;
    let mut new = sipway.connect("ada").await;
    register(&mut new, "ada", INSTANCE, "ada2").await;
    // A call may still run on it.
    assert_eq!(old.message("sip:nobody@localhost", b"still here").await.unwrap().status, 480);
    assert_eq!(old.serve_for(Duration::from_millis(1)).await, None);
    old.end(Ending::Close(CloseWord::Normal, AfterClose::Wait), &Farewell::Nothing, PATIENCE).await;
    sipway.until("closed", |_| sipway.log().closed_count() == 1).await;
    assert_eq!(sipway.handle.bindings().0, 2, "a late end touches nothing newer");
    reaches(&mut bob, &mut new).await;

    // The other way round: first the end, then the newer one.
    new.end(Ending::Close(CloseWord::Normal, AfterClose::Wait), &Farewell::Nothing, PATIENCE).await;
    sipway.until("closed", |_| sipway.log().closed_count() == 2).await;
    assert_eq!(sipway.handle.bindings().0, 1);
    let mut newest = sipway.connect("ada").await;
    register(&mut newest, "ada", INSTANCE, "ada3").await;
    reaches(&mut bob, &mut newest).await;
    drop((bob, newest));
    assert_eq!(sipway.end().await.opened_count(), 4);
}
