//! Who gets in: what a fresh `kelly up` is to its user, to a browser, to a program and to a stranger.

use std::fs;
use std::time::{Duration, Instant};

use kelly_auth::Role;
use kelly_harness::process::free_address;
use kelly_harness::sign_in::{User, secret_file, token_of};
use reqwest::header::{AUTHORIZATION, COOKIE, ORIGIN};

use crate::collector::Collector;
use crate::kelly_process::{PATIENCE, run};
use crate::up::{SIGN_IN, Up};

const BASE: &str = "/api/v1/kelly/monitoring";

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_gets_in_with_nothing_typed_and_a_stranger_does_not() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    let denied = place.path().join("denied");
    fs::write(&denied, "").expect("the directory is ours");
    let collector = Collector::start("127.0.0.1:0").await;
    let key = "a-key-of-the-collector";
    let headers = format!("api-key={key}");
    let environment = [
        ("KELLY_AUTH_DENIED", denied.to_str().expect("a plain path")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str()),
    ];
    let listen = free_address();
    let up = Up::start(&data, &listen, &environment).await;
    let metrics = format!("{BASE}/metrics");
    let directory = data.to_str().expect("a plain path");

    // A stranger.
    assert_eq!(up.verdict(&metrics, &[]).await, "not_signed_in");
    assert_eq!(up.verdict("/", &[]).await, "200");
    assert_eq!(up.verdict("/api/openapi.json", &[]).await, "not_signed_in");

    // The user's own command line.
    let (code, _, stderr) =
        run(&["record", "metric", "ai_confidence", "0.85", "--data", directory], &[], place.path());
    assert_eq!(code, Some(0), "{stderr}");
    let (code, listed, stderr) = run(&["doctor", "--json", "--data", directory], &[], place.path());
    assert!(
        code.is_some() && listed.contains("\"kelly\"") && !listed.contains("not_signed_in"),
        "{listed} {stderr}"
    );
    // To a Kelly elsewhere it says how.
    let nowhere = place.path().join("nowhere");
    let (code, _, stderr) = run(
        &["record", "metric", "m", "1", "--server", &up.url],
        &[("KELLY_DATA", nowhere.to_str().unwrap())],
        place.path(),
    );
    assert_eq!(code, Some(1));
    assert!(stderr.contains("not_signed_in") && stderr.contains("KELLY_TOKEN"), "{stderr}");

    // A browser: the link works once, the session stays.
    let first = up.printed_code();
    let cookie = up.exchange(&first).await.expect("the link works");
    assert_eq!(up.exchange(&first).await, Err("sign_in_link_invalid".to_owned()));
    assert_eq!(up.verdict(&metrics, &[(COOKIE, &cookie)]).await, "200");
    assert_eq!(up.verdict(SIGN_IN, &[(COOKIE, &cookie)]).await, "200");

    let (code, link, stderr) = run(&["sign-in", "--data", directory], &[], place.path());
    assert_eq!(code, Some(0), "{stderr}");
    let code = link.trim().split_once("/#sign-in=").expect("a link").1;
    let another = up.exchange(code).await.expect("the link works");
    assert_eq!(up.verdict(&metrics, &[(COOKIE, &another)]).await, "200");

    // A program.
    let (code, token, stderr) =
        run(&["token", "--sub", "bob", "--role", "viewer", "--data", directory], &[], place.path());
    assert_eq!(code, Some(0), "{stderr}");
    let bob = bearer(token.trim());
    assert_eq!(up.verdict(&metrics, &[(AUTHORIZATION, &bob)]).await, "200");

    // Denied in the file: it is read again by itself.
    fs::write(&denied, "{\"sub\": \"bob\"}\n").expect("the directory is ours");
    let begun = Instant::now();
    while up.verdict(&metrics, &[(AUTHORIZATION, &bob)]).await != "token_revoked" {
        assert!(begun.elapsed() < PATIENCE, "bob still gets in");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(up.verdict(&metrics, &[(COOKIE, &cookie)]).await, "200", "nobody else is denied");
    up.end();

    // Another start: the secret, and the session with it, is the same; the link is another one.
    let up = Up::start(&data, &listen, &environment).await;
    assert_eq!(up.verdict(&metrics, &[(COOKIE, &cookie)]).await, "200");
    assert_eq!(up.exchange(&first).await, Err("sign_in_link_invalid".to_owned()));
    let second = up.printed_code();
    assert_ne!(first, second);
    // Signed out, the session is refused from then on, and after yet another start.
    let sign_out = up.client.delete(format!("{}{SIGN_IN}", up.url));
    let answer = sign_out.header(COOKIE, &cookie).header(ORIGIN, &up.url).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(up.verdict(&metrics, &[(COOKIE, &cookie)]).await, "token_revoked");
    up.end();
    let up = Up::start(&data, &listen, &environment).await;
    assert_eq!(up.verdict(&metrics, &[(COOKIE, &cookie)]).await, "token_revoked");

    // What Kelly tells of itself, in each of its forms.
    let admin = token_of(&data, &User::with(Role::Admin)).expect("the secret is made");
    let mut told = Vec::new();
    for (path, accept) in
        [("/metrics", "*/*"), ("/metrics", "text/plain"), ("/api/v1/kelly/log-levels", "*/*")]
    {
        let request = up.client.get(format!("{}{path}", up.url)).header("accept", accept);
        let answer = request.bearer_auth(&admin).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        told.push((path, answer.text().await.expect("a text")));
    }
    let (_, problem) = up.get(&metrics, &[(AUTHORIZATION, &bob)]).await.expect("an answer");
    assert_eq!(problem["code"], "token_revoked", "{problem}");
    collector.span(problem["trace_id"].as_str().expect("a trace id")).await;
    let exported = collector.posts().into_iter().map(|post| String::from_utf8_lossy(&post.body).into_owned());
    told.extend(exported.map(|body| ("a message to the collector", body)));

    // Nothing of what signs in was logged, however much is logged, nor told.
    let logged = fs::read_to_string(&up.logged).expect("the directory is ours");
    assert!(logged.contains(" TRACE ") || logged.contains("TRACE"), "the log says everything");
    let secret = fs::read_to_string(secret_file(&data)).expect("the secret was made");
    let session = cookie.split_once('=').expect("a cookie").1.to_owned();
    for (name, word) in [
        ("the secret", secret.trim()),
        ("a code", first.as_str()),
        ("another code", second.as_str()),
        ("a session", session.as_str()),
        ("a token", token.trim()),
        ("another token", admin.as_str()),
        ("a key", key),
    ] {
        for (what, text) in &told {
            assert!(!text.contains(word), "{name} is in {what}");
        }
        let found = logged.lines().find(|line| line.contains(word));
        assert_eq!(found, None, "{name} was logged");
    }
    up.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authentication_can_be_off_and_says_so() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    let up = Up::start(&data, &free_address(), &[("KELLY_AUTH", "off")]).await;
    assert_eq!(up.verdict(&format!("{BASE}/metrics"), &[]).await, "200");
    assert!(!secret_file(&data).exists(), "no secret is made that nobody needs");
    let said = fs::read_to_string(&up.said).expect("the directory is ours");
    let logged = fs::read_to_string(&up.logged).expect("the directory is ours");
    assert!(said.contains("authentication is off") && logged.contains("authentication is off"), "{said}");
    up.end();
}

