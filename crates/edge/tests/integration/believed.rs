//! A response is believed from where its request went alone: whoever is further on has seen the branch, too.

use std::net::SocketAddr;

use lifecycle::Transport;
use metrics::Count;
use prove::{Answering, Client, Incoming};
use sip_message::{Message, response::ResponseBuilder};
use tokio::{net::UdpSocket, time::timeout};

use crate::test_server::{PATIENCE, TestServer};

fn sipway(name: &str) -> (TestServer, SocketAddr) {
    let sipway = TestServer::new(
        name,
        "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n[[domain]]\nname = \"localhost\"\nauth = \"open\"\n",
    );
    let udp = sipway.handle.listeners().iter().find(|bound| bound.transport == Transport::Udp).unwrap().local;
    (sipway, udp)
}

/// The next datagram that begins so.
async fn next(socket: &UdpSocket, beginning: &str) -> Vec<u8> {
    let mut bytes = [0; 4000];
    let found = async {
        loop {
            let (length, _) = socket.recv_from(&mut bytes).await.unwrap();
            if bytes.starts_with(beginning.as_bytes()) {
                return bytes[..length].to_vec();
            }
        }
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {beginning} came"))
}

async fn register(socket: &UdpSocket, server: SocketAddr, user: &str) {
    let here = socket.local_addr().unwrap();
    let text = format!(
        "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{user};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@localhost>;tag=1\r\nTo: <sip:{user}@localhost>\r\nCall-ID: {here}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:{user}@{here}>\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send_to(text.as_bytes(), server).await.unwrap();
    next(socket, "SIP/2.0 200").await;
}

fn answer(request: &[u8], status: u16) -> Vec<u8> {
    let request = Message::parse(request).unwrap();
    let mut out = Vec::new();
    ResponseBuilder::new(&request, status, "So").to_tag(b"b").write(&mut out).unwrap();
    out
}

/// The final status that somebody hears next.
async fn status_for(client: &mut Client) -> u16 {
    let heard = async {
        loop {
            if let Incoming::Response(response) = client.next().await.unwrap()
                && response.status >= 200
            {
                return response.status;
            }
        }
    };
    timeout(PATIENCE, heard).await.unwrap()
}

#[tokio::test]
async fn nobody_answers_for_a_phone_but_its_own_host() {
    let (sipway, server) = sipway("believed-phone");
    let phone = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    register(&phone, server, "bob").await;
    let mut alice = sipway.registered("alice").await;
    let mut mallory = sipway.registered("mallory").await;
    for round in 1..=2 {
        alice.start_message("sip:bob@localhost", b"hello").unwrap();
        alice.flush().await.unwrap();
        let request = next(&phone, "MESSAGE ").await;
        // The kernel gives each of these sockets to a shard of its own choice.
        let wrong = answer(&request, 404);
        for _ in 0..8 {
            let elsewhere = UdpSocket::bind("127.0.0.3:0").await.unwrap();
            elsewhere.send_to(&wrong, server).await.unwrap();
        }
        mallory.send(&wrong).unwrap();
        mallory.flush().await.unwrap();
        sipway.until("dropped", |handle| handle.metrics().get(Count::ResponsesForeign) == 9 * round).await;
        // A NAT gave it another port.
        let moved = UdpSocket::bind("127.0.0.2:0").await.unwrap();
        moved.send_to(&answer(&request, 202), server).await.unwrap();
        assert_eq!(status_for(&mut alice).await, 202);
    }
    sipway.end().await;
}

#[tokio::test]
async fn nobody_answers_for_a_browser_but_its_own_connection() {
    let (sipway, server) = sipway("believed-browser");
    let mut bob = sipway.registered("bob").await;
    bob.set_answering(Answering::KeepsSilent);
    let mut mallory = sipway.registered("mallory").await;
    let mut alice = sipway.registered("alice").await;
    alice.start_message("sip:bob@localhost", b"hello").unwrap();
    alice.flush().await.unwrap();
    let request = bob.next().await.unwrap().bytes().to_vec();
    assert!(request.starts_with(b"MESSAGE "), "{}", String::from_utf8_lossy(&request));
    mallory.send(&answer(&request, 404)).unwrap();
    mallory.flush().await.unwrap();
    UdpSocket::bind("127.0.0.1:0").await.unwrap().send_to(&answer(&request, 404), server).await.unwrap();
    sipway.until("dropped", |handle| handle.metrics().get(Count::ResponsesForeign) == 2).await;
    bob.send(&answer(&request, 202)).unwrap();
    bob.flush().await.unwrap();
    assert_eq!(status_for(&mut alice).await, 202);
    sipway.end().await;
}
