//! Which tokens are accepted, and why each of the others is not.

mod support;

use kelly_auth::{
    Accounts, Algorithm, BadKeys, Grant, Identity, Issuer, Keys, MAX_SESSION_BYTES, MAX_TOKEN_BYTES, Refusal,
    Role, Roles, SessionTooLarge, Sessions, SigningSecret, Unverified, mint,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use support::{Signer, encode, token};

const NOW: i64 = 1_800_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn issuer(algorithm: Algorithm) -> Issuer {
    Issuer {
        name: "https://login.example.com".into(),
        audience: "kelly".to_owned(),
        algorithm,
        types: vec!["JWT".to_owned(), "at+jwt".to_owned()],
        roles_claim: "roles".to_owned(),
        accounts_claim: "accounts".to_owned(),
        accounts_required: false,
        leeway_seconds: 10,
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://login.example.com", "aud": "kelly", "sub": "alice", "jti": "token-1",
        "exp": NOW + 60, "nbf": NOW - 60, "iat": NOW - 60, "roles": ["analyst", "a role of another program"],
    })
}

fn verdict_at(issuer: &Issuer, keys: &Keys, token: &str, now: i64) -> Result<Identity, Refusal> {
    issuer.verify(&Unverified::parse(token)?, keys, now)
}

fn verdict(issuer: &Issuer, keys: &Keys, token: &str) -> Result<Identity, Refusal> {
    verdict_at(issuer, keys, token, NOW)
}

/// The claims with one of them changed; `null` takes it away.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

#[test]
fn a_right_token_of_each_algorithm_is_accepted() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm);
        let text = signer.sign(&claims());
        let expected = Identity {
            issuer: "https://login.example.com".into(),
            subject: "alice".into(),
            roles: Roles::of(&[Role::Analyst]),
            accounts: Accounts::All,
            token_id: Some("token-1".into()),
            expires_at: Some(NOW + 60),
            origin_ends_at: None,
        };
        assert_eq!(verdict(&issuer(algorithm), &signer.keys(), &text), Ok(expected), "{algorithm}");
    }
}

/// Headers that no right token has. Signed with the right key all the same: the signature must not save them.
#[test]
fn wrong_headers_are_refused() {
    let signer = Signer::new(Algorithm::Rs256);
    let (issuer, keys) = (issuer(Algorithm::Rs256), signer.keys());
    let right = signer.header();
    let with = |name: &str, value: Value| {
        let mut header = right.clone();
        match value {
            Value::Null => drop(header.as_object_mut().unwrap().remove(name)),
            value => header[name] = value,
        }
        header
    };
    for (name, header, expected) in [
        ("alg none", with("alg", json!("none")), Refusal::Unsigned),
        ("alg None", with("alg", json!("NoNe")), Refusal::Unsigned),
        ("no alg", with("alg", Value::Null), Refusal::Malformed),
        ("alg a number", with("alg", json!(256)), Refusal::Malformed),
        ("another alg", with("alg", json!("RS512")), Refusal::Algorithm),
        ("alg in another case", with("alg", json!("rs256")), Refusal::Algorithm),
        ("an unknown alg", with("alg", json!("XS1")), Refusal::Algorithm),
        ("no typ", with("typ", Value::Null), Refusal::Type),
        ("another typ", with("typ", json!("kelly-session")), Refusal::Type),
        ("typ a number", with("typ", json!(1)), Refusal::Malformed),
        ("no kid", with("kid", Value::Null), Refusal::UnknownKey),
        ("an unknown kid", with("kid", json!("another")), Refusal::UnknownKey),
        ("kid a path", with("kid", json!("../../dev/null")), Refusal::UnknownKey),
        ("kid a number", with("kid", json!(1)), Refusal::Malformed),
        ("an unknown crit", with("crit", json!(["exp"])), Refusal::CriticalHeader),
        ("an empty crit", with("crit", json!([])), Refusal::CriticalHeader),
        (
            "crit null",
            {
                let mut header = right.clone();
                header["crit"] = Value::Null;
                header
            },
            Refusal::CriticalHeader,
        ),
    ] {
        let text = signer.sign_with(&header, &claims());
        assert_eq!(verdict(&issuer, &keys, &text), Err(expected), "{name}");
    }
    for (name, header) in [
        ("typ in another case", with("typ", json!("jwt"))),
        ("the whole media type", with("typ", json!("application/at+jwt"))),
        // A key that the token brings along is not looked at.
        ("jwk and jku", {
            let mut header = with("jku", json!("https://evil.example/keys"));
            header["jwk"] = json!({"kty": "oct", "k": "c2VjcmV0"});
            header
        }),
    ] {
        assert!(verdict(&issuer, &keys, &signer.sign_with(&header, &claims())).is_ok(), "{name}");
    }
}

