//! Which addresses may be sent to. An address is looked at when it is connected to, so a name that means something else a
//! moment later gains nothing.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Internal addresses that may be sent to all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(Vec<(IpAddr, u8)>);

/// A text that names no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an internal address is written as an address or a network, e.g. 10.0.0.7 or 10.0.0.0/8, with commas between them"
)]
pub struct BadAllowed;

impl FromStr for Allowed {
    type Err = BadAllowed;

    fn from_str(text: &str) -> Result<Self, BadAllowed> {
        let network = |text: &str| {
            let (address, bits) =
                text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
            let address: IpAddr = address.parse().map_err(|_| BadAllowed)?;
            let all = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(all), |bits| bits.parse().map_err(|_| BadAllowed))?;
            if bits <= all { Ok((address, bits)) } else { Err(BadAllowed) }
        };
        text.split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(network)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Allowed {
    /// Whether this address may be connected to.
    #[must_use]
    pub fn takes(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.0.iter().any(|(network, bits)| begins_alike(*network, *bits, address))
    }
}

fn begins_alike(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let alike = |ours: u128, theirs: u128, all: u8| {
        let rest = u32::from(all - bits);
        bits == 0 || ours >> rest == theirs >> rest
    };
    match (network.to_canonical(), address) {
        (IpAddr::V4(ours), IpAddr::V4(theirs)) if bits <= 32 => {
            alike(u128::from(u32::from(ours)), u128::from(u32::from(theirs)), 32)
        }
        (IpAddr::V6(ours), IpAddr::V6(theirs)) => alike(u128::from(ours), u128::from(theirs), 128),
        _ => false,
    }
}

/// Whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_internal = matches!(
        (a, b, c),
        // This network, private, shared, loopback, link-local with the metadata of clouds.
        (0 | 10 | 127, _, _) | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _)
        // Protocols, documentation, old relays, benchmarks, multicast and beyond.
        | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) | (224.., _, _)
    );
    !is_internal
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // What stands for an IPv4 address is what that is.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Tunnels and documentation.
        [0x2001, 0 | 0xdb8, ..] => false,
        // Of what was given out: everything else is local, multicast or nobody's.
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

/// An address that may not be connected to.
#[derive(Debug)]
pub(super) struct Internal {
    pub(super) host: String,
}

impl fmt::Display for Internal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} has only internal addresses, which are not sent to; allow one in KELLY_NOTIFY_ALLOW_INTERNAL",
            self.host
        )
    }
}

impl Error for Internal {}

/// The addresses of a host that may be connected to.
pub(super) async fn addresses(
    allowed: &Allowed,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found = tokio::net::lookup_host((host, port)).await?;
    let taken: Vec<SocketAddr> = found.filter(|address| allowed.takes(address.ip())).collect();
    if taken.is_empty() { Err(Box::new(Internal { host: host.to_owned() })) } else { Ok(taken) }
}

/// Looks names up for the HTTP client, which connects to what it is given and to nothing else.
pub(super) struct Guard(pub(super) Arc<Allowed>);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0.clone();
        Box::pin(async move {
            let found = addresses(&allowed, name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_not_sent_to() {
        let nobody = Allowed::default();
        for internal in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::7f00:1",
        ] {
            assert!(!nobody.takes(internal.parse().unwrap()), "{internal}");
        }
        for public in
            ["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"]
        {
            assert!(nobody.takes(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn some_can_be_allowed() {
        let some: Allowed = "10.0.0.0/8, 127.0.0.1,fd00::/8".parse().unwrap();
        for (address, expected) in [
            ("10.200.0.1", true),
            ("::ffff:10.200.0.1", true),
            ("11.0.0.1", true),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(some.takes(address.parse().unwrap()), expected, "{address}");
        }
        for wrong in ["10.0.0.0/33", "host", "10.0.0", "10.0.0.0/-1"] {
            assert_eq!(wrong.parse::<Allowed>(), Err(BadAllowed), "{wrong}");
        }
        assert_eq!("".parse(), Ok(Allowed::default()));
    }
}
