//! What a message costs in this crate: 32 connections have a text message of 1 KiB echoed.
//!
//! Usage: `cargo run --release -p transport --example echo_cost [ws|wss] [messages]`

use std::{
    error::Error,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use lifecycle::{Ending, FlowLimits, Transport};
use sip_message::FrameError;
use tls_settings::certificate;
use tokio::{net::TcpListener, task::spawn_local};
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use transport::{
    ClientAddress, ConnectionHandler, HandshakeLimit, Link, Listener, MissingOrigin, Opening, PlainHttp,
    Refused, Scratch, Settings, UnopenedCause,
    accept::{self, Accepted},
    receive_connection,
};

const CONNECTIONS: usize = 32;
const SIZE: usize = 1024;
const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: sip\r\n\r\n";

type Failure = Box<dyn Error + Send + Sync>;

/// Sends back what comes.
struct Echo;

impl ConnectionHandler for Echo {
    type Flow = Rc<Link>;
    type Admission = ();

    fn admit(self: &Rc<Self>, _: IpAddr) -> Option<()> {
        Some(())
    }

    async fn open(self: &Rc<Self>, _: Opening, _: Option<()>, link: Rc<Link>) -> Result<Rc<Link>, Refused> {
        Ok(link)
    }

    fn flow_number(_: &Rc<Link>) -> u64 {
        0
    }

    fn message(self: &Rc<Self>, flow: &Rc<Link>, message: &[u8]) {
        let _ = flow.send(message);
    }

    fn close(self: &Rc<Self>, _: Rc<Link>, _: Ending) {}

    fn http(self: &Rc<Self>, _: PlainHttp) {}

    fn on_unopened(self: &Rc<Self>, remote: SocketAddr, why: UnopenedCause, _: Option<&()>) {
        eprintln!("{remote}: {why}");
    }

    fn answer_unframed(self: &Rc<Self>, _: &[u8], _: FrameError) -> Option<Vec<u8>> {
        None
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let transport = match arguments.next().as_deref() {
        None | Some("ws") => Transport::Ws,
        Some("wss") => Transport::Wss,
        Some(other) => return Err(format!("`{other}` is neither ws nor wss").into()),
    };
    let messages: usize = arguments.next().map_or(Ok(200_000), |number| number.parse())?;
    let socket = accept::bind("127.0.0.1:0".parse()?)?;
    let address = socket.local_addr()?;
    let tls = match transport {
        Transport::Wss => Some(certificate::self_signed(vec!["localhost".into()])?),
        _ => None,
    };
    std::thread::spawn(move || serve(socket, transport, tls));
    let each = messages / CONNECTIONS;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::open(address, transport)?);
    }
    for client in &mut clients {
        client.round_trip()?;
    }
    // The server's thread tells of itself: everything else in this process is clients.
    let server = server_thread()?;
    let (before, start) = (cpu(&server)?, Instant::now());
    for _ in 0..each {
        for client in &mut clients {
            client.send()?;
        }
        for client in &mut clients {
            client.receive()?;
        }
    }
    let (spent, took) = (cpu(&server)? - before, start.elapsed());
    let handled = u32::try_from(each * CONNECTIONS)?;
    println!(
        "{transport}: {handled} messages echoed in {took:.2?}: {:.2} µs of the server's thread each",
        (spent / handled).as_secs_f64() * 1e6
    );
    Ok(())
}

fn serve(socket: std::net::TcpListener, transport: Transport, tls: Option<certificate::TlsConfig>) {
    let hour = Duration::from_secs(3600);
    let settings = Settings {
        max_message: 1 << 17,
        handshake_timeout: hour,
        close_timeout: hour,
        ping_after: hour,
        pong_timeout: hour,
        outbound_queue: 1 << 20,
        write_timeout: hour,
        limits: FlowLimits::default(),
    };
    let Ok(local) = socket.local_addr() else { return };
    let listener = Rc::new(Listener {
        number: 0,
        name: "echo".into(),
        transport,
        local,
        client_address: ClientAddress::Socket,
        waiting: Rc::new(HandshakeLimit::new(usize::MAX)),
        paths: Vec::new(),
        origins: Vec::new(),
        missing_origin: MissingOrigin::Allow,
        tls,
        settings: Rc::new(settings),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let socket = TcpListener::from_std(socket).expect("the socket is fit for the runtime");
        let scratch = Rc::new(Scratch::new());
        while let Accepted::Connection(stream, remote) = accept::accept(&socket, u64::MAX).await {
            let (listener, scratch) = (Rc::clone(&listener), Rc::clone(&scratch));
            spawn_local(receive_connection(Rc::new(Echo), listener, scratch, stream, remote));
        }
    });
}

/// The one thread of this process that is not the first.
fn server_thread() -> Result<String, Failure> {
    let own = std::process::id().to_string();
    for task in std::fs::read_dir("/proc/self/task")? {
        let name = task?.file_name().to_string_lossy().into_owned();
        if name != own {
            return Ok(name);
        }
    }
    Err("the server has no thread".into())
}

/// Time that a thread has run, system calls included.
fn cpu(thread: &str) -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"))?;
    let nanos = stat.split(' ').next().ok_or("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanos))
}

trait Bytes: std::io::Read + std::io::Write {}
impl<T: std::io::Read + std::io::Write> Bytes for T {}

struct Client {
    stream: Box<dyn Bytes>,
    frame: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    fn open(address: SocketAddr, transport: Transport) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut stream: Box<dyn Bytes> = match transport {
            Transport::Wss => {
                let name = ServerName::try_from("localhost")?;
                Box::new(StreamOwned::new(ClientConnection::new(trusting()?, name)?, stream))
            }
            _ => Box::new(stream),
        };
        stream.write_all(HEAD.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let mut frame = Vec::new();
        websocket::client::text(&"x".repeat(SIZE), [1, 2, 3, 4], &mut frame);
        Ok(Self { stream, frame, answer: vec![0; SIZE + 4] })
    }

    fn send(&mut self) -> Result<(), Failure> {
        Ok(self.stream.write_all(&self.frame)?)
    }

    fn receive(&mut self) -> Result<(), Failure> {
        self.stream.read_exact(&mut self.answer)?;
        if self.answer.get(4..) == Some(&[b'x'; SIZE][..]) { Ok(()) } else { Err("not an echo".into()) }
    }

    fn round_trip(&mut self) -> Result<(), Failure> {
        self.send()?;
        self.receive()
    }
}

fn trusting() -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes any certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
