//! Who asks, as far as a share for each of them needs to know.

use std::net::IpAddr;

use axum::extract::connect_info::ConnectInfo;
use axum::http::Extensions;

use crate::connection::ConnectionInfo;

/// The caller a share belongs to. There is no sign-in yet, so it is an address; a user takes its place where one is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// Everybody at one address.
    Address(IpAddr),
    /// Whoever asks without a connection: code of this process.
    Internal,
}

impl Caller {
    /// The caller of a request, by what is known of its connection.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        match extensions.get::<ConnectInfo<ConnectionInfo>>() {
            Some(ConnectInfo(connection)) => Self::Address(connection.peer.ip().to_canonical()),
            None => Self::Internal,
        }
    }
}
