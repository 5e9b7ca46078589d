//! The torture messages of RFC 4475 and RFC 5118, sent to the server over UDP, TCP and WebSocket: each is
//! answered as a proxy and registrar must answer it, and what comes after it on the same flow is answered
//! too.

use std::fs;
use std::path::{Path, PathBuf};

use lifecycle::Transport;
use prove::{Client, Persona, Setup};
use sip_message::{Message, StartLine};
use tokio::time::timeout;

use crate::server::{Directory, PATIENCE, Server};

const CONFIG: &str = r#"
[ledger]
directory = "ledger"
[log]
format = "json"
[[listener]]
transport = "ws"
bind = "127.0.0.1:0"
[[listener]]
transport = "tcp"
bind = "127.0.0.1:0"
[[listener]]
transport = "udp"
bind = "127.0.0.1:0"
"#;

const OPEN: &str = r#"
[[domain]]
name = "example.com"
auth = "open"
[[domain]]
name = "example.net"
auth = "open"
"#;

const WITH_USERS: &str = r#"
[[domain]]
name = "example.com"
users = "users.txt"
[[domain]]
name = "example.net"
users = "users.txt"
"#;

/// Answers that say no more than that the message was understood.
const UNDERSTOOD: [u16; 25] = [
    100, 180, 183, 200, 202, 401, 403, 404, 405, 407, 408, 415, 416, 420, 423, 430, 480, 481, 482, 483, 488,
    500, 501, 502, 503,
];

const DOUBLE: &str = "rfc4475/dblreq.dat";

/// Where a stream wants another answer than a datagram, or is out of step afterwards (RFC 3261 §18.3).
fn over_stream(file: &str) -> Option<(&'static [&'static str], After)> {
    Some(match file {
        // Two messages, and octets behind the second one's body that begin no message.
        DOUBLE => (&["route"], After::Closed),
        // Whole once the octets are there that it promises.
        "rfc4475/clerr.dat" => (&["route"], After::Answered),
        // Where the next message begins cannot be told; RFC 2543 allows the last one only over UDP.
        "rfc4475/ncl.dat" | "rfc4475/mcl01.dat" | "rfc4475/inv2543.dat" => (&["400"], After::Closed),
        // Nothing that begins with such a line is read any further.
        "rfc4475/bigcode.dat" => (&["drop"], After::Closed),
        // The header has no end, so the request behind it is part of it.
        "rfc4475/baddn.dat" => (&["400"], After::Closed),
        _ => return None,
    })
}

const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Ws];

struct Row {
    file: String,
    expected: Vec<String>,
    bytes: Vec<u8>,
}

impl Row {
    fn expected(&self, transport: Transport) -> (Vec<&str>, After) {
        match over_stream(&self.file).filter(|_| transport == Transport::Tcp) {
            Some((answers, after)) => (answers.to_vec(), after),
            None => (self.expected.iter().map(String::as_str).collect(), After::Answered),
        }
    }

    fn fits(&self, transport: Transport, heard: &Heard) -> Result<(), String> {
        let (words, after) = self.expected(transport);
        let fits = |status: &u16| {
            words.iter().any(|word| match *word {
                "route" | "register" => UNDERSTOOD.contains(status),
                word => *word == status.to_string(),
            })
        };
        let silent = words.iter().any(|word| word.starts_with("drop"));
        let answered = if heard.statuses.is_empty() { silent } else { heard.statuses.iter().all(fits) };
        let told = heard.statuses.iter().filter(|&&status| status >= 200).count();
        // A stream has no octets behind a message, only another message.
        let most = if self.file == DOUBLE && transport == Transport::Tcp { 2 } else { 1 };
        if answered && heard.after == after && told <= most {
            return Ok(());
        }
        Err(format!("{} over {transport:?}: {heard:?}, expected {words:?} and {after:?}", self.file))
    }

    /// As it goes on the wire: over a stream a message that promises more octets than it has waits for them.
    fn octets(&self, transport: Transport) -> Vec<u8> {
        let mut octets = self.bytes.clone();
        if self.file == "rfc4475/clerr.dat" && transport == Transport::Tcp {
            let header = octets.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            octets.resize(header + 9999, b'\n');
        }
        octets
    }
}

/// What the server says of a message.
#[derive(Debug)]
struct Heard {
    statuses: Vec<u16>,
    after: After,
}

/// What became of the request behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Answered,
    Closed,
}

