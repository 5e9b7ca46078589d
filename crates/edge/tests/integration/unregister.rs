//! Un-REGISTERs of the server itself: what proves them to be its own, that nobody else can say it, and what
//! is seen of those that fail.

use std::{net::SocketAddr, sync::Arc};

use lifecycle::Transport;
use metrics::Count;
use prove::{Answering, Client, Setup};
use sip_message::{HeaderId, Message, response::ResponseBuilder};
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    backend::{is, next, of},
    kamailio::{DOMAIN, Kamailio},
    server_behind::{ServerBehind, Then},
    test_server::{PATIENCE, TestServer},
    who::{ask, request},
};

const SECRET: &str = "s3cret-0123456789abcdef";

/// One upstream for each of these URIs, and a domain that registers there: the first of them is the domain of
/// the tests.
fn sipway(name: &str, servers: &[(&str, String)]) -> TestServer {
    let mut text = "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n".to_owned();
    for (number, (keys, uri)) in servers.iter().enumerate() {
        let domain = if number == 0 { DOMAIN.to_owned() } else { format!("other{number}.test") };
        text.push_str(&format!(
            "[[upstream]]\nname = \"pbx{number}\"\ntargets = [\"{uri}\"]\nprobe = \"off\"\n{keys}\
             [[domain]]\nname = \"{domain}\"\nbackend = \"pbx{number}\"\nregister = \"auto\"\n"
        ));
    }
    TestServer::with_files(name, &text, &[("unregister.secret", SECRET)])
}

const HEADER: &str =
    "unregister_header = \"X-Sipway-Close\"\nunregister_secret_file = \"{here}/unregister.secret\"\n";

async fn client(sipway: &TestServer, transport: Transport, user: &str, password: Option<&str>) -> Client {
    let password = password.map(str::to_owned);
    let setup = Setup { patience: PATIENCE, password, ..Setup::new(user) };
    let mut target = sipway.target(transport);
    target.domain = Arc::from(DOMAIN);
    Client::connect(&target, &setup).await.unwrap()
}

/// The field in every spelling that some server would take for it, with this value.
fn spellings(value: &str) -> Vec<String> {
    vec![
        format!("X-Sipway-Close: {value}\r\n"),
        format!("x-sipway-close:{value}\r\n"),
        format!("X-SIPWAY-CLOSE \t : {value}\r\n"),
        format!("X-Sipway-Close:\r\n {value}\r\n"),
        format!("X-sipway-CLOSE\t:\r\n\t\r\n  {value}\r\n  \r\n"),
        format!(
            "X-Sipway-Close: {value}\r\nSubject: hi\r\nx-Sipway-Close: {value}\r\nX-Sipway-Close: wrong\r\n"
        ),
        format!("Subject: a fold\r\n X-Sipway-Close: {value}\r\n"),
        format!("X-Sipway-Close: {value}, {value}\r\n"),
        "X-Sipway-Close:\r\n".to_owned(),
    ]
}

/// What no parser of ours takes; another's might.
fn smuggled(value: &str) -> Vec<String> {
    vec![
        format!("X-Sipway-Close\r\n : {value}\r\n"),
        format!("Subject: hi\nX-Sipway-Close: {value}\r\n"),
        format!("Subject: hi\rX-Sipway-Close: {value}\r\n"),
        format!("X-Sipway-Close\0: {value}\r\n"),
        format!(": x\r\nX-Sipway-Close: {value}\r\n"),
        format!("Content-Length: 0\r\n\r\nREGISTER sip:{DOMAIN} SIP/2.0\r\nX-Sipway-Close: {value}\r\n"),
    ]
}

