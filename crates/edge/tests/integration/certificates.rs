//! TLS clients that prove who they are by a certificate.

use std::sync::Arc;

use lifecycle::Transport;
use metrics::Count;
use prove::{Client, ConnectError, Setup, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore, pki_types::PrivatePkcs8KeyDer};

use crate::{
    test_server::{PATIENCE, TestServer},
    who::{ask, credentials, request},
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A client that trusts the server's authority, and shows a certificate that this one has signed for a user.
fn trust(server: &Authority, shown: Option<(&Authority, &str)>) -> Trust {
    let mut roots = RootCertStore::empty();
    roots.add(server.as_ref().der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    Trust::configured(Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some((authority, user)) => {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![SanType::URI(format!("sip:{user}").as_str().try_into().unwrap())];
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, authority).unwrap();
            let key = PrivatePkcs8KeyDer::from(key.serialize_der());
            builder.with_client_auth_cert(vec![certificate.der().clone()], key.into()).unwrap()
        }
    }))
}

async fn connect(
    sipway: &TestServer,
    transport: Transport,
    user: &str,
    trust: Trust,
) -> Result<Client, ConnectError> {
    let mut target = sipway.target(transport).domain("example.com");
    target.trust = trust;
    target.host = Some("localhost".into());
    Client::connect(&target, &Setup { patience: PATIENCE, ..Setup::new(user) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_its_user_and_nobody_else() {
    let (ours, theirs) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let server =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let listener = |transport: &str, wanted: &str| {
        format!(
            "[[listener]]\ntransport = \"{transport}\"\nbind = \"127.0.0.1:0\"\nname = \"{transport}\"\n\
             certificate = \"{{here}}/cert.pem\"\nprivate_key = \"{{here}}/key.pem\"\nclient_ca = \"{{here}}/ca.pem\"\n\
             client_certificate = \"{wanted}\"\n"
        )
    };
    let config = format!(
        "{}{}[[domain]]\nname = \"example.com\"\nauth = \"certificate\"\n\
         [[domain]]\nname = \"example.org\"\nusers = \"{{here}}/users.txt\"\n",
        listener("wss", "optional"),
        listener("tls", "required")
    );
    let files = [
        ("cert.pem", server.pem()),
        ("key.pem", key.serialize_pem()),
        ("ca.pem", ours.as_ref().pem()),
        ("users.txt", "carol:singer\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, content)| (*name, content.as_str())).collect();
    let sipway = TestServer::with_files("certificates", &config, &files);
    for transport in [Transport::Wss, Transport::Tls] {
        let shown = trust(&ours, Some((&ours, "ada@example.com")));
        let mut ada = connect(&sipway, transport, "ada", shown).await.unwrap();
        assert_eq!(ada.register(600).await.unwrap().status, 200, "{transport:?}");
        assert_eq!(ada.message("sip:nobody@example.com", b"").await.unwrap().status, 480);
        let (uri, bob) = ("sip:example.com", "<sip:bob@example.com>");
        let answer = ask(&mut ada, &request("REGISTER", uri, bob, bob, "")).await;
        assert!(answer.starts_with("SIP/2.0 403 "), "{answer}");
        let answer = ask(&mut ada, &request("MESSAGE", "sip:x@example.com", bob, bob, "")).await;
        assert!(answer.starts_with("SIP/2.0 403 "), "{answer}");
        // Somebody with a password may use her connection, which stays hers.
        let (uri, carol) = ("sip:example.org", "<sip:carol@example.org>");
        let asked = ask(&mut ada, &request("REGISTER", uri, carol, carol, "")).await;
        let proof = credentials(&asked, "REGISTER", uri, "carol", "singer", 1);
        let answer = ask(&mut ada, &request("REGISTER", uri, carol, carol, &proof)).await;
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert_eq!(ada.register(600).await.unwrap().status, 200, "{transport:?}");
        assert_eq!(ada.message("sip:nobody@example.com", b"").await.unwrap().status, 480);
        // A good certificate of a user of nowhere here.
        let shown = trust(&ours, Some((&ours, "ada@example.net")));
        let mut admission = connect(&sipway, transport, "ada", shown).await.unwrap();
        assert_eq!(admission.register(600).await.unwrap().status, 403, "{transport:?}");
        // Of another authority.
        let shown = trust(&ours, Some((&theirs, "ada@example.com")));
        let unauthenticated = connect(&sipway, transport, "ada", shown).await;
        let let_in = match unauthenticated {
            Ok(mut unauthenticated) => unauthenticated.register(600).await.is_ok(),
            Err(_) => false,
        };
        assert!(!let_in, "{transport:?}");
        // Without any.
        let nobody = connect(&sipway, transport, "ada", trust(&ours, None)).await;
        let answer = match nobody {
            Ok(mut nobody) => nobody.register(600).await.ok().map(|answer| answer.status),
            Err(_) => None,
        };
        assert_eq!(answer, (transport == Transport::Wss).then_some(403));
    }
    let metrics = sipway.handle.metrics();
    assert_eq!(metrics.get(Count::CertificatesAccepted), 2);
    assert_eq!(metrics.get(Count::CertificatesOfNobody), 2);
    sipway.end().await;
}
