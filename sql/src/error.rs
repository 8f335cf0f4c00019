//! What can go wrong between Kelly and its store.

use kelly_schemas::error_chain;

/// Result of a call on the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A failed call: what was attempted, and what came back.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing answered, or the connection broke; whether the call took effect is unknown.
    #[error(
        "the store could not be reached to {action}: {detail}; check that it runs and that KELLY_STORE names it"
    )]
    Unreachable {
        /// What was attempted.
        action: String,
        /// What the connection said.
        detail: String,
    },
    /// No answer within the deadline; whether the call took effect is unknown.
    #[error(
        "the store did not answer in time to {action}; it may be overloaded: look at its CPU, disk and merges"
    )]
    TimedOut {
        /// What was attempted.
        action: String,
    },
    /// It responds to nothing, be it as simple as can be; whether the call took effect is unknown.
    #[error(
        "the store does not respond (not to the simplest question within {seconds} s), so it could not {action}; look whether \
         its process is stopped or its machine or disk stands still"
    )]
    NotResponding {
        /// What was attempted.
        action: String,
        /// How long a trivial answer was awaited.
        seconds: u64,
    },
    /// The files of the embedded store were deleted, moved or replaced under it.
    #[error(
        "the store's directory {0}; rows wait on the log. Stop Kelly, put the directory back (without a backup the next start \
         makes an empty one), and start it again"
    )]
    Removed(kelly_directory::Removed),
    /// The server answered with an exception.
    #[error("the store refused to {action}: {message} (ClickHouse error {code})")]
    Refused {
        /// What was attempted.
        action: String,
        /// ClickHouse's number of the error.
        code: u32,
        /// Its first line.
        message: String,
    },
    /// The server has no room for what it was sent.
    #[error(
        "the store's disk is full, so it refused to {action}: {message}; make room on the disk that holds {path} and \
         Kelly goes on by itself"
    )]
    DiskFull {
        /// What was attempted.
        action: String,
        /// Where the fullest of the store's disks is.
        path: String,
        /// What the server said.
        message: String,
    },
    /// The answer was not what this version of Kelly expects.
    #[error("the store's answer to {action} could not be understood: {detail}")]
    Unexpected {
        /// What was attempted.
        action: String,
        /// What was wrong with the answer.
        detail: String,
    },
    /// A batch that is not made for its table.
    #[error("a batch for table {table} has the wrong columns: {detail}")]
    WrongBatch {
        /// The table.
        table: &'static str,
        /// The first difference.
        detail: String,
    },
    /// A setting Kelly cannot work with.
    #[error("the store's configuration is wrong: {0}")]
    Configuration(String),
    /// The tables are not those this binary works with.
    #[error("{0}")]
    Schema(#[from] crate::migrate::SchemaError),
}

/// Exceptions that pass by themselves or once somebody makes room, by ClickHouse's numbers.
const PASSING: [u32; 27] = [
    3,    // UNEXPECTED_END_OF_FILE: the request broke off
    74,   // CANNOT_READ_FROM_FILE_DESCRIPTOR
    75,   // CANNOT_WRITE_TO_FILE_DESCRIPTOR: a full disk
    76,   // CANNOT_OPEN_FILE: out of descriptors
    159,  // TIMEOUT_EXCEEDED
    160,  // TOO_SLOW
    164,  // READONLY: a replica in maintenance
    202,  // TOO_MANY_SIMULTANEOUS_QUERIES
    203,  // NO_FREE_CONNECTION
    209,  // SOCKET_TIMEOUT
    210,  // NETWORK_ERROR
    225,  // NO_ZOOKEEPER
    236,  // ABORTED: the server is shutting down
    241,  // MEMORY_LIMIT_EXCEEDED
    242,  // TABLE_IS_READ_ONLY
    243,  // NOT_ENOUGH_SPACE
    244,  // UNEXPECTED_ZOOKEEPER_ERROR
    252,  // TOO_MANY_PARTS
    254,  // NO_ACTIVE_REPLICAS
    285,  // TOO_FEW_LIVE_REPLICAS
    286,  // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
    319,  // UNKNOWN_STATUS_OF_INSERT
    394,  // QUERY_WAS_CANCELLED
    439,  // CANNOT_SCHEDULE_TASK
    999,  // KEEPER_EXCEPTION
    1000, // POCO_EXCEPTION: mostly I/O
    1001, // STD_EXCEPTION: mostly I/O and memory
];

