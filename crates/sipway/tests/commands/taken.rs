//! An address that cannot be had: which listener, how to choose another, and nothing half started.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use lifecycle::Transport;
use prove::{Client, Setup, Target};

use crate::directory::Directory;
use crate::process::{Server, dev, ledger_events, run, sipway, types};

fn holder(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    let local = listener.local_addr().unwrap();
    (listener, local)
}

#[tokio::test]
async fn dev_says_which_listener_and_which_flag() {
    let (_tcp, stream) = holder("127.0.0.1:0");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let datagram = udp.local_addr().unwrap();
    for (name, address) in [("ws", stream), ("wss", stream), ("tcp", stream), ("udp", datagram)] {
        let directory = Directory::new(&format!("taken-{name}"));
        let (flag, address) = (format!("--{name}"), address.to_string());
        let ended = run(dev(&directory.at("ledger"), &[(&flag, &address)])).await;
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        assert_eq!(ended.out, "", "it never says that it is ready");
        assert!(ended.err.contains(&format!("listener `{name}`")), "{}", ended.err);
        assert!(ended.err.contains(&address), "{}", ended.err);
        assert!(ended.err.contains(&format!("--{name} 127.0.0.1:PORT")), "the mend: {}", ended.err);
        assert!(directory.names().is_empty(), "no ledger was made: {:?}", directory.names());
    }
}

#[tokio::test]
async fn run_says_which_listener_and_which_key() {
    let directory = Directory::new("taken-run");
    let (_holder, address) = holder("127.0.0.1:0");
    // The first listener could be had: it must not be served for a moment either, so no incarnation begins.
    let text = format!(
        "[ledger]\ndirectory = \"ledger\"\n[[listener]]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"desk-phones\"\ntransport = \"tcp\"\nbind = \"{address}\"\n"
    );
    let file = directory.write("sipway.toml", text);
    let mut command = sipway(["run", "--config"]);
    command.arg(file);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("listener `desk-phones`"), "{}", ended.err);
    assert!(ended.err.contains(&address.to_string()) && ended.err.contains("`bind`"), "{}", ended.err);
    assert_eq!(directory.names(), ["sipway.toml"], "no ledger was made");
}

#[tokio::test]
async fn the_admin_address_is_asked_for_first_too() {
    let directory = Directory::new("taken-admin");
    let (_holder, address) = holder("127.0.0.1:0");
    let text = format!(
        "[ledger]\ndirectory = \"ledger\"\n[[listener]]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"{address}\"\n"
    );
    let file = directory.write("sipway.toml", text);
    let mut command = sipway(["run", "--config"]);
    command.arg(file);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains(&address.to_string()) && ended.err.contains("[admin]"), "{}", ended.err);
    assert_eq!(directory.names(), ["sipway.toml"], "no ledger was made");
}

#[tokio::test]
async fn an_address_of_another_machine() {
    let directory = Directory::new("foreign");
    // RFC 5737: an address for documentation.
    let mut command = dev(&directory.at("ledger"), &[("--ws", "192.0.2.1:8080")]);
    command.arg("--expose");
    let ended = run(command).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("no address 192.0.2.1"), "{}", ended.err);
    assert!(directory.names().is_empty());
}

#[tokio::test]
async fn what_another_run_holds_is_not_disturbed() {
    let directory = Directory::new("disturbed");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    let mut client = server.connect(Transport::Ws, "ada").await;
    assert_eq!(client.register(600).await.unwrap().status, 200);
    let [ws, tcp, udp] = ["ws", "tcp", "udp"].map(|name| server.address(name).to_string());
    // Each of a server's own UDP sockets shares its port with the others; not with another server.
    for given in [("--ws", ws.as_str()), ("--tcp", tcp.as_str()), ("--udp", udp.as_str())] {
        let ended = run(dev(&directory.at("other"), &[given])).await;
        assert_eq!(ended.code, Some(1), "{}", ended.err);
    }
    assert_eq!(client.register(600).await.unwrap().status, 200);
    assert!(server.terminate().await.success());
    assert_eq!(
        types(&ledger_events(&ledger).await).iter().filter(|kind| **kind == "node.started").count(),
        1
    );

    // And the ports are free again for the next one, at once.
    let mut next = Server::dev(dev(&ledger, &[("--ws", &ws), ("--tcp", &tcp)])).await;
    let target = Target::new(Transport::Ws, ws.parse().unwrap());
    let mut client = Client::connect(&target, &Setup::new("ada")).await.unwrap();
    assert_eq!(client.register(600).await.unwrap().status, 200);
    assert!(next.terminate().await.success());
}
