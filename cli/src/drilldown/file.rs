//! Into a file: which form it has, and that nobody sees half of one.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::Usage;
use crate::arguments::FileFormat;

/// The form of a file: what was asked for, else what its name says.
pub fn form(path: &Path, asked: Option<FileFormat>) -> Result<FileFormat, Usage> {
    if let Some(asked) = asked {
        return Ok(asked);
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("csv") => Ok(FileFormat::Csv),
        Some("json") => Ok(FileFormat::Json),
        Some("jsonl" | "ndjson") => Ok(FileFormat::Jsonl),
        Some("parquet") => Ok(FileFormat::Parquet),
        Some("arrow" | "arrows") => Ok(FileFormat::Arrow),
        _ => Err(Usage(format!(
            "what {} shall be, its name does not say: let it end in .csv, .json, .jsonl, .parquet or .arrow, \
             or give --format",
            path.display()
        ))),
    }
}

/// A file that is being written next to its place. Unless it is put there, it is removed.
pub struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
}

impl NewFile {
    /// Begins it.
    pub fn next_to(path: &Path) -> anyhow::Result<Self> {
        let (Some(name), parent) = (path.file_name(), path.parent().unwrap_or(Path::new(""))) else {
            bail!("{} names no file", path.display());
        };
        let temporary = parent.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let file = File::create(&temporary).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path: path.to_owned(), temporary, out: BufWriter::new(file) })
    }

    /// Puts it, whole and durable, in its place.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let mut finish = || {
            self.out.flush()?;
            self.out.get_ref().sync_all()?;
            std::fs::rename(&self.temporary, &self.path)
        };
        finish().with_context(|| format!("writing {}", self.path.display()))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // There is none any more where it was put in its place; where it was not, that error is reported.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_says_what_it_is_unless_said() {
        for (name, expected) in [
            ("a/b.csv", FileFormat::Csv),
            ("b.json", FileFormat::Json),
            ("b.ndjson", FileFormat::Jsonl),
            ("b.Parquet", FileFormat::Parquet),
            ("b.arrow", FileFormat::Arrow),
            ("b.arrows", FileFormat::Arrow),
        ] {
            assert_eq!(form(Path::new(name), None).unwrap(), expected, "{name}");
        }
        assert_eq!(form(Path::new("b.csv"), Some(FileFormat::Arrow)).unwrap(), FileFormat::Arrow);
        for wrong in ["b", "b.xls", ".csv", "csv"] {
            assert!(form(Path::new(wrong), None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn half_a_file_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        std::fs::write(&path, "before").unwrap();
        let mut half = NewFile::next_to(&path).unwrap();
        half.write_all(b"half").unwrap();
        drop(half);
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        let mut whole = NewFile::next_to(&path).unwrap();
        whole.write_all(b"whole").unwrap();
        whole.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
