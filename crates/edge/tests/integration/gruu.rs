//! Names that lead to one user agent (RFC 5627), and dialogs whose Contacts they are.

use lifecycle::Transport;
use prove::{AfterClose, Answering, Client, CloseWord, Ending, Farewell, Incoming};
use sip_message::{HeaderId, Message, response::ResponseBuilder};
use tokio::time::timeout;

use crate::{
    flows::{ANOTHER, ONE, asked, flow, requests},
    replaced::registration,
    test_server::{PATIENCE, TestServer},
    who::{ask, client, credentials, request},
};

const PUBLIC: &str = "[registrar]\ngruu = \"public\"\n";
const GRUU: &str = "sip:ada@localhost;gr=urn:uuid:00000000-0000-0000-0000-000000000001";

/// The answer to a REGISTER of ada's with these parameters of its Contact and these lines.
async fn registering(client: &mut Client, contact: &str, lines: &str, call: &str) -> String {
    ask(client, &registration("ada", &format!("{contact}\r\n{lines}X: y"), call)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_gruus_is_given_one_and_only_that_user_agent_is_reached_by_it() {
    let sipway = TestServer::new("gruu", PUBLIC);
    let mut bob = sipway.registered("bob").await;
    let mut first = flow(&sipway, ONE, 1).await;
    let mut second = flow(&sipway, ONE, 2).await;
    let mut page = flow(&sipway, ANOTHER, 1).await;
    let told = registering(&mut page, "", "Supported: gruu\r\n", "plain").await;
    assert_eq!(told.matches(&format!("pub-gruu=\"{GRUU}\"")).count(), 2, "one for each flow: {told}");
    assert_eq!(told.matches("pub-gruu").count(), 3, "none where there is no instance: {told}");
    let told = registering(&mut page, "", "", "plain2").await;
    assert!(told.starts_with("SIP/2.0 200 ") && !told.contains("gruu"), "{told}");
    let required = registering(&mut page, "", "Require: gruu\r\n", "plain3").await;
    assert!(required.starts_with("SIP/2.0 200 ") && required.contains(GRUU), "{required}");

    let escaped = GRUU.replace("urn:uuid:", "URN%3auuid%3A");
    let other = GRUU.replace("0001", "0002");
    let unknown = GRUU.replace("0001", "0003");
    for (uri, expected, status) in [
        (GRUU, [0, 1, 0], 200),
        (&*escaped, [0, 1, 0], 200),
        (&*other, [0, 0, 1], 200),
        (&*unknown, [0, 0, 0], 480),
        ("sip:ada@localhost;gr", [0, 0, 0], 480),
        ("sip:eve@localhost;gr=urn:uuid:00000000-0000-0000-0000-000000000001", [0, 0, 0], 480),
    ] {
        let (answer, came) = asked(&mut bob, ("MESSAGE", uri), [&mut first, &mut second, &mut page]).await;
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{uri}: {answer}");
        assert_eq!(came, expected, "{uri}");
    }
    // By its other flow, and once it is gone, by none of the others.
    second.end(Ending::Close(CloseWord::Normal, AfterClose::Wait), &Farewell::Nothing, PATIENCE).await;
    let (_, came) = asked(&mut bob, ("MESSAGE", GRUU), [&mut first, &mut page]).await;
    assert_eq!(came, [1, 0]);
    first.end(Ending::Close(CloseWord::Normal, AfterClose::Wait), &Farewell::Nothing, PATIENCE).await;
    let (answer, came) = asked(&mut bob, ("MESSAGE", GRUU), [&mut page]).await;
    assert!(answer.starts_with("SIP/2.0 480 "), "{answer}");
    assert_eq!(came, [0]);

    // One that had itself for a Contact would be called for ever.
    let itself = registration("ada", "", "itself").replace("sip:ada@x.invalid;transport=ws", GRUU);
    let refused = ask(&mut page, &itself).await;
    assert!(refused.starts_with("SIP/2.0 403 "), "{refused}");
    drop((bob, page));
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_option_there_are_none() {
    let sipway = TestServer::new("gruu-off", "");
    let mut bob = sipway.registered("bob").await;
    let mut first = flow(&sipway, ONE, 1).await;
    let mut page = flow(&sipway, ANOTHER, 1).await;
    let told = registering(&mut page, "", "Supported: gruu\r\n", "plain").await;
    assert!(told.starts_with("SIP/2.0 200 ") && !told.contains("gruu"), "{told}");
    let refused = registering(&mut page, "", "Require: gruu\r\n", "plain2").await;
    assert!(refused.starts_with("SIP/2.0 420 ") && refused.contains("Unsupported: gruu"), "{refused}");
    // A parameter like any other.
    let (_, came) = asked(&mut bob, ("MESSAGE", GRUU), [&mut first, &mut page]).await;
    assert_eq!(came[0], 1);
    assert!(came[1] >= 1);
    drop((bob, first, page));
    sipway.end().await;
}

/// The next request of a method that comes, answered by nobody.
async fn taken(client: &mut Client, method: &str) -> String {
    let request = async {
        loop {
            if let Incoming::Request(bytes) = client.next().await.unwrap()
                && bytes.starts_with(method.as_bytes())
            {
                return String::from_utf8(bytes.into_vec()).unwrap();
            }
        }
    };
    timeout(PATIENCE, request).await.unwrap_or_else(|_| panic!("no {method} came"))
}

fn uri(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

/// 200, with a GRUU for a Contact.
fn accept(client: &mut Client, request: &str) {
    let request = Message::parse(request.as_bytes()).unwrap();
    let contact = format!("<{GRUU};ob>");
    let mut answer = Vec::new();
    let builder =
        ResponseBuilder::new(&request, 200, "OK").to_tag(b"ada").header(b"Contact", contact.as_bytes());
    builder.write(&mut answer).unwrap();
    client.send(&answer).unwrap();
}

/// The next request of a dialog that the sender of an answered request has made.
fn next(answer: &str, method: &str, cseq: u32) -> String {
    let answer = Message::parse(answer.as_bytes()).unwrap();
    let value = |id| String::from_utf8_lossy(answer.value(id).unwrap()).into_owned();
    let mut routes: Vec<_> = answer.values(HeaderId::RecordRoute).map(|value| value.bytes).collect();
    routes.reverse();
    let routes = String::from_utf8(routes.join(&b", "[..])).unwrap();
    let contact = value(HeaderId::Contact);
    let n: u64 = rand::random();
    format!(
        "{method} {} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bKx{n};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
         Call-ID: {}\r\nCSeq: {cseq} {method}\r\nRoute: {routes}\r\nContact: <sip:x@x.invalid;transport=ws>\r\n\
         Content-Length: 0\r\n\r\n",
        contact.trim_matches(['<', '>']),
        value(HeaderId::From),
        value(HeaderId::To),
        value(HeaderId::CallId),
    )
}

/// The Contacts of the two connections.
const CONTACT: &str = "sip:1-1@x.invalid;transport=ws";
const LATER: &str = "sip:2-1@x.invalid;transport=ws";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialog_with_a_gruu_reaches_its_user_agent_wherever_that_is_by_now() {
    let sipway = TestServer::new("gruu-dialog", PUBLIC);
    let mut page = flow(&sipway, ANOTHER, 1).await;
    // A call is followed by its own table; of a subscription nothing is known but its routes.
    for method in ["INVITE", "SUBSCRIBE"] {
        let mut bob = sipway.registered("bob").await;
        let mut ada = flow(&sipway, ONE, 1).await;
        ada.set_answering(Answering::KeepsSilent);
        let asking = request(method, GRUU, "<sip:bob@localhost>", "<sip:ada@localhost>", "");
        let mut begun = {
            let answered = ask(&mut bob, &asking);
            let answering = async {
                let came = taken(&mut ada, method).await;
                assert_eq!(uri(&came), CONTACT);
                accept(&mut ada, &came);
            };
            tokio::join!(answered, answering).0
        };
        assert!(begun.starts_with("SIP/2.0 200 ") && begun.contains(";gr="), "{begun}");
        if method == "INVITE" {
            bob.send(next(&begun, "ACK", 1).as_bytes()).unwrap();
            assert_eq!(uri(&taken(&mut ada, "ACK").await), CONTACT, "the ACK too");
        }
        // Along the routes.
        bob.send(next(&begun, "INFO", 2).as_bytes()).unwrap();
        let came = taken(&mut ada, "INFO").await;
        assert_eq!(uri(&came), CONTACT);
        accept(&mut ada, &came);

        // Its connection ends, and it comes back on another.
        ada.end(Ending::Close(CloseWord::Normal, AfterClose::Wait), &Farewell::Nothing, PATIENCE).await;
        let mut ada = flow(&sipway, ONE, 2).await;
        let info = next(&begun, "INFO", 3);
        let (answer, came) = tokio::join!(ask(&mut bob, &info), taken(&mut ada, "INFO"));
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert_eq!(uri(&came), LATER);

        // So does the other side, of which the routes know nothing: the name leads to the right one all the
        // same.
        if method == "SUBSCRIBE" {
            bob.end(Ending::Close(CloseWord::Normal, AfterClose::Wait), &Farewell::Nothing, PATIENCE).await;
            bob = sipway.registered("bob").await;
            let info = next(&begun, "INFO", 4);
            let (answer, came) = tokio::join!(ask(&mut bob, &info), taken(&mut ada, "INFO"));
            assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
            assert_eq!(uri(&came), LATER);
            // Without one they lead nowhere.
            begun = begun.replace(GRUU, "sip:ada@elsewhere.invalid");
            let answer = ask(&mut bob, &next(&begun, "INFO", 5)).await;
            assert!(answer.starts_with("SIP/2.0 481 "), "{answer}");
        }
        let (_, came) = asked(&mut bob, ("MESSAGE", GRUU), [&mut ada, &mut page]).await;
        assert_eq!(came, [1, 0]);
        ada.end(Ending::Close(CloseWord::Normal, AfterClose::Wait), &Farewell::Nothing, PATIENCE).await;
        drop(bob);
        sipway.until("gone", |handle| handle.bindings().0 == 1).await;
    }
    drop(page);
    sipway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthenticated_clients_reach_nobody_by_a_gruu_behind_a_route_to_one_of_them() {
    let domains = "[[domain]]\nname = \"lobby.example\"\nauth = \"open\"\n\
         [[domain]]\nname = \"example.com\"\nusers = \"{here}/users.txt\"\n";
    let files = [("users.txt", "alice:wonder\n")];
    let sipway = TestServer::with_files("gruu-strangers", &format!("{PUBLIC}{domains}"), &files);
    let mut alice = client(&sipway, Transport::Ws, "alice", "example.com", Some("wonder")).await;
    assert_eq!(alice.register(600).await.unwrap().status, 200);
    let own = registration("alice", &format!(";reg-id=1;{ONE}"), "own").replace("localhost", "example.com");
    let asked = ask(&mut alice, &own).await;
    let proof = credentials(&asked, "REGISTER", "sip:example.com", "alice", "wonder", 1);
    let own = own.replace("z9hG4bKown", "z9hG4bKagain").replace("CSeq: 1 ", &format!("{proof}CSeq: 2 "));
    assert!(ask(&mut alice, &own).await.starts_with("SIP/2.0 200 "));
    let mut eve = client(&sipway, Transport::Ws, "eve", "lobby.example", None).await;
    let mut mallory = client(&sipway, Transport::Ws, "mallory", "lobby.example", None).await;
    assert_eq!(mallory.register(600).await.unwrap().status, 200);
    mallory.set_answering(Answering::KeepsSilent);
    let to = "sip:mallory@lobby.example";
    let asking = request("SUBSCRIBE", to, "<sip:eve@lobby.example>", &format!("<{to}>"), "Event: dialog\r\n");
    let accepting = async {
        let came = taken(&mut mallory, "SUBSCRIBE").await;
        accept(&mut mallory, &came);
    };
    let begun = tokio::join!(ask(&mut eve, &asking), accepting).0;
    let named = begun.replace("sip:ada@localhost;gr", "sip:alice@example.com;gr");
    for (cseq, method) in [(2, "MESSAGE"), (3, "INVITE")] {
        let refusing = async {
            let came = taken(&mut mallory, method).await;
            let mut answer = Vec::new();
            let came = Message::parse(came.as_bytes()).unwrap();
            ResponseBuilder::new(&came, 430, "Flow Failed").write(&mut answer).unwrap();
            mallory.send(&answer).unwrap();
        };
        let asked = next(&named, method, cseq);
        let (answer, ()) = tokio::join!(ask(&mut eve, &asked), refusing);
        assert!(answer.starts_with("SIP/2.0 480 "), "{answer}");
        assert_eq!(alice.options("sip:example.com").await.unwrap().status, 200);
        assert_eq!(requests(&mut alice, method).await, 0);
    }
    drop((alice, eve, mallory));
    sipway.end().await;
}
