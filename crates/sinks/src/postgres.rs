//! Events to a PostgreSQL database: each is a row, once, and what is there now can be asked with plain SQL.
//!
//! The row of the cursor moves in the transaction that brings the events. So the database always says how far
//! it has come: after an answer that got lost it is further than we know, after a backup was restored it is
//! further back.

mod error;
mod text;
mod tls;

use std::time::Duration;

use config::{DatabaseHost, DatabaseTls, Host};
use ledger::Position;
use lifecycle::Node;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, Statement};

use crate::destination::Destination;
use delivery::{BatchLimit, Failure, FailureKind, Outgoing};
use error::failure;
use text::storable;
use tls::Tls;
use tls_settings::trust::{self, Roots};

/// One transaction takes this much: beyond some hundred rows more gains little, and a failed one is repeated
/// whole.
const APPETITE: BatchLimit = BatchLimit { events: 1000, bytes: 1 << 20 };

/// The schema's version that this release works with.
const VERSION: i32 = 1;

/// Two nodes that start at once make the schema one after the other.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('sipway schema'))";

/// What the sink needs in the database, as SQL for an administrator; `schema` is of `a-z`, `0-9` and `_`.
#[must_use]
pub fn postgres_schema(schema: &str) -> String {
    within(include_str!("postgres/schema.sql"), schema)
}

/// The SQL with this schema in place of the one it was written with. Quoted, for it may be a word of SQL.
fn within(sql: &str, schema: &str) -> String {
    sql.replace("sipway.", &format!("\"{schema}\"."))
        .replace("SCHEMA IF NOT EXISTS sipway;", &format!("SCHEMA IF NOT EXISTS \"{schema}\";"))
        .replace("SCHEMA sipway", &format!("SCHEMA \"{schema}\""))
}

/// A PostgreSQL database.
pub(crate) struct PostgresSink {
    server: tokio_postgres::Config,
    tls: DatabaseTls,
    schema: String,
    timeout: Duration,
    node: String,
    sink: String,
    session: Option<Session>,
    /// Where we last put or found the row of our cursor.
    row: Option<Position>,
}

/// A connection with everything ready.
struct Session {
    client: Client,
    deliver: Statement,
    foreign: Statement,
    /// Ends with the session, whatever the server does.
    driver: Driver,
}

/// What moves a connection's bytes.
type Driver = JoinHandle<Result<(), tokio_postgres::Error>>;

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Columns of a delivery.
struct Columns {
    incarnations: Vec<i64>,
    seqs: Vec<i64>,
    types: Vec<&'static str>,
    times: Vec<i64>,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn position(row: &tokio_postgres::Row) -> Result<Position, tokio_postgres::Error> {
    let number = |index| row.try_get::<_, i64>(index).map(|number| u64::try_from(number).unwrap_or(0));
    Ok(Position::new(number(0)?, number(1)?))
}

impl PostgresSink {
    pub(crate) fn new(postgres: config::Postgres, node: &Node, sink: &str) -> Self {
        let config::Postgres { url, password, schema, tls, timeout } = postgres;
        let mut server = tokio_postgres::Config::new();
        server
            .user(url.user)
            .dbname(url.database)
            .port(url.port)
            .connect_timeout(timeout)
            .application_name("sipway");
        match url.host {
            DatabaseHost::Net(Host::V6(address)) => server.host(address.to_string()),
            DatabaseHost::Net(host) => server.host(host.to_string()),
            DatabaseHost::Directory(path) => server.host_path(path),
        };
        server.ssl_mode(match tls {
            DatabaseTls::Off => tokio_postgres::config::SslMode::Disable,
            DatabaseTls::Verify { .. } => tokio_postgres::config::SslMode::Require,
        });
        if let Some(password) = password {
            server.password(password.expose());
        }
        let (node, sink) = (node.as_str().to_owned(), sink.to_owned());
        Self { server, tls, schema, timeout, node, sink, session: None, row: None }
    }

