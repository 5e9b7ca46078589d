use std::sync::Arc;

use config::{Config, FakeEnvironment, SinkTarget};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lifecycle::EventKind;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::client::Body;
use super::*;

fn event() -> Outgoing {
    Outgoing {
        position: Position::new(1, 1),
        kind: EventKind::FlowClosed,
        at: 0,
        id: "edge1.1.1".to_owned(),
        json: "{}".to_owned(),
    }
}

fn sink(port: u16, roots: Roots) -> WebhookSink {
    let secret = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [1; 32]);
    let toml = format!(
        "[[sink]]\nkind = \"webhook\"\nname = \"a\"\nurl = \"https://localhost:{port}/\"\nsecret_env = \"S\""
    );
    let around = FakeEnvironment::new().set("S", format!("whsec_{secret}"));
    let config = Config::parse(&toml, std::path::Path::new("a.toml"), &around).unwrap();
    let SinkTarget::Webhook(webhook) = &config.sinks[0].target else { panic!("not a webhook") };
    let mut sink = WebhookSink::new(webhook);
    sink.roots = roots;
    sink
}

/// An HTTPS server that answers every request with 204; and the authority that vouches for it.
async fn https_server() -> (u16, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let authority = made.cert.der().clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = service_fn(async |request: Request<Incoming>| {
                let body = request.into_body().collect().await?.to_bytes();
                let status = if body == "{}" { 204 } else { 400 };
                Ok::<_, hyper::Error>(Response::builder().status(status).body(Body::default()).unwrap())
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (port, authority)
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn delivers_over_tls_to_a_server_it_trusts() {
    run(async {
        let (port, authority) = https_server().await;
        let mut sink = sink(port, Roots::Only(vec![authority]));
        sink.prepare(Position::START).await.unwrap();
        sink.deliver(&[event()]).await.unwrap();
        sink.deliver(&[event()]).await.unwrap();
    });
}

#[test]
fn a_certificate_nobody_vouches_for_is_no_destination() {
    run(async {
        let (port, _) = https_server().await;
        let untrusted = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut sink = sink(port, Roots::Only(vec![untrusted.cert.der().clone()]));
        sink.prepare(Position::START).await.unwrap();
        let failure = sink.deliver(&[event()]).await.unwrap_err();
        assert_eq!(failure.nature, FailureKind::Transient);
        assert!(failure.text.contains("certificate"), "{}", failure.text);
    });
}
