//! The scanner suite that is met every day, from PyPI: it finds nothing, no user and no password, is banned,
//! and fills no log.

use std::future::{Future, pending};
use std::path::PathBuf;
use std::process::Stdio;

use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::time::timeout;

use crate::defence::{bans, metric, options, start};
use crate::directory::Directory;
use crate::operator::eventually;
use crate::process::{PATIENCE, Server};

/// One tool of it to its end: what it said.
async fn scan(home: &Directory, tool: &str, arguments: &[&str], until: impl Future<Output = ()>) -> String {
    let place = std::env::var_os("SIPVICIOUS").map(PathBuf::from);
    let place =
        place.expect("pip3 install --no-deps --target DIRECTORY sipvicious, and set SIPVICIOUS to DIRECTORY");
    let mut command = Command::new("python3");
    command.arg(place.join("bin").join(tool)).args(arguments).arg("--verbose");
    command.env("PYTHONPATH", &place).env("HOME", home.path()).stdin(Stdio::null()).kill_on_drop(true);
    // It waits for answers long after there are none: what it has found by the time it is banned is all that
    // it finds.
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut scanner = command.spawn().unwrap();
    tokio::select! {
        ended = timeout(PATIENCE, scanner.wait()) => drop(ended.expect("gives up").unwrap()),
        () = until => scanner.start_kill().unwrap(),
    }
    let output = scanner.wait_with_output().await.unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", said(&output.stdout), said(&output.stderr))
}

/// When so many addresses have been banned, and some of what came after that was not heard.
async fn bans_are(server: &Server, number: u64) {
    eventually("a ban", async || {
        let banned = metric(server, "sipway_bans_total").await == number;
        (banned && metric(server, "sipway_turned_away_banned_total").await > 20).then_some(())
    })
    .await;
}

/// Who is banned now, for what; it is accepted again.
async fn banned(server: &Server) -> String {
    let listed = bans(server, &["list"]).await;
    let line = listed.out.lines().find(|line| line.starts_with("127.0.0.1 "));
    let line = line.unwrap_or_else(|| panic!("nobody is banned")).to_owned();
    let lifted = bans(server, &["lift", "127.0.0.1"]).await;
    assert_eq!(lifted.code, Some(0), "{lifted:?}");
    line.split_whitespace().nth(2).unwrap().to_owned()
}

/// A phone at its address is served.
async fn is_served(server: &Server) {
    let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = options("phone", phone.local_addr().unwrap());
    phone.send_to(request.as_bytes(), server.address("udp")).await.unwrap();
    let mut answer = [0; 2000];
    let (length, _) = timeout(PATIENCE, phone.recv_from(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..length].starts_with(b"SIP/2.0 200 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipvicious_finds_nothing_and_is_banned() {
    let directory = Directory::new("sipvicious");
    let words = |name: &str, first: &str, last: &str| {
        let between = (0..600).map(|number| format!("u{number}\n")).collect::<String>();
        directory.write(name, format!("{first}\n{between}{last}\n")).display().to_string()
    };
    // What it looks for last is there.
    let (users, passwords) = (words("users", "eve", "ada"), words("passwords", "wrong", "right"));
    let war = ["--maximumtime=2", "--domain", "localhost", "-d", &users, "--force", "127.0.0.1", "-p"];
    let crack =
        ["--maximumtime=2", "--domain", "localhost", "-u", "ada", "-d", &passwords, "127.0.0.1", "-p"];

    // As it comes, it is known by its name.
    let mut server = start(&directory, "exempt = \"off\"").await;
    let port = server.address("udp").port().to_string();
    for (tool, arguments) in [("svmap", &["127.0.0.1", "-p"][..]), ("svwar", &war), ("svcrack", &crack)] {
        let said =
            scan(&directory, &format!("sipvicious_{tool}"), &[arguments, &[&port]].concat(), pending()).await;
        assert!(!said.contains("| ada") && !said.contains("right"), "{said}");
        assert_eq!(banned(&server).await, "scanner", "{said}");
        is_served(&server).await;
    }
    let log = server.terminate_and_read().await;
    assert!(log.lines().filter(|line| line.contains("an address is")).count() <= 6, "{log}");

    // Under another name it is known by what it does.
    let mut server = start(&directory, "exempt = \"off\"\nscanners = \"off\"\nfailures = 10").await;
    let port = server.address("udp").port().to_string();
    // All users look alike, so it gives up by itself.
    let said = scan(&directory, "sipvicious_svwar", &[&war[..], &[&port]].concat(), pending()).await;
    assert!(!said.contains("| ada") && said.contains("found nothing"), "{said}");
    let said =
        scan(&directory, "sipvicious_svcrack", &[&crack[..], &[&port]].concat(), bans_are(&server, 1)).await;
    assert!(!said.contains("right"), "{said}");
    assert_eq!(banned(&server).await, "credentials", "{said}");
    is_served(&server).await;
    assert_eq!(metric(&server, "sipway_bans_total").await, 1);
    assert!(server.terminate().await.success());
}
