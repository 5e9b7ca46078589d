//! Contacts of phones that register here: one copy of a request comes to a socket, under a name that it has
//! given itself.

use std::time::Duration;

use lifecycle::Transport;
use sip_message::{Message, response::ResponseBuilder};
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    registrar_behind::contacts_of,
    test_server::{PATIENCE, TestServer},
    who::request,
};

const UDP: &str = "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n";

/// A phone of no library: it says what it is told to.
struct Phone {
    socket: UdpSocket,
}

impl Phone {
    async fn at(ip: &str, sipway: &TestServer) -> Self {
        Self::with(UdpSocket::bind((ip, 0)).await.unwrap(), sipway).await
    }

    async fn with(socket: UdpSocket, sipway: &TestServer) -> Self {
        socket.connect(sipway.target(Transport::Udp).address).await.unwrap();
        Self { socket }
    }

    fn name(&self) -> String {
        self.socket.local_addr().unwrap().to_string()
    }

    async fn receive(&self) -> String {
        let mut bytes = vec![0; 65_535];
        let read = timeout(PATIENCE, self.socket.recv(&mut bytes)).await.expect("something comes").unwrap();
        String::from_utf8(bytes[..read].to_vec()).unwrap()
    }

    async fn register(&self, via: &str, contacts: &str) -> String {
        let n: u64 = rand::random();
        let text = format!(
            "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{n};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:u@localhost>;tag=1\r\nTo: <sip:u@localhost>\r\nCall-ID: {n}\r\nCSeq: 1 REGISTER\r\n\
             Contact: {contacts}\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
        );
        self.socket.send(text.as_bytes()).await.unwrap();
        self.receive().await
    }

    /// The Request-URIs of all that comes until a while is quiet; each is answered.
    async fn asked(&self) -> Vec<String> {
        let (mut uris, mut bytes) = (Vec::new(), vec![0; 65_535]);
        while let Ok(read) = timeout(Duration::from_millis(500), self.socket.recv(&mut bytes)).await {
            let message = Message::parse(&bytes[..read.unwrap()]).unwrap();
            if !message.is_request() {
                continue;
            }
            uris.push(String::from_utf8_lossy(message.request_uri_bytes().unwrap()).into_owned());
            let mut answer = Vec::new();
            ResponseBuilder::new(&message, 404, "Not Me").to_tag(b"p").write(&mut answer).unwrap();
            self.socket.send(&answer).await.unwrap();
        }
        uris
    }
}

