//! `kind = "webhook"`: an HTTP server, as Standard Webhooks says.

use std::time::Duration;

use super::TIMEOUT;
use crate::document::{Reading, Section};
use crate::secret::WebhookSecret;
use crate::url::{Scheme, WebhookUrl, in_the_clear};
use crate::value::Keyword;

pub(super) const KEYS: &[&str] = &[
    "url",
    "secret_env",
    "secret_file",
    "previous_secret_env",
    "previous_secret_file",
    "mode",
    "batch_max",
    "timeout",
    "concurrency",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Single,
    Batched,
}

impl Keyword for Mode {
    const CHOICES: &'static [(&'static str, Self)] = &[("single", Self::Single), ("batched", Self::Batched)];
}

/// An HTTP server that takes events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where events are posted.
    pub url: WebhookUrl,
    /// What they are signed with.
    pub secret: WebhookSecret,
    /// What they are signed with as well, while receivers change from this secret to the other.
    pub previous_secret: Option<WebhookSecret>,
    /// Requests under way at once, 1 to 256. Those of one flow or one address-of-record follow each other.
    pub concurrency: u32,
    /// How many go into one request.
    pub delivery: Delivery,
    /// How long one request may take: 10 ms to 5 min.
    pub timeout: Duration,
}

/// How many events go into one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// One: a CloudEvent in structured mode.
    Single,
    /// As many as wait, in CloudEvents batch mode.
    Batched {
        /// The most in one request: 1 to 10,000.
        max: u32,
    },
}

impl Webhook {
    pub(super) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Self> {
        let url = section.required::<WebhookUrl>(reading, "url", "\"https://crm.example.com/sip-events\"");
        if let Some(at) = &url
            && at.value.scheme == Scheme::Http
            && !at.value.host.is_loopback()
        {
            reading.warning(in_the_clear(at.span.clone(), "use https"));
        }
        let secret = WebhookSecret::read(reading, section);
        let previous_secret = WebhookSecret::read_previous(reading, section);
        let concurrency = section.bounded::<u32>(reading, "concurrency", 1..=256).or(1);
        let mode = section.or(reading, "mode", Mode::Single);
        let batch = section.bounded::<u32>(reading, "batch_max", 1..=10_000);
        let delivery = match mode {
            Mode::Single => {
                section.not_applicable(
                    reading,
                    &["batch_max"],
                    "one event goes into one request: mode = \"single\"",
                    "remove it, or write mode = \"batched\"",
                );
                Delivery::Single
            }
            Mode::Batched => Delivery::Batched { max: batch.or(100) },
        };
        let timeout = section.duration(reading, "timeout", TIMEOUT).or(Duration::from_secs(10));
        Some(Self {
            url: url?.value,
            secret: secret?,
            previous_secret: previous_secret?,
            concurrency,
            delivery,
            timeout,
        })
    }
}
