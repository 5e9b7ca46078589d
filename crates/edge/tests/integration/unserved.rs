//! Servers behind that decline, ask to be left alone, are not there, or say nothing: who is asked then, and
//! what the caller hears.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use edge::Health;
use metrics::Count;
use prove::Client;
use sip_message::{HeaderId, Message, Method, response::ResponseBuilder};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

use crate::{
    outgoing::{behind, status},
    server_behind::{ServerBehind, Then},
    test_server::TestServer,
    who::{ask, request},
};

fn off(config: &str) -> String {
    config.replace("\"1s\"", "\"off\"")
}

fn health(sipway: &TestServer) -> Vec<Health> {
    sipway.handle.upstreams().iter().map(|view| view.health).collect()
}

async fn invite(client: &mut Client, size: usize) -> String {
    let padding = format!("X-Padding: {}\r\n", "x".repeat(size));
    let to = "sip:nobody@localhost";
    ask(client, &request("INVITE", to, "<sip:ada@localhost>", &format!("<{to}>"), &padding)).await
}

/// A callee who declined rang twice, and the dialplan ran twice: by TCP, and by UDP behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_503_is_asked_once_and_goes_on_to_be_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let by_udp = ServerBehind::udp(UdpSocket::bind(address).await.unwrap(), 503).await;
    let by_tcp = ServerBehind::stream(listener, 503, Then::Stays, None);
    let came = || (by_udp.came().requests.len(), by_tcp.came().requests.len());
    // By one target that is spoken to by both, and by one for each.
    for targets in [
        format!("\"sip:{address}\""),
        format!("\"sip:{address};transport=tcp\", \"sip:{address};transport=udp\""),
    ] {
        let sipway = TestServer::new("unserved-503", &off(&behind(&targets, "")));
        let mut ada = sipway.connect("ada").await;
        let before = came();
        let answer = invite(&mut ada, 1300).await;
        // It may serve others well: it says nothing of when it may be asked again (RFC 3261 §16.7 step 6,
        // §21.5.4).
        assert!(answer.starts_with("SIP/2.0 500 ") && !answer.contains("\r\nRetry-After:"), "{answer}");
        sipway.until("acknowledged", |_| came().1 == before.1 + 2).await;
        assert_eq!(came(), (before.0, before.1 + 2), "INVITE and ACK by TCP, nothing by UDP");
        assert!(!health(&sipway).contains(&Health::Resting), "{:?}", health(&sipway));
        assert!(invite(&mut ada, 1300).await.starts_with("SIP/2.0 500 "));
        sipway.until("asked again", |_| came().1 == before.1 + 4).await;
        sipway.end().await;
    }
}

