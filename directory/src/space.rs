//! Room on the disk of a directory, asked of the file system it lies on: a list of the machine's disks does not tell which
//! one that is, with mounts of memory, overlays, binds and networks.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::statvfs;

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Tells one file system from another.
    pub id: u64,
    /// Bytes this user may still write.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

impl Space {
    /// Of the file system `path` lies on.
    ///
    /// # Errors
    /// When there is no such path.
    pub fn at(path: &Path) -> io::Result<Self> {
        let found = statvfs(path)?;
        // The number of its device: `statvfs` has one of its own, which many file systems leave at zero.
        let id = std::fs::metadata(path)?.dev();
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { id, free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    }

    /// The same of where a directory would be made: its nearest parent that is there.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn at_nearest(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let mut last = Err(io::Error::from(io::ErrorKind::NotFound));
        for place in path.ancestors() {
            last = Self::at(place);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_has_the_room_of_its_parent() {
        let directory = tempfile::tempdir().unwrap();
        let here = Space::at(directory.path()).unwrap();
        assert!(here.total > 0 && here.free <= here.total, "{here:?}");
        assert!(Space::at(&directory.path().join("a/b")).is_err());
        let there = Space::at_nearest(&directory.path().join("a/b")).unwrap();
        assert_eq!((there.id, there.total), (here.id, here.total));
    }
}
