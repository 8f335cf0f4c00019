//! Whole replays that check and send nothing, and what they say.

use std::path::PathBuf;

use kelly_schemas::decode;

use super::*;
use crate::arguments::tests::parsed;
use crate::{LocalServer, LogAddress, StoreAddress, StoreTarget};

/// What `kelly replay --check` says of this file.
async fn checked(path: &Path, flags: &str) -> anyhow::Result<Summary> {
    let settings = Settings {
        local: LocalServer {
            url: "http://127.0.0.1:1".to_owned(),
            address: "127.0.0.1:1".parse().context("an address")?,
        },
        credentials: crate::credentials::Credentials::Nothing,
        server: None,
        log: LogAddress { shown: String::new(), kafka: None },
        store: StoreAddress { shown: String::new(), target: StoreTarget::Embedded(PathBuf::new()) },
        limits: Limits::default(),
    };
    let path = path.to_str().context("a plain path")?;
    let line: Vec<&str> = [path, "--check"].into_iter().chain(flags.split_whitespace()).collect();
    let arguments: arguments::Replay = parsed(&line)?;
    run(&arguments, &settings, MultiProgress::new(), CancellationToken::new()).await
}

async fn checked_text(name: &str, text: &str, flags: &str) -> anyhow::Result<Summary> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join(name);
    std::fs::write(&path, text)?;
    checked(&path, flags).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_goes_by_times_leaves_rows_without_one_out() {
    let now = Utc::now().timestamp_millis();
    let row = |more: &str| format!("{{\"metric_name\":\"m\",\"value\":1{more}}}\n");
    let times = [
        format!(",\"timestamp\":{now}"),
        String::new(),
        ",\"timestamp\":null".into(),
        ",\"timestamp\":\"x\"".into(),
    ];
    let text: String = times.iter().map(|time| row(time)).collect();
    for flags in ["--shift-to-now", "--speed 60", "--speed 60 --shift-to-now"] {
        let summary = checked_text("m.ndjson", &text, flags).await.unwrap();
        assert_eq!(summary, Summary { rows: 1, bad: 3, stopped: false }, "{flags}");
        for (name, text) in [("m.csv", "value\n1\n2\n".to_owned()), ("m.ndjson", row(""))] {
            let error = checked_text(name, &text, flags).await.unwrap_err();
            assert!(error.is::<Usage>() && error.to_string().contains("no row of"), "{flags}: {error:#}");
        }
        assert_eq!(checked_text("m.csv", "", flags).await.unwrap(), Summary::default());
    }
    assert_eq!(
        checked_text("m.ndjson", &text, "").await.unwrap(),
        Summary { rows: 3, bad: 1, stopped: false }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_read_twice_is_no_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.ndjson");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    for flags in ["--shift-to-now", "--speed 2"] {
        let error = checked(&path, flags).await.unwrap_err();
        assert!(
            error.is::<Usage>() && error.to_string().contains("m.ndjson can be read only once"),
            "{error:#}"
        );
    }
}

#[test]
fn one_is_not_counted_as_many() {
    assert_eq!([0, 1, 2_000].map(|number| counted(number, "row")), ["0 rows", "1 row", "2,000 rows"]);
}

#[test]
fn the_decoder_calls_old_rows_what_the_hint_looks_for() {
    let limits = Limits::with_retention_days(1);
    let origin = decode::Origin { partition: 0, offset: 0, log_time_ms: 7 * 86_400_000, limits: &limits };
    let bytes = br#"{"metric_name":"m","value":1,"timestamp":0}"#;
    let bad = decode::metric(&decode::RawRow { index: 0, line: None, bytes }, &origin).unwrap_err();
    assert_eq!(bad.fault.code(), TOO_OLD);
}
