//! The same with TLS in front.

use std::sync::Arc;

use lifecycle::{Cause, Ending, Transport};
use tls_settings::certificate;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};
use transport::UnopenedCause;

use crate::{
    client::{Client, PLAIN, ReadPriority, close_frame, read_all, text_frame, upgrade},
    handler::{HandshakeSlot, on_a_shard},
};

pub(crate) fn server_config() -> certificate::TlsConfig {
    certificate::self_signed(vec!["localhost".into()]).unwrap()
}

/// Takes any certificate: who the server is, is not what is tested.
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

fn connector(versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[&str]) -> TlsConnector {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn secure(place: &HandshakeSlot, connector: TlsConnector) -> TlsStream<TcpStream> {
    connector.connect("localhost".try_into().unwrap(), place.connect().await).await.unwrap()
}

/// TLS over a connection on which something was said already.
pub(crate) async fn secure_over(stream: TcpStream) -> TlsStream<TcpStream> {
    let connector = connector(&[&rustls::version::TLS13], &[]);
    connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
}

async fn open(place: &HandshakeSlot) -> Client<TlsStream<TcpStream>> {
    Client::over(secure(place, connector(&[&rustls::version::TLS13], &["http/1.1"])).await).await
}

fn wss() -> HandshakeSlot {
    HandshakeSlot::with(Transport::Wss, |_| ())
}

#[test]
fn messages_of_every_size_in_both_versions() {
    on_a_shard(async {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let place = wss();
            let mut client = Client::over(secure(&place, connector(&[version], &[])).await).await;
            for size in [0, 1, 1000, 16_000, 17_000, 70_000] {
                let message = format!("echo {}", "x".repeat(size));
                client.text(&message).await;
                assert_eq!(client.next().await, Some(ReadPriority::Text(message.into_bytes())));
            }
            client.raw(&close_frame(1000, "")).await;
            assert_eq!(client.next().await, Some(ReadPriority::Close(Some(1000), String::new())));
            // The end is no truncation: rustls would make an error of a missing close_notify.
            let (rest, end) = read_all(&mut client.stream).await;
            assert!(rest.is_empty() && end.is_ok(), "{end:?}");
            assert_eq!(place.handler.ending().await.cause, Cause::CloseFrame);
            let tls = place.handler.opened.borrow()[0].tls.clone().unwrap();
            assert_eq!(tls.version.as_str(), version_name(version));
            // Bytes are counted without TLS: frames of 6, 8 or 14 bytes of header, and an empty Close.
            let traffic = place.handler.endings.borrow()[0].1;
            assert_eq!(traffic.bytes_received, (104_001 + 6 * 5 + 2 * 6 + 3 * 8 + 14 + 8) as u64);
        }
    });
}

fn version_name(version: &rustls::SupportedProtocolVersion) -> &'static str {
    if version.version == rustls::ProtocolVersion::TLSv1_3 { "TLSv1_3" } else { "TLSv1_2" }
}

/// RFC 9110 §9.3.2
#[test]
fn head_gets_no_body_over_tls_and_in_the_place_of_tls() {
    on_a_shard(async {
        for method in ["GET", "HEAD"] {
            let request = format!("{method} / HTTP/1.1\r\nHost: sip.example.com\r\n\r\n");
            let place = wss();
            let mut stream = secure(&place, connector(&[&rustls::version::TLS13], &["http/1.1"])).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let (over_tls, _) = read_all(&mut stream).await;
            let place = wss();
            let mut stream = place.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let (without_tls, _) = read_all(&mut stream).await;
            for answer in [over_tls, without_tls] {
                let answer = String::from_utf8(answer).unwrap();
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
                let length: usize = length.parse().unwrap();
                assert!(head.starts_with("HTTP/1.1 4") && length > 10, "{answer}");
                assert_eq!(body.len(), if method == "HEAD" { 0 } else { length }, "{answer}");
            }
        }
    });
}