/// A budget each for what a user asks and for what an address tries; the one does not touch the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_or_tries_too_often_is_told_to_wait_and_nobody_else() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    let environment =
        [("KELLY_LIMIT_REQUESTS_PER_MINUTE", "3"), ("KELLY_LIMIT_FAILED_SIGN_INS_PER_MINUTE", "2")];
    let up = Up::start(&data, &free_address(), &environment).await;
    let directory = data.to_str().expect("a plain path");
    let token_of = |sub: &str| {
        let arguments = ["token", "--sub", sub, "--role", "viewer", "--data", directory];
        let (code, token, stderr) = run(&arguments, &[], place.path());
        assert_eq!(code, Some(0), "{stderr}");
        bearer(token.trim())
    };
    let (ann, bob) = (token_of("ann"), token_of("bob"));
    let health = format!("{BASE}/health");

    let mut tried = Vec::new();
    for _ in 0..3 {
        tried.push(up.verdict(&health, &[(AUTHORIZATION, "Bearer a.b.c")]).await);
    }
    assert_eq!(tried, ["token_malformed", "token_malformed", "too_many_requests"]);
    assert_eq!(up.exchange("no-code").await, Err("too_many_requests".to_owned()));
    // Who has the right code still gets in, and what brings nothing along tries nothing.
    up.exchange(&up.printed_code()).await.expect("the link works");
    assert_eq!(up.verdict(&health, &[]).await, "not_signed_in");

    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(up.verdict(&health, &[(AUTHORIZATION, &ann)]).await);
    }
    assert_eq!(asked, ["200", "200", "200", "too_many_requests"]);
    assert_eq!(up.verdict(&health, &[(AUTHORIZATION, &bob)]).await, "200");
    assert_eq!(up.verdict("/livez", &[]).await, "200");
    up.end();
}