#[test]
fn wrong_claims_are_refused() {
    let signer = Signer::new(Algorithm::Es256);
    let (issuer, keys) = (issuer(Algorithm::Es256), signer.keys());
    let long = "x".repeat(257);
    for (name, value, expected) in [
        ("iss", json!(null), Refusal::Claim("iss")),
        ("iss", json!(["https://login.example.com"]), Refusal::Claim("iss")),
        ("iss", json!("https://login.example.com/"), Refusal::Issuer),
        ("iss", json!("https://evil.example"), Refusal::Issuer),
        ("aud", json!(null), Refusal::Claim("aud")),
        ("aud", json!(7), Refusal::Claim("aud")),
        ("aud", json!(["kelly", 7]), Refusal::Claim("aud")),
        ("aud", json!("kelly2"), Refusal::Audience),
        ("aud", json!([]), Refusal::Audience),
        ("aud", json!(["a", "b"]), Refusal::Audience),
        ("sub", json!(null), Refusal::Claim("sub")),
        ("sub", json!(""), Refusal::Claim("sub")),
        ("sub", json!(7), Refusal::Claim("sub")),
        ("sub", json!(["alice"]), Refusal::Claim("sub")),
        ("sub", json!(long), Refusal::Claim("sub")),
        ("jti", json!(7), Refusal::Claim("jti")),
        ("jti", json!("a\nb"), Refusal::Claim("jti")),
        ("sub", json!("a\nb"), Refusal::Claim("sub")),
        ("exp", json!(null), Refusal::Claim("exp")),
        ("exp", json!("1900000000"), Refusal::Claim("exp")),
        ("exp", json!(true), Refusal::Claim("exp")),
        ("exp", json!(-1), Refusal::Claim("exp")),
        ("exp", json!(1e300), Refusal::Claim("exp")),
        ("exp", json!(0), Refusal::Expired),
        ("exp", json!(NOW - 10), Refusal::Expired),
        ("exp", json!(NOW as f64 - 10.5), Refusal::Expired),
        ("nbf", json!("0"), Refusal::Claim("nbf")),
        ("nbf", json!(NOW + 11), Refusal::NotYetValid),
        ("iat", json!("yesterday"), Refusal::Claim("iat")),
        ("roles", json!(7), Refusal::Claim("roles")),
        ("roles", json!([7]), Refusal::Claim("roles")),
        ("accounts", json!("acme"), Refusal::Claim("accounts")),
        ("accounts", json!([7]), Refusal::Claim("accounts")),
        ("accounts", json!([""]), Refusal::Claim("accounts")),
        ("accounts", json!({}), Refusal::Claim("accounts")),
        ("accounts", (0..257).map(|number| format!("a{number}")).collect(), Refusal::Claim("accounts")),
    ] {
        let text = signer.sign(&with(name, value.clone()));
        assert_eq!(verdict(&issuer, &keys, &text), Err(expected), "{name} {value}");
    }
    for (name, value) in [
        ("aud", json!(["other", "kelly"])),
        ("exp", json!(NOW - 9)),
        ("exp", json!(NOW as f64 + 0.5)),
        ("nbf", json!(NOW + 10)),
        ("nbf", json!(null)),
        ("iat", json!(null)),
        ("jti", json!(null)),
        ("sub", json!("x".repeat(256))),
    ] {
        assert!(verdict(&issuer, &keys, &signer.sign(&with(name, value.clone()))).is_ok(), "{name} {value}");
    }
    // `null` is no claim of accounts, and must not mean all of them.
    let mut nobodys = claims();
    nobodys["accounts"] = Value::Null;
    assert_eq!(verdict(&issuer, &keys, &signer.sign(&nobodys)), Err(Refusal::Claim("accounts")));
}

#[test]
fn a_leeway_is_never_more_than_half_a_minute() {
    let signer = Signer::new(Algorithm::Hs256);
    let issuer = Issuer { leeway_seconds: 1_000_000, ..issuer(Algorithm::Hs256) };
    let text = signer.sign(&with("exp", json!(NOW)));
    assert!(verdict_at(&issuer, &signer.keys(), &text, NOW + 29).is_ok());
    assert_eq!(verdict_at(&issuer, &signer.keys(), &text, NOW + 30), Err(Refusal::Expired));
}

