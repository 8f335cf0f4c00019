//! Tokens for a Kelly of a test: signed with the secret in its data directory, as its own tools do.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kelly_auth::{Accounts, Grant, Role, Roles, SigningSecret, mint};

/// Longer than any test, and than any benchmark, runs.
const LIFETIME_SECONDS: i64 = 2 * 86_400;
/// What `iss` and `aud` say unless a Kelly is configured otherwise.
const NAME: &str = "kelly";

/// Whom a token of a test is for.
#[derive(Debug, Clone)]
pub struct User {
    /// `sub`.
    pub subject: String,
    /// `jti`.
    pub token_id: String,
    /// What they are.
    pub roles: Roles,
    /// Which accounts they see.
    pub accounts: Accounts,
}

impl User {
    /// Somebody with this role, on all accounts.
    pub fn with(role: Role) -> Self {
        Self {
            subject: format!("test-{role}"),
            token_id: crate::unique("token"),
            roles: Roles::of(&[role]),
            accounts: Accounts::All,
        }
    }
}

/// A token of an administrator for the Kelly with this data directory; `None` before it has made its secret.
pub fn token(data: &Path) -> Option<String> {
    token_of(data, &User::with(Role::Admin))
}

/// A token of one of many viewers.
pub fn viewers_token(data: &Path, number: usize) -> Option<String> {
    token_of(data, &User { subject: format!("viewer-{number}"), ..User::with(Role::Viewer) })
}

/// A token of one of many producers.
pub fn producers_token(data: &Path, number: usize) -> Option<String> {
    token_of(data, &User { subject: format!("producer-{number}"), ..User::with(Role::Producer) })
}

/// A token of this user.
pub fn token_of(data: &Path, user: &User) -> Option<String> {
    let text = fs::read_to_string(secret_file(data)).ok()?;
    let secret = SigningSecret::new(&text).ok()?;
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    let grant = Grant {
        issuer: NAME,
        audience: NAME,
        subject: &user.subject,
        roles: user.roles,
        accounts: user.accounts.clone(),
        token_id: &user.token_id,
        lifetime_seconds: LIFETIME_SECONDS,
    };
    Some(mint(&secret, &grant, i64::try_from(now).ok()?))
}

/// Where a Kelly keeps the secret it made.
pub fn secret_file(data: &Path) -> PathBuf {
    data.join("secrets").join("tokens.secret")
}

/// Makes such a secret for a role that makes none itself, if it is not there.
///
/// # Errors
/// When it cannot be written.
pub fn make_secret(data: &Path) -> std::io::Result<PathBuf> {
    let path = secret_file(data);
    fs::create_dir_all(data.join("secrets"))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let text = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
            file.write_all(text.as_bytes())?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(path)
}
