//! Via values (RFC 3261 §20.42, RFC 3581).

use std::net::IpAddr;

use crate::host::{parse_ip, parse_port};
use crate::syntax::{token_len, trim_end, trim_start};
use crate::words::{equal, find};
use crate::{Host, Leniencies, Leniency, Params, ViaError};

/// What a branch begins with that is unique across time and space (RFC 3261 §8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// The transport that a Via names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport<'b> {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// SIP over WebSocket (RFC 7118).
    Ws,
    /// SIP over secure WebSocket (RFC 7118).
    Wss,
    /// SCTP (RFC 4168).
    Sctp,
    /// TLS over SCTP (RFC 4168).
    TlsSctp,
    /// Any other token.
    Other(&'b [u8]),
}

impl<'b> Transport<'b> {
    /// The transport of this name, in any case of letters.
    #[inline]
    pub fn from_bytes(bytes: &'b [u8]) -> Transport<'b> {
        const KNOWN: [(&[u8], Transport<'static>); 7] = [
            (b"UDP", Transport::Udp),
            (b"TCP", Transport::Tcp),
            (b"TLS", Transport::Tls),
            (b"WSS", Transport::Wss),
            (b"WS", Transport::Ws),
            (b"SCTP", Transport::Sctp),
            (b"TLS-SCTP", Transport::TlsSctp),
        ];
        KNOWN
            .iter()
            .find(|(name, _)| bytes.eq_ignore_ascii_case(name))
            .map_or(Transport::Other(bytes), |&(_, transport)| transport)
    }

    /// The name in capitals, as a Via has it.
    pub fn as_bytes(&self) -> &'b [u8] {
        match *self {
            Transport::Udp => b"UDP",
            Transport::Tcp => b"TCP",
            Transport::Tls => b"TLS",
            Transport::Ws => b"WS",
            Transport::Wss => b"WSS",
            Transport::Sctp => b"SCTP",
            Transport::TlsSctp => b"TLS-SCTP",
            Transport::Other(name) => name,
        }
    }
}

/// The `rport` parameter (RFC 3581).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rport {
    /// Not there.
    Absent,
    /// There without a (sound) value: the sender asks for it to be filled in.
    Asked,
    /// Filled in.
    Port(u16),
}

/// One Via value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'b> {
    protocol: &'b [u8],
    version: &'b [u8],
    transport: &'b [u8],
    sent_by: &'b [u8],
    host: Host<'b>,
    port: Option<u16>,
    params: Params<'b>,
    branch: Option<&'b [u8]>,
    bytes: &'b [u8],
}

impl<'b> Via<'b> {
    /// Reads one value.
    pub fn parse(value: &'b [u8]) -> Result<Via<'b>, ViaError> {
        let (protocol, version, rest) = match value.strip_prefix(b"SIP/2.0/") {
            Some(rest) => (&value[..3], &value[4..7], rest),
            None => {
                let (protocol, rest) = token(value).ok_or(ViaError::Protocol)?;
                let (version, rest) = slash(rest).and_then(token).ok_or(ViaError::Protocol)?;
                (protocol, version, slash(rest).ok_or(ViaError::Protocol)?)
            }
        };
        let (transport, rest) = token(rest).ok_or(ViaError::Protocol)?;
        let sent_by_start = trim_start(rest);
        if sent_by_start.len() == rest.len() {
            return Err(ViaError::Protocol);
        }
        let semicolon = find(sent_by_start, |word| equal(word, b';')).unwrap_or(sent_by_start.len());
        let (sent_by, params) = sent_by_start.split_at(semicolon);
        let sent_by = trim_end(sent_by);
        let (host, port) = Host::leading(sent_by, &mut Leniencies::NONE.clone()).ok_or(ViaError::Host)?;
        let port = match (trim_start(port), host) {
            ([], _) => None,
            ([b':', digits @ ..], _) => Some(parse_port(trim_start(digits)).ok_or(ViaError::Port)?),
            (_, Host::V6(_)) => return Err(ViaError::Port),
            _ => return Err(ViaError::Host),
        };
        let params = Params::new(params);
        let branch = match params.check(b"branch") {
            // An empty parameter is forgiven elsewhere; here it would sit where the response's way back is
            // written.
            Some((seen, branch)) if !seen.contains(Leniency::EmptyParam) => branch,
            _ => return Err(ViaError::Params),
        };
        Ok(Via { protocol, version, transport, sent_by, host, port, params, branch, bytes: value })
    }

    /// The protocol name, `SIP` as a rule.
    pub fn protocol(&self) -> &'b [u8] {
        self.protocol
    }