#[test]
fn keys_of_others_are_refused() {
    let [rsa, curve, edwards, secret] =
        [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256].map(Signer::new);
    // The public key, as a text or as bytes, is no secret that signs with HMAC.
    let document = rsa.key_set();
    let modulus = document["keys"][0]["n"].as_str().unwrap();
    let header = json!({"typ": "JWT", "alg": "HS256", "kid": rsa.header()["kid"]});
    for confused in [document.to_string(), modulus.to_owned()] {
        let text = token(&header, &claims(), |signed| support::hmac(confused.as_bytes(), signed));
        assert_eq!(verdict(&issuer(Algorithm::Rs256), &rsa.keys(), &text), Err(Refusal::Algorithm));
    }
    // A key of another issuer, under the name of ours.
    for ours in [&rsa, &curve, &edwards, &secret] {
        let other = Signer::new(ours.algorithm);
        let text = other.sign_with(&ours.header(), &claims());
        let found = verdict(&issuer(ours.algorithm), &ours.keys(), &text);
        assert_eq!(found, Err(Refusal::Signature), "{}", ours.algorithm);
    }
    // An empty secret is nobody's, and cannot be configured.
    let header = secret.header();
    let text = token(&header, &claims(), |signed| support::hmac(b"", signed));
    assert_eq!(verdict(&issuer(Algorithm::Hs256), &secret.keys(), &text), Err(Refusal::Signature));
    for short in ["", "                                   ", "0123456789abcdef0123456789abcde"] {
        assert!(SigningSecret::new(short).is_err());
    }
    // Of the right family, and yet not the issuer's algorithm.
    let text = curve.sign(&claims());
    assert_eq!(verdict(&issuer(Algorithm::EdDsa), &edwards.keys(), &text), Err(Refusal::Algorithm));
}

#[test]
fn what_is_no_token_is_refused() {
    let signer = Signer::new(Algorithm::Hs256);
    let (issuer, keys, text) = (issuer(Algorithm::Hs256), signer.keys(), signer.sign(&claims()));
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let no_claims = |payload: &str| {
        token(&signer.header(), &Value::Null, |_| Vec::new()).replacen(&encode(b"null"), payload, 1)
    };
    for (name, wrong, expected) in [
        ("nothing", String::new(), Refusal::Malformed),
        ("one part", "abc".to_owned(), Refusal::Malformed),
        ("two parts", signed.to_owned(), Refusal::Malformed),
        ("four parts", format!("{text}.{signature}"), Refusal::Malformed),
        ("no signature", format!("{signed}."), Refusal::Malformed),
        ("cut off", text[..text.len() - 8].to_owned(), Refusal::Malformed),
        ("padding", format!("{text}="), Refusal::Malformed),
        ("the other base64", text.replace(['-', '_'], "+"), Refusal::Malformed),
        ("a blank", format!(" {text}"), Refusal::Malformed),
        ("no JSON", format!("{}.{signature}", encode(b"x").repeat(2)), Refusal::Malformed),
        ("claims that are no object", no_claims(&encode(b"[]")), Refusal::Malformed),
        ("too long", format!("{text}{}", "A".repeat(MAX_TOKEN_BYTES)), Refusal::TooLarge),
    ] {
        if name == "the other base64" && wrong == text {
            continue;
        }
        assert_eq!(verdict(&issuer, &keys, &wrong).map(drop), Err(expected), "{name}");
    }
}

