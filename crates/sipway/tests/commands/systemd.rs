//! What a service manager hears, and what it can order.

use std::fs;

use lifecycle::Transport;
use prove::{Client, Setup, Trust};
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::directory::Directory;
use crate::operator::get;
use crate::process::{PATIENCE, Server, sipway};

/// The service manager's socket.
struct Manager(UnixDatagram);

impl Manager {
    /// Reads until a message has this line; gives the whole message.
    async fn hear(&self, line: &str) -> String {
        let hearing = async {
            let mut buffer = vec![0; 4096];
            loop {
                let length = self.0.recv(&mut buffer).await.unwrap();
                let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
                if message.lines().any(|heard| heard.starts_with(line)) {
                    return message;
                }
            }
        };
        timeout(PATIENCE, hearing).await.unwrap_or_else(|_| panic!("never heard {line}"))
    }
}

fn write_certificate(directory: &Directory) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    directory.write("chain.pem", pair.cert.pem());
    directory.write("key.pem", pair.signing_key.serialize_pem());
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_hears_how_it_is_and_sighup_takes_certificates_over() {
    let directory = Directory::new("systemd");
    let manager = Manager(UnixDatagram::bind(directory.at("notify")).unwrap());
    let first = write_certificate(&directory);
    directory.write("users.txt", "ada:one\n");
    let text = "[ledger]\ndirectory = \"ledger\"\n[log]\nformat = \"json\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [shutdown]\ndeadline = \"45s\"\n\
         [[domain]]\nname = \"localhost\"\nusers = \"users.txt\"\n\
         [[listener]]\nname = \"wss\"\ntransport = \"wss\"\nbind = \"127.0.0.1:0\"\n\
         certificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n";
    let file = directory.write("sipway.toml", text);
    let mut command = sipway(["run", "--config"]);
    command.arg(&file).env("NOTIFY_SOCKET", directory.at("notify")).env("WATCHDOG_USEC", "200000");
    let mut server = Server::run(command).await;
    let ready = manager.hear("READY=1").await;
    assert!(ready.contains("STATUS=0 connections, 0 users registered"), "{ready}");
    manager.hear("WATCHDOG=1").await;

    let shows = |pair: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let mut target = server.target(Transport::Wss);
        target.trust = Trust::only(pair.cert.der().clone());
        target
    };
    let setup = |password: &str| Setup { password: Some(password.to_owned()), ..Setup::new("ada") };
    let mut old = Client::connect(&shows(&first), &setup("one")).await.unwrap();
    assert_eq!(old.register(600).await.unwrap().status, 200);
    manager.hear("STATUS=1 connection, ").await;

    // A key that does not belong to the chain: the old certificate stays, and so do the users.
    let second = write_certificate(&directory);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    directory.write("key.pem", other.signing_key.serialize_pem());
    directory.write("users.txt", "ada:two\n");
    server.signal("HUP").await;
    manager.hear("RELOADING=1").await;
    manager.hear("READY=1").await;
    assert!(Client::connect(&shows(&second), &setup("one")).await.is_err());
    let mut again = Client::connect(&shows(&first), &setup("one")).await.unwrap();
    assert_eq!(again.register(600).await.unwrap().status, 200);

    // A file that is broken altogether.
    fs::write(directory.at("chain.pem"), "no certificate").unwrap();
    server.signal("HUP").await;
    manager.hear("RELOADING=1").await;
    manager.hear("READY=1").await;
    drop(Client::connect(&shows(&first), &setup("one")).await.unwrap());

    // All in order.
    let third = write_certificate(&directory);
    server.signal("HUP").await;
    manager.hear("RELOADING=1").await;
    manager.hear("READY=1").await;
    assert!(Client::connect(&shows(&first), &setup("one")).await.is_err());
    let mut new = Client::connect(&shows(&third), &setup("two")).await.unwrap();
    assert_eq!(new.register(600).await.unwrap().status, 200);
    let health = get(server.address("admin"), "/healthz").await;
    assert_eq!(health.status, 200);

    server.signal("TERM").await;
    let stopping = manager.hear("STOPPING=1").await;
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=4"), "{stopping}");
    // Who came by the old certificate stayed to the end.
    assert!(old.serve_for(PATIENCE).await.is_some_and(|ended| format!("{ended}").contains("1001")));
    assert!(server.end().await.success());
}

/// The unit names no directive that systemd does not know, where there is a systemd to ask.
#[tokio::test]
async fn the_unit_is_understood() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/sipway.service");
    let text = fs::read_to_string(unit).unwrap();
    for wanted in ["Type=notify", "WatchdogSec=", "StateDirectory=", "LimitNOFILE=", "ProtectSystem=strict"] {
        assert!(text.lines().any(|line| line.starts_with(wanted)), "{wanted}");
    }
    let asked = tokio::process::Command::new("systemd-analyze").args(["verify", unit]).output().await;
    if let Ok(asked) = asked {
        let said = String::from_utf8_lossy(&asked.stderr);
        assert!(!said.contains("Unknown key") && !said.contains("Failed to parse"), "{said}");
    }
}
