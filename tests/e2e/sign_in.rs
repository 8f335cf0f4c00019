//! Who gets in: what a fresh `kelly up` is to its user, to a browser, to a program and to a stranger.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kelly_auth::Role;
use kelly_harness::process::free_address;
use kelly_harness::sign_in::{User, secret_file, token_of};
use reqwest::header::{AUTHORIZATION, COOKIE, ORIGIN, SET_COOKIE};
use serde_json::{Value, json};

use crate::collector::Collector;
use crate::kelly_process::{PATIENCE, kelly as kelly_command, run};

const BASE: &str = "/api/v1/kelly/monitoring";
const SIGN_IN: &str = "/api/v1/kelly/sign-in";

/// A `kelly up` of which every word is kept.
struct Up {
    child: Child,
    url: String,
    client: reqwest::Client,
    said: PathBuf,
    logged: PathBuf,
}

impl Up {
    async fn start(data: &Path, listen: &str, environment: &[(&str, &str)]) -> Self {
        let place = data.parent().expect("a directory of the test");
        let (said, logged) = (place.join("said"), place.join("logged"));
        let open = |path: &Path| {
            File::options().create(true).append(true).open(path).expect("the directory is ours")
        };
        let child = kelly_command()
            .args(["up", "--listen", listen])
            .env("KELLY_DATA", data)
            .env("KELLY_MONITORING_ENABLED", "false")
            // Everything anybody says about requests and their headers.
            .env("RUST_LOG", "trace,h2=off,fjall=off,lsm_tree=off,rdkafka=off,librdkafka=off")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(open(&said))
            .stderr(open(&logged))
            .spawn()
            .expect("the kelly binary starts");
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("an HTTP client");
        let mut up = Self { child, url: format!("http://{listen}"), client, said, logged };
        let begun = Instant::now();
        loop {
            if up.get("/readyz", &[]).await.is_some_and(|(status, _)| status == 200) {
                return up;
            }
            if let Ok(Some(status)) = up.child.try_wait() {
                panic!("kelly ended before it was ready: {status}");
            }
            assert!(begun.elapsed() < PATIENCE, "kelly was not ready in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn get(&self, path: &str, headers: &[(reqwest::header::HeaderName, &str)]) -> Option<(u16, Value)> {
        let mut request = self.client.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or_default()))
    }

    /// The code or the status of an answer.
    async fn verdict(&self, path: &str, headers: &[(reqwest::header::HeaderName, &str)]) -> String {
        let (status, body) = self.get(path, headers).await.expect("an answer");
        body["code"].as_str().map_or_else(|| status.to_string(), str::to_owned)
    }

    /// Exchanges a code for the cookie, or for the code of the problem.
    async fn exchange(&self, code: &str) -> Result<String, String> {
        let request = self.client.post(format!("{}{SIGN_IN}", self.url)).header(ORIGIN, &self.url);
        let answer = request.json(&json!({ "code": code })).send().await.expect("an answer");
        match answer.headers().get(SET_COOKIE) {
            Some(cookie) => {
                let cookie = cookie.to_str().expect("a text");
                assert!(
                    cookie.contains("; HttpOnly; SameSite=Strict"),
                    "the cookie is out of reach of scripts"
                );
                Ok(cookie.split(';').next().expect("a first part").to_owned())
            }
            None => {
                let problem: Value = answer.json().await.expect("a problem");
                Err(problem["code"].as_str().expect("a code").to_owned())
            }
        }
    }

    /// The code of the last link that was printed.
    fn printed_code(&self) -> String {
        let said = fs::read_to_string(&self.said).expect("the directory is ours");
        let link = said.split_whitespace().rfind(|word| word.contains("/#sign-in="));
        let link = link.unwrap_or_else(|| panic!("no link was printed: {said}"));
        assert!(link.starts_with(&self.url), "{link}");
        link.split_once("#sign-in=").expect("a link").1.to_owned()
    }

    fn end(mut self) {
        // SAFETY: kill takes two integers; the child is ours and not yet waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
