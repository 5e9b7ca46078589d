//! `[admin]`: the listener of the admin API.

use std::net::SocketAddr;

use crate::document::{At, Reading, Section, Shape};
use crate::report::{Problem, ProblemKind};

pub(crate) const SHAPE: Shape = Shape { header: "[admin]", keys: &["bind"] };

/// The listener of the admin API, the metrics and the health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; port 0 takes a free one.
    pub bind: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { bind: SocketAddr::from(([127, 0, 0, 1], 8090)) }
    }
}

impl Admin {
    /// The admin listener and the place where it is bound.
    pub(crate) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> At<Self> {
        match section.field::<SocketAddr>(reading, "bind").given() {
            Some(at) => {
                if !at.value.ip().is_loopback() {
                    reading.warning(
                        Problem::new(
                            ProblemKind::Risky,
                            at.span.clone(),
                            "the admin API is reachable from other machines",
                        )
                        .label("whoever reaches it can see and close every flow")
                        .help("bind it to 127.0.0.1, or keep strangers out by a firewall"),
                    );
                }
                At { value: Self { bind: at.value }, span: at.span }
            }
            None => At { value: Self::default(), span: section.span.clone() },
        }
    }
}
