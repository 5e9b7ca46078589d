//! Everything by IPv6: listeners of every kind, messages between them, addresses in Via, Record-Route and
//! events; and a listener that is told to the world by another address than the one that it is bound to.

use lifecycle::Transport;
use prove::{Client, Setup, Target};

use crate::directory::Directory;
use crate::process::{Server, ledger_events, sipway};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_on_every_transport_reach_each_other_by_ipv6() {
    let directory = Directory::new("ipv6");
    let listeners = ["ws", "tcp", "udp"].map(|transport| {
        format!("[[listener]]\nname = \"{transport}\"\ntransport = \"{transport}\"\nbind = \"[::1]:0\"\n")
    });
    // Inside it is a desk phone's server at a private address, whatever outside they are told.
    let outside = "[[listener]]\nname = \"outside\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
        advertise = \"[2001:db8::5]:443\"\n";
    let domain = "[[domain]]\nname = \"localhost\"\nauth = \"open\"\n";
    let text = format!(
        "[ledger]\ndirectory = \"ledger\"\n[log]\nformat = \"json\"\n{}{outside}{domain}",
        listeners.concat()
    );
    let file = directory.write("sipway.toml", text);
    let mut command = sipway(["run", "--config"]);
    command.arg(file);
    let mut server = Server::run(command).await;

    let mut ada = server.connect(Transport::Ws, "ada").await;
    let mut bob = server.connect(Transport::Tcp, "bob").await;
    let mut eve = server.connect(Transport::Udp, "eve").await;
    let outside = Target::new(Transport::Ws, server.address("outside"));
    let mut out = Client::connect(&outside, &Setup::new("out")).await.unwrap();
    for client in [&mut ada, &mut bob, &mut eve, &mut out] {
        assert_eq!(client.register(600).await.unwrap().status, 200);
    }
    let ws = server.address("ws");
    for receiver in [&mut bob, &mut eve, &mut out] {
        let to = receiver.address_of_record();
        let (answer, heard) = tokio::join!(ada.message(&to, b"hello"), receiver.next());
        assert_eq!(answer.unwrap().status, 200, "{to}");
        let heard = heard.unwrap();
        let head = String::from_utf8_lossy(heard.bytes()).into_owned();
        // Each is told the address of the listener that it came by.
        let told =
            if to.contains("out@") { "SIP/2.0/WS [2001:db8::5]:443".to_owned() } else { "[::1]:".to_owned() };
        assert!(head.lines().any(|line| line.starts_with("Via:") && line.contains(&told)), "{head}");
    }
    assert_eq!(ws.ip().to_string(), "::1");
    drop((ada, bob, eve, out));
    assert!(server.terminate().await.success());
    let events = ledger_events(&directory.at("ledger")).await;
    let remotes: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "binding.added")
        .map(|event| event["data"]["remote"].as_str().unwrap())
        .collect();
    assert_eq!(remotes.len(), 4, "{remotes:?}");
    assert_eq!(remotes.iter().filter(|remote| remote.starts_with("[::1]:")).count(), 3, "{remotes:?}");
}
