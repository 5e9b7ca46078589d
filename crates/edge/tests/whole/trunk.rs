//! A PBX as one trunk: users register here, each with its password, and a real Kamailio has users of its own.

use std::{net::UdpSocket, sync::Arc};

use lifecycle::Transport;
use prove::{Client, Persona, RequestError, Setup, Target};

use crate::{
    backend::{call_along, is, next, of},
    house::{House, PATIENCE},
    kamailio::{DOMAIN, Kamailio},
    who::{ask, request},
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
    let house = House::with_files("trunk", &text, &[("users.txt", "ada:wonder\nbob:builder\n")]);

    let mut ada = client(house.target(Transport::Ws), "ada", Some("wonder")).await;
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
    house.until("gone", |handle| handle.bindings().0 == 0).await;
    assert_eq!(phone.message(&of("ada"), b"hello").await.unwrap().status, 480);
    let mut ada = client(house.target(Transport::Ws), "ada", Some("wonder")).await;
    assert_eq!(ada.register(300).await.unwrap().status, 200);
    call_along(3, (&mut phone, "100"), (&mut ada, "ada")).await;

    // Who has no password gets nowhere: not here, and not by way of here.
    for transport in [Transport::Ws, Transport::Tcp, Transport::Udp] {
        let mut stranger = client(house.target(transport), "ada", None).await;
        assert_eq!(stranger.register(300).await, Err(RequestError::Unauthorized));
        for method in ["INVITE", "MESSAGE", "SUBSCRIBE"] {
            for from in ["ada", "mallory", "100"] {
                let asked =
                    request(method, &of("100"), &format!("<{}>", of(from)), &format!("<{}>", of("100")), "");
                let answer = ask(&mut stranger, &asked).await;
                assert!(answer.starts_with("SIP/2.0 407 ") || answer.starts_with("SIP/2.0 401 "), "{answer}");
            }
        }
        let me = format!("<{}>", of("ada"));
        let asked = request("REGISTER", &format!("sip:{DOMAIN}"), &me, &me, "Expires: 0\r\n");
        let answer = ask(&mut stranger, &asked.replace("<sip:x@x.invalid;transport=ws>", "*")).await;
        assert!(answer.starts_with("SIP/2.0 401 "), "{answer}");
    }
    let asking = phone.message(&to, b"still there");
    let (answer, came) = tokio::join!(asking, next(&mut ada, "MESSAGE", is("MESSAGE")));
    assert_eq!((answer.unwrap().status, came.message().body()), (200, &b"still there"[..]));
    drop((ada, phone));
    house.end().await;
}
