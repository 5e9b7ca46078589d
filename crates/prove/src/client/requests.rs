//! The requests a client sends, and waiting for what becomes of them.

use std::io;

use sip_auth::{Challenge, answer};
use sip_message::{HeaderId, Message};
use tokio::time::{Instant, timeout_at};

use super::{Client, Incoming, Response};
use crate::persona::Draft;
use crate::{Ended, Persona, RequestError};

/// One request that was sent; its responses carry the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction(u64);

impl Transaction {
    /// Reads a branch that this crate made.
    pub(super) fn of_branch(branch: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(branch.strip_prefix(b"z9hG4bK")?).ok()?;
        if digits.len() == 16 { u64::from_str_radix(digits, 16).ok().map(Self) } else { None }
    }
}

/// A challenge that was met before, and how often its nonce was used.
#[derive(Debug)]
pub(super) struct Credentials {
    challenge: Challenge,
    status: u16,
    uses: u32,
}

/// What to ask for, before it is stamped with names and numbers.
#[derive(Clone, Copy, Debug)]
struct RequestDraft<'a> {
    method: &'a str,
    uri: &'a str,
    to: &'a str,
    to_tag: Option<&'a str>,
    call_id: u64,
    headers: &'a str,
    content_type: &'a str,
    body: &'a [u8],
}

impl Client {
    /// Registers for so many seconds; 0 removes the binding. Answers one challenge.
    ///
    /// # Errors
    /// No final response came. A refusal is a response, too.
    pub async fn register(&mut self, expires: u32) -> Result<Response, RequestError> {
        let (headers, to, uri) = self.registration(expires);
        let call_id = self.me.registration;
        self.ask(RequestDraft {
            method: "REGISTER",
            uri: &uri,
            to: &to,
            to_tag: None,
            call_id,
            headers: &headers,
            content_type: "",
            body: b"",
        })
        .await
    }

    /// Sends a REGISTER for so many seconds (0 removes the binding), and does not wait for what becomes of
    /// it.
    ///
    /// # Errors
    /// The connection is over.
    pub fn start_register(&mut self, expires: u32) -> io::Result<Transaction> {
        let (headers, to, uri) = self.registration(expires);
        let call_id = self.me.registration;
        let wish = RequestDraft {
            method: "REGISTER",
            uri: &uri,
            to: &to,
            to_tag: None,
            call_id,
            headers: &headers,
            content_type: "",
            body: b"",
        };
        let credentials = self.known_credentials(&wish);
        self.start(&wish, &credentials)
    }

    /// Sends a MESSAGE and waits for its final response. `to` is a SIP URI.
    ///
    /// # Errors
    /// No final response came.
    pub async fn message(&mut self, to: &str, body: &[u8]) -> Result<Response, RequestError> {
        let wish = RequestDraft {
            method: "MESSAGE",
            uri: to,
            to,
            to_tag: None,
            call_id: rand::random(),
            headers: "",
            content_type: "text/plain",
            body,
        };
        self.ask(wish).await
    }

    /// Sends a MESSAGE and does not wait: the response comes by [`next`](Client::next).
    ///
    /// # Errors
    /// The connection is over.
    pub fn start_message(&mut self, to: &str, body: &[u8]) -> io::Result<Transaction> {
        let wish = RequestDraft {
            method: "MESSAGE",
            uri: to,
            to,
            to_tag: None,
            call_id: rand::random(),
            headers: "",
            content_type: "text/plain",
            body,
        };
        self.start(&wish, "")
    }

    /// Sends OPTIONS and waits for the final response.
    ///
    /// # Errors
    /// No final response came.
    pub async fn options(&mut self, uri: &str) -> Result<Response, RequestError> {
        let wish = RequestDraft {
            method: "OPTIONS",
            uri,
            to: uri,
            to_tag: None,
            call_id: rand::random(),
            headers: "Accept: application/sdp\r\n",
            content_type: "",
            body: b"",
        };
        self.ask(wish).await
    }

    /// Sends a BYE as if a call with this user were up, and does not wait for what becomes of it. `call`
    /// becomes the Call-ID, 16 hexadecimal digits.
    ///
    /// # Errors
    /// The connection is over.
    pub fn start_bye(&mut self, to: &str, call: u64) -> io::Result<Transaction> {
        let wish = RequestDraft {
            method: "BYE",
            uri: to,
            to,
            to_tag: Some("proving"),
            call_id: call,
            headers: "",
            content_type: "",
            body: b"",
        };
        self.start(&wish, "")
    }

