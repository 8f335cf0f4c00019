//! What can go wrong with a replica.

use std::io;

use kelly_stream::LogError;

use crate::command::InvalidCommand;

/// Why there is no replica, or why it has ended.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The log does not answer, or refuses.
    #[error("could not follow the control log")]
    Log(#[from] LogError),
    /// Its end lies before what was applied.
    #[error(
        "the control log {topic} went back: it ends at {end}, but {applied} records of it were applied; decisions are lost, so \
         nothing is decided upon it. Restore the log, or, if it was made anew on purpose, remove the snapshots in {snapshots}"
    )]
    WentBack {
        /// The topic.
        topic: String,
        /// Its end.
        end: u64,
        /// The next record that is wanted.
        applied: u64,
        /// Where snapshots are.
        snapshots: String,
    },
    /// Another topic has its name.
    #[error(
        "the control log {topic} is another one than before; what was decided is not in it. Restore the log, or, if it was made \
         anew on purpose, remove the snapshots in {snapshots}"
    )]
    OtherTopic {
        /// The topic.
        topic: String,
        /// Where snapshots are.
        snapshots: String,
    },
    /// Records were removed that were not applied.
    #[error(
        "the control log {topic} has lost records: {found} is the first one there, but {expected} is the next one to apply. \
         Restore the log; nothing may remove its records"
    )]
    Removed {
        /// The topic.
        topic: String,
        /// The next record that is wanted.
        expected: u64,
        /// The first that is there.
        found: u64,
    },
    /// A newer Kelly has taken over.
    #[error(
        "commands of version {version} count since record {offset}, and this Kelly does not know them; run the newer version"
    )]
    TooOld {
        /// That version.
        version: u16,
        /// Since when.
        offset: u64,
    },
    /// The barrier of the start did not come back.
    #[error("the control log did not give back this instance's own record within {seconds} s; {fix}")]
    NoBarrier {
        /// How long was waited.
        seconds: u64,
        /// What a person can do.
        fix: String,
    },
    /// Snapshots cannot be read.
    #[error("could not read the snapshots of the control log's state in {place}")]
    Snapshots {
        /// Where they are.
        place: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("could not start the thread that follows the control log")]
    Thread(#[source] io::Error),
}

impl ReplicaError {
    /// Whether trying again may help without anybody doing anything.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Log(error) => {
                !matches!(error, LogError::Closed | LogError::Corrupt { .. } | LogError::Removed { .. })
            }
            _ => false,
        }
    }
}

/// Why a command was not decided upon.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// As many commands are under way as can be. Nothing was sent.
    #[error("too many commands are waiting for the control log; try again in a moment")]
    Busy,
    /// It is none. Nothing was sent.
    #[error("the command cannot be written")]
    Invalid(#[from] InvalidCommand),
    /// The log did not take it. Nothing was sent.
    #[error("the control log did not take the command; nothing was done")]
    NotSent(#[source] LogError),
    /// This instance does not follow the log any more. Nothing was sent.
    #[error("this instance does not follow the control log: {0}")]
    Stopped(String),
}
