//! Under what a state is stored.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::entity::Entity;

/// Under what a state is stored: the key of its record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StateKey {
    /// The rule's id.
    pub rule: String,
    /// Whom it is about.
    pub entity: Entity,
}

impl StateKey {
    /// As the key of a record.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = postcard::to_extend(self, Vec::new());
        bytes.unwrap_or_else(|error| unreachable!("a key can always be written: {error}"))
    }

    /// From the key of a record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RestoreFault> {
        postcard::from_bytes(bytes).map_err(|_| RestoreFault::Key)
    }
}

/// Why a stored state cannot be taken up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestoreFault {
    /// Its key is none.
    #[error("the key of a stored alert state cannot be read: it is damaged, or of another version of Kelly")]
    Key,
    /// It is none.
    #[error(
        "the stored state of the rule `{rule}` for {entity} cannot be read: it is damaged, or of another version of Kelly"
    )]
    State {
        /// The rule.
        rule: String,
        /// The entity.
        entity: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Subject;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let key = StateKey {
            rule: "r".into(),
            entity: Entity { subject: Subject::Account("a".into()), part: "m".into() },
        };
        assert_eq!(StateKey::from_bytes(&key.to_bytes()), Ok(key));
        assert_eq!(StateKey::from_bytes(b"\xff\xff"), Err(RestoreFault::Key));
    }
}
