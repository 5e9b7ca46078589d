//! What phones and NAT helpers send besides SIP is no attack, on any transport; and what registered phones
//! get wrong is none either.

use std::{net::SocketAddr, time::Duration};

use lifecycle::Transport;
use metrics::Count;
use prove::{Client, Setup};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

use crate::test_server::{PATIENCE, TestServer};

/// Everything from an office comes from this address.
const OFFICE: &str = "127.0.0.2:0";

/// Five failures are a ban.
fn sipway(name: &str) -> TestServer {
    TestServer::new(
        name,
        "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n[[domain]]\nname = \"localhost\"\nauth = \"open\"\n\
         [defence]\nexempt = \"off\"\nfailures = 5\n",
    )
}

fn at(sipway: &TestServer, transport: Transport) -> SocketAddr {
    sipway.handle.listeners().iter().find(|bound| bound.transport == transport).unwrap().local
}

fn request(method: &str, uri: &str, from: SocketAddr, branch: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:ada@localhost>;tag=1\r\nTo: <{uri}>\r\nCall-ID: {from}{branch}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:ada@{from}>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn register(from: SocketAddr) -> String {
    request("REGISTER", "sip:localhost", from, "r", "")
        .replace("To: <sip:localhost>", "To: <sip:ada@localhost>")
}

/// Asks once, and gives the first line of the answer.
async fn ask(socket: &UdpSocket, server: SocketAddr, text: &str) -> String {
    socket.send_to(text.as_bytes(), server).await.unwrap();
    let mut answer = [0; 2000];
    let (length, _) = timeout(PATIENCE, socket.recv_from(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}

/// What is known to be sent, and strays of other protocols.
fn chatter() -> Vec<Vec<u8>> {
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let rtp = [&[0x80, 0, 0, 1, 0, 0, 0, 160][..], &[0xd5; 164]].concat();
    let rtcp = [&[0x80, 200, 0, 6][..], &[1; 24]].concat();
    let text = [
        &b""[..],
        b"\0",
        b"\0\0\0\0",
        b"\r\n",
        b"\r\n\r\n",
        b"\r\n\0",
        b"\n",
        b" ",
        b"jaK\0",
        b"jaK",
        b"PING",
        b"Cirpack KeepAlive Packet",
        b";",
        b".",
        b"$NOTIFY",
        b"\x16\xfe\xff\0\0",
    ];
    text.into_iter().map(<[u8]>::to_vec).chain([stun, rtp, rtcp]).collect()
}

#[tokio::test]
async fn datagrams_that_are_no_sip_are_no_offence_and_are_not_answered() {
    let sipway = sipway("keepalives-udp");
    let server = at(&sipway, Transport::Udp);
    let (phone, helper) = (UdpSocket::bind(OFFICE).await.unwrap(), UdpSocket::bind(OFFICE).await.unwrap());
    assert_eq!(ask(&phone, server, &register(phone.local_addr().unwrap())).await, "SIP/2.0 200 OK");
    let mut sent = 0;
    for bytes in chatter() {
        for socket in [&phone, &helper] {
            for _ in 0..20 {
                socket.send_to(&bytes, server).await.unwrap();
                sent += 1;
            }
        }
        sipway.until("taken", |handle| handle.metrics().get(Count::MessagesNotSip) == sent).await;
    }
    assert!(sipway.handle.bans().is_empty(), "{:?}", sipway.handle.bans());
    assert_eq!(sipway.handle.metrics().get(Count::OffencesMalformed), 0);
    let newcomer = UdpSocket::bind(OFFICE).await.unwrap();
    assert_eq!(ask(&newcomer, server, &register(newcomer.local_addr().unwrap())).await, "SIP/2.0 200 OK");
    let mut answer = [0; 2000];
    for socket in [phone, helper] {
        assert!(timeout(Duration::ZERO, socket.recv_from(&mut answer)).await.is_err(), "it got no answer");
    }
    sipway.end().await;
}

/// They are bounded for an address by no memory of it, and for the server by doing nothing.
#[tokio::test]
async fn damaged_sip_of_unauthenticated_clients_is_an_offence_and_that_of_registered_phones_is_not() {
    let sipway = sipway("keepalives-damaged");
    let server = at(&sipway, Transport::Udp);
    let (phone, unauthenticated) =
        (UdpSocket::bind(OFFICE).await.unwrap(), UdpSocket::bind(OFFICE).await.unwrap());
    let here = phone.local_addr().unwrap();
    assert_eq!(ask(&phone, server, &register(here)).await, "SIP/2.0 200 OK");
    let damaged = register(here).replace("CSeq: 1", "CSeq: x");
    let refused =
        |branch: usize| request("MESSAGE", "sip:nobody@nowhere.test", here, &branch.to_string(), "");
    for round in 0..20 {
        assert!(ask(&phone, server, &damaged).await.starts_with("SIP/2.0 400 "));
        assert_eq!(ask(&phone, server, &refused(round)).await, "SIP/2.0 403 Relaying Denied");
    }
    assert!(sipway.handle.bans().is_empty(), "{:?}", sipway.handle.bans());
    let damaged = damaged.replace(&here.to_string(), &unauthenticated.local_addr().unwrap().to_string());
    for _ in 0..6 {
        unauthenticated.send_to(damaged.as_bytes(), server).await.unwrap();
    }
    sipway.until("banned", |handle| handle.bans().iter().any(|ban| ban.offence == "malformed")).await;
    // Whoever is registered goes on.
    assert_eq!(ask(&phone, server, &refused(99)).await, "SIP/2.0 403 Relaying Denied");
    sipway.end().await;
}

#[tokio::test]
async fn messages_over_a_websocket_that_are_no_sip_are_no_offence() {
    let sipway = sipway("keepalives-ws");
    let source = Some(OFFICE.parse::<SocketAddr>().unwrap().ip());
    let setup = Setup { patience: PATIENCE, source, ..Setup::new("bob") };
    let mut client = Client::connect(&sipway.target(Transport::Ws), &setup).await.unwrap();
    for bytes in chatter() {
        for _ in 0..3 {
            client.send(&bytes).unwrap();
        }
    }
    client.send(b"{\"type\":\"ping\"}").unwrap();
    client.flush().await.unwrap();
    assert_eq!(client.register(600).await.unwrap().status, 200);
    assert!(sipway.handle.bans().is_empty(), "{:?}", sipway.handle.bans());
    let mut newcomer = Client::connect(&sipway.target(Transport::Ws), &setup).await.unwrap();
    assert_eq!(newcomer.register(600).await.unwrap().status, 200);
    drop((client, newcomer));
    sipway.end().await;
}

async fn from_the_office(server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(OFFICE.parse().unwrap()).unwrap();
    socket.connect(server).await.unwrap()
}

/// Reads until the whole of this has come.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut heard = Vec::new();
    let reading = async {
        while !heard.ends_with(end.as_bytes()) {
            let mut bytes = [0; 4000];
            let length = stream.read(&mut bytes).await.unwrap();
            assert!(length > 0, "it ended after {:?}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&bytes[..length]);
        }
    };
    timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn nuls_and_line_ends_on_a_stream_are_passed_over_and_pings_are_answered() {
    let sipway = sipway("keepalives-tcp");
    let server = at(&sipway, Transport::Tcp);
    for _ in 0..8 {
        let mut phone = from_the_office(server).await;
        let here = phone.local_addr().unwrap();
        let register = register(here).replace("/UDP ", "/TCP ");
        // Before the connection is a flow, and after.
        for round in 1..=2 {
            for padding in [&b"\0"[..], b"\0\0\0\0", b"\r\n\0", b"\n", b" "] {
                phone.write_all(padding).await.unwrap();
            }
            phone.write_all(b"\r\n\r\n").await.unwrap();
            assert_eq!(until(&mut phone, "\r\n").await, "\r\n");
            phone.write_all(b"\0\r\n\r\n\r\n\r\n").await.unwrap();
            assert_eq!(until(&mut phone, "\r\n\r\n").await, "\r\n\r\n");
            let register = register.replace("CSeq: 1", &format!("CSeq: {round}"));
            phone.write_all(register.as_bytes()).await.unwrap();
            assert!(until(&mut phone, "\r\n\r\n").await.starts_with("SIP/2.0 200 OK\r\n"));
        }
    }
    assert!(sipway.handle.bans().is_empty(), "{:?}", sipway.handle.bans());
    sipway.end().await;
}
