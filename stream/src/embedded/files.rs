//! Whether the log's files are where the next start looks for them. The store holds them open, and goes on writing into
//! files that somebody deleted.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use kelly_directory::Identity;

use super::journal;
use crate::error::LogError;
use crate::port::Result;

/// Entries of the directory without which nothing of it is found again.
const NEEDED: [&str; 2] = ["version", "keyspaces"];

/// A directory's time of change is this exact at worst: as long after a change its entries are looked at again.
const CLOCK_OF_FILES: Duration = Duration::from_secs(2);

/// The directory and what was seen in it.
pub(super) struct Files {
    directory: Identity,
    seen: Mutex<Option<Seen>>,
}

/// The entries as they were.
struct Seen {
    /// The directory's time of change, when it was long enough ago to change with the next change.
    changed: Option<SystemTime>,
    /// Number of the newest journal.
    number: u64,
    /// That journal.
    journal: File,
}

impl Files {
    /// Remembers the directory of a log that has just been opened.
    pub(super) fn of(dir: &Path) -> Result<Self> {
        let directory = Identity::of(dir).map_err(|source| LogError::Unavailable {
            doing: format!("open the directory {}", dir.display()),
            fix: "check that it is there and may be read".into(),
            source: Some(Box::new(source)),
        })?;
        let files = Self { directory, seen: Mutex::new(None) };
        files.verify()?;
        Ok(files)
    }

    /// Whether everything is there: a few questions to the system, cheap beside the sync of a write. While the directory
    /// does not change nothing more is looked at. What the system does not tell counts as being there.
    pub(super) fn verify(&self) -> Result<()> {
        self.directory.verify().map_err(|removed| gone(removed.path))?;
        let dir = self.directory.path();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked before the entries are looked at: a change meanwhile shows at the next look.
        let changed = fs::metadata(dir).and_then(|directory| directory.modified());
        if let (Some(seen), Ok(changed)) = (&*seen, &changed)
            && seen.changed == Some(*changed)
            && is_linked(&seen.journal)
        {
            return Ok(());
        }
        for name in NEEDED {
            let entry = dir.join(name);
            if entry.try_exists().is_ok_and(|exists| !exists) {
                return Err(gone(entry));
            }
        }
        let Ok(newest) = journal::newest(dir) else { return Ok(()) };
        let settled = changed.ok().filter(|changed| {
            SystemTime::now().duration_since(*changed).is_ok_and(|since| since > CLOCK_OF_FILES)
        });
        let before = seen.as_ref().map(|seen| seen.number);
        match newest {
            Some((number, path)) if before.is_none_or(|before| number > before) => {
                let Ok(journal) = File::open(&path) else { return Ok(()) };
                *seen = Some(Seen { changed: settled, number, journal });
                Ok(())
            }
            Some((number, path)) if Some(number) == before => match &mut *seen {
                Some(seen) if is_same(&seen.journal, &path) => {
                    seen.changed = settled;
                    Ok(())
                }
                _ => Err(gone(path)),
            },
            // The one that is written to is always the newest; only older ones are removed by the store.
            Some(_) | None => Err(gone(dir.join(format!("{}.jnl", before.unwrap_or_default())))),
        }
    }

    /// Whether what is written now can never be found again: the directory or the journal was deleted. What was moved, or is
    /// on a disk that was taken away, may come back with everything in it.
    pub(super) fn are_deleted(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.directory.is_deleted() || seen.as_ref().is_some_and(|seen| is_deleted(&seen.journal))
    }
}

fn gone(what: PathBuf) -> LogError {
    LogError::Removed { what: what.display().to_string() }
}

fn is_linked(file: &File) -> bool {
    file.metadata().is_ok_and(|file| file.nlink() > 0)
}

fn is_deleted(file: &File) -> bool {
    file.metadata().is_ok_and(|file| file.nlink() == 0)
}

fn is_same(file: &File, path: &Path) -> bool {
    let place = |found: io::Result<fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    place(file.metadata()) == place(fs::metadata(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("log");
        fs::create_dir_all(dir.join("keyspaces")).unwrap();
        fs::write(dir.join("version"), "").unwrap();
        fs::write(dir.join("7.jnl"), "").unwrap();
        (place, dir)
    }

    #[test]
    fn whatever_is_taken_away_is_named() {
        for name in ["", "version", "keyspaces", "7.jnl"] {
            let (_place, dir) = directory();
            let files = Files::of(&dir).unwrap();
            let path = dir.join(name);
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
            let error = files.verify().unwrap_err();
            let expected = path.display().to_string();
            assert!(
                matches!(&error, LogError::Removed { what } if *what == expected.trim_end_matches('/')),
                "{error:?}"
            );
        }
    }

    #[test]
    fn what_was_moved_may_come_back_and_what_was_deleted_may_not() {
        let (place, dir) = directory();
        let files = Files::of(&dir).unwrap();
        let aside = place.path().join("aside");
        fs::rename(&dir, &aside).unwrap();
        assert!(files.verify().is_err() && !files.are_deleted());
        fs::rename(&aside, &dir).unwrap();
        assert!(files.verify().is_ok() && !files.are_deleted());
        fs::remove_file(dir.join("version")).unwrap();
        assert!(files.verify().is_err() && !files.are_deleted(), "the positions are in the journal");
        fs::remove_file(dir.join("7.jnl")).unwrap();
        assert!(files.are_deleted());

        let (_place, dir) = directory();
        let files = Files::of(&dir).unwrap();
        let other_name = dir.with_extension("jnl");
        fs::hard_link(dir.join("7.jnl"), &other_name).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert!(files.are_deleted(), "a journal alone is no log");
    }

    #[test]
    fn the_journal_that_is_written_to_is_watched() {
        let (_place, dir) = directory();
        let files = Files::of(&dir).unwrap();
        // The store begins a new one, and removes the old one when it is done with it.
        fs::write(dir.join("8.jnl"), "").unwrap();
        files.verify().unwrap();
        fs::remove_file(dir.join("7.jnl")).unwrap();
        files.verify().unwrap();
        // Another file under its name is not the one that is written to.
        fs::rename(dir.join("8.jnl"), dir.join("aside")).unwrap();
        fs::write(dir.join("8.jnl"), "").unwrap();
        assert!(files.verify().is_err());
        fs::rename(dir.join("aside"), dir.join("8.jnl")).unwrap();
        files.verify().unwrap();
        fs::write(dir.join("6.jnl"), "").unwrap();
        fs::remove_file(dir.join("8.jnl")).unwrap();
        assert!(files.verify().is_err(), "an older one is none");
    }

    #[test]
    fn a_directory_that_has_not_changed_for_long_is_not_read_again() {
        let (_place, dir) = directory();
        let long_ago = SystemTime::now() - 10 * CLOCK_OF_FILES;
        File::open(&dir).unwrap().set_modified(long_ago).unwrap();
        let files = Files::of(&dir).unwrap();
        assert!(files.seen.lock().unwrap().as_ref().unwrap().changed.is_some());
        files.verify().unwrap();
        fs::remove_file(dir.join("version")).unwrap();
        assert!(files.verify().is_err());
    }
}
