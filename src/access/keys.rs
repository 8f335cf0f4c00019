//! Where the keys of an issuer come from.

use std::sync::Arc;

use kelly_api::NotSignedIn;
use kelly_auth::Keys;

/// The keys of an issuer.
pub enum KeySource {
    /// They never change.
    Fixed(Arc<Keys>),
}

impl KeySource {
    /// The keys, with one of this name if there can be one.
    pub async fn with(&self, _key_id: Option<&str>) -> Result<Arc<Keys>, NotSignedIn> {
        match self {
            Self::Fixed(keys) => Ok(keys.clone()),
        }
    }
}
