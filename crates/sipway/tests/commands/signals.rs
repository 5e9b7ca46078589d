//! SIGTERM and SIGINT end in order; a second one hurries.

use std::time::{Duration, Instant};

use lifecycle::Transport;
use prove::{Answering, Client, Ended, Setup, Target};

use crate::directory::Directory;
use crate::process::{PATIENCE, Server, dev, ledger_events, sipway, types};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_closes_every_flow_and_says_so() {
    for name in ["TERM", "INT"] {
        let directory = Directory::new(&format!("signal-{name}"));
        let ledger = directory.at("ledger");
        let mut server = Server::dev(dev(&ledger, &[])).await;
        let mut ws = server.connect(Transport::Ws, "ada").await;
        let mut tcp = server.connect(Transport::Tcp, "bob").await;
        assert_eq!(ws.register(600).await.unwrap().status, 200);
        assert_eq!(tcp.register(600).await.unwrap().status, 200);
        server.signal(name).await;
        let goodbye = ws.serve_for(PATIENCE).await.expect("is told in time");
        assert!(matches!(goodbye, Ended::Closed { code: Some(1001 | 1012), .. }), "{goodbye:?}");
        assert_eq!(tcp.serve_for(PATIENCE).await, Some(Ended::Eof));
        assert_eq!(server.end().await.code(), Some(0));

        let events = ledger_events(&ledger).await;
        let closes: Vec<_> = events.iter().filter(|event| event["type"] == "flow.closed").collect();
        assert_eq!(closes.len(), 2);
        for close in closes {
            assert_eq!(
                (&close["data"]["by"], &close["data"]["cause"]),
                (&"server".into(), &"shutdown".into())
            );
        }
        assert_eq!(types(&events).last(), Some(&"node.stopped"));
    }
}

/// What makes an orderly end long: a consumer that does not answer. A second signal gives it up; the ledger
/// is whole all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_hurries() {
    let directory = Directory::new("twice");
    // Accepts and never says a word.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "[ledger]\ndirectory = \"ledger\"\n[log]\nformat = \"json\"\n\
         [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
         [[sink]]\nkind = \"webhook\"\nname = \"deaf\"\nurl = \"http://{}/\"\nsecret_file = \"secret\"\ntimeout = \"5m\"\n",
        deaf.local_addr().unwrap()
    );
    directory.write("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let file = directory.write("sipway.toml", text);
    let mut command = sipway(["run", "--config"]);
    command.arg(file);
    let mut server = Server::run(command).await;
    let mut client = server.connect(Transport::Ws, "ada").await;
    assert_eq!(client.register(600).await.unwrap().status, 200);
    server.signal("TERM").await;
    assert!(client.serve_for(PATIENCE).await.is_some(), "is told in time");
    let hurry = Instant::now();
    server.signal("TERM").await;
    let (status, words) = server.end_and_words().await;
    assert!(hurry.elapsed() < Duration::from_secs(10), "{:?}", hurry.elapsed());
    assert_eq!(status.code(), Some(0), "all is in the ledger, and the consumer goes on from its cursor");
    assert!(
        words.contains("shutting down before this sink has all events") && words.contains("deaf"),
        "{words}"
    );

    let events = ledger_events(&directory.at("ledger")).await;
    let count = |wanted: &str| types(&events).iter().filter(|kind| **kind == wanted).count();
    assert_eq!((count("flow.opened"), count("flow.closed"), count("node.stopped")), (1, 1, 1));
}

/// A peer that does not answer the Close must not hold the end up for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_does_not_hold_the_end_up() {
    let directory = Directory::new("silent");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    let target = Target::new(Transport::Ws, server.address("ws"));
    let mut silent = Client::connect(&target, &Setup::new("ada")).await.unwrap();
    assert_eq!(silent.register(600).await.unwrap().status, 200);
    silent.set_answering(Answering::KeepsSilent);
    // From here on it reads nothing.
    let ended = server.terminate().await;
    assert_eq!(ended.code(), Some(0));
    let events = ledger_events(&ledger).await;
    let closes: Vec<_> = events.iter().filter(|event| event["type"] == "flow.closed").collect();
    assert_eq!(closes.len(), 1);
    assert_eq!(closes[0]["data"]["cause"], "shutdown");
}

/// What there is to say of a configuration is a line of the log like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warnings_of_a_configuration_are_json_where_the_log_is() {
    let directory = Directory::new("json-warnings");
    let text = "[ledger]\ndirectory = \"ledger\"\ndurability = \"memory\"\n[log]\nformat = \"json\"\n\
                [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n";
    let mut command = sipway(["run", "--config"]);
    command.arg(directory.write("sipway.toml", text));
    // Every line is read as JSON until it is ready.
    let mut server = Server::run(command).await;
    assert!(server.terminate().await.success());
}

/// A reload that brings no other certificate says nothing of certificates; one that does names the listener.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_names_certificates_only_if_there_are_others() {
    let directory = Directory::new("hang-up");
    let write = || {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        directory.write("chain.pem", pair.cert.pem());
        directory.write("key.pem", pair.signing_key.serialize_pem());
    };
    write();
    let text = "[ledger]\ndirectory = \"ledger\"\n[log]\nformat = \"json\"\n[[listener]]\nname = \"wss\"\ntransport = \"wss\"\n\
                bind = \"127.0.0.1:0\"\ncertificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n";
    let file = directory.write("sipway.toml", text);
    let mut command = sipway(["run", "--config"]);
    command.arg(file);
    let mut server = Server::run(command).await;
    for certificates in [None, Some("wss"), None] {
        if certificates.is_some() {
            write();
        }
        server.signal("HUP").await;
        let said = server.hear("are reloaded and used from now on").await;
        let named = said["fields"].get("certificates").map(|names| names.as_str().unwrap());
        assert_eq!(named, certificates, "{said}");
    }
    assert!(server.terminate().await.success());
}
