//! The HTTP side of the commands that speak to a running Kelly: sends rows, asks questions, reads the answers.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use kelly_schemas::Stream;
use serde::Deserialize;
use serde_json::Value;

use crate::Usage;
use crate::credentials::Credentials;
use crate::output::printable;

pub use reqwest::Method;

/// What the rows of a body are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKind {
    /// Metrics.
    Metrics,
    /// Activity events.
    Activity,
}

impl RowKind {
    fn path(self) -> &'static str {
        match self {
            Self::Metrics => "api/v1/kelly/monitoring/metrics/record",
            Self::Activity => "api/v1/kelly/monitoring/activity/record",
        }
    }

    /// The stream that takes them.
    pub fn stream(self) -> Stream {
        match self {
            Self::Metrics => Stream::Metrics,
            Self::Activity => Stream::Activity,
        }
    }

    /// The rows a stream is made of.
    pub fn of_stream(stream: Stream) -> Self {
        match stream {
            Stream::Metrics => Self::Metrics,
            Stream::Activity => Self::Activity,
        }
    }
}

/// What the server said to a request, whether or not it did what was asked.
#[derive(Debug)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// The document; of a problem its own.
    pub answer: Value,
}

impl Said {
    /// It, as an error for people.
    pub fn error(&self) -> anyhow::Error {
        let problem = Problem::deserialize(&self.answer).unwrap_or_default();
        anyhow::anyhow!("the server answered {}: {problem}{}", self.status, how_to_sign_in(self.status))
    }
}

/// The server that is asked, and how.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: reqwest::Url,
    /// The base as it is shown: what stands before the host may be a secret.
    shown: String,
    credentials: Credentials,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.shown).finish_non_exhaustive()
    }
}

/// What the server said to a body it did take.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    /// How many rows.
    pub accepted: u64,
}

/// A file that was written.
#[derive(Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Its length.
    pub bytes: u64,
    /// Since when the server keeps everything, where the range that was asked for begins earlier.
    pub kept_from: Option<String>,
}

/// Why a body was not taken.
#[derive(Debug)]
pub enum Failure {
    /// Rows of it are bad; nothing of it was recorded.
    Rows(Vec<BadRow>),
    /// The server has no room or is not ready; worth trying again after the pause.
    Busy {
        /// How long.
        pause: Duration,
        /// What it said.
        message: String,
    },
    /// It certainly was not taken: it never arrived, or was refused for what it is.
    Refused(anyhow::Error),
    /// Anything else: trying again might record rows twice.
    Other(anyhow::Error),
}

/// Why a question has no answer, as the server said.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The stable code of the problem.
    pub code: String,
    message: String,
}

/// A row the server refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BadRow {
    /// Its index in the body.
    pub row: u64,
    /// Stable code of the fault.
    pub code: String,
    /// Why, and how to fix it.
    pub reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    code: String,
    errors: Vec<serde_json::Value>,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {} ({})", self.title, self.detail, self.code)
    }
}

