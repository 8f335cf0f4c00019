//! Where snapshots are kept.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use crate::snapshot::Snapshot;

/// Snapshots that are kept: at it the oldest is removed. More than one, because the newest may be damaged.
const KEPT: usize = 3;

const SUFFIX: &str = "snapshot";

/// Keeps snapshots by the next offset of their state. Blocks.
pub trait Snapshots: Send + Sync {
    /// The offsets of those there are, lowest first.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn list(&self) -> io::Result<Vec<u64>>;
    /// The bytes of one.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read(&self, next_offset: u64) -> io::Result<Vec<u8>>;
    /// Keeps one more, and removes what is too old. Afterwards it is durable.
    ///
    /// # Errors
    /// When it cannot be written.
    fn write(&self, next_offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Where they are, for people.
    fn describe(&self) -> String;
}

/// Snapshots in a directory of their own. Several processes that follow the same log may share it: what two write of one
/// offset is equal.
#[derive(Debug)]
pub struct FileSnapshots {
    directory: PathBuf,
}

impl FileSnapshots {
    /// In this directory; it is made when the first is written, in one that has to be there.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn path(&self, next_offset: u64) -> PathBuf {
        self.directory.join(format!("{next_offset:020}.{SUFFIX}"))
    }
}

impl Snapshots for FileSnapshots {
    fn list(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut offsets = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let offset: Option<u64> =
                name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.strip_suffix('.')?.parse().ok());
            offsets.extend(offset);
        }
        offsets.sort_unstable();
        Ok(offsets)
    }

    fn read(&self, next_offset: u64) -> io::Result<Vec<u8>> {
        fs::read(self.path(next_offset))
    }

    fn write(&self, next_offset: u64, bytes: &[u8]) -> io::Result<()> {
        // Never what is around it: where that was deleted, nothing is made again.
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let unfinished = self.directory.join(format!("unfinished-{}", std::process::id()));
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.path(next_offset))?;
        File::open(&self.directory)?.sync_all()?;
        let offsets = self.list()?;
        for offset in &offsets[..offsets.len().saturating_sub(KEPT)] {
            match fs::remove_file(self.path(*offset)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        self.directory.display().to_string()
    }
}

/// The newest snapshot that is whole, of a state that goes no further than `at_most`. One that is not whole is passed over:
/// the log has everything.
pub(crate) fn newest(snapshots: &dyn Snapshots, at_most: u64) -> io::Result<Option<Snapshot>> {
    for offset in snapshots.list()?.into_iter().rev().filter(|offset| *offset <= at_most) {
        match Snapshot::from_bytes(&snapshots.read(offset)?) {
            Ok(snapshot) => return Ok(Some(snapshot)),
            Err(fault) => {
                let place = snapshots.describe();
                tracing::warn!(offset, place, %fault, "a snapshot of the control log's state is passed over");
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    #[test]
    fn the_newest_whole_snapshot_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = FileSnapshots::new(directory.path().join("new"));
        assert_eq!(newest(&snapshots, u64::MAX).unwrap(), None);
        let bytes = |id| Snapshot { topic_id: Some(id), state: State::default() }.to_bytes();
        for offset in [10, 20, 30, 40] {
            snapshots.write(offset, &bytes(offset)).unwrap();
        }
        assert_eq!(snapshots.list().unwrap(), [20, 30, 40]);
        let id = |at_most| newest(&snapshots, at_most).unwrap().and_then(|snapshot| snapshot.topic_id);
        assert_eq!((id(u64::MAX), id(39), id(19)), (Some(40), Some(30), None));
        fs::write(snapshots.path(40), &bytes(40)[..60]).unwrap();
        assert_eq!(id(u64::MAX), Some(30));
        fs::write(directory.path().join("new/note.txt"), "x").unwrap();
        assert_eq!(snapshots.list().unwrap(), [20, 30, 40]);
    }
}