    /// What the next registration's request is made of: its lines, To and Request-URI.
    fn registration(&self, expires: u32) -> (String, String, String) {
        let to = self.me.address_of_record();
        (self.me.registration_lines(expires), to, format!("sip:{}", self.me.domain))
    }

    fn start(&mut self, wish: &RequestDraft<'_>, credentials: &str) -> io::Result<Transaction> {
        self.me.cseq += 1;
        let branch = rand::random();
        let headers = format!("{}{credentials}", wish.headers);
        let RequestDraft { method, uri, to, to_tag, call_id, content_type, body, .. } = *wish;
        let cseq = self.me.cseq;
        let draft =
            Draft { method, uri, to, to_tag, call_id, cseq, branch, headers: &headers, content_type, body };
        let mut bytes = Vec::new();
        self.me.write(&draft, &mut bytes);
        self.send(&bytes)?;
        Ok(Transaction(branch))
    }

    async fn ask(&mut self, wish: RequestDraft<'_>) -> Result<Response, RequestError> {
        let deadline = Instant::now() + self.patience;
        let mut credentials = self.known_credentials(&wish);
        loop {
            let offered = !credentials.is_empty();
            let transaction = match self.start(&wish, &credentials) {
                Ok(transaction) => transaction,
                Err(error) => return Err(self.how_it_ended(&error).await.into()),
            };
            let waiting = self.final_response(transaction);
            let response = timeout_at(deadline, waiting).await.map_err(|_| RequestError::TimedOut)??;
            if !matches!(response.status, 401 | 407) {
                return Ok(response);
            }
            let stale = self.remember(&response)?;
            if self.me.password.is_none() || (offered && stale == sip_auth::Stale::No) {
                return Err(RequestError::Unauthorized);
            }
            credentials = self.credentials(&wish);
        }
    }

    /// A write failed: reading tells how the connection ended.
    async fn how_it_ended(&mut self, error: &io::Error) -> Ended {
        let patience = std::time::Duration::from_secs(1);
        self.serve_for(patience).await.unwrap_or_else(|| Ended::of(error))
    }

    /// Waits for the final response to one request; what else comes stays for [`next`](Client::next).
    pub(crate) async fn final_response(&mut self, transaction: Transaction) -> Result<Response, Ended> {
        let ours = |incoming: &Incoming| {
            matches!(incoming, Incoming::Response(Response { status: 200.., transaction: Some(of), .. })
                if *of == transaction)
        };
        loop {
            if let Some(at) = self.waiting.iter().position(ours)
                && let Some(Incoming::Response(response)) = self.waiting.remove(at)
            {
                return Ok(response);
            }
            self.step().await?;
        }
    }

    fn remember(&mut self, response: &Response) -> Result<sip_auth::Stale, RequestError> {
        let Ok(message) = Message::parse(&response.bytes) else { return Err(RequestError::Unauthorized) };
        let id = if response.status == 401 { HeaderId::WwwAuthenticate } else { HeaderId::ProxyAuthenticate };
        let mut refused = None;
        // RFC 8760 §2.4: the first challenge that can be answered.
        for header in message.all(id) {
            match Challenge::parse(header.value) {
                Ok(challenge) => {
                    let stale = challenge.stale;
                    self.credentials =
                        Some(Box::new(Credentials { challenge, status: response.status, uses: 0 }));
                    return Ok(stale);
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.map_or(RequestError::Unauthorized, RequestError::Challenge))
    }

    /// Credentials from an earlier challenge, for those who use a nonce again.
    fn known_credentials(&mut self, wish: &RequestDraft<'_>) -> String {
        let again = self.me.persona == Persona::SipJs || wish.headers.contains(";expires=0");
        if again { self.credentials(wish) } else { String::new() }
    }

    fn credentials(&mut self, wish: &RequestDraft<'_>) -> String {
        let (Some(known), Some(password)) = (&mut self.credentials, &self.me.password) else {
            return String::new();
        };
        known.uses += 1;
        let cnonce = format!("{:016x}", rand::random::<u64>());
        let value =
            answer(&known.challenge, wish.method, wish.uri, &self.me.user, password, &cnonce, known.uses);
        let name = if known.status == 401 { "Authorization" } else { "Proxy-Authorization" };
        format!("{name}: {value}\r\n")
    }
}
