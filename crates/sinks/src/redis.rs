//! Events to a stream of Redis: one entry each, under an id of our own, so that a repeat is refused.
//!
//! An event's entry has the id `<incarnation>-<sequence>`. Redis takes only ids that are greater than all
//! before, so an event can be in the stream once at most, and never behind a later one. A delivery is one
//! transaction: if Redis took some of it and not what comes before, the rest could never be added any more.
//!
//! Redis forgets: what it acknowledged may be gone after a restart (`appendfsync everysec`, or no
//! persistence), a failover or a flush. So whenever we connect we ask for the last id it has given out, and
//! go back to there.

mod answer;
mod repeat;

use config::{RedisScheme, RedisUrl};
use ledger::Position;
use lifecycle::{EventId, Node};
use redis::aio::MultiplexedConnection;
use redis::streams::StreamInfoStreamReply;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, Pipeline, RedisResult, TlsCertificates, Value,
};

use crate::destination::Destination;
use answer::failure;
use delivery::{BatchLimit, Failure, FailureKind, Outgoing};
use repeat::{Entry, Repeat};

/// A transaction holds up everybody else of that server: a few milliseconds at most.
const APPETITE: BatchLimit = BatchLimit { events: 512, bytes: 1 << 20 };

/// How often the server is asked whether it is there, while there is nothing to deliver.
const LOOK_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

pub(crate) struct RedisSink {
    settings: config::Redis,
    node: Node,
    key: String,
    link: Option<Link>,
}

/// A connection, and what the stream was found to hold when it was made.
struct Link {
    connection: MultiplexedConnection,
    held: Position,
}

impl RedisSink {
    pub(crate) fn new(settings: config::Redis, node: Node) -> Self {
        let key = settings.key.clone().unwrap_or_else(|| format!("sipway:events:{node}"));
        Self { settings, node, key, link: None }
    }

