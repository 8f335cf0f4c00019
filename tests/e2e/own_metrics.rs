//! Kelly's own metrics, as Prometheus takes them: its tool checks what a Kelly under load tells, and the real server scrapes one
//! with the configuration and the rules that are shipped.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kelly_auth::Role;
use kelly_harness::process::free_address;
use kelly_harness::sign_in::{User, token_of};
use serde_json::{Value, json};

use crate::kelly_process::{Kelly, PATIENCE, Start};

const BASE: &str = "/api/v1/kelly/monitoring";
const QUIET: [(&str, &str); 1] = [("KELLY_MONITORING_ENABLED", "false")];
const ROWS: usize = 40;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus")
}

/// Runs `promtool`, which Debian's package `prometheus` has, and gives what it says.
fn promtool(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: scripts/setup prometheus");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("promtool ends");
    writing.join().expect("no panic").expect("promtool reads its input");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}

/// Asks this and that, rightly and wrongly.
async fn use_it(kelly: &Kelly) {
    let metrics: Vec<Value> =
        (0..ROWS).map(|row| json!({"metric_name": "messages", "value": row, "account_id": "acme"})).collect();
    let (status, _) =
        kelly.post(&format!("{BASE}/metrics/record"), &json!(metrics)).await.expect("an answer");
    assert_eq!(status, 202);
    // A stream that is followed, gets an event, and is gone.
    let path = "/api/v1/kelly/live/events?rooms=activity_feed,monitoring_dashboard";
    let mut stream = kelly.request(reqwest::Method::GET, path).send().await.expect("an answer");
    let event = json!({"event_type": "note", "title": "t", "description": "d", "account_id": "acme"});
    let (status, _) = kelly.post(&format!("{BASE}/activity/record"), &event).await.expect("an answer");
    assert_eq!(status, 202);
    let mut pushed = String::new();
    while !pushed.contains("activity_event\"") {
        let piece = stream.chunk().await.expect("the stream goes on").expect("the stream goes on");
        pushed.push_str(&String::from_utf8_lossy(&piece));
    }
    drop(stream);
    for path in ["metrics", "metrics/detailed/messages?timeframe=1h", "activity/feed", "health", "no-such"] {
        kelly.look(&format!("{BASE}/{path}")).await.expect("an answer");
    }
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    for token in ["a.b.c", ""] {
        let url = format!("{}{BASE}/metrics", kelly.url);
        let answer = client.get(url).bearer_auth(token).send().await.expect("an answer");
        assert_eq!(answer.status(), 401);
    }
}

/// The metrics in one of their forms, and what the answer says it is.
async fn scrape(kelly: &Kelly, accept: &str) -> (String, String) {
    let request = kelly.request(reqwest::Method::GET, "/metrics").header("accept", accept);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().expect("a text").to_owned();
    (kind, answer.text().await.expect("a text"))
}

/// The sum of a metric over those of its series that have these words in their labels.
fn value(text: &str, name: &str, labels: &str) -> f64 {
    let series = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])) && line.contains(labels)
    });
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Names of the families, as the document lists them.
fn documented() -> BTreeSet<String> {
    let document = include_str!("../../docs/metrics-of-kelly.md");
    let rows = document.lines().skip_while(|line| !line.starts_with("| metric |")).skip(2);
    rows.take_while(|line| line.starts_with("| `"))
        .filter_map(|line| Some(line.split('`').nth(1)?.to_owned()))
        .collect()
}

