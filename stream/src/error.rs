//! What can go wrong on the log, said so that a person can fix it.

use std::path::PathBuf;

use crate::port::TopicPartition;

/// Failure of a call on the port. A variant says what was attempted and how to go on; the cause is
/// the error's `source` and stays out of the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A bounded queue or the disk is full: nothing was taken.
    #[error("the log is full: {what}; nothing was taken, try again later")]
    Full {
        /// Which bound was reached.
        what: String,
    },
    /// The assignment is over: somebody else owns the partition now.
    #[error(
        "{topic}/{partition} is not assigned to this consumer any more (epoch {epoch}): \
         its new owner goes on from the last committed position"
    )]
    Fenced {
        /// Topic.
        topic: String,
        /// Partition.
        partition: u32,
        /// Epoch the refused commit carried.
        epoch: u64,
    },
    /// The log cannot be reached or cannot do its work now.
    #[error("could not {doing}: the log is unavailable; {fix}")]
    Unavailable {
        /// What was attempted.
        doing: String,
        /// What a person can do.
        fix: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// It did not answer in time: done or not done, nobody knows.
    #[error(
        "could not learn whether this was done: {doing}; it may have been, so repeat it only if that is harmless"
    )]
    Unknown {
        /// What was attempted.
        doing: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A topic is there, but not as it is needed.
    #[error("topic {topic} has {found}, but {wanted} is needed; {fix}")]
    TopicMismatch {
        /// Topic.
        topic: String,
        /// What it has.
        found: String,
        /// What is needed.
        wanted: String,
        /// What a person can do.
        fix: String,
    },
    /// No such topic.
    #[error("there is no topic {topic}; create it first (Kelly creates its own at start-up)")]
    UnknownTopic {
        /// Topic.
        topic: String,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition {
        /// Topic.
        topic: String,
        /// Partition.
        partition: u32,
    },
    /// A record, an append or a commit's text is larger than the log takes.
    #[error("{what} has {bytes} bytes, at most {limit} are taken; send it in smaller parts")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// Another process has the directory open.
    #[error(
        "the log in {dir} is in use by another process{owner}; stop that one first, or choose another directory",
        dir = dir.display(),
        owner = owner.map_or_else(String::new, |id| format!(" ({id})"))
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process, where it is known.
        owner: Option<u32>,
    },
    /// Its files were deleted, moved or replaced under it.
    #[error(
        "{what} was deleted, moved or replaced while the log was in use, so nothing more is recorded; stop Kelly, put the \
         directory back (or take away what is left of it to begin with an empty log), and start it again"
    )]
    Removed {
        /// Which of them.
        what: String,
    },
    /// What lies on the disk, or what a position says, contradicts itself.
    #[error("the log is damaged: {what}; {fix}")]
    Corrupt {
        /// What was found.
        what: String,
        /// What a person can do.
        fix: String,
    },
    /// A setting cannot be used.
    #[error("setting {property} cannot be used: {reason}")]
    Config {
        /// The setting.
        property: String,
        /// Why, and what to do instead.
        reason: String,
    },
    /// The log refused for good: not allowed, or malformed.
    #[error("could not {doing}: refused; {fix}")]
    Refused {
        /// What was attempted.
        doing: String,
        /// What a person can do.
        fix: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The log or the consumer was closed.
    #[error("the log was closed")]
    Closed,
}

impl LogError {
    /// Whether the same call may succeed later without anybody fixing anything. An append that is
    /// repeated after [`LogError::Unknown`] may put its records on the log twice.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Unavailable { .. } | Self::Unknown { .. })
    }

    /// A reader's offset lies behind the end of its partition.
    pub(crate) fn ends_before(partition: &TopicPartition, offset: u64, end: u64) -> Self {
        Self::Corrupt {
            what: format!(
                "{}/{} is to be read at offset {offset}, but it ends at {end}",
                partition.topic, partition.partition
            ),
            fix: "the topic was made anew or records were lost; read it from its ends on".into(),
        }
    }

    pub(crate) fn fenced(partition: &TopicPartition, epoch: u64) -> Self {
        Self::Fenced { topic: partition.topic.to_string(), partition: partition.partition, epoch }
    }
}