    /// Does this, unless it takes too long. The session ends with a failure that is not about the events.
    async fn in_time<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let timeout = self.timeout;
        let outcome = match tokio::time::timeout(timeout, work(self)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::new(
                FailureKind::Transient,
                format!("the database gave no answer within {timeout:?}"),
            )),
        };
        if outcome.as_ref().is_err_and(|failure| failure.nature != FailureKind::Refused) {
            self.session = None;
        }
        outcome
    }

    async fn connect(&self) -> Result<(Client, Driver), Failure> {
        let failed = |error| failure("connect", &error);
        match &self.tls {
            DatabaseTls::Off => {
                let (client, connection) = self.server.connect(NoTls).await.map_err(failed)?;
                Ok((client, tokio::spawn(connection)))
            }
            DatabaseTls::Verify { authorities } => {
                let roots = match &authorities[..] {
                    [] => Roots::System,
                    authorities => Roots::Only(authorities.to_vec()),
                };
                let config = trust::client(roots, None)
                    .map_err(|error| Failure::new(FailureKind::Transient, error.to_string()))?;
                let (client, connection) = self.server.connect(Tls::new(config)).await.map_err(failed)?;
                Ok((client, tokio::spawn(connection)))
            }
        }
    }

    async fn open(&self) -> Result<Session, Failure> {
        let (mut client, driver) = self.connect().await?;
        // A plan that was made while the tables were small must not look through them once they are large.
        let ready = format!("SET enable_seqscan = off; SET statement_timeout = {}", self.timeout.as_millis());
        client.batch_execute(&ready).await.map_err(|error| failure("begin a session", &error))?;
        self.make_schema(&mut client).await?;
        let prepare = async |sql: &str| {
            let prepared = client.prepare(&within(sql, &self.schema)).await;
            prepared.map_err(|error| failure("prepare a delivery", &error))
        };
        let deliver = prepare(include_str!("postgres/deliver.sql")).await?;
        let foreign = prepare(include_str!("postgres/foreign.sql")).await?;
        Ok(Session { client, deliver, foreign, driver })
    }

    /// Makes the schema if it is not there. Needs no right to do so if it is.
    async fn make_schema(&self, client: &mut Client) -> Result<(), Failure> {
        let failed = |error| failure("look at the schema", &error);
        let table = within("sipway.schema_version", &self.schema);
        let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await;
        if !there.and_then(|row| row.try_get::<_, bool>(0)).map_err(failed)? {
            let failed = |error| failure("make the schema", &error);
            let transaction = client.transaction().await.map_err(failed)?;
            transaction.batch_execute(LOCK).await.map_err(failed)?;
            transaction.batch_execute(&postgres_schema(&self.schema)).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            tracing::info!(sink = self.sink, schema = self.schema, "created the schema");
        }
        let newest = client.query_one(&format!("SELECT coalesce(max(version), 0) FROM {table}"), &[]).await;
        let newest = newest.and_then(|row| row.try_get::<_, i32>(0)).map_err(failed)?;
        if newest != VERSION {
            let schema = &self.schema;
            let text = format!(
                "schema {schema} is of version {newest}, this release works with {VERSION}. Give the sink another `schema`, \
                 or run the release that made it"
            );
            return Err(Failure::new(FailureKind::Transient, text));
        }
        Ok(())
    }

    /// The row of our cursor.
    async fn find_row(&self) -> Result<Option<Position>, Failure> {
        let failed = |error| failure("read the cursor", &error);
        let sql =
            within("SELECT incarnation, seq FROM sipway.cursors WHERE node = $1 AND sink = $2", &self.schema);
        let row = self.session()?.client.query_opt(&sql, &[&self.node, &self.sink]).await.map_err(failed)?;
        row.map(|row| position(&row)).transpose().map_err(failed)
    }

    async fn move_row(&mut self, to: Position) -> Result<(), Failure> {
        let sql = within(
            "INSERT INTO sipway.cursors (node, sink, incarnation, seq) VALUES ($1, $2, $3, $4) ON CONFLICT (node, sink) \
             DO UPDATE SET incarnation = excluded.incarnation, seq = excluded.seq, moved_at = now()",
            &self.schema,
        );
        let (incarnation, seq) = (signed(to.incarnation), signed(to.seq));
        let client = &self.session()?.client;
        let moved = client.execute(&sql, &[&self.node, &self.sink, &incarnation, &seq]).await;
        moved.map_err(|error| failure("move the cursor", &error))?;
        self.row = Some(to);
        Ok(())
    }

    fn session(&self) -> Result<&Session, Failure> {
        self.session
            .as_ref()
            .ok_or_else(|| Failure::new(FailureKind::Transient, "there is no connection to the database"))
    }

    async fn insert(&mut self, events: &[Outgoing]) -> Result<(), Failure> {
        let Some(last) = events.last().map(|event| event.position) else { return Ok(()) };
        let columns = Columns {
            incarnations: events.iter().map(|event| signed(event.position.incarnation)).collect(),
            seqs: events.iter().map(|event| signed(event.position.seq)).collect(),
            types: events.iter().map(|event| event.kind.as_str()).collect(),
            times: events.iter().map(|event| signed(event.at)).collect(),
        };
        let bodies: Vec<_> = events.iter().map(|event| storable(&event.json)).collect();
        let bodies: Vec<&str> = bodies.iter().map(AsRef::as_ref).collect();
        let Session { client, deliver, .. } = self.session()?;
        let Columns { incarnations, seqs, types, times } = &columns;
        let (incarnation, seq) = (signed(last.incarnation), signed(last.seq));
        let inserted = client
            .query_one(
                deliver,
                &[&self.node, &self.sink, incarnations, seqs, types, times, &bodies, &incarnation, &seq],
            )
            .await
            .and_then(|row| row.try_get::<_, i64>(0))
            .map_err(|error| failure("store events", &error))?;
        self.row = Some(last);
        if usize::try_from(inserted).is_ok_and(|inserted| inserted < events.len()) {
            self.look_for_foreign_rows(events, &columns).await?;
        }
        Ok(())
    }

    /// Some rows were there already. If they are other events under the same ids, ours would be lost without
    /// a word.
    async fn look_for_foreign_rows(&mut self, events: &[Outgoing], columns: &Columns) -> Result<(), Failure> {
        let Columns { incarnations, seqs, types, times } = columns;
        let Session { client, foreign, .. } = self.session()?;
        let failed = |error| failure("compare what is there", &error);
        let found = client
            .query_opt(foreign, &[&self.node, incarnations, seqs, types, times])
            .await
            .map_err(failed)?;
        let Some(foreign) = found.map(|row| position(&row)).transpose().map_err(failed)? else {
            return Ok(());
        };
        let before = events.iter().take_while(|event| event.position < foreign).count();
        let stay = Position::new(foreign.incarnation, foreign.seq.saturating_sub(1));
        self.move_row(stay).await?;
        let node = &self.node;
        let text = format!(
            "the database holds another event under the id {node}.{}.{}: a second ledger wrote as node `{node}`, or this one \
             was deleted and begun anew. Give one of the two another `node` or `schema`",
            foreign.incarnation, foreign.seq
        );
        Err(Failure { acknowledged: before, concerned: Some(1), ..Failure::new(FailureKind::Refused, text) })
    }
}

