//! What one address may take: guesses, floods, scanners; and whose address it is behind a proxy. Clients come
//! from several addresses of 127.0.0.0/8, of which only 127.0.0.1 is exempt.

use std::net::{IpAddr, SocketAddr};

use lifecycle::Transport;
use prove::{Client, ConnectError, Ended, RequestError, Setup};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::directory::Directory;
use crate::operator::{eventually, get};
use crate::process::{Ended as Done, PATIENCE, Server, ledger_events, run, sipway};

pub(crate) async fn start(directory: &Directory, defence: &str) -> Server {
    directory.write("users.txt", "ada:right\nbob:right\nmallory:right\n");
    let listener = |name: &str, transport: &str, more: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\ntransport = \"{transport}\"\nbind = \"127.0.0.1:0\"\n{more}\n"
        )
    };
    let exempt = if defence.contains("exempt") { "" } else { "exempt = [\"127.0.0.1\"]" };
    let text = [
        "[ledger]\ndirectory = \"ledger\"\n[log]\nformat = \"json\"\n[admin]\nbind = \"127.0.0.1:0\"\n",
        "[[domain]]\nname = \"localhost\"\nusers = \"users.txt\"\nalgorithms = [\"MD5\"]\n",
        &format!("[defence]\n{exempt}\n{defence}\n"),
        &listener("ws", "ws", ""),
        &listener("tcp", "tcp", ""),
        &listener("udp", "udp", ""),
        &listener("nginx", "ws", "client_address = \"x-forwarded-for\"\ntrusted_proxies = [\"127.0.0.1\"]"),
        &listener(
            "balancer",
            "tcp",
            "client_address = \"proxy-protocol\"\ntrusted_proxies = [\"127.0.0.1\"]",
        ),
    ];
    let file = directory.write("sipway.toml", text.concat());
    let mut command = sipway(["run", "--config"]);
    command.arg(file);
    Server::run(command).await
}

fn from(address: [u8; 4], user: &str, password: &str) -> Setup {
    let (source, password) = (Some(IpAddr::from(address)), Some(password.to_owned()));
    Setup { source, password, ..Setup::new(user) }
}

async fn connect(server: &Server, setup: &Setup) -> Result<Client, ConnectError> {
    Client::connect(&server.target(Transport::Ws), setup).await
}

pub(crate) async fn bans(server: &Server, arguments: &[&str]) -> Done {
    let mut command = sipway(["bans"]);
    command.args(arguments).args(["--admin", &format!("http://{}", server.address("admin"))]);
    run(command).await
}

