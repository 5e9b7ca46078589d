//! Users are online and offline in turn, whatever becomes of their connections and of the server.

use std::path::Path;
use std::time::Duration;

use lifecycle::Transport;
use prove::Client;
use serde_json::Value;

use crate::directory::Directory;
use crate::http::ask;
use crate::process::{PATIENCE, Server, ledger_events, run, sipway};

/// A server whose users are offline after so long.
async fn serve(directory: &Directory, offline_after: &str) -> Server {
    let text = format!(
        "[ledger]\ndirectory = \"ledger\"\n[registrar]\noffline_after = \"{offline_after}\"\n\
         [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
         [admin]\nbind = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n"
    );
    let mut serve = sipway(["run", "--config"]);
    serve.arg(directory.write("sipway.toml", text));
    Server::run(serve).await
}

async fn come(server: &Server, user: &str) -> Client {
    let mut client = server.connect(Transport::Ws, user).await;
    assert_eq!(client.register(600).await.unwrap().status, 200);
    client
}

/// What was told of a user, oldest first.
async fn told(ledger: &Path, user: &str) -> Vec<Value> {
    let events = ledger_events(ledger).await.into_iter();
    let of = events.filter(|event| {
        event["type"].as_str().unwrap().starts_with("user.")
            && event["data"]["aor"] == format!("{user}@localhost")
    });
    of.collect()
}

/// Of which types, once there are so many: an answer to a REGISTER does not wait for the disk.
async fn types(ledger: &Path, user: &str, count: usize) -> Vec<String> {
    let told = until_told(ledger, user, count).await;
    told.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

async fn until_told(ledger: &Path, user: &str, count: usize) -> Vec<Value> {
    let told_all = async {
        loop {
            let told = told(ledger, user).await;
            if told.len() >= count {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told_all).await.expect("told in time")
}

async fn adds_up(ledger: &Path, online: u64) {
    let mut audit = sipway(["audit", "--ledger"]);
    audit.arg(ledger);
    let ended = run(audit).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let has = |what: &str, number: u64| {
        let line = ended.out.lines().find(|line| line.starts_with(what));
        let line = line.unwrap_or_else(|| panic!("{what}: {}", ended.out));
        assert_eq!(line.split_whitespace().last(), Some(number.to_string().as_str()), "{line}");
    };
    has("users online", online);
    has("came-went-online", 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_offline_when_the_last_contact_has_gone_and_online_when_one_comes() {
    let directory = Directory::new("presence");
    let ledger = directory.at("ledger");
    let mut server = serve(&directory, "0s").await;
    let (first, second) = (come(&server, "ada").await, come(&server, "ada").await);
    drop(first);
    let of_flows = async {
        while !ledger_events(&ledger).await.iter().any(|event| event["type"] == "flow.closed") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, of_flows).await.expect("the first has gone");
    assert_eq!(types(&ledger, "ada", 1).await, ["user.online"], "another contact is there");
    drop(second);
    let told = until_told(&ledger, "ada", 2).await;
    let (online, offline) = (&told[0], &told[1]);
    assert_eq!((&online["type"], &offline["type"]), (&"user.online".into(), &"user.offline".into()));
    assert_eq!(offline["subject"], "ada@localhost");
    let data = &offline["data"];
    assert_eq!((&data["cause"], &data["online_at"]), (&"flow_closed".into(), &online["data"]["online_at"]));
    assert!(data["offline_at"].is_string() && data["duration_ms"].is_u64(), "{data}");
    // It is told behind what it stands on.
    let events = ledger_events(&ledger).await;
    let place = |fits: &dyn Fn(&Value) -> bool| events.iter().position(fits).unwrap();
    let closed = place(&|event| event["type"] == "flow.closed" && event["data"]["flow"] == data["last_flow"]);
    assert!(closed < place(&|event| event["type"] == "user.offline"));

    let _again = come(&server, "ada").await;
    assert_eq!(types(&ledger, "ada", 3).await, ["user.online", "user.offline", "user.online"]);
    let page = ask(server.address("admin"), "GET", "/metrics").await;
    for line in
        ["sipway_users_online 1", "sipway_users_came_online_total 2", "sipway_users_went_offline_total 1"]
    {
        assert!(page.contains(line), "{page}");
    }
    let snapshot = ask(server.address("admin"), "GET", "/api/snapshot").await;
    assert!(snapshot.contains(r#""users":[{"aor":"ada@localhost","bindings":1,"online_at":"#), "{snapshot}");
    let mut chosen = sipway(["events", "--type", "user.online", "--ledger"]);
    chosen.arg(&ledger);
    let lines = run(chosen).await.out;
    assert!(lines.lines().count() == 2 && lines.contains("user.online ada@localhost"), "{lines}");
    adds_up(&ledger, 1).await;
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_within_the_hold_off_was_never_offline_even_if_the_server_was() {
    let directory = Directory::new("reload");
    let ledger = directory.at("ledger");
    let mut server = serve(&directory, "1h").await;
    drop(come(&server, "ada").await);
    let ada = come(&server, "ada").await;
    server.signal("KILL").await;
    server.end().await;
    drop(ada);

    let mut server = serve(&directory, "1h").await;
    let ada = come(&server, "ada").await;
    assert!(server.terminate().await.success());
    drop(ada);
    let mut server = serve(&directory, "1h").await;
    let _ada = come(&server, "ada").await;
    assert_eq!(types(&ledger, "ada", 1).await, ["user.online"]);
    adds_up(&ledger, 1).await;
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_a_dead_server_had_and_does_not_come_back_is_offline_once() {
    let directory = Directory::new("gone");
    let ledger = directory.at("ledger");
    let mut server = serve(&directory, "1h").await;
    let (ada, bob) = (come(&server, "ada").await, come(&server, "bob").await);
    for user in ["ada", "bob"] {
        until_told(&ledger, user, 1).await;
    }
    server.signal("KILL").await;
    server.end().await;
    drop((ada, bob));

    // Bob waits for another process, which ends in order while he is still expected.
    let mut server = serve(&directory, "1h").await;
    assert!(server.terminate().await.success());
    adds_up(&ledger, 2).await;

    let mut server = serve(&directory, "0s").await;
    for user in ["ada", "bob"] {
        let told = until_told(&ledger, user, 2).await;
        assert_eq!(told[1]["data"]["cause"], "node_crash");
        assert!(told[1]["data"]["last_flow"].is_string(), "{}", told[1]);
    }
    let _ada = come(&server, "ada").await;
    assert_eq!(types(&ledger, "ada", 3).await, ["user.online", "user.offline", "user.online"]);
    assert_eq!(types(&ledger, "bob", 2).await, ["user.online", "user.offline"]);
    adds_up(&ledger, 1).await;
    assert!(server.terminate().await.success());
}
