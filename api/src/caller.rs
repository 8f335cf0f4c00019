//! Who asks: what they may see and do, and to whom a share belongs.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::connect_info::ConnectInfo;
use axum::http::Extensions;
use kelly_auth::Identity;

use crate::connection::ConnectionInfo;
use crate::problem::Problem;

/// Who makes a request: what the layer that signs callers in put into it.
pub(crate) fn identity_of(extensions: &Extensions) -> Result<Identity, Problem> {
    extensions
        .get::<Identity>()
        .cloned()
        .ok_or_else(|| Problem::internal("a request came without an identity"))
}

/// The caller a share belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// A user who is signed in.
    User {
        /// Who issued the token.
        issuer: Arc<str>,
        /// Whom it names.
        subject: Arc<str>,
    },
    /// Everybody at one address, or in one /64 of IPv6, who is not.
    Address(IpAddr),
    /// Whoever asks without a connection: code of this process.
    Internal,
}

/// The address of a client as a trusted proxy told it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForwardedAddress(pub(crate) IpAddr);

impl Caller {
    /// The caller of a request, by who is signed in, else by what is known of its connection.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        if let Some(Identity { issuer, subject, .. }) = extensions.get::<Identity>() {
            return Self::User { issuer: Arc::clone(issuer), subject: Arc::clone(subject) };
        }
        if let Some(ForwardedAddress(address)) = extensions.get() {
            return Self::Address(network_of(*address));
        }
        match extensions.get::<ConnectInfo<ConnectionInfo>>() {
            Some(ConnectInfo(connection)) => Self::Address(network_of(connection.peer.ip())),
            None => Self::Internal,
        }
    }
}

/// What one caller is likely to have of addresses: an IPv4 address, or a /64 of IPv6.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(network_of(address.parse().unwrap()), network.parse::<IpAddr>().unwrap(), "{address}");
        }
    }
}
