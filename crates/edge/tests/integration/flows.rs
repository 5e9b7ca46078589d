//! One user agent on two connections (RFC 5626): it is asked once, and by the other connection when one
//! fails.

use std::time::Duration;

use prove::{AfterClose, Answering, Client, CloseWord, Ending, Farewell, Incoming};
use sip_message::{HeaderId, Message, response::ResponseBuilder};
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    replaced::register,
    test_server::{PATIENCE, TestServer},
    who::{ask, request},
};

pub(crate) const ONE: &str = "+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-000000000001>\"";
pub(crate) const ANOTHER: &str = "+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-000000000002>\"";

/// A connection over which a user agent of ada's has registered as its flow of this number.
pub(crate) async fn flow(sipway: &TestServer, instance: &str, reg_id: u8) -> Client {
    let mut client = sipway.connect("ada").await;
    let call = format!("{reg_id}-{}", instance.chars().nth_back(2).unwrap());
    register(&mut client, "ada", &format!(";reg-id={reg_id};{instance}"), &call).await;
    client
}

/// Asks ada something; the answer, and how often each of her connections was asked. An INVITE is answered
/// 486, all else 200.
pub(crate) async fn asked<const N: usize>(
    bob: &mut Client,
    (method, uri): (&str, &str),
    connections: [&mut Client; N],
) -> (String, [usize; N]) {
    let text = request(method, uri, "<sip:bob@localhost>", "<sip:ada@localhost>", "");
    meanwhile(method, connections, ask(bob, &text)).await
}

/// Waits for something; how many requests of a method came to each connection meanwhile.
async fn meanwhile<T, const N: usize>(
    method: &str,
    connections: [&mut Client; N],
    something: impl Future<Output = T>,
) -> (T, [usize; N]) {
    let mut came = [0; N];
    let mut each: Vec<_> = connections.into_iter().zip(&mut came).collect();
    let mut something = std::pin::pin!(something);
    let done = loop {
        if let Ok(done) = timeout(Duration::from_millis(2), &mut something).await {
            break done;
        }
        for (client, came) in &mut each {
            **came += requests(client, method).await;
        }
    };
    for (client, came) in &mut each {
        // Whatever was sent before this is answered has come.
        assert_eq!(client.options("sip:localhost").await.unwrap().status, 200);
        **came += requests(client, method).await;
    }
    (done, came)
}

