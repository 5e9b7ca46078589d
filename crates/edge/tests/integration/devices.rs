//! Devices at a registrar behind: one Contact each, over any number of connections, and nothing left behind.

use std::{sync::Arc, time::Duration};

use lifecycle::{EventKind, Transport};
use metrics::Count;
use prove::Client;

use crate::{
    backend::{client, is, next, of},
    kamailio::DOMAIN,
    registrar_behind::{Holds, Registered, RegistrarBehind, Unregisters, contacts_of, plain},
    test_server::TestServer,
    who::{ask, request},
};

fn sipway(name: &str, register: &str, pbx: &RegistrarBehind) -> TestServer {
    TestServer::new(
        &format!("devices-{name}"),
        &format!(
            "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"pbx\"\ntargets = [\"sip:{}\"]\nprobe = \"off\"\n\
             [[domain]]\nname = \"{DOMAIN}\"\nbackend = \"pbx\"\nregister = \"{register}\"\n",
            pbx.address
        ),
    )
}

/// A REGISTER as a page sends it: `contacts` is the value of its Contact header field.
fn register(user: &str, call_id: &str, cseq: u32, contacts: &str) -> String {
    let contact = if contacts.is_empty() { String::new() } else { format!("Contact: {contacts}\r\n") };
    let (n, me) = (rand::random::<u64>(), of(user));
    format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
         From: <{me}>;tag={n}\r\nTo: <{me}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{contact}\
         Content-Length: 0\r\n\r\n"
    )
}

async fn registered(client: &mut Client, register: &str) -> String {
    let answer = ask(client, register).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    answer
}

/// A page of a client with this instance id: host and user of its Contact are of its own making.
fn page(instance: u8, load: u8) -> String {
    format!("<sip:u{load}@p{load}.invalid;transport=ws>;+sip.instance=\"<urn:uuid:{instance}>\";expires=600")
}