    /// What it is, for people.
    pub(crate) fn shown(&self) -> String {
        let RedisUrl { host, port, database, .. } = &self.settings.url;
        format!("redis {host}:{port}/{database} {}", self.key)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let url = &self.settings.url;
        let unusable = |error| failure("cannot use its address", &error);
        let info = url.to_string().into_connection_info().map_err(unusable)?;
        let mut login = info.redis_settings().clone();
        if let Some(user) = &self.settings.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.settings.password {
            login = login.set_password(password.expose());
        }
        let info = info.set_redis_settings(login);
        let client = match url.scheme {
            RedisScheme::Redis => Client::open(info),
            RedisScheme::Rediss => {
                let root_cert = match &self.settings.ca_file {
                    None => None,
                    Some(file) => Some(std::fs::read(file).map_err(|error| {
                        Failure::new(
                            FailureKind::Transient,
                            format!("cannot read {}: {error}", file.display()),
                        )
                    })?),
                };
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
        };
        let waits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.timeout))
            .set_response_timeout(Some(self.settings.timeout));
        let client = client.map_err(unusable)?;
        let connected = client.get_multiplexed_async_connection_with_config(&waits).await;
        connected.map_err(|error| failure("cannot connect", &error))
    }

    /// The last event that the stream was ever given.
    async fn read_back(&self, connection: &mut MultiplexedConnection) -> Result<Position, Failure> {
        let asked: RedisResult<StreamInfoStreamReply> =
            redis::cmd("XINFO").arg("STREAM").arg(&self.key).query_async(connection).await;
        let info = match asked {
            Ok(info) => info,
            Err(error) if answer::is_no_such_key(&error) => return Ok(Position::START),
            Err(error) => return Err(failure("cannot look at the stream", &error)),
        };
        let last = &info.last_entry;
        let ours = position(&last.id).map(|position| self.node.event(id_of(position)));
        let written_by_us = || ours.is_some() && last.get::<String>("id") == ours;
        match position(&info.last_generated_id) {
            Some(position) if last.id.is_empty() || written_by_us() => Ok(position),
            _ => Err(Failure::new(
                FailureKind::Transient,
                format!(
                    "the last entry of {} ({}) is none of this node: somebody else writes there. Set another `key`",
                    self.key, info.last_generated_id
                ),
            )),
        }
    }

    /// Sees to it that these events are there already, as they are.
    async fn compare(
        &self,
        connection: &mut MultiplexedConnection,
        events: &[Outgoing],
    ) -> Result<(), Failure> {
        let mut ask = Pipeline::with_capacity(events.len());
        for event in events {
            let id = entry_id(event.position);
            ask.cmd("XRANGE").arg(&self.key).arg(&id).arg(&id);
        }
        let found: RedisResult<Vec<redis::streams::StreamRangeReply>> = ask.query_async(connection).await;
        let found = found.map_err(|error| failure("cannot look for what may be there already", &error))?;
        for (event, range) in events.iter().zip(found) {
            let entry = range.ids.first().map(|entry| Entry { id: entry.get("id"), data: entry.get("data") });
            match Repeat::of(event, entry) {
                Repeat::Same | Repeat::Gone => {}
                Repeat::Other => {
                    return Err(Failure::new(
                        FailureKind::Transient,
                        format!(
                            "{} holds another event as {}. Was the ledger of this node begun anew? Set another `key`",
                            self.key,
                            entry_id(event.position)
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    fn addition(&self, events: &[Outgoing]) -> Pipeline {
        let mut add = Pipeline::with_capacity(events.len());
        add.atomic();
        for event in events {
            let command = add.cmd("XADD").arg(&self.key);
            if let Some(max_len) = self.settings.max_len {
                command.arg("MAXLEN").arg("~").arg(max_len);
            }
            command.arg(entry_id(event.position));
            command.arg("id").arg(&event.id).arg("type").arg(event.kind.as_str());
            command.arg("time").arg(lifecycle::event_time(event.at)).arg("data").arg(&event.json);
        }
        add
    }
}

fn id_of(position: Position) -> EventId {
    EventId { incarnation: position.incarnation, sequence: position.seq }
}

fn entry_id(position: Position) -> String {
    format!("{}-{}", position.incarnation, position.seq)
}

/// Reads an id of an entry.
fn position(id: &str) -> Option<Position> {
    let (incarnation, seq) = id.split_once('-')?;
    Some(Position::new(incarnation.parse().ok()?, seq.parse().ok()?))
}

impl Destination for RedisSink {
    fn batch_limit(&self) -> BatchLimit {
        APPETITE
    }

    async fn prepare(&mut self, from: Position) -> Result<Position, Failure> {
        self.link = None;
        let mut connection = self.connect().await?;
        let held = self.read_back(&mut connection).await?;
        self.link = Some(Link { connection, held });
        Ok(from.min(held))
    }

    async fn deliver(&mut self, events: &[Outgoing]) -> Result<usize, Failure> {
        let Some(Link { connection, held }) = &self.link else {
            return Err(Failure::new(FailureKind::Transient, "there is no connection"));
        };
        let mut connection = connection.clone();
        let (repeated, new) = events.split_at(events.partition_point(|event| event.position <= *held));
        if !repeated.is_empty() {
            self.compare(&mut connection, repeated).await?;
        }
        if new.is_empty() {
            return Ok(events.len());
        }
        let added: RedisResult<Vec<Value>> = self.addition(new).query_async(&mut connection).await;
        added.map(|_| events.len()).map_err(|error| {
            // What was there already is there; whether anything of the rest is, reading back tells.
            Failure { acknowledged: repeated.len(), ..failure("cannot add to the stream", &error) }
        })
    }

    async fn settle(&mut self, _: Position) -> Result<(), Failure> {
        Ok(())
    }

    async fn broken(&mut self) -> Failure {
        let Some(Link { connection, .. }) = &mut self.link else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK_AFTER).await;
            let answer: RedisResult<Value> = redis::cmd("PING").query_async(connection).await;
            if let Err(error) = answer {
                return failure("it does not answer any more", &error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_entries() {
        assert_eq!(position(&entry_id(Position::new(3, 42))), Some(Position::new(3, 42)));
        assert_eq!(position("0-0"), Some(Position::START));
        for text in ["", "1", "1-", "a-b", "1-2-3"] {
            assert_eq!(position(text), None, "{text}");
        }
    }
}
