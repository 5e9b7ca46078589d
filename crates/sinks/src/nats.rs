//! Events to a stream of NATS JetStream: one message each, which is a CloudEvent in structured mode.
//!
//! Many messages are under way at a time, and still none is ever stored behind a later one: each says which
//! sequence it expects the stream to have reached (`Nats-Expected-Last-Sequence`), so when one is refused or
//! lost on its way, all that come after it are refused too. That asks for a stream that nobody else writes
//! to, so every node has its own. With the id of the last message read back, it also keeps repeats out
//! however old they are; the server's duplicate window (`Nats-Msg-Id`) forgets after some minutes.
//!
//! JetStream acknowledges before it syncs to its disk. So whenever we connect we read back the last message,
//! and go back to there.

mod answer;
mod login;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_nats::{Client, HeaderMap, HeaderValue, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use ledger::Position;
use lifecycle::{EventId, Node};
use tokio::sync::Notify;

use crate::destination::Destination;
use answer::{NatsAnswer, passing};
use delivery::{BatchLimit, Failure, FailureKind, Outgoing};

/// As many messages are under way at a time.
const APPETITE: BatchLimit = BatchLimit { events: 512, bytes: 1 << 20 };

const STRUCTURED: &str = "application/cloudevents+json";

pub(crate) struct NatsSink {
    settings: config::Nats,
    node: Node,
    /// The stream's name.
    name: String,
    /// What our subjects begin with, without a dot at the end.
    subject: String,
    link: Option<Link>,
    /// The stream's sequence of what was acknowledged last, since the start.
    reached: u64,
}

/// A connection, and what the stream was found to hold when it was made.
struct Link {
    client: Client,
    stream: Stream,
    inbox: String,
    acks: Subscriber,
    /// Messages sent; each is answered under its number.
    sent: u64,
    /// The stream's first sequence when we looked.
    first: u64,
    /// The stream's last sequence.
    last: u64,
    held: Position,
    gone: Arc<Notify>,
}

/// What the stream holds.
struct StoredEvent {
    /// Its last event of ours.
    last: Position,
    /// Where to go on.
    go_on: Position,
}

impl NatsSink {
    pub(crate) fn new(settings: config::Nats, node: Node) -> Self {
        let name = match &settings.stream {
            Some(name) => name.as_str().to_owned(),
            None => format!("SIPWAY_{node}"),
        };
        let subject = format!("{}.{node}", settings.subject.as_str());
        Self { settings, node, name, subject, link: None, reached: 0 }
    }

    /// What it is, for people.
    pub(crate) fn shown(&self) -> String {
        let servers: Vec<String> = self.settings.servers.iter().map(ToString::to_string).collect();
        format!("nats {} {}", servers.join(","), self.name)
    }

    /// What the stream holds, and from where to go on after `from`.
    async fn read_back(&self, stream: &Stream, from: Position) -> Result<StoredEvent, Failure> {
        let info = stream.cached_info();
        let (last, lowest) = (info.state.last_sequence, info.state.first_sequence.max(1));
        let nothing = StoredEvent { last: Position::START, go_on: Position::START };
        if last == 0 {
            return Ok(nothing);
        }
        let mut sequence = last;
        // A purge leaves the first sequence behind the last.
        while sequence > 0 {
            if sequence >= lowest
                && let Some(message) = message(stream, sequence).await?
            {
                let event = self.event_in(&message)?;
                return Ok(StoredEvent { last: event, go_on: from.min(event) });
            }
            if !stream::keeps_everything(&info.config) {
                // It was read, or its time was over; unless the stream is further back than it was.
                let go_on = if last < self.reached { Position::START } else { from };
                return Ok(StoredEvent { last: go_on, go_on });
            }
            // Somebody took it away, or the server lost it. What is before it?
            sequence = if sequence > lowest { sequence - 1 } else { 0 };
        }
        Ok(nothing)
    }

    /// Which event a message is.
    fn event_in(&self, message: &StreamMessage) -> Result<Position, Failure> {
        let id =
            message.headers.get(async_nats::header::NATS_MESSAGE_ID).map(|id| EventId::parse(id.as_str()));
        match id {
            Some(Ok((node, id))) if node == self.node => Ok(Position::new(id.incarnation, id.sequence)),
            _ => Err(self.foreign(&message.subject)),
        }
    }

    fn foreign(&self, subject: &str) -> Failure {
        Failure::new(
            FailureKind::Transient,
            format!(
                "stream {} holds a message that is none of this node ({subject}): somebody else writes to it. Give each \
                 node a stream of its own with `stream`",
                self.name
            ),
        )
    }