/// Whether a message has the field, read as loosely as any server might: a line may end with CR or LF alone.
fn has_field(message: &str) -> bool {
    let head = message.split("\r\n\r\n").next().unwrap();
    let name = |line: &str| line.split(':').next().unwrap().trim_end().to_ascii_lowercase();
    head.split(['\r', '\n']).any(|line| name(line) == "x-sipway-close")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unregister_of_ours_proves_itself_and_nothing_else_that_is_forwarded_has_the_field() {
    for by in ["udp", "tcp"] {
        let pbx = match by {
            "udp" => ServerBehind::udp(UdpSocket::bind("127.0.0.1:0").await.unwrap(), 200).await,
            _ => ServerBehind::tcp(200, Then::Stays).await,
        };
        let sipway = sipway(
            &format!("unregister-proof-{by}"),
            &[(HEADER, format!("sip:{};transport={by}", pbx.address))],
        );
        let (mut sent, mut clients) = (0, Vec::new());
        for transport in [Transport::Ws, Transport::Udp, Transport::Tcp] {
            let user = format!("alice{transport}");
            let me = format!("<{}>", of(&user));
            let mut alice = client(&sipway, transport, &user, None).await;
            assert_eq!(alice.register(600).await.unwrap().status, 200);
            for field in spellings(SECRET) {
                for method in
                    ["REGISTER", "MESSAGE", "INVITE", "SUBSCRIBE", "PUBLISH", "REFER", "INFO", "X-OTHER"]
                {
                    let uri = if method == "REGISTER" { format!("sip:{DOMAIN}") } else { of("bob") };
                    let asked = request(
                        method,
                        &uri,
                        &me,
                        if method == "REGISTER" { &me } else { "<sip:b@b.test>" },
                        &field,
                    );
                    let answer = ask(&mut alice, &asked).await;
                    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
                    sent += 1;
                }
            }
            clients.push(alice);
        }
        assert!(pbx.came().requests.len() > sent, "all of them came");
        // What is not understood goes nowhere, and takes nothing along.
        for field in smuggled(SECRET) {
            let mut mallory = client(&sipway, Transport::Ws, "mallory", None).await;
            let me = format!("<{}>", of("mallory"));
            let asked = request("REGISTER", &format!("sip:{DOMAIN}"), &me, &me, &field);
            mallory.send(asked.as_bytes()).unwrap();
            // Whatever becomes of it, the next message on this connection comes behind it.
            let _ = mallory.register(600).await;
            clients.push(mallory);
        }
        let came = pbx.came().requests.clone();
        for came in &came {
            assert!(!has_field(came), "{came}");
        }

        let mut ada = client(&sipway, Transport::Ws, "ada", None).await;
        assert_eq!(ada.register(600).await.unwrap().status, 200);
        let forwarded = pbx.came().requests.len();
        drop(ada);
        sipway.until("unregistered", |handle| handle.metrics().get(Count::Unregistered) > 0).await;
        let came = pbx.came().requests.clone();
        let of_ada = came[forwarded..].iter().find(|came| came.contains("To: <sip:ada@")).unwrap();
        assert!(of_ada.contains(&format!("\r\nX-Sipway-Close: {SECRET}\r\n")), "{of_ada}");
        assert_eq!(of_ada.matches("X-Sipway-Close").count(), 1);
        sipway.end().await;
    }
}

/// A user agent that a server behind calls says it to that server in its answer; and one server behind says
/// it to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_answers_nor_servers_behind_carry_the_field_on() {
    let pbx = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = ServerBehind::udp(UdpSocket::bind("127.0.0.1:0").await.unwrap(), 200).await;
    let uri = |address: SocketAddr| format!("sip:{address};transport=udp");
    let sipway =
        sipway("unregister-answers", &[("", uri(pbx.local_addr().unwrap())), (HEADER, uri(other.address))]);
    let here = sipway.target(Transport::Udp).address;
    let hears = async |beginning: &str| {
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, from) =
                timeout(PATIENCE, pbx.recv_from(&mut buffer)).await.expect("a message").unwrap();
            if buffer[..length].starts_with(beginning.as_bytes()) {
                return (String::from_utf8_lossy(&buffer[..length]).into_owned(), from);
            }
        }
    };
    let as_server = |request: String| {
        request.replace("SIP/2.0/WS x.invalid", &format!("SIP/2.0/UDP {}", pbx.local_addr().unwrap()))
    };

    let mut alice = client(&sipway, Transport::Ws, "alice", None).await;
    let registering = alice.start_register(600).unwrap();
    let (asked, from) = hears("REGISTER").await;
    let message = Message::parse(asked.as_bytes()).unwrap();
    let mut answer = Vec::new();
    ResponseBuilder::new(&message, 200, "OK")
        .header(b"Contact", message.value(HeaderId::Contact).unwrap())
        .header(b"X-Sipway-Close", SECRET.as_bytes())
        .write(&mut answer)
        .unwrap();
    pbx.send_to(&answer, from).await.unwrap();
    let answered = next(&mut alice, "200", |message| message.status() == Some(200)).await;
    assert!(!has_field(&String::from_utf8_lossy(answered.bytes())), "no client is shown it either");
    let _ = registering;
    sipway.until("registered", |handle| handle.bindings().0 == 1).await;

    alice.set_answering(Answering::KeepsSilent);
    for field in spellings(SECRET) {
        let asked =
            as_server(request("MESSAGE", &of("alice"), "<sip:100@pbx.test>", "<sip:alice@pbx.test>", &field));
        pbx.send_to(asked.as_bytes(), here).await.unwrap();
        let came = next(&mut alice, "MESSAGE", is("MESSAGE")).await;
        assert!(!has_field(&String::from_utf8_lossy(came.bytes())));
        let mut answer = Vec::new();
        ResponseBuilder::new(&came.message(), 200, "OK").to_tag(b"a").write(&mut answer).unwrap();
        let answer =
            String::from_utf8(answer).unwrap().replacen("\r\nCSeq:", &format!("\r\n{field}CSeq:"), 1);
        alice.send(answer.as_bytes()).unwrap();
        let (answered, _) = hears("SIP/2.0 200").await;
        assert!(!has_field(&answered), "{answered}");

        // As an unauthenticated client's REGISTER would come by a server behind that forwards it.
        let domain = "sip:other1.test";
        let user = "<sip:bob@other1.test>";
        let asked = as_server(request("REGISTER", domain, user, user, &field));
        pbx.send_to(asked.as_bytes(), here).await.unwrap();
        hears("SIP/2.0 200").await;
    }
    let came = other.came().requests.clone();
    assert_eq!(came.len(), spellings("").len());
    for came in &came {
        assert!(!has_field(came), "{came}");
    }
    drop(alice);
    sipway.end().await;
}

