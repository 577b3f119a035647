//! Which addresses outgoing connections may reach.
//!
//! What is not globally reachable by the IANA special-purpose registries (RFC 6890 and its updates) is refused unless the operator
//! allowed its network. Forms of IPv6 that carry an IPv4 address are judged by what they can reach, not by how they look.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use url::{Host, Url};

/// A network in CIDR notation, `127.0.0.0/8` or `::1/128`; a bare address is a network of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNet {
    address: IpAddr,
    prefix: u8,
}

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpNetError {
    #[error("give an address and a prefix length such as 127.0.0.0/8 or ::1/128")]
    Malformed,
    #[error("the prefix length is more than {0}")]
    LongPrefix(u8),
    #[error("the address has bits beyond the prefix")]
    HostBits,
}

/// Where connections may go: to public addresses and the networks listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    pub allow_nets: Vec<IpNet>,
}

/// An address that the policy forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address {0} is not public")]
pub struct AddressRefused(pub IpAddr);

impl AddressPolicy {
    pub fn new(allow_nets: Vec<IpNet>) -> Self {
        Self { allow_nets }
    }

    pub fn check(&self, address: IpAddr) -> Result<(), AddressRefused> {
        check(&self.allow_nets, address)
    }

    /// Refuses a URL whose host is an address that is not allowed, in every notation that URLs have for one. Names pass: they are
    /// judged when they are resolved, at each connection.
    pub fn check_literal(&self, url: &Url) -> Result<(), AddressRefused> {
        literal(url).map_or(Ok(()), |address| self.check(address))
    }
}

/// Passes public addresses and those inside `allow_nets`.
pub(super) fn check(allow_nets: &[IpNet], address: IpAddr) -> Result<(), AddressRefused> {
    if is_public(address) || lists(allow_nets, address) { Ok(()) } else { Err(AddressRefused(address)) }
}

/// Whether the address lies inside one of the networks.
pub(super) fn lists(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(address))
}

/// The address that stands for a host in the URL.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// Whether the whole internet reaches the same host under this address.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> IpNet {
    IpNet { address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), prefix }
}

const SPECIAL_V4: [IpNet; 15] = [
    v4(0, 0, 0, 0, 8),       // this network
    v4(10, 0, 0, 0, 8),      // private
    v4(100, 64, 0, 0, 10),   // carrier-grade NAT
    v4(127, 0, 0, 0, 8),     // loopback
    v4(169, 254, 0, 0, 16),  // link-local, where clouds keep their metadata
    v4(172, 16, 0, 0, 12),   // private
    v4(192, 0, 0, 0, 24),    // protocol assignments
    v4(192, 0, 2, 0, 24),    // documentation
    v4(192, 88, 99, 0, 24),  // 6to4 relays
    v4(192, 168, 0, 0, 16),  // private
    v4(198, 18, 0, 0, 15),   // benchmarks
    v4(198, 51, 100, 0, 24), // documentation
    v4(203, 0, 113, 0, 24),  // documentation
    v4(224, 0, 0, 0, 4),     // multicast
    v4(240, 0, 0, 0, 4),     // reserved, broadcast
];

/// The only part of IPv6 that is given out for global unicast.
const GLOBAL_UNICAST: IpNet = v6(0x2000, 0, 0, 3);

const SPECIAL_V6: [IpNet; 4] = [
    v6(0x2001, 0, 0, 23),     // protocol assignments: Teredo, benchmarks, ORCHID
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x2002, 0, 0, 16),     // 6to4: a tunnel to whatever IPv4 address it carries
    v6(0x3fff, 0, 0, 20),     // documentation
];

/// NAT64 (RFC 6052), through which a host without IPv4 reaches the rest. The local-use prefix 64:ff9b:1::/48 is not part of it.
const NAT64: IpNet = v6(0x64, 0xff9b, 0, 96);

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(address.into()))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let ip = IpAddr::V6(address);
    if NAT64.contains(ip) {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    GLOBAL_UNICAST.contains(ip) && !SPECIAL_V6.iter().any(|net| net.contains(ip))
}

impl IpNet {
    /// An IPv4 network never holds an IPv6 address, not even one that carries an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (net.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (net.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for IpNet {
    type Err = IpNetError;

