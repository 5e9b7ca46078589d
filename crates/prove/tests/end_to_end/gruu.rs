//! Dialogs whose Contacts are GRUUs (RFC 5627): their names are good whatever becomes of connections, and of
//! the server.

use std::fs;
use std::net::TcpListener;

use lifecycle::Transport;

use crate::calls::{Agent, up};
use crate::server::{Directory, Server};

const CONFIG: &str = r#"
[ledger]
directory = "ledger"
[log]
format = "json"
[registrar]
gruu = "GRUU"
[[domain]]
name = "localhost"
auth = "open"
[[listener]]
transport = "ws"
bind = "127.0.0.1:PORT"
"#;

async fn both(server: &Server, contacts: [Option<&str>; 2]) -> [Agent; 2] {
    let mut ada = Agent::register(server, Transport::Ws, "ada", "a1").await;
    let mut bob = Agent::register(server, Transport::Ws, "bob", "b1").await;
    for (agent, contact) in [&mut ada, &mut bob].into_iter().zip(contacts) {
        agent.contact = contact.map_or(agent.contact.clone(), str::to_owned);
    }
    [ada, bob]
}

/// A call before a `kill -9`, and what becomes of requests within it behind that.
async fn killed_in_a_call(name: &str, gruu: &str, contacts: [Option<&str>; 2]) -> [String; 2] {
    let directory = Directory::new(name);
    let config = directory.path().join("sipway.toml");
    // The routes of the call name it.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fs::write(&config, CONFIG.replace("PORT", &port.to_string()).replace("GRUU", gruu)).unwrap();
    let mut server = Server::run(&config).await;
    let [mut ada, mut bob] = both(&server, contacts).await;
    let (mut one, mut other) = up(&mut ada, &mut bob, name).await;
    server.kill().await;
    let mut server = Server::run(&config).await;
    let [mut ada, mut bob] = both(&server, [None, None]).await;
    let info = one.request(&ada, "INFO");
    ada.send(&info);
    let answered = match gruu {
        "off" => ada.hears("SIP/2.0 ").await,
        _ => {
            let info = bob.hears("INFO").await;
            assert!(info.starts_with(&format!("INFO {} ", bob.contact)), "under its newer Contact: {info}");
            bob.answer(&info, "200 OK");
            ada.hears("SIP/2.0 200").await
        }
    };
    let bye = other.request(&bob, "BYE");
    bob.send(&bye);
    let ended = match gruu {
        "off" => bob.hears("SIP/2.0 ").await,
        _ => {
            let bye = ada.hears("BYE").await;
            assert!(bye.starts_with(&format!("BYE {} ", ada.contact)), "{bye}");
            ada.answer(&bye, "200 OK");
            bob.hears("SIP/2.0 200").await
        }
    };
    assert!(server.terminate().await.success());
    [answered, ended]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_crash_requests_of_a_call_find_their_way_by_gruus_and_by_nothing_else() {
    let gruus = [Some("sip:ada@localhost;gr=urn:uuid:a1"), Some("sip:bob@localhost;gr=urn:uuid:b1")];
    for answer in killed_in_a_call("gruu-crash", "public", gruus).await {
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    }
    for answer in killed_in_a_call("no-gruu-crash", "off", [None, None]).await {
        assert!(answer.starts_with("SIP/2.0 480 "), "{answer}");
    }
}
