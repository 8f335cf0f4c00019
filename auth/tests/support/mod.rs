//! Keys of every kind and tokens signed with them, right and wrong, made without the code that is tested.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kelly_auth::{Algorithm, Keys, SigningSecret};
use serde_json::{Value, json};

/// base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with this header and these claims, signed so.
pub fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed =
        format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = encode(&sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// HMAC with SHA-256.
pub fn hmac(secret: &[u8], signed: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    aws_lc_rs::hmac::sign(&key, signed).as_ref().to_vec()
}

/// A key of an issuer, fresh each time.
pub struct Signer {
    pub algorithm: Algorithm,
    key: Key,
    kid: String,
}

enum Key {
    Secret(String),
    Rsa(RsaKeyPair),
    Curve(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

impl Signer {
    pub fn new(algorithm: Algorithm) -> Self {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random).unwrap();
        let key = match algorithm {
            Algorithm::Hs256 => Key::Secret(encode(&random)),
            Algorithm::Rs256 => Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            Algorithm::Es256 => Key::Curve(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Algorithm::EdDsa => Key::Edwards(Ed25519KeyPair::generate().unwrap()),
        };
        Self { algorithm, key, kid: encode(&random[..8]) }
    }

    /// The header of its right tokens.
    pub fn header(&self) -> Value {
        match self.key {
            Key::Secret(_) => json!({"typ": "JWT", "alg": self.algorithm.as_str()}),
            _ => json!({"typ": "JWT", "alg": self.algorithm.as_str(), "kid": self.kid}),
        }
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let random = SystemRandom::new();
        token(header, claims, |signed| match &self.key {
            Key::Secret(secret) => hmac(secret.as_bytes(), signed),
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature).unwrap();
                signature
            }
            Key::Curve(pair) => pair.sign(&random, signed).unwrap().as_ref().to_vec(),
            Key::Edwards(pair) => pair.sign(signed).as_ref().to_vec(),
        })
    }

    /// Its public key as a set of one.
    pub fn key_set(&self) -> Value {
        let mut key = match &self.key {
            Key::Secret(_) => panic!("a secret is not published"),
            Key::Rsa(pair) => {
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": encode(&parts.n), "e": encode(&parts.e)})
            }
            Key::Curve(pair) => {
                // 4, then both coordinates.
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
            Key::Edwards(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
        };
        key["kid"] = json!(self.kid);
        key["use"] = json!("sig");
        key["alg"] = json!(self.algorithm.as_str());
        json!({ "keys": [key] })
    }

    /// What verifies its tokens.
    pub fn keys(&self) -> Keys {
        match &self.key {
            Key::Secret(secret) => SigningSecret::new(secret).unwrap().keys(),
            _ => Keys::of_set(self.key_set().to_string().as_bytes(), self.algorithm).unwrap(),
        }
    }
}
