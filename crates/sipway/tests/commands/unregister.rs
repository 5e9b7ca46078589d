//! A registrar behind that does not take our un-REGISTERs is seen to, and the secret that proves them is seen
//! nowhere.

use lifecycle::Transport;
use prove::{Client, Setup};
use serde_json::Value;
use sip_message::{HeaderId, Message, Method, response::ResponseBuilder};
use tokio::net::UdpSocket;

use crate::directory::Directory;
use crate::http::ask;
use crate::process::{Server, run, sipway};

const SECRET: &str = "s3cret-0123456789-abcdef";

/// Registers everybody, and takes nothing back without a password. Ends when it has refused so many.
async fn registrar(socket: UdpSocket, refusals: usize) {
    let mut bytes = vec![0; 65_535];
    let mut refused = 0;
    while refused < refusals {
        let (read, peer) = socket.recv_from(&mut bytes).await.unwrap();
        let request = Message::parse(&bytes[..read]).unwrap();
        let contact = request.value(HeaderId::Contact).map(<[u8]>::to_vec).unwrap_or_default();
        let takes_back = contact.windows(9).any(|part| part == b"expires=0");
        refused += usize::from(takes_back);
        let status = if takes_back { 401 } else { 200 };
        let mut answer = Vec::new();
        let mut builder = ResponseBuilder::new(&request, status, "As Told").to_tag(b"pbx");
        if request.method() == Some(Method::Register) && status == 200 {
            builder = builder.header(b"Contact", &contact);
        }
        builder.write(&mut answer).unwrap();
        socket.send_to(&answer, peer).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_unregister_is_warned_of_with_its_mend_and_the_secret_is_told_nowhere() {
    let pbx = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = pbx.local_addr().unwrap();
    let directory = Directory::new("unregister");
    directory.write("unregister.secret", SECRET);
    let file = directory.write(
        "sipway.toml",
        format!(
            "[ledger]\ndirectory = \"ledger\"\n[[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
             [[listener]]\nname = \"udp\"\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"pbx\"\ntargets = [\"sip:{address};transport=udp\"]\nprobe = \"off\"\n\
             unregister_header = \"X-Sipway-Close\"\nunregister_secret_file = \"unregister.secret\"\n\
             [[domain]]\nname = \"localhost\"\nbackend = \"pbx\"\n\
             [admin]\nbind = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nlevel = \"trace\"\n"
        ),
    );
    let mut check = sipway(["check", "--offline"]);
    check.arg(&file);
    let checked = run(check).await;
    assert_eq!(checked.code, Some(0), "{}", checked.err);

    let mut serve = sipway(["run", "--config"]);
    serve.arg(&file);
    let mut server = Server::run(serve).await;
    let registrar = tokio::spawn(registrar(pbx, 3));
    for user in ["ada", "bob", "cleo"] {
        let mut client = Client::connect(&server.target(Transport::Ws), &Setup::new(user)).await.unwrap();
        assert_eq!(client.register(600).await.unwrap().status, 200);
        drop(client);
    }
    registrar.await.unwrap();
    let admin = server.address("admin");
    let upstreams = loop {
        let answer = ask(admin, "GET", "/api/upstreams").await;
        let shown: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        if shown[0]["unregisters_failed"] == 3 {
            assert_eq!(shown[0]["unregister_status"], 401);
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let metrics = ask(admin, "GET", "/metrics").await;
    assert!(metrics.contains("sipway_upstream_unregisters_failed_total{upstream=\"pbx\"} 3"), "{metrics}");
    let log = server.terminate_and_read().await;
    let warnings: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["level"] == "WARN" && line["fields"]["upstream"] == "pbx")
        .collect();
    let [warning] = warnings.as_slice() else { panic!("one warning a minute: {warnings:?}") };
    assert_eq!((&warning["fields"]["status"], &warning["fields"]["contacts"]), (&401.into(), &1.into()));
    assert!(warning["fields"]["mend"].as_str().unwrap().contains("docs/PBX.md"), "{warning}");
    for told in [&checked.out, &checked.err, &log, &upstreams, &metrics] {
        assert!(!told.contains("s3cret"), "{told}");
    }
}
