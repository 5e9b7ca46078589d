//! A PBX as one trunk: users register here, each with its password, and a real Kamailio has users of its own.

use std::{net::UdpSocket, sync::Arc};

use lifecycle::{EventKind, Transport};
use prove::{Client, Persona, RequestError, Setup, Target};

use crate::{
    backend::{call_along, is, next, of},
    kamailio::{DOMAIN, Kamailio},
    test_server::{PATIENCE, TestServer},
    told::{self, Pbx},
    who::{self, ask, request},
};

async fn client(target: Target, user: &str, password: Option<&str>) -> Client {
    let target = Target { domain: Arc::from(DOMAIN), ..target };
    let password = password.map(str::to_owned);
    let persona = if target.transport == Transport::Ws { Persona::JsSip } else { Persona::Phone };
    Client::connect(&target, &Setup { patience: PATIENCE, password, persona, ..Setup::new(user) })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_here_and_users_of_the_pbx_call_each_other_over_one_trunk() {
    // Its port is in the configuration of the PBX; nobody else here takes ports of this address.
    let here = UdpSocket::bind("127.0.0.6:0").unwrap().local_addr().unwrap();
    let pbx = Kamailio::run_with_trunk("trunk", here).await;
    let text = format!(
        "[[listener]]\ntransport = \"udp\"\nbind = \"{here}\"\n\
         [[upstream]]\nname = \"pbx\"\ntargets = [\"sip:{}\"]\n\
         [[domain]]\nname = \"{DOMAIN}\"\nusers = \"{{here}}/users.txt\"\nbackend = \"pbx\"\nregister = \"local\"\noutside = \"users\"\n",
        pbx.address
    );
    let sipway = TestServer::with_files("trunk", &text, &[("users.txt", "ada:wonder\nbob:builder\n")]);

    let mut ada = client(sipway.target(Transport::Ws), "ada", Some("wonder")).await;
    assert_eq!(ada.register(300).await.unwrap().status, 200);
    let mut phone = client(Target::new(Transport::Udp, pbx.address), "100", None).await;
    assert_eq!(phone.register(300).await.unwrap().status, 200);
    assert_eq!(pbx.contacts("ada").await, "", "no contact at the PBX that could be stale");

    // Twice each way: to a number of the PBX, and from it to a user here.
    call_along(3, (&mut ada, "ada"), (&mut phone, "100")).await;
    call_along(3, (&mut phone, "100"), (&mut ada, "ada")).await;
    let to = of("ada");
    let (answer, _) = tokio::join!(phone.message(&to, b"hello"), next(&mut ada, "MESSAGE", is("MESSAGE")));
    assert_eq!(answer.unwrap().status, 200);

    // A user who is away: asked for at the PBX, which does not send it back.
    assert_eq!(ada.message(&of("bob"), b"hello").await.unwrap().status, 404);
    // One who comes again is reached at once, by its new connection.
    drop(ada);
    sipway.until("gone", |handle| handle.bindings().0 == 0).await;
    assert_eq!(phone.message(&of("ada"), b"hello").await.unwrap().status, 480);
    let mut ada = client(sipway.target(Transport::Ws), "ada", Some("wonder")).await;
    assert_eq!(ada.register(300).await.unwrap().status, 200);
    call_along(3, (&mut phone, "100"), (&mut ada, "ada")).await;

    // Who has no password gets nowhere: not here, and not by way of here.
    for transport in [Transport::Ws, Transport::Tcp, Transport::Udp] {
        let mut unauthenticated = client(sipway.target(transport), "ada", None).await;
        assert_eq!(unauthenticated.register(300).await, Err(RequestError::Unauthorized));
        for method in ["INVITE", "MESSAGE", "SUBSCRIBE"] {
            for from in ["ada", "mallory", "100"] {
                let asked =
                    request(method, &of("100"), &format!("<{}>", of(from)), &format!("<{}>", of("100")), "");
                let answer = ask(&mut unauthenticated, &asked).await;
                assert!(answer.starts_with("SIP/2.0 407 ") || answer.starts_with("SIP/2.0 401 "), "{answer}");
            }
        }
        let me = format!("<{}>", of("ada"));
        let asked = request("REGISTER", &format!("sip:{DOMAIN}"), &me, &me, "Expires: 0\r\n");
        let answer = ask(&mut unauthenticated, &asked.replace("<sip:x@x.invalid;transport=ws>", "*")).await;
        assert!(answer.starts_with("SIP/2.0 401 "), "{answer}");
    }
    let asking = phone.message(&to, b"still there");
    let (answer, came) = tokio::join!(asking, next(&mut ada, "MESSAGE", is("MESSAGE")));
    assert_eq!((answer.unwrap().status, came.message().body()), (200, &b"still there"[..]));
    drop((ada, phone));
    sipway.end().await;
}

/// PBXs that know a trunk by its address alone call `sip:ada@10.0.0.1`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pbx_reaches_users_at_the_address_of_the_server_and_nobody_else_does() {
    for domains in [1, 2] {
        let pbx = Pbx::new().await;
        let domain = |name: &str| {
            format!(
                "[[domain]]\nname = \"{name}\"\nusers = \"{{here}}/users.txt\"\nbackend = \"pbx\"\nregister = \"local\"\n"
            )
        };
        let text =
            if domains == 1 { domain("example.com") } else { domain("example.com") + &domain("other.test") };
        let sipway = told::sipway(&format!("trunk-address-{domains}"), &pbx, &text);
        let mut alice = who::client(&sipway, Transport::Ws, "alice", "example.com", Some("wonder")).await;
        assert_eq!(alice.register(600).await.unwrap().status, 200);
        let inside = sipway.handle.listeners().iter().find(|bound| bound.name == "inside").unwrap().local;
        let at = |user: &str| format!("sip:{user}@{inside}");
        let to =
            |uri: &str, method: &str| request(method, uri, "<sip:100@pbx.test>", &format!("<{uri}>"), "");
        if domains == 2 {
            // Whose alice is not known.
            let answer = pbx.ask(inside, &to(&at("alice"), "MESSAGE")).await;
            assert!(answer.starts_with("SIP/2.0 403 "), "{answer}");
            drop(alice);
            sipway.end().await;
            continue;
        }
        for uri in
            [at("alice"), at("%61lice"), format!("sip:alice@{}", inside.ip()), at("alice") + ";transport=udp"]
        {
            let asked = to(&uri, "MESSAGE");
            let (answer, came) =
                tokio::join!(pbx.ask(inside, &asked), next(&mut alice, "MESSAGE", is("MESSAGE")));
            assert!(answer.starts_with("SIP/2.0 200 "), "{uri}: {answer}");
            assert!(came.message().request_uri_bytes().unwrap().ends_with(b".invalid;transport=ws"));
        }
        for (user, status) in [("bob", 480), ("nobody", 404)] {
            let answer = pbx.ask(inside, &to(&at(user), "MESSAGE")).await;
            assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{answer}");
        }
        let answer = pbx.ask(inside, &to(&at("alice"), "REGISTER")).await;
        assert!(answer.starts_with("SIP/2.0 403 "), "{answer}");
        // The call is hers, by her own name.
        let invite = to(&at("alice"), "INVITE");
        let (answer, _) = tokio::join!(pbx.ask(inside, &invite), next(&mut alice, "INVITE", is("INVITE")));
        assert!(answer.starts_with("SIP/2.0 486 "), "{answer}");
        sipway
            .until("recorded", |_| sipway.events().iter().any(|(kind, _)| *kind == EventKind::CallEnded))
            .await;
        let ended = sipway.events().into_iter().find(|(kind, _)| *kind == EventKind::CallEnded).unwrap().1;
        assert!(ended.contains("\"alice@example.com\""), "{ended}");
        let outside = sipway.handle.listeners().iter().find(|bound| bound.name == "outside").unwrap().local;
        let mut bob = who::client(&sipway, Transport::Ws, "bob", "example.com", Some("builder")).await;
        assert_eq!(bob.register(600).await.unwrap().status, 200);
        for uri in [at("alice"), format!("sip:alice@{outside}")] {
            assert_eq!(bob.message(&uri, b"hello").await.unwrap().status, 403, "a user says the domain");
        }
        drop((alice, bob));
        sipway.end().await;
    }
}

