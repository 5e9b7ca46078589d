//! What the 200 to a REGISTER says of extensions, and what is refused for them (RFC 3261 §10.3, RFC 3327, RFC
//! 5626).

use std::sync::atomic::{AtomicUsize, Ordering};

use lifecycle::Transport;
use prove::{Client, Feed, Persona, Setup};
use tokio::time::timeout;

use crate::server::{Directory, PATIENCE, Server};

const FLOW: &str = "Contact: <sip:a@h.invalid;transport=ws>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\n";
static REQUESTS: AtomicUsize = AtomicUsize::new(1);
const BEHIND: &str = "Via: SIP/2.0/UDP behind.invalid;branch=z9hG4bKbehind\r\n";

/// The whole answer to a REGISTER with these further lines, on a flow of its own.
async fn register(server: &Server, transport: Transport, lines: &str) -> String {
    // A Call-ID of its own: a device that is still registered refuses the same CSeq again (RFC 3261 §10.3).
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let target = server.target(transport);
    let persona = if transport == Transport::Ws { Persona::JsSip } else { Persona::Phone };
    let mut client = Client::connect(&target, &Setup { persona, ..Setup::new("alice") }).await.unwrap();
    let request = format!(
        "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/{} first.invalid;branch=z9hG4bK{:x};rport\r\n{lines}\
         Max-Forwards: 70\r\nFrom: <sip:alice@localhost>;tag=1\r\nTo: <sip:alice@localhost>\r\nCall-ID: {}\r\n\
         CSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n",
        transport.as_str().to_uppercase(),
        number,
        number,
    );
    client.send(request.as_bytes()).unwrap();
    client.flush().await.unwrap();
    let answer = timeout(PATIENCE, client.next()).await.expect("an answer").unwrap();
    String::from_utf8(answer.bytes().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_of_register_are_told_and_asked_for_as_the_rfcs_say() {
    let directory = Directory::new("registering");
    let mut server = Server::dev(&directory.path().join("ledger"), &Feed::default()).await;
    let (ws, tcp, udp) = (Transport::Ws, Transport::Tcp, Transport::Udp);

    let answer = register(&server, udp, "Require: path, novel\r\n").await;
    assert!(answer.starts_with("SIP/2.0 420 ") && answer.contains("\r\nUnsupported: novel\r\n"), "{answer}");

    // 25 s without a word and 10 s without a pong.
    for transport in [ws, tcp] {
        let answer = register(&server, transport, &format!("{FLOW}Supported: path, outbound\r\n")).await;
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert!(answer.contains("\r\nRequire: outbound\r\nFlow-Timer: 35\r\n"), "{answer}");
    }
    for (transport, lines) in [(ws, FLOW.to_owned()), (udp, format!("{FLOW}Supported: outbound\r\n"))] {
        let answer = register(&server, transport, &lines).await;
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert!(!answer.contains("Require") && !answer.contains("Flow-Timer"), "{answer}");
    }

    let path = "Path: <sip:p.invalid;lr>, <sip:edge.invalid;lr;ob>\r\n";
    let behind = format!("{BEHIND}{FLOW}{path}");
    let answer = register(&server, tcp, &format!("{behind}Supported: path, outbound\r\n")).await;
    assert!(answer.contains("\r\nPath: <sip:p.invalid;lr>, <sip:edge.invalid;lr;ob>\r\n"), "{answer}");
    assert!(answer.contains("\r\nRequire: outbound\r\n") && !answer.contains("Flow-Timer"), "{answer}");
    let answer = register(&server, tcp, &behind).await;
    assert!(answer.starts_with("SIP/2.0 200 ") && !answer.contains("\r\nPath:"), "{answer}");
    let answer = register(&server, tcp, &format!("{BEHIND}{FLOW}Supported: path, outbound\r\n")).await;
    assert!(answer.starts_with("SIP/2.0 439 First Hop Lacks Outbound Support\r\n"), "{answer}");

    assert!(server.terminate().await.success());
}
