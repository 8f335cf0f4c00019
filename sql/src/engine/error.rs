//! Why the embedded engine could not be started.

use std::io;
use std::path::PathBuf;

use kelly_directory::LockError;

/// A failed start: what was wrong, where, and how to fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// libchdb is nowhere.
    #[error(
        "the embedded engine's library (libchdb) was not found; looked at {}. `scripts/setup engine` of Kelly's \
         source tree fetches it, KELLY_LIBCHDB=/path/to/libchdb.so names one, and KELLY_STORE=http://user@host:8123/kelly \
         uses a ClickHouse server instead",
        list(.looked_at)
    )]
    LibraryMissing {
        /// Paths that were tried.
        looked_at: Vec<PathBuf>,
    },
    /// No libchdb is known for this platform.
    #[error(
        "no embedded engine (libchdb) is known to run on {platform}; use a ClickHouse server with \
         KELLY_STORE=http://user@host:8123/kelly, or name a libchdb built for it with KELLY_LIBCHDB=/path/to/libchdb.so"
    )]
    UnsupportedPlatform {
        /// Operating system, processor and C library.
        platform: String,
    },
    /// Another engine has the directory, or one that is ending does not let go of it.
    #[error("{} is {source}; stop that one, or choose another directory with --data", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who has it.
        source: LockError,
    },
    /// Something with the directory's files.
    #[error("cannot {action} {}: {source}", .path.display())]
    Files {
        /// What was attempted.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the directory is not what Kelly wrote.
    #[error("{} is damaged ({detail}); remove it, a new one is written", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The system gave no free port or no randomness.
    #[error("cannot {action}: {detail}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        detail: String,
    },
    /// The child ended before it answered.
    #[error("the embedded engine ended while it started ({status}): {detail}; its log is {}", .log.display())]
    Died {
        /// How it ended.
        status: String,
        /// The last thing it said.
        detail: String,
        /// Where the rest is.
        log: PathBuf,
    },
    /// The files of an engine that runs are not where they were.
    #[error("the embedded store's directory {0}; it is not started on another")]
    Removed(kelly_directory::Removed),
    /// The child runs and does not answer.
    #[error("the embedded engine did not answer within {seconds} s; its log is {}", .log.display())]
    NotReady {
        /// How long it was given.
        seconds: u64,
        /// Where to look.
        log: PathBuf,
    },
}

impl EngineError {
    /// For `map_err`: an I/O error with what was attempted and where.
    pub(super) fn files(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> EngineError {
        move |source| EngineError::Files { action, path: path.to_owned(), source }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
