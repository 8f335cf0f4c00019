//! Configuration: a TOML file, the environment over it, flags over both. `tables` says what exists, a table a part;
//! `sources` merges, `setting`, `values` and `targets` give types; all are pure. This file reads what they are given.

mod collector;
mod public_url;
mod setting;
mod show;
mod sources;
mod tables;
mod targets;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

pub use setting::Logging;
pub use show::{Server, as_json, as_table};
pub use sources::Fault;
pub use tables::{CallerLimits, Http, Monitoring, Tracing};
pub use targets::{LogTarget, StoreTarget};
pub use values::Config;

use sources::{Given, Merged, Origin};

/// File that is read when nobody names another and it is there.
pub const DEFAULT_FILE: &str = "kelly.toml";

/// A value that no message, log line or listing shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

/// What the command line says about the configuration.
#[derive(Debug, Default)]
pub struct FromFlags {
    /// `--config FILE`.
    pub file: Option<PathBuf>,
    /// Settings given as flags: the setting's name, the flag, the value.
    pub values: Vec<(&'static str, &'static str, String)>,
}

/// The configuration and what it was made of.
#[derive(Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Every raw value with its origin, for `kelly config`.
    pub merged: Merged,
    /// Thresholds over the catalogue's, as JSON text.
    pub thresholds: Option<String>,
    /// What is allowed and should not be; logged once diagnostics have begun.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Whether somebody said this setting.
    pub fn is_said(&self, name: &str) -> bool {
        self.merged.values.get(name).is_some_and(|raw| raw.origin != Origin::Default)
    }

    /// Settings somebody set that have no effect yet: where each was set, and the part it belongs to.
    pub fn without_effect(&self) -> impl Iterator<Item = (String, &'static str)> {
        tables::all().filter_map(|setting| {
            let (part, raw) = (setting.waits_for?, self.merged.values.get(setting.name)?);
            (raw.origin != Origin::Default).then(|| (format!("{} ({})", setting.name, raw.origin), part))
        })
    }
}

/// Whether there is a setting of this name.
#[cfg(test)]
pub fn is_setting(name: &str) -> bool {
    tables::all().any(|setting| setting.name == name)
}

/// Everything wrong with the configuration, one fault a line.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not right:{}", listed(.0))]
pub struct Invalid(pub Vec<Fault>);

impl Invalid {
    /// One fault in the value of a setting.
    pub fn of(name: &str, merged: &Merged, what: impl Into<String>) -> Self {
        Self(vec![merged.fault_of(name, what)])
    }
}

fn listed(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

/// Reads file and environment and whatever files they name.
pub fn load(flags: FromFlags) -> anyhow::Result<Loaded> {
    let mut environment = BTreeMap::new();
    let mut faults = Vec::new();
    for (name, value) in std::env::vars_os() {
        // A name that is no UTF-8 is none of Kelly's; a value that is none can only be wrong.
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => {
                environment.insert(name, value);
            }
            Err(_) if name.starts_with("KELLY_") => {
                faults.push(Fault::new(name, "the value is not UTF-8"));
            }
            Err(_) => {}
        }
    }
    let file = read_file(flags.file, &environment)?;
    let given = Given {
        file: file.as_ref().map(|(path, text)| (path.as_str(), text.as_str())),
        environment,
        flags: flags.values,
    };
    let mut merged = sources::merge(&given);
    merged.faults.extend(faults);
    let mut config = values::typed(&merged).map_err(Invalid)?;
    let thresholds = read_named_files(&mut config).map_err(|fault| Invalid(vec![fault]))?;
    let warnings =
        [&config.store_access.password_file, &config.kafka.properties_file, &config.auth.secret_file]
            .into_iter()
            .flatten()
            .filter_map(|path| readable_by_others(path))
            .collect();
    Ok(Loaded { config, merged, thresholds, warnings })
}

/// The configuration file's path and text: the named one must be there, the default one may.
fn read_file(
    named: Option<PathBuf>,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<Option<(String, String)>> {
    let from_environment =
        environment.get(tables::CONFIG_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = match named.or(from_environment) {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => PathBuf::from(DEFAULT_FILE),
        None => return Ok(None),
    };
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Invalid(vec![Fault::new(&shown, format!("cannot be read: {error}"))]))
        .context("reading the configuration file")?;
    Ok(Some((shown, text)))
}

/// Reads the secrets, the librdkafka properties and the thresholds from the files that hold them.
fn read_named_files(config: &mut Config) -> Result<Option<String>, Fault> {
    if let Some(path) = &config.store_access.password_file {
        let text = read_named("KELLY_STORE_PASSWORD_FILE", path)?;
        let password = text.lines().next().unwrap_or_default().to_owned();
        config.store_access.password = Some(Secret::new(password));
    }
    if let Some(path) = &config.auth.secret_file {
        config.auth.secret = Some(Secret::new(read_named("KELLY_AUTH_SECRET_FILE", path)?));
    }
    if let Some(path) = &config.kafka.properties_file {
        let variable = "KELLY_KAFKA_PROPERTIES";
        let text = read_named(variable, path)?;
        config.kafka_properties =
            properties(&text).map_err(|what| Fault::new(format!("{variable}: {}", path.display()), what))?;
    }
    let thresholds = config.monitoring.thresholds.as_ref();
    let read = |path: &PathBuf| match written_out(path) {
        Some(text) => Ok(text.to_owned()),
        None => read_named("KELLY_ALERT_THRESHOLDS_CONFIG", path),
    };
    thresholds.map(read).transpose()
}

/// The JSON that stands where a file could be named; no file is named like an object.
pub fn written_out(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| text.trim_start().starts_with('{'))
}

/// Where orchestrators mount secrets, readable by all in a container that is one's own.
const MOUNTED_SECRETS: &str = "/run/secrets";

/// What to say of a file with a secret that others than its owner and group may read.
fn readable_by_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let is_open = mode & 0o007 != 0 && !path.starts_with(MOUNTED_SECRETS);
    is_open.then(|| {
        let shown = path.display();
        format!("{shown} may hold a secret and everybody may read it (mode {mode:o}): chmod 600 {shown}")
    })
}

fn read_named(variable: &str, path: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(path)
        .map_err(|error| Fault::new(variable, format!("the file {} cannot be read: {error}", path.display())))
}

/// Java-style properties, as Kafka's own tools read them: `name=value`, `#` and `!` begin comments.
fn properties(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                found.insert(name.trim().to_owned(), value.trim().to_owned());
            }
            // The line is not echoed: it may hold a password.
            _ => return Err(format!("line {}: not name=value", index + 1)),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_and_a_bad_line_is_named_without_its_text() {
        let text = "# TLS\n! too\n\nsecurity.protocol = SASL_SSL\nsasl.password=a=b\n";
        let found = properties(text).unwrap();
        assert_eq!(found["security.protocol"], "SASL_SSL");
        assert_eq!(found["sasl.password"], "a=b");
        let error = properties("x=1\nhunter2\n").unwrap_err();
        assert_eq!(error, "line 2: not name=value");
    }

    #[test]
    fn a_password_everybody_may_read_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "hunter2").unwrap();
        for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(readable_by_others(&path).is_some(), warned, "{mode:o}");
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "(hidden)");
    }
}