fn bindings(sipway: &TestServer) -> usize {
    sipway.handle.bindings().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_has_one_contact_at_the_registrar_over_any_number_of_connections() {
    for by in ["contact-rewrite", "auto"] {
        let pbx = RegistrarBehind::run().await;
        let sipway = sipway(&format!("one-{by}"), by, &pbx);
        let mut first = client(&sipway, Transport::Ws, "ada").await;
        let answer = registered(&mut first, &register("ada", "one", 1, &page(1, 1))).await;
        assert_eq!(contacts_of(&answer).len(), 1);
        assert!(contacts_of(&answer)[0].starts_with("<sip:u1@p1.invalid;transport=ws>"), "{answer}");
        let [contact] = &pbx.contacts("ada")[..] else { panic!("one contact") };
        // The page is loaded again, before anybody notices the end of the first connection; then by another
        // one.
        for load in 2..5 {
            let mut again = client(&sipway, Transport::Ws, "ada").await;
            let answer =
                registered(&mut again, &register("ada", &format!("c{load}"), 1, &page(1, load))).await;
            assert!(
                contacts_of(&answer)[0].starts_with(&format!("<sip:u{load}@p{load}.invalid")),
                "{answer}"
            );
            assert_eq!(pbx.contacts("ada"), std::slice::from_ref(contact), "{load}");
            // It is called over the connection that it has now, by the name that it has there.
            let (status, came) = tokio::join!(
                pbx.ask(&sipway, "MESSAGE", contact),
                next(&mut again, "MESSAGE", is("MESSAGE"))
            );
            assert_eq!(status, 200);
            let came = String::from_utf8_lossy(came.bytes()).into_owned();
            assert!(
                came.starts_with(&format!("MESSAGE sip:u{load}@p{load}.invalid;transport=ws SIP/2.0")),
                "{came}"
            );
            // The end of the older one takes nothing from the newer.
            let before = sipway.handle.metrics().get(Count::FlowsClosed);
            drop(std::mem::replace(&mut first, again));
            sipway.until("closed", |handle| handle.metrics().get(Count::FlowsClosed) > before).await;
            sipway
                .until("spared", |handle| {
                    handle.metrics().get(Count::UnregistersSpared) == u64::from(load) - 1
                })
                .await;
        }
        assert_eq!((pbx.came().as_str(), pbx.contacts("ada").len()), ("++++", 1));
        drop(first);
        pbx.until("taken back", |pbx| pbx.contacts("ada").is_empty()).await;
        assert_eq!(pbx.ask(&sipway, "MESSAGE", contact).await, 480, "nobody is there");
        assert_eq!(pbx.came(), "++++-");
        sipway.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_phones_with_one_contact_user_and_two_pages_are_devices_of_their_own() {
    let pbx = RegistrarBehind::run().await;
    let sipway = sipway("two", "contact-rewrite", &pbx);
    let contacts = [
        "<sip:ada@192.168.1.5:5060>;expires=600",
        "<sip:ada@192.168.1.6:5060>;expires=600",
        "<sip:ada@p1.invalid;transport=ws>;expires=600",
        "<sip:ada@p2.invalid;transport=ws>;expires=600",
        "<sip:ada@p3.invalid;transport=ws>;+sip.instance=\"<urn:uuid:3>\";expires=600",
        "<sip:ada@p4.invalid;transport=ws>;+sip.instance=\"<urn:uuid:4>\";expires=600",
    ];
    let mut devices = Vec::new();
    for (n, contact) in contacts.iter().enumerate() {
        let mut device = client(&sipway, Transport::Ws, "ada").await;
        registered(&mut device, &register("ada", &format!("c{n}"), 1, contact)).await;
        devices.push(device);
    }
    let known = pbx.contacts("ada");
    assert_eq!(known.len(), contacts.len());
    for (contact, device) in known.iter().zip(&mut devices) {
        assert!(contact.len() < 100, "registrars have limits: {contact}");
        let (status, _) =
            tokio::join!(pbx.ask(&sipway, "MESSAGE", contact), next(device, "MESSAGE", is("MESSAGE")));
        assert_eq!(status, 200);
    }
    // The same names of another user are other devices.
    let mut bob = client(&sipway, Transport::Ws, "bob").await;
    registered(&mut bob, &register("bob", "b", 1, contacts[4])).await;
    assert!(!known.contains(&pbx.contacts("bob")[0]));
    // And nobody but the server behind gets anywhere by them.
    let unauthenticated = request("MESSAGE", &known[0], "<sip:m@x>", &format!("<{}>", known[0]), "");
    assert!(ask(&mut bob, &unauthenticated).await.starts_with("SIP/2.0 403 "));
    sipway.end().await;
}

/// The registrar looks at no Call-ID: an un-REGISTER behind the REGISTER would take the new registration with
/// it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unregister_waits_for_a_register_that_is_under_way() {
    for refused in [None, Some(403)] {
        let pbx = RegistrarBehind::run().await;
        let sipway = sipway(&format!("under-way-{refused:?}"), "auto", &pbx);
        let mut first = client(&sipway, Transport::Ws, "ada").await;
        registered(&mut first, &register("ada", "one", 1, &page(1, 1))).await;
        let mut other = client(&sipway, Transport::Ws, "bob").await;
        registered(&mut other, &register("bob", "other", 1, &page(2, 1))).await;
        let mut second = client(&sipway, Transport::Ws, "ada").await;
        pbx.state().holds = Holds::Registers;
        second.send(register("ada", "two", 1, &page(1, 2)).as_bytes()).unwrap();
        pbx.until("held", RegistrarBehind::is_held).await;
        drop(first);
        sipway.until("closed", |handle| handle.bindings().0 == 1).await;
        // That of the other device is asked for later and has nothing to wait for.
        drop(other);
        pbx.until("taken back", |pbx| pbx.contacts("bob").is_empty()).await;
        assert_eq!(pbx.came(), "+++-", "it is not known yet whether the device is here");
        pbx.state().refuses = refused;
        pbx.release().await;
        match refused {
            None => {
                sipway.until("spared", |handle| handle.metrics().get(Count::UnregistersSpared) == 1).await;
                assert_eq!((pbx.came().as_str(), pbx.contacts("ada").len()), ("+++-", 1));
            }
            Some(_) => {
                pbx.state().refuses = None;
                pbx.until("taken back", |pbx| pbx.came() == "+++--").await;
            }
        }
        sipway.end().await;
    }
}

/// A registrar may ask whether a new contact is there as soon as it has written its 200, as Asterisk does
/// with `qualify_frequency`. Its 200 and its request are read by whatever thread is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_a_device_waits_for_the_register_that_is_under_way() {
    for (by, refused) in [("auto", None), ("contact-rewrite", None), ("auto", Some(403))] {
        let pbx = RegistrarBehind::run().await;
        let sipway = sipway(&format!("asked-early-{by}-{refused:?}"), by, &pbx);
        let mut page_of_bob = client(&sipway, Transport::Ws, "bob").await;
        registered(&mut page_of_bob, &register("bob", "other", 1, &page(2, 1))).await;
        let contact_of_bob = pbx.contacts("bob").remove(0);
        let mut page_of_ada = client(&sipway, Transport::Ws, "ada").await;
        pbx.state().holds = Holds::Registers;
        page_of_ada.send(register("ada", "one", 1, &page(1, 1)).as_bytes()).unwrap();
        pbx.until("held", RegistrarBehind::is_held).await;
        let contact = {
            let state = pbx.state();
            let came = state.came.last().unwrap();
            came.split_once("Contact: <").unwrap().1.split_once('>').unwrap().0.to_owned()
        };
        let granted = async {
            // A request to another device, sent later by the same socket, has nothing to wait for.
            let serves = next(&mut page_of_bob, "MESSAGE", is("MESSAGE"));
            let (status, _) = tokio::join!(pbx.ask(&sipway, "MESSAGE", &contact_of_bob), serves);
            assert_eq!(status, 200);
            pbx.state().refuses = refused;
            pbx.release().await;
            if refused.is_none() {
                next(&mut page_of_ada, "MESSAGE", is("MESSAGE")).await;
            }
        };
        let (status, ()) = tokio::join!(pbx.ask(&sipway, "MESSAGE", &contact), granted);
        assert_eq!(status, if refused.is_some() { 480 } else { 200 }, "{by}");
        sipway.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_register_waits_for_an_unregister_that_is_under_way() {
    let pbx = RegistrarBehind::run().await;
    let sipway = sipway("waits", "contact-rewrite", &pbx);
    let mut first = client(&sipway, Transport::Ws, "ada").await;
    registered(&mut first, &register("ada", "one", 1, &page(1, 1))).await;
    pbx.state().holds = Holds::Unregisters;
    drop(first);
    pbx.until("held", RegistrarBehind::is_held).await;
    let mut second = client(&sipway, Transport::Ws, "ada").await;
    second.send(register("ada", "two", 1, &page(1, 2)).as_bytes()).unwrap();
    // Another device of the same user waits for nothing.
    let mut other = client(&sipway, Transport::Ws, "ada").await;
    registered(&mut other, &register("ada", "three", 1, &page(2, 3))).await;
    assert_eq!(pbx.came(), "+-+");
    pbx.release().await;
    next(&mut second, "200", |message| message.status() == Some(200)).await;
    assert_eq!(pbx.came(), "+-++");
    assert_eq!(pbx.contacts("ada").len(), 2, "it is registered, and nothing late takes it away");
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_comes_about_after_its_connection_has_ended_is_taken_back() {
    for by in ["path", "auto", "contact-rewrite"] {
        let pbx = RegistrarBehind::run().await;
        let sipway = sipway(&format!("ghost-{by}"), by, &pbx);
        pbx.state().holds = Holds::Registers;
        let mut ada = client(&sipway, Transport::Ws, "ada").await;
        ada.send(register("ada", "one", 1, &page(1, 1)).as_bytes()).unwrap();
        pbx.until("held", RegistrarBehind::is_held).await;
        drop(ada);
        sipway.until("closed", |handle| handle.metrics().get(Count::FlowsClosed) == 1).await;
        pbx.release().await;
        pbx.until("taken back", |pbx| pbx.came() == "+-").await;
        pbx.until("gone", |pbx| pbx.contacts("ada").is_empty()).await;
        assert_eq!(bindings(&sipway), 0);
        sipway.end().await;
    }
}

/// The answer to an un-REGISTER lists what is left. Contacts of other devices are none of its business.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unregister_that_removes_nothing_counts_as_failed_whatever_its_status() {
    let other = "Contact: <sip:other@192.0.2.7>;expires=600\r\n";
    let rewritten: fn(&[Registered]) -> String =
        |all| plain(all).replace("127.0.0.1", "203.0.113.9").replace(".invalid", ".invalid:40000");
    for (by, unregisters, lists, failed) in [
        ("path", Unregisters::Removes, plain as fn(&[Registered]) -> String, 0),
        ("path", Unregisters::RemovesNothing, plain, 1),
        ("auto", Unregisters::RemovesNothing, plain, 1),
        ("contact-rewrite", Unregisters::Removes, rewritten, 0),
        // A Contact of ours is known at whatever host and port.
        ("contact-rewrite", Unregisters::RemovesNothing, rewritten, 1),
    ] {
        let pbx = RegistrarBehind::run().await;
        {
            let mut state = pbx.state();
            state.unregisters = unregisters;
            state.lists = Box::new(move |all| format!("{other}{}", lists(all)));
        }
        let sipway = sipway(&format!("still-listed-{by}-{failed}"), by, &pbx);
        let mut ada = client(&sipway, Transport::Ws, "ada").await;
        registered(&mut ada, &register("ada", "one", 1, &page(1, 1))).await;
        drop(ada);
        let done = |count| move |handle: &edge::Handle| handle.metrics().get(count) == 1;
        let count = if failed == 1 { Count::UnregistersFailed } else { Count::Unregistered };
        sipway.until("answered", done(count)).await;
        let upstream = &sipway.handle.upstreams()[0];
        assert_eq!(upstream.unregisters_failed, failed, "{by}");
        assert_eq!(upstream.unregister_status, (failed == 1).then_some(200), "{by}");
        sipway.end().await;
    }
}

/// The end of the process is no different: what is under way then is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_is_under_way_at_the_end_of_the_process_is_taken_back() {
    let pbx = Arc::new(RegistrarBehind::run().await);
    let sipway = sipway("ghost-end", "auto", &pbx);
    pbx.state().holds = Holds::Registers;
    let mut ada = client(&sipway, Transport::Ws, "ada").await;
    ada.send(register("ada", "one", 1, &page(1, 1)).as_bytes()).unwrap();
    pbx.until("held", RegistrarBehind::is_held).await;
    let releases = Arc::clone(&pbx);
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        releases.release().await;
    });
    sipway.end().await;
    later.await.unwrap();
    pbx.until("taken back", |pbx| pbx.came() == "+-" && pbx.contacts("ada").is_empty()).await;
}

