//! Events to an HTTP server: CloudEvents in the body, signed as Standard Webhooks says.

mod answer;
mod client;
mod lanes;
mod signature;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use config::{Delivery, Scheme};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use ledger::Position;
use tokio::task::JoinSet;

use crate::destination::Destination;
use answer::{Verdict, verdict};
use client::{Client, Exchange};
use delivery::{BatchLimit, Failure, FailureKind, Outgoing};
use lanes::Lanes;
use signature::Signer;
use tls_settings::trust::Roots;

const SINGLE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const AGENT: &str = concat!("sipway/", env!("CARGO_PKG_VERSION"));

/// A request takes no further event once so many bytes are in it.
const REQUEST_BYTES: usize = 1 << 20;

/// Requests' worth of events that are looked at for each that may be under way, so that a flow whose events
/// wait for each other does not keep the others from theirs.
const DEPTH: usize = 4;

/// An HTTP server. Events of one flow or address-of-record follow each other; up to `concurrency` requests of
/// others are under way beside them, on tasks of their own, so that they go on while a failed one waits.
pub(crate) struct WebhookSink {
    sender: Arc<Sender>,
    roots: Roots,
    per_request: BatchLimit,
    concurrency: usize,
    client: Option<Client>,
    lanes: Lanes,
    under_way: JoinSet<Answered>,
}

/// What a request was answered, and the events in it.
struct Answered {
    events: Vec<Position>,
    outcome: Result<(), Failure>,
    /// Whether the connection failed.
    broken: bool,
}

/// Makes requests and judges their answers.
struct Sender {
    uri: String,
    signer: Signer,
    delivery: Delivery,
    timeout: Duration,
}

impl WebhookSink {
    pub(crate) fn new(webhook: &config::Webhook) -> Self {
        let events = match webhook.delivery {
            Delivery::Single => 1,
            Delivery::Batched { max } => usize::try_from(max).unwrap_or(usize::MAX).max(1),
        };
        let keys = std::iter::once(&webhook.secret).chain(&webhook.previous_secret);
        Self {
            sender: Arc::new(Sender {
                uri: webhook.url.to_string(),
                signer: Signer::new(keys.map(config::WebhookSecret::expose)),
                delivery: webhook.delivery,
                timeout: webhook.timeout,
            }),
            roots: match webhook.url.scheme {
                Scheme::Http => Roots::Nobody,
                Scheme::Https => Roots::System,
            },
            per_request: BatchLimit { events, bytes: REQUEST_BYTES },
            concurrency: usize::try_from(webhook.concurrency).unwrap_or(1).max(1),
            client: None,
            lanes: Lanes::default(),
            under_way: JoinSet::new(),
        }
    }

    fn client(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = Client::new(self.roots.clone(), self.concurrency)
            .map_err(|text| Failure::new(FailureKind::Transient, text))?;
        Ok(self.client.insert(client).clone())
    }

    /// Begins as many requests as may be under way.
    fn begin(&mut self, events: &[Outgoing]) -> Result<(), Failure> {
        while self.under_way.len() < self.concurrency {
            let client = self.client()?;
            let chosen = self.lanes.next(events.len(), self.per_request);
            if chosen.is_empty() {
                break;
            }
            let chosen: Vec<&Outgoing> = chosen.into_iter().filter_map(|index| events.get(index)).collect();
            let request = match self.sender.request(&chosen) {
                Ok(request) => request,
                Err(failure) => {
                    self.forget();
                    return Err(failure);
                }
            };
            let (sender, events) =
                (Arc::clone(&self.sender), chosen.iter().map(|event| event.position).collect());
            self.under_way.spawn(async move { sender.exchange(client, request, events).await });
        }
        Ok(())
    }

    /// Nothing of what was begun is known any more.
    fn forget(&mut self) {
        self.under_way = JoinSet::new();
        self.lanes = Lanes::default();
    }
}

impl Sender {
    fn request(&self, events: &[&Outgoing]) -> Result<Request<client::Body>, Failure> {
        let (first, last) = match events {
            [one] => (one, one),
            [first, .., last] => (first, last),
            [] => return Err(Failure::new(FailureKind::Transient, "nothing to send")),
        };
        let (id, body, content) = match self.delivery {
            Delivery::Single => (first.id.clone(), first.json.clone(), SINGLE),
            Delivery::Batched { .. } => (format!("{}..{}", first.id, last.id), array(events), BATCH),
        };
        let timestamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Request::post(&self.uri)
            .header(CONTENT_TYPE, content)
            .header(USER_AGENT, AGENT)
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.signer.sign(&id, timestamp, body.as_bytes()))
            .body(client::Body::new(Bytes::from(body)))
            .map_err(|error| Failure::new(FailureKind::Transient, format!("cannot make a request: {error}")))
    }

    async fn exchange(
        &self,
        client: Client,
        request: Request<client::Body>,
        events: Vec<Position>,
    ) -> Answered {
        let (outcome, broken) = match client.exchange(request, self.timeout).await {
            Exchange::Answered(answer) => (self.judge(&answer, events.len()), false),
            Exchange::Broken(text) => (Err(Failure::new(FailureKind::Transient, text)), true),
            Exchange::Late => {
                let text = format!("no answer within {:?}", self.timeout);
                (Err(Failure::new(FailureKind::Transient, text)), false)
            }
        };
        Answered { events, outcome, broken }
    }

    fn judge(&self, answer: &client::Answer, events: usize) -> Result<(), Failure> {
        let nature = match verdict(answer.status) {
            Verdict::Accepted => return Ok(()),
            Verdict::Later => FailureKind::Transient,
            Verdict::Refused => FailureKind::Refused,
            Verdict::Unwelcome => FailureKind::Misconfigured,
        };
        let retry_after = answer::wish(answer, SystemTime::now());
        // Of several events any may be at fault.
        let concerned = (events == 1).then_some(1);
        Err(Failure { retry_after, concerned, ..Failure::new(nature, answer::describe(answer)) })
    }
}

/// The events as one JSON array.
fn array(events: &[&Outgoing]) -> String {
    let mut out = String::with_capacity(events.iter().map(|event| event.json.len() + 1).sum::<usize>() + 2);
    out.push('[');
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&event.json);
    }
    out.push(']');
    out
}

impl Destination for WebhookSink {
    const RESUMES: bool = true;

    fn batch_limit(&self) -> BatchLimit {
        let requests = if self.concurrency == 1 { 1 } else { self.concurrency * DEPTH };
        let BatchLimit { events, bytes } = self.per_request;
        BatchLimit { events: events.saturating_mul(requests), bytes: bytes.saturating_mul(requests) }
    }

    async fn prepare(&mut self, from: Position) -> Result<Position, Failure> {
        self.client()?;
        Ok(from)
    }

    async fn deliver(&mut self, events: &[Outgoing]) -> Result<usize, Failure> {
        self.lanes.see(events);
        loop {
            let done = self.lanes.take_done(events.len());
            if done > 0 {
                return Ok(done);
            }
            if let Some(failure) = self.lanes.take_failure() {
                return Err(failure);
            }
            self.begin(events)?;
            match self.under_way.join_next().await {
                Some(Ok(answered)) => {
                    if answered.broken {
                        // The certificates of the system may have been mended meanwhile.
                        self.client = None;
                    }
                    self.lanes.answered(&answered.events, &answered.outcome);
                }
                Some(Err(_)) | None => {
                    self.forget();
                    return Err(Failure::new(FailureKind::Transient, "an internal error ended a request"));
                }
            }
        }
    }

    async fn settle(&mut self, _to: Position) -> Result<(), Failure> {
        Ok(())
    }
}