const PAGE: &str = "GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_page_within_tls_is_served_on_the_connection_that_asked() {
    on_a_shard(async {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let place = wss();
            place.handler.serves_pages.set(true);
            let mut client = secure(&place, connector(&[version], &["http/1.1"])).await;
            client.write_all(PAGE.as_bytes()).await.unwrap();
            place.handler.until("asked for a page", |handler| !handler.pages.borrow().is_empty()).await;
            let request = place.handler.pages.borrow_mut().remove(0);
            assert_eq!(request.head, PAGE.as_bytes());
            let mut served = request.detach().unwrap().attach().unwrap();
            let (body, answer) = ("x".repeat(300_000), "y".repeat(300_000));
            let serving = async {
                let mut heard = vec![0; PAGE.len() + body.len()];
                served.read_exact(&mut heard).await.unwrap();
                assert!(heard.starts_with(PAGE.as_bytes()) && heard.ends_with(body.as_bytes()));
                served.write_all(answer.as_bytes()).await.unwrap();
                served.shutdown().await.unwrap();
                let mut rest = Vec::new();
                served.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, b"bye");
            };
            let asking = async {
                client.write_all(body.as_bytes()).await.unwrap();
                client.flush().await.unwrap();
                let (heard, end) = read_all(&mut client).await;
                assert!(heard == answer.as_bytes());
                // The end is no truncation: rustls would make an error of a missing close_notify.
                assert!(end.is_ok(), "{end:?}");
                client.write_all(b"bye").await.unwrap();
                client.shutdown().await.unwrap();
            };
            tokio::join!(serving, asking);
            assert!(place.handler.unopened.borrow().is_empty());
        }
    });
}

#[test]
fn records_in_single_bytes() {
    on_a_shard(async {
        let place = wss();
        let mut client = open(&place).await;
        let (_, tls) = client.stream.get_mut();
        std::io::Write::write_all(&mut tls.writer(), &text_frame("drop by drop")).unwrap();
        let mut cipher = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut cipher).unwrap();
        }
        for byte in cipher {
            client.stream.get_mut().0.write_all(&[byte]).await.unwrap();
        }
        assert_eq!(place.handler.messages(1).await, [b"drop by drop"]);
    });
}

#[test]
fn close_notify_a_bare_end_and_a_reset() {
    on_a_shard(async {
        let place = wss();
        let mut client = open(&place).await;
        client.stream.shutdown().await.unwrap();
        assert_eq!(place.handler.ending().await, Ending::of(Cause::Eof).reason("close_notify"));
        assert_eq!(client.next().await, None);

        let place = wss();
        let mut client = open(&place).await;
        client.stream.get_mut().0.shutdown().await.unwrap();
        assert_eq!(place.handler.ending().await, Ending::of(Cause::Eof).reason("without close_notify"));

        let place = wss();
        let mut client = open(&place).await;
        client.stream.get_mut().0.write_all(&[0x17, 3, 3, 0, 40, 1, 2]).await.unwrap();
        client.stream.get_mut().0.shutdown().await.unwrap();
        let ending = place.handler.ending().await;
        assert_eq!(ending.cause, Cause::Eof);
        assert_eq!(ending.reason.unwrap().as_str(), "in the middle of a message");

        let place = wss();
        let client = open(&place).await;
        client.stream.get_ref().0.set_zero_linger().unwrap();
        drop(client);
        assert_eq!(place.handler.ending().await.cause, Cause::Reset);
    });
}

#[test]
fn a_close_frame_before_close_notify_is_the_cause() {
    on_a_shard(async {
        let place = wss();
        let mut client = open(&place).await;
        client.raw(&close_frame(1001, "")).await;
        client.stream.shutdown().await.unwrap();
        drop(client);
        assert_eq!(place.handler.ending().await.cause, Cause::CloseFrame);
    });
}

