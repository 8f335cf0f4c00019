//! Nobody gets in who is not signed in, and a browser signs in.

use axum::body::Body;
use kelly_auth::Refusal;
use serde_json::json;

use crate::contract::DOCUMENT;
use crate::support::{Answer, Api, CODE, SESSION, Setup, TOKEN};

const SIGN_IN: &str = "/api/v1/kelly/sign-in";
const METRICS: &str = "/api/v1/kelly/monitoring/metrics";
const RECORD: &str = "/api/v1/kelly/monitoring/metrics/record";
const OWN_PAGE: (&str, &str) = ("origin", "http://localhost:8000");
const JSON: (&str, &str) = ("content-type", "application/json");

fn cookie() -> String {
    format!("kelly-session-8000={SESSION}")
}

async fn as_token(api: &Api, token: &str) -> Answer {
    let header = format!("Bearer {token}");
    api.send("GET", METRICS, &[("authorization", &header)], Body::empty()).await
}

async fn sign_in(api: &Api, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = [&[("cookie", "")], headers].concat();
    api.send("POST", SIGN_IN, &headers, Body::from(body.to_owned())).await
}

/// Every route of the document, with whatever stands for its parameters, and what it does not list.
#[tokio::test]
async fn every_route_but_the_open_ones_wants_a_token() {
    let api = Api::new(Setup::default());
    let mut routes = vec![
        ("GET".to_owned(), "/api/docs/".to_owned()),
        ("GET".to_owned(), "/api/openapi.json".to_owned()),
        ("GET".to_owned(), "/no/such".to_owned()),
        ("POST".to_owned(), "/livez/more".to_owned()),
        ("OPTIONS".to_owned(), METRICS.to_owned()),
    ];
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let is_open =
                matches!((method.as_str(), path.as_str()), ("get", "/livez" | "/readyz") | ("post", SIGN_IN));
            assert_eq!(operation["security"].is_null(), is_open, "{method} {path}");
            assert!(
                operation["responses"]["401"].is_object() || matches!(path.as_str(), "/livez" | "/readyz")
            );
            if !is_open {
                let path = path.replace(['{', '}'], "x");
                routes.push((method.to_ascii_uppercase(), path));
            }
        }
    }
    assert!(routes.len() > 20, "{routes:?}");
    for (method, path) in routes {
        let answer = api.send(&method, &path, &[("cookie", "")], Body::empty()).await;
        let challenge = answer.header("www-authenticate").to_owned();
        assert_eq!(
            (answer.status.as_u16(), challenge.as_str()),
            (401, "Bearer realm=\"kelly\""),
            "{method} {path}"
        );
        // An answer to HEAD has no body.
        if method != "HEAD" {
            assert_eq!(answer.code(), "not_signed_in", "{method} {path}");
        }
    }
    for path in ["/livez", "/readyz", "/", "/assets/start.css", "/assets/start.js"] {
        assert_eq!(api.send("GET", path, &[("cookie", "")], Body::empty()).await.status, 200, "{path}");
    }
    assert!(api.queries.asked.lock().unwrap().is_empty() && api.accept.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn each_reason_has_its_own_code_and_nothing_is_repeated() {
    let api = Api::new(Setup::default());
    let mut codes = Vec::new();
    for refusal in Refusal::ALL {
        let answer = as_token(&api, &format!("{refusal:?}")).await;
        assert_eq!(answer.status, 401, "{refusal:?}");
        if refusal != Refusal::Missing {
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"kelly\", error=\"invalid_token\"");
        }
        // Only what the exchange answers is not among what every route may answer.
        codes.push(answer.code());
    }
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), Refusal::ALL.len(), "{codes:?}");
    let answer = as_token(&api, "hunter2-canary").await;
    let whole = format!("{:?} {}", answer.headers, answer.json());
    assert!(!whole.contains("hunter2-canary"), "{whole}");
    let away = as_token(&api, "keys-away").await;
    assert_eq!((away.code().as_str(), away.header("retry-after")), ("keys_unavailable", "7"));
    for wrong in ["Basic eDp5", "Bearer", "Bearer a b", ""] {
        let answer = api.send("GET", METRICS, &[("authorization", wrong)], Body::empty()).await;
        assert_eq!(answer.code(), "credentials_malformed", "{wrong:?}");
    }
    let in_the_url = format!("{METRICS}?access_token={TOKEN}");
    let answer = api.send("GET", &in_the_url, &[("cookie", "")], Body::empty()).await;
    assert_eq!(answer.code(), "not_signed_in");
}