/// The PBX may trust the address of its trunk: what it does not hear from there is a REGISTER.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_registers_at_the_pbx_by_way_of_a_trunk() {
    let pbx = Pbx::new().await;
    let domain = "[[domain]]\nname = \"example.com\"\nusers = \"{here}/users.txt\"\nbackend = \"pbx\"\nregister = \"local\"\n";
    let sipway = told::sipway("trunk-register", &pbx, domain);
    let mut alice = who::client(&sipway, Transport::Ws, "alice", "example.com", Some("wonder")).await;
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    let route = format!("Route: <sip:{};lr>\r\n", pbx.address());
    let me = "<sip:alice@example.com>";
    // With such a Route she may ask it other things: her domain lets her out.
    let message = request("MESSAGE", "sip:100@example.com", me, "<sip:100@example.com>", &route);
    let (answer, _) = tokio::join!(ask(&mut alice, &message), pbx.next());
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    for uri in
        ["sip:example.com".to_owned(), format!("sip:{}", pbx.address()), "sip:elsewhere.test".to_owned()]
    {
        for to in [me, "<sip:100@example.com>", "<sip:100@elsewhere.test>"] {
            let answer = ask(&mut alice, &request("REGISTER", &uri, me, to, &route)).await;
            assert!(answer.starts_with("SIP/2.0 403 "), "{uri} {to}: {answer}");
        }
    }
    drop(alice);
    sipway.end().await;
}
