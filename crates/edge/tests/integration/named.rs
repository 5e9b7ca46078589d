//! Servers behind that are known by name (RFC 3263), and a DNS server that knows them.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hickory_resolver::proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, NAPTR, SRV},
    },
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    task::JoinSet,
};

use lifecycle::Transport;
use prove::{Client, Setup};

use crate::{
    outgoing::{UDP, status},
    server_behind::{Authority, ServerBehind, Then},
    test_server::{PATIENCE, TestServer},
};

type Zone = HashMap<(Name, RecordType), Vec<RData>>;

/// It answers what its zone says, for a second each time.
struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    /// While it is not [`Says::All`], questions wait.
    says: watch::Sender<Says>,
    /// Questions that came.
    asked: watch::Receiver<usize>,
    _task: JoinSet<()>,
}

/// Whether it answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    All,
    Nothing,
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

fn naptr(order: u16, service: &str, replacement: &str) -> RData {
    let bytes = |text: &str| text.as_bytes().into();
    RData::NAPTR(NAPTR::new(order, 10, bytes("s"), bytes(service), bytes(""), name(replacement)))
}

fn srv(priority: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, 1, port, name(target)))
}

fn at(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

impl Dns {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, zone) = (socket.local_addr().unwrap(), Arc::<Mutex<Zone>>::default());
        let (says, mut may) = watch::channel(Says::All);
        let (count, asked) = watch::channel(0);
        let mut task = JoinSet::new();
        let known = Arc::clone(&zone);
        task.spawn(async move {
            let mut bytes = vec![0; 65_535];
            loop {
                let Ok((read, from)) = socket.recv_from(&mut bytes).await else { continue };
                let question = Message::from_vec(&bytes[..read]).unwrap();
                count.send_modify(|count| *count += 1);
                may.wait_for(|says| *says == Says::All).await.unwrap();
                let answer = answer(&question, &known.lock().unwrap());
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        Self { address, zone, says, asked, _task: task }
    }

    fn set(&self, of: &str, records: Vec<RData>) {
        let kind = records[0].record_type();
        self.zone.lock().unwrap().insert((name(of), kind), records);
    }
}

fn answer(question: &Message, zone: &Zone) -> Message {
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    for query in &question.queries {
        answer.add_query(query.clone());
        let key = (query.name().to_lowercase(), query.query_type());
        for data in zone.get(&key).into_iter().flatten() {
            answer.add_answer(Record::from_rdata(query.name().clone(), 1, data.clone()));
        }
        if !zone.keys().any(|(known, _)| *known == key.0) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
    }
    answer
}

fn behind(dns: &Dns, target: &str, more: &str) -> String {
    format!(
        "{UDP}[dns]\nservers = [\"{}\"]\n[[upstream]]\nname = \"pbx\"\ntargets = [\"{target}\"]\nprobe = \"off\"\n{more}\n\
         [[domain]]\nname = \"localhost\"\nauth = \"open\"\nbackend = \"pbx\"\nregister = \"local\"\noutside = \"everybody\"\n",
        dns.address
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_leads_to_servers_and_later_to_others() {
    let dns = Dns::start().await;
    let (one, two, three) = (
        ServerBehind::tcp(404, Then::Stays).await,
        ServerBehind::tcp(403, Then::Stays).await,
        ServerBehind::tcp(486, Then::Stays).await,
    );
    let sipway = TestServer::new("named", &behind(&dns, "sip:pbx.test", ""));
    let mut ada = sipway.connect("ada").await;
    let answer = ada.message("sip:nobody@localhost", b"hello").await.unwrap();
    assert_eq!(answer.status, 503, "nobody knows where that is");
    assert!(String::from_utf8_lossy(&answer.bytes).contains("\r\nRetry-After: 2\r\n"));
    assert_eq!(sipway.handle.metrics().get(metrics::Count::UpstreamsUnknown), 1);
    let port = |server: &ServerBehind| server.address.port();
    dns.set("a.pbx.test", vec![at(one.address.ip())]);
    dns.set("b.pbx.test", vec![at(one.address.ip())]);
    dns.set("_sip._tcp.pbx.test", vec![srv(2, port(&two), "b.pbx.test"), srv(1, port(&one), "a.pbx.test")]);
    // SCTP is not spoken, and TCP is wanted more than UDP.
    let records = [
        naptr(1, "SIP+D2S", "_sip._sctp.pbx.test"),
        naptr(3, "SIP+D2U", "_sip._udp.pbx.test"),
        naptr(2, "SIP+D2T", "_sip._tcp.pbx.test"),
    ];
    dns.set("pbx.test", records.to_vec());
    let targets = |handle: &edge::Handle| -> Vec<SocketAddr> {
        handle.upstreams().iter().map(|view| view.target).collect()
    };
    sipway.until("looked up", |handle| targets(handle).len() == 2).await;
    assert_eq!(status(&mut ada, b"hello").await, 404);
    let gone = one.address;
    drop(one);
    sipway.until("noticed", |handle| handle.live() == 1).await;
    assert_eq!(status(&mut ada, b"hello").await, 403, "{gone} is not there any more");
    dns.set("_sip._tcp.pbx.test", vec![srv(1, port(&three), "a.pbx.test")]);
    sipway.until("looked up again", |handle| targets(handle) == [three.address]).await;
    assert_eq!(status(&mut ada, b"hello").await, 486);
    sipway.end().await;
}

/// Whoever comes while names are looked up the first time waits for that, by whatever transport, but not for
/// long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_before_the_first_answer_of_dns_waits_for_it() {
    let pbx = ServerBehind::tcp(404, Then::Stays).await;
    loop {
        let begun = Instant::now();
        let mut dns = Dns::start().await;
        dns.set("pbx.test", vec![at(pbx.address.ip())]);
        dns.says.send_replace(Says::Nothing);
        let target = format!("sip:pbx.test:{};transport=tcp", pbx.address.port());
        let sipway = TestServer::new("named-first", &behind(&dns, &target, ""));
        let setup = Setup { patience: PATIENCE, ..Setup::new("bob") };
        let mut bob = Client::connect(&sipway.target(Transport::Udp), &setup).await.unwrap();
        let answers = async {
            let by_ws = async { status(&mut sipway.connect("ada").await, b"hello").await };
            tokio::join!(by_ws, status(&mut bob, b"hello"))
        };
        let speaking = async {
            dns.asked.wait_for(|asked| *asked > 0).await.unwrap();
            // Time for who does not wait to show it.
            tokio::time::sleep(Duration::from_millis(200)).await;
            dns.says.send_replace(Says::All);
        };
        let (answers, ()) = tokio::join!(answers, speaking);
        sipway.end().await;
        if begun.elapsed() < Duration::from_secs(2) {
            assert_eq!(answers, (404, 404));
            return;
        }
        // A slow machine: the wait may have been over before the answer.
    }
}

/// Without NAPTR and SRV a name is looked up as a host, by all its addresses; one of them is IPv6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_reached_by_all_its_addresses() {
    let dns = Dns::start().await;
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        // A machine without IPv6.
        return;
    };
    let six = ServerBehind::stream(listener, 404, Then::Stays, None);
    dns.set("pbx.test", vec![at("127.0.0.3".parse().unwrap())]);
    dns.set("pbx.test", vec![at(six.address.ip())]);
    let listener = "[[listener]]\ntransport = \"tcp\"\nbind = \"[::1]:0\"\n";
    let target = format!("sip:pbx.test:{};transport=tcp", six.address.port());
    let sipway = TestServer::new("named-host", &format!("{listener}{}", behind(&dns, &target, "")));
    sipway.until("looked up", |handle| handle.upstreams().len() == 2).await;
    let mut ada = sipway.connect("ada").await;
    // Whichever is tried first: nobody listens at the other.
    assert_eq!(status(&mut ada, b"hello").await, 404);
    assert_eq!(six.came().requests.len(), 1);
    let via = "\r\nVia: SIP/2.0/TCP [::1]:";
    assert!(six.came().requests[0].contains(via));
    sipway.end().await;
}

/// RFC 5922: the certificate is for the name that was asked for, not for what DNS made of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_server_proves_to_be_the_name_that_was_asked_for() {
    let (dns, authority) = (Dns::start().await, Authority::new());
    let (certificate, key) = authority.certify("edge.test");
    let listener = "[[listener]]\ntransport = \"tls\"\nbind = \"127.0.0.1:0\"\ncertificate = \"{here}/own.pem\"\nprivate_key = \"{here}/own.key\"\n";
    let identity =
        "ca = \"{here}/ca.pem\"\ncertificate = \"{here}/own.pem\"\nprivate_key = \"{here}/own.key\"";
    dns.set("a.host.test", vec![at("127.0.0.1".parse().unwrap())]);
    for (proved, expected) in [("pbx.test", 200), ("a.host.test", 503)] {
        let pbx = ServerBehind::tls_as(&authority, proved).await;
        dns.set("_sips._tcp.pbx.test", vec![srv(1, pbx.address.port(), "a.host.test")]);
        let text = format!("{listener}{}", behind(&dns, "sips:pbx.test", identity));
        let files = [("ca.pem", &*authority.pem()), ("own.pem", &*certificate), ("own.key", &*key)];
        let sipway = TestServer::with_files("named-tls", &text, &files);
        sipway.until("looked up", |handle| handle.upstreams().len() == 1).await;
        let mut ada = sipway.connect("ada").await;
        assert_eq!(status(&mut ada, b"hello").await, expected, "{proved}");
        sipway.end().await;
    }
}
