//! How URIs that name this server are known: by what we signed, by our addresses, by the domains that we
//! serve.

use lifecycle::Transport;
use sip_message::{HeaderId, Message};

use crate::{
    backend::{is, next},
    outgoing::{UDP, behind},
    reconnected::{Line, Pbx, Who, call, ok},
    server_behind::ServerBehind,
    test_server::TestServer,
    told,
    who::{ask, request},
};

/// What a PBX or a NAT helper makes of the routes that we wrote: another host and port.
fn rewritten(request: Vec<u8>, at: &str) -> Vec<u8> {
    let text = String::from_utf8(request).unwrap();
    let lines = text.split("\r\n").map(|line| match line.strip_prefix("Route: ") {
        None => line.to_owned(),
        Some(route) => {
            let (user, rest) = route.split_once('@').unwrap();
            format!("Route: {user}@{at}{}", &rest[rest.find(';').unwrap()..])
        }
    });
    lines.collect::<Vec<_>>().join("\r\n").into_bytes()
}

/// The status that the PBX is answered, what it asks being answered 200 by the user.
async fn answered(line: &mut Line) -> Option<u16> {
    let answer = line.next("an answer", |message| message.status().is_some_and(|status| status >= 200)).await;
    Message::parse(&answer).unwrap().status()
}

/// `rewrite_contact=yes` of Asterisk writes the port of the connection, and behind a NAT another address too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_we_signed_is_ours_at_any_port_and_address_but_not_by_another_name() {
    for (at, reaches) in [
        ("127.0.0.1:43210", true),
        ("127.0.0.1", true),
        ("198.51.100.7:9", true),
        ("[2001:db8::9]:1", true),
        ("LOCALHOST:1", true),
        ("elsewhere.example:5060", false),
    ] {
        // Without the table of calls the routes alone say the way.
        for max in [100, 0] {
            let pbx = Pbx::at("127.0.0.3").await.unwrap();
            let more =
                behind(&format!("\"sip:{};transport=tcp\"", pbx.address()), "").replace("\"1s\"", "\"off\"");
            let sipway = TestServer::new("own-routes", &format!("{more}[calls]\nmax = {max}\n"));
            let mut bob = sipway.registered("bob").await;
            bob.set_answering(prove::Answering::KeepsSilent);
            let (mut line, users, pbxs) = call(&sipway, &pbx, &mut bob, Who::User).await;
            line.send(&pbx.signed(rewritten(pbxs.request("INFO", 7), at))).await;
            if reaches {
                let came = next(&mut bob, "INFO", is("INFO")).await;
                bob.send(&ok(&came.message(), "<sip:bob@bob.invalid>")).unwrap();
                assert_eq!(answered(&mut line).await, Some(200), "{at}");
                bob.send(&rewritten(users.request("BYE", 8), at)).unwrap();
                let bye = line.next("BYE", is("BYE")).await;
                line.send(&ok(&Message::parse(&bye).unwrap(), "<sip:100@pbx>")).await;
                next(&mut bob, "200", |message| message.status() == Some(200)).await;
            } else {
                assert_eq!(answered(&mut line).await, Some(403), "{at}");
            }
            sipway.end().await;
        }
    }
}

/// What Asterisk qualifies and calls is the Contact as it has rewritten it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_we_made_is_ours_at_any_port_and_address() {
    let pbx = told::Pbx::new().await;
    let domains = "[[domain]]\nname = \"example.com\"\nbackend = \"pbx\"\nregister = \"contact-rewrite\"\n";
    let sipway = told::sipway("own-contacts", &pbx, domains);
    let target = sipway.target(Transport::Ws).domain("example.com");
    let setup = prove::Setup { patience: crate::test_server::PATIENCE, ..prove::Setup::new("alice") };
    let mut alice = prove::Client::connect(&target, &setup).await.unwrap();
    let (registered, came) = tokio::join!(alice.register(600), pbx.next());
    assert_eq!(registered.unwrap().status, 200);
    let came = Message::parse(came.as_bytes()).unwrap();
    let contact = String::from_utf8_lossy(came.value(HeaderId::Contact).unwrap()).into_owned();
    let contact = contact.split(['<', '>']).nth(1).unwrap().to_owned();
    let (user, _) = contact.split_once('@').unwrap();
    let inside = sipway.handle.listeners().iter().find(|bound| bound.name == "inside").unwrap().local;
    for (at, status) in [
        ("127.0.0.1:43210", 200),
        ("127.0.0.1:43210;transport=udp", 200),
        ("198.51.100.7:5066;x-ast-orig-host=a", 200),
        ("elsewhere.example:43210", 403),
    ] {
        let uri = format!("{user}@{at}");
        let asked = request("OPTIONS", &uri, "<sip:pbx@pbx.example>", &format!("<{uri}>"), "");
        let answer = tokio::select! {
            answer = pbx.ask(inside, &asked) => answer,
            ended = alice.serve() => panic!("{ended:?}"),
        };
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{at}: {answer}");
    }
    // One that was changed is nobody's.
    let uri = format!("{}@127.0.0.1:43210", user.replacen("sip:", "sip:A", 1));
    let asked = request("OPTIONS", &uri, "<sip:pbx@pbx.example>", &format!("<{uri}>"), "");
    assert!(pbx.ask(inside, &asked).await.starts_with("SIP/2.0 403 "));
    sipway.end().await;
}

