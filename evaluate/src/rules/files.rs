//! Reads thresholds and files of rules, and knows whether they changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kelly_alerts::Rule;
use kelly_alerts::rule::{parse_json, parse_toml};

/// Largest file that is read. A larger one is wrong.
const MOST_BYTES: u64 = 4 << 20;

/// Files of a directory that are read. With more, the directory is wrong.
const MOST_FILES: usize = 1_000;

/// Thresholds of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thresholds {
    /// Their JSON.
    Text(String),
    /// A file that holds it.
    File(PathBuf),
}

/// What the operator wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleFiles {
    /// Thresholds, in the form of KELLY_ALERT_THRESHOLDS_CONFIG.
    pub thresholds: Option<Thresholds>,
    /// A file of rules, or a directory whose files that end in `.toml` or `.json` are such.
    pub rules: Option<PathBuf>,
}

/// What tells a file that changed.
pub(super) type Stamp = Vec<(PathBuf, u64, u64, Option<SystemTime>)>;

impl RuleFiles {
    /// The thresholds' JSON, where there are any; or why it cannot be read.
    pub(super) fn thresholds(&self) -> Option<Result<String, String>> {
        match self.thresholds.as_ref()? {
            Thresholds::Text(text) => Some(Ok(text.clone())),
            Thresholds::File(path) => Some(read(path)),
        }
    }

    /// The files there are; or why nobody knows.
    pub(super) fn paths(&self) -> Result<Vec<PathBuf>, (PathBuf, String)> {
        let Some(path) = &self.rules else { return Ok(Vec::new()) };
        if !path.is_dir() {
            return Ok(vec![path.clone()]);
        }
        let fault = |error: io::Error| (path.clone(), format!("cannot be read: {error}"));
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(fault)? {
            let file = entry.map_err(fault)?.path();
            if matches!(file.extension().and_then(|end| end.to_str()), Some("toml" | "json")) {
                found.push(file);
            }
        }
        if found.len() > MOST_FILES {
            return Err((path.clone(), format!("has {} files, at most {MOST_FILES} are read", found.len())));
        }
        found.sort();
        Ok(found)
    }

    /// What all of them are like now.
    pub(super) fn stamp(&self) -> Stamp {
        let thresholds = match &self.thresholds {
            Some(Thresholds::File(path)) => Some(path.clone()),
            Some(Thresholds::Text(_)) | None => None,
        };
        let paths = thresholds.into_iter().chain(self.paths().unwrap_or_default());
        paths
            .map(|path| match fs::metadata(&path) {
                Ok(found) => (path, found.ino(), found.len(), found.modified().ok()),
                Err(_) => (path, 0, 0, None),
            })
            .collect()
    }
}

/// The rules of a file, or what is wrong with it.
pub(super) fn rules_of(path: &Path) -> Result<Vec<Rule>, String> {
    let text = read(path)?;
    let is_json = path.extension().is_some_and(|end| end == "json");
    let parsed = if is_json { parse_json(&text) } else { parse_toml(&text) };
    parsed.map(|file| file.rules).map_err(|fault| fault.to_string())
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if bytes > MOST_BYTES {
        return Err(format!("has {bytes} bytes, at most {MOST_BYTES} are read"));
    }
    fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}