/// A server that answers as it is told.
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    fn run(
        socket: UdpSocket,
        answer: impl Fn(&Message<'_>) -> Option<(u16, Option<&'static str>)> + Send + 'static,
    ) -> Self {
        Self(tokio::spawn(async move {
            let mut bytes = vec![0; 65_535];
            loop {
                let (read, from) = socket.recv_from(&mut bytes).await.unwrap();
                let request = Message::parse(&bytes[..read]).unwrap();
                if request.method() == Some(Method::Ack) {
                    continue;
                }
                let Some((status, wait)) = answer(&request) else { continue };
                let mut out = Vec::new();
                let mut builder = ResponseBuilder::new(&request, status, "As Told").to_tag(b"b");
                if let Some(wait) = wait {
                    builder = builder.header(HeaderId::RetryAfter.name(), wait.as_bytes());
                }
                builder.write(&mut out).unwrap();
                socket.send_to(&out, from).await.unwrap();
            }
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_to_be_left_alone_is_and_the_caller_hears_for_how_long() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let _busy = Server::run(socket, |_| Some((503, Some("17 (overload)"))));
    let sipway = TestServer::new("unserved-wait", &off(&behind(&format!("\"sip:{address}\""), "")));
    let mut ada = sipway.connect("ada").await;
    let answer = invite(&mut ada, 0).await;
    assert!(
        answer.starts_with("SIP/2.0 503 ") && answer.contains("\r\nRetry-After: 17 (overload)\r\n"),
        "{answer}"
    );
    assert_eq!(health(&sipway), [Health::Resting]);
    sipway.end().await;
    // Where there is another, that one is asked from now on.
    let other = ServerBehind::udp(UdpSocket::bind("127.0.0.3:0").await.unwrap(), 404).await;
    let targets = format!("\"sip:{address}\", \"sip:{}\"", other.address);
    let sipway = TestServer::new("unserved-other", &off(&behind(&targets, "")));
    let mut ada = sipway.connect("ada").await;
    for _ in 0..2 {
        assert_eq!(status(&mut ada, b"hello").await, 404);
    }
    assert_eq!(sipway.handle.metrics().get(Count::UpstreamFailures), 1);
    sipway.end().await;
}

fn nobody() -> SocketAddr {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// REGISTER had no answer at all and INVITE 408 after half a minute, while the API said that the server was
/// up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_never_there_is_down_at_the_first_refusal_and_everybody_hears_503_at_once() {
    let address = nobody();
    let config = format!(
        "{}[[domain]]\nname = \"example.com\"\nbackend = \"pbx\"\n",
        behind(&format!("\"sip:{address};transport=udp\""), "")
    );
    let sipway = TestServer::new("unserved-never", &off(&config));
    assert_eq!(health(&sipway), [Health::Unknown], "nobody has asked");
    let mut ada = sipway.connect("ada").await;
    let begun = Instant::now();
    let me = "<sip:ada@example.com>";
    for asked in [
        request("REGISTER", "sip:example.com", me, me, ""),
        request("INVITE", "sip:100@localhost", "<sip:ada@localhost>", "<sip:100@localhost>", ""),
        request("MESSAGE", "sip:100@localhost", "<sip:ada@localhost>", "<sip:100@localhost>", ""),
    ] {
        let answer = ask(&mut ada, &asked).await;
        assert!(answer.starts_with("SIP/2.0 503 ") && answer.contains("\r\nRetry-After: "), "{answer}");
        assert_eq!(health(&sipway), [Health::Down]);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "it waits for no timer");
    // Without probes too it is asked each time, so it is back as soon as it is there.
    let _pbx = ServerBehind::udp(UdpSocket::bind(address).await.unwrap(), 404).await;
    assert_eq!(status(&mut ada, b"hello").await, 404);
    assert_eq!(health(&sipway), [Health::Up]);
    sipway.end().await;
    // Probes find it out by themselves.
    let address = nobody();
    for transport in ["udp", "tcp"] {
        let targets = format!("\"sip:{address};transport={transport}\"");
        let sipway = TestServer::new(&format!("unserved-probe-{transport}"), &behind(&targets, ""));
        sipway.until("down", |_| health(&sipway) == [Health::Down]).await;
        sipway.end().await;
    }
}

/// Nothing comes back, not even an error: the probes tell it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_no_probes_and_is_alone_is_not_waited_for_until_it_does() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let sipway = TestServer::new("unserved-silent", &behind(&format!("\"sip:{address};transport=udp\""), ""));
    sipway.until("down", |_| health(&sipway) == [Health::Down]).await;
    let mut ada = sipway.connect("ada").await;
    let answer = invite(&mut ada, 0).await;
    assert!(answer.starts_with("SIP/2.0 503 ") && answer.contains("\r\nRetry-After: "), "{answer}");
    assert_eq!(sipway.handle.metrics().get(Count::UpstreamsSilent), 1);
    let _awake = Server::run(socket, |request| {
        Some((if request.method() == Some(Method::Options) { 200 } else { 404 }, None))
    });
    sipway.until("up", |_| health(&sipway) == [Health::Up]).await;
    assert_eq!(status(&mut ada, b"hello").await, 404);
    sipway.end().await;
}

/// Some servers know no OPTIONS. That they answer requests is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_requests_and_no_probes_is_up() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let _pbx =
        Server::run(socket, |request| (request.method() != Some(Method::Options)).then_some((404, None)));
    let sipway =
        TestServer::new("unserved-options", &behind(&format!("\"sip:{address};transport=udp\""), ""));
    let mut ada = sipway.connect("ada").await;
    assert_eq!(status(&mut ada, b"hello").await, 404);
    let unanswered = |handle: &edge::Handle| handle.metrics().get(Count::ProbesFailed) >= 3;
    sipway.until("probed in vain", unanswered).await;
    assert_eq!(health(&sipway), [Health::Up]);
    assert_eq!(status(&mut ada, b"hello").await, 404);
    sipway.end().await;
}