/// RFC 3261 §16.4. A client that has the domain for its outbound proxy sends everything so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_names_a_served_domain_is_as_good_as_none() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let pbx = ServerBehind::udp(socket, 200).await;
    let config = format!(
        "{UDP}[[upstream]]\nname = \"pbx\"\ntargets = [\"sip:{}\"]\nprobe = \"off\"\n\
         [[domain]]\nname = \"localhost\"\nauth = \"open\"\n\
         [[domain]]\nname = \"example.com\"\nbackend = \"pbx\"\n",
        pbx.address
    );
    let sipway = TestServer::new("own-domains", &config);
    let ws = sipway.target(Transport::Ws).address;
    let (mut ada, mut bob) = (sipway.registered("ada").await, sipway.registered("bob").await);
    let serving = tokio::spawn(async move { bob.serve().await });
    for routes in [
        "<sip:localhost;lr>".to_owned(),
        "<sip:LocalHost:PORT;transport=ws;lr>".replace("PORT", &ws.port().to_string()),
        "<sips:localhost;lr>, <sip:example.com;lr>".to_owned(),
        format!("<sip:{ws};lr>, <sip:localhost;lr>"),
        format!("<sip:localhost;lr>, <sip:{ws};lr>, <sip:localhost;lr>"),
    ] {
        let route = format!("Route: {routes}\r\n");
        for (method, to) in [
            ("REGISTER", "sip:ada@localhost"),
            ("MESSAGE", "sip:bob@localhost"),
            ("OPTIONS", "sip:bob@localhost"),
            ("INFO", "sip:bob@localhost"),
            // Of a domain whose registrar is behind.
            ("REGISTER", "sip:ada@example.com"),
            ("MESSAGE", "sip:100@example.com"),
            ("INVITE", "sip:100@example.com"),
        ] {
            let domain = to.rsplit('@').next().unwrap();
            let uri = if method == "REGISTER" { format!("sip:{domain}") } else { to.to_owned() };
            let from = format!("<sip:ada@{domain}>");
            let answer = ask(&mut ada, &request(method, &uri, &from, &format!("<{to}>"), &route)).await;
            assert!(answer.starts_with("SIP/2.0 200 "), "{method} {to} {routes}: {answer}");
        }
    }
    assert!(pbx.came().requests.len() >= 15);
    for request in &pbx.came().requests {
        assert!(!request.contains("\r\nRoute:"), "{request}");
    }
    // It opens no way that there is not without it: none to others, and none by a user's name or another
    // port.
    let beyond = format!("Route: <sip:localhost;lr>, <sip:{};lr>\r\n", pbx.address);
    for (route, uri) in [
        ("Route: <sip:localhost;lr>\r\n", "sip:eve@elsewhere.example"),
        ("Route: <sip:localhost;lr>\r\n", "sip:eve@192.0.2.1"),
        ("Route: <sip:bob@localhost;lr>\r\n", "sip:bob@localhost"),
        ("Route: <sip:localhost:1;lr>\r\n", "sip:bob@localhost"),
        ("Route: <sip:localhost;lr>, <sip:elsewhere.example;lr>\r\n", "sip:bob@localhost"),
        (&*beyond, "sip:eve@elsewhere.example"),
    ] {
        let answer =
            ask(&mut ada, &request("MESSAGE", uri, "<sip:ada@localhost>", &format!("<{uri}>"), route)).await;
        assert!(answer.starts_with("SIP/2.0 403 "), "{route} {uri}: {answer}");
    }
    serving.abort();
    drop(serving);
    sipway.end().await;
}
