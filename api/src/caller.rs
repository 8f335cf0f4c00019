//! Who asks: what they may see and do, and to whom a share belongs.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::connect_info::ConnectInfo;
use axum::http::Extensions;
use kelly_auth::{Accounts, Identity, Role, Roles};

use crate::connection::ConnectionInfo;
use crate::problem::Problem;

/// Who makes a request: what the layer that verifies tokens put into it.
pub(crate) fn identity_of(extensions: &Extensions) -> Result<Identity, Problem> {
    extensions.get::<Identity>().cloned().map_or_else(without_identity, Ok)
}

/// Of a request into which nothing was put. As long as nothing verifies tokens everybody is let in; then this is
/// `Err(Problem::internal("a request came without an identity"))`.
fn without_identity() -> Result<Identity, Problem> {
    Ok(Identity {
        issuer: "nobody".into(),
        subject: "anybody".into(),
        roles: Roles::of(&Role::ALL),
        accounts: Accounts::All,
        token_id: None,
        expires_at: None,
    })
}

/// The caller a share belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// Somebody who is signed in.
    User {
        /// Who says so.
        issuer: Arc<str>,
        /// Who it is.
        subject: Arc<str>,
    },
    /// Everybody at one address.
    Address(IpAddr),
    /// Whoever asks without a connection: code of this process.
    Internal,
}

impl Caller {
    /// The caller of a request, by what is known of it.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        if let Some(Identity { issuer, subject, .. }) = extensions.get::<Identity>() {
            return Self::User { issuer: Arc::clone(issuer), subject: Arc::clone(subject) };
        }
        match extensions.get::<ConnectInfo<ConnectionInfo>>() {
            Some(ConnectInfo(connection)) => Self::Address(connection.peer.ip().to_canonical()),
            None => Self::Internal,
        }
    }
}
