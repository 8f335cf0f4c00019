//! The tools of the command line against a running Kelly: tail, dead letters, drilldown, files.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use kelly_harness::KafkaBroker;
use kelly_schemas::Stream;
use kelly_schemas::encode::{ArrowEncoder, NewMetric};
use kelly_stream::{KafkaConfig, KafkaLog, Log, NewRecord};
use serde_json::{Value, json};

use crate::first_minutes::until;
use crate::kelly_process::{Kelly, Start, kelly, run};

pub(crate) const BASE: &str = "/api/v1/kelly/monitoring";
pub(crate) const QUIET: [(&str, &str); 1] = [("KELLY_MONITORING_ENABLED", "false")];

/// A `kelly` that goes on, with its lines. Dropping it kills it.
struct Follower {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Follower {
    fn start(arguments: &[&str], directory: &std::path::Path) -> Self {
        let mut child = kelly()
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the kelly binary starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.expect("a line of text");
        Some(serde_json::from_str(&line).unwrap_or_else(|fault| panic!("{fault}: {line}")))
    }

    fn interrupt(&self) {
        // SAFETY: kill takes two integers; the child is ours and not yet waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
    }

    fn code(mut self) -> Option<i32> {
        self.child.wait().expect("the child can be waited for").code()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn record(kelly: &Kelly, row: Value) {
    let (status, answer) = kelly.post(&format!("{BASE}/metrics/record"), &row).await.expect("an answer");
    assert_eq!(status, 202, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_shows_each_row_once_as_it_comes() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().to_str().expect("a plain path");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    for value in 0..3 {
        record(&kelly, json!({"metric_name": "tailed", "value": value, "account_id": "acme"})).await;
    }
    let arguments = ["tail", "--data", data, "--since", "1h", "--json", "--metric", "tailed", "--max", "5"];
    let mut follower = Follower::start(&arguments, directory.path());
    let mut values: Vec<i64> = Vec::new();
    for expected in 1..=6 {
        let row = follower.next().expect("a row");
        assert_eq!((&row["metric_name"], &row["account_id"]), (&json!("tailed"), &json!("acme")), "{row}");
        values.push(row["value"].as_f64().expect("a value") as i64);
        // The rest comes while it is looking: one that is late, and one that the filter leaves out.
        if expected == 3 {
            let late = (Utc::now() - TimeDelta::hours(30)).to_rfc3339();
            record(&kelly, json!({"metric_name": "tailed", "value": 99, "account_id": "acme"})).await;
            record(
                &kelly,
                json!({"metric_name": "tailed", "value": 3, "account_id": "acme", "timestamp": late}),
            )
            .await;
            for value in 4..=5 {
                record(&kelly, json!({"metric_name": "tailed", "value": value, "account_id": "acme"})).await;
            }
        }
    }
    values.sort_unstable();
    assert_eq!(values, [0, 1, 2, 3, 4, 5]);
    follower.interrupt();
    assert!(follower.next().is_none(), "nothing more is shown");
    assert_eq!(follower.code(), Some(0), "Ctrl-C is how it ends");

    // A name that is mistyped is said once, and what there is, is shown.
    let arguments =
        ["tail", "--data", data, "--since", "1h", "--metric", "taled", "--metric", "tailed", "-n", "2"];
    let (code, out, stderr) = run(&arguments, &[], directory.path());
    assert_eq!((code, out.lines().count()), (Some(0), 2), "{out}{stderr}");
    assert_eq!(stderr.matches("no metric named").count(), 1, "{stderr}");
    assert!(stderr.contains("\"taled\" was ever recorded"), "{stderr}");

    let event = json!({"event_type": "escalation", "title": "Asked for a person", "severity": "high"});
    let (status, _) = kelly.post(&format!("{BASE}/activity/record"), &event).await.expect("an answer");
    assert_eq!(status, 202);
    let arguments = ["tail", "activity", "--data", data, "--since", "1h", "--json", "-n", "1"];
    let mut follower = Follower::start(&arguments, directory.path());
    assert_eq!(follower.next().expect("an event")["title"], "Asked for a person");
    assert_eq!(follower.code(), Some(0));
    assert_eq!(kelly.terminate(), Some(0));

    let nowhere = tempfile::tempdir().expect("a directory");
    let (code, _, stderr) = run(&["tail"], &[], nowhere.path());
    assert_eq!(code, Some(1));
    assert!(stderr.contains("start `kelly up`") && stderr.contains("--data"), "{stderr}");
}

/// From the log to the table of dead letters and, once the cause is fixed, back on the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_found_shown_and_replayed_once() {
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().to_str().expect("a plain path");
    let log_url = format!("kafka://{}", broker.bootstrap());
    let narrow = [QUIET[0], ("KELLY_LOG", log_url.as_str()), ("MONITORING_DB_RETENTION_DAYS", "90")];
    let kelly =
        Kelly::start(Start { arguments: &["up"], environment: &narrow, data: directory.path() }).await;

    let old = (Utc::now() - TimeDelta::days(100)).to_rfc3339();
    let message = json!([
        {"metric_name": "replayed", "value": 1},
        {"metric_name": "replayed", "value": 2, "timestamp": old},
        {"metric_name": "replayed", "value": 3, "metadata": {"text": "the canary sang"}},
        {"metric_name": "replayed"},
    ]);
    let log = KafkaLog::connect(KafkaConfig::new(broker.bootstrap())).expect("the broker");
    let record = NewRecord {
        topic: Stream::Metrics.topic().into(),
        partition: Some(0),
        key: None,
        payload: Bytes::from(message.to_string()),
        content_type: None,
    };
    log.append(vec![record]).await.expect("the message is acknowledged");
    let path = format!("{BASE}/metrics/detailed/replayed?timeframe=1h");
    until(&kelly, &path, |answer| answer["sample_count"] == 1).await;

    let tool = |arguments: &[&str]| {
        let mut line = vec!["dead-letters"];
        line.extend(arguments);
        line.extend(["--data", data, "--json"]);
        let (code, out, stderr) = run(&line, &narrow, directory.path());
        (code, serde_json::from_str::<Value>(&out).unwrap_or_else(|_| panic!("{out}{stderr}")))
    };
    let (code, listed) = tool(&["list", "--since", "1h"]);
    assert_eq!(code, Some(0));
    let codes: Vec<&str> = listed
        .as_array()
        .expect("letters")
        .iter()
        .filter_map(|letter| letter["reason_code"].as_str())
        .collect();
    assert_eq!(codes, ["missing_field", "conversation_content", "too_old"], "newest first: {listed}");
    assert!(
        !listed.to_string().contains("canary") && !kelly.has_logged("canary"),
        "no reason sings: {listed}"
    );
    let (_, reasons) = tool(&["list", "--by-reason", "--reason", "too_old"]);
    assert_eq!((&reasons[0]["count"], &reasons[1]), (&json!(1), &Value::Null), "{reasons}");

    let place = listed[2]["place"].as_str().expect("a place").to_owned();
    let (_, shown) = tool(&["show", &place]);
    assert!(shown[0]["text"].as_str().is_some_and(|text| text.contains(&old)), "its own row: {shown}");
    let message_place = place.rsplit_once('/').expect("a row behind the message").0;
    let (_, shown) = tool(&["show", message_place]);
    assert_eq!(shown.as_array().map(Vec::len), Some(3));
    assert_eq!(shown[1]["redacted"], true);
    assert!(!shown.to_string().contains("canary"), "{shown}");

    // Nothing is fixed yet.
    let (code, replay) = tool(&["replay", message_place, "--yes", "--server", &kelly.url]);
    assert_eq!((code, &replay["sent"]), (Some(3), &json!(0)), "{replay}");
    assert_eq!(kelly.terminate(), Some(0));

    let wide = [QUIET[0], ("KELLY_LOG", log_url.as_str()), ("MONITORING_DB_RETENTION_DAYS", "200")];
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &wide, data: directory.path() }).await;
    let replay = |arguments: &[&str]| {
        let mut line = vec!["dead-letters", "replay", "--data", data, "--json", "--server", &kelly.url];
        line.extend(arguments);
        let (code, out, stderr) = run(&line, &wide, directory.path());
        (code, serde_json::from_str::<Value>(&out).unwrap_or_else(|_| panic!("{out}{stderr}")))
    };
    let (code, report) = replay(&["--reason", "too_old"]);
    assert_eq!((code, &report["dry_run"], &report["sent"]), (Some(0), &json!(true), &json!(1)), "{report}");
    let (code, report) = replay(&["--all", "--yes"]);
    assert_eq!((code, &report["sent"], &report["left_out"]), (Some(3), &json!(1), &json!(2)), "{report}");
    let outcomes: Vec<&str> = report["letters"]
        .as_array()
        .expect("letters")
        .iter()
        .filter_map(|letter| letter["code"].as_str())
        .collect();
    assert_eq!(outcomes, ["redacted", "still_refused"]);
    let (code, report) = replay(&["--all", "--yes"]);
    assert_eq!((code, &report["sent"]), (Some(3), &json!(0)), "once is enough: {report}");

