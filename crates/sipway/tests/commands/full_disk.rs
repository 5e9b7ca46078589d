//! A small disk that is really full: nobody comes in, every close is written, and when there is room again
//! all goes on.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use lifecycle::Transport;
use prove::{Client, ConnectError, Setup};

use crate::directory::Directory;
use crate::http::ask;
use crate::namespace::{in_mounts_of_its_own, make_read_only, mount_small_disk};
use crate::operator::{eventually, get};
use crate::process::{PATIENCE, Server, dev, ledger_events, run, sipway, types};

/// Writes until there is no room for another byte.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for chunk in [64 << 10, 4096, 1] {
        while file.write_all(&vec![1; chunk]).is_ok() {}
    }
}

#[test]
fn a_full_disk_stops_admission_and_no_close() {
    in_mounts_of_its_own("full_disk::a_full_disk_stops_admission_and_no_close", || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(full_and_empty_again());
    });
}

#[test]
fn a_disk_that_takes_nothing_is_refused_in_words() {
    in_mounts_of_its_own("full_disk::a_disk_that_takes_nothing_is_refused_in_words", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(refused_in_words());
    });
}

async fn refused_in_words() {
    let directory = Directory::new("takes-nothing");
    let disk = directory.at("disk");
    fs::create_dir(&disk).unwrap();
    mount_small_disk(&disk, "2m");
    let ledger = disk.join("ledger");
    let refused = async |words: &str| {
        let ended = run(dev(&ledger, &[])).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{}", ended.err);
        assert!(ended.err.contains(&ledger.display().to_string()), "{}", ended.err);
        assert!(ended.err.contains(words), "{}", ended.err);
    };
    let ballast = disk.join("ballast");
    fill(&ballast);
    refused("No space left on device").await;
    fs::remove_file(&ballast).unwrap();
    make_read_only(&disk);
    refused("Read-only file system").await;
}

async fn full_and_empty_again() {
    let directory = Directory::new("full");
    let disk = directory.at("disk");
    fs::create_dir(&disk).unwrap();
    mount_small_disk(&disk, "4m");
    let ledger = disk.join("ledger");
    let text = format!(
        "[ledger]\ndirectory = \"{}\"\nsegment_size = \"256KiB\"\n\
         [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
         [admin]\nbind = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n",
        ledger.display()
    );
    let mut command = sipway(["run", "--config"]);
    command.arg(directory.write("sipway.toml", text));
    let mut server = Server::run(command).await;
    let mut clients = vec![server.connect(Transport::Ws, "ada").await];
    assert_eq!(clients[0].register(600).await.unwrap().status, 200);

    let ballast = disk.join("ballast");
    fill(&ballast);
    // What was prepared before is used up, then nobody comes in.
    let target = server.target(Transport::Ws);
    let begun = Instant::now();
    loop {
        match Client::connect(&target, &Setup::new(&format!("user-{}", clients.len()))).await {
            Ok(client) => clients.push(client),
            Err(ConnectError::Refused(503)) => break,
            Err(error) => panic!("{error}"),
        }
        assert!(begun.elapsed() < PATIENCE, "{} came in", clients.len());
    }
    let answer = ask(server.address("ws"), "UPGRADE", "/").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
    // A load balancer is told so, and sends people elsewhere.
    let health = get(server.address("admin"), "/healthz").await;
    assert_eq!((health.status, health.body.as_str()), (503, "there is no room in the ledger\n"));
    // Who is inside is served.
    assert_eq!(clients[0].message("sip:nobody@localhost", b"hello").await.unwrap().status, 480);

    // All of them leave, and each close is on the full disk.
    let flows = clients.len();
    assert!(flows > 1);
    drop(clients);
    let begun = Instant::now();
    loop {
        let events = ledger_events(&ledger).await;
        let count = |kind: &str| types(&events).iter().filter(|of| **of == kind).count();
        assert_eq!(count("flow.opened"), flows);
        if count("flow.closed") == flows {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{} of {flows} are closed", count("flow.closed"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // With room, people come in again by themselves.
    fs::remove_file(&ballast).unwrap();
    let begun = Instant::now();
    let again = loop {
        match Client::connect(&target, &Setup::new("again")).await {
            Ok(client) => break client,
            Err(ConnectError::Refused(503)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
        assert!(begun.elapsed() < PATIENCE, "still refused");
    };
    drop(again);
    eventually("a load balancer may send people here again", || async {
        (get(server.address("admin"), "/healthz").await.status == 200).then_some(())
    })
    .await;
    assert!(server.terminate().await.success());
    let mut audit = sipway(["audit", "--ledger"]);
    audit.arg(&ledger);
    let audited = run(audit).await;
    assert_eq!(audited.code, Some(0), "{} {}", audited.out, audited.err);
}
