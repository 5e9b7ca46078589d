//! What the server keeps is for its own user alone, and `dev` is open to nobody else unless that is asked
//! for.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lifecycle::Transport;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::directory::Directory;
use crate::process::{PATIENCE, Server, run, signal, sipway};

const CONFIG: &str = "[ledger]\ndirectory = \"ledger\"\n\
    [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
    [[listener]]\nname = \"udp\"\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
    [admin]\nbind = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n\
    [[sink]]\nkind = \"file\"\nname = \"events\"\npath = \"events.jsonl\"\n";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The directory and all that is in it.
fn below(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    if path.is_dir() {
        all.extend(fs::read_dir(path).unwrap().flat_map(|entry| below(&entry.unwrap().path())));
    }
    all
}

/// Every part of the ledger that others may do anything with.
fn open_to_others(ledger: &Path) -> Vec<PathBuf> {
    let wrong = |path: &PathBuf| mode(path) != if path.is_dir() { 0o700 } else { 0o600 };
    // Segments come and go meanwhile.
    below(ledger).into_iter().filter(|path| path.exists()).filter(wrong).collect()
}

/// A server under this umask, with a phone over UDP and a browser that has come and gone.
async fn serve(directory: &Directory, umask: &str) -> Server {
    let file = directory.write("sipway.toml", CONFIG);
    let mut serve = Command::new("sh");
    serve.args([
        "-c",
        &format!("umask {umask}; exec \"$@\""),
        "sh",
        env!("CARGO_BIN_EXE_sipway"),
        "run",
        "--config",
    ]);
    serve.arg(file).kill_on_drop(true).env_remove("RUST_LOG");
    let server = Server::run(serve).await;
    for transport in [Transport::Udp, Transport::Ws] {
        let target = server.target(transport);
        let mut client = prove::Client::connect(&target, &prove::Setup::new("ada")).await.unwrap();
        assert_eq!(client.register(600).await.unwrap().status, 200);
    }
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_may_read_the_ledger_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let directory = Directory::new("private");
        let ledger = directory.at("ledger");
        let mut server = serve(&directory, umask).await;
        let names: Vec<String> = below(&ledger)
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        for name in
            ["LOCK", "heartbeat", "route-secret", "bindings.sqlite", "bindings.sqlite-wal", "segments"]
        {
            assert!(names.iter().any(|is| is == name), "{name} in {names:?}");
        }
        assert_eq!(open_to_others(&ledger), Vec::<PathBuf>::new(), "umask {umask}, while it runs");
        assert!(server.terminate().await.success());
        assert_eq!(open_to_others(&ledger), Vec::<PathBuf>::new(), "umask {umask}, afterwards");
        assert!(directory.at("ledger/cursors").read_dir().unwrap().next().is_some(), "a sink has a cursor");
        // It is made for another program to read, by a group that both are in.
        assert_eq!(mode(&directory.at("events.jsonl")) & 0o007, 0, "umask {umask}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_of_an_earlier_version_is_closed_to_others_at_the_start() {
    let directory = Directory::new("private-earlier");
    let ledger = directory.at("ledger");
    assert!(serve(&directory, "022").await.terminate().await.success());
    let outside = directory.write("outside", "not the ledger's");
    std::os::unix::fs::symlink(&outside, ledger.join("bindings.link")).unwrap();
    for path in below(&ledger) {
        fs::set_permissions(&path, Permissions::from_mode(if path.is_dir() { 0o755 } else { 0o644 }))
            .unwrap();
    }
    let mut server = serve(&directory, "022").await;
    let wrong: Vec<PathBuf> =
        open_to_others(&ledger).into_iter().filter(|path| !path.ends_with("bindings.link")).collect();
    assert_eq!(wrong, Vec::<PathBuf>::new());
    assert_eq!(mode(&outside), 0o644, "a link is not followed");
    assert!(server.terminate().await.success());

    // Somebody else's file in there: the directory may be meant for others, the ledger's own files are not.
    fs::write(ledger.join("notes"), "of somebody").unwrap();
    fs::set_permissions(ledger.join("notes"), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&ledger, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(ledger.join("heartbeat"), Permissions::from_mode(0o644)).unwrap();
    let file = directory.at("sipway.toml");
    let mut again = sipway(["run", "--config"]);
    again.arg(&file).stderr(Stdio::piped());
    let mut child = again.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut warned = false;
    while let Some(line) = lines.next_line().await.unwrap() {
        warned |= line.contains("other users can enter or change the directory of the ledger");
        if line.contains("\"ready\"") {
            break;
        }
    }
    assert!(warned);
    assert_eq!(
        (mode(&ledger), mode(&ledger.join("notes")), mode(&ledger.join("heartbeat"))),
        (0o755, 0o644, 0o600)
    );
}

#[tokio::test]
async fn dev_is_open_to_this_machine_alone_unless_it_is_told_otherwise() {
    let directory = Directory::new("private-dev");
    for flag in ["--ws", "--wss", "--udp", "--tcp"] {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
            let mut dev = sipway(["dev", flag, address, "--ledger"]);
            dev.arg(directory.at("ledger"));
            let ended = run(dev).await;
            assert_eq!(ended.code, Some(1), "{flag} {address}");
            for said in [&format!("other machines reach {flag} {address}"), "register any name", "--expose"] {
                assert!(ended.err.contains(said), "{}", ended.err);
            }
            assert_eq!(ended.err.contains("admin API"), flag.starts_with("--ws"), "{}", ended.err);
            assert!(!directory.at("ledger").exists(), "nothing has begun");
        }
    }
    let mut dev = crate::process::dev(&directory.at("ledger"), &[("--ws", "0.0.0.0:0")]);
    let mut child = dev.arg("--expose").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = timeout(PATIENCE, lines.next_line()).await.expect("ready in time").unwrap();
    assert!(first.is_some_and(|line| line.starts_with("ready ")));
    signal(child.id().unwrap(), "TERM").await;
    let ended = timeout(PATIENCE, child.wait_with_output()).await.expect("ends in time").unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("warning: --ws 0.0.0.0:0 is open to other machines"), "{said}");
    assert_eq!(said.matches("is open to other machines").count(), 1, "{said}");
}