pub(crate) async fn metric(server: &Server, name: &str) -> u64 {
    let page = get(server.address("admin"), "/metrics").await.body;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

/// Registers with a wrong password until the connection is closed.
async fn guess(client: &mut Client) -> Ended {
    loop {
        match client.register(600).await {
            Err(RequestError::Unauthorized) => {}
            Err(RequestError::Ended(ended)) => return ended,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_guesses_is_banned_and_users_at_the_same_address_talk_on() {
    let directory = Directory::new("guesses");
    let mut server = start(&directory, "failures = 5\nban = \"1h\"").await;
    let mut ada = connect(&server, &from([127, 0, 0, 2], "ada", "right")).await.unwrap();
    assert_eq!(ada.register(600).await.unwrap().status, 200);

    let mut mallory = connect(&server, &from([127, 0, 0, 2], "mallory", "wrong")).await.unwrap();
    let ended = guess(&mut mallory).await;
    assert!(matches!(&ended, Ended::Closed { code: Some(1008), .. }), "{ended:?}");
    assert!(connect(&server, &from([127, 0, 0, 2], "mallory", "wrong")).await.is_err());

    // Whoever is in stays in; elsewhere nothing has happened.
    assert_eq!(ada.register(600).await.unwrap().status, 200);
    let mut bob = connect(&server, &from([127, 0, 0, 3], "bob", "right")).await.unwrap();
    assert_eq!(bob.register(600).await.unwrap().status, 200);
    assert_eq!(metric(&server, "sipway_bans_total").await, 1);
    assert!(metric(&server, "sipway_turned_away_banned_total").await >= 1);

    let listed = bans(&server, &["list"]).await;
    let shown = listed.out.contains("127.0.0.2 ") && listed.out.contains("credentials");
    assert!(shown && listed.out.lines().count() == 2, "{listed:?}");
    let lifted = bans(&server, &["lift", "127.0.0.2"]).await;
    assert_eq!(lifted.out, "127.0.0.2 may come again (connections)\n");
    assert!(connect(&server, &from([127, 0, 0, 2], "mallory", "wrong")).await.is_ok());
    let again = bans(&server, &["lift", "127.0.0.2"]).await;
    assert!(again.code == Some(1) && again.err.contains("is not banned"), "{again:?}");

    // One who is known and guesses has the connection closed, and nobody is banned.
    let mut ada = connect(&server, &from([127, 0, 0, 4], "ada", "right")).await.unwrap();
    assert_eq!(ada.register(600).await.unwrap().status, 200);
    ada.set_password("wrong");
    guess(&mut ada).await;
    assert!(connect(&server, &from([127, 0, 0, 4], "ada", "right")).await.is_ok());

    // An exempt address may guess for ever.
    let mut mallory = connect(&server, &from([127, 0, 0, 1], "mallory", "wrong")).await.unwrap();
    for _ in 0..20 {
        assert!(matches!(mallory.register(600).await, Err(RequestError::Unauthorized)));
    }
    let log = server.terminate_and_read().await;
    assert_eq!(log.matches("an address is banned").count(), 1, "{log}");
    let events = ledger_events(&directory.at("ledger")).await;
    let mut ends: Vec<_> = events
        .iter()
        .filter(|event| event["data"]["cause"] == "auth_failed")
        .map(|event| (event["data"]["code"].as_u64(), event["data"]["reason"].as_str().unwrap_or_default()))
        .collect();
    ends.dedup();
    assert_eq!(
        ends,
        [(Some(1008), "wrong credentials too often")],
        "of the unauthenticated client and of the user"
    );
    assert!(events.iter().all(|event| event["data"]["cause"] != "rate_limited"), "nobody said too much");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_which_users_take_more_than_they_may() {
    let directory = Directory::new("hindered");
    let mut server = start(&directory, "user_connections = 1").await;
    let none = bans(&server, &["users"]).await;
    assert_eq!(none.out, "no user took more than it may within the last hour\n");
    let mut one = connect(&server, &from([127, 0, 0, 2], "ada", "right")).await.unwrap();
    let mut other = connect(&server, &from([127, 0, 0, 3], "ada", "right")).await.unwrap();
    assert_eq!(one.register(600).await.unwrap().status, 200);
    for _ in 0..3 {
        assert_eq!(other.register(600).await.unwrap().status, 503);
    }
    let listed: Value = get(server.address("admin"), "/api/hindered").await.json();
    assert_eq!((&listed[0]["user"], &listed[0]["times"]), (&"ada@localhost".into(), &3.into()));
    let shown = bans(&server, &["users"]).await;
    assert!(shown.out.lines().nth(1).is_some_and(|line| line.contains("connections")), "{shown:?}");
    assert_eq!(metric(&server, "sipway_hindered_user_connections_total").await, 3);
    let log = server.terminate_and_read().await;
    assert_eq!(log.matches("a user is throttled").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections_and_no_more() {
    let directory = Directory::new("so-many");
    let mut server = start(&directory, "connections = 5").await;
    let setup = from([127, 0, 0, 2], "ada", "right");
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(connect(&server, &setup).await.unwrap());
    }
    assert!(connect(&server, &setup).await.is_err());
    assert!(connect(&server, &from([127, 0, 0, 3], "bob", "right")).await.is_ok());
    assert!(metric(&server, "sipway_turned_away_connections_total").await >= 1);
    open.pop();
    eventually("room again", async || connect(&server, &setup).await.ok()).await;
    assert!(server.terminate().await.success());
}

pub(crate) fn options(agent: &str, from: SocketAddr) -> String {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{agent}\r\n\
         From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:a@127.0.0.1>\r\nCall-ID: {agent}\r\nCSeq: 1 OPTIONS\r\n\
         Max-Forwards: 70\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_gets_no_answer_and_no_other_request_of_its_address_does() {
    let directory = Directory::new("scanner");
    let mut server = start(&directory, "").await;
    let ask = async |socket: &UdpSocket, agent: &str| {
        let request = options(agent, socket.local_addr().unwrap());
        socket.send_to(request.as_bytes(), server.address("udp")).await.unwrap();
    };
    let scanner = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let phone = UdpSocket::bind("127.0.0.3:0").await.unwrap();
    ask(&scanner, "Friendly-Scanner").await;
    eventually("it is banned", async || (metric(&server, "sipway_bans_total").await == 1).then_some(()))
        .await;
    ask(&scanner, "phone").await;
    eventually("it is turned away", async || {
        (metric(&server, "sipway_turned_away_banned_total").await == 1).then_some(())
    })
    .await;
    ask(&phone, "phone").await;
    let mut answer = [0; 2000];
    let (length, _) = timeout(PATIENCE, phone.recv_from(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..length].starts_with(b"SIP/2.0 200 "));
    assert!(scanner.try_recv(&mut answer).is_err(), "nothing came");
    // Datagrams can be made up: connections of the address are not banned with them.
    assert!(connect(&server, &from([127, 0, 0, 2], "ada", "right")).await.is_ok());
    let listed: Value = get(server.address("admin"), "/api/bans").await.json();
    assert_eq!((&listed[0]["by"], &listed[0]["offence"]), (&"datagram".into(), &"scanner".into()));
    assert!(server.terminate().await.success());
}

/// Everything that comes until the end.
async fn read(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let reading = async {
        let _ = stream.read_to_end(&mut said).await;
    };
    timeout(PATIENCE, reading).await.expect("an end");
    String::from_utf8_lossy(&said).into_owned()
}

/// The next message or head.
async fn next(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    while !said.windows(4).any(|window| window == b"\r\n\r\n") {
        let reading = timeout(PATIENCE, stream.read_buf(&mut said)).await.expect("an answer");
        assert_ne!(reading.unwrap(), 0, "{}", String::from_utf8_lossy(&said));
    }
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_it_is_the_clients_address_that_is_shown_counted_and_banned() {
    let directory = Directory::new("proxied");
    let mut server = start(&directory, "failures = 3").await;
    let upgrade = |client: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: \
             dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\
             X-Forwarded-For: 6.6.6.6, {client}\r\n\r\n"
        )
    };
    let mut browser = TcpStream::connect(server.address("nginx")).await.unwrap();
    browser.write_all(upgrade("192.0.2.7").as_bytes()).await.unwrap();
    assert!(next(&mut browser).await.starts_with("HTTP/1.1 101 "));

    let through = async |client: &str, bytes: &str| {
        let mut stream = TcpStream::connect(server.address("balancer")).await.unwrap();
        let header = format!("PROXY TCP6 {client} ::1 40000 5060\r\n{bytes}");
        let _ = stream.write_all(header.as_bytes()).await;
        stream
    };
    let request = options("phone", "127.0.0.1:9".parse().unwrap()).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let mut phone = through("2001:db8::7", &request).await;
    let answer = next(&mut phone).await;
    assert!(answer.starts_with("SIP/2.0 200 ") && answer.contains("received=2001:db8::7"), "{answer}");

    for (client, told) in [("192.0.2.7", "192.0.2.7"), ("2001:db8::7", "[2001:db8::7]:40000")] {
        let mut command = sipway(["flows", "list", "--json", "--remote", client]);
        command.args(["--admin", &format!("http://{}", server.address("admin"))]);
        let listed = run(command).await;
        let flow: Value = serde_json::from_str(&listed.out).unwrap_or_else(|_| panic!("{listed:?}"));
        assert_eq!(flow["forwarded"], told);
    }
    // Another customer's address fails, and is banned with its /64; its neighbours and the proxy are not.
    for _ in 0..4 {
        read(&mut through("2001:db8:bad::1", "no SIP at all\r\n\r\n").await).await;
    }
    assert_eq!(read(&mut through("2001:db8:bad::2", &request).await).await, "");
    let mut neighbour = through("2001:db8:bad:1::1", &request).await;
    assert!(next(&mut neighbour).await.starts_with("SIP/2.0 200 "));
    let listed = bans(&server, &["list"]).await;
    assert!(listed.out.contains("2001:db8:bad::/64") && listed.out.lines().count() == 2, "{listed:?}");
    let lifted = bans(&server, &["lift", "2001:db8:bad::/64"]).await;
    assert_eq!(lifted.code, Some(0), "{lifted:?}");
    assert!(next(&mut through("2001:db8:bad::2", &request).await).await.starts_with("SIP/2.0 200 "));

    drop((browser, phone, neighbour));
    assert!(server.terminate().await.success());
    let events = ledger_events(&directory.at("ledger")).await;
    let told: Vec<_> = events.iter().filter_map(|event| event["data"]["forwarded"].as_str()).collect();
    assert!(told.contains(&"192.0.2.7") && told.contains(&"[2001:db8::7]:40000"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unauthenticated_clients_messages_is_cut_and_a_users_is_not() {
    let directory = Directory::new("flood");
    let mut server = start(&directory, "message_rate = 1").await;
    let mut unauthenticated = connect(&server, &from([127, 0, 0, 2], "ada", "wrong")).await.unwrap();
    let ended = loop {
        if let Err(error) = unauthenticated.options("sip:localhost").await {
            break error;
        }
    };
    assert!(matches!(ended, RequestError::Ended(Ended::Closed { code: Some(1008), .. })), "{ended:?}");
    let mut user = connect(&server, &from([127, 0, 0, 3], "bob", "right")).await.unwrap();
    assert_eq!(user.register(600).await.unwrap().status, 200);
    for _ in 0..100 {
        assert_eq!(user.options("sip:localhost").await.unwrap().status, 200);
    }
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_the_limits_over() {
    let directory = Directory::new("limits");
    let mut server = start(&directory, "connections = 1").await;
    let again = |of: &'static str, to: &str| {
        let text = std::fs::read_to_string(directory.at("sipway.toml")).unwrap();
        directory.write("sipway.toml", text.replacen(of, to, 1));
    };
    let office = |user| from([127, 0, 0, 2], user, "right");
    let mut ada = connect(&server, &office("ada")).await.unwrap();
    assert!(connect(&server, &office("bob")).await.is_err());

    again("connections = 1", "connections = 2");
    server.signal("HUP").await;
    let mut bob = eventually("another", async || connect(&server, &office("bob")).await.ok()).await;
    assert!(connect(&server, &office("bob")).await.is_err());
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.register(600).await.unwrap().status, 200, "who is in stays");
    }

    again("127.0.0.1\"]\n", "127.0.0.1\", \"127.0.0.2\"]\nscanners = [\"pplscan\"]\nuser_connections = 1\n");
    server.signal("HUP").await;
    let third = eventually("exempt", async || connect(&server, &office("bob")).await.ok()).await;
    drop((ada, bob, third));

    let mut held = Vec::new();
    let (home, away) = (from([127, 0, 0, 6], "ada", "right"), from([127, 0, 0, 7], "ada", "right"));
    for (setup, status) in [(&home, 200), (&away, 503)] {
        held.push(connect(&server, setup).await.unwrap());
        assert_eq!(held.last_mut().unwrap().register(600).await.unwrap().status, status);
    }

    let mut scanner = connect(&server, &from([127, 0, 0, 5], "ada", "right")).await.unwrap();
    let scan = "OPTIONS sip:localhost SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bKs\r\nFrom: <sip:x@x>;tag=1\r\n\
                To: <sip:localhost>\r\nCall-ID: s\r\nCSeq: 1 OPTIONS\r\nUser-Agent: PPLScan 1.0\r\nContent-Length: 0\r\n\r\n";
    scanner.send(scan.as_bytes()).unwrap();
    assert!(timeout(PATIENCE, scanner.next()).await.unwrap().is_err(), "it is answered");
    let words = server.terminate_and_read().await;
    assert!(
        words.contains("[defence] and [shutdown] are reloaded") && !words.contains("need a restart"),
        "{words}"
    );
}
