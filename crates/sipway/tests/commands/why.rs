//! `sipway why`: plain sentences about connections that were closed, are open, or were open when the process
//! died.

use std::path::Path;

use lifecycle::Transport;
use serde_json::Value;

use crate::directory::Directory;
use crate::process::{Ended, Server, dev, ledger_events, run, sipway};

async fn why(ledger: &Path, subject: &str) -> Ended {
    let mut command = sipway(["why", subject, "--ledger"]);
    command.arg(ledger);
    run(command).await
}

async fn sentences(ledger: &Path, subject: &str) -> Vec<String> {
    let ended = why(ledger, subject).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended.out.lines().map(ToOwned::to_owned).collect()
}

fn flow_of(events: &[Value], number: usize) -> String {
    let opened = events.iter().filter(|event| event["type"] == "flow.opened").nth(number).unwrap();
    opened["data"]["flow"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_told_in_a_sentence_with_its_evidence() {
    let directory = Directory::new("why");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    let mut ada = server.connect(Transport::Ws, "ada").await;
    assert_eq!(ada.register(600).await.unwrap().status, 200);
    let flow = flow_of(&ledger_events(&ledger).await, 0);

    let [open] = &sentences(&ledger, &flow).await[..] else { panic!("one sentence") };
    assert!(open.starts_with(&format!("{flow} (ws from ")) && open.contains("and is open"), "{open}");
    let [online, connection] = &sentences(&ledger, "ada@localhost").await[..] else {
        panic!("two sentences")
    };
    assert!(online.starts_with("ada@localhost is online at 1 contact since "), "{online}");
    assert!(online.contains(&format!("on {flow}")), "{online}");
    assert_eq!(connection.split_once(" (").unwrap().0, flow);
    // However one writes the address, by every command that takes one.
    for written in ["sip:ada@localhost", "sips:ada@LOCALHOST;transport=ws", "\"Ada\" <sip:%61da@localhost>"] {
        let [online, _] = &sentences(&ledger, written).await[..] else { panic!("{written}") };
        assert!(online.starts_with("ada@localhost is online at 1 contact since "), "{online}");
        let mut events = sipway(["events", "--json", "--aor", written, "--ledger"]);
        events.arg(&ledger);
        assert!(run(events).await.out.contains("binding.added"), "{written}");
    }

    drop(ada);
    let events = loop {
        let events = ledger_events(&ledger).await;
        if events.last().unwrap()["type"] == "flow.closed" {
            break events;
        }
    };
    let id = events.last().unwrap()["id"].as_str().unwrap();
    let [closed] = &sentences(&ledger, &flow).await[..] else { panic!("one sentence") };
    assert!(
        closed.contains("was closed by the client") && closed.contains("it held ada@localhost"),
        "{closed}"
    );
    assert!(closed.ends_with(&format!("[{id}]")), "{closed}");
    let [offline, connection] = &sentences(&ledger, "ada@localhost").await[..] else {
        panic!("two sentences")
    };
    assert!(offline.starts_with("ada@localhost is offline since "), "{offline}");
    assert!(offline.contains(&format!("its connection {flow} was closed")), "{offline}");
    // But for how long ago it was.
    let evidence = |sentence: &str| sentence.split_once(" ago (").unwrap().1.to_owned();
    assert_eq!(evidence(connection), evidence(closed));

    let _bob = server.connect(Transport::Ws, "bob").await;
    server.signal("KILL").await;
    server.end().await;
    let crashed = flow_of(&ledger_events(&ledger).await, 1);
    let mut server = Server::dev(dev(&ledger, &[])).await;
    let [sentence] = &sentences(&ledger, &crashed).await[..] else { panic!("one sentence") };
    assert!(
        sentence.contains("ended with the server between ") && sentence.contains("next start"),
        "{sentence}"
    );
    assert!(server.terminate().await.success());

    for nobody in ["nobody@localhost", "sipway.1.f1"] {
        let ended = why(&ledger, nobody).await;
        assert_eq!(ended.code, Some(1));
        assert!(ended.err.contains("knows nothing of") && ended.err.contains("user@domain"), "{}", ended.err);
    }
}

/// Where one reading ended, another goes on; and what was before or after is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_on_behind_an_id_and_end_before_a_time() {
    let directory = Directory::new("behind");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    drop(server.connect(Transport::Ws, "ada").await);
    assert!(server.terminate().await.success());
    let all = ledger_events(&ledger).await;
    let read = async |arguments: &[&str]| {
        let mut command = sipway(["events", "--json", "--ledger"]);
        command.arg(&ledger).args(arguments);
        let ended = run(command).await;
        let lines = ended.out.lines().map(|line| serde_json::from_str(line).unwrap());
        (ended.code, lines.collect::<Vec<Value>>(), ended.err)
    };
    let (id, time) = (all[1]["id"].as_str().unwrap(), all[2]["time"].as_str().unwrap());
    assert_eq!(read(&["--after", id]).await.1, all[2..]);
    assert_eq!(read(&["--until", time]).await.1, all[..2]);
    for (after, words) in [("sipway.1.999", "999"), ("other.1.1", "node other"), ("here", "event id")] {
        let (code, events, error) = read(&["--after", after]).await;
        assert_eq!((code, events), (Some(1), Vec::new()), "{error}");
        assert!(error.contains(words), "{error}");
    }
}