#[test]
fn broken_records_are_answered_with_an_alert() {
    on_a_shard(async {
        let place = wss();
        let mut client = open(&place).await;
        client.text("before").await;
        client.stream.get_mut().0.write_all(&[&[0x17, 3, 3, 0, 32][..], &[7; 32]].concat()).await.unwrap();
        let ending = place.handler.ending().await;
        assert_eq!(ending.cause, Cause::TlsError);
        assert_eq!(place.handler.messages(1).await, [b"before"]);
        let error = read_all(&mut client.stream).await.1.unwrap_err();
        let error = error.get_ref().unwrap().downcast_ref::<rustls::Error>().unwrap().clone();
        assert_eq!(error, rustls::Error::AlertReceived(AlertDescription::BadRecordMac));
    });
}

#[test]
fn a_fatal_alert_is_an_error_of_tls() {
    on_a_shard(async {
        let place = wss();
        let mut client = open(&place).await;
        let (stream, tls) = client.stream.get_mut();
        // What cannot be decrypted makes the client fail, and say so.
        tls.read_tls(&mut &[&[0x17, 3, 3, 0, 32][..], &[7; 32]].concat()[..]).unwrap();
        tls.process_new_packets().unwrap_err();
        let mut alert = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut alert).unwrap();
        }
        stream.write_all(&alert).await.unwrap();
        let ending = place.handler.ending().await;
        assert_eq!(ending.cause, Cause::TlsError);
        assert!(ending.reason.unwrap().as_str().contains("BadRecordMac"));
    });
}

#[test]
fn a_handshake_that_fails_is_answered_with_an_alert() {
    on_a_shard(async {
        let place = wss();
        let connecting = connector(&[&rustls::version::TLS13], &["h2"]);
        let stream = place.connect().await;
        let error = connecting.connect("localhost".try_into().unwrap(), stream).await.unwrap_err();
        let error =
            error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>().cloned()).ok_or(error);
        assert_eq!(error.unwrap(), rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol));
        place.handler.unopened(UnopenedCause::TlsFailed).await;

        let place = wss();
        let mut stream = place.connect().await;
        stream.write_all(&[0x15; 4000]).await.unwrap();
        let (answer, end) = read_all(&mut stream).await;
        assert!(answer.starts_with(&[0x15, 3]) && end.is_ok(), "{answer:?} {end:?}");
        place.handler.unopened(UnopenedCause::NotTls).await;
    });
}

#[test]
fn http_without_tls_is_told_in_words() {
    on_a_shard(async {
        let place = wss();
        let mut stream = place.connect().await;
        stream.write_all(upgrade(PLAIN).as_bytes()).await.unwrap();
        let (answer, end) = read_all(&mut stream).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 ") && body.contains("wss://"), "{answer}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{answer}");
        assert!(end.is_ok());
        place.handler.unopened(UnopenedCause::TlsFailed).await;
    });
}

#[test]
fn a_page_asked_for_over_tls_is_refused_in_words() {
    on_a_shard(async {
        let place = wss();
        let mut stream = secure(&place, connector(&[&rustls::version::TLS13], &["http/1.1"])).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let (answer, end) = read_all(&mut stream).await;
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
        assert!(end.is_ok(), "without close_notify: {end:?}");
    });
}

#[test]
fn a_message_and_close_notify_in_one_segment() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Tls, |_| ());
        let mut stream = secure(&place, connector(&[&rustls::version::TLS13], &["sip"])).await;
        let message = "OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";
        let (socket, tls) = stream.get_mut();
        std::io::Write::write_all(&mut tls.writer(), message.as_bytes()).unwrap();
        tls.send_close_notify();
        let mut cipher = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut cipher).unwrap();
        }
        socket.write_all(&cipher).await.unwrap();
        // The socket stays open: only close_notify says that this was all.
        assert_eq!(place.handler.messages(1).await, [message.as_bytes()]);
        assert_eq!(place.handler.ending().await.cause, Cause::Eof);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
    });
}
