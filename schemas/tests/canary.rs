//! No reason tells what a row says: a canary sings in every field of rows that are wrong in every way, and is not heard.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};
use kelly_schemas::decode::{self, ArrowMessage, Origin, Rendering};
use kelly_schemas::{Fault, Limits, Stream};
use serde_json::{Map, Value, json};

const CANARY: &str = "the canary sang";
/// 2024-09-11T15:30:50Z.
const LOG_TIME_MS: i64 = 1_726_068_650_000;

fn origin(limits: &Limits) -> Origin<'_> {
    Origin { partition: 0, offset: 7, log_time_ms: LOG_TIME_MS, limits }
}

/// The faults of a message's rows.
fn faults(stream: Stream, payload: &[u8]) -> Vec<Fault> {
    let limits = Limits::default();
    let mut faults = Vec::new();
    match stream {
        Stream::Metrics => decode::metrics(payload, &origin(&limits), &mut |_, row| {
            faults.extend(row.err().map(|reject| reject.fault));
        }),
        Stream::Activity => decode::activities(payload, &origin(&limits), &mut |_, row| {
            faults.extend(row.err().map(|reject| reject.fault));
        }),
    }
    faults
}

fn is_heard(fault: &Fault) -> bool {
    let shown = format!("{fault} {} {}", fault.code(), fault.field().unwrap_or_default());
    ["canary", "sang"].iter().any(|word| shown.to_lowercase().contains(word))
}

#[track_caller]
fn assert_silent(stream: Stream, payload: &str) -> usize {
    let faults = faults(stream, payload.as_bytes());
    for fault in &faults {
        assert!(!is_heard(fault), "{fault}\n{payload}");
    }
    faults.len()
}

/// Everything a producer might put where something else belongs.
fn wrong_values() -> Vec<Value> {
    let content = format!("{{\"text\":\"{CANARY}\"}}");
    vec![
        json!(CANARY),
        json!(format!("{CANARY}\u{0}")),
        json!(format!("{CANARY}\n")),
        json!(CANARY.repeat(1_000)),
        json!(content),
        json!([CANARY]),
        json!({CANARY: CANARY}),
        json!({"note": CANARY, CANARY: {CANARY: {"text": CANARY}}}),
        json!({CANARY: [[[[[[[[[[[[[[[[[[CANARY]]]]]]]]]]]]]]]]]]}),
        json!(true),
        json!(-1),
        json!(1e200),
        Value::Null,
    ]
}

const KINDS: [(Stream, &[&str]); 2] = [
    (
        Stream::Metrics,
        &[
            "metric_name",
            "metric_type",
            "value",
            "timestamp",
            "account_id",
            "conversation_id",
            "user_id",
            "metadata",
            "id",
        ],
    ),
    (
        Stream::Activity,
        &[
            "id",
            "event_type",
            "title",
            "description",
            "account_id",
            "conversation_id",
            "user_id",
            "severity",
            "category",
            "created_at",
            "metadata",
        ],
    ),
];

/// A row that is right and sings wherever it may.
fn singing(stream: Stream) -> Map<String, Value> {
    let row = match stream {
        Stream::Metrics => json!({
            "metric_name": "canary.sang", "value": 1, "account_id": CANARY, "conversation_id": CANARY, "user_id": CANARY,
            "metadata": {"note": CANARY, CANARY: 1}, "unknown": CANARY,
        }),
        Stream::Activity => json!({
            "event_type": "canary.sang", "title": CANARY, "description": CANARY, "account_id": CANARY,
            "conversation_id": CANARY, "user_id": CANARY, "category": CANARY,
            "metadata": {"note": CANARY, CANARY: 1}, "unknown": CANARY,
        }),
    };
    row.as_object().unwrap().clone()
}

#[test]
fn rows_of_json_that_are_wrong_in_one_field() {
    for (stream, fields) in KINDS {
        assert_eq!(faults(stream, Value::Object(singing(stream)).to_string().as_bytes()), [], "it is right");
        let mut refused = 0;
        for field in fields.iter().chain(&["unknown", CANARY]) {
            for wrong in wrong_values() {
                let mut row = singing(stream);
                row.insert((*field).to_owned(), wrong);
                refused += assert_silent(stream, &Value::Object(row).to_string());
            }
            let mut row = singing(stream);
            row.remove(*field);
            refused += assert_silent(stream, &Value::Object(row.clone()).to_string());
            // Twice.
            let row = Value::Object(singing(stream)).to_string();
            let inner = row.strip_prefix('{').unwrap();
            refused += assert_silent(
                stream,
                &format!("{{\"{field}\":\"{CANARY}\",\"{field}\":\"{CANARY}\",{inner}"),
            );
        }
        assert!(refused > 60, "{refused} of {stream}");
    }
}

