//! Whether a path still leads to the directory that was opened. Files that are open can be written after somebody deleted
//! their directory, and nothing of that is there at the next start.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, fstat, open, stat};

/// A directory as it was when it was opened.
#[derive(Debug)]
pub struct Identity {
    path: PathBuf,
    /// Kept open, so that the system gives its number to no other directory.
    directory: OwnedFd,
}

/// The path leads elsewhere, or nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} was deleted, moved or replaced while it was in use", .path.display())]
pub struct Removed {
    /// The path.
    pub path: PathBuf,
}

impl Identity {
    /// Remembers the directory at `path`.
    ///
    /// # Errors
    /// When there is none, or it may not be opened.
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let directory = open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path, directory })
    }

    /// Whether the path still leads to it: two questions to the system, no access to the disk. A question that cannot be
    /// answered counts as yes.
    ///
    /// # Errors
    /// When it does not.
    pub fn verify(&self) -> Result<(), Removed> {
        let removed = || Removed { path: self.path.clone() };
        let Ok(ours) = fstat(&self.directory) else { return Ok(()) };
        match stat(&self.path) {
            Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) && ours.st_nlink > 0 => {
                Ok(())
            }
            Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Err(removed()),
            Err(_) => Ok(()),
        }
    }

    /// Whether it was deleted, so that no path will ever lead to it again. One that was moved, or whose disk was taken away,
    /// may come back. A question that cannot be answered counts as no.
    pub fn is_deleted(&self) -> bool {
        fstat(&self.directory).is_ok_and(|directory| directory.st_nlink == 0)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_happens_to_a_directory_is_seen() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        fs::create_dir(&path).unwrap();
        let identity = Identity::of(&path).unwrap();
        identity.verify().unwrap();

        let aside = place.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        assert_eq!(identity.verify(), Err(Removed { path: path.clone() }));
        assert!(!identity.is_deleted(), "it may come back");
        fs::create_dir(&path).unwrap();
        assert!(identity.verify().is_err(), "another directory in its place");
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        identity.verify().unwrap();

        fs::remove_dir(&path).unwrap();
        assert!(identity.verify().is_err());
        assert!(identity.is_deleted());
        fs::create_dir(&path).unwrap();
        assert!(identity.verify().is_err(), "its number was given to another");
        assert!(Identity::of(&place.path().join("none")).is_err());
    }
}
