//! Behind proxies: whose connection it is, by the PROXY protocol, X-Forwarded-For and Forwarded, and who is
//! believed.

use std::time::Duration;

use lifecycle::Transport;
use tokio::io::AsyncWriteExt;
use transport::{ClientAddress, HandshakeLimit, UnopenedCause};

use crate::{
    client::{Client, PLAIN, ReadPriority, read_all, text_frame, upgrade},
    handler::{HandshakeSlot, on_a_shard, settings},
    tls::secure_over,
};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 40000 443\r\n";
const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

/// Version 2, with an IPv6 client and extensions.
fn binary() -> Vec<u8> {
    let client: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x2b".to_vec();
    header.extend(client.octets());
    header.extend([0; 16]);
    header.extend([0x9c, 0x40, 1, 0xbb]);
    header.extend([3, 0, 4, 1, 2, 3, 4]);
    header
}

fn proxied(transport: Transport) -> HandshakeSlot {
    HandshakeSlot::new(transport, settings(), |listener| {
        listener.client_address =
            ClientAddress::ProxyProtocol(["127.0.0.0/8".parse().unwrap()].into_iter().collect());
    })
}

/// Who the client of the one flow is.
async fn client(place: &HandshakeSlot) -> Option<String> {
    place.handler.until_open(1).await;
    let opened = place.handler.opened.borrow();
    assert_eq!(opened[0].remote.ip().to_string(), "127.0.0.1", "the socket stays what it is");
    opened[0].forwarded.as_ref().map(ToString::to_string)
}

#[test]
fn the_proxy_tells_whose_connection_it_is_on_every_transport() {
    on_a_shard(async {
        for header in [LINE.to_vec(), binary()] {
            let told = if header == LINE { "192.0.2.1:40000" } else { "[2001:db8::7]:40000" };
            for transport in [Transport::Ws, Transport::Wss, Transport::Tcp, Transport::Tls] {
                let place = proxied(transport);
                let mut stream = place.connect().await;
                stream.write_all(&header).await.unwrap();
                match transport {
                    Transport::Ws => drop(Client::over(stream).await),
                    Transport::Wss => drop(Client::over(secure_over(stream).await).await),
                    Transport::Tls => secure_over(stream).await.write_all(OPTIONS).await.unwrap(),
                    _ => stream.write_all(OPTIONS).await.unwrap(),
                }
                assert_eq!(client(&place).await.as_deref(), Some(told), "{transport}");
            }
        }
    });
}

#[test]
fn a_header_may_come_byte_by_byte_or_with_all_that_follows() {
    on_a_shard(async {
        let whole = [&binary()[..], upgrade(PLAIN).as_bytes(), &text_frame("echo 1")].concat();
        for bytewise in [true, false] {
            let place = proxied(Transport::Ws);
            let mut stream = place.connect().await;
            for piece in whole.chunks(if bytewise { 1 } else { whole.len() }) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut client_end = Client::answered(stream).await;
            assert_eq!(client_end.next().await, Some(ReadPriority::Text(b"echo 1".to_vec())));
            assert_eq!(client(&place).await.as_deref(), Some("[2001:db8::7]:40000"));
        }
    });
}

#[test]
fn a_health_check_of_the_proxy_is_the_proxys_own() {
    on_a_shard(async {
        for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
            let place = proxied(Transport::Ws);
            let mut stream = place.connect().await;
            stream.write_all(header).await.unwrap();
            drop(Client::over(stream).await);
            assert_eq!(client(&place).await, None);
        }
    });
}

#[test]
fn who_does_not_come_by_the_proxy_is_no_flow() {
    on_a_shard(async {
        let elsewhere = HandshakeSlot::new(Transport::Ws, settings(), |listener| {
            listener.client_address =
                ClientAddress::ProxyProtocol(["192.0.2.0/24".parse().unwrap()].into_iter().collect());
        });
        for (place, said) in [
            (elsewhere, LINE),
            (proxied(Transport::Ws), b"GET / HTTP/1.1\r\n\r\n"),
            (proxied(Transport::Tls), b"\x16\x03\x01"),
        ] {
            let mut stream = place.connect().await;
            let _ = stream.write_all(said).await;
            drop(read_all(&mut stream).await);
            place.handler.unopened(UnopenedCause::NotByProxy).await;
        }
    });
}

#[test]
fn a_header_that_stalls_keeps_nobody_waiting() {
    on_a_shard(async {
        let place = proxied(Transport::Ws);
        let mut stalled = place.connect().await;
        stalled.write_all(&LINE[..20]).await.unwrap();
        let mut stream = place.connect().await;
        stream.write_all(&[LINE, upgrade(PLAIN).as_bytes()].concat()).await.unwrap();
        drop(Client::answered(stream).await);
        stalled.write_all(&[&LINE[20..], upgrade(PLAIN).as_bytes()].concat()).await.unwrap();
        drop(Client::answered(stalled).await);
    });
}