#[test]
fn roles_and_accounts_are_where_the_issuer_has_them() {
    let signer = Signer::new(Algorithm::Hs256);
    let nested = Issuer {
        roles_claim: "realm_access.roles".to_owned(),
        accounts_claim: "https://kelly.example/accounts".to_owned(),
        accounts_required: true,
        ..issuer(Algorithm::Hs256)
    };
    let mut claims = claims();
    claims["realm_access"] = json!({"roles": ["producer", "worker", "Admin", "offline_access"]});
    claims["https://kelly.example/accounts"] = json!(["acme", "globex", "acme"]);
    let found = verdict(&nested, &signer.keys(), &signer.sign(&claims)).unwrap();
    assert_eq!(found.roles, Roles::of(&[Role::Producer, Role::Worker]), "and not what stands in `roles`");
    assert!(found.accounts.sees(Some("globex")) && !found.accounts.sees(Some("initech")));
    claims.as_object_mut().unwrap().remove("https://kelly.example/accounts");
    let missing = verdict(&nested, &signer.keys(), &signer.sign(&claims));
    assert_eq!(missing, Err(Refusal::Claim("accounts")));
    claims["realm_access"] = json!({});
    claims["https://kelly.example/accounts"] = json!([]);
    let found = verdict(&nested, &signer.keys(), &signer.sign(&claims)).unwrap();
    assert!(found.roles.is_empty() && !found.accounts.sees(Some("acme")) && !found.accounts.is_all());
    // What stands where the accounts would be says nothing of them, and must not mean all; nor is it a list of roles.
    let deep = Issuer {
        roles_claim: "kelly.roles".to_owned(),
        accounts_claim: "kelly.limits.accounts".to_owned(),
        ..issuer(Algorithm::Hs256)
    };
    for (kelly, expected) in [
        (json!(null), Err(Refusal::Claim("roles"))),
        (json!(["acme"]), Err(Refusal::Claim("roles"))),
        (json!("acme"), Err(Refusal::Claim("roles"))),
        (json!({"limits": null}), Err(Refusal::Claim("accounts"))),
        (json!({"limits": ["acme"]}), Err(Refusal::Claim("accounts"))),
        (json!({"limits": "acme"}), Err(Refusal::Claim("accounts"))),
        (json!({"limits": {"accounts": null}}), Err(Refusal::Claim("accounts"))),
        (json!({"limits": {"accounts": ["acme"]}}), Ok(Accounts::only(["acme"]).unwrap())),
        (json!({"limits": {}}), Ok(Accounts::All)),
        (json!({}), Ok(Accounts::All)),
    ] {
        claims["kelly"] = kelly.clone();
        let found = verdict(&deep, &signer.keys(), &signer.sign(&claims)).map(|caller| caller.accounts);
        assert_eq!(found, expected, "{kelly}");
        // Where only the accounts stand there, they are what is wrong.
        let flat_roles = Issuer { roles_claim: "roles".to_owned(), ..deep.clone() };
        let found = verdict(&flat_roles, &signer.keys(), &signer.sign(&claims));
        let expected = expected.map_err(|_| Refusal::Claim("accounts"));
        assert_eq!(found.map(|caller| caller.accounts), expected, "{kelly}");
    }
    // As a text, as `scope` is.
    let flat = issuer(Algorithm::Hs256);
    let text = signer.sign(&with("roles", json!("viewer  operator")));
    let found = verdict(&flat, &signer.keys(), &text).unwrap();
    assert_eq!(found.roles, Roles::of(&[Role::Viewer, Role::Operator]));
}

#[test]
fn a_key_set_is_read_strictly() {
    let rsa = Signer::new(Algorithm::Rs256).key_set()["keys"][0].clone();
    let curve = Signer::new(Algorithm::Es256).key_set()["keys"][0].clone();
    let read = |keys: Value| Keys::of_set(json!({ "keys": keys }).to_string().as_bytes(), Algorithm::Rs256);
    let changed = |name: &str, value: Value| {
        let mut key = rsa.clone();
        key[name] = value;
        key
    };
    let found =
        read(json!([curve, rsa, {"kty": "new"}, 7, {"kty": "oct", "kid": "s", "k": "AAAA"}])).unwrap();
    assert!(found.has(rsa["kid"].as_str()) && !found.has(curve["kid"].as_str()) && !found.has(Some("s")));
    for (name, keys) in [
        ("none", json!([])),
        ("of others", json!([curve])),
        ("for encryption", json!([changed("use", json!("enc"))])),
        ("for another algorithm", json!([changed("alg", json!("RS512"))])),
        ("too short", json!([changed("n", json!(encode(&[255; 128])))])),
        ("too short, with zeros", json!([changed("n", json!(encode(&[[0; 200], [255; 200]].concat())))])),
        ("too long", json!([changed("n", json!(encode(&[255; 2_000])))])),
        ("without a name", json!([changed("kid", Value::Null)])),
    ] {
        assert_eq!(read(keys).map(drop), Err(BadKeys::None(Algorithm::Rs256)), "{name}");
    }
    assert_eq!(read(json!([rsa, rsa])).map(drop), Err(BadKeys::SameId));
    assert_eq!(read(Value::Array(vec![rsa.clone(); 101])).map(drop), Err(BadKeys::TooMany));
    for wrong in ["", "[]", "{}", "{\"keys\": 7}", "<html>"] {
        assert_eq!(Keys::of_set(wrong.as_bytes(), Algorithm::Rs256).map(drop), Err(BadKeys::Form), "{wrong}");
    }
    let long = vec![b' '; kelly_auth::MAX_KEY_SET_BYTES + 1];
    assert_eq!(Keys::of_set(&long, Algorithm::Rs256).map(drop), Err(BadKeys::TooLong));
}