/// A refresh is under way when its connection ends, and the device has come back by another meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_to_a_refresh_takes_nothing_from_the_device_that_has_come_back() {
    for by in ["path", "auto", "contact-rewrite"] {
        let pbx = RegistrarBehind::run().await;
        let sipway = sipway(&format!("refresh-{by}"), by, &pbx);
        let mut first = client(&sipway, Transport::Ws, "ada").await;
        registered(&mut first, &register("ada", "one", 1, &page(1, 1))).await;
        pbx.state().holds = Holds::Registers;
        first.send(register("ada", "one", 2, &page(1, 1)).as_bytes()).unwrap();
        pbx.until("held", RegistrarBehind::is_held).await;
        drop(first);
        sipway.until("closed", |handle| handle.bindings().0 == 0).await;
        let mut second = client(&sipway, Transport::Ws, "ada").await;
        second.send(register("ada", "one", 3, &page(1, 1)).as_bytes()).unwrap();
        pbx.until("both", |pbx| pbx.came() == "+++").await;
        pbx.release().await;
        next(&mut second, "200", |message| message.status() == Some(200)).await;
        sipway.until("spared", |handle| handle.metrics().get(Count::UnregistersSpared) >= 1).await;
        assert_eq!((pbx.came().as_str(), pbx.contacts("ada").len()), ("+++", 1), "{by}");
        sipway.end().await;
    }
}