    /// Sees to it that this event, whose place in the stream is passed, is there as it is.
    async fn compare(&self, link: &Link, event: &Outgoing) -> Result<(), Failure> {
        let (mut low, mut high) = (link.first, link.last);
        while low <= high {
            let middle = low + (high - low) / 2;
            // Nothing there: a consumer removed it.
            let Some(message) = message(&link.stream, middle).await? else { return Ok(()) };
            let there = self.event_in(&message)?;
            match there.cmp(&event.position) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle.saturating_sub(1),
                std::cmp::Ordering::Equal if message.payload == event.json.as_bytes() => return Ok(()),
                std::cmp::Ordering::Equal => {
                    return Err(Failure::new(
                        FailureKind::Transient,
                        format!(
                            "stream {} holds another event as {}. Was the ledger of this node begun anew? Set another \
                             `stream`",
                            self.name, event.id
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    fn headers(&self, event: &Outgoing, expected: u64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, event.id.as_str());
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(expected));
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, self.name.as_str());
        headers.insert("content-type", STRUCTURED);
        headers
    }

    async fn publish(&self, link: &mut Link, events: &[Outgoing]) -> Result<(), Failure> {
        let first = link.sent;
        let mut stopped = None;
        for event in events {
            let headers = self.headers(event, link.last + (link.sent - first));
            let subject = format!("{}.{}", self.subject, event.kind.as_str());
            let reply = format!("{}.{}", link.inbox, link.sent);
            let payload = Bytes::from(event.json.clone());
            if let Err(error) =
                link.client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            {
                stopped = Some(answer::not_sent(&error));
                break;
            }
            link.sent += 1;
        }
        let mut acknowledged = 0;
        while first + acknowledged < link.sent {
            let failed = match link.answer(self.settings.timeout).await {
                Err(failure) => Some(failure),
                // An answer to what was given up.
                Ok((number, _)) if number < first => continue,
                Ok((number, _)) if number != first + acknowledged => Some(Failure::new(
                    FailureKind::Transient,
                    "a message was not acknowledged, but one behind it was answered",
                )),
                Ok((_, said)) => said.failure(link.last + 1, &self.name),
            };
            if let Some(failure) = failed {
                return Err(Failure { acknowledged: usize::try_from(acknowledged).unwrap_or(0), ..failure });
            }
            acknowledged += 1;
            link.last += 1;
        }
        match stopped {
            None => Ok(()),
            Some(failure) => {
                Err(Failure { acknowledged: usize::try_from(acknowledged).unwrap_or(0), ..failure })
            }
        }
    }
}

/// The message of this sequence, if it is there.
async fn message(stream: &Stream, sequence: u64) -> Result<Option<StreamMessage>, Failure> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(passing("cannot read back from the stream", &error)),
    }
}

impl Link {
    /// The next answer, and to which message.
    async fn answer(&mut self, patience: Duration) -> Result<(u64, NatsAnswer), Failure> {
        let lost = || Failure::new(FailureKind::Transient, "the connection was lost");
        let message: Message = tokio::select! {
            biased;
            message = self.acks.next() => message.ok_or_else(lost)?,
            () = self.gone.notified() => return Err(lost()),
            () = tokio::time::sleep(patience) => {
                return Err(Failure::new(FailureKind::Transient, format!("no acknowledgement within {patience:?}")));
            }
        };
        let number = message.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
        match number {
            Some(number) => Ok((number, NatsAnswer::of(&message))),
            None => Err(Failure::new(FailureKind::Transient, "an acknowledgement of nothing we sent")),
        }
    }
}

impl Destination for NatsSink {
    fn batch_limit(&self) -> BatchLimit {
        APPETITE
    }

    async fn prepare(&mut self, from: Position) -> Result<Position, Failure> {
        // The client would connect again by itself, and send what is old; so there is a new one each time.
        self.link = None;
        let gone = Arc::new(Notify::new());
        let client = login::connect(&self.settings, &self.node, Arc::clone(&gone)).await?;
        let context = ContextBuilder::new().timeout(self.settings.timeout).build(client.clone());
        let stream = stream::find(&context, &self.name, &self.subject).await?;
        let StoredEvent { last: held, go_on } = self.read_back(&stream, from).await?;
        let inbox = client.new_inbox();
        let acks = client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| passing("cannot listen for acknowledgements", &error))?;
        let state = &stream.cached_info().state;
        let (first, last) = (state.first_sequence, state.last_sequence);
        self.link = Some(Link { client, stream, inbox, acks, sent: 0, first, last, held, gone });
        Ok(go_on)
    }

    async fn deliver(&mut self, events: &[Outgoing]) -> Result<usize, Failure> {
        let Some(mut link) = self.link.take() else {
            return Err(Failure::new(FailureKind::Transient, "there is no connection"));
        };
        let (repeated, new) = events.split_at(events.partition_point(|event| event.position <= link.held));
        if let Some(first) = repeated.first() {
            self.compare(&link, first).await?;
        }
        let published = self.publish(&mut link, new).await;
        self.reached = link.last;
        let failure = match published {
            Ok(()) => {
                self.link = Some(link);
                return Ok(events.len());
            }
            Err(failure) => failure,
        };
        if failure.nature == FailureKind::Refused {
            self.link = Some(link);
        }
        Err(Failure { acknowledged: repeated.len() + failure.acknowledged, ..failure })
    }

    async fn settle(&mut self, _: Position) -> Result<(), Failure> {
        Ok(())
    }

    async fn broken(&mut self) -> Failure {
        match &self.link {
            None => std::future::pending().await,
            Some(link) => {
                link.gone.notified().await;
                Failure::new(FailureKind::Transient, "the connection was lost")
            }
        }
    }
}
