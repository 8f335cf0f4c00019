//! The data directory: it is there, it can be written, and one process has it.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::Context;
use kelly_cli::Usage;
use kelly_directory::{Lock, LockError};

use super::parts::Part;

/// Name of the lock file; its text is the owner's process id, for people.
const LOCK_FILE: &str = "kelly.lock";

/// Holds the directory until it is dropped or the process ends in whatever way.
#[derive(Debug)]
pub struct Claim {
    _lock: Lock,
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

/// Creates the directory when it is missing and claims it. A Kelly that was killed and has not ended yet is waited for.
pub async fn claim(directory: &Path) -> anyhow::Result<Claim> {
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || claim_now(&directory)).await.context("claiming the data directory")?
}

fn claim_now(directory: &Path) -> anyhow::Result<Claim> {
    let shown = directory.display();
    if directory.is_file() {
        return Err(usage(format!("the data directory {shown} is a file; choose a directory with --data")));
    }
    create(directory).with_context(|| {
        format!("the data directory {shown} cannot be created; choose another with --data")
    })?;
    let path = directory.join(LOCK_FILE);
    match Lock::acquire(&path) {
        Ok(lock) => Ok(Claim { _lock: lock }),
        Err(error @ LockError::File { .. }) => Err(error).with_context(|| {
            format!("the data directory {shown} cannot be written; choose another with --data")
        }),
        Err(error) => Err(usage(format!(
            "the data directory {shown} is {error}: stop that one, or choose another directory with --data"
        ))),
    }
}

fn usage(what: String) -> anyhow::Error {
    Usage(what).into()
}

/// The process that has the directory, if one has: its id, as far as it wrote it down. Changes nothing.
pub fn owner(directory: &Path) -> Option<String> {
    kelly_directory::holder(&directory.join(LOCK_FILE))
}

/// Name of the file with the address of the HTTP interface, for the tools.
const ADDRESS_FILE: &str = "kelly.address";

/// Notes where the owner of the directory listens. Where that fails, the address of an earlier one is taken away if it can be.
pub fn note_address(directory: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let path = directory.join(ADDRESS_FILE);
    std::fs::write(&path, format!("{address}\n"))
        .inspect_err(|_| drop(std::fs::remove_file(&path)))
        .with_context(|| format!("writing {}", path.display()))
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
        let first = claim_now(&data).unwrap();
        let mode = std::fs::metadata(&data).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "its owner's alone");
        let refused = claim_now(&data).unwrap_err();
        assert!(refused.is::<Usage>(), "only another command line helps");
        let words = refused.to_string();
        assert!(words.contains("is in use by another Kelly"), "{words}");
        assert!(words.contains(&std::process::id().to_string()), "{words}");
        assert_eq!(owner(&data), Some(std::process::id().to_string()));
        let address = SocketAddr::from(([127, 0, 0, 1], 9_000));
        note_address(&data, address).unwrap();
        assert_eq!(noted_address(&data), Some(address));
        drop(first);
        assert_eq!(noted_address(&data), None, "nobody listens there any more");
        assert_eq!((owner(&data), owner(Path::new("/nowhere"))), (None, None));
        claim_now(&data).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let words = claim_now(&file).unwrap_err().to_string();
        assert!(words.contains("is a file; choose a directory with --data"), "{words}");
        let words = format!("{:#}", claim_now(&file.join("data")).unwrap_err());
        assert!(words.contains("cannot be created; choose another with --data"), "{words}");
    }
}
