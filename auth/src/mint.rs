//! Making tokens with a secret of one's own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::accounts::Accounts;
use crate::algorithm::Algorithm;
use crate::keys::SigningSecret;
use crate::role::Roles;

/// What a token is to say.
#[derive(Debug, Clone)]
pub struct Grant<'a> {
    /// Its issuer: the one whose secret signs it.
    pub issuer: &'a str,
    /// Whom it is for.
    pub audience: &'a str,
    /// Whom it names.
    pub subject: &'a str,
    /// What they are.
    pub roles: Roles,
    /// Which accounts they see and act on.
    pub accounts: Accounts,
    /// The token's own id, by which it can be revoked.
    pub token_id: &'a str,
    /// Seconds until it ends.
    pub lifetime_seconds: i64,
}

/// The text of a token from `now` on, in seconds since 1970. Whoever has it is whom it names.
#[must_use]
pub fn mint(secret: &SigningSecret, grant: &Grant<'_>, now: i64) -> String {
    sign(secret, "JWT", &claims(grant, now))
}

pub(crate) fn claims(grant: &Grant<'_>, now: i64) -> Value {
    let mut claims = json!({
        "iss": grant.issuer,
        "aud": grant.audience,
        "sub": grant.subject,
        "roles": grant.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
        "jti": grant.token_id,
        "iat": now,
        "exp": now.saturating_add(grant.lifetime_seconds),
    });
    if let Accounts::Only(accounts) = &grant.accounts {
        claims["accounts"] = accounts.iter().collect();
    }
    claims
}

pub(crate) fn sign(secret: &SigningSecret, kind: &str, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let header = json!({"typ": kind, "alg": Algorithm::Hs256.as_str()});
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature =
        jsonwebtoken::crypto::sign(signed.as_bytes(), secret.encoding_key(), Algorithm::Hs256.library())
            .expect("HMAC takes any key and any text");
    format!("{signed}.{signature}")
}