/// Until the connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until the answer is there: above the server's own time for making a body durable.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one stream of events is followed; then it is opened again.
const FOLLOWED_AT_MOST: Duration = Duration::from_secs(24 * 3_600);
/// Longest pause a server's Retry-After is followed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Client {
    /// A client of the Kelly at this address, signed in so.
    pub fn new(server: &str, credentials: Credentials) -> anyhow::Result<Self> {
        Self::with(reqwest::Client::builder(), base(server)?, credentials)
    }

    /// The same of one that is found at this address, whatever DNS says of the name that its URL has.
    pub fn connecting_to(
        address: SocketAddr,
        server: &str,
        credentials: Credentials,
    ) -> anyhow::Result<Self> {
        let base = base(server)?;
        let http = match base.domain() {
            Some(name) => reqwest::Client::builder().resolve(name, address),
            None => reqwest::Client::builder(),
        };
        Self::with(http, base, credentials)
    }

    fn with(
        http: reqwest::ClientBuilder,
        base: reqwest::Url,
        credentials: Credentials,
    ) -> anyhow::Result<Self> {
        let http = http
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .user_agent(concat!("kelly/", env!("CARGO_PKG_VERSION")))
            // A proxy of the environment is never between a person and their own machine.
            .no_proxy()
            .build()
            .context("preparing the HTTP client")?;
        let shown = without_userinfo(base.as_str());
        Ok(Self { http, base, shown, credentials })
    }

    /// Sends one object a line.
    pub async fn send(&self, kind: RowKind, ndjson: Vec<u8>) -> Result<Recorded, Failure> {
        self.send_as(kind, "application/x-ndjson", ndjson).await
    }

    /// Sends a body of this content type.
    pub async fn send_as(
        &self,
        kind: RowKind,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Recorded, Failure> {
        let url = self.url(kind.path()).map_err(Failure::Other)?;
        let request = self.signed_in(self.http.post(url)).header("content-type", content_type).body(body);
        let sent = request.send().await;
        let response = sent.map_err(|error| match error.is_connect() {
            true => Failure::Refused(self.unreachable(error, "")),
            false => Failure::Other(self.unreachable(error, "; the rows may be recorded")),
        })?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let body = response
            .bytes()
            .await
            .context("the connection broke off before the answer's end; the rows may be recorded")
            .map_err(Failure::Other)?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .with_context(|| format!("{} is no Kelly: its answer is not one of Kelly's", self.shown))
                .map_err(Failure::Other);
        }
        Err(self.failure(status.as_u16(), retry_after, &body))
    }

    /// Asks for a JSON document. The report of an unhealthy server is an answer too.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.document(self.url(path)?).await
    }

    /// Which parts of the server are not ready, none when it is: what it tells also who is not signed in. `None` when what answers, if
    /// anything does, is no Kelly.
    pub async fn missing_parts(&self) -> Option<Vec<String>> {
        let answer = self.http.get(self.url("readyz").ok()?).send().await.ok()?;
        let document: Value = answer.json().await.ok()?;
        if document["status"] == "ready" {
            return Some(Vec::new());
        }
        let parts = document["errors"].as_array().filter(|_| document["code"] == "not_ready")?;
        Some(parts.iter().filter_map(|fault| Some(fault["part"].as_str()?.to_owned())).collect())
    }

    /// Asks a question: the parts of its path, which may hold any character, and its parameters.
    pub async fn ask(&self, path: &[&str], parameters: &[(&str, String)]) -> anyhow::Result<Value> {
        self.document(self.question(path, parameters)).await
    }

    /// Asks a question whose answer is a file, and writes it as it comes. After an error what was written is not whole.
    pub async fn download(
        &self,
        path: &[&str],
        parameters: &[(&str, String)],
        out: &mut impl Write,
    ) -> anyhow::Result<Downloaded> {
        let request = self.signed_in(self.http.get(self.question(path, parameters)));
        let mut response = request.send().await.map_err(|error| self.unreachable(error, ""))?;
        let broke_off = || format!("the connection to {} broke off before the file's end", self.shown);
        let status = response.status();
        if !status.is_success() {
            let body = response.bytes().await.with_context(broke_off)?;
            return Err(self.refused(status, serde_json::from_slice(&body).ok()));
        }
        let kept_from = response.headers().get("kelly-kept-from");
        let kept_from = kept_from.and_then(|time| time.to_str().ok()).map(str::to_owned);
        let mut bytes = 0;
        while let Some(piece) = response.chunk().await.with_context(broke_off)? {
            out.write_all(&piece).context("writing what was answered")?;
            bytes += piece.len() as u64;
        }
        Ok(Downloaded { bytes, kept_from })
    }

    fn signed_in(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self.credentials.header() {
            Some(header) => request.header(reqwest::header::AUTHORIZATION, header),
            None => request,
        }
    }

    fn question(&self, path: &[&str], parameters: &[(&str, String)]) -> reqwest::Url {
        let mut url = self.base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        url.query_pairs_mut().extend_pairs(parameters);
        url
    }

    /// What an answer that is none means.
    fn refused(&self, status: reqwest::StatusCode, answer: Option<Value>) -> anyhow::Error {
        let status = status.as_u16();
        match answer {
            Some(answer) => {
                let problem = Problem::deserialize(&answer).unwrap_or_default();
                let faults: String = problem.errors.iter().filter_map(fault_of_rule).collect();
                let message =
                    format!("{} answered {status}: {problem}{}{faults}", self.shown, how_to_sign_in(status));
                Refused { code: problem.code, message }.into()
            }
            None => anyhow::anyhow!("{} answered {status} without saying why: is it a Kelly?", self.shown),
        }
    }

    /// Sends a JSON document, and asks for the one that tells what came of it.
    pub async fn post_json(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.answer(self.http.post(self.url(path)?).json(body)).await
    }

    /// Asks for something to be done, and for the JSON document that tells what came of it.
    pub async fn post(&self, path: &str) -> anyhow::Result<Value> {
        self.answer(self.http.post(self.url(path)?)).await
    }

    /// Asks for something to be done, or a question whose refusal is an answer too: whatever document comes back.
    pub async fn say(&self, method: Method, path: &[&str], body: Option<&Value>) -> anyhow::Result<Said> {
        let request = self.signed_in(self.http.request(method, self.question(path, &[])));
        let request = request.header("accept", "application/json");
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.map_err(|error| self.unreachable(error, "; it may be done"))?;
        let status = response.status();
        let body = response.bytes().await;
        let body = body.with_context(|| {
            format!("the connection to {} broke off before the answer's end; it may be done", self.shown)
        })?;
        match serde_json::from_slice::<Value>(&body) {
            Ok(answer) => Ok(Said { status: status.as_u16(), answer }),
            Err(_) => Err(self.refused(status, None)),
        }
    }

    /// A stream of server-sent events of a room, from where a client was.
    pub async fn events(&self, room: &str, position: Option<&str>) -> anyhow::Result<reqwest::Response> {
        let url = self.question(&["api", "v1", "kelly", "live", "events"], &[("rooms", room.to_owned())]);
        let mut request = self.signed_in(self.http.get(url)).timeout(FOLLOWED_AT_MOST);
        if let Some(position) = position {
            request = request.header("last-event-id", position);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error, ""))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(self.refused(status, serde_json::from_slice(&body).ok()))
    }

    async fn document(&self, url: reqwest::Url) -> anyhow::Result<Value> {
        self.answer(self.http.get(url)).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let request = self.signed_in(request).header("accept", "application/json");
        let response = request.send().await.map_err(|error| self.unreachable(error, ""))?;
        let status = response.status();
        let body = response
            .bytes()
            .await
            .with_context(|| format!("the connection to {} broke off before the answer's end", self.shown))?;
        match serde_json::from_slice::<Value>(&body) {
            Ok(answer) if status.is_success() || answer.get("parts").is_some() => Ok(answer),
            answer => Err(self.refused(status, answer.ok())),
        }
    }

    fn url(&self, path: &str) -> anyhow::Result<reqwest::Url> {
        self.base.join(path).with_context(|| format!("making an address below {}", self.shown))
    }

    /// `also` is what else may be so when it is not known whether the request arrived.
    fn unreachable(&self, error: reqwest::Error, also: &str) -> anyhow::Error {
        let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
        // The causes repeat one another, down to the one that says something.
        let error = error.without_url();
        let mut root: &dyn std::error::Error = &error;
        while let Some(cause) = root.source() {
            root = cause;
        }
        let root = root.to_string();
        let shown = &self.shown;
        let message = if is_connect && root.contains("peer certificate") {
            format!(
                "{shown} shows a certificate that is not trusted here: name a file with the authority that signed it in \
                 SSL_CERT_FILE. One that signs itself must be no authority (basicConstraints=CA:FALSE)"
            )
        } else if is_connect {
            format!(
                "no Kelly answers at {shown}: start one with `kelly up`, or say where it is with --server"
            )
        } else if is_timeout {
            format!("{shown} did not answer in time{also}")
        } else {
            format!("the request to {shown} broke off{also}")
        };
        anyhow::anyhow!("{message} ({root})")
    }

    fn failure(&self, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Failure {
        let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
            let message =
                anyhow::anyhow!("{} answered {status} without saying why: is it a Kelly?", self.shown);
            return if is_refusal(status) { Failure::Refused(message) } else { Failure::Other(message) };
        };
        if problem.code == "rows_refused" {
            let rows = problem.errors.iter().filter_map(|error| BadRow::deserialize(error).ok()).collect();
            return Failure::Rows(rows);
        }
        match retry_after {
            // An unknown outcome carries no Retry-After: sending again might record twice.
            Some(pause) if matches!(status, TOO_MANY_REQUESTS | UNAVAILABLE) => {
                Failure::Busy { pause: pause.min(LONGEST_PAUSE), message: problem.to_string() }
            }
            _ => {
                let message =
                    anyhow::anyhow!("the server answered {status}: {problem}{}", how_to_sign_in(status));
                if is_refusal(status) { Failure::Refused(message) } else { Failure::Other(message) }
            }
        }
    }
}

