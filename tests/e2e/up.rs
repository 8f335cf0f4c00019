//! A `kelly up` of which every word is kept: what it prints, and all that it logs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use reqwest::header::{ORIGIN, SET_COOKIE};
use serde_json::{Value, json};

use crate::kelly_process::{PATIENCE, kelly as kelly_command};

pub const SIGN_IN: &str = "/api/v1/kelly/sign-in";

/// A `kelly up` of which every word is kept.
pub struct Up {
    child: Child,
    pub url: String,
    pub client: reqwest::Client,
    pub said: PathBuf,
    pub logged: PathBuf,
}

impl Up {
    /// Starts one and waits until it is ready.
    pub async fn start(data: &Path, listen: &str, environment: &[(&str, &str)]) -> Self {
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

    /// Status and body of an answer; none when the connection broke.
    pub async fn get(
        &self,
        path: &str,
        headers: &[(reqwest::header::HeaderName, &str)],
    ) -> Option<(u16, Value)> {
        let mut request = self.client.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or_default()))
    }

    /// The code or the status of an answer.
    pub async fn verdict(&self, path: &str, headers: &[(reqwest::header::HeaderName, &str)]) -> String {
        let (status, body) = self.get(path, headers).await.expect("an answer");
        body["code"].as_str().map_or_else(|| status.to_string(), str::to_owned)
    }

    /// Exchanges a code for the cookie, or for the code of the problem.
    pub async fn exchange(&self, code: &str) -> Result<String, String> {
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
    pub fn printed_code(&self) -> String {
        let said = fs::read_to_string(&self.said).expect("the directory is ours");
        let link = said.split_whitespace().rfind(|word| word.contains("/#sign-in="));
        let link = link.unwrap_or_else(|| panic!("no link was printed: {said}"));
        assert!(link.starts_with(&self.url), "{link}");
        link.split_once("#sign-in=").expect("a link").1.to_owned()
    }

    /// The link it was in.
    pub fn printed_link(&self) -> String {
        format!("{}/#sign-in={}", self.url, self.printed_code())
    }

    /// Asks it to stop, and sees that it ends well.
    pub fn end(mut self) {
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
