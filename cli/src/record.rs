//! `kelly record`: one metric or event to a running Kelly, or rows from files and standard input.

use std::path::PathBuf;

use anyhow::bail;
use indicatif::MultiProgress;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::arguments::{self, About, Reading, RecordEvent, RecordMetric, RecordWhat};
use crate::client::{Failure, RowKind};
use crate::output;
use crate::replay;
use crate::{Settings, Summary, Usage};

/// Records what the command line says.
pub async fn run(
    what: &RecordWhat,
    settings: &Settings,
    bars: MultiProgress,
    stop: CancellationToken,
) -> anyhow::Result<Summary> {
    match what {
        RecordWhat::Metric(metric) => one(settings, RowKind::Metrics, metric_row(metric)?).await,
        RecordWhat::Event(event) => one(settings, RowKind::Activity, event_row(event)?).await,
        RecordWhat::Stdin(stdin) => {
            let arguments = as_they_are(vec![PathBuf::from("-")], &stdin.reading);
            replay::run(&arguments, settings, bars, stop).await
        }
        RecordWhat::File(file) => {
            replay::run(&as_they_are(file.files.clone(), &file.reading), settings, bars, stop).await
        }
    }
}

/// A replay that changes nothing and does not wait.
fn as_they_are(files: Vec<PathBuf>, reading: &Reading) -> arguments::Replay {
    arguments::Replay {
        files,
        reading: reading.clone(),
        rate: None,
        speed: None,
        shift_to_now: false,
        check: false,
        log: None,
    }
}

async fn one(settings: &Settings, kind: RowKind, row: Map<String, Value>) -> anyhow::Result<Summary> {
    let client = settings.client()?;
    match client.send(kind, Value::Object(row).to_string().into_bytes()).await {
        Ok(recorded) => {
            output::line("recorded")?;
            Ok(Summary { rows: recorded.accepted, ..Summary::default() })
        }
        Err(Failure::Rows(bad)) => {
            let reasons: Vec<&str> = bad.iter().map(|row| row.reason.as_str()).collect();
            bail!("refused, nothing was recorded: {}", reasons.join("; "))
        }
        Err(Failure::Busy { pause, message }) => {
            bail!("{message}; nothing was recorded, try again in {} s", pause.as_secs())
        }
        Err(Failure::Refused(error) | Failure::Other(error)) => Err(error),
    }
}

fn metric_row(metric: &RecordMetric) -> anyhow::Result<Map<String, Value>> {
    let mut row = Map::new();
    row.insert("metric_name".to_owned(), metric.name.as_str().into());
    row.insert("value".to_owned(), metric.value.into());
    put(&mut row, "metric_type", &metric.metric_type);
    about(&mut row, "timestamp", &metric.about)?;
    Ok(row)
}

fn event_row(event: &RecordEvent) -> anyhow::Result<Map<String, Value>> {
    let mut row = Map::new();
    row.insert("event_type".to_owned(), event.event_type.as_str().into());
    row.insert("title".to_owned(), event.title.as_str().into());
    put(&mut row, "description", &event.description);
    put(&mut row, "severity", &event.severity);
    put(&mut row, "category", &event.category);
    about(&mut row, "created_at", &event.about)?;
    Ok(row)
}

fn about(row: &mut Map<String, Value>, time_field: &str, about: &About) -> Result<(), Usage> {
    put(row, "account_id", &about.account);
    put(row, "conversation_id", &about.conversation);
    put(row, "user_id", &about.user);
    if let Some(at) = &about.at {
        // Digits are epoch milliseconds; anything else is for the server to read or to refuse.
        let time = at.parse::<i64>().map_or_else(|_| Value::from(at.as_str()), Value::from);
        row.insert(time_field.to_owned(), time);
    }
    if !about.metadata.is_empty() {
        let mut metadata = Map::new();
        for (name, text) in &about.metadata {
            if metadata.insert(name.clone(), plain(text)).is_some() {
                return Err(Usage(format!("--meta {name} is given twice: a name has one value")));
            }
        }
        row.insert("metadata".to_owned(), Value::Object(metadata));
    }
    Ok(())
}

/// What was typed, as the JSON value it looks like: `true`, `3` and `0.5` are no texts.
fn plain(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
        _ => text.into(),
    }
}

fn put(row: &mut Map<String, Value>, name: &str, value: &Option<String>) {
    if let Some(value) = value {
        row.insert(name.to_owned(), value.as_str().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Record;
    use crate::arguments::tests::parsed;

    fn row(arguments: &[&str]) -> String {
        let row = match parsed::<Record>(arguments).unwrap().what {
            RecordWhat::Metric(metric) => metric_row(&metric).unwrap(),
            RecordWhat::Event(event) => event_row(&event).unwrap(),
            RecordWhat::Stdin(_) | RecordWhat::File(_) => panic!("no row"),
        };
        Value::Object(row).to_string()
    }

    #[test]
    fn what_is_typed_becomes_a_row() {
        assert_eq!(
            row(&["metric", "ai_confidence", "0.85", "--account", "acme", "--at", "17"]),
            r#"{"account_id":"acme","metric_name":"ai_confidence","timestamp":17,"value":0.85}"#
        );
        assert_eq!(
            row(&[
                "event",
                "e",
                "A title",
                "--meta",
                "vip=true",
                "--meta",
                "queue=gold",
                "--severity",
                "high"
            ]),
            r#"{"event_type":"e","metadata":{"queue":"gold","vip":true},"severity":"high","title":"A title"}"#
        );
    }

    #[test]
    fn a_name_of_metadata_is_given_once() {
        let record: Record = parsed(&["metric", "m", "1", "--meta", "a=1", "--meta", "a=2"]).unwrap();
        let RecordWhat::Metric(metric) = record.what else { panic!("another row") };
        let message = metric_row(&metric).unwrap_err();
        assert!(
            message.is::<Usage>() && message.to_string().contains("--meta a is given twice"),
            "{message}"
        );
    }
}