#[test]
fn rows_of_json_that_are_broken() {
    for (stream, _) in KINDS {
        let row = Value::Object(singing(stream)).to_string();
        let mut refused = 0;
        for at in 0..row.len() {
            // Cut off; without one character; with one too many.
            refused += assert_silent(stream, &row[..at]);
            refused += assert_silent(stream, &format!("{}{}", &row[..at], &row[at + 1..]));
            for more in ['"', '{', ',', ':', '\\', '\u{1}', 'x'] {
                refused += assert_silent(stream, &format!("{}{more}{}", &row[..at], &row[at..]));
            }
        }
        assert!(refused > row.len(), "{refused}");
        for message in [
            json!(CANARY).to_string(),
            json!([CANARY, [CANARY], 1]).to_string(),
            format!("[{row},{row} \"{CANARY}\"]"),
            format!("{row}{row}"),
            format!("{CANARY} {row}"),
        ] {
            assert!(assert_silent(stream, &message) > 0, "{message}");
        }
    }
}

#[test]
fn rows_of_arrow() {
    let columns =
        ["metric_name", "metric_type", "timestamp", "account_id", "conversation_id", "user_id", "metadata"];
    let right = |column: &str| match column {
        "metric_name" => Some("canary.sang".to_owned()),
        "metric_type" | "timestamp" => None,
        "metadata" => Some(json!({"note": CANARY, CANARY: 1}).to_string()),
        _ => Some(CANARY.to_owned()),
    };
    let texts: Vec<String> = wrong_values()
        .iter()
        .map(|wrong| wrong.as_str().map_or_else(|| wrong.to_string(), str::to_owned))
        .chain([
            format!("{{\"{CANARY}\":1,\"{CANARY}\":2}}"),
            format!("{{\"{CANARY}\":1 {CANARY}"),
            format!("{{\"a\":\"{CANARY}\\ud800\"}}"),
        ])
        .collect();
    let mut refused = 0;
    for wrong in columns {
        let rows: Vec<Vec<Option<String>>> = columns
            .iter()
            .map(|column| {
                texts
                    .iter()
                    .map(|text| if *column == wrong { Some(text.clone()) } else { right(column) })
                    .collect()
            })
            .collect();
        let mut arrays: Vec<(&str, ArrayRef)> = columns
            .iter()
            .zip(rows)
            .map(|(column, rows)| (*column, Arc::new(StringArray::from(rows)) as ArrayRef))
            .collect();
        arrays.push(("value", Arc::new(Float64Array::from(vec![1.0; texts.len()]))));
        refused += assert_arrow_silent(&stream(arrays));
    }
    assert!(refused > 40, "{refused}");
    // Wrong as a whole: a column of the wrong type, one that is unknown, one that would carry content.
    let one = |name: &str| stream(vec![(name, Arc::new(StringArray::from(vec![CANARY])) as ArrayRef)]);
    for name in ["value", "color", CANARY, "text"] {
        assert_eq!(assert_arrow_silent(&one(name)), 1, "{name}");
    }
    let numbers = stream(vec![("account_id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    assert_eq!(assert_arrow_silent(&numbers), 1);
}

fn stream(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn assert_arrow_silent(payload: &[u8]) -> usize {
    let limits = Limits::default();
    let message = match ArrowMessage::read(payload, &limits) {
        Ok(message) => message,
        Err(reject) => {
            assert!(!is_heard(&reject.fault), "{}", reject.fault);
            return 1;
        }
    };
    let mut refused = 0;
    for columns in message.batches() {
        columns.rows(&origin(&limits), &mut Rendering::of_a_message(), &mut |row, outcome| {
            if let Err(reject) = outcome {
                refused += 1;
                assert!(!is_heard(&reject.fault), "row {row}: {}", reject.fault);
            }
        });
    }
    refused
}
