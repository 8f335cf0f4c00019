//! The keys of an issuer: one secret, or a set of public keys (JWKS).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::Deserialize;

use crate::algorithm::Algorithm;
use crate::refusal::Refusal;
use crate::token::Unverified;

/// Shortest secret that is accepted, in bytes: as long as the hash.
pub const MIN_SECRET_BYTES: usize = 32;
/// Keys that are read of one set. A set with more is refused whole.
pub const MAX_KEYS: usize = 100;
/// Longest text of a key set. A longer one is refused unread.
pub const MAX_KEY_SET_BYTES: usize = 256 * 1_024;

/// RSA keys shorter than this many bytes (2,048 bits) are refused.
const MIN_RSA_BYTES: usize = 256;
/// Longer ones too: verifying takes too long.
const MAX_RSA_BYTES: usize = 1_024;
/// Bytes of a coordinate on P-256, and of a key on Ed25519.
const COORDINATE_BYTES: usize = 32;
const HMAC_BYTES: usize = 32;
const CURVE_SIGNATURE_BYTES: usize = 64;

/// A secret that signs tokens. It does not print.
#[derive(Clone)]
pub struct SigningSecret {
    signs: EncodingKey,
    verifies: DecodingKey,
}

/// A secret that is shorter than [`MIN_SECRET_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret that signs tokens has at least {MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` makes one")]
pub struct SecretTooShort;

impl SigningSecret {
    /// The secret of a text; white space around it does not count.
    ///
    /// # Errors
    /// When it is too short.
    pub fn new(text: &str) -> Result<Self, SecretTooShort> {
        let bytes = text.trim().as_bytes();
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(SecretTooShort);
        }
        let signs = EncodingKey::from_secret(bytes).map_err(|_| SecretTooShort)?;
        let verifies = DecodingKey::from_secret(bytes).map_err(|_| SecretTooShort)?;
        Ok(Self { signs, verifies })
    }

    pub(crate) const fn encoding_key(&self) -> &EncodingKey {
        &self.signs
    }

    /// The keys of an issuer that signs with it.
    #[must_use]
    pub fn keys(&self) -> Keys {
        let key = self.verifies.clone();
        Keys(vec![Key { id: None, algorithm: Algorithm::Hs256, key, signature_bytes: HMAC_BYTES }])
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(hidden)")
    }
}

/// The keys of one issuer.
#[derive(Clone)]
pub struct Keys(Vec<Key>);

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    signature_bytes: usize,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (key.id.as_deref(), key.algorithm))).finish()
    }
}

/// Why a text is no set of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// Not JSON of the form `{"keys": […]}`.
    #[error("the text is no JSON Web Key Set: {{\"keys\": […]}}")]
    Form,
    /// Longer than is read.
    #[error("the key set is longer than {MAX_KEY_SET_BYTES} bytes")]
    TooLong,
    /// More keys than are read.
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooMany,
    /// Two keys of one name.
    #[error("the key set has two keys with the same `kid`")]
    SameId,
    /// None that could verify a token.
    #[error("the key set has no key for {0} with a `kid`")]
    None(Algorithm),
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// What is read of a key; what else it has is not looked at.
#[derive(Deserialize)]
struct KeyDocument {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// The keys of a JSON Web Key Set that verify tokens of this algorithm. Others in the set are left out, secrets always:
    /// whoever can read a published set could sign with them.
    ///
    /// # Errors
    /// When the text is no key set, or has no such key.
    pub fn of_set(text: &[u8], algorithm: Algorithm) -> Result<Self, BadKeys> {
        if text.len() > MAX_KEY_SET_BYTES {
            return Err(BadKeys::TooLong);
        }
        let set: KeySet = serde_json::from_slice(text).map_err(|_| BadKeys::Form)?;
        if set.keys.len() > MAX_KEYS {
            return Err(BadKeys::TooMany);
        }
        let mut keys: Vec<Key> = Vec::new();
        for document in set.keys {
            // A key of a kind that is not known does not spoil the others.
            let Ok(document) = serde_json::from_value::<KeyDocument>(document) else { continue };
            let Some(key) = key(document, algorithm) else { continue };
            if keys.iter().any(|known| known.id == key.id) {
                return Err(BadKeys::SameId);
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(BadKeys::None(algorithm)) } else { Ok(Self(keys)) }
    }

    /// Whether there is a key of this name; without a name, whether there is one without.
    #[must_use]
    pub fn has(&self, id: Option<&str>) -> bool {
        self.find(id).is_some()
    }

    fn find(&self, id: Option<&str>) -> Option<&Key> {
        self.0.iter().find(|key| key.id.as_deref() == id)
    }

    /// Checks the signature of a token of this algorithm.
    pub(crate) fn check(&self, token: &Unverified<'_>, algorithm: Algorithm) -> Result<(), Refusal> {
        if token.algorithm != Some(algorithm) {
            return Err(Refusal::Algorithm);
        }
        let key = self.find(token.key_id()).ok_or(Refusal::UnknownKey)?;
        if key.algorithm != algorithm {
            return Err(Refusal::Algorithm);
        }
        // A signature of another length was cut off on the way, or never was one.
        if token.signature_bytes != key.signature_bytes {
            return Err(Refusal::Malformed);
        }
        let verified = jsonwebtoken::crypto::verify(
            token.signature_text,
            token.signed.as_bytes(),
            &key.key,
            algorithm.library(),
        );
        if verified.unwrap_or(false) { Ok(()) } else { Err(Refusal::Signature) }
    }
}

/// The key of a document, if it verifies tokens of this algorithm and has a name.
fn key(document: KeyDocument, algorithm: Algorithm) -> Option<Key> {
    let is_other = |said: Option<&str>, wanted: &str| said.is_some_and(|said| said != wanted);
    if is_other(document.purpose.as_deref(), "sig") || is_other(document.alg.as_deref(), algorithm.as_str()) {
        return None;
    }
    let (key, signature_bytes) = match (algorithm, document.kty.as_str(), document.crv.as_deref()) {
        (Algorithm::Rs256, "RSA", _) => {
            let (n, e) = (document.n?, document.e?);
            let modulus = URL_SAFE_NO_PAD.decode(&n).ok()?;
            let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
            if !(MIN_RSA_BYTES..=MAX_RSA_BYTES).contains(&bytes) {
                return None;
            }
            (DecodingKey::from_rsa_components(&n, &e).ok()?, bytes)
        }
        (Algorithm::Es256, "EC", Some("P-256")) => {
            let (x, y) = (coordinate(document.x)?, coordinate(document.y)?);
            (DecodingKey::from_ec_components(&x, &y).ok()?, CURVE_SIGNATURE_BYTES)
        }
        (Algorithm::EdDsa, "OKP", Some("Ed25519")) => {
            (DecodingKey::from_ed_components(&coordinate(document.x)?).ok()?, CURVE_SIGNATURE_BYTES)
        }
        _ => return None,
    };
    Some(Key { id: Some(document.kid?), algorithm, key, signature_bytes })
}

fn coordinate(text: Option<String>) -> Option<String> {
    text.filter(|text| URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == COORDINATE_BYTES))
}