/// The key of an address-of-record is no URI: `#100` is written `sip:%23100@…`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_whose_names_need_escapes_are_unregistered_by_their_names() {
    let pbx = ServerBehind::udp(UdpSocket::bind("127.0.0.1:0").await.unwrap(), 200).await;
    let sipway = sipway("unregister-escapes", &[("", format!("sip:{};transport=udp", pbx.address))]);
    for (number, user) in [
        "%23100",
        "a%3eb",
        "%22x%22",
        "j%c3%bcrgen",
        "100%25",
        "a%0d%0aX-Sipway-Close: b",
        "x%40y",
        "a;b",
        "*72",
    ]
    .into_iter()
    .enumerate()
    {
        let user = user.replace(": ", "%3a%20");
        let mut client = client(&sipway, Transport::Ws, &user, None).await;
        assert_eq!(client.register(600).await.unwrap().status, 200, "{user}");
        let asked = pbx.came().requests.last().unwrap().clone();
        drop(client);
        let number = number as u64 + 1;
        sipway.until("unregistered", |handle| handle.metrics().get(Count::Unregistered) == number).await;
        let said = pbx.came().requests.last().unwrap().clone();
        let (asked, said) =
            (Message::parse(asked.as_bytes()).unwrap(), Message::parse(said.as_bytes()).unwrap());
        assert!(said.value(HeaderId::Contact).unwrap().windows(9).any(|part| part == b"expires=0"));
        let user = |message: &Message<'_>| message.to().unwrap().uri().unwrap().address_of_record().unwrap();
        assert_eq!(user(&said), user(&asked));
        assert_eq!(said.from().unwrap().uri().unwrap().address_of_record(), Some(user(&asked)));
        assert!(said.check_request().is_ok(), "{said:?}");
    }
    sipway.end().await;
}

/// The recipe of the documentation, and an unauthenticated client who tries it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unauthenticated_client_unregisters_nobody_at_a_kamailio_that_takes_our_field_for_proof() {
    let pbx = Kamailio::run_with_passwords("proof", Some(("127.0.0.1", SECRET))).await;
    let sipway = sipway("unregister-kamailio", &[(HEADER, format!("sip:{}", pbx.address))]);
    let mut alice = client(&sipway, Transport::Ws, "alice", Some("wonder")).await;
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    let contacts = pbx.contacts("alice").await;
    let uri = contacts.split(['<', '>']).nth(1).unwrap();
    let mut fields = vec![String::new()];
    // One that is guessed, and the very one, should it be known.
    for value in ["s3cret", SECRET] {
        fields.extend(spellings(value));
    }
    for transport in [Transport::Ws, Transport::Udp, Transport::Tcp] {
        let mut unauthenticated = client(&sipway, transport, "mallory", None).await;
        for field in &fields {
            for contact in ["*".to_owned(), format!("<{uri}>;expires=0")] {
                let asked = unregister("alice", &contact, field);
                let answer = ask(&mut unauthenticated, &asked).await;
                assert!(answer.starts_with("SIP/2.0 401 "), "over {transport} with {field:?}: {answer}");
            }
        }
        for field in smuggled(SECRET) {
            unauthenticated.send(unregister("alice", "*", &field).as_bytes()).unwrap();
        }
        // By that time it has been read.
        let answer = unauthenticated.message(&of("alice"), b"hello").await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 403));
        assert!(!pbx.contacts("alice").await.is_empty(), "over {transport}");
    }
    // From an address that is not the server's, the secret is worth nothing either.
    let elsewhere = UdpSocket::bind("127.0.0.4:0").await.unwrap();
    let asked = unregister("alice", "*", &spellings(SECRET)[0])
        .replace("SIP/2.0/WS x.invalid", &format!("SIP/2.0/UDP {}", elsewhere.local_addr().unwrap()));
    elsewhere.send_to(asked.as_bytes(), pbx.address).await.unwrap();
    let mut buffer = vec![0; 65_536];
    let length = timeout(PATIENCE, elsewhere.recv(&mut buffer)).await.expect("an answer").unwrap();
    assert!(buffer[..length].starts_with(b"SIP/2.0 401 "), "{}", String::from_utf8_lossy(&buffer[..length]));
    assert!(!pbx.contacts("alice").await.is_empty());

    drop(alice);
    pbx.until_contacts("alice", "unregistered", str::is_empty).await;
    sipway.until("counted", |handle| handle.metrics().get(Count::Unregistered) == 1).await;
    assert_eq!(sipway.handle.upstreams()[0].unregisters_failed, 0);
    sipway.end().await;
}