/// How many requests have come that nobody has taken.
pub(crate) async fn requests(client: &mut Client, method: &str) -> usize {
    let mut came = 0;
    while let Ok(Ok(incoming)) = timeout(Duration::from_millis(2), client.next()).await {
        came += usize::from(
            matches!(&incoming, Incoming::Request(bytes) if bytes.starts_with(method.as_bytes())),
        );
    }
    came
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_agent_on_two_connections_is_asked_once_and_by_the_other_when_one_ends() {
    let sipway = TestServer::new("flows", "");
    let mut bob = sipway.registered("bob").await;
    let mut first = flow(&sipway, ONE, 1).await;
    let mut second = flow(&sipway, ONE, 2).await;
    let mut page = flow(&sipway, ANOTHER, 1).await;
    assert_eq!(sipway.handle.bindings().0, 4);
    for (method, status) in [("INVITE", "486"), ("MESSAGE", "200")] {
        let what = (method, "sip:ada@localhost");
        let (answer, came) = asked(&mut bob, what, [&mut first, &mut second, &mut page]).await;
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{answer}");
        assert_eq!(came, [0, 1, 1], "{method}: the newest flow of each user agent");
    }
    page.end(Ending::Close(CloseWord::Normal, AfterClose::Wait), &Farewell::Nothing, PATIENCE).await;
    sipway.until("closed", |handle| handle.bindings().0 == 3).await;

    // While it is being asked, the flow ends.
    second.set_answering(Answering::KeepsSilent);
    let text = request("INVITE", "sip:ada@localhost", "<sip:bob@localhost>", "<sip:ada@localhost>", "");
    bob.send(text.as_bytes()).unwrap();
    let invited = async {
        loop {
            if let Incoming::Request(bytes) = second.next().await.unwrap()
                && bytes.starts_with(b"INVITE")
            {
                return;
            }
        }
    };
    timeout(PATIENCE, invited).await.expect("the newest flow is asked");
    assert_eq!(requests(&mut first, "INVITE").await, 0);
    second.end(Ending::Close(CloseWord::Normal, AfterClose::Wait), &Farewell::Nothing, PATIENCE).await;
    let final_status = async {
        loop {
            if let Incoming::Response(response) = bob.next().await.unwrap()
                && response.status >= 200
            {
                return response.status;
            }
        }
    };
    let (status, came) = meanwhile("INVITE", [&mut first], timeout(PATIENCE, final_status)).await;
    assert_eq!((status.expect("an answer"), came), (486, [1]), "by the other flow it is reached");
    drop((bob, first));
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_agent_that_is_silent_on_one_connection_is_asked_by_the_other() {
    let sipway = TestServer::new("flows-silent", "[keepalive]\npong_timeout = \"200ms\"\n");
    let mut bob = sipway.registered("bob").await;
    let mut first = flow(&sipway, ONE, 1).await;
    let mut second = flow(&sipway, ONE, 2).await;
    second.set_answering(Answering::KeepsSilent);
    let what = ("MESSAGE", "sip:ada@localhost");
    let (answer, came) = asked(&mut bob, what, [&mut first, &mut second]).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert_eq!(came, [1, 1]);
    drop((bob, first, second));
    sipway.end().await;
}

/// RFC 5626 §5.3. Asterisk knows no 430, and makes 500 of it for the caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registrar_is_told_that_a_flow_failed_if_it_has_shown_that_it_knows_flows() {
    for (shown, told) in [
        (&[][..], 480),
        (&[("Require", "outbound")][..], 430),
        (&[("Supported", "path"), ("Supported", "gruu, outbound")][..], 430),
    ] {
        let pbx = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = pbx.local_addr().unwrap();
        let config = format!(
            "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"pbx\"\ntargets = [\"sip:{address}\"]\nprobe = \"off\"\nunregister = \"never\"\n\
             [[domain]]\nname = \"localhost\"\nbackend = \"pbx\"\nregister = \"path\"\n"
        );
        let sipway = TestServer::new("flows-outbound", &config);
        let mut bob = sipway.connect("bob").await;
        let me = "<sip:bob@localhost>";
        let register = request("REGISTER", "sip:localhost", me, me, "Supported: path, outbound\r\n");
        let instance = "transport=ws>;+sip.instance=\"<urn:uuid:b>\";reg-id=1;expires=600";
        let register = register.replace("transport=ws>", instance);
        let mut buffer = vec![0; 65_535];
        let registrar = async {
            let (read, from) = pbx.recv_from(&mut buffer).await.unwrap();
            let came = Message::parse(&buffer[..read]).unwrap();
            let contact = came.value(HeaderId::Contact).unwrap();
            let mut answer = Vec::new();
            let mut builder = ResponseBuilder::new(&came, 200, "OK").to_tag(b"r").header(b"Contact", contact);
            for (name, value) in shown {
                builder = builder.header(name.as_bytes(), value.as_bytes());
            }
            builder.write(&mut answer).unwrap();
            pbx.send_to(&answer, from).await.unwrap();
            (String::from_utf8_lossy(came.value(HeaderId::Path).unwrap()).into_owned(), from)
        };
        let (answer, (path, us)) = tokio::join!(ask(&mut bob, &register), registrar);
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        drop(bob);
        sipway.until("closed", |handle| handle.live() == 0).await;
        let call = request("MESSAGE", "sip:x@x.invalid", "<sip:a@pbx>", me, &format!("Route: {path}\r\n"));
        let call = call.replace("SIP/2.0/WS x.invalid", &format!("SIP/2.0/UDP {address}"));
        pbx.send_to(call.as_bytes(), us).await.unwrap();
        let read = timeout(PATIENCE, pbx.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(Message::parse(&buffer[..read]).unwrap().status(), Some(told), "{shown:?}");
        sipway.end().await;
    }
}
