//! Ranges of IP addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// The addresses that begin with the same bits (CIDR, RFC 4632): `10.0.0.0/8`, `2001:db8::/32`, or one
/// address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadNetwork {
    /// What stands before the `/` is no IP address.
    Address,
    /// What stands behind it is no number from 0 to 32, or to 128 for IPv6.
    Prefix,
    /// There are bits set behind the prefix; this is the network that is meant, perhaps.
    HostBits(Network),
}

impl Network {
    /// The addresses that share so many bits with this one; all bits of an address, if there are not so many.
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { prefix.min(32) } else { prefix.min(128) };
        // The prefix fits the address, so there is no error; one address alone would be the narrowest answer.
        Self(IpNet::new(address, prefix).map_or_else(|_| IpNet::from(address), |network| network.trunc()))
    }

    /// Whether an address is one of them. An IPv4-mapped address (`::ffff:192.0.2.1`) is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadNetwork::Address)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= bits).ok_or(BadNetwork::Prefix)?
            }
            Some(_) => return Err(BadNetwork::Prefix),
        };
        let network = Self::around(address, prefix);
        if address != address.to_canonical() {
            // ::ffff:0:0/96 and below: nothing that comes here looks so.
            return Err(BadNetwork::HostBits(network));
        }
        if network.0.addr() == address { Ok(network) } else { Err(BadNetwork::HostBits(network)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// Several networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Those addresses that are reached without leaving the machine.
    #[must_use]
    pub fn loopback() -> Self {
        let (v4, v6) = (std::net::Ipv4Addr::LOCALHOST, std::net::Ipv6Addr::LOCALHOST);
        Self(vec![Network::around(v4.into(), 8), Network::around(v6.into(), 128)])
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Network> + '_ {
        self.0.iter().copied()
    }

    /// Whether an address is in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    fn contains(text: &str, address: &str) -> bool {
        network(text).contains(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_in_its_network_and_in_no_other() {
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.6"));
        assert!(contains("0.0.0.0/0", "255.255.255.255") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1") && !contains("2001:db8::/32", "2001:db9::"));
        assert!(contains("::/0", "::1") && !contains("::/0", "192.0.2.1"));
        assert!(contains("192.0.2.0/24", "::ffff:192.0.2.9"), "as a socket for both families shows it");
    }

    #[test]
    fn mistakes_are_told() {
        for text in ["", "10.0.0", "10.0.0.0.0/8", "example.com", "[::1]", " 10.0.0.1"] {
            assert_eq!(text.parse::<Network>(), Err(BadNetwork::Address), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::/129", "::/999", "10.0.0.0/8/8"] {
            assert_eq!(text.parse::<Network>(), Err(BadNetwork::Prefix), "{text}");
        }
        let Err(BadNetwork::HostBits(meant)) = "10.1.2.3/8".parse::<Network>() else { panic!("host bits") };
        assert_eq!(meant.to_string(), "10.0.0.0/8");
    }

    proptest! {
        #[test]
        fn a_network_holds_its_addresses_and_reads_back(address: u128, v4: bool, prefix in 0_u8..=128) {
            let address: IpAddr = if v4 {
                IpAddr::from(((address >> 96) as u32).to_be_bytes())
            } else {
                IpAddr::from(address.to_be_bytes())
            };
            let network = Network::around(address, prefix);
            prop_assert!(network.contains(address));
            prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
        }
    }
}
