//! The secret that signs tokens: configured, or made once and kept in the data directory for its owner alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use kelly_auth::SigningSecret;
use kelly_cli::Usage;

use super::random;
use crate::config::Config;

/// The secret of the configuration, if it has one.
pub fn configured(config: &Config) -> anyhow::Result<Option<SigningSecret>> {
    // A file that was named was read with the configuration.
    let Some(secret) = &config.auth.secret else { return Ok(None) };
    let place = match &config.auth.secret_file {
        Some(path) => format!("KELLY_AUTH_SECRET_FILE: {}", path.display()),
        None => "KELLY_AUTH_SECRET".to_owned(),
    };
    signing_secret(secret.reveal(), &place).map(Some)
}

/// The secret of the configuration, else the one in the data directory, which is made when it is not there.
pub fn made(config: &Config, directory: &Path) -> anyhow::Result<SigningSecret> {
    if let Some(secret) = configured(config)? {
        return Ok(secret);
    }
    let path = path(directory);
    let make = || format!("making the secret that signs tokens, {}", path.display());
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    if let Some(parent) = path.parent()
        && !parent.is_dir()
    {
        DirBuilder::new().mode(0o700).create(parent).or_else(already_there).with_context(make)?;
    }
    let text = random::text()?;
    write(&path, &text).with_context(make)?;
    signing_secret(&text, "the secret that was made")
}

/// The secret of the Kelly of this configuration, if this user may read it. Makes nothing.
pub fn existing(config: &Config) -> anyhow::Result<Option<SigningSecret>> {
    match configured(config)? {
        Some(secret) => Ok(Some(secret)),
        None => read(&path(&config.general.data)),
    }
}

/// The user of this process, for tokens that name them.
pub fn user() -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    named
        .filter(|name| !name.is_empty() && name.len() <= kelly_auth::MAX_NAME_BYTES)
        .unwrap_or_else(|| "somebody".to_owned())
}

/// The secret of a text that stands at this place.
fn signing_secret(text: &str, place: &str) -> anyhow::Result<SigningSecret> {
    SigningSecret::new(text).map_err(|error| Usage(format!("{place}: {error}")).into())
}

fn path(directory: &Path) -> PathBuf {
    directory.join("secrets").join("tokens.secret")
}

/// Only its owner may read it: whoever can signs in as anybody.
fn read(path: &Path) -> anyhow::Result<Option<SigningSecret>> {
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // Of another user: this one signs in some other way.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {shown}")),
    };
    let mode = fs::metadata(path).with_context(|| format!("reading {shown}"))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Usage(format!(
            "{shown} signs tokens and others than its owner may read it (mode {mode:o}): delete it, so that Kelly makes \
             another one, or, if nobody has read it, chmod 600 {shown}"
        ))
        .into());
    }
    signing_secret(&text, &shown.to_string()).map(Some)
}

/// Written whole or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn already_there(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::of(&[]);
        made(&config, directory.path()).unwrap();
        let path = path(directory.path());
        let (text, mode) =
            (fs::read_to_string(&path).unwrap(), fs::metadata(&path).unwrap().permissions().mode());
        assert_eq!((text.len(), mode & 0o777), (64, 0o600));
        made(&config, directory.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "the same at the next start");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = made(&config, directory.path()).unwrap_err().to_string();
        assert!(refused.contains("mode 640") && !refused.contains(&text), "{refused}");
    }

    #[test]
    fn a_short_secret_is_refused_without_its_text() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::of(&[("KELLY_AUTH_SECRET", "hunter2")]);
        let refused = made(&config, directory.path()).unwrap_err().to_string();
        assert!(refused.contains("KELLY_AUTH_SECRET") && refused.contains("32 bytes"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
        assert!(!path(directory.path()).exists());
    }
}
