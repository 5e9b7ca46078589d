//! The same place by another way, when one fails: another hop to it (RFC 3263 §4.3), or another flow of the same user agent
//! (RFC 5626 §5.3).

use std::time::Instant;

use crate::{Other, Target};

/// Where to try next.
#[derive(Debug)]
pub(crate) struct Another<H> {
    pub(crate) target: Target<H>,
    after: After,
}

/// Which answers of the way before say nothing about the place itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Unavailable,
    FlowFailed,
}

impl<H> Another<H> {
    /// The way that is left when a connection has ended.
    pub(crate) fn anew(target: Target<H>) -> Self {
        Self { target, after: After::Unavailable }
    }

    /// Whether it is tried after this final answer by the way before. A user agent that rang has had its say.
    pub(crate) fn follows(&self, status: u16, rings_until: Option<Instant>) -> bool {
        match self.after {
            After::Unavailable => status == 503,
            After::FlowFailed => status == 430 || (status == 408 && rings_until.is_none()),
        }
    }
}

/// The next way to where a target is.
pub(crate) fn another<H: Copy>(target: &Target<H>) -> Option<Another<H>> {
    let (first, others) = target.others.split_first()?;
    let others = others.into();
    Some(match first {
        Other::Hop(hop) => {
            let target = Target { hop: *hop, others, ..target.clone() };
            Another { target, after: After::Unavailable }
        }
        Other::Flow { hop, request_uri, routes } => {
            let (hop, request_uri, routes) = (*hop, Some(request_uri.clone()), routes.clone());
            let Target { q, when_gone, .. } = *target;
            let target = Target { hop, request_uri, routes, q, others, when_gone };
            Another { target, after: After::FlowFailed }
        }
    })
}
