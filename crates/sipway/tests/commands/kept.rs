//! A phone on UDP is still registered after a restart: it has no connection whose end it could notice.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use lifecycle::Transport;

use crate::directory::Directory;
use crate::http::ask;
use crate::process::{PATIENCE, Server, ledger_events, sipway, types};

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn heard(socket: &UdpSocket) -> String {
    let mut datagram = [0; 4096];
    let length = socket.recv(&mut datagram).expect("it was sent something");
    String::from_utf8(datagram[..length].to_vec()).unwrap()
}

fn register(server: &Server, socket: &UdpSocket, user: &str, cseq: u32, expires: u32) -> String {
    let own = socket.local_addr().unwrap();
    let request = format!(
        "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{user}{cseq};rport\r\nMax-Forwards: 70\r\n\
         To: <sip:{user}@localhost>\r\nFrom: <sip:{user}@localhost>;tag=1\r\nCall-ID: {user}\r\nCSeq: {cseq} REGISTER\r\n\
         Contact: <sip:{user}@{own}>;q=0.5\r\nExpires: {expires}\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send_to(request.as_bytes(), server.address("udp")).unwrap();
    heard(socket)
}

async fn serve(directory: &Directory) -> Server {
    serve_with(directory, "").await
}

async fn serve_with(directory: &Directory, more: &str) -> Server {
    let text = "[ledger]\ndirectory = \"ledger\"\n[registrar]\nmin_expires = \"1s\"\noffline_after = \"1h\"\n\
        [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
        [[listener]]\nname = \"udp\"\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n\
        [admin]\nbind = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n";
    let mut serve = sipway(["run", "--config"]);
    serve.arg(directory.write("sipway.toml", format!("{text}{more}")));
    Server::run(serve).await
}

async fn removals(ledger: &Path) -> Vec<String> {
    let events = ledger_events(ledger).await;
    let removed = events.iter().filter(|event| event["type"] == "binding.removed");
    removed
        .map(|event| format!("{} {}", event["data"]["aor"], event["data"]["cause"]).replace('"', ""))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_on_udp_is_registered_until_its_time_is_over_whatever_the_server_does() {
    let directory = Directory::new("kept");
    let (ada, bob) = (socket(), socket());
    let mut server = serve(&directory).await;
    assert!(register(&server, &ada, "ada", 1, 600).starts_with("SIP/2.0 200 "));
    assert!(register(&server, &bob, "bob", 1, 1).starts_with("SIP/2.0 200 "));
    assert!(register(&server, &ada, "ada", 2, 900).starts_with("SIP/2.0 200 "), "refreshed");
    assert!(server.terminate().await.success());

    let mut server = serve(&directory).await;
    let mut eve = server.connect(Transport::Ws, "eve").await;
    assert_eq!(eve.register(600).await.unwrap().status, 200);
    let message = tokio::spawn(async move { (eve.message("sip:ada@localhost", b"still there?").await, eve) });
    let request = tokio::task::spawn_blocking({
        let ada = ada.try_clone().unwrap();
        move || heard(&ada)
    });
    let request = request.await.unwrap();
    assert!(request.starts_with("MESSAGE sip:ada@127.0.0.1:"), "{request}");
    let headers = request.split("\r\n\r\n").next().unwrap().lines().skip(1);
    let kept = headers.filter(|line| {
        ["via:", "to:", "from:", "call-id:", "cseq:"]
            .iter()
            .any(|name| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
    });
    let answer = kept.fold("SIP/2.0 200 OK\r\n".to_owned(), |answer, line| answer + line + "\r\n");
    ada.send_to((answer + "Content-Length: 0\r\n\r\n").as_bytes(), server.address("udp")).unwrap();
    assert_eq!(message.await.unwrap().0.unwrap().status, 200);
    // A request that is older than the last one it refreshed with changes nothing.
    assert!(register(&server, &ada, "ada", 2, 900).starts_with("SIP/2.0 500 "));
    server.signal("KILL").await;
    server.end().await;

    let mut server = serve(&directory).await;
    let answer = register(&server, &ada, "ada", 3, 0);
    assert!(answer.starts_with("SIP/2.0 200 ") && !answer.contains("Contact:"), "{answer}");
    let ledger = directory.at("ledger");
    let over = async {
        while !removals(&ledger).await.iter().any(|line| line.starts_with("bob@")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.expect("bob's second is over");
    assert!(server.terminate().await.success());
    assert_eq!(
        removals(&ledger).await.iter().filter(|line| line.contains("ada")).collect::<Vec<_>>(),
        ["ada@localhost unregistered"]
    );
    assert_eq!(
        removals(&ledger).await.iter().filter(|line| line.contains("bob")).collect::<Vec<_>>(),
        ["bob@localhost expired"]
    );
    assert_eq!(
        types(&ledger_events(&ledger).await).iter().filter(|kind| **kind == "binding.added").count(),
        3
    );
    // Neither end of the server was an end of anybody who stayed.
    let events = ledger_events(&ledger).await;
    let users = events.iter().filter(|event| event["type"].as_str().unwrap().starts_with("user."));
    let told: Vec<_> = users.map(|event| format!("{} {}", event["type"], event["data"]["aor"])).collect();
    let of = |user: &str| told.iter().filter(|line| line.contains(user)).count();
    assert_eq!((of("ada@"), of("bob@")), (1, 1), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_put_back_ends_with_the_process_that_had_it() {
    let directory = Directory::new("unkept");
    let ada = socket();
    let mut server = serve(&directory).await;
    assert!(register(&server, &ada, "ada", 1, 600).starts_with("SIP/2.0 200 "));
    assert!(server.terminate().await.success());
    std::fs::write(directory.at("ledger/bindings.sqlite"), "no database").unwrap();

    let mut server = serve(&directory).await;
    assert_eq!(removals(&directory.at("ledger")).await, ["ada@localhost node_crash"]);
    assert!(directory.at("ledger/bindings.damaged").exists());
    assert!(register(&server, &ada, "ada", 1, 600).starts_with("SIP/2.0 200 "));
    let page = ask(server.address("admin"), "GET", "/metrics").await;
    assert!(page.contains("sipway_bindings_unkept_total 0"), "{page}");
    assert!(server.terminate().await.success());
    assert_eq!(removals(&directory.at("ledger")).await.len(), 1);
}

/// What a registrar behind has stored of a device, it calls after a restart as before: nothing but the
/// binding has to be kept for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registrar_behind_reaches_a_phone_by_the_same_contact_after_a_restart() {
    let directory = Directory::new("kept-contact");
    let (ada, pbx) = (socket(), socket());
    let behind = format!(
        "[[upstream]]\nname = \"pbx\"\ntargets = [\"sip:{}\"]\nprobe = \"off\"\n\
         [[domain]]\nname = \"localhost\"\nbackend = \"pbx\"\nregister = \"contact-rewrite\"\n",
        pbx.local_addr().unwrap()
    );
    let registered = |server: &Server, cseq: u32| {
        let (address, asks) = (server.address("udp"), pbx.try_clone().unwrap());
        let answers = std::thread::spawn(move || {
            let request = heard(&asks);
            let same = request.lines().skip(1).filter(|line| !line.starts_with("Content-Length"));
            let answer = same.fold("SIP/2.0 200 OK\r\n".to_owned(), |all, line| all + line + "\r\n");
            asks.send_to(format!("{}\r\nContent-Length: 0\r\n\r\n", answer.trim_end()).as_bytes(), address)
                .unwrap();
            let contact =
                request.lines().find_map(|line| line.strip_prefix("Contact: <")).unwrap().to_owned();
            contact.split('>').next().unwrap().to_owned()
        });
        assert!(register(server, &ada, "ada", cseq, 600).starts_with("SIP/2.0 200 "));
        answers.join().unwrap()
    };
    let mut server = serve_with(&directory, &behind).await;
    let contact = registered(&server, 1);
    assert!(server.terminate().await.success());

    let mut server = serve_with(&directory, &behind).await;
    let own = pbx.local_addr().unwrap();
    let request = format!(
        "OPTIONS {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKq\r\nMax-Forwards: 70\r\nFrom: <sip:pbx@{own}>;tag=1\r\n\
         To: <{contact}>\r\nCall-ID: q\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    pbx.send_to(request.as_bytes(), server.address("udp")).unwrap();
    let came = heard(&ada);
    assert!(came.starts_with(&format!("OPTIONS sip:ada@{} SIP/2.0", ada.local_addr().unwrap())), "{came}");
    server.signal("KILL").await;
    server.end().await;
}
