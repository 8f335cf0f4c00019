//! How the tools sign in to the Kelly they ask.

use std::fmt;
use std::sync::Arc;

use chrono::Utc;
use kelly_auth::{Accounts, Grant, Role, Roles, SigningSecret, mint};
use reqwest::header::HeaderValue;
use uuid::Uuid;

/// How long a token lasts that is made for one request.
const LIFETIME_SECONDS: i64 = 60;

/// How the tools sign in.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    Nothing,
    /// With a token that somebody made.
    Token(Arc<str>),
    /// As an administrator, with the secret of the Kelly that is asked: it is on this machine, and this user may read it.
    Secret(Arc<OwnSecret>),
}

/// The secret of a Kelly on this machine.
pub struct OwnSecret {
    /// Signs tokens.
    pub secret: SigningSecret,
    /// Their issuer.
    pub issuer: String,
    /// Whom they are for.
    pub audience: String,
    /// Whom they name.
    pub subject: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Token(_) => "Token(hidden)",
            Self::Secret(_) => "Secret(hidden)",
        })
    }
}

impl Credentials {
    /// The same for so many seconds, where it is made here: for what lasts as long as the token it was begun with.
    pub(crate) fn lasting(&self, seconds: i64) -> Self {
        match self {
            Self::Secret(own) => Self::Token(own.token(seconds).into()),
            other => other.clone(),
        }
    }

    /// The Authorization header of one request; `None` where there is none, or where a token has characters no header has.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let token = match self {
            Self::Nothing => return None,
            Self::Token(token) => token.to_string(),
            Self::Secret(own) => own.token(LIFETIME_SECONDS),
        };
        let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim())).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

impl OwnSecret {
    fn token(&self, lifetime_seconds: i64) -> String {
        let token_id = Uuid::new_v4().to_string();
        let grant = Grant {
            issuer: &self.issuer,
            audience: &self.audience,
            subject: &self.subject,
            roles: Roles::of(&[Role::Admin]),
            accounts: Accounts::All,
            token_id: &token_id,
            lifetime_seconds,
        };
        mint(&self.secret, &grant, Utc::now().timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_print() {
        let own = OwnSecret {
            secret: SigningSecret::new("hunter2-hunter2-hunter2-hunter2-hunter2").unwrap(),
            issuer: "kelly".into(),
            audience: "kelly".into(),
            subject: "somebody".into(),
        };
        for credentials in [Credentials::Token("hunter2".into()), Credentials::Secret(Arc::new(own))] {
            let header = credentials.header().unwrap();
            for shown in [format!("{credentials:?}"), format!("{header:?}")] {
                assert!(!shown.contains("hunter2") && !shown.contains("Bearer"), "{shown}");
            }
        }
        assert!(Credentials::Nothing.header().is_none());
        assert!(Credentials::Token("a\nb".into()).header().is_none());
    }
}