/// What is wrong with an alert rule, on a line of its own.
fn fault_of_rule(error: &Value) -> Option<String> {
    let text = |name: &str| error.get(name)?.as_str();
    let (rule, field, problem, fix) = (text("rule")?, text("field")?, text("problem")?, text("fix")?);
    let field = if field.is_empty() { String::new() } else { format!(", `{}`", printable(field)) };
    Some(format!("\n  rule `{}`{field}: {}; {}", printable(rule), printable(problem), printable(fix)))
}

/// The URL that what is asked for lies below.
fn base(server: &str) -> anyhow::Result<reqwest::Url> {
    let mut base = reqwest::Url::parse(server)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
            Usage(format!(
                "--server {:?} is no address: write http://host:port, e.g. \
                 http://127.0.0.1:8000",
                without_userinfo(server)
            ))
        })?;
    // Behind a proxy Kelly may lie under a path: joining keeps it only when it ends like a directory.
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    Ok(base)
}

/// Statuses that say, with Retry-After, that nothing was done and when it may be tried again.
const TOO_MANY_REQUESTS: u16 = 429;
const UNAVAILABLE: u16 = 503;

/// What a person at a command line can do who is not signed in.
fn how_to_sign_in(status: u16) -> &'static str {
    const UNAUTHORIZED: u16 = 401;
    match status {
        UNAUTHORIZED => {
            ". The tools sign in by themselves to the Kelly of this user in the data directory (--data DIR); to another one \
             with KELLY_TOKEN=…, which `kelly token` makes on its machine"
        }
        _ => "",
    }
}

