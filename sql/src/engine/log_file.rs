//! `engine.log`: what the engine says, bounded.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::child::CHILD_PREFIX;

/// Bytes of the file before it becomes `engine.log.1` and a new one is begun; two of them are kept.
const MAX_LOG_BYTES: u64 = 4 << 20;

/// Lines kept in memory to say why an engine ended.
const LAST_LINES: usize = 64;

/// Bytes of a line that are kept in memory.
const LAST_LINE_BYTES: usize = 1_000;

/// The file, and its last lines.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    last: VecDeque<String>,
}

impl LogFile {
    /// Appends to what earlier runs wrote.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = append_to(&path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile { path, file, bytes, last: VecDeque::new() })
    }

    /// Writes one line. A full disk does not stop the engine: the line is then kept in memory only.
    pub(super) fn write_line(&mut self, line: &str) {
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.chars().take(LAST_LINE_BYTES).collect());
        if self.append(line).is_err() {
            self.bytes = 0;
        }
    }

    /// The line that says most about why the engine ended: its last exception, else its last words.
    pub(super) fn last_words(&self) -> String {
        let said =
            self.last.iter().rev().find(|line| line.contains("Exception") || line.starts_with(CHILD_PREFIX));
        said.or(self.last.back()).cloned().unwrap_or_else(|| "it said nothing".to_owned())
    }

    /// Forgets the lines of an engine that is gone; the file keeps them.
    pub(super) fn begin(&mut self) {
        self.last.clear();
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        if self.bytes >= MAX_LOG_BYTES {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            self.file = append_to(&self.path)?;
            self.bytes = 0;
        }
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")?;
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }
}

/// Opens it for its owner alone, also when an earlier run made it otherwise: the engine may quote data.
fn append_to(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_never_takes_more_than_two_files_of_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(dir.path().join("engine.log")).unwrap();
        let line = "x".repeat(100_000);
        for _ in 0..200 {
            log.write_line(&line);
        }
        let sizes: Vec<u64> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|&size| size <= MAX_LOG_BYTES + 100_001), "{sizes:?}");
    }

    #[test]
    fn only_its_owner_may_read_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.log");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        LogFile::open(path.clone()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_last_exception_is_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(dir.path().join("engine.log")).unwrap();
        assert_eq!(log.last_words(), "it said nothing");
        log.write_line("Code: 210. DB::Exception: Address already in use");
        log.write_line("12. ? @ 0x00");
        assert_eq!(log.last_words(), "Code: 210. DB::Exception: Address already in use");
    }
}
