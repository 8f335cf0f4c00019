//! Whom the server answers to: host names, origins of pages, proxies that are believed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::http::Uri;
use axum::http::uri::{Authority, Scheme};

/// Name of loopback; the addresses 127.0.0.0/8 and ::1 count too.
pub(crate) const LOOPBACK_NAME: &str = "localhost";

/// Whom the server answers to. Names of loopback are always answered to.
#[derive(Debug, Clone)]
pub struct Door {
    /// Further host names that requests may be for, and addresses.
    pub hosts: Vec<HostName>,
    /// Origins of pages, beside those of the host that is asked, that may change something here.
    pub origins: Vec<PageOrigin>,
    /// Proxies whose forwarded headers are believed; nobody else's are.
    pub trusted_proxies: Vec<Network>,
    /// Whether the server itself speaks TLS.
    pub is_tls: bool,
    /// Name of the cookie with the session.
    pub session_cookie: String,
}

impl Door {
    /// A door for loopback only, at this port. Cookies know no ports: each port has its own name.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self {
            hosts: Vec::new(),
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            is_tls: false,
            session_cookie: format!("kelly-session-{port}"),
        }
    }

    /// Whether requests may be for this host.
    pub(crate) fn answers_to(&self, host: &str) -> bool {
        is_loopback(host) || self.hosts.iter().any(|known| known.0.eq_ignore_ascii_case(bare(host)))
    }

    /// Whether a page of this origin may change something on this host. Over an encrypted connection a page that itself
    /// came unencrypted may not: whoever was on its way could have written it.
    pub(crate) fn is_own_page(&self, origin: &str, host: &Authority, is_encrypted: bool) -> bool {
        let parts = origin.parse::<Uri>().ok().map(Uri::into_parts);
        let is_own = parts.is_some_and(|parts| {
            parts.authority.is_some_and(|authority| authority == *host)
                && (!is_encrypted || parts.scheme == Some(Scheme::HTTPS))
        });
        is_own || self.allows_page(origin)
    }

    /// Whether pages of this origin, which is not the server's own, are allowed.
    pub(crate) fn allows_page(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| known.0.eq_ignore_ascii_case(origin))
    }

    /// Whether this address is of a proxy that is believed.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.has(address))
    }
}

/// Whether a host is this machine by its loopback address or name.
pub(crate) fn is_loopback(host: &str) -> bool {
    bare(host).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || host.eq_ignore_ascii_case(LOOPBACK_NAME)
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// A host name without a port, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// The address, where it is one and no name.
    #[must_use]
    pub fn as_address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

impl fmt::Display for HostName {
    /// As it stands in a URL.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(out, "[{}]", self.0) } else { out.write_str(&self.0) }
    }
}

/// The origin of a page: scheme, host, and port where it is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOrigin(String);

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No host.
    #[error("a host is written without scheme and port, e.g. kelly.example.com or 192.168.1.5")]
    Host,
    /// No origin.
    #[error("an origin is written as a browser sends it, e.g. https://kelly.example.com, without a path")]
    Origin,
    /// No network.
    #[error("a proxy is an address or a network, e.g. 10.0.0.7 or 10.0.0.0/8")]
    Network,
}

impl FromStr for HostName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let text = bare(text);
        let is_name = !text.is_empty()
            && text.len() <= 253
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_'));
        if is_name || text.parse::<IpAddr>().is_ok() { Ok(Self(text.to_owned())) } else { Err(BadName::Host) }
    }
}

impl FromStr for PageOrigin {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let host = rest.ok_or(BadName::Origin)?;
        let is_host = !host.contains(['/', '?', '#', '@', ' ']) && host.parse::<Authority>().is_ok();
        if is_host { Ok(Self(text.to_owned())) } else { Err(BadName::Origin) }
    }
}

impl FromStr for Network {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadName::Network)?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse).map_err(|_| BadName::Network)?;
        if bits > all { Err(BadName::Network) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    /// Whether an address begins like this network.
    pub(crate) fn has(self, address: IpAddr) -> bool {
        let alike = |ours: u128, theirs: u128, all: u8| {
            let rest = u32::from(all - self.bits);
            // A shift by all bits is none of a number.
            self.bits == 0 || ours >> rest == theirs >> rest
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                alike(u128::from(u32::from(ours)), u128::from(u32::from(theirs)), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => alike(u128::from(ours), u128::from(theirs), 128),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_what_begins_like_them() {
        for (network, address, expected) in [
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "fe80::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.has(address.parse().unwrap()), expected, "{network:?} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "kelly", "10.0.0/8"] {
            assert_eq!(wrong.parse::<Network>(), Err(BadName::Network), "{wrong}");
        }
    }

    #[test]
    fn names_are_written_plainly() {
        for right in ["kelly.example.com", "192.168.1.5", "[fd00::1]", "fd00::1"] {
            assert!(right.parse::<HostName>().is_ok(), "{right}");
        }
        for wrong in ["", "http://k", "k:8000", "k/", "*.example.com", "u@k"] {
            assert_eq!(wrong.parse::<HostName>(), Err(BadName::Host), "{wrong}");
        }
        for right in ["https://kelly.example.com", "http://k:8000", "https://[fd00::1]:1"] {
            assert!(right.parse::<PageOrigin>().is_ok(), "{right}");
        }
        for wrong in ["", "kelly.example.com", "https://", "https://k/", "https://u@k", "ftp://k", "null"] {
            assert_eq!(wrong.parse::<PageOrigin>(), Err(BadName::Origin), "{wrong}");
        }
    }
}
