//! What is wrong with a directory that the store does not open, by file and with the way out. Looked at before it is opened,
//! where the store would take a loss for a new beginning, and after it failed, where it names no file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::journal;
use crate::error::LogError;
use crate::port::Result;

/// What the store's file `version` holds.
const VERSION: &[u8] = b"FJL\x03";

/// What to do when only another log helps.
const WITHOUT_A_BACKUP: &str = "restore the directory from a backup; without one, move the whole directory away and \
                                start again: the log then begins empty, and what is in the store stays";

/// Takes away what a first start that was cut off left behind, and refuses what lost a file without which records would be
/// missing silently.
pub(super) fn prepare(dir: &Path) -> Result<()> {
    let version = match fs::read(dir.join("version")) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(&dir.join("version"), error)),
    };
    let journals = journal::all(dir).map_err(|error| unreadable(dir, error))?;
    let path = dir.join("version").display().to_string();
    match version.as_deref() {
        Some(VERSION) if journals.is_empty() => Err(LogError::Corrupt {
            what: format!("{} has lost its journal (NUMBER.jnl), with the newest records", dir.display()),
            fix: WITHOUT_A_BACKUP.into(),
        }),
        // Written in full, or by another version: the store says which.
        Some([_, ..]) => Ok(()),
        None if journals.is_empty() => Ok(()),
        None | Some([]) if is_without_records(dir, &journals).map_err(|error| unreadable(dir, error))? => {
            tracing::warn!(dir = %dir.display(), "the first start in this directory was cut off; beginning again");
            begin_again(dir, &journals).map_err(|error| unreadable(dir, error))
        }
        found => Err(LogError::Corrupt {
            what: format!(
                "{path} is {}, and there are records beside it",
                if found.is_some() { "empty" } else { "missing" }
            ),
            fix: format!(
                "restore that file from a backup, or write what it holds: printf 'FJL\\003' > '{}'",
                path.replace('\'', "'\\''")
            ),
        }),
    }
}

/// The error for a file `version` that the store does not know: `other` when it names another version.
pub(super) fn of_version(dir: &Path, is_other: bool) -> LogError {
    let path = dir.join("version");
    if is_other {
        return LogError::Corrupt {
            what: format!("{} was written by another version of the store", dir.display()),
            fix: "use the version of Kelly that wrote it, or another directory".into(),
        };
    }
    LogError::Corrupt {
        what: format!("{} does not hold a version", path.display()),
        fix: format!("restore that file from a backup; {WITHOUT_A_BACKUP}"),
    }
}

/// The error for files of the store that cannot be read, by name where they can be distinguished from the others.
pub(super) fn of_files(dir: &Path, cause: &str) -> LogError {
    let broken = unreadable_archives(dir);
    let what = match broken.as_slice() {
        [] => format!("{}: {cause}", dir.display()),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            format!("{}{more} cannot be read: cut short or overwritten ({cause})", first.display())
        }
    };
    LogError::Corrupt { what, fix: WITHOUT_A_BACKUP.into() }
}

fn unreadable(path: &Path, source: io::Error) -> LogError {
    LogError::Unavailable {
        doing: format!("read {}", path.display()),
        fix: "check the disk and the rights of the directory".into(),
        source: Some(Box::new(source)),
    }
}

/// Whether nothing was ever written: every journal is empty space, and there is no table.
fn is_without_records(dir: &Path, journals: &[PathBuf]) -> io::Result<bool> {
    for journal in journals {
        if !journal::is_unused(journal)? {
            return Ok(false);
        }
    }
    Ok(tables(dir).is_empty())
}

fn begin_again(dir: &Path, journals: &[PathBuf]) -> io::Result<()> {
    for journal in journals {
        fs::remove_file(journal)?;
    }
    for gone in [fs::remove_dir_all(dir.join("keyspaces")), fs::remove_file(dir.join("version"))] {
        match gone {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn tables(dir: &Path) -> Vec<PathBuf> {
    entries(&dir.join("keyspaces")).iter().flat_map(|keyspace| entries(&keyspace.join("tables"))).collect()
}

/// Tables and lists of tables whose end or contents are not those of such a file.
fn unreadable_archives(dir: &Path) -> Vec<PathBuf> {
    let lists = entries(&dir.join("keyspaces")).into_iter().flat_map(|keyspace| {
        let mut lists = entries(&keyspace);
        lists.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.strip_prefix('v').is_some_and(|number| number.parse::<u64>().is_ok())
        });
        lists
    });
    let mut broken: Vec<PathBuf> =
        lists.chain(tables(dir)).filter(|path| sfa::Reader::new(path).is_err()).collect();
    broken.sort();
    broken
}

/// What is in a directory; nothing when it cannot be read.
fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|found| found.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}
