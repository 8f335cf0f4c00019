//! Every example message is decoded, its rows and reasons are snapshotted, and the JSON Schemas agree with
//! the decoder on it.

use std::fs;
use std::path::{Path, PathBuf};

use kelly_schemas::decode::{self, Origin};
use kelly_schemas::{Activity, Limits, Metric, Reject, Stream};
use serde_json::{Value, json};

/// 2024-09-11T15:30:50Z: the examples' times lie around it.
const LOG_TIME_MS: i64 = 1_726_068_650_000;

/// Refused by the decoder, but of valid shape: what no schema can say. Bounds on time and on bytes, names
/// repeated, levels counted, spellings of content; and what JSON parsers refuse or round on their own.
const BEYOND_SCHEMAS: [&str; 14] = [
    "refused/metrics/conversation_content_deep_in_metadata.json",
    "refused/metrics/field_beside_metadata_and_in_it.json",
    "refused/metrics/field_twice.json",
    "refused/metrics/field_twice_in_metadata.json",
    "refused/metrics/metadata_too_deep.json",
    "refused/metrics/metadata_too_large.json",
    "refused/metrics/time_called_ts.json",
    "refused/metrics/time_in_microseconds.json",
    "refused/metrics/time_in_seconds.json",
    "refused/metrics/time_in_the_year_3000.json",
    "refused/metrics/time_too_old.json",
    "refused/activity/time_called_at_timestamp.json",
    "refused/activity/created_at_too_far_in_future.json",
    "refused/activity/id_with_an_old_time.json",
];

struct Example {
    /// Path below the examples.
    name: String,
    bytes: Vec<u8>,
}

fn examples(folder: &str) -> Vec<Example> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(root.join(folder)).expect("the folder of examples is readable");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("is readable").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no examples in {folder}");
    let read = |path: PathBuf| Example {
        name: path.strip_prefix(&root).expect("below the root").to_str().expect("a plain name").to_owned(),
        bytes: fs::read(&path).expect("the example is readable"),
    };
    paths.into_iter().map(read).collect()
}

fn reason(reject: &Reject<'_>) -> Value {
    let kept = String::from_utf8_lossy(&reject.kept_bytes()).into_owned();
    let kept = if kept.len() > 200 { format!("{} bytes", kept.len()) } else { kept };
    json!({
        "code": reject.fault.code(),
        "field": reject.fault.field(),
        "reason": reject.fault.to_string(),
        "kept": kept,
    })
}

fn metric_row(metric: &Metric<'_>) -> Value {
    json!({ "row": metric, "partition_key": metric.partition_key() })
}

fn activity_row(activity: &Activity<'_>) -> Value {
    json!({ "row": activity, "partition_key": activity.partition_key(), "is_vip": activity.is_vip() })
}

/// The rows and reasons of a message, in order.
fn decoded(stream: Stream, payload: &[u8]) -> Vec<Result<Value, Value>> {
    let limits = Limits::default();
    let origin = Origin { partition: 3, offset: 42, log_time_ms: LOG_TIME_MS, limits: &limits };
    let mut rows = Vec::new();
    match stream {
        Stream::Metrics => decode::metrics(payload, &origin, &mut |row, outcome| {
            assert_eq!(row as usize, rows.len(), "rows come in order");
            rows.push(outcome.as_ref().map(metric_row).map_err(reason));
        }),
        Stream::Activity => decode::activities(payload, &origin, &mut |row, outcome| {
            assert_eq!(row as usize, rows.len(), "rows come in order");
            rows.push(outcome.as_ref().map(activity_row).map_err(reason));
        }),
    }
    rows
}

fn snapshot(name: &str, rows: &[Result<Value, Value>]) {
    let shown: Vec<_> = rows.iter().map(|row| row.as_ref().unwrap_or_else(|reason| reason)).collect();
    let name = name.trim_end_matches(".json").replace('/', "__");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_json_snapshot!(name, shown);
    });
}

fn schema(file: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("json").join(file);
    let text = fs::read_to_string(path).expect("the schema is readable");
    let schema = serde_json::from_str(&text).expect("the schema is JSON");
    jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema is valid")
}

fn check_accepted(folder: &str, stream: Stream, schema_file: &str) {
    let schema = schema(schema_file);
    for example in examples(folder) {
        let rows = decoded(stream, &example.bytes);
        assert!(rows.iter().all(Result::is_ok), "{} is refused: {rows:?}", example.name);
        snapshot(&example.name, &rows);
        let value = serde_json::from_slice(decode::without_byte_order_mark(&example.bytes))
            .expect("a good example is JSON");
        if let Err(error) = schema.validate(&value) {
            panic!("{} is not what {schema_file} says: {error}", example.name);
        }
    }
}

fn check_refused(folder: &str, stream: Stream, schema_file: &str) {
    let schema = schema(schema_file);
    for example in examples(folder) {
        let rows = decoded(stream, &example.bytes);
        assert!(rows.iter().any(Result::is_err), "{} is not refused", example.name);
        let shown = format!("{rows:?}");
        assert!(!shown.contains("terrible"), "{} tells what was said: {shown}", example.name);
        snapshot(&example.name, &rows);
        if let Ok(value) = serde_json::from_slice(&example.bytes) {
            let expected = BEYOND_SCHEMAS.contains(&example.name.as_str());
            assert_eq!(schema.is_valid(&value), expected, "{} by {schema_file}", example.name);
        }
    }
}

#[test]
fn metrics() {
    check_accepted("metrics", Stream::Metrics, "metric.schema.json");
}

#[test]
fn activity() {
    check_accepted("activity", Stream::Activity, "activity.schema.json");
}

#[test]
fn refused_metrics() {
    check_refused("refused/metrics", Stream::Metrics, "metric.schema.json");
}

#[test]
fn refused_activity() {
    check_refused("refused/activity", Stream::Activity, "activity.schema.json");
}

#[test]
fn the_schemas_refuse_the_same_names_of_content() {
    let pattern = format!("^({})$", decode::CONTENT_FIELDS.join("|"));
    for file in ["metric.schema.json", "activity.schema.json"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("json").join(file));
        let found = text.expect("the schema is readable").matches(&pattern).count();
        assert_eq!(found, 3, "{file}: in a row, in metadata and below");
    }
}