/// Whether an answer says that the request was not carried out. One that a proxy gave up waiting for may have been.
fn is_refusal(status: u16) -> bool {
    const REQUEST_TIMEOUT: u16 = 408;
    (400..500).contains(&status) && status != REQUEST_TIMEOUT
}

/// An address, or what was meant to be one, without user and password.
fn without_userinfo(address: &str) -> String {
    let (scheme, rest) = address.split_once("//").map_or(("", address), |(scheme, rest)| (scheme, rest));
    match rest.rsplit_once('@') {
        Some((_, host)) if scheme.is_empty() => host.to_owned(),
        Some((_, host)) => format!("{scheme}//{host}"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn client() -> Client {
        Client::new("http://127.0.0.1:1", Credentials::Nothing).unwrap()
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for wrong in ["", "localhost", "wss://x", "ftp://x", "http://"] {
            let message = Client::new(wrong, Credentials::Nothing).unwrap_err().to_string();
            assert!(message.contains("write http://host:port"), "{wrong}: {message}");
        }
    }

    #[test]
    fn a_path_before_kellys_own_is_kept() {
        for (server, wanted) in [
            ("http://k:1", "http://k:1/api/v1/kelly/monitoring/metrics/record"),
            ("http://k:1/ops/kelly", "http://k:1/ops/kelly/api/v1/kelly/monitoring/metrics/record"),
            ("http://k:1/ops/", "http://k:1/ops/api/v1/kelly/monitoring/metrics/record"),
        ] {
            let client = Client::new(server, Credentials::Nothing).unwrap();
            assert_eq!(client.url(RowKind::Metrics.path()).unwrap().as_str(), wanted);
        }
    }

    #[test]
    fn answers_are_sorted_by_what_can_be_done() {
        let refused = br#"{"title":"t","detail":"d","code":"rows_refused",
            "errors":[{"row":3,"code":"too_old","reason":"timestamp: too old"}]}"#;
        match client().failure(422, None, refused) {
            Failure::Rows(rows) => {
                let reason = "timestamp: too old".to_owned();
                assert_eq!(rows, [BadRow { row: 3, code: "too_old".into(), reason }]);
            }
            other => panic!("{other:?}"),
        }
        let full = br#"{"title":"t","detail":"d","code":"log_full"}"#;
        let pause = Some(Duration::from_secs(100));
        for status in [429, 503] {
            match client().failure(status, pause, full) {
                Failure::Busy { pause, .. } => assert_eq!(pause, LONGEST_PAUSE),
                other => panic!("{status}: {other:?}"),
            }
        }
        let unknown = br#"{"title":"t","detail":"d","code":"record_outcome_unknown"}"#;
        assert!(matches!(client().failure(503, None, unknown), Failure::Other(_)));
        assert!(matches!(client().failure(404, None, b"<html>"), Failure::Refused(_)));
        assert!(matches!(client().failure(413, None, full), Failure::Refused(_)));
        for unknown in [408, 500, 502, 504] {
            assert!(matches!(client().failure(unknown, None, b"<html>"), Failure::Other(_)), "{unknown}");
        }
    }

    /// No DNS has the name: were it asked, nothing would be connected to.
    #[tokio::test]
    async fn a_server_at_an_address_is_found_there_and_not_where_its_name_leads() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://Kelly.invalid:{}", address.port());
        let client = Client::connecting_to(address, &url, Credentials::Token("t".into())).unwrap();
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            String::from_utf8(head).unwrap()
        };
        let (answer, head) = tokio::join!(client.get("livez"), answering);
        answer.unwrap();
        assert!(head.contains(&format!("host: kelly.invalid:{}\r\n", address.port())), "{head}");
    }

    #[tokio::test]
    async fn what_never_arrived_was_refused_and_no_secret_is_shown() {
        let address = "http://user:hunter2@127.0.0.1:1";
        let client = Client::new(address, Credentials::Token("hunter2".into())).unwrap();
        let message = match client.send(RowKind::Metrics, b"{}".to_vec()).await.unwrap_err() {
            Failure::Refused(error) => format!("{error:#}"),
            other => panic!("{other:?}"),
        };
        assert!(message.contains("no Kelly answers at http://127.0.0.1:1/"), "{message}");
        let message = [
            message,
            format!("{:#}", client.get("livez").await.unwrap_err()),
            format!("{:?}", client.failure(404, None, b"<html>")),
            format!("{client:?}"),
            Client::new("ftp://user:hunter2@k:1", Credentials::Nothing).unwrap_err().to_string(),
            Client::new("user:hunter2@k:1", Credentials::Nothing).unwrap_err().to_string(),
            Client::new("http://user:hunter2@", Credentials::Nothing).unwrap_err().to_string(),
        ];
        for message in message {
            assert!(!message.contains("hunter2") && !message.contains("user"), "{message}");
        }
    }
}
