//! `/api/events`: what happened and happens, as server-sent events with a CloudEvent each.
//!
//! Each reader reads the ledger for itself, from wherever it wants to go on. So there is no seam between what
//! is stored and what is new, and a slow reader loses nothing: it is behind.

use std::{fmt::Write as _, io, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State},
    http::{
        HeaderMap, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use ledger::{More, Position, ReadError, ReadFrom, Reader};
use lifecycle::{EventFilter, EventId, EventKind, Node, UnknownWord, cloud_event, moment};
use tokio::{sync::OwnedSemaphorePermit, task::spawn_blocking, time::timeout};

use super::{Admin, MOST_READERS, answer::Failure};

/// A silent stream says so often that it is alive.
const ALIVE: Duration = Duration::from_secs(15);

/// Bytes that are read from the ledger before the reader must have taken them.
const AT_ONCE: usize = 256 * 1024;

/// Events that are passed over before the reader hears how far it has come.
const PASSED: u64 = 4096;

/// Every event that is asked for, from behind an id, since a moment, or from now on.
pub(super) async fn stream(
    State(admin): State<Arc<Admin>>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let permit = Arc::clone(&admin.readers).try_acquire_owned().map_err(|_| {
        let error =
            format!("there are {MOST_READERS} readers of events already; end one, or try again later");
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, error)
    })?;
    let node = admin.server.node().clone();
    let EventsRequest { choice, after } = EventsRequest::read(&parameters, &headers, &node)?;
    let ledger = admin.server.ledger().clone();
    let newest = ledger.durable_position();
    if after.is_some_and(|after| after > newest) {
        return Err(not_written_yet(&node, newest));
    }
    // The first part is read before the answer: it tells whether there is such a place.
    let begun = spawn_blocking(move || {
        let from = match (after, choice.since) {
            (Some(after), _) => ReadFrom::After(after),
            (None, Some(since)) => ledger.since(since)?,
            (None, None) => ReadFrom::After(newest),
        };
        let reader = ledger.reader(from);
        let at = after.unwrap_or(newest);
        let mut following = Following { reader, node, choice, at, said: None, _permit: permit };
        let first = following.read()?;
        Ok((following, first))
    });
    let ending = |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the server is ending");
    let (following, first) = begun.await.map_err(ending)?.map_err(|error| refusal(&error, &admin))?;
    let body = stream::unfold(Some((following, first)), async |state| {
        let (following, first) = state?;
        if first.is_empty() {
            following.next().await
        } else {
            Some((Ok(first), Some((following, Bytes::new()))))
        }
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// What a request asks for.
struct EventsRequest {
    choice: EventFilter,
    after: Option<Position>,
}

impl EventsRequest {
    fn read(parameters: &[(String, String)], headers: &HeaderMap, node: &Node) -> Result<Self, Failure> {
        let wrong = |error: String| Failure::new(StatusCode::BAD_REQUEST, error);
        let mut asked = Self { choice: EventFilter::default(), after: None };
        let now = u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0);
        for (name, value) in parameters {
            let choice = &mut asked.choice;
            match name.as_str() {
                "after" => asked.after = Some(place(value, node)?),
                "type" => {
                    choice.types.push(value.parse().map_err(|error: UnknownWord| wrong(error.to_string()))?)
                }
                "flow" => choice.flow = Some(value.clone()),
                "aor" => choice.aor = Some(sip_message::address_of_record_of(value).into_owned()),
                "since" => {
                    choice.since =
                        Some(moment(value, now).map_err(|error| wrong(format!("since: {error}")))?);
                }
                _ => {
                    let error = format!("`{name}` cannot be asked for; after, since, type, flow and aor can");
                    return Err(wrong(error));
                }
            }
        }
        // An EventSource that connects again names the last one it had, and keeps its address.
        if let Some(last) = headers.get("last-event-id") {
            asked.after = Some(place(last.to_str().unwrap_or_default(), node)?);
        }
        Ok(asked)
    }
}

/// The place of an event of this node.
fn place(text: &str, node: &Node) -> Result<Position, Failure> {
    let wrong = |error: String| Failure::new(StatusCode::BAD_REQUEST, error);
    match EventId::parse(text) {
        Ok((of, id)) if of == *node => Ok(Position::new(id.incarnation, id.sequence)),
        Ok((of, _)) => Err(wrong(format!("event {text} is of node {of}; this is {node}"))),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn not_written_yet(node: &Node, newest: Position) -> Failure {
    let newest = node.event(id_of(newest));
    let error = format!("there is no such event; the newest is {newest}");
    Failure::new(StatusCode::BAD_REQUEST, error)
}

fn refusal(error: &ReadError, admin: &Admin) -> Failure {
    match error {
        ReadError::Removed { .. } => {
            let error = "what came behind this event is no longer in the ledger; take GET /api/snapshot, and go on with \
                         ?after= and the id that it has under `at`";
            Failure::new(StatusCode::GONE, error)
        }
        ReadError::Ahead { .. } => {
            not_written_yet(admin.server.node(), admin.server.ledger().durable_position())
        }
        error => Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn id_of(position: Position) -> EventId {
    EventId { incarnation: position.incarnation, sequence: position.seq }
}

/// One reader under way.
struct Following {
    reader: Reader,
    node: Node,
    choice: EventFilter,
    /// The last event that was read, wanted or not.
    at: Position,
    /// The last one that the other side was told of.
    said: Option<Position>,
    _permit: OwnedSemaphorePermit,
}

/// What is said next, and who says what follows it, with what that is if it is known already.
type Step = Option<(io::Result<Bytes>, Option<(Following, Bytes)>)>;

impl Following {
    /// What comes next, as soon as there is something to say.
    async fn next(mut self) -> Step {
        loop {
            let read = spawn_blocking(move || {
                let read = self.read();
                (self, read)
            });
            let Ok((following, read)) = read.await else { return None };
            self = following;
            match read {
                Ok(text) if !text.is_empty() => return Some((Ok(text), Some((self, Bytes::new())))),
                Ok(_) => {}
                // A client that connects again gets the instruction.
                Err(error) => return Some((Ok(format!("event: ended\ndata: {error}\n\n").into()), None)),
            }
            match timeout(ALIVE, self.reader.more()).await {
                Ok(More::Ready | More::Elapsed) => {}
                Ok(More::Closed) => return None,
                Err(_silent) => {
                    let alive = if self.said == Some(self.at) { ":\n\n".to_owned() } else { self.mark() };
                    return Some((Ok(alive.into()), Some((self, Bytes::new()))));
                }
            }
        }
    }

    /// What is there now, up to a bound; empty at the end for now. Blocks on the disk.
    fn read(&mut self) -> Result<Bytes, ReadError> {
        let mut text = String::new();
        while text.len() < AT_ONCE {
            let Some(block) = self.reader.next_block()? else { break };
            for record in block.records() {
                // A newer program wrote it.
                let Ok(kind) = EventKind::try_from(record.kind) else { continue };
                if self.choice.takes(kind, record.at, record.payload) {
                    let id = id_of(record.position);
                    let json = cloud_event(&self.node, id, kind, record.at, record.payload);
                    let _ = write!(text, "id: {}\ndata: {json}\n\n", self.node.event(id));
                    self.said = Some(record.position);
                }
            }
            self.at = block.last();
            let said = self.said.filter(|said| said.incarnation == self.at.incarnation);
            if said.is_none_or(|said| self.at.seq - said.seq >= PASSED) {
                text.push_str(&self.mark());
            }
        }
        Ok(text.into())
    }

    /// How far the stream has come, without an event: a client that connects again need not go far back.
    fn mark(&mut self) -> String {
        self.said = Some(self.at);
        format!("id: {}\n\n", self.node.event(id_of(self.at)))
    }
}
