//! `[admin]`: the listener of the admin API.

use std::net::SocketAddr;

use crate::document::{At, Reading, Section, SectionSchema};
use crate::report::{Problem, ProblemKind};
use crate::secret::AdminToken;

pub(crate) const SCHEMA: SectionSchema = SectionSchema { header: "[admin]", keys: &["bind", "token_env"] };

/// The listener of the admin API, the metrics and the health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; port 0 takes a free one.
    pub bind: SocketAddr,
    /// What every request but a health check must bring; `None` lets everybody in who reaches it.
    pub token: Option<AdminToken>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { bind: SocketAddr::from(([127, 0, 0, 1], 8090)), token: None }
    }
}

impl Admin {
    /// The admin listener and the place where it is bound.
    pub(crate) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> At<Self> {
        let token = AdminToken::read(reading, section);
        let bind = section.field::<SocketAddr>(reading, "bind").given();
        if let Some(at) = &bind
            && !at.value.ip().is_loopback()
            && token.is_none()
        {
            reading.warning(
                Problem::new(
                    ProblemKind::Risky,
                    at.span.clone(),
                    "the admin API is reachable from other machines",
                )
                .label("whoever reaches it can see and close every flow")
                .help("bind it to 127.0.0.1, block other machines with a firewall, or ask for a token with `token_env`"),
            );
        }
        match bind {
            Some(At { value: bind, span }) => At { value: Self { bind, token }, span },
            None => At { value: Self { token, ..Self::default() }, span: section.span.clone() },
        }
    }
}