#[test]
fn a_session_is_no_token_and_a_token_no_session() {
    let secret = SigningSecret::new(SECRET).unwrap();
    let sessions = Sessions::new(secret.clone(), "kelly", 3_600);
    let grant = grant(&Accounts::only(["acme"]).unwrap());
    let text = mint(&secret, &grant, NOW);
    let own = Issuer { name: "kelly".into(), ..issuer(Algorithm::Hs256) };
    let caller = verdict(&own, &secret.keys(), &text).unwrap();
    let session = sessions.open(&caller, "fresh", NOW).unwrap();
    let found = sessions.verify(&session.text, NOW).unwrap();
    let ends = Some(NOW + 60);
    let expected = Identity { expires_at: ends, origin_ends_at: ends, ..caller.clone() };
    assert_eq!(found, expected, "it ends with its token");
    assert_eq!((session.identity, session.lasts_seconds), (found, 60));
    assert_eq!(sessions.verify(&session.text, NOW + 60), Err(Refusal::Expired));
    assert_eq!(sessions.verify(&text, NOW), Err(Refusal::Issuer));
    assert_eq!(verdict(&own, &secret.keys(), &session.text), Err(Refusal::Issuer));
    let as_named = Issuer { name: "kelly-session".into(), ..own };
    assert_eq!(verdict(&as_named, &secret.keys(), &session.text), Err(Refusal::Type));
    // Of a user who has no token, the session has a name of its own and lasts as long as sessions do.
    let owner = Identity { token_id: None, expires_at: None, ..caller };
    let session = sessions.open(&owner, "fresh", NOW).unwrap();
    assert_eq!(session.lasts_seconds, 3_600);
    assert_eq!(sessions.verify(&session.text, NOW).unwrap().token_id.as_deref(), Some("fresh"));
    let others = Sessions::new(SigningSecret::new(&SECRET.repeat(2)).unwrap(), "kelly", 3_600);
    assert_eq!(others.verify(&session.text, NOW), Err(Refusal::Signature));
    for shown in [
        format!("{session:?}"),
        format!("{sessions:?}"),
        format!("{secret:?}"),
        format!("{:?}", secret.keys()),
    ] {
        assert!(!shown.contains(SECRET) && !shown.contains(&session.text), "{shown}");
    }
}

/// However long its token lasts, and however it was opened: what is signed out is refused until the token has ended.
#[test]
fn a_session_says_when_the_token_ends_that_it_was_opened_with() {
    let secret = SigningSecret::new(SECRET).unwrap();
    let sessions = Sessions::new(secret.clone(), "kelly", 3_600);
    let text = mint(&secret, &Grant { lifetime_seconds: 90 * 86_400, ..grant(&Accounts::All) }, NOW);
    let own = Issuer { name: "kelly".into(), ..issuer(Algorithm::Hs256) };
    let caller = verdict(&own, &secret.keys(), &text).unwrap();
    assert_eq!(caller.all_ended_at(), Some(NOW + 90 * 86_400));
    let session = sessions.open(&caller, "fresh", NOW).unwrap();
    assert_eq!(session.identity.expires_at, Some(NOW + 3_600));
    assert_eq!(session.identity.all_ended_at(), Some(NOW + 90 * 86_400));
    assert_eq!(sessions.verify(&session.text, NOW).unwrap(), session.identity);
    // A link of a session opens another one of the same token.
    let by_link = sessions.open(&session.identity, "fresh", NOW + 60).unwrap();
    assert_eq!(sessions.verify(&by_link.text, NOW + 60).unwrap().all_ended_at(), Some(NOW + 90 * 86_400));
    // The owner has no token: nothing is left once the session has ended.
    let owner = Identity { token_id: None, expires_at: None, ..caller };
    let owners = sessions.open(&owner, "fresh", NOW).unwrap();
    assert_eq!(sessions.verify(&owners.text, NOW).unwrap().all_ended_at(), Some(NOW + 3_600));
}