/// Two pages share an instance id, as where it is kept in the browser: the one that is left behind takes
/// itself back, and not the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_an_older_contact_of_a_device_back_leaves_the_newer() {
    let pbx = RegistrarBehind::run().await;
    let sipway = sipway("older", "auto", &pbx);
    let (mut first, mut second) =
        (client(&sipway, Transport::Ws, "ada").await, client(&sipway, Transport::Ws, "ada").await);
    registered(&mut first, &register("ada", "one", 1, &page(1, 1))).await;
    registered(&mut second, &register("ada", "two", 1, &page(1, 2))).await;
    let gone = |load| page(1, load).replace("expires=600", "expires=0");
    registered(&mut first, &register("ada", "one", 2, &gone(1))).await;
    assert_eq!((pbx.contacts("ada").len(), bindings(&sipway)), (1, 1));
    registered(&mut second, &register("ada", "two", 2, &gone(2))).await;
    assert_eq!((pbx.contacts("ada").len(), bindings(&sipway)), (0, 0));
    sipway.end().await;
}

/// JsSIP says `reg-id` with each page's own Contact. A registrar that knows no flows has both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_a_newer_one_has_replaced_is_taken_back_from_a_registrar_that_lists_it() {
    let pbx = RegistrarBehind::run().await;
    let sipway = sipway("replaced", "path", &pbx);
    let (mut first, mut second) =
        (client(&sipway, Transport::Ws, "ada").await, client(&sipway, Transport::Ws, "ada").await);
    let flow = |load| page(1, load).replace(";expires", ";reg-id=1;expires");
    registered(&mut first, &register("ada", "one", 1, &flow(1))).await;
    registered(&mut second, &register("ada", "two", 1, &flow(2))).await;
    pbx.until("taken back", |pbx| pbx.contacts("ada") == ["sip:u2@p2.invalid;transport=ws"]).await;
    assert_eq!(bindings(&sipway), 1);
    sipway.end().await;
}

