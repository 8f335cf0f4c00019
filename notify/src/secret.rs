//! Secrets: where they are, and how they stay unseen.

use std::fmt;

/// Longest secret, in bytes. A file with more is none.
const MAX_BYTES: u64 = 16 * 1024;

/// Something nobody is to see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// This text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for who sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(secret)")
    }
}

/// Where a secret is. It is read each time it is used, so a new one counts at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file: its first line.
    File(String),
    /// In a variable of the environment.
    Variable(String),
}

/// Why a secret cannot be had. It names the place and never what is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    /// The file cannot be read.
    #[error("the secret in the file {0} cannot be read: {1}")]
    File(String, String),
    /// The variable is not set.
    #[error("the variable {0} with the secret is not set")]
    Variable(String),
    /// Nothing is there.
    #[error("the secret in {0} is empty, or has characters that no secret has")]
    Empty(String),
}

impl SecretSource {
    pub(crate) fn of(file: Option<&str>, variable: Option<&str>) -> Option<Self> {
        match (file, variable) {
            (Some(file), _) => Some(Self::File(file.to_owned())),
            (None, Some(variable)) => Some(Self::Variable(variable.to_owned())),
            (None, None) => None,
        }
    }

    /// The secret. Reads a file of a few bytes.
    ///
    /// # Errors
    /// When it is not there.
    pub fn read(&self) -> Result<Secret, SecretFault> {
        let (place, text) = match self {
            Self::File(path) => {
                let fault = |problem: &dyn fmt::Display| SecretFault::File(path.clone(), problem.to_string());
                let length = std::fs::metadata(path).map_err(|error| fault(&error))?.len();
                if length > MAX_BYTES {
                    return Err(fault(&"it is longer than 16 KiB"));
                }
                let text = std::fs::read_to_string(path).map_err(|error| fault(&error))?;
                (format!("the file {path}"), text)
            }
            Self::Variable(name) => {
                let text = std::env::var(name).map_err(|_| SecretFault::Variable(name.clone()))?;
                (format!("the variable {name}"), text)
            }
        };
        let line = text.lines().next().unwrap_or_default().trim();
        if line.is_empty() || line.chars().any(char::is_control) {
            return Err(SecretFault::Empty(place));
        }
        Ok(Secret::new(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let source = SecretSource::File(path.display().to_string());
        assert!(matches!(source.read(), Err(SecretFault::File(..))));
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = source.read().unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        std::fs::write(&path, "\nhunter2").unwrap();
        let fault = source.read().unwrap_err().to_string();
        assert!(fault.contains("empty") && !fault.contains("hunter2"), "{fault}");
        let variable = SecretSource::Variable("KELLY_TEST_NO_SUCH_SECRET".into());
        assert_eq!(variable.read(), Err(SecretFault::Variable("KELLY_TEST_NO_SUCH_SECRET".into())));
    }
}
