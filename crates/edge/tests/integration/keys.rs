//! Keys of a login that stand at a web address: fetched when the server starts, again when a token names
//! another, and kept while they cannot be had.

use std::{
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lifecycle::Transport;
use metrics::Count;
use prove::{Client, Setup};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::test_server::{PATIENCE, TestServer};

/// A key of the login.
struct Key {
    name: &'static str,
    private: EncodingKey,
    public: Value,
}

impl Key {
    fn new(name: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        let public =
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": name, "x": x});
        Self { name, private: EncodingKey::from_ed_der(&pair.serialize_der()), public }
    }

    fn token(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.name.to_owned());
        jsonwebtoken::encode(&header, &json!({"sub": "ada", "exp": now + 600}), &self.private).unwrap()
    }
}

fn set(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|key| &key.public).collect::<Vec<_>>()}).to_string()
}

/// Serves what the login says at the moment: a status and a body.
async fn login(says: Arc<Mutex<(u16, String)>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let (status, body) = says.lock().unwrap().clone();
            let answer = format!(
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

async fn is_let_in(sipway: &TestServer, key: &Key) -> bool {
    let mut target = sipway.target(Transport::Ws).domain("example.com");
    target.path = format!("/?access_token={}", key.token()).into();
    let setup = Setup { patience: PATIENCE, ..Setup::new("ada") };
    Client::connect(&target, &setup).await.is_ok()
}

async fn until(sipway: &TestServer, key: &Key, let_in: bool) {
    let begun = std::time::Instant::now();
    while is_let_in(sipway, key).await != let_in {
        assert!(begun.elapsed() < PATIENCE, "{} is not let in: {let_in}", key.name);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_while_the_server_runs_and_stay_while_they_cannot_be_had() {
    let (first, second, forged) = (Key::new("first"), Key::new("second"), Key::new("first"));
    let says = Arc::new(Mutex::new((200, set(&[&first]))));
    let port = login(Arc::clone(&says)).await;
    let sipway = TestServer::new(
        "keys",
        &format!(
            "[[domain]]\nname = \"example.com\"\nauth = \"jwt\"\nkeys_url = \"http://127.0.0.1:{port}/jwks\"\n"
        ),
    );
    until(&sipway, &first, true).await;
    assert!(!is_let_in(&sipway, &second).await && !is_let_in(&sipway, &forged).await);
    // A new key beside the old one: the first token that names it has the set fetched.
    *says.lock().unwrap() = (200, set(&[&first, &second]));
    until(&sipway, &second, true).await;
    assert!(is_let_in(&sipway, &first).await && !is_let_in(&sipway, &forged).await);
    // The login has an accident, in several ways: nothing changes.
    let too_long = format!("{}{}", set(&[]), " ".repeat(70_000));
    for trouble in [(500, set(&[&forged])), (200, set(&[])), (200, too_long)] {
        *says.lock().unwrap() = trouble;
        let before = sipway.handle.metrics().get(Count::KeysFailed);
        // A key that is not known has it asked again and again.
        let unknown = Key::new("third");
        let begun = std::time::Instant::now();
        while sipway.handle.metrics().get(Count::KeysFailed) == before {
            assert!(!is_let_in(&sipway, &unknown).await && begun.elapsed() < PATIENCE);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(is_let_in(&sipway, &first).await && is_let_in(&sipway, &second).await);
    }
    // The old key is taken back.
    *says.lock().unwrap() = (200, set(&[&second]));
    let begun = std::time::Instant::now();
    while is_let_in(&sipway, &first).await {
        assert!(begun.elapsed() < PATIENCE);
        assert!(!is_let_in(&sipway, &forged).await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(is_let_in(&sipway, &second).await);
    sipway.end().await;
}
