//! The text of a token, taken apart. Nothing here is believed yet.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::algorithm::Algorithm;
use crate::refusal::Refusal;

/// Longest token that is looked at. A longer one is refused unread.
pub const MAX_TOKEN_BYTES: usize = 8_192;

/// A token whose form is right and whose signature nobody has checked.
pub struct Unverified<'a> {
    /// Header and payload as they were signed.
    pub(crate) signed: &'a str,
    pub(crate) signature_text: &'a str,
    pub(crate) signature_bytes: usize,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) kind: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it is no JWT, is not signed, or asks for what Kelly does not know.
    pub fn parse(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::TooLarge);
        }
        let (signed, signature_text) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        if payload.contains('.') {
            return Err(Refusal::Malformed);
        }
        let header = object(header)?;
        if header.contains_key("crit") {
            return Err(Refusal::CriticalHeader);
        }
        let header: Header = serde_json::from_value(Value::Object(header)).map_err(|_| Refusal::Malformed)?;
        if header.alg.eq_ignore_ascii_case("none") {
            return Err(Refusal::Unsigned);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature_text).map_err(|_| Refusal::Malformed)?;
        if signature.is_empty() {
            return Err(Refusal::Malformed);
        }
        Ok(Self {
            signed,
            signature_text,
            signature_bytes: signature.len(),
            algorithm: Algorithm::of_name(&header.alg),
            kind: header.typ,
            key_id: header.kid,
            claims: object(payload)?,
        })
    }

    /// Whom it says it is from.
    ///
    /// # Errors
    /// When it does not say.
    pub fn issuer(&self) -> Result<&str, Refusal> {
        let issuer = self.claims.get("iss").and_then(Value::as_str).filter(|issuer| !issuer.is_empty());
        issuer.ok_or(Refusal::Claim("iss"))
    }

    /// An id of what was signed, for a token that has none of its own. The signature is not in it: of some algorithms there are
    /// several right ones of one text.
    pub(crate) fn hash(&self) -> Arc<str> {
        format!("sha256-{}", URL_SAFE_NO_PAD.encode(Sha256::digest(self.signed.as_bytes()))).into()
    }

    /// The key it says it is signed with.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Malformed)
}