    let of_that_day = "SELECT sum(count) FROM metric_rollups WHERE tier = 'hour' AND metric_name = 'replayed' AND t < now() - 86400";
    let begun = std::time::Instant::now();
    while kelly.sql(of_that_day).await == "0" {
        assert!(begun.elapsed() < crate::kelly_process::PATIENCE, "the replayed row never came");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(kelly.sql(of_that_day).await, "1", "it is there once, at its own time");
    assert_eq!(
        kelly
            .sql("SELECT sum(count) FROM metric_rollups WHERE tier = 'hour' AND metric_name = 'replayed'")
            .await,
        "2"
    );
    assert_eq!(kelly.terminate(), Some(0));
}

/// Bit by bit until none remains, and by two at once; each letter comes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_on_where_the_last_one_ended_and_two_at_once_send_nothing_twice() {
    const AT_ONCE: u64 = 20;
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().to_str().expect("a plain path");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    let letters = async |first: u64, count: u64| {
        kelly
            .sql(&format!(
                "INSERT INTO dead_letters SELECT 'kelly.metrics', 0, {first} + number, 0, \
                 toDateTime64(now() - 600, 3) + {first} + number, 'too_far_in_future', 'x', '', \
                 concat('{{\"metric_name\":\"stuck\",\"value\":', toString({first} + number), '}}') FROM numbers({count})"
            ))
            .await;
    };
    let replay = |limit: &str| {
        let arguments =
            ["--all", "--yes", "--limit", limit, "--data", data, "--json", "--server", &kelly.url];
        let line = [&["dead-letters", "replay"][..], &arguments].concat();
        let (_, out, stderr) = run(&line, &QUIET, directory.path());
        serde_json::from_str::<Value>(&out).unwrap_or_else(|_| panic!("{out}{stderr}"))
    };
    letters(0, 3).await;
    for (offset, more) in [(0, true), (1, true), (2, false)] {
        let report = replay("1");
        let place = format!("kelly.metrics/0/{offset}/0");
        assert_eq!(
            (&report["sent"], &report["letters"][0]["place"], &report["more"]),
            (&json!(1), &json!(place), &json!(more)),
            "{report}"
        );
    }

