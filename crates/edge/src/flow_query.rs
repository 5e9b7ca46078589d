//! The filter of a list of flows, and the result of a ping.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use defence::Client;
use lifecycle::{FlowFacts, FlowId};
use transport::PingFailed;

/// Which flows are asked for: those that fit everything given.
#[derive(Clone, Debug, Default)]
pub struct FlowQuery {
    /// At most so many.
    pub limit: usize,
    /// Only those with a greater id.
    pub after: Option<FlowId>,
    /// Only those with a binding of this address-of-record.
    pub aor: Option<String>,
    /// Only from this peer: the socket's, or the one that a proxy in front told.
    pub remote: Option<Remote>,
    /// Only of the listener of this name.
    pub listener: Option<String>,
    /// Only those whose user agent has this in its name, in whatever case.
    pub user_agent: Option<String>,
}

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Any port of this address.
    Host(IpAddr),
    /// One connection.
    Socket(SocketAddr),
}

/// The result of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinged {
    /// The peer answered after this time.
    Answered(Duration),
    /// It did not in the time given. Its liveness is judged as ever: this ends nothing.
    Late,
    /// Another ping that was asked for is on its way.
    UnderWay,
    /// There is no such flow, or it ended meanwhile.
    NoSuchFlow,
}

impl FlowQuery {
    pub(crate) fn fits(&self, facts: &FlowFacts) -> bool {
        let told = facts.forwarded.as_ref().and_then(|told| Client::read(told.as_str()));
        let remote = self.remote.is_none_or(|remote| match remote {
            Remote::Host(host) => facts.remote.ip() == host || told.is_some_and(|told| told.ip == host),
            Remote::Socket(socket) => facts.remote == socket || told == Some(socket.into()),
        });
        let listener =
            self.listener.as_ref().is_none_or(|listener| facts.listener.as_str() == listener.as_str());
        let user_agent = self.user_agent.as_ref().is_none_or(|wanted| {
            let name = facts.user_agent.as_ref().map_or("", |name| name.as_str());
            name.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase())
        });
        remote && listener && user_agent
    }
}

impl From<Result<Duration, PingFailed>> for Pinged {
    fn from(ping: Result<Duration, PingFailed>) -> Self {
        match ping {
            Ok(time) => Self::Answered(time),
            Err(PingFailed::UnderWay) => Self::UnderWay,
            Err(PingFailed::Over) => Self::NoSuchFlow,
        }
    }
}
