//! Whoever writes somebody's address on datagrams has it banned, and must not silence the phones that are
//! registered there.

use std::{net::SocketAddr, time::Duration};

use lifecycle::Transport;
use metrics::Count;
use tokio::{net::UdpSocket, time::timeout};

use crate::test_server::{PATIENCE, TestServer};

fn request(method: &str, from: SocketAddr, more: &str) -> String {
    format!(
        "{method} sip:localhost SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{from}{method};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:ada@localhost>;tag=1\r\nTo: <sip:ada@localhost>\r\nCall-ID: {from}{method}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:ada@{from}>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// Asks once, and gives the first line of the answer.
async fn ask(socket: &UdpSocket, server: SocketAddr, method: &str) -> String {
    let text = request(method, socket.local_addr().unwrap(), "");
    socket.send_to(text.as_bytes(), server).await.unwrap();
    let mut answer = [0; 2000];
    let (length, _) = timeout(PATIENCE, socket.recv_from(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_ban_by_made_up_datagrams_does_not_silence_who_is_registered() {
    let sipway = TestServer::new(
        "banned-phone",
        "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n[[domain]]\nname = \"localhost\"\nauth = \"open\"\n\
         [defence]\nexempt = \"off\"\n",
    );
    let server =
        sipway.handle.listeners().iter().find(|bound| bound.transport == Transport::Udp).unwrap().local;
    let here = || UdpSocket::bind("127.0.0.2:0");
    let (phone, forger, newcomer) = (here().await.unwrap(), here().await.unwrap(), here().await.unwrap());
    assert_eq!(ask(&phone, server, "REGISTER").await, "SIP/2.0 200 OK");
    let scan = request("OPTIONS", forger.local_addr().unwrap(), "User-Agent: friendly-scanner\r\n");
    forger.send_to(scan.as_bytes(), server).await.unwrap();
    sipway.until("banned", |handle| handle.bans().iter().any(|ban| ban.by == "datagram")).await;
    let text = request("OPTIONS", newcomer.local_addr().unwrap(), "");
    newcomer.send_to(text.as_bytes(), server).await.unwrap();
    sipway.until("turned away", |handle| handle.bans().iter().any(|ban| ban.turned_away == 1)).await;
    assert_eq!(ask(&phone, server, "OPTIONS").await, "SIP/2.0 200 OK");
    assert!(sipway.handle.bans().iter().all(|ban| ban.turned_away == 1), "the newcomer alone");
    let mut answer = [0; 2000];
    assert!(timeout(Duration::ZERO, newcomer.recv_from(&mut answer)).await.is_err(), "it got no answer");
    sipway.end().await;
}

#[tokio::test]
async fn a_flood_of_made_up_datagrams_does_not_silence_who_is_registered() {
    let sipway = TestServer::new(
        "flooded-phone",
        "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n[[domain]]\nname = \"localhost\"\nauth = \"open\"\n\
         [defence]\nexempt = \"off\"\nmessage_rate = 1\n",
    );
    let server =
        sipway.handle.listeners().iter().find(|bound| bound.transport == Transport::Udp).unwrap().local;
    let here = || UdpSocket::bind("127.0.0.2:0");
    let (phone, forger) = (here().await.unwrap(), here().await.unwrap());
    assert_eq!(ask(&phone, server, "REGISTER").await, "SIP/2.0 200 OK");
    let turned_away = |at_least| {
        sipway.until("turned away", move |handle| handle.metrics().get(Count::TurnedMessageRate) >= at_least)
    };
    let forged = request("OPTIONS", forger.local_addr().unwrap(), "");
    for _ in 0..20 {
        forger.send_to(forged.as_bytes(), server).await.unwrap();
    }
    turned_away(10).await;
    for _ in 0..3 {
        assert_eq!(ask(&phone, server, "OPTIONS").await, "SIP/2.0 200 OK");
    }
    // It may say no more than any address, either.
    let own = request("OPTIONS", phone.local_addr().unwrap(), "");
    for _ in 0..20 {
        phone.send_to(own.as_bytes(), server).await.unwrap();
    }
    turned_away(20).await;
    sipway.end().await;
}