async fn call(sipway: &TestServer) {
    let mut caller = sipway.connect("caller").await;
    caller
        .send(
            request("MESSAGE", "sip:u@localhost", "<sip:caller@localhost>", "<sip:u@localhost>", "")
                .as_bytes(),
        )
        .unwrap();
    caller.flush().await.unwrap();
    // It is let go of with its connection; what was sent goes on.
    caller.serve_for(Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_that_do_not_lead_to_the_registering_socket_are_not_bound() {
    let sipway = TestServer::new("contacts-elsewhere", UDP);
    let phone = Phone::at("127.0.0.2", &sipway).await;
    let third = UdpSocket::bind("127.0.0.7:0").await.unwrap();
    let me = phone.name();
    let contacts = format!("<sip:u@{me}>, <sip:u@{}>, <mailto:u@example.com>", third.local_addr().unwrap());
    let answer = phone.register(&me, &contacts).await;
    let listed = contacts_of(&answer);
    assert!(listed.len() == 1 && listed[0].starts_with(&format!("<sip:u@{me}>")), "{answer}");
    let (_, asked) = tokio::join!(call(&sipway), phone.asked());
    assert_eq!(asked, [format!("sip:u@{me}")]);
    assert!(third.try_recv(&mut [0; 10]).is_err(), "a third party gets nothing");
    // Where nothing is left, the phone is told.
    for contacts in ["<mailto:u@example.com>", "<sip:u@192.0.2.1>, <sip:u@192.0.2.2>"] {
        let answer = phone.register(&me, contacts).await;
        assert!(answer.starts_with("SIP/2.0 403 Contact Leads Elsewhere\r\n"), "{answer}");
    }
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_gets_one_copy_of_a_request_however_many_contacts_it_has_registered() {
    let sipway = TestServer::new("contacts-copies", UDP);
    let phone = Phone::at("127.0.0.2", &sipway).await;
    let me = phone.name();
    phone.register(&me, &format!("<sip:u@{me}>;q=0.5, <sip:v@{me}>;q=0.7, <sip:w@127.0.0.2:1>;q=0.1")).await;
    let answer = phone.register(&me, "<sip:x@192.0.2.9>;q=0.2").await;
    assert_eq!(contacts_of(&answer).len(), 4);
    let other = Phone::at("127.0.0.3", &sipway).await;
    other.register(&other.name(), &format!("<sip:u@{}>", other.name())).await;
    let (_, first, second) = tokio::join!(call(&sipway), phone.asked(), other.asked());
    assert_eq!((first, second), (vec![format!("sip:v@{me}")], vec![format!("sip:u@{}", other.name())]));
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_behind_a_nat_is_reached_at_its_source_and_phones_behind_a_proxy_each_by_its_name() {
    let proxy = UdpSocket::bind("127.0.0.4:0").await.unwrap();
    let target = proxy.local_addr().unwrap();
    let upstream =
        format!("{UDP}[[upstream]]\nname = \"proxy\"\ntargets = [\"sip:{target}\"]\nprobe = \"off\"\n");
    let sipway = TestServer::new("contacts-nat", &upstream);
    let phone = Phone::at("127.0.0.2", &sipway).await;
    phone.register("192.168.1.5:5060", "<sip:u@192.168.1.5:5060>").await;
    let proxy = Phone::with(proxy, &sipway).await;
    for n in [6, 7] {
        let via = format!("{};branch=z9hG4bKp{n}, SIP/2.0/UDP 10.0.0.{n}", proxy.name());
        let answer = proxy.register(&via, &format!("<sip:u@10.0.0.{n}>")).await;
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    }
    let (_, phone, mut proxied) = tokio::join!(call(&sipway), phone.asked(), proxy.asked());
    proxied.sort();
    assert_eq!(phone, ["sip:u@192.168.1.5:5060"]);
    assert_eq!(proxied, ["sip:u@10.0.0.6", "sip:u@10.0.0.7"]);
    sipway.end().await;
}

/// Anybody can write several Vias, a Path and somebody else's address on a datagram.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_that_says_it_came_through_a_proxy_brings_its_source_no_more_copies() {
    let sipway = TestServer::new("contacts-said", UDP);
    let phone = Phone::at("127.0.0.2", &sipway).await;
    let me = phone.name();
    let contacts: Vec<String> = (0..6).map(|n| format!("<sip:u{n}@{me}>")).collect();
    let via = format!("{me};branch=z9hG4bKp, SIP/2.0/UDP 10.0.0.9");
    let answer = phone.register(&via, &contacts.join(", ")).await;
    assert_eq!(contacts_of(&answer).len(), 6);
    let by_path = format!(
        "10.0.0.9;branch=z9hG4bKq\r\nPath: <sip:{me};lr>\r\nSupported: path\r\nVia: SIP/2.0/UDP 10.0.0.8"
    );
    let answer = phone.register(&by_path, &format!("<sip:v@{me}>")).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let (_, asked) = tokio::join!(call(&sipway), phone.asked());
    assert_eq!(asked.len(), 1, "{asked:?}");
    sipway.end().await;
}

/// RFC 3261 §16.6 step 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_fields_of_a_registered_contact_are_not_written_into_requests() {
    let sipway = TestServer::new("contacts-headers", UDP);
    let phone = Phone::at("127.0.0.2", &sipway).await;
    let me = phone.name();
    let contact = format!("<sip:u@{me};method=INVITE;ob?Subject=x&Route=%3Csip:evil.test%3E>");
    let answer = phone.register(&me, &contact).await;
    assert!(contacts_of(&answer)[0].starts_with(&contact), "listed as it was registered");
    let (_, asked) = tokio::join!(call(&sipway), phone.asked());
    assert_eq!(asked, [format!("sip:u@{me};ob")]);
    sipway.end().await;
}
