//! HEAD gets what GET gets but the body, and what follows on the connection is framed right (RFC 9110 §9.3.2,
//! RFC 9112 §6.3).

use std::net::SocketAddr;

use crate::directory::Directory;
use crate::http::{ask, exchange};
use crate::process::{Server, sipway};

/// The names of header fields in an answer's head, in order, and whether a body follows.
fn shape(answer: &str) -> (Vec<String>, bool) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let mut names: Vec<_> =
        head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
    names.sort();
    names.insert(0, head.lines().next().unwrap_or_default().to_owned());
    (names, !body.is_empty())
}

async fn is_the_same_without_body(address: SocketAddr, path: &str) {
    let (get, with_body) = shape(&ask(address, "GET", path).await);
    let (head, without) = shape(&ask(address, "HEAD", path).await);
    assert_eq!(get, head, "{path}");
    assert!(with_body && !without, "{path}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_gets_the_head_alone_everywhere() {
    let directory = Directory::new("head");
    let file = directory.write(
        "sipway.toml",
        "[ledger]\ndirectory = \"ledger\"\n[admin]\nbind = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n\
         [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
         [[domain]]\nname = \"localhost\"\nauth = \"open\"\n",
    );
    let mut command = sipway(["run", "--config"]);
    command.arg(file);
    let mut server = Server::run(command).await;
    let (admin, ws) = (server.address("admin"), server.address("ws"));
    for path in ["/metrics", "/api/flows", "/nothing", "/api/nothing"] {
        is_the_same_without_body(admin, path).await;
    }
    is_the_same_without_body(ws, "/").await;

    let one = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: {admin}\r\n{more}\r\n")
    };
    let asked = [
        one("HEAD", "/metrics", ""),
        one("HEAD", "/nothing", ""),
        one("POST", "/metrics", "Content-Length: 0\r\n"),
        one("HEAD", "/api/flows", ""),
        one("GET", "/api/flows", "Connection: close\r\n"),
    ];
    let answers = exchange(admin, &asked.concat()).await;
    let mut rest = answers.as_str();
    for (number, asked) in asked.iter().enumerate() {
        let (head, behind) =
            rest.split_once("\r\n\r\n").unwrap_or_else(|| panic!("answer {number} of {answers}"));
        assert!(head.starts_with("HTTP/1.1 "), "answer {number} of {answers}");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
        });
        let body = if asked.starts_with("HEAD") { 0 } else { length.unwrap_or(0) };
        rest = &behind[body..];
    }
    assert_eq!(rest, "");
    server.terminate_and_read().await;
}
