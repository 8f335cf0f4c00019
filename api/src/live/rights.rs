//! What connections that stay open need to know of tokens.

use std::fmt;

use async_trait::async_trait;
use kelly_auth::Identity;
use tokio::sync::watch;

/// Tells whether whoever has a connection open still may. Without it tokens end only when they say so.
#[async_trait]
pub trait Rights: fmt::Debug + Send + Sync {
    /// Whose a newer token is, or why it is not accepted: for the client, without anything of the token.
    async fn identify(&self, token: &str) -> Result<Identity, String>;

    /// Whether a caller's token is in force: neither it nor its user was withdrawn.
    fn is_in_force(&self, caller: &Identity) -> bool;

    /// Changes whenever something was withdrawn.
    fn withdrawn(&self) -> watch::Receiver<u64>;
}