impl StoreError {
    /// Whether the same call may succeed later with nothing changed. An insert retried with its token is safe,
    /// whatever became of the first attempt.
    pub fn is_retryable(&self) -> bool {
        match self {
            StoreError::Unreachable { .. }
            | StoreError::TimedOut { .. }
            | StoreError::NotResponding { .. }
            | StoreError::Removed(_)
            | StoreError::DiskFull { .. } => true,
            StoreError::Refused { code, .. } => PASSING.contains(code),
            StoreError::Unexpected { .. }
            | StoreError::WrongBatch { .. }
            | StoreError::Configuration(_)
            | StoreError::Schema(_) => false,
        }
    }

    /// Whether a question was ended for the time it takes: on an idle server too it may take as long.
    pub fn is_out_of_time(&self) -> bool {
        // TIMEOUT_EXCEEDED, TOO_SLOW
        matches!(self, StoreError::Refused { code: 159 | 160, .. })
    }

    /// Whether the store responds to nothing, whatever it is asked.
    pub fn is_not_responding(&self) -> bool {
        matches!(self, StoreError::NotResponding { .. })
    }

    /// Whether the server said that the user may not do that.
    pub fn is_access_denied(&self) -> bool {
        // ACCESS_DENIED
        matches!(self, StoreError::Refused { code: 497, .. })
    }

    /// Whether the server said that a disk has no room.
    pub(crate) fn is_disk_full(&self) -> bool {
        // NOT_ENOUGH_SPACE, or whatever was under way when the system gave ENOSPC.
        matches!(self, StoreError::Refused { code, message, .. } if *code == 243 || message.contains("No space left"))
    }

    /// Whether a question was refused for the memory it takes: asked again as it is, it is refused again.
    pub fn is_too_large(&self) -> bool {
        // MEMORY_LIMIT_EXCEEDED
        matches!(self, StoreError::Refused { code: 241, .. })
    }

    /// Wraps what the client library said while `action` (an infinitive: "read the feed") was attempted.
    pub(crate) fn query(action: impl Into<String>, error: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error;
        let action = action.into();
        match error {
            Error::TimedOut => StoreError::TimedOut { action },
            Error::Network(source) => {
                StoreError::Unreachable { action, detail: error_chain(source.as_ref()) }
            }
            Error::BadResponse(text) => match exception_code(&text) {
                Some(code) => StoreError::Refused { action, code, message: first_line(&text) },
                // A proxy's page or an answer cut off: nothing a caller can tell from a broken connection.
                None => StoreError::Unreachable { action, detail: first_line(&text) },
            },
            other => StoreError::Unexpected { action, detail: error_chain(&other) },
        }
    }
}

/// The number in `Code: 241. DB::Exception: …`.
fn exception_code(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Code: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// The exception without its prefix, stack trace and version, at most 500 characters.
fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let line = line.split_once("DB::Exception: ").map_or(line, |(_, message)| message);
    let line = line.split(" (version ").next().unwrap_or(line);
    line.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> StoreError {
        StoreError::query("insert rows", clickhouse::error::Error::BadResponse(text.to_owned()))
    }

    #[test]
    fn an_exception_is_classed_by_its_number() {
        let text = "Code: 252. DB::Exception: Too many parts (301) in table 'kelly.x'. (TOO_MANY_PARTS) (version 26.7.2.1)\nStack trace: …";
        let error = refused(text);
        assert!(error.is_retryable());
        assert_eq!(
            error.to_string(),
            "the store refused to insert rows: Too many parts (301) in table 'kelly.x'. (TOO_MANY_PARTS) (ClickHouse error 252)"
        );
        assert!(
            !refused("Code: 60. DB::Exception: Table kelly.x does not exist. (UNKNOWN_TABLE)").is_retryable()
        );
        let denied = refused("Code: 497. DB::Exception: kelly: Not enough privileges. (ACCESS_DENIED)");
        assert!(denied.is_access_denied() && !denied.is_retryable() && !error.is_access_denied());
        assert!(refused("<html>502 Bad Gateway</html>").is_retryable());
    }
}