#[test]
fn a_header_that_never_ends_is_given_up() {
    on_a_shard(async {
        let place = HandshakeSlot::new(Transport::Ws, settings(), |listener| {
            listener.client_address =
                ClientAddress::ProxyProtocol(["127.0.0.0/8".parse().unwrap()].into_iter().collect());
            let mut settings = settings();
            settings.handshake_timeout = Duration::from_millis(50);
            listener.settings = settings.into();
        });
        let mut stalled = place.connect().await;
        stalled.write_all(&LINE[..20]).await.unwrap();
        drop(read_all(&mut stalled).await);
        place.handler.unopened(UnopenedCause::HandshakeTimeout).await;
    });
}

#[test]
fn handshakes_tell_whose_they_are_if_a_trusted_proxy_passes_them_on() {
    on_a_shard(async {
        let both = format!(
            "{PLAIN}X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\nForwarded: for=6.6.6.6\r\n\
             X-Forwarded-For: 127.0.0.9\r\nForwarded: for=\"[2001:db8::7]:40000\";proto=https, for=127.0.0.9\r\n"
        );
        let here = || ["127.0.0.0/8".parse().unwrap()].into_iter().collect();
        let elsewhere = || ["192.0.2.0/24".parse().unwrap()].into_iter().collect();
        for (client_address, told) in [
            (ClientAddress::XForwardedFor(here()), Some("192.0.2.1")),
            (ClientAddress::Forwarded(here()), Some("[2001:db8::7]:40000")),
            (ClientAddress::XForwardedFor(elsewhere()), None),
            (ClientAddress::Forwarded(elsewhere()), None),
            (ClientAddress::Socket, None),
        ] {
            let place = HandshakeSlot::new(Transport::Ws, settings(), |listener| {
                listener.client_address = client_address;
            });
            let mut stream = place.connect().await;
            stream.write_all(upgrade(&both).as_bytes()).await.unwrap();
            drop(Client::answered(stream).await);
            assert_eq!(client(&place).await.as_deref(), told);
        }
    });
}

#[test]
fn whom_the_owner_turns_away_gets_nothing_or_429_from_behind_a_proxy() {
    on_a_shard(async {
        let banned: std::net::IpAddr = "192.0.2.1".parse().unwrap();
        let here = || ["127.0.0.0/8".parse().unwrap()].into_iter().collect();
        // By the socket, before TLS.
        let place = HandshakeSlot::new(Transport::Wss, settings(), |_| ());
        place.handler.turns_away.borrow_mut().push([127, 0, 0, 1].into());
        let mut stream = place.connect().await;
        let (said, _) = read_all(&mut stream).await;
        assert!(said.is_empty() && place.handler.opened.borrow().is_empty());
        // By the proxy's header, before TLS, too.
        let place = proxied(Transport::Wss);
        place.handler.turns_away.borrow_mut().push(banned);
        let mut stream = place.connect().await;
        stream.write_all(LINE).await.unwrap();
        let (said, _) = read_all(&mut stream).await;
        assert!(said.is_empty());
        place.handler.unopened(UnopenedCause::TurnedAway).await;
        // By a header of the handshake.
        let place = HandshakeSlot::new(Transport::Ws, settings(), |listener| {
            listener.client_address = ClientAddress::XForwardedFor(here());
        });
        place.handler.turns_away.borrow_mut().push(banned);
        let mut stream = place.connect().await;
        stream
            .write_all(upgrade(&format!("{PLAIN}X-Forwarded-For: 192.0.2.1\r\n")).as_bytes())
            .await
            .unwrap();
        let (said, _) = read_all(&mut stream).await;
        assert!(said.starts_with(b"HTTP/1.1 429 "), "{}", String::from_utf8_lossy(&said));
        place.handler.unopened(UnopenedCause::HandshakeRefused(429)).await;
    });
}

#[test]
fn a_guest_stays_as_long_as_its_connection() {
    on_a_shard(async {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let place = HandshakeSlot::at(address, Transport::Ws, settings(), |_| ());
            let client = Client::open(&place).await;
            place.handler.until_open(1).await;
            assert_eq!(*place.handler.guests.borrow(), [place.address.ip()]);
            assert_eq!(place.handler.gone.get(), 0);
            client.reset();
            place.handler.until("gone", |handler| handler.gone.get() == 1).await;
            // And one that never becomes a flow.
            drop(place.connect().await);
            place.handler.until("gone", |handler| handler.gone.get() == 2).await;
        }
    });
}

#[test]
fn the_oldest_that_say_nothing_give_way_and_those_who_speak_do_not() {
    on_a_shard(async {
        let place = HandshakeSlot::new(Transport::Ws, settings(), |listener| {
            listener.waiting = HandshakeLimit::new(3).into()
        });
        let mut silent = Vec::new();
        for arrived in 1..=20 {
            silent.push(place.connect().await);
            place.handler.until("let in", |handler| handler.guests.borrow().len() == arrived).await;
        }
        let mut open = Client::open(&place).await;
        place.handler.until("crowded out", |handler| handler.unopened.borrow().len() == 18).await;
        assert!(place.handler.unopened.borrow().iter().all(|why| *why == UnopenedCause::CrowdedOut));
        for stream in &mut silent[..18] {
            drop(read_all(stream).await);
        }
        // A flow has no place there any more.
        for _ in 0..5 {
            drop(Client::open(&place).await);
        }
        open.text("echo 1").await;
        assert_eq!(open.next().await, Some(ReadPriority::Text(b"echo 1".to_vec())));
    });
}