fn families(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_and_every_metric_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    use_it(&kelly).await;
    let begun = Instant::now();
    let text = loop {
        let (kind, text) = scrape(&kelly, "text/plain").await;
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        // What is judged is committed every few seconds.
        let is_written = value(&text, "kelly_ingest_rows_total", "") >= (ROWS + 1) as f64
            && text.contains("\nkelly_evaluate_last_commit_timestamp_seconds ");
        // One scrape asks for positions, counts and parts one after the other, so they may tell of different moments.
        let is_quiet = ["kelly_ingest_lag_records", "kelly_live_connections", "kelly_live_feed_lag_records"]
            .iter()
            .all(|gauge| value(&text, gauge, "") == 0.0)
            && value(&text, "kelly_part_state", "state=\"healthy\"") == value(&text, "kelly_part_state", "");
        if is_written && is_quiet && value(&text, "kelly_live_closes_total", "reason=\"gone\"") > 0.0 {
            break text;
        }
        assert!(begun.elapsed() < PATIENCE, "what was done never showed: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(promtool(&["check", "metrics"], &text), "");
    assert_eq!(families(&text), documented());

    for (name, labels, expected) in [
        ("kelly_recorded_rows_total", "kind=\"metrics\"", ROWS as f64),
        ("kelly_recorded_rows_total", "kind=\"activity\"", 1.0),
        ("kelly_ingest_batch_rows_sum", "", (ROWS + 1) as f64),
        ("kelly_ingest_lag_records", "", 0.0),
        ("kelly_http_problems_total", "code=\"token_malformed\",status=\"401\"", 1.0),
        ("kelly_http_problems_total", "code=\"credentials_malformed\",status=\"401\"", 1.0),
        ("kelly_part_state", "state=\"healthy\"", value(&text, "kelly_part_state", "")),
        ("kelly_live_connections", "", 0.0),
        ("kelly_live_feed_lag_records", "", 0.0),
    ] {
        assert_eq!(value(&text, name, labels), expected, "{name}{{{labels}}}\n{text}");
    }
    for name in ["kelly_engine_resident_memory_bytes", "process_open_fds", "kelly_live_messages_total"] {
        assert!(value(&text, name, "") > 0.0, "{name}\n{text}");
    }
    // Nothing that a client made up is in it.
    for word in ["acme", "no-such", "a.b.c", &kelly.token()] {
        assert!(!text.contains(word), "{word}\n{text}");
    }

    // Exemplars name the trace of a request: the one that its answer named.
    let request = kelly.request(reqwest::Method::GET, &format!("{BASE}/catalogue"));
    let answer = request.send().await.expect("an answer");
    let trace = answer.headers()["x-trace-id"].to_str().expect("a text").to_owned();
    let (kind, text) = scrape(&kelly, "*/*").await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("# EOF\n"));
    let exemplar = format!("# {{trace_id=\"{trace}\"}}");
    assert!(text.lines().any(|line| line.contains("/catalogue") && line.contains(&exemplar)), "{text}");
    // It is for those who may see how all of it performs.
    for (role, expected) in [(Role::Viewer, 403), (Role::Producer, 403), (Role::Analyst, 200)] {
        let token = token_of(directory.path(), &User::with(role)).expect("the secret is made");
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let answer = client.get(format!("{}/metrics", kelly.url)).bearer_auth(token).send().await;
        assert_eq!(answer.expect("an answer").status().as_u16(), expected, "{role}");
    }
}

/// A Prometheus, which ends with the test.
struct Prometheus {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Prometheus {
    fn start(directory: &Path) -> Self {
        let listen = free_address();
        let log = fs::File::create(directory.join("prometheus.log")).expect("the directory is ours");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("tsdb").display()))
            .arg(format!("--web.listen-address={listen}"))
            .arg("--enable-feature=exemplar-storage")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is installed: scripts/setup prometheus");
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("an HTTP client");
        Self { child, url: format!("http://{listen}"), client }
    }

    /// The answer to a question, once it has one.
    async fn answer(&self, question: &str) -> Value {
        let begun = Instant::now();
        loop {
            if let Ok(answer) = self.client.get(format!("{}/api/v1/{question}", self.url)).send().await
                && let Ok(answer) = answer.json::<Value>().await
                && [&answer["data"]["result"], &answer["data"]]
                    .iter()
                    .any(|found| found.as_array().is_some_and(|found| !found.is_empty()))
            {
                return answer["data"].clone();
            }
            assert!(begun.elapsed() < PATIENCE, "{question} was never answered");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_it_as_shipped() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    fs::create_dir(&data).expect("the directory is ours");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: &data }).await;
    use_it(&kelly).await;
    // What is shipped, for this Kelly and with little patience.
    let shipped_config = fs::read_to_string(shipped().join("prometheus.yml")).expect("it is shipped");
    let here = shipped_config
        .replace("127.0.0.1:8000", kelly.url.trim_start_matches("http://"))
        .replace("scrape_interval: 15s", "scrape_interval: 1s");
    assert_ne!(here, shipped_config);
    let config = place.path().join("prometheus.yml");
    fs::write(&config, here).expect("the directory is ours");
    for file in ["kelly.rules.yml", "kelly.rules.test.yml"] {
        fs::copy(shipped().join(file), place.path().join(file)).expect("it is shipped");
    }
    let token = token_of(&data, &User::with(Role::Analyst)).expect("the secret is made");
    fs::write(place.path().join("kelly.token"), format!("{token}\n")).expect("the directory is ours");
    promtool(&["check", "config", config.to_str().expect("a plain path")], "");
    let tests = place.path().join("kelly.rules.test.yml");
    promtool(&["test", "rules", tests.to_str().expect("a plain path")], "");

    let prometheus = Prometheus::start(place.path());
    let rows = prometheus.answer(&format!("query?query=kelly_recorded_rows_total==%20{ROWS}")).await;
    assert_eq!(rows["result"][0]["metric"]["kind"], "metrics", "{rows}");
    let up = prometheus.answer("query?query=up").await;
    assert_eq!(up["result"][0]["value"][1], "1", "{up}");
    let targets = prometheus.client.get(format!("{}/api/v1/targets", prometheus.url)).send().await;
    let targets: Value = targets.expect("an answer").json().await.expect("JSON");
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");
    let question = "query_exemplars?query=kelly_http_request_duration_seconds_bucket&start=0&end=4102444800";
    let exemplars = prometheus.answer(question).await;
    let trace = exemplars[0]["exemplars"][0]["labels"]["trace_id"].as_str().expect("a trace id");
    assert_eq!(trace.len(), 32, "{exemplars}");
    // The names of metrics that the rules use are those that there are.
    let used = fs::read_to_string(shipped().join("kelly.rules.yml")).expect("it is shipped");
    let known = documented();
    let names = used.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    for name in names.filter(|name| name.starts_with("kelly_") || name.starts_with("process_")) {
        let family = name.strip_suffix("_bucket").or_else(|| name.strip_suffix("_count")).unwrap_or(name);
        assert!(known.contains(family), "a rule uses {name}, which there is not");
    }
}
