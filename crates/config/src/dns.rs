//! `[dns]`: whom names of upstreams are looked up with.

use std::net::{IpAddr, SocketAddr};

use toml::de::DeValue;

use crate::document::{ReadSection, Reading, Section, SectionSchema};
use crate::value::{Fault, FromToml, text};

/// The DNS servers that resolve names of upstreams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// The servers that are asked; none: those of the system (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
}

/// The address of a DNS server.
#[derive(PartialEq)]
struct NameServer(SocketAddr);

impl FromToml for NameServer {
    fn expected() -> String {
        "an IP address, with a port if it is not 53, such as \"10.0.0.53\" or \"127.0.0.1:8600\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let text = text(value)?;
        let alone = text.trim_matches(['[', ']']).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        alone.or_else(|_| text.parse()).map(Self).map_err(|_| Fault::value("this is none"))
    }
}

impl ReadSection for Dns {
    const SCHEMA: SectionSchema = SectionSchema { header: "[dns]", keys: &["servers"] };

    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self {
        let servers = section.set::<NameServer>(reading, "servers").given();
        let servers =
            servers.map_or_else(Vec::new, |list| list.value.into_iter().map(|at| at.value.0).collect());
        Self { servers }
    }
}