    fn from_str(text: &str) -> Result<Self, IpNetError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| IpNetError::Malformed)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| IpNetError::LongPrefix(longest))?
            }
            Some(_) => return Err(IpNetError::Malformed),
        };
        if prefix > longest {
            return Err(IpNetError::LongPrefix(longest));
        }
        let host_bits = match address {
            IpAddr::V4(address) => address.to_bits().checked_shl(u32::from(prefix)).unwrap_or(0) != 0,
            IpAddr::V6(address) => address.to_bits().checked_shl(u32::from(prefix)).unwrap_or(0) != 0,
        };
        if host_bits { Err(IpNetError::HostBits) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn refuses_texts_that_are_no_network() {
        for (text, error) in [
            ("", IpNetError::Malformed),
            ("localhost", IpNetError::Malformed),
            ("127.0.0.1/", IpNetError::Malformed),
            ("127.0.0.1/+8", IpNetError::Malformed),
            ("127.1/8", IpNetError::Malformed),
            ("127.0.0.0/33", IpNetError::LongPrefix(32)),
            ("127.0.0.0/999", IpNetError::LongPrefix(32)),
            ("::/129", IpNetError::LongPrefix(128)),
            ("127.0.0.1/8", IpNetError::HostBits),
            ("fe80::1/10", IpNetError::HostBits),
            ("1.0.0.0/0", IpNetError::HostBits),
        ] {
            assert_eq!(text.parse::<IpNet>(), Err(error), "{text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        for (text, inside, outside) in [
            ("127.0.0.0/8", "127.255.255.255", "128.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("::/0", "ffff::", "1.2.3.4"),
            ("::1/128", "::1", "::"),
            ("fc00::/7", "fdff::1", "fe00::"),
            ("127.0.0.0/8", "127.0.0.1", "::ffff:127.0.0.1"),
        ] {
            assert!(net(text).contains(inside.parse().unwrap()) && !net(text).contains(outside.parse().unwrap()), "{text}");
            assert_eq!(net(&net(text).to_string()), net(text));
        }
    }

    #[test]
    fn only_global_addresses_are_public() {
        let refused = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255 \
            192.0.0.1 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.9 224.0.0.1 \
            239.255.255.255 240.0.0.1 255.255.255.255 \
            :: ::1 ::7f00:1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 \
            64:ff9b:1::1 64:ff9b:1::808:808 64:ff9b:0:0:0:1:808:808 100::1 100:0:0:1::1 2001::1 2001:0:808:808::1 2001:2::1 2001:10::1 2001:20::1 \
            2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd12:3456::1 fe80::1 fec0::1 ff02::1 ff0e::1";
        for text in refused.split_whitespace() {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        let public = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.255.255 172.15.255.255 \
            172.32.0.0 192.0.1.0 192.167.255.255 198.17.255.255 198.20.0.0 223.255.255.255 \
            2001:200::1 2001:4860:4860::8888 2003::1 2606:4700::1111 3ffe::1 64:ff9b::8.8.8.8";
        for text in public.split_whitespace() {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn refuses_literals_in_every_notation() {
        let policy = AddressPolicy::default();
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.0.1.",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
            "0",
            "１２７.0.0.1",
            "127%2E0.0.1",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:7f00:0001]",
            "[64:ff9b::7f00:1]",
            "[fe80::1]",
            "169.254.169.254",
        ] {
            let url = Url::parse(&format!("https://{host}:8443/hook")).unwrap();
            assert!(policy.check_literal(&url).is_err(), "{host}");
        }
        for host in ["example.com", "localhost", "8.8.8.8", "[2606:4700::1111]", "127.0.0.1.example.com"] {
            let url = Url::parse(&format!("https://{host}/")).unwrap();
            assert_eq!(policy.check_literal(&url), Ok(()), "{host}");
        }
    }

    #[test]
    fn listed_networks_are_allowed_and_nothing_beside_them() {
        let policy = AddressPolicy::new(vec![net("127.0.0.0/8"), net("::1")]);
        assert_eq!(policy.check("127.0.0.1".parse().unwrap()), Ok(()));
        assert_eq!(policy.check("::1".parse().unwrap()), Ok(()));
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(policy.check(mapped), Err(AddressRefused(mapped)));
        assert!(!lists(&policy.allow_nets, "8.8.8.8".parse().unwrap()));
    }
}
