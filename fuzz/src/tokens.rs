//! Tokens: whatever text comes, who has no key gets in nowhere, and who has one only by claims that hold.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kelly_auth::{
    Algorithm, Identity, Issuer, MAX_LEEWAY_SECONDS, Refusal, SigningSecret, USUAL_TYPES, Unverified,
};

const SECRET: &str = "the secret that signs what is tried here";
const OTHER_SECRET: &str = "another secret, which signs nothing of it";
const NOW: i64 = 1_800_000_000;

fn issuer() -> Issuer {
    Issuer {
        name: "kelly".into(),
        audience: "kelly".to_owned(),
        algorithm: Algorithm::Hs256,
        types: USUAL_TYPES.map(str::to_owned).into(),
        roles_claim: "realm.roles".to_owned(),
        accounts_claim: "accounts".to_owned(),
        accounts_required: false,
        leeway_seconds: 30,
    }
}

fn verify(text: &str, secret: &str) -> Result<Identity, Refusal> {
    let keys = SigningSecret::new(secret).expect("it is long enough").keys();
    issuer().verify(&Unverified::parse(text)?, &keys, NOW)
}

fn signed(header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token: the first line its header (without one, the usual header), the rest its claims, signed rightly; and all of it as
/// it stands.
pub fn token(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    // The secret is in no corpus, so nothing that comes as it stands is signed with it.
    assert!(verify(&text, OTHER_SECRET).is_err(), "{text:?}");

    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let (first, rest) = (parts.next().unwrap_or_default(), parts.next());
    let usual: &[u8] = br#"{"typ":"JWT","alg":"HS256"}"#;
    let (header, claims) = rest.map_or((usual, first), |rest| (first, rest));
    let token = signed(header, claims);
    let Ok(identity) = verify(&token, SECRET) else { return };
    assert!(!identity.subject.is_empty());
    let end = identity.expires_at.expect("every token ends");
    assert!(end.saturating_add(MAX_LEEWAY_SECONDS) > NOW, "{identity:?}");
    // Nothing but this text, under this key.
    assert_eq!(verify(&token, OTHER_SECRET).err(), Some(Refusal::Signature));
    let signature = token.rfind('.').expect("a signature") + 1;
    for at in [0, signature, token.len() / 2, token.len() - 2] {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("it is ASCII");
        assert!(verify(&changed, SECRET).is_err(), "{changed}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Or nothing would be held of tokens that are accepted.
    #[test]
    fn the_corpus_reaches_both_outcomes() {
        let claims: &[u8] = include_bytes!("../corpus/token/accepted");
        let header = br#"{"typ":"JWT","alg":"HS256"}"#;
        assert_eq!(
            verify(&signed(header, claims), SECRET).map(|identity| identity.subject),
            Ok("ann".into())
        );
        let expired: &[u8] = include_bytes!("../corpus/token/expired");
        assert_eq!(verify(&signed(header, expired), SECRET).err(), Some(Refusal::Expired));
    }
}
