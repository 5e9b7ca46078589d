//! Peers that vanish without a word, on a network that can be broken: who notices, and what it is called.

use std::{net::TcpStream as Blocking, time::Duration};

use lifecycle::{Cause, Transport};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    client::Client,
    handler::{HandshakeSlot, on_a_shard, settings},
    namespace::{Host, in_a_network, ip},
};

const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

/// A listener that other hosts reach. The kernel counts in whole seconds.
fn place(transport: Transport) -> HandshakeSlot {
    let mut settings = settings();
    (settings.ping_after, settings.pong_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    HandshakeSlot::at("192.0.2.1:0", transport, settings, |_| ())
}

async fn connect(host: &Host, place: &HandshakeSlot) -> TcpStream {
    let address = place.address;
    let stream = host.on_it(|| Blocking::connect(address)).unwrap();
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

/// An open flow over TCP.
async fn stream(host: &Host, place: &HandshakeSlot) -> TcpStream {
    let mut stream = connect(host, place).await;
    stream.write_all(OPTIONS).await.unwrap();
    place.handler.until_open(1).await;
    stream
}

#[test]
fn the_kernel_gives_up_a_silent_stream() {
    in_a_network("lost_network::the_kernel_gives_up_a_silent_stream", || {
        on_a_shard(async {
            let (host, place) = (Host::joined(), place(Transport::Tcp));
            let _stream = stream(&host, &place).await;
            host.vanish();
            let ending = place.handler.ending().await;
            assert_eq!(ending.cause, Cause::TcpTimeout, "{ending:?}");
            assert!(ending.reason.unwrap().as_str().contains("timed out"));
        });
    });
}

#[test]
fn the_kernel_gives_up_a_stream_that_acknowledges_nothing() {
    in_a_network("lost_network::the_kernel_gives_up_a_stream_that_acknowledges_nothing", || {
        on_a_shard(async {
            let (host, place) = (Host::joined(), place(Transport::Tcp));
            let _stream = stream(&host, &place).await;
            host.vanish();
            let link = place.handler.links.borrow()[0].clone();
            link.send(OPTIONS).unwrap();
            drop(link);
            let ending = place.handler.ending().await;
            assert_eq!(ending.cause, Cause::TcpTimeout, "{ending:?}");
        });
    });
}

#[test]
fn a_host_to_which_no_way_leads_is_unreachable() {
    in_a_network("lost_network::a_host_to_which_no_way_leads_is_unreachable", || {
        on_a_shard(async {
            let (host, place) = (Host::joined(), place(Transport::Tcp));
            let _stream = stream(&host, &place).await;
            host.vanish();
            let link = place.handler.links.borrow()[0].clone();
            link.send(OPTIONS).unwrap();
            drop(link);
            // Found out when it is sent again.
            ip("route add unreachable 192.0.2.2/32");
            let ending = place.handler.ending().await;
            assert_eq!(ending.cause, Cause::Unreachable, "{ending:?}");
            assert!(ending.reason.unwrap().as_str().contains("No route to host"));
        });
    });
}

#[test]
fn a_silent_websocket_is_given_up_by_our_own_ping() {
    in_a_network("lost_network::a_silent_websocket_is_given_up_by_our_own_ping", || {
        on_a_shard(async {
            let (host, place) = (Host::joined(), place(Transport::Ws));
            let _client = Client::over(connect(&host, &place).await).await;
            host.vanish();
            assert_eq!(place.handler.ending().await.cause, Cause::PingTimeout);
        });
    });
}