/// Each as Asterisk, Kamailio with NAT helpers, or others do it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_2xx_is_the_proof_however_the_registrar_lists_the_contact() {
    type Case = (&'static str, fn(&[Registered]) -> String, i32);
    let cases: [Case; 8] = [
        ("plain", plain, 600),
        (
            "host",
            |all| plain(all).replace(".invalid", ".example.com:40000").replace("127.0.0.1", "203.0.113.9"),
            600,
        ),
        ("transport", |all| plain(all).replace(";transport=ws", "").replace(";transport=udp", ""), 600),
        (
            "order",
            |all| {
                let one = |(uri, _, expires): &Registered| {
                    format!("Contact: \"A\" <{uri};x=y> ;expires={expires};q=1\r\n")
                };
                all.iter().map(one).collect()
            },
            600,
        ),
        ("time", |all| plain(all).replace("expires=600", "expires=77"), 77),
        ("overall", |all| plain(all).replace(";expires=600", "") + "Expires: 88\r\n", 88),
        ("nothing", |_| String::new(), 600),
        ("others", |all| format!("Contact: <sip:other@192.0.2.7>;expires=11\r\n{}", plain(all)), 600),
    ];
    for by in ["path", "auto", "contact-rewrite"] {
        for (name, lists, lasts) in cases {
            let pbx = RegistrarBehind::run().await;
            pbx.state().lists = Box::new(lists);
            let sipway = sipway(&format!("lists-{name}-{by}"), by, &pbx);
            let mut ada = client(&sipway, Transport::Ws, "ada").await;
            registered(&mut ada, &register("ada", "one", 1, &page(1, 1))).await;
            // A query changes nothing.
            registered(&mut ada, &register("ada", "one", 2, "")).await;
            assert_eq!(bindings(&sipway), 1, "{name} {by}");
            let message =
                request("MESSAGE", &of("bob"), &format!("<{}>", of("ada")), &format!("<{}>", of("bob")), "");
            let answer = ask(&mut ada, &message).await;
            assert!(answer.starts_with("SIP/2.0 200 "), "registered is registered: {name} {by} {answer}");
            sipway
                .until("written", |_| {
                    sipway.events().iter().any(|(kind, _)| *kind == EventKind::BindingAdded)
                })
                .await;
            let added =
                sipway.events().into_iter().find(|(kind, _)| *kind == EventKind::BindingAdded).unwrap().1;
            let added: serde_json::Value = serde_json::from_str(&added).unwrap();
            assert_eq!(added["data"]["contact"], "sip:u1@p1.invalid;transport=ws");
            let seconds = |time: &serde_json::Value| {
                let clock = &time.as_str().unwrap()[11..19];
                clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i32>().unwrap())
            };
            let left =
                (seconds(&added["data"]["expires_at"]) - seconds(&added["time"])).rem_euclid(24 * 3600);
            assert!((lasts - 1..=lasts).contains(&left), "{name} {by} {left}");
            drop(ada);
            pbx.until("taken back", |pbx| pbx.contacts("ada").is_empty()).await;
            sipway.end().await;
        }
    }
}

