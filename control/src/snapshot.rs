//! A state as bytes, so that a start need not read the whole log.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::state::State;

/// What the bytes begin with. Its last digit is the form of the state: another form is read anew from the log.
const MAGIC: &[u8; 8] = b"kellyc01";

const HASH_BYTES: usize = 32;

/// A state, and of which log.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The topic's id, where the log gives ids.
    pub topic_id: Option<u64>,
    /// The state.
    pub state: State,
}

/// Why bytes are no snapshot. The log has everything: it is read from its beginning then.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// Another program wrote it, or another version.
    #[error("it is not a snapshot of this version of Kelly")]
    OtherForm,
    /// Its bytes are not those that were written.
    #[error("its bytes do not fit its hash")]
    Damaged,
    /// It cannot be read.
    #[error("its state cannot be read")]
    Unreadable(#[from] postcard::Error),
}

#[derive(Serialize, Deserialize)]
struct Head {
    topic_id: Option<u64>,
}

impl Snapshot {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Self::bytes_of(self.topic_id, &self.state)
    }

    /// A state of this log as bytes: a mark, the SHA-256 of the rest, the rest.
    #[must_use]
    pub fn bytes_of(topic_id: Option<u64>, state: &State) -> Vec<u8> {
        let mut rest = postcard::to_allocvec(&Head { topic_id }).unwrap_or_default();
        rest.extend(state.to_bytes());
        let mut bytes = Vec::with_capacity(MAGIC.len() + HASH_BYTES + rest.len());
        bytes.extend(MAGIC);
        bytes.extend(Sha256::digest(&rest));
        bytes.extend(rest);
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// When they are not a whole snapshot of this version's form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotFault> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotFault::OtherForm)?;
        let (hash, rest) = rest.split_at_checked(HASH_BYTES).ok_or(SnapshotFault::Damaged)?;
        if Sha256::digest(rest)[..] != *hash {
            return Err(SnapshotFault::Damaged);
        }
        let (head, rest): (Head, _) = postcard::take_from_bytes(rest)?;
        Ok(Self { topic_id: head.topic_id, state: State::from_bytes(rest)? })
    }
}
