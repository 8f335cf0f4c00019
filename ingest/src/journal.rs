//! The journal of intent: what stands in a position's commit metadata.
//!
//! A range of offsets is declared in the metadata of the position at which it begins, before
//! anything of it is written. Whoever takes the partition over reads the declaration and writes
//! exactly that range again under the same token, which the store answers once. Kafka fences these
//! commits by the group's generation, so a member that was thrown out cannot declare a new range.

use std::fmt;

use crate::shape::{Nonce, SHAPE};

/// What a commit says besides its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Journal {
    /// Everything before the offset is written; no range is under way.
    Idle {
        /// Distinguishes this generation of the partition from earlier ones with the same offsets.
        nonce: Nonce,
        /// Of rows before this offset some may be in the store beside what is said here: the positions before this one
        /// expired. Ranges that begin before it are compared with the store.
        doubtful_to: Option<u64>,
    },
    /// `[offset, end)` may be written, partly or wholly.
    Declared {
        /// As in [`Journal::Idle`].
        nonce: Nonce,
        /// First offset after the range.
        end: u64,
        /// What was configured when it was declared. It decides over rows, so a replay uses it and
        /// not what is configured by then.
        horizon: Horizon,
        /// As in [`Journal::Idle`].
        doubtful_to: Option<u64>,
    },
}

/// The configured bounds on time that decide which rows a range becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// Older rows are refused, ms before the log's time of their record.
    pub max_age_ms: i64,
    /// Older rows go to the rollups alone, ms before the log's time of their record.
    pub raw_retention_ms: i64,
}

/// Why a commit's metadata cannot be acted upon. Going on would risk writing rows twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Something else commits in our group.
    #[error("commit metadata {0:?} is not Kelly's: does another program use this consumer group?")]
    Foreign(String),
    /// A newer Kelly declared the range with rules this one does not know.
    #[error(
        "a range was declared with shape {found:?}, this Kelly writes {SHAPE:?}: finish it with the version that began it"
    )]
    OtherShape {
        /// The shape in the journal.
        found: String,
    },
    /// The topic was deleted and made anew, and the brokers kept the group's position.
    #[error(
        "the position is of an earlier topic of this name: stop every instance and set it to where reading is to begin: {help}"
    )]
    OtherTopic {
        /// How to set it.
        help: String,
    },
}

impl Journal {
    /// Reads a commit's metadata. Empty metadata (a position set by hand) is `None`.
    pub fn parse(metadata: &str) -> Result<Option<Self>, JournalError> {
        if metadata.is_empty() {
            return Ok(None);
        }
        let foreign = || JournalError::Foreign(metadata.chars().take(80).collect());
        let mut fields = metadata.split(';');
        if fields.next() != Some("kelly1") {
            return Err(foreign());
        }
        let (mut nonce, mut end, mut shape, mut age, mut raw) = (None, None, None, None, None);
        let mut doubtful_to = None;
        for field in fields {
            match field.split_once('=') {
                Some(("nonce", value)) => nonce = Nonce::parse(value),
                Some(("end", value)) => end = Some(value.parse::<u64>().map_err(|_| foreign())?),
                Some(("shape", value)) => shape = Some(value),
                Some(("age", value)) => age = Some(value.parse::<i64>().map_err(|_| foreign())?),
                Some(("doubt", value)) => doubtful_to = Some(value.parse::<u64>().map_err(|_| foreign())?),
                Some(("raw", value)) => raw = Some(value.parse::<i64>().map_err(|_| foreign())?),
                // Another shape may say more.
                Some(_) if shape.is_some_and(|shape| shape != SHAPE) => {}
                _ => return Err(foreign()),
            }
        }
        let nonce = nonce.ok_or_else(foreign)?;
        let journal = match (end, shape, age.zip(raw)) {
            (None, None, None) => Self::Idle { nonce, doubtful_to },
            (Some(end), Some(SHAPE), Some((max_age_ms, raw_retention_ms))) => {
                let horizon = Horizon { max_age_ms, raw_retention_ms };
                Self::Declared { nonce, end, horizon, doubtful_to }
            }
            (Some(_), Some(other), _) if other != SHAPE => {
                return Err(JournalError::OtherShape { found: other.to_owned() });
            }
            _ => return Err(foreign()),
        };
        // To the letter what Kelly writes: a field that is there twice has two meanings.
        if journal.to_string() == metadata { Ok(Some(journal)) } else { Err(foreign()) }
    }

    /// The generation of the partition this entry belongs to.
    pub fn nonce(&self) -> Nonce {
        match self {
            Self::Idle { nonce, .. } | Self::Declared { nonce, .. } => *nonce,
        }
    }

    /// Up to where ranges are compared with the store, see [`Journal::Idle`].
    pub fn doubtful_to(&self) -> Option<u64> {
        match self {
            Self::Idle { doubtful_to, .. } | Self::Declared { doubtful_to, .. } => *doubtful_to,
        }
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kelly1;nonce={}", self.nonce())?;
        if let Self::Declared { end, horizon: Horizon { max_age_ms, raw_retention_ms }, .. } = self {
            write!(f, ";end={end};shape={SHAPE};age={max_age_ms};raw={raw_retention_ms}")?;
        }
        match self.doubtful_to() {
            Some(to) => write!(f, ";doubt={to}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let horizon = Horizon { max_age_ms: 7_776_000_000, raw_retention_ms: 0 };
        for nonce in ["00c0ffee", "00c0ffee00c0ffee"].map(|text| Nonce::parse(text).unwrap()) {
            for doubtful_to in [None, Some(u64::MAX)] {
                let declared = Journal::Declared { nonce, end: u64::MAX, horizon, doubtful_to };
                for entry in [Journal::Idle { nonce, doubtful_to }, declared] {
                    assert_eq!(Journal::parse(&entry.to_string()), Ok(Some(entry)));
                }
            }
        }
    }

    #[test]
    fn empty_metadata_is_a_position_set_by_hand() {
        assert_eq!(Journal::parse(""), Ok(None));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for text in [
            "x",
            "kelly1",
            "kelly2;nonce=00c0ffee",
            "kelly1;nonce=00c0ffee;end=1",
            "kelly1;nonce=zz;end=1;shape=m5",
            "kelly1;nonce=00c0ffee;end=-1;shape=m5;age=1;raw=1",
            "kelly1;nonce=00c0ffee;end=1;shape=m5",
            "kelly1;nonce=00c0ffee;age=1;raw=1",
            "kelly1;nonce=00c0ffee;more=1",
            "kelly1;nonce=00c0ffee;doubt=",
            "kelly1;doubt=1;nonce=00c0ffee",
            "kelly1;nonce=00c0ffee;nonce=00c0ffee",
            "kelly1;nonce=+0c0ffee",
            "kelly1;nonce=00c0ffee;end=1;shape=m5;age=+1;raw=1",
            "kelly1;nonce=00c0ffee;end=1;end=2;shape=m5;age=1;raw=1",
        ] {
            assert!(matches!(Journal::parse(text), Err(JournalError::Foreign(_))), "{text}");
        }
        assert!(matches!(
            Journal::parse("kelly1;nonce=00c0ffee;end=1;shape=m999;colour=blue"),
            Err(JournalError::OtherShape { .. })
        ));
        // Begun when an account's day was a row a bucket and rollups had no markers: its blocks cannot be made again.
        assert!(matches!(
            Journal::parse("kelly1;nonce=00c0ffee;end=1;shape=m1;age=1;raw=1"),
            Err(JournalError::OtherShape { .. })
        ));
    }
}
