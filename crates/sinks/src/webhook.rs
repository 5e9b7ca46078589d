//! Events to an HTTP server: CloudEvents in the body, signed as Standard Webhooks says.

mod answer;
mod client;
mod signature;

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use config::{Delivery, Scheme};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use ledger::Position;

use crate::destination::{Appetite, Destination, Failure, Nature, Outgoing};
use answer::{Verdict, verdict};
use client::{Client, Exchange, Roots};
use signature::Signer;

const SINGLE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const AGENT: &str = concat!("sipway/", env!("CARGO_PKG_VERSION"));

/// A batch is closed once it has so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// An HTTP server. One request is under way at a time, so events arrive in order; requests side by side that keep the
/// order of each flow are for later.
pub(crate) struct WebhookSink {
    uri: String,
    scheme: Scheme,
    roots: Roots,
    signer: Signer,
    delivery: Delivery,
    timeout: Duration,
    client: Option<Client>,
}

impl WebhookSink {
    pub(crate) fn new(webhook: &config::Webhook) -> Self {
        Self {
            uri: webhook.url.to_string(),
            scheme: webhook.url.scheme,
            roots: Roots::System,
            signer: Signer::new(webhook.secret.expose()),
            delivery: webhook.delivery,
            timeout: webhook.timeout,
            client: None,
        }
    }

    fn request(&self, events: &[Outgoing]) -> Result<Request<client::Body>, Failure> {
        let (first, last) = match events {
            [one] => (one, one),
            [first, .., last] => (first, last),
            [] => return Err(Failure::new(Nature::Passing, "nothing to send")),
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
            .map_err(|error| Failure::new(Nature::Passing, format!("cannot make a request: {error}")))
    }
}

/// The events as one JSON array.
fn array(events: &[Outgoing]) -> String {
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
    fn appetite(&self) -> Appetite {
        let events = match self.delivery {
            Delivery::Single => 1,
            Delivery::Batched { max } => usize::try_from(max).unwrap_or(usize::MAX).max(1),
        };
        Appetite { events, bytes: BATCH_BYTES }
    }

    async fn prepare(&mut self, from: Position) -> Result<Position, Failure> {
        if self.client.is_none() {
            let client = Client::new(self.scheme, &self.roots);
            self.client = Some(client.map_err(|text| Failure::new(Nature::Passing, text))?);
        }
        Ok(from)
    }

    async fn deliver(&mut self, events: &[Outgoing]) -> Result<(), Failure> {
        let request = self.request(events)?;
        let Some(client) = &self.client else {
            return Err(Failure::new(Nature::Passing, "the client is not ready"));
        };
        let answer = match client.exchange(request, self.timeout).await {
            Exchange::Answered(answer) => answer,
            Exchange::Broken(text) => {
                // The certificates of the system may have been mended meanwhile.
                self.client = None;
                return Err(Failure::new(Nature::Passing, text));
            }
            Exchange::Late => {
                let text = format!("no answer within {:?}", self.timeout);
                return Err(Failure::new(Nature::Passing, text));
            }
        };
        let nature = match verdict(answer.status) {
            Verdict::Accepted => return Ok(()),
            Verdict::Later => Nature::Passing,
            Verdict::Refused => Nature::Refused,
        };
        let retry_after = answer::retry_after(&answer.headers, SystemTime::now());
        Err(Failure { retry_after, ..Failure::new(nature, answer::describe(&answer)) })
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
