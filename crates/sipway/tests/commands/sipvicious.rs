//! The scanner suite that is met every day, from PyPI: it finds nothing, no user and no password, is banned, and fills no log.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::time::timeout;

use crate::defence::{bans, metric, options, start};
use crate::directory::Directory;
use crate::process::PATIENCE;

/// One tool of it, from this address, to its end: what it said.
async fn scan(home: &Directory, tool: &str, arguments: &[&str]) -> String {
    let place = std::env::var_os("SIPVICIOUS").map(PathBuf::from);
    let place =
        place.expect("pip3 install --no-deps --target DIRECTORY sipvicious, and set SIPVICIOUS to DIRECTORY");
    let mut command = Command::new("python3");
    command.arg(place.join("bin").join(tool)).args(arguments).arg("--verbose");
    command.env("PYTHONPATH", &place).env("HOME", home.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(3 * PATIENCE, command.output()).await.expect("gives up").unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", said(&output.stdout), said(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipvicious_finds_nothing_and_is_banned() {
    let directory = Directory::new("sipvicious");
    let mut server = start(&directory, "failures = 10").await;
    let port = server.address("udp").port().to_string();
    let words = |name: &str, first: &str, last: &str| {
        let between = (0..700).map(|number| format!("u{number}\n")).collect::<String>();
        directory.write(name, format!("{first}\n{between}{last}\n")).display().to_string()
    };
    let everybody = ["-b", "127.0.0.2", "-p", &port, "127.0.0.1"];
    let map = scan(&directory, "sipvicious_svmap", &everybody).await;
    assert!(map.contains("found nothing"), "{map}");
    let users = words("users", "ada", "bob");
    let users =
        ["-b", "127.0.0.3", "-p", &port, "--domain", "localhost", "-d", &users, "--force", "127.0.0.1"];
    let war = scan(&directory, "sipvicious_svwar", &users).await;
    assert!(!war.contains("| ada") && !war.contains("| bob"), "{war}");
    // The right password is the last that it would try.
    let passwords = words("passwords", "wrong", "right");
    let guess =
        ["-b", "127.0.0.4", "-p", &port, "--domain", "localhost", "-u", "ada", "-d", &passwords, "127.0.0.1"];
    let crack = scan(&directory, "sipvicious_svcrack", &guess).await;
    assert!(!crack.contains("right"), "{crack}");

    let listed = bans(&server, &["list"]).await;
    assert_eq!(metric(&server, "sipway_bans_total").await, 3, "{listed:?}\n{map}\n{war}\n{crack}");
    for (address, offence) in
        [("127.0.0.2", "scanner"), ("127.0.0.3", "unproved"), ("127.0.0.4", "credentials")]
    {
        let line = listed.out.lines().find(|line| line.starts_with(address));
        assert!(line.is_some_and(|line| line.contains(offence)), "{listed:?}");
    }
    // A phone next door notices nothing.
    let phone = UdpSocket::bind("127.0.0.5:0").await.unwrap();
    let request = options("phone", phone.local_addr().unwrap());
    phone.send_to(request.as_bytes(), server.address("udp")).await.unwrap();
    let mut answer = [0; 2000];
    let (length, _) = timeout(PATIENCE, phone.recv_from(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..length].starts_with(b"SIP/2.0 200 "));
    let log = server.terminate_and_read().await;
    assert!(log.lines().filter(|line| line.contains("an address is")).count() <= 6, "{log}");
}