/// A registrar may let anybody take a binding back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_something_back_or_asks_what_there_is_has_not_proved_who_it_is() {
    for by in ["path", "auto", "contact-rewrite"] {
        let pbx = RegistrarBehind::run().await;
        let sipway = sipway(&format!("stranger-{by}"), by, &pbx);
        let mut ada = client(&sipway, Transport::Ws, "ada").await;
        registered(&mut ada, &register("ada", "one", 1, &page(1, 1))).await;
        let mut mallory = client(&sipway, Transport::Ws, "mallory").await;
        let gone = page(9, 9).replace("expires=600", "expires=0");
        for register in [register("ada", "m", 1, ""), register("ada", "m", 2, &gone)] {
            registered(&mut mallory, &register).await;
            let message =
                request("MESSAGE", &of("bob"), &format!("<{}>", of("ada")), &format!("<{}>", of("bob")), "");
            assert!(ask(&mut mallory, &message).await.starts_with("SIP/2.0 403 "), "{register}");
        }
        assert_eq!(bindings(&sipway), 1);
        sipway.end().await;
    }
}

/// Of the Contacts of a REGISTER the registrar behind sees one that leads to where it came from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registrar_behind_hears_of_no_contact_that_leads_elsewhere() {
    for by in ["path", "auto", "contact-rewrite"] {
        let pbx = RegistrarBehind::run().await;
        let sipway = sipway(&format!("elsewhere-{by}"), by, &pbx);
        let mut ada = client(&sipway, Transport::Ws, "ada").await;
        let contacts = "<mailto:ada@example.com>;expires=600, <sip:ada@192.0.2.7:5066>;expires=600, \
            <sip:u1@p1.invalid;transport=ws>;expires=600, <sip:u2@p1.invalid;transport=ws>;expires=600";
        registered(&mut ada, &register("ada", "one", 1, contacts)).await;
        assert_eq!((pbx.contacts("ada").len(), bindings(&sipway)), (1, 1), "{by}");
        if by != "path" {
            let contact = pbx.contacts("ada").remove(0);
            let (status, came) =
                tokio::join!(pbx.ask(&sipway, "MESSAGE", &contact), next(&mut ada, "MESSAGE", is("MESSAGE")));
            assert_eq!(status, 200);
            assert!(came.bytes().starts_with(b"MESSAGE sip:u1@p1.invalid;transport=ws SIP/2.0"));
        }
        let answer = ask(&mut ada, &register("ada", "one", 2, "<mailto:ada@example.com>;expires=600")).await;
        assert!(answer.starts_with("SIP/2.0 403 Contact Leads Elsewhere\r\n"), "{answer}");
        sipway.end().await;
    }
}

/// That it is not repeated later is shown in the rules of `sip-proxy`, which have a clock of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_comes_back_after_an_unregister_that_was_given_up() {
    let pbx = RegistrarBehind::run().await;
    let sipway = sipway("given-up", "auto", &pbx);
    let mut first = client(&sipway, Transport::Ws, "ada").await;
    registered(&mut first, &register("ada", "one", 1, &page(1, 1))).await;
    pbx.state().holds = Holds::Unregisters;
    drop(first);
    sipway.until("given up", |handle| handle.metrics().get(Count::UnregistersFailed) == 1).await;
    // The registrar is there again, and hears of the device from itself.
    let mut second = client(&sipway, Transport::Ws, "ada").await;
    pbx.state().holds = Holds::Nothing;
    registered(&mut second, &register("ada", "two", 1, &page(1, 2))).await;
    assert_eq!((pbx.came().as_str(), pbx.contacts("ada").len()), ("+-+", 1));
    sipway.end().await;
}
