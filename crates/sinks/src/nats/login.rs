//! Connecting, and proving who we are.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use config::{Nats, NatsLogin};
use lifecycle::Node;
use tokio::sync::Notify;

use super::answer::passing;
use delivery::{Failure, FailureKind};

/// Connects to one of the servers. Who waits for `gone` hears of the end of that connection.
pub(super) async fn connect(settings: &Nats, node: &Node, gone: Arc<Notify>) -> Result<Client, Failure> {
    let mut options = ConnectOptions::new()
        .name(format!("sipway {node}"))
        .connection_timeout(settings.timeout)
        .request_timeout(Some(settings.timeout))
        .ignore_discovered_servers()
        // It cannot be told to stay away; so it tries each server once, and ends.
        .max_reconnects(settings.servers.len())
        .reconnect_delay_callback(|_| Duration::ZERO)
        .event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                gone.notify_one();
            }
            std::future::ready(())
        });
    options = match &settings.login {
        NatsLogin::Nobody => options,
        NatsLogin::Token(token) => options.token(token.expose().to_owned()),
        NatsLogin::User { name, password } => {
            options.user_and_password(name.clone(), password.expose().to_owned())
        }
        NatsLogin::Credentials(file) => options.credentials_file(file).await.map_err(|error| {
            Failure::new(
                FailureKind::Transient,
                format!("cannot use the credentials in {}: {error}", file.display()),
            )
        })?,
    };
    if let Some(file) = &settings.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    let addresses: Result<Vec<ServerAddr>, _> =
        settings.servers.iter().map(|server| server.to_string().parse::<ServerAddr>()).collect();
    let addresses = addresses.map_err(|error| {
        Failure::new(FailureKind::Transient, format!("cannot use an address in `servers`: {error}"))
    })?;
    options.connect(addresses).await.map_err(|error| match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => Failure::new(
            FailureKind::Transient,
            "the server does not let us in: set `user` and password, a token, or `creds_file`, as it asks for",
        ),
        _ => passing("cannot connect", &error),
    })
}
