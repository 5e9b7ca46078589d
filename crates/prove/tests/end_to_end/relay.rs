//! MESSAGE from every transport to every transport, and back.

use lifecycle::Transport;
use prove::{Client, Feed, Incoming, Load, Persona, Setup, load};
use tokio::time::timeout;

use crate::server::{Directory, PATIENCE, Server};

async fn registered(server: &Server, transport: Transport, user: &str) -> Client {
    let persona = match transport {
        Transport::Ws => Persona::JsSip,
        Transport::Wss => Persona::SipJs,
        Transport::Tcp | Transport::Tls | Transport::Udp => Persona::Phone,
    };
    let setup = Setup { persona, ..Setup::new(user) };
    let mut client = Client::connect(&server.target(transport), &setup).await.unwrap();
    assert_eq!(client.register(600).await.unwrap().status, 200, "{transport}");
    client
}

async fn request(client: &mut Client) -> Incoming {
    loop {
        let incoming = timeout(PATIENCE, client.next()).await.expect("a request in time").unwrap();
        if matches!(incoming, Incoming::Request(_)) {
            return incoming;
        }
    }
}

async fn says(from: &mut Client, to: &mut Client, body: &str) {
    let address = to.address_of_record();
    let (response, heard) = tokio::join!(from.message(&address, body.as_bytes()), request(to));
    assert_eq!(response.expect(body).status, 200, "{body}");
    assert_eq!(heard.message().body(), body.as_bytes());
    let from_uri = from.address_of_record();
    let message = heard.message();
    assert_eq!(message.from().unwrap().uri_bytes(), from_uri.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_gets_from_every_transport_to_every_transport() {
    let directory = Directory::new("relay");
    let feed = Feed::default();
    let mut server = Server::dev(directory.path(), &feed).await;
    let transports = [Transport::Ws, Transport::Wss, Transport::Udp, Transport::Tcp];
    for one in transports {
        for other in transports {
            let mut here = registered(&server, one, &format!("{one}-{other}-a")).await;
            let mut there = registered(&server, other, &format!("{one}-{other}-b")).await;
            says(&mut here, &mut there, &format!("from {one} to {other}")).await;
            says(&mut there, &mut here, &format!("back from {other} to {one}")).await;
            // A body that is no UTF-8 travels in a binary frame.
            let to = there.address_of_record();
            let (response, heard) = tokio::join!(here.message(&to, b"\xff\xfe\x00raw"), request(&mut there));
            assert_eq!(response.unwrap().status, 200, "{one} {other}");
            assert_eq!(heard.message().body(), b"\xff\xfe\x00raw");
        }
    }
    let mut asks = registered(&server, Transport::Ws, "asks").await;
    assert_eq!(asks.options("sip:localhost").await.unwrap().status, 200);
    let nobody = asks.message("sip:nobody@localhost", b"hello").await.unwrap();
    assert!(matches!(nobody.status, 404 | 480), "{}", nobody.status);
    assert!(server.terminate().await.success());
    assert_eq!(feed.look(|log| (log.faults.count(), log.open_count())), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_a_load_is_answered() {
    let directory = Directory::new("load");
    let mut server = Server::dev(directory.path(), &Feed::default()).await;
    let target = server.target(Transport::Ws);
    let plan = Load { duration: std::time::Duration::from_secs(2), ..Load::new(&target, 20, 200.0) };
    let report = load(&plan).await.unwrap();
    assert!((360..=440).contains(&report.sent), "{report}");
    assert_eq!((report.answered, report.refused, report.unanswered), (report.sent, 0, 0), "{report}");
    assert_eq!(report.one_way.count(), report.sent, "{report}");
    assert!(server.terminate().await.success());
}
