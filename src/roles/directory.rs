//! The data directory: it is there, it can be written, and one process has it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, bail};

use super::parts::Part;

/// Name of the lock file; its text is the owner's process id, for people.
const LOCK_FILE: &str = "kelly.lock";

/// Holds the directory until it is dropped or the process ends in whatever way.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

impl Claim {
    /// The claim as a part of a role: the last to be let go.
    pub fn into_part(self) -> Part {
        Part::new("data directory", "nothing", move || async move {
            drop(self);
            Ok(())
        })
    }
}

/// Creates the directory when it is missing and claims it.
pub fn claim(directory: &Path) -> anyhow::Result<Claim> {
    let shown = directory.display();
    if directory.is_file() {
        bail!("the data directory {shown} is a file; choose a directory with --data");
    }
    create(directory).with_context(|| {
        format!("the data directory {shown} cannot be created; choose another with --data")
    })?;
    let path = directory.join(LOCK_FILE);
    let mut lock =
        File::options().create(true).truncate(false).write(true).open(&path).with_context(|| {
            format!("the data directory {shown} cannot be written; choose another with --data")
        })?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let owner = std::fs::read_to_string(&path).unwrap_or_default();
            let owner = match owner.trim() {
                "" => String::new(),
                process => format!(" (process {process})"),
            };
            bail!(
                "the data directory {shown} is in use by another kelly{owner}: stop that one, or \
                 choose another directory with --data"
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("locking {}", path.display()));
        }
    }
    // Only for the message above: a failure to write it takes nothing away.
    let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    if let Err(error) = written {
        tracing::debug!(%error, "the lock file does not name its owner");
    }
    Ok(Claim { _lock: lock })
}

/// The process that has the directory, if one has: its id, as far as it wrote it down. Changes nothing.
pub fn owner(directory: &Path) -> Option<String> {
    let path = directory.join(LOCK_FILE);
    let lock = File::open(&path).ok()?;
    // Shared, so that two who look do not take each other for the owner.
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let owner = std::fs::read_to_string(&path).unwrap_or_default();
            Some(if owner.trim().is_empty() { "unknown".to_owned() } else { owner.trim().to_owned() })
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// Name of the file with the address of the HTTP interface, for the tools.
const ADDRESS_FILE: &str = "kelly.address";

/// Notes where the owner of the directory listens.
pub fn note_address(directory: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let path = directory.join(ADDRESS_FILE);
    std::fs::write(&path, format!("{address}\n")).with_context(|| format!("writing {}", path.display()))
}

/// Where the process that has the directory listens. One that ended has left its address, which says nothing.
pub fn noted_address(directory: &Path) -> Option<SocketAddr> {
    owner(directory)?;
    std::fs::read_to_string(directory.join(ADDRESS_FILE)).ok()?.trim().parse().ok()
}

/// Creates it for its owner alone; parents that are missing get the usual rights.
fn create(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("a/b");
        let first = claim(&data).unwrap();
        let mode = std::fs::metadata(&data).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "its owner's alone");
        let told = claim(&data).unwrap_err().to_string();
        assert!(told.contains("is in use by another kelly"), "{told}");
        assert!(told.contains(&std::process::id().to_string()), "{told}");
        assert_eq!(owner(&data), Some(std::process::id().to_string()));
        let address = SocketAddr::from(([127, 0, 0, 1], 9_000));
        note_address(&data, address).unwrap();
        assert_eq!(noted_address(&data), Some(address));
        drop(first);
        assert_eq!(noted_address(&data), None, "nobody listens there any more");
        assert_eq!((owner(&data), owner(Path::new("/nowhere"))), (None, None));
        claim(&data).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let told = claim(&file).unwrap_err().to_string();
        assert!(told.contains("is a file; choose a directory with --data"), "{told}");
        let told = format!("{:#}", claim(&file.join("data")).unwrap_err());
        assert!(told.contains("cannot be created; choose another with --data"), "{told}");
    }
}
