//! What the store answers where it cannot do something, in the words of the port.

use std::path::Path;

use super::damage;
use crate::error::LogError;

/// The store's errors in the words of the port.
pub(super) fn failure(dir: &Path, doing: String, error: fjall::Error) -> LogError {
    match error {
        fjall::Error::Locked => LogError::Locked { dir: dir.into(), owner: None },
        fjall::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            LogError::Full { what: format!("no space is left on the disk of {}", dir.display()) }
        }
        fjall::Error::InvalidVersion(version) => damage::of_version(dir, version.is_some()),
        error if is_of_damage(&error) => damage::of_files(dir, &cause(&error)),
        error => LogError::Unavailable {
            doing,
            fix: format!("check the disk and the rights of {}", dir.display()),
            source: Some(Box::new(error)),
        },
    }
}

/// Whether no repetition helps: the files are not what the store wrote.
fn is_of_damage(error: &fjall::Error) -> bool {
    use fjall::LsmError::{ChecksumMismatch, InvalidHeader, InvalidTag, InvalidTrailer, Io, Unrecoverable};
    match error {
        fjall::Error::JournalRecovery(_) | fjall::Error::Unrecoverable | fjall::Error::InvalidTrailer => true,
        fjall::Error::Storage(
            ChecksumMismatch { .. } | InvalidHeader(_) | InvalidTag(_) | InvalidTrailer | Unrecoverable,
        ) => true,
        // Seeking before the beginning of a file, or reading past its end.
        fjall::Error::Storage(Io(error)) | fjall::Error::Io(error) => {
            matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

/// What the store said, without the names of its types.
fn cause(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Storage(error) => error.to_string().replace("LsmTreeError: ", ""),
        error => error.to_string().replace("FjallError: ", ""),
    }
}