    /// The protocol version, `2.0` as a rule.
    pub fn version(&self) -> &'b [u8] {
        self.version
    }

    /// The transport.
    pub fn transport(&self) -> Transport<'b> {
        Transport::from_bytes(self.transport)
    }

    /// Host and port as received.
    pub fn sent_by(&self) -> &'b [u8] {
        self.sent_by
    }

    /// The host of sent-by.
    pub fn host(&self) -> Host<'b> {
        self.host
    }

    /// The port of sent-by, if it names one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The parameters.
    pub fn params(&self) -> Params<'b> {
        self.params
    }

    /// The branch, if there is one that is not empty.
    #[inline]
    pub fn branch(&self) -> Option<&'b [u8]> {
        self.branch
    }

    /// Whether the branch identifies the transaction: the magic cookie and something behind it. If not, RFC
    /// 2543's matching applies (RFC 3261 §17.2.3).
    pub fn is_rfc3261(&self) -> bool {
        self.branch()
            .is_some_and(|branch| branch.len() > MAGIC_COOKIE.len() && branch.starts_with(MAGIC_COOKIE))
    }

    /// The `received` address, IPv6 with brackets or without; nothing if absent or malformed.
    pub fn received(&self) -> Option<IpAddr> {
        self.params.value(b"received").and_then(parse_ip)
    }

    /// The `rport` parameter.
    pub fn rport(&self) -> Rport {
        match self.params.get(b"rport") {
            None => Rport::Absent,
            Some(param) => param.value.and_then(parse_port).map_or(Rport::Asked, Rport::Port),
        }
    }

    /// The `maddr` parameter: a host to send the response to.
    pub fn maddr(&self) -> Option<Host<'b>> {
        self.params.value(b"maddr").and_then(Host::parse)
    }

    /// The whole value as received.
    pub fn as_bytes(&self) -> &'b [u8] {
        self.bytes
    }
}

fn token(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = token_len(bytes);
    (len > 0).then(|| bytes.split_at(len))
}

fn slash(bytes: &[u8]) -> Option<&[u8]> {
    trim_start(bytes).strip_prefix(b"/").map(trim_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Via<'_>, ViaError> {
        Via::parse(text.as_bytes())
    }

    #[test]
    fn parts_of_a_via() {
        let via = parse("SIP/2.0/WSS 8f2.invalid;branch=z9hG4bK77;rport").unwrap();
        assert_eq!(via.transport(), Transport::Wss);
        assert_eq!((via.host(), via.port()), (Host::Name(b"8f2.invalid"), None));
        assert_eq!(
            (via.branch(), via.rport(), via.received()),
            (Some(&b"z9hG4bK77"[..]), Rport::Asked, None)
        );
        assert!(via.is_rfc3261());
        let via = parse(
            "SIP  /  2.0\r\n /UDP\r\n  [2001:db8::9:1] : 5061 ; received=[::1] ;rport = 7;maddr=224.0.1.75",
        )
        .unwrap();
        assert_eq!((via.port(), via.rport()), (Some(5061), Rport::Port(7)));
        assert_eq!(via.received(), "::1".parse().ok());
        assert_eq!(via.host().ip(), "2001:db8::9:1".parse().ok());
        assert_eq!(via.maddr().and_then(|host| host.ip()), "224.0.1.75".parse().ok());
        assert!(!parse("SIP/2.0/UDP a;branch=z9hG4bK").unwrap().is_rfc3261());
        assert_eq!(parse("SIP/2.0/UNKNOWN a").unwrap().transport(), Transport::Other(b"UNKNOWN"));
        assert_eq!(parse("SIP/2.0/UDP a;rport=").unwrap().rport(), Rport::Asked);
    }

    #[test]
    fn damage_is_told_apart() {
        for (text, error) in [
            ("", ViaError::Protocol),
            ("SIP/2.0 a", ViaError::Protocol),
            ("SIP/2.0/UDP", ViaError::Protocol),
            ("SIP/2.0/UDP ;branch=1", ViaError::Host),
            ("SIP/2.0/UDP [::1;branch=1", ViaError::Host),
            ("SIP/2.0/UDP a:x", ViaError::Port),
            ("SIP/2.0/UDP a:", ViaError::Port),
            ("SIP/2.0/UDP a;;", ViaError::Params),
            ("SIP/2.0/UDP a;b c", ViaError::Params),
        ] {
            assert_eq!(parse(text).unwrap_err(), error, "{text}");
        }
    }
}
