//! Whose a connection is, and whether it still may be open.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kelly_auth::Identity;
use kelly_live::{Mistake, MistakeCode, Room};

use super::seats::User;

/// Before its end a token is told to be refreshed.
pub(super) const TELL_BEFORE_END: Duration = Duration::from_secs(60);

/// Whose share of sockets it counts to. Every token ends; what does not is everybody's, where authentication is off.
pub(super) fn user_of(identity: &Identity) -> Option<User> {
    identity.expires_at?;
    Some((Arc::clone(&identity.issuer), Arc::clone(&identity.subject)))
}

/// Whether somebody may be in a room.
pub(super) fn may_enter(identity: &Identity, room: &Room) -> Result<(), Mistake> {
    identity.may(room.permission()).map_err(|reason| {
        let permission = room.permission().row().name;
        tracing::info!(code = "forbidden", permission, "a live room was refused");
        Mistake {
            id: None,
            code: MistakeCode::Forbidden,
            detail: format!("you may not be in {room}: {reason}"),
        }
    })
}

/// How long the token still is in force.
pub(super) fn time_left(identity: &Identity, now: DateTime<Utc>) -> Option<Duration> {
    let end = DateTime::from_timestamp(identity.expires_at?, 0)?;
    Some((end - now).to_std().unwrap_or_default())
}