#[tokio::test]
async fn a_link_opens_a_session_and_a_session_asks() {
    let api = Api::new(Setup::default());
    let answer = sign_in(&api, &[OWN_PAGE, JSON], &json!({ "code": CODE }).to_string()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("set-cookie"),
        "kelly-session-8000=a-session; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
    );
    let whole = answer.json();
    assert_eq!((whole["subject"].as_str(), &whole["roles"]), (Some("ada"), &json!(["admin"])));
    assert!(!whole.to_string().contains(SESSION), "no script needs the session");
    assert_eq!(answer.header("cache-control"), "no-store");

    let cookie = cookie();
    let session = ("cookie", cookie.as_str());
    assert_eq!(api.send("GET", METRICS, &[session], Body::empty()).await.status, 200);
    assert_eq!(api.send("GET", "/api/docs/", &[session], Body::empty()).await.status, 200);
    let shown = api.send("GET", SIGN_IN, &[session], Body::empty()).await.json();
    assert_eq!(shown["subject"], "ada");
    assert_eq!(shown["accounts"], json!(null));

    let out = api.send("DELETE", SIGN_IN, &[session, OWN_PAGE], Body::empty()).await;
    assert_eq!((out.status.as_u16(), out.json()), (200, json!({"signed_in": false, "kept": true})));
    assert_eq!(out.header("set-cookie"), "kelly-session-8000=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    assert_eq!(api.authenticate.closed.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_writes_only_from_its_own_page() {
    let api = Api::new(Setup::default());
    let cookie = cookie();
    let session = ("cookie", cookie.as_str());
    let row = r#"{"metric_name":"m","value":1}"#;
    for (headers, expected) in [
        (&[session, JSON][..], 403),
        (&[session, ("origin", "http://evil.example"), JSON], 403),
        (&[session, OWN_PAGE], 403),
        (&[session, OWN_PAGE, ("content-type", "text/plain")], 403),
        (&[session, OWN_PAGE, JSON], 202),
        (&[session, ("sec-fetch-site", "same-origin"), JSON], 202),
    ] {
        let answer = api.send("POST", RECORD, headers, Body::from(row)).await;
        assert_eq!(answer.status, expected, "{headers:?}");
        if expected == 403 {
            assert_eq!(answer.code(), "origin_not_allowed", "{headers:?}");
        }
    }
    // A program has a token and no page.
    assert_eq!(api.post(RECORD, "application/json", row).await.status, 202);
}

#[tokio::test]
async fn what_opens_no_session_says_why() {
    let api = Api::new(Setup::default());
    for (headers, body, expected) in [
        (&[JSON][..], r#"{"code":"used"}"#, "sign_in_link_invalid"),
        (&[JSON], r#"{"token":"hunter2-canary"}"#, "token_signature_wrong"),
        (&[JSON], r#"{"code":"8c1f0e5b9a7d4c36","token":"admin"}"#, "malformed_body"),
        (&[JSON], r#"{"password":"hunter2-canary"}"#, "malformed_body"),
        (&[JSON], r#"{"code":7}"#, "malformed_body"),
        (&[JSON], "hunter2-canary", "malformed_body"),
        (&[JSON], "", "malformed_body"),
        (&[("content-type", "text/plain")], r#"{"code":"8c1f0e5b9a7d4c36"}"#, "unsupported_media_type"),
        (&[], r#"{"code":"8c1f0e5b9a7d4c36"}"#, "unsupported_media_type"),
        (&[JSON, ("origin", "http://evil.example")], r#"{"code":"8c1f0e5b9a7d4c36"}"#, "origin_not_allowed"),
    ] {
        let answer = sign_in(&api, headers, body).await;
        assert_eq!(answer.code(), expected, "{body}");
        assert_eq!(answer.header("set-cookie"), "", "{body}");
        assert!(!answer.json().to_string().contains("hunter2"), "{body}");
    }
    let long = format!("{{\"code\":\"{}\"}}", "x".repeat(20_000));
    assert_eq!(sign_in(&api, &[JSON], &long).await.code(), "body_too_large");
}

const DENIED: &str = "/api/v1/kelly/access/denied";

#[tokio::test]
async fn an_administrator_takes_access_away_and_gives_it_back() {
    let api = Api::new(Setup::default());
    let change = async |path: &str, body: &str| api.post(path, "application/json", body).await;
    let bob = r#"{"sub":"bob","iss":"kelly","until":"2030-01-01T00:00:00Z"}"#;
    let denied = json!({"denied": true, "changed": true, "kept": true});
    assert_eq!(change(DENIED, bob).await.json(), denied);
    assert_eq!(change(DENIED, r#"{"jti":"t-1"}"#).await.status, 200);
    let listed = api.get(DENIED).await.json();
    let entries = json!([{"jti": "t-1"}, serde_json::from_str::<serde_json::Value>(bob).unwrap()]);
    assert_eq!(listed, json!({"entries": entries, "kept": true}));
    let allowed = "/api/v1/kelly/access/allowed";
    let allowed_again = json!({"denied": false, "changed": true, "kept": true});
    assert_eq!(change(allowed, r#"{"jti":"t-1"}"#).await.json(), allowed_again);
    assert_eq!(change(allowed, r#"{"jti":"t-1"}"#).await.json()["changed"], false);
    for wrong in ["{}", r#"{"jti":"a","sub":"b"}"#, r#"{"iss":"a"}"#, r#"{"jti":""}"#, r#"{"user":"bob"}"#] {
        assert_eq!(change(DENIED, wrong).await.code(), "malformed_body", "{wrong}");
    }
    assert_eq!(change(DENIED, r#"{"jti":"one too many"}"#).await.code(), "access_not_changed");
    let link = api.send("POST", "/api/v1/kelly/sign-in/links", &[], Body::empty()).await;
    assert_eq!(link.json(), json!({"code": CODE, "lasts_seconds": 60}));
}

#[tokio::test]
async fn a_session_that_no_browser_keeps_is_refused() {
    let api = Api::new(Setup::default());
    let answer = api.post(SIGN_IN, "application/json", r#"{"token":"too large"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "session_too_large"));
    assert_eq!(answer.header("set-cookie"), "");
}
