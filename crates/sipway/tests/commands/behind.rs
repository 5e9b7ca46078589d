//! `sipway check` and the servers behind.

use sip_message::{Message, response::ResponseBuilder};
use tokio::net::UdpSocket;

use crate::directory::Directory;
use crate::process::{run, sipway};

/// Answers one request after the other with this status.
async fn server(socket: UdpSocket, status: u16) {
    let mut bytes = vec![0; 65_535];
    loop {
        let (read, peer) = socket.recv_from(&mut bytes).await.unwrap();
        let request = Message::parse(&bytes[..read]).unwrap();
        let mut answer = Vec::new();
        ResponseBuilder::new(&request, status, "As Told").write(&mut answer).unwrap();
        socket.send_to(&answer, peer).await.unwrap();
    }
}

#[tokio::test]
async fn check_says_which_servers_behind_are_there() {
    let (there, full) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (a, b) = (there.local_addr().unwrap(), full.local_addr().unwrap());
    tokio::spawn(server(there, 404));
    tokio::spawn(server(full, 503));
    let directory = Directory::new("check-behind");
    let text = |targets: &str| {
        format!(
            "[ledger]\ndirectory = \"ledger\"\n[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"pbx\"\ntargets = [{targets}]\n[[domain]]\nname = \"example.com\"\nbackend = \"pbx\"\n"
        )
    };
    let all = format!("\"sip:{a}\", \"sip:{b}\", \"sip:{gone}\"");
    for (name, targets, offline, code) in [
        ("good.toml", format!("\"sip:{a}\""), false, 0),
        ("bad.toml", all.clone(), false, 1),
        ("offline.toml", all, true, 0),
    ] {
        directory.write(name, text(&targets));
        let mut check = sipway(["check"]);
        check.arg(directory.at(name));
        if offline {
            check.arg("--offline");
        }
        let checked = run(check).await;
        assert_eq!(checked.code, Some(code), "{}{}", checked.out, checked.err);
        let says = |words: String| checked.out.contains(&words);
        assert_eq!(says(format!("upstream pbx: {a} answers (404)")), !offline, "{}", checked.out);
        assert_eq!(says(format!("upstream pbx: {b} answers 503")), code == 1, "{}", checked.out);
        assert_eq!(says(format!("upstream pbx: {gone} does not answer")), code == 1, "{}", checked.out);
        assert_eq!(checked.err.contains("2 servers are not there"), code == 1, "{}", checked.err);
    }
}
