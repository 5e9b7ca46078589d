//! Who must prove who they are: with a password they may, without or with a wrong one they may not.

use std::fs;

use lifecycle::Transport;
use prove::{Client, Persona, RequestError, Setup};

use crate::server::{Directory, Server};

const CONFIG: &str = r#"
[ledger]
directory = "ledger"
[log]
format = "json"
[[domain]]
name = "example.com"
users = "users.txt"
[[listener]]
transport = "ws"
bind = "127.0.0.1:0"
[[listener]]
transport = "udp"
bind = "127.0.0.1:0"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_lets_in_and_nothing_else_does() {
    let directory = Directory::new("digest");
    let config = directory.path().join("sipway.toml");
    fs::write(&config, CONFIG).unwrap();
    fs::write(directory.path().join("users.txt"), "alice:wonder\nbob:builder\n").unwrap();
    let mut server = Server::run(&config).await;
    let connect = async |transport, persona, user: &str, password: Option<&str>| {
        let target = server.target(transport).domain("example.com");
        let password = password.map(str::to_owned);
        Client::connect(&target, &Setup { persona, password, ..Setup::new(user) }).await.unwrap()
    };

    let mut alice = connect(Transport::Ws, Persona::JsSip, "alice", Some("wonder")).await;
    let mut bob = connect(Transport::Udp, Persona::Phone, "bob", Some("builder")).await;
    // Twice: JsSIP begins without credentials each time, the refresh too.
    for _ in 0..2 {
        assert_eq!(alice.register(600).await.unwrap().status, 200);
        assert_eq!(bob.register(600).await.unwrap().status, 200);
    }
    let to = bob.address_of_record();
    let (response, heard) = tokio::join!(alice.message(&to, b"hello"), bob.next());
    assert_eq!(response.unwrap().status, 200);
    assert_eq!(heard.unwrap().message().body(), b"hello");

    let mut again = connect(Transport::Ws, Persona::SipJs, "bob", Some("builder")).await;
    for _ in 0..3 {
        assert_eq!(again.register(600).await.unwrap().status, 200, "with a nonce that is used again");
    }
    let mut liar = connect(Transport::Ws, Persona::JsSip, "alice", Some("wander")).await;
    assert_eq!(liar.register(600).await, Err(RequestError::Unauthorized));
    let mut unauthenticated = connect(Transport::Ws, Persona::SipJs, "alice", None).await;
    assert_eq!(unauthenticated.register(600).await, Err(RequestError::Unauthorized));
    assert!(server.terminate().await.success());
}
