//! A ledger that another process holds.

use lifecycle::Transport;

use crate::directory::Directory;
use crate::process::{Server, dev, ledger_events, run, sipway, types};

#[tokio::test]
async fn the_second_start_is_refused_and_told_by_whom() {
    let directory = Directory::new("held");
    let ledger = directory.at("ledger");
    let mut server = Server::dev(dev(&ledger, &[])).await;
    let mut client = server.connect(Transport::Ws, "ada").await;
    assert_eq!(client.register(600).await.unwrap().status, 200);

    let text = format!(
        "[ledger]\ndirectory = \"{}\"\n[[listener]]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n",
        ledger.display()
    );
    let mut as_run = sipway(["run", "--config"]);
    as_run.arg(directory.write("sipway.toml", text));
    for (command, mend) in [(dev(&ledger, &[]), "--ledger"), (as_run, "[ledger]")] {
        let ended = run(command).await;
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        assert_eq!(ended.out, "");
        assert!(ended.err.contains(&ledger.display().to_string()), "{}", ended.err);
        assert!(ended.err.contains(&format!("process {}", server.pid())), "{}", ended.err);
        assert!(ended.err.contains(mend), "{}", ended.err);
    }

    assert_eq!(client.register(600).await.unwrap().status, 200, "the first goes on");
    assert!(server.terminate().await.success());
    let events = ledger_events(&ledger).await;
    assert_eq!(types(&events).iter().filter(|kind| **kind == "node.started").count(), 1);
    // Nobody holds it any more.
    assert!(Server::dev(dev(&ledger, &[])).await.terminate().await.success());
}

#[tokio::test]
async fn a_file_where_the_ledger_should_be() {
    let directory = Directory::new("file");
    let place = directory.write("ledger", "not a directory");
    let ended = run(dev(&place, &[])).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains(&place.display().to_string()), "{}", ended.err);
    assert!(ended.err.contains("--ledger"), "{}", ended.err);
}
