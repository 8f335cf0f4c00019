//! Who gets in: the issuers this Kelly accepts, sessions and sign-in links, the deny lists. The rules are `kelly_auth`'s, pure;
//! here are the clock, the files, the network and the randomness they need.

mod denied;
mod gate;
mod issuers;
mod keys;
mod off;
mod random;
mod secret;
pub mod token;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use kelly_api::{Authenticate, ManageAccess};

use crate::config::{Config, Loaded};

pub use gate::Gate;
pub use secret::{existing, user};

/// What a role needs of this.
pub struct Access {
    /// Tells whose a request is.
    pub authenticate: Arc<dyn Authenticate>,
    /// Takes access away.
    pub manage: Arc<dyn ManageAccess>,
    /// The same where authentication is on.
    pub gate: Option<Arc<Gate>>,
}

/// The issuer whose users are named without it.
pub fn own_issuer(config: &Config) -> &str {
    if config.auth.enabled { &config.auth.issuer } else { off::ISSUER }
}

/// Where the secret that signs tokens comes from.
pub enum SecretPlace<'a> {
    /// The configuration, else this data directory, where it is made at the first start.
    Directory(&'a Path),
    /// The configuration only: several processes share it.
    Shared,
}

/// Opens the gate of a role, as the configuration says.
pub async fn open(loaded: &Loaded, place: SecretPlace<'_>) -> anyhow::Result<Access> {
    let config = &loaded.config;
    if !config.auth.enabled {
        tracing::warn!(
            listen = %config.general.listen,
            "authentication is off: whoever reaches this address may do everything (KELLY_AUTH=off)"
        );
        let off = Arc::new(off::Off::new());
        return Ok(Access { authenticate: off.clone(), manage: off, gate: None });
    }
    let secret = match place {
        SecretPlace::Directory(directory) => Some(secret::made(config, directory)?),
        SecretPlace::Shared => secret::configured(config)?,
    };
    let directory = match place {
        SecretPlace::Directory(directory) => Some(directory),
        SecretPlace::Shared => None,
    };
    let gate = Gate::open(config, secret, directory).await.context("opening what signs callers in")?;
    Ok(Access { authenticate: gate.clone(), manage: gate.clone(), gate: Some(gate) })
}
