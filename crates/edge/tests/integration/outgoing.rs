//! Connections that the server makes: to servers behind it, and to phones that want to be reached so.

use edge::Health;
use lifecycle::{EventKind, Transport};
use prove::{Client, Setup};
use tokio::net::{TcpListener, UdpSocket};

use crate::{
    server_behind::{Authority, ServerBehind, Then},
    test_server::{PATIENCE, TestServer},
};

pub(crate) const UDP: &str = "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n";

/// Users of `localhost` register here; who is not there is looked for behind.
pub(crate) fn behind(targets: &str, upstream: &str) -> String {
    format!(
        "{UDP}[[upstream]]\nname = \"pbx\"\ntargets = [{targets}]\nprobe = \"1s\"\n{upstream}\n\
         [[domain]]\nname = \"localhost\"\nauth = \"open\"\nbackend = \"pbx\"\nregister = \"local\"\noutside = \"everybody\"\n"
    )
}

pub(crate) async fn status(client: &mut Client, body: &[u8]) -> u16 {
    client.message("sip:nobody@localhost", body).await.unwrap().status
}

/// Opened and closed flows that the server made itself.
fn made(sipway: &TestServer) -> (usize, usize) {
    let events = sipway.events();
    let count = |kind| {
        let connected =
            |(is, text): &&(EventKind, String)| *is == kind && text.contains("\"direction\":\"connected\"");
        events.iter().filter(connected).count()
    };
    (count(EventKind::FlowOpened), count(EventKind::FlowClosed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_serves_all_and_is_made_again_when_it_has_ended() {
    let pbx = ServerBehind::tcp(404, Then::Stays).await;
    let sipway =
        TestServer::new("outgoing-tcp", &behind(&format!("\"sip:{};transport=tcp\"", pbx.address), ""));
    let (mut ada, mut bob) = (sipway.connect("ada").await, sipway.connect("bob").await);
    for _ in 0..2 {
        assert_eq!(status(&mut ada, b"hello").await, 404);
        assert_eq!(status(&mut bob, b"hello").await, 404);
    }
    {
        let came = pbx.came();
        assert_eq!((came.connections, came.requests.len()), (1, 4));
        let tcp = sipway.target(Transport::Tcp).address;
        let via = format!("\r\nVia: SIP/2.0/TCP {tcp};branch=");
        assert!(came.requests.iter().all(|request| request.contains(&via)), "{came:?}");
    }
    assert_eq!(made(&sipway), (1, 0));
    drop(pbx);
    sipway.until("closed", |_| made(&sipway) == (1, 1)).await;
    // It is a flow like any other, and the running audit finds nothing that does not fit.
    let log = sipway.end().await;
    assert_eq!(log.flows().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_each_connection_is_connected_to_each_time() {
    let pbx = ServerBehind::tcp(404, Then::Ends).await;
    let more = behind(&format!("\"sip:{};transport=tcp\"", pbx.address), "").replace("\"1s\"", "\"off\"");
    let sipway = TestServer::new("outgoing-ends", &more);
    let mut ada = sipway.connect("ada").await;
    for turn in 1..=3 {
        assert_eq!(status(&mut ada, b"hello").await, 404);
        sipway.until("noticed", |_| made(&sipway) == (turn, turn)).await;
    }
    assert_eq!(pbx.came().connections, 3);
    assert!(sipway.handle.audit().await.unwrap().differences.is_empty());
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_connected_to_is_passed_over() {
    let nobody = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let gone = nobody.local_addr().unwrap();
    drop(nobody);
    let pbx = ServerBehind::tcp(404, Then::Stays).await;
    let targets = format!("\"sip:{gone};transport=tcp\", \"sip:{};transport=tcp\"", pbx.address);
    let sipway = TestServer::new("outgoing-refused", &behind(&targets, ""));
    let mut ada = sipway.connect("ada").await;
    assert_eq!(status(&mut ada, b"hello").await, 404, "found out by the request itself");
    sipway.until("found out", |handle| handle.upstreams()[0].health == Health::Down).await;
    assert_eq!(status(&mut ada, b"hello").await, 404);
    assert_eq!(sipway.handle.upstreams()[1].health, Health::Up);
    // What never was a connection is no flow.
    assert_eq!(sipway.end().await.flows().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_each_side_proves_who_it_is() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pbx = ServerBehind::tls(&authority).await;
    let (certificate, key) = authority.certify("edge.test");
    let (foreign, foreign_key) = other.certify("edge.test");
    let sipway = |name, text: &str, trusted: &Authority, own: (&str, &str)| {
        let files = [("ca.pem", &*trusted.pem()), ("own.pem", own.0), ("own.key", own.1)];
        TestServer::with_files(name, text, &files)
    };
    let listener = "[[listener]]\ntransport = \"tls\"\nbind = \"127.0.0.1:0\"\ncertificate = \"{here}/own.pem\"\nprivate_key = \"{here}/own.key\"\n";
    let identity =
        "ca = \"{here}/ca.pem\"\ncertificate = \"{here}/own.pem\"\nprivate_key = \"{here}/own.key\"";
    let text = format!("{listener}{}", behind(&format!("\"sips:{}\"", pbx.address), identity));
    let one = sipway("outgoing-tls", &text, &authority, (&*certificate, &*key));
    let mut ada = one.connect("ada").await;
    assert_eq!(status(&mut ada, b"hello").await, 200);
    assert!(pbx.came().requests[0].contains("\r\nVia: SIP/2.0/TLS "));
    one.until("opened", |_| made(&one) == (1, 0)).await;
    one.end().await;
    // One whose certificate somebody else has signed is not believed, and one who asks for ours is not told a
    // foreign one is good. The first is no connection at all, so nobody is served by it (RFC 3261 §16.7 step
    // 6); the second ends once it has been made.
    for (name, trusted, own, told) in [
        ("outgoing-tls-who", &other, (&*certificate, &*key), 503),
        ("outgoing-tls-we", &authority, (&*foreign, &*foreign_key), 500),
    ] {
        let before = pbx.came().requests.len();
        let one = sipway(name, &text, trusted, own);
        let mut ada = one.connect("ada").await;
        assert_eq!(status(&mut ada, b"hello").await, told, "{name}");
        assert_eq!(pbx.came().requests.len(), before);
        one.end().await;
    }
}

/// RFC 3261 §18.1.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_udp_goes_by_tcp_where_that_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let by_udp = ServerBehind::udp(UdpSocket::bind(address).await.unwrap(), 404).await;
    let by_tcp = ServerBehind::stream(listener, 403, Then::Stays, None);
    let sipway = TestServer::new("outgoing-large", &behind(&format!("\"sip:{address}\""), ""));
    let mut ada = sipway.connect("ada").await;
    assert_eq!(status(&mut ada, b"hello").await, 404);
    assert_eq!(status(&mut ada, &[b'x'; 1300]).await, 403);
    assert_eq!((by_udp.came().requests.len(), by_tcp.came().requests.len()), (1, 1));
    // Who does not listen there gets it by UDP.
    drop(by_tcp);
    sipway.until("noticed", |_| made(&sipway) == (1, 1)).await;
    assert_eq!(status(&mut ada, &[b'x'; 1300]).await, 404);
    assert_eq!(sipway.handle.upstreams()[0].health, Health::Up, "over UDP it is");
    sipway.end().await;
}

/// Registered over UDP, reached as its Contact says; but only at the address that it has registered from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_whose_contact_says_tcp_is_connected_to() {
    let phone = ServerBehind::tcp(200, Then::Stays).await;
    let other = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let sipway = TestServer::new("outgoing-phone", UDP);
    let setup = Setup { patience: PATIENCE, ..Setup::new("desk") };
    let mut desk = Client::connect(&sipway.target(Transport::Udp), &setup).await.unwrap();
    let mut ada = sipway.connect("ada").await;
    let register = |user: &str, address: std::net::SocketAddr| {
        format!(
            "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/UDP x.invalid;rport;branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@localhost>;tag=1\r\nTo: <sip:{user}@localhost>\r\nCall-ID: {user}\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:{user}@{address};transport=tcp>\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n",
            rand::random::<u64>()
        )
    };
    desk.send(register("desk", phone.address).as_bytes()).unwrap();
    desk.next().await.unwrap();
    let answer = ada.message("sip:desk@localhost", b"hello").await.unwrap();
    assert_eq!(answer.status, 200);
    let request = phone.came().requests.concat();
    let line = format!("MESSAGE sip:desk@{};transport=tcp SIP/2.0\r\n", phone.address);
    assert!(request.starts_with(&line), "{request}");
    // Nobody has us connect to a third one.
    desk.send(register("attic", other.local_addr().unwrap()).as_bytes()).unwrap();
    desk.next().await.unwrap();
    ada.start_message("sip:attic@localhost", b"hello").unwrap();
    let came = desk.next().await.unwrap();
    assert!(came.bytes().starts_with(b"MESSAGE "), "by the way that it has registered");
    assert_eq!(made(&sipway).0, 1);
    sipway.end().await;
}