fn rows() -> Vec<Row> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sip-message/tests/torture");
    let table = fs::read(folder.join("expected.json")).unwrap();
    let table: Vec<serde_json::Value> = serde_json::from_slice(&table).unwrap();
    let row = |row: &serde_json::Value| {
        let file = row["file"].as_str().unwrap().to_owned();
        let words = row["expect"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
        Row { expected: words.collect(), bytes: fs::read(folder.join(&file)).unwrap(), file }
    };
    table.iter().map(row).collect()
}

/// Sends a message on a flow of its own and a request behind it, and listens until that is answered.
async fn ask(server: &Server, transport: Transport, octets: &[u8]) -> Heard {
    let target = server.target(transport).domain("example.com");
    let persona = if transport == Transport::Ws { Persona::JsSip } else { Persona::Phone };
    let mut client = Client::connect(&target, &Setup { persona, ..Setup::new("torturer") }).await.unwrap();
    let behind = format!(
        "OPTIONS sip:{address} SIP/2.0\r\nVia: SIP/2.0/{name} behind.invalid;branch=z9hG4bKbehind;rport\r\n\
         Max-Forwards: 9\r\nFrom: <sip:torturer@example.com>;tag=1\r\nTo: <sip:{address}>\r\nCall-ID: behind\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        address = target.address,
        name = transport.as_str().to_uppercase(),
    );
    client.send(octets).unwrap();
    // The server may have closed already.
    let _ = client.send(behind.as_bytes());
    let _ = client.flush().await;
    let mut statuses = Vec::new();
    loop {
        let Ok(incoming) = timeout(PATIENCE, client.next()).await.expect("an answer, or the end") else {
            return Heard { statuses, after: After::Closed };
        };
        let message: Message<'_> = incoming.message();
        let StartLine::Response { .. } = message.start_line() else { continue };
        let status = message.status().unwrap();
        match message.call_id() {
            Some(b"behind") => return Heard { statuses, after: After::Answered },
            _ => statuses.push(status),
        }
    }
}

/// Every message over every transport: what the server said.
async fn torture(name: &str, domains: &str) -> Vec<(String, Transport, Vec<u16>)> {
    let directory = Directory::new(name);
    let path = directory.path().join("sipway.toml");
    fs::write(&path, format!("{CONFIG}{domains}")).unwrap();
    fs::write(directory.path().join("users.txt"), "alice:wonder\n").unwrap();
    let rows = rows();
    assert_eq!(rows.len(), 62);
    let (mut heard_of, mut wrong) = (Vec::new(), Vec::new());
    for transport in TRANSPORTS {
        // Anew, so that nobody is registered by what came over another transport.
        fs::remove_dir_all(directory.path().join("ledger")).ok();
        let mut server = Server::run(&path).await;
        for row in &rows {
            let heard = ask(&server, transport, &row.octets(transport)).await;
            wrong.extend(row.fits(transport, &heard).err());
            heard_of.push((row.file.clone(), transport, heard.statuses));
        }
        assert!(server.terminate().await.success(), "it goes on and ends as it should");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    heard_of
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torture_messages_are_answered_as_the_rfcs_say() {
    let heard = torture("torture", OPEN).await;
    let said = |file: &str| -> Vec<u16> {
        let of_file = heard.iter().filter(|(heard, ..)| heard.ends_with(file));
        of_file.filter_map(|(.., statuses)| statuses.last().copied()).collect()
    };
    assert_eq!(said("/badvers.dat"), [505; 3]);
    assert_eq!(said("/bext01.dat"), [420; 3]);
    assert_eq!(said("/zeromf.dat"), [483; 3]);
    // Registered: these domains are open.
    for file in ["/escnull.dat", "/cparam01.dat", "/cparam02.dat", "/regescrt.dat"] {
        assert_eq!(said(file), [200; 3], "{file}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torture_messages_do_not_get_past_a_password() {
    let heard = torture("torture-users", WITH_USERS).await;
    let registers = ["/regaut01.dat", "/escnull.dat", "/cparam01.dat", "/cparam02.dat", "/regescrt.dat"];
    let of_them = heard.iter().filter(|(file, ..)| registers.iter().any(|register| file.ends_with(register)));
    let said: Vec<_> = of_them.map(|(.., statuses)| statuses.clone()).collect();
    assert_eq!(said, vec![vec![401]; 3 * registers.len()], "an unknown scheme is no credentials either");
}
