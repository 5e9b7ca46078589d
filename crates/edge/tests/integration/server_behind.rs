//! A server behind the one that is tested: it answers every request, and remembers which came.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use sip_message::{Frame, HeaderId, Message, StreamFramer, response::ResponseBuilder};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};

/// What came to a server.
#[derive(Debug, Default)]
pub(crate) struct Came {
    /// Connections that got as far as to say something.
    pub(crate) connections: usize,
    /// Whole requests, but for those that ask whether it is there.
    pub(crate) requests: Vec<String>,
}

/// It ends when it is dropped, and its connections with it.
pub(crate) struct ServerBehind {
    pub(crate) address: SocketAddr,
    came: Arc<Mutex<Came>>,
    _tasks: JoinSet<()>,
}

/// What becomes of a connection once a request on it is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Stays,
    Ends,
}

impl ServerBehind {
    /// Answers with this status over TCP.
    pub(crate) async fn tcp(status: u16, then: Then) -> Self {
        Self::stream(TcpListener::bind("127.0.0.1:0").await.unwrap(), status, then, None)
    }

    /// Answers 200 over TLS to those who show a certificate of this authority's.
    pub(crate) async fn tls(authority: &Authority) -> Self {
        Self::tls_as(authority, "127.0.0.1").await
    }

    /// The same, with a certificate for this name.
    pub(crate) async fn tls_as(authority: &Authority, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::stream(listener, 200, Then::Stays, Some(authority.acceptor(name)))
    }

    pub(crate) fn stream(listener: TcpListener, status: u16, then: Then, tls: Option<TlsAcceptor>) -> Self {
        let (address, came) = (listener.local_addr().unwrap(), Arc::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, status, then, tls, Arc::clone(&came)));
        Self { address, came, _tasks: tasks }
    }

    /// Answers with this status over UDP.
    pub(crate) async fn udp(socket: UdpSocket, status: u16) -> Self {
        let (address, came) = (socket.local_addr().unwrap(), Arc::<Mutex<Came>>::default());
        let mut tasks = JoinSet::new();
        let keeps = Arc::clone(&came);
        tasks.spawn(async move {
            let mut bytes = vec![0; 65_535];
            loop {
                let Ok((read, from)) = socket.recv_from(&mut bytes).await else { continue };
                if let Some(answer) = answer(&bytes[..read], status, &keeps) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self { address, came, _tasks: tasks }
    }

    pub(crate) fn came(&self) -> std::sync::MutexGuard<'_, Came> {
        self.came.lock().unwrap()
    }
}

async fn accept(
    listener: TcpListener,
    status: u16,
    then: Then,
    tls: Option<TlsAcceptor>,
    came: Arc<Mutex<Came>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (came, tls) = (Arc::clone(&came), tls.clone());
        connections.spawn(async move {
            match tls {
                None => serve(stream, status, then, came).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, status, then, came).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    status: u16,
    then: Then,
    came: Arc<Mutex<Came>>,
) {
    let (mut bytes, mut framer) = (Vec::new(), StreamFramer::default());
    came.lock().unwrap().connections += 1;
    loop {
        match stream.read_buf(&mut bytes).await {
            Ok(1..) => {}
            _ => return,
        }
        loop {
            let frame = framer.next(&bytes).unwrap();
            if frame.is_empty() {
                break;
            }
            let rest = bytes.split_off(frame.len());
            if let Frame::Message { .. } = frame
                && let Some(answer) = answer(&bytes, status, &came)
            {
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
                if then == Then::Ends {
                    let _ = stream.shutdown().await;
                    return;
                }
            }
            bytes = rest;
        }
    }
}

fn answer(bytes: &[u8], status: u16, came: &Mutex<Came>) -> Option<Vec<u8>> {
    let request = Message::parse(bytes).unwrap();
    let method = request.method()?;
    if method.as_bytes() != b"OPTIONS" {
        came.lock().unwrap().requests.push(String::from_utf8_lossy(bytes).into_owned());
    }
    if method.as_bytes() == b"ACK" {
        return None;
    }
    let mut answer = Vec::new();
    let mut builder = ResponseBuilder::new(&request, status, "As Told").to_tag(b"behind");
    // A registrar says what it has now.
    if method.as_bytes() == b"REGISTER" && status == 200 {
        for (name, id) in [(b"Contact", HeaderId::Contact), (b"Expires", HeaderId::Expires)] {
            if let Some(value) = request.value(id) {
                builder = builder.header(name, value);
            }
        }
    }
    builder.write(&mut answer).unwrap();
    Some(answer)
}

/// Signs certificates for servers and for those who come to them.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a name or an address, and its key, as PEM.
    pub(crate) fn certify(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = self.certify(name);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
