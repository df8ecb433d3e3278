//! Which addresses a sink may talk to. A URL in a configuration must not become a door into the inside (SSRF).
//!
//! Private, loopback, link-local and otherwise special addresses are refused unless the sink lists their network.
//! Every address that a name resolves to is checked, and only checked addresses are connected to, so a name that
//! changes its mind between check and use gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A network in CIDR notation, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(with = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix_bits: u8,
}

/// An address that is refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} is {what} ({address}); list its network in allow_networks if that is meant")]
pub struct Refused {
    /// As configured.
    pub host: String,
    /// What it leads to.
    pub address: IpAddr,
    /// What kind of address that is.
    pub what: &'static str,
}

impl Cidr {
    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                shared_bits((u32::from(network) ^ u32::from(address)).leading_zeros(), self.prefix_bits)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                shared_bits((u128::from(network) ^ u128::from(address)).leading_zeros(), self.prefix_bits)
            }
            _ => false,
        }
    }
}

fn shared_bits(equal: u32, prefix: u8) -> bool {
    equal >= u32::from(prefix)
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a network needs an address and a prefix length, such as 10.0.0.0/8, not \"{text}\"");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Ok(bits_max), str::parse).map_err(|_| wrong())?;
        if prefix_bits > bits_max {
            return Err(wrong());
        }
        Ok(Self { address, prefix_bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl serde::Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Cidr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why an address is refused, unless one of `allowed` contains it.
pub fn refusal(address: IpAddr, allowed: &[Cidr]) -> Option<&'static str> {
    let plain = embedded(address);
    if allowed.iter().any(|network| network.contains(address) || network.contains(plain)) {
        return None;
    }
    match plain {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

/// Checks an address literal.
///
/// # Errors
/// When it is refused.
pub fn check_literal(address: IpAddr, allowed: &[Cidr]) -> Result<(), Refused> {
    match refusal(address, allowed) {
        Some(what) => Err(Refused { host: address.to_string(), address, what }),
        None => Ok(()),
    }
}

/// The IPv4 address within an IPv6 one: mapped, compatible, translated (NAT64) or tunnelled (6to4).
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let parts = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match parts {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    // Azure's metadata service has a public address; all others of its kind are link-local, private or shared.
    match address.octets() {
        [127, ..] => Some("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private address"),
        [169, 254, ..] => Some("a link-local address"),
        [168, 63, 129, 16] => Some("a metadata service"),
        [100, 64..=127, ..] => Some("a carrier's shared address"),
        [0, ..] => Some("an unspecified address"),
        [192, 0, 0, _] | [198, 18 | 19, ..] | [240..=255, ..] => Some("a reserved address"),
        [224..=239, ..] => Some("a multicast address"),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] | [0, ..] => Some("a reserved address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        _ => None,
    }
}

/// Resolves names with the system's resolver and hands on only the addresses that may be talked to.
pub struct GuardedResolver {
    allowed: Arc<[Cidr]>,
}

impl GuardedResolver {
    /// One that lets `allowed` through, beside public addresses.
    pub fn new(allowed: &[Cidr]) -> Self {
        Self { allowed: allowed.into() }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed.clone();
        Box::pin(async move {
            let host = name.as_str();
            let resolved: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let mut refused = None;
            let mut permitted = Vec::with_capacity(resolved.len());
            for address in resolved {
                match refusal(address.ip(), &allowed) {
                    Some(what) => refused = Some(Refused { host: host.to_owned(), address: address.ip(), what }),
                    None => permitted.push(address),
                }
            }
            match refused {
                Some(refused) if permitted.is_empty() => Err(refused.into()),
                _ => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn special_addresses_are_refused_in_every_spelling() {
        for text in [
            "127.0.0.1",
            "127.255.0.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:a00:1::1",
        ] {
            assert!(refusal(address(text), &[]).is_some(), "{text}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for text in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert_eq!(refusal(address(text), &[]), None, "{text}");
        }
    }

    #[test]
    fn a_listed_network_passes_and_its_neighbour_does_not() {
        let allowed: Vec<Cidr> = ["10.1.0.0/16", "127.0.0.1", "fd00::/8"].map(|text| text.parse().expect(text)).into();
        for text in ["10.1.255.1", "::ffff:10.1.0.1", "127.0.0.1", "fd12::1"] {
            assert_eq!(refusal(address(text), &allowed), None, "{text}");
        }
        for text in ["10.2.0.1", "127.0.0.2", "fe80::1"] {
            assert!(refusal(address(text), &allowed).is_some(), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", "10.0.0.0/-1", ""] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused_unless_listed() {
        let name = || "localhost".parse::<Name>().expect("a name");
        let refused = GuardedResolver::new(&[]).resolve(name()).await.err().expect("refused");
        assert!(refused.downcast_ref::<Refused>().is_some(), "{refused}");
        let allowed = ["127.0.0.0/8", "::1"].map(|text| text.parse().expect(text));
        let addresses = GuardedResolver::new(&allowed).resolve(name()).await.expect("allowed");
        assert!(addresses.into_iter().all(|address| address.ip().is_loopback()));
    }
}