    letters(3, AT_ONCE).await;
    let sent = |report: &Value| report["sent"].as_u64().expect("a number");
    let at_once: u64 = std::thread::scope(|scope| {
        let runs = [(); 2].map(|()| scope.spawn(|| sent(&replay("1000"))));
        runs.into_iter().map(|run| run.join().expect("a replay")).sum()
    });
    // A letter that both marked at the same moment is left for the next.
    let rest = replay("1000");
    assert_eq!(at_once + sent(&rest), AT_ONCE, "{rest}");
    assert_eq!(replay("1000")["letters"], json!([]));
    let path = format!("{BASE}/metrics/detailed/stuck?timeframe=1h");
    until(&kelly, &path, |answer| answer["sample_count"].as_u64() >= Some(3 + AT_ONCE)).await;
    assert_eq!(
        kelly
            .sql("SELECT sum(count) FROM metric_rollups WHERE tier = 'hour' AND metric_name = 'stuck'")
            .await,
        "23"
    );
    assert_eq!(kelly.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arrow_file_is_recorded_or_refused_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    let write = |name: &str, metric: &str, values: &[f64]| {
        let mut encoder = ArrowEncoder::default();
        values.iter().for_each(|value| {
            encoder.push(&NewMetric { metric_name: metric, value: *value, ..NewMetric::default() });
        });
        std::fs::write(directory.path().join(name), encoder.finish().expect("is written")).expect("a file");
    };
    write("good.arrow", "columns", &[1.0, 2.0, 3.0]);
    write("bad.arrow", "columns", &[4.0, f64::NAN]);
    std::fs::write(directory.path().join("rows.ndjson"), r#"{"metric_name":"columns","value":5}"#)
        .expect("a file");
    let data = directory.path().to_str().expect("a plain path");
    let tool = |arguments: &[&str]| {
        run(&[arguments, &["--server", &kelly.url, "--data", data]].concat(), &QUIET, directory.path())
    };
    // The other files are not begun either.
    let (code, out, stderr) = tool(&["replay", "rows.ndjson", "good.arrow", "bad.arrow"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("bad.arrow is refused whole") && stderr.contains("row 2: `value`"), "{stderr}");
    // Its rows have no times to be moved.
    let (code, _, stderr) = tool(&["replay", "good.arrow", "--shift-to-now"]);
    assert!(code == Some(2) && stderr.contains("no row of good.arrow has one"), "{stderr}");
    let (code, out, _) = tool(&["replay", "good.arrow", "--check"]);
    assert_eq!((code, out.trim()), (Some(0), "3 rows are right"));
    let (code, out, stderr) = tool(&["record", "file", "good.arrow"]);
    assert!(code == Some(0) && out.starts_with("3 rows recorded"), "{out}{stderr}");
    let (code, out, stderr) = tool(&["replay", "rows.ndjson", "good.arrow"]);
    assert!(code == Some(0) && out.starts_with("4 rows recorded"), "{out}{stderr}");
    until(&kelly, &format!("{BASE}/metrics/detailed/columns"), |answer| answer["sample_count"] == 7).await;
    assert_eq!(
        kelly.sql("SELECT sum(value), count() FROM system_metrics WHERE metric_name = 'columns'").await,
        "17\t7"
    );
    assert_eq!(kelly.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drilldown_is_a_table_or_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    for (account, value) in [("a", 1.0), ("b", 2.0), ("b", 4.0), ("c", 9.0)] {
        let row = json!({"metric_name": "drilled/down", "value": value, "account_id": account, "conversation_id": "x"});
        record(&kelly, row).await;
    }
    until(&kelly, &format!("{BASE}/metrics/detailed/drilled%2Fdown"), |answer| answer["sample_count"] == 4)
        .await;
    let tool = |arguments: &[&str]| {
        let data = directory.path().to_str().expect("a plain path");
        let mut line =
            vec!["drilldown", "drilled/down", "--timeframe", "1h", "--server", &kelly.url, "--data", data];
        line.extend(arguments);
        let (code, out, stderr) = run(&line, &QUIET, directory.path());
        assert_eq!(code, Some(0), "{stderr}");
        out
    };
    let table = tool(&["--order-by", "mean", "--order", "desc"]);
    let groups: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix(['1', '2', '3'])?.split_whitespace().next())
        .collect();
    assert_eq!(groups, ["c", "b", "a"], "{table}");
    assert!(table.contains('▅'), "one value is in the middle: {table}");
    let answer: Value = serde_json::from_str(&tool(&["--json", "--account", "b"])).expect("JSON");
    assert_eq!(
        (&answer["group_by"], &answer["groups"][0]["mean"]),
        (&json!("conversation"), &json!(3.0)),
        "{answer}"
    );
    tool(&["--by", "conversation", "-o", "out.csv"]);
    let csv = std::fs::read_to_string(directory.path().join("out.csv")).expect("the file");
    let line: Vec<&str> = csv.lines().nth(1).expect("a group").split(',').collect();
    assert_eq!(
        (line[0], line[3], line[5], line[7]),
        ("\"drilled/down\"", "\"conversation\"", "\"x\"", "4"),
        "{csv}"
    );
    for (name, more, format) in [
        ("out.parquet", &[][..], "Parquet"),
        ("out.arrow", &[], "ArrowStream"),
        ("out.jsonl", &[], "JSONEachRow"),
        ("out.bin", &["--format", "parquet"], "Parquet"),
    ] {
        tool(&[&["-o", name, "--order-by", "mean", "--order", "desc"], more].concat());
        let file = std::fs::read(directory.path().join(name)).expect("the file");
        let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
        let read =
            format!("SELECT groupArray(id), sum(count), max(mean) FROM format({format}, unhex('{hex}'))");
        assert_eq!(kelly.sql(&read).await, "['c','b','a']\t4\t9", "{name}");
    }
    tool(&["-o", "out.json"]);
    let json = std::fs::read(directory.path().join("out.json")).expect("the file");
    let document: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(document["groups"].as_array().map(Vec::len), Some(3));
    for wrong in [&["-o", "out.xls"], &["--by=account", "--account=a"], &["--format", "parquet"]] {
        let line: Vec<&str> = ["drilldown", "m"].into_iter().chain(*wrong).collect();
        let (code, _, stderr) = run(&line, &QUIET, directory.path());
        assert_eq!(code, Some(2), "{stderr}");
    }
    assert_eq!(kelly.terminate(), Some(0));
}