impl Destination for PostgresSink {
    fn batch_limit(&self) -> BatchLimit {
        APPETITE
    }

    async fn prepare(&mut self, from: Position) -> Result<Position, Failure> {
        self.in_time(async |sink: &mut Self| {
            if sink.session.as_ref().is_none_or(|session| session.client.is_closed()) {
                sink.session = None;
                sink.session = Some(sink.open().await?);
            }
            let known = sink.row;
            let found = sink.find_row().await?;
            sink.row = found;
            // Behind the row may be events that the sink does not want: then it is where we left it, and all
            // is well.
            Ok(if found.is_some() && found == known { from } else { found.unwrap_or(Position::START) })
        })
        .await
    }

    async fn deliver(&mut self, events: &[Outgoing]) -> Result<usize, Failure> {
        self.in_time(async |sink: &mut Self| sink.insert(events).await).await?;
        Ok(events.len())
    }

    /// Takes the row past what the sink does not want, so that it is never behind the cursor that is saved
    /// next.
    async fn settle(&mut self, to: Position) -> Result<(), Failure> {
        if self.row >= Some(to) {
            return Ok(());
        }
        self.in_time(async |sink: &mut Self| sink.move_row(to).await).await
    }

    async fn broken(&mut self) -> Failure {
        let Some(session) = &mut self.session else { return std::future::pending().await };
        let ended = (&mut session.driver).await;
        self.session = None;
        match ended {
            Ok(Err(error)) => failure("keep the connection", &error),
            Ok(Ok(())) | Err(_) => Failure::new(FailureKind::Transient, "the database ended the connection"),
        }
    }
}