/// Also a token without an id can be denied: it, the sessions it opened, and no other.
#[test]
fn a_token_without_an_id_has_one_of_what_was_signed() {
    let signer = Signer::new(Algorithm::Es256);
    let (issuer, keys) = (issuer(Algorithm::Es256), signer.keys());
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("jti");
    let id = |text: &str| verdict(&issuer, &keys, text).unwrap().token_id.unwrap();
    // The same text, signed twice: two signatures, one token.
    let (first, second) = (signer.sign(&claims), signer.sign(&claims));
    assert_ne!(first, second);
    assert_eq!(id(&first), id(&second));
    assert!(id(&first).len() <= 64 && id(&first).starts_with("sha256-"));
    claims["exp"] = json!(NOW + 61);
    assert_ne!(id(&signer.sign(&claims)), id(&first));
    let sessions = Sessions::new(SigningSecret::new(SECRET).unwrap(), "kelly", 3_600);
    let caller = verdict(&issuer, &keys, &first).unwrap();
    let ids = ["a", "b"].map(|fresh| sessions.open(&caller, fresh, NOW).unwrap().identity.token_id.unwrap());
    assert_eq!(ids, [id(&first), id(&first)]);
}

#[test]
fn a_session_that_no_browser_keeps_is_not_opened() {
    let sessions = Sessions::new(SigningSecret::new(SECRET).unwrap(), "kelly", 3_600);
    let of = |accounts: usize| {
        let accounts = Accounts::only((0..accounts).map(|number| format!("account-{number:03}"))).unwrap();
        let caller = Identity {
            issuer: "kelly".into(),
            subject: "alice".into(),
            roles: Roles::of(&[Role::Viewer]),
            accounts,
            token_id: None,
            expires_at: None,
            origin_ends_at: None,
        };
        sessions.open(&caller, "fresh", NOW)
    };
    assert!(of(150).unwrap().text.len() <= MAX_SESSION_BYTES);
    assert_eq!(of(256).unwrap_err(), SessionTooLarge);
}

fn grant(accounts: &Accounts) -> Grant<'static> {
    Grant {
        issuer: "kelly",
        audience: "kelly",
        subject: "alice",
        roles: Roles::of(&[Role::Viewer, Role::Admin]),
        accounts: accounts.clone(),
        token_id: "token-1",
        lifetime_seconds: 60,
    }
}

proptest! {
    #[test]
    fn no_text_is_a_token_by_chance(text in "[A-Za-z0-9._-]{0,200}|\\PC{0,60}") {
        prop_assert!(Unverified::parse(&text).is_err());
    }

    /// Whatever is changed about a token, nobody else comes out of it.
    #[test]
    fn a_changed_token_is_refused(at in 0usize..1_000, letter in "[A-Za-z0-9_-]") {
        let secret = SigningSecret::new(SECRET).unwrap();
        let own = Issuer { name: "kelly".into(), ..issuer(Algorithm::Hs256) };
        let text = mint(&secret, &grant(&Accounts::All), NOW);
        let at = at % text.len();
        let mut changed = text.clone();
        changed.replace_range(at..=at, &letter);
        prop_assume!(changed != text);
        prop_assert!(verdict(&own, &secret.keys(), &changed).is_err());
        prop_assert!(verdict(&own, &secret.keys(), &text[..at]).is_err());
    }

    #[test]
    fn what_was_minted_is_what_comes_out(
        accounts in proptest::collection::btree_set("\\PC{1,20}", 0..20),
        roles in proptest::collection::vec(0usize..Role::ALL.len(), 0..4),
        lifetime in 1i64..1_000_000,
    ) {
        let secret = SigningSecret::new(SECRET).unwrap();
        let own = Issuer { name: "kelly".into(), leeway_seconds: 0, ..issuer(Algorithm::Hs256) };
        let roles: Roles = roles.into_iter().map(|at| Role::ALL[at]).collect();
        let accounts = Accounts::only(accounts).unwrap();
        let grant = Grant { roles, accounts: accounts.clone(), lifetime_seconds: lifetime, ..grant(&Accounts::All) };
        let text = mint(&secret, &grant, NOW);
        let found = verdict_at(&own, &secret.keys(), &text, NOW + lifetime - 1).unwrap();
        prop_assert_eq!((found.roles, found.accounts), (roles, accounts));
        prop_assert_eq!(verdict_at(&own, &secret.keys(), &text, NOW + lifetime), Err(Refusal::Expired));
    }
}
