//! The session of a browser: a cookie whose text Kelly itself signs, so that it outlives a restart and nobody has to keep it.

use std::sync::Arc;

use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::identity::Identity;
use crate::issuer::{Issuer, time};
use crate::keys::{Keys, SigningSecret};
use crate::mint::{Grant, claims, sign};
use crate::refusal::Refusal;
use crate::token::Unverified;

/// The type of a session: no token is one, and no session is a token.
const TYPE: &str = "kelly-session";
/// The claim that names who issued the token the session was opened with.
const ORIGIN: &str = "origin";
/// The claim that says when that token ends. A session that was opened with none has none.
const ORIGIN_END: &str = "origin_exp";

/// Longest session. Browsers keep no cookie that has with its name more than 4,096 bytes, and say nothing.
pub const MAX_SESSION_BYTES: usize = 4_000;

/// Why no session is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session would be too large for a cookie, as it names many accounts")]
pub struct SessionTooLarge;

/// Opens sessions and knows them again.
#[derive(Debug)]
pub struct Sessions {
    secret: SigningSecret,
    keys: Keys,
    issuer: Issuer,
    lifetime_seconds: i64,
}

/// A session as a browser keeps it.
#[derive(Clone)]
pub struct Session {
    /// The cookie's value: whoever has it is signed in.
    pub text: String,
    /// Whose it is.
    pub identity: Identity,
    /// Seconds it lasts from now.
    pub lasts_seconds: i64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("text", &"(hidden)")
            .field("identity", &self.identity)
            .field("lasts_seconds", &self.lasts_seconds)
            .finish()
    }
}

impl Sessions {
    /// Sessions for this audience that last so long at most.
    #[must_use]
    pub fn new(secret: SigningSecret, audience: &str, lifetime_seconds: i64) -> Self {
        let issuer = Issuer {
            name: TYPE.into(),
            audience: audience.to_owned(),
            algorithm: Algorithm::Hs256,
            types: vec![TYPE.to_owned()],
            roles_claim: "roles".to_owned(),
            accounts_claim: "accounts".to_owned(),
            accounts_required: false,
            leeway_seconds: 0,
        };
        Self { keys: secret.keys(), secret, issuer, lifetime_seconds }
    }

    /// Opens a session of this user. It ends with what it was opened with, and is revoked with it: it has its id, or
    /// `fresh_id` where that had none.
    ///
    /// # Errors
    /// When no browser would keep it.
    pub fn open(&self, identity: &Identity, fresh_id: &str, now: i64) -> Result<Session, SessionTooLarge> {
        let left = identity.expires_at.map_or(i64::MAX, |end| end.saturating_sub(now));
        let lasts_seconds = self.lifetime_seconds.min(left).max(0);
        let token_id = identity.token_id.as_deref().unwrap_or(fresh_id);
        let grant = Grant {
            issuer: TYPE,
            audience: &self.issuer.audience,
            subject: &identity.subject,
            roles: identity.roles,
            accounts: identity.accounts.clone(),
            token_id,
            lifetime_seconds: lasts_seconds,
        };
        let mut claims = claims(&grant, now);
        claims[ORIGIN] = Value::from(&*identity.issuer);
        let origin_ends_at = identity.all_ended_at();
        if let Some(end) = origin_ends_at {
            claims[ORIGIN_END] = Value::from(end);
        }
        let identity = Identity {
            token_id: Some(token_id.into()),
            expires_at: Some(now.saturating_add(lasts_seconds)),
            origin_ends_at,
            ..identity.clone()
        };
        let text = sign(&self.secret, TYPE, &claims);
        if text.len() > MAX_SESSION_BYTES {
            Err(SessionTooLarge)
        } else {
            Ok(Session { text, identity, lasts_seconds })
        }
    }

    /// Whose session a cookie is.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(&self, text: &str, now: i64) -> Result<Identity, Refusal> {
        let token = Unverified::parse(text)?;
        let identity = self.issuer.verify(&token, &self.keys, now)?;
        let origin = token.claims.get(ORIGIN).and_then(Value::as_str).ok_or(Refusal::Claim(ORIGIN))?;
        let origin_ends_at = time(&token.claims, ORIGIN_END)?;
        Ok(Identity { issuer: Arc::from(origin), origin_ends_at, ..identity })
    }
}
