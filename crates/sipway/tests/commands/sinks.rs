//! What a server says of its sinks, and what a database administrator is given.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::directory::Directory;
use crate::process::{Server, run, sipway};

/// What the admin listener answers.
async fn get(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sink_shows_how_far_it_is_and_what_keeps_it() {
    let directory = Directory::new("sinks");
    directory.write("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    // Nobody listens on a port that was just given back.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "[[sink]]\nkind = \"file\"\nname = \"archive\"\npath = \"events.jsonl\"\n\
         [[sink]]\nkind = \"webhook\"\nname = \"crm\"\nurl = \"http://{nobody}/\"\nsecret_file = \"secret\"\n\
         [[listener]]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
         [admin]\nbind = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n"
    );
    let file = directory.write("sipway.toml", text);
    let mut serve = sipway(["run", "--config"]);
    serve.arg(&file);
    let server = Server::run(serve).await;
    let admin = server.address("admin");
    let sinks = loop {
        let sinks: Vec<Value> = serde_json::from_str(&get(admin, "/api/sinks").await).unwrap();
        if sinks[0]["lag_events"] == 0 && !sinks[1]["last_error"].is_null() {
            break sinks;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let [archive, crm] = sinks.as_slice() else { panic!("two sinks: {sinks:?}") };
    assert_eq!((&archive["name"], &archive["state"]), (&"archive".into(), &"working".into()));
    assert!(archive["last_delivery"].is_string() && archive["last_error"].is_null(), "{archive}");
    assert_eq!(
        (&crm["name"], &crm["state"], &crm["delivered"]),
        (&"crm".into(), &"retrying".into(), &0.into())
    );
    assert!(crm["last_error"]["error"].as_str().unwrap().contains("refused"), "{crm}");
    assert!(crm["lag_events"].as_u64().unwrap() > 0 && crm["lag_seconds"].as_f64().unwrap() > 0.0, "{crm}");

    let page = get(admin, "/metrics").await;
    for line in [
        "sipway_sink_state{sink=\"archive\"} 0.0",
        "sipway_sink_state{sink=\"crm\"} 1.0",
        "sipway_sink_lag_events{sink=\"archive\"} 0.0",
        "sipway_sink_delivered_total{sink=\"crm\"} 0",
        "sipway_sink_dead_lettered_total{sink=\"archive\"} 0",
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line} is missing in:\n{page}");
    }
    assert!(page.contains("sipway_sink_lag_seconds{sink=\"crm\"} "));
}

#[tokio::test]
async fn a_server_that_does_not_know_how_far_a_sink_had_come_does_not_start() {
    let directory = Directory::new("spoilt-cursor");
    let file = directory.write(
        "sipway.toml",
        "[[sink]]\nkind = \"file\"\nname = \"archive\"\npath = \"events.jsonl\"\n\
         [[listener]]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n",
    );
    std::fs::create_dir_all(directory.at("sipway-ledger/cursors")).unwrap();
    directory.write("sipway-ledger/cursors/archive.cursor", "spoilt");
    let mut serve = sipway(["run", "--config"]);
    serve.arg(&file);
    let refused = run(serve).await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("sink `archive`: cursors/archive.cursor is damaged. To mend: "),
        "{}",
        refused.err
    );
    assert!(!refused.out.contains("ready") && !refused.err.contains("\"ready\""), "{}", refused.err);
}

#[tokio::test]
async fn the_schema_is_printed_under_the_name_that_was_asked_for() {
    let printed = run(sipway(["schema", "--name", "telephony"])).await;
    assert_eq!((printed.code, printed.err.as_str()), (Some(0), ""));
    assert!(printed.out.contains("CREATE SCHEMA IF NOT EXISTS \"telephony\";"), "{}", printed.out);
    assert!(
        printed.out.contains("\"telephony\".events") && !printed.out.contains("sipway."),
        "{}",
        printed.out
    );
    let refused = run(sipway(["schema", "--name", "a; DROP TABLE x"])).await;
    assert_ne!(refused.code, Some(0));
}