/// Asterisk finds by From the endpoint whose rules hold. One without a password, such as a trunk's, would let
/// a client register anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_registers_the_user_that_it_names_in_from_and_no_other() {
    let pbx = ServerBehind::udp(UdpSocket::bind("127.0.0.1:0").await.unwrap(), 200).await;
    let sipway = sipway("unregister-another", &[("", format!("sip:{};transport=udp", pbx.address))]);
    for transport in [Transport::Ws, Transport::Udp, Transport::Tcp] {
        let mut mallory = client(&sipway, transport, "mallory", None).await;
        let mut asks = async |from: &str, to: &str| {
            ask(&mut mallory, &request("REGISTER", &format!("sip:{DOMAIN}"), from, to, "")).await
        };
        let to = format!("<{}>", of("alice"));
        for from in [
            format!("<{}>", of("sipway-close")),
            "<sip:sipway-close@pbx.test>".to_owned(),
            "<sip:alice@elsewhere.test>".to_owned(),
            "\"alice\" <sip:anonymous@anonymous.invalid>".to_owned(),
            "<tel:100>".to_owned(),
        ] {
            let answer = asks(&from, &to).await;
            assert!(answer.starts_with("SIP/2.0 403 "), "{transport} {from}: {answer}");
        }
        // The same user, written otherwise.
        let answer =
            asks(&format!("\"Alice\" <sip:%61lice@{};user=phone>", DOMAIN.to_uppercase()), &to).await;
        assert!(answer.starts_with("SIP/2.0 200 "), "{transport}: {answer}");
    }
    for came in &pbx.came().requests {
        let from =
            Message::parse(came.as_bytes()).unwrap().from().unwrap().uri().unwrap().address_of_record();
        assert_eq!(
            from,
            Some(format!("alice@{DOMAIN}")),
            "what is refused does not reach the registrar: {came}"
        );
    }
    sipway.end().await;
}

fn unregister(user: &str, contact: &str, field: &str) -> String {
    let me = format!("<{}>", of(user));
    let more = format!("Expires: 0\r\n{field}");
    request("REGISTER", &format!("sip:{DOMAIN}"), &me, &me, &more)
        .replace("Contact: <sip:x@x.invalid;transport=ws>", &format!("Contact: {contact}"))
}

/// A registrar that asks a password for everything, as one without the recipe does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registrar_that_refuses_our_unregisters_is_seen_to() {
    let pbx = Kamailio::run_with_passwords("refuses", None).await;
    let sipway = sipway("unregister-refused", &[(HEADER, format!("sip:{}", pbx.address))]);
    assert_eq!(sipway.handle.unregisters_failed().collect::<Vec<_>>(), [("pbx0", 0)]);
    for count in 1..=2 {
        let mut alice = client(&sipway, Transport::Ws, "alice", Some("wonder")).await;
        assert_eq!(alice.register(600).await.unwrap().status, 200);
        drop(alice);
        sipway.until("refused", |handle| handle.upstreams()[0].unregisters_failed == count).await;
    }
    assert_eq!(sipway.handle.upstreams()[0].unregister_status, Some(401));
    assert_eq!(sipway.handle.unregisters_failed().collect::<Vec<_>>(), [("pbx0", 2)]);
    assert!(!pbx.contacts("alice").await.is_empty(), "it keeps them");
    sipway.end().await;
}

/// Nobody answers: that is seen, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registrar_that_is_gone_when_a_connection_ends_is_counted() {
    let pbx = ServerBehind::tcp(200, Then::Stays).await;
    let sipway = sipway("unregister-gone", &[(HEADER, format!("sip:{};transport=tcp", pbx.address))]);
    let mut alice = client(&sipway, Transport::Ws, "alice", None).await;
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    drop(pbx);
    drop(alice);
    sipway.until("counted", |handle| handle.upstreams()[0].unregisters_failed == 1).await;
    assert_eq!(sipway.handle.upstreams()[0].unregister_status, None);
    sipway.end().await;
}
