//! The document and the server agree: a value that fits the schema of a parameter or of a row's field is
//! taken, and one that does not is refused. Values are generated from the schemas themselves and judged by a
//! validator of JSON Schema, so that neither side is written down here a second time.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use axum::body::Body;
use jsonschema::Validator;
use kelly_api::rates::Quotas;
use kelly_schemas::Limits;
use kelly_schemas::decode::{self, Form, Origin};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::contract::DOCUMENT;
use crate::examples::{lines, operations, written};
use crate::support::{Api, Setup, now};

/// Values generated for each schema.
const VALUES: usize = 40;

/// Parameters that are refused without another one.
const COMPANIONS: [(&str, &str); 4] = [
    ("to", "from=2024-09-11T12:00:00Z"),
    ("top", "group_by=account"),
    ("order_by", "group_by=account"),
    ("order", "group_by=account"),
];

/// Texts that come near to what one parameter or another takes.
const NEAR_MISSES: [&str; 40] = [
    " ",
    "  1h",
    "1h ",
    "2h",
    "1H",
    "0",
    "1",
    "-1",
    "+1",
    "01",
    "1.5",
    "1e1",
    "100",
    "101",
    "200",
    "201",
    "4294967296",
    "999999999999999999999",
    "NaN",
    "inf",
    "null",
    "true",
    "[]",
    "{}",
    ",",
    "a,,b",
    "a,b",
    "a b",
    "a\u{0}b",
    "a\u{85}b",
    "é",
    "yesterday",
    "2026-03-01",
    "2026-03-01T12:00:00",
    "2026-03-01 12:00:00Z",
    "2026-02-30T12:00:00Z",
    "1772366400",
    "1772366400000.5",
    "LOW",
    "Previous",
];

/// No WebSocket comes of these requests; nor is a text a position because it could be one, the id of something that is there, or the
/// name of a rule that can be used.
const IS_NO_MATTER_OF_FORM: [&str; 7] = [
    "not_a_websocket",
    "invalid_cursor",
    "not_found",
    "decision_refused",
    "command_id_reused",
    "already_decided",
    "rule_refused",
];

#[tokio::test]
async fn every_parameter_takes_what_its_schema_does_and_nothing_else() {
    // It asks more than anybody does in a minute.
    let quotas = Quotas { requests: NonZeroU32::MAX, ..Quotas::default() };
    let api = Api::new(Setup {
        limits: kelly_api::Limits { quotas, ..kelly_api::Limits::default() },
        ..Setup::default()
    });
    let mut runner = TestRunner::deterministic();
    let (mut taken, mut refused) = (0, 0);
    for (path, method, operation) in operations() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let schema = &parameter["schema"];
            let validator = validator(schema);
            let mut texts: Vec<String> = generated(schema, &mut runner).iter().map(written).collect();
            let doubled: Vec<String> = texts.iter().map(|text| format!("{text}{text}")).collect();
            texts.extend(doubled);
            texts.extend(NEAR_MISSES.map(str::to_owned));
            texts.extend([1, 4, 5, 50, 51, 100, 101, 1_024, 1_025].map(|length| "é".repeat(length)));
            texts.push((0..13).map(|number| format!("m{number}")).collect::<Vec<_>>().join(","));
            texts.push("m,m".to_owned());
            // In the path nothing is no value but another path.
            texts.extend((parameter["in"] == "query").then(String::new));
            for text in texts {
                // A header has no bytes but these, and none around its value.
                let is_header = parameter["in"] == "header";
                if is_header
                    && (text.trim() != text || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)))
                {
                    continue;
                }
                let url = url(&path, &operation, parameter, &text);
                let (kind, body) = body_example(&operation);
                let mut headers = vec![("content-type", kind)];
                headers.extend(is_header.then_some((name, &*text)));
                let answer = api.send(&method.to_uppercase(), &url, &headers, Body::from(body)).await;
                if fits(schema, &validator, &text) {
                    taken += 1;
                    let is_taken = answer.status == 200
                        || path == "/api/problems/{code}"
                        || IS_NO_MATTER_OF_FORM.contains(&answer.code().as_str());
                    assert!(
                        is_taken,
                        "{path} {name}={text:?} fits the schema and is refused: {:#}",
                        answer.json()
                    );
                } else {
                    refused += 1;
                    assert!(
                        answer.status.is_client_error(),
                        "{path} {name}={text:?} does not fit the schema and is taken"
                    );
                }
            }
        }
    }
    assert!(taken > 500 && refused > 500, "{taken} taken, {refused} refused");
}

/// The route with one parameter set, the required others by their examples, and what it cannot be without.
fn url(path: &str, operation: &Value, parameter: &Value, text: &str) -> String {
    let mut url = path.to_owned();
    let mut query = Vec::new();
    for other in operation["parameters"].as_array().into_iter().flatten() {
        let name = other["name"].as_str().unwrap();
        let value = match (name == parameter["name"], other["required"] == true) {
            (true, _) => text.to_owned(),
            (false, true) => written(&other["example"]),
            (false, false) => continue,
        };
        match other["in"].as_str().unwrap() {
            "path" => url = url.replace(&format!("{{{name}}}"), &escaped(&value)),
            "header" => {}
            _ => query.push(format!("{name}={}", escaped(&value))),
        }
    }
    let companion = COMPANIONS.iter().find(|(name, _)| parameter["name"] == **name);
    query.extend(companion.map(|(_, companion)| (*companion).to_owned()));
    format!("{url}?{}", query.join("&"))
}

/// The first example of a JSON body, for routes that want one.
fn body_example(operation: &Value) -> (&'static str, String) {
    let content = &operation["requestBody"]["content"]["application/json"];
    let body = match content.get("example") {
        Some(example) => example.to_string(),
        None => String::new(),
    };
    ("application/json", body)
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte.is_ascii_alphanumeric() {
            true => escaped.push(char::from(byte)),
            false => write!(escaped, "%{byte:02X}").unwrap(),
        }
        escaped
    })
}

fn validator(schema: &Value) -> Validator {
    let whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [schema],
        "components": DOCUMENT["components"],
    });
    jsonschema::options().should_validate_formats(true).build(&whole).unwrap()
}

/// Whether a text of a URL stands for a value of the schema: for itself, for a number as JSON writes it, or
/// for a list with commas.
fn fits(schema: &Value, validator: &Validator, text: &str) -> bool {
    if schema["type"] == "array" {
        return validator.is_valid(&text.split(',').collect());
    }
    let number: Option<Value> = serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| value.is_number() && !text.contains(char::is_whitespace));
    let is_whole = |number: &Value| number.is_u64() || number.is_i64();
    let number = number.filter(|number| schema["type"] != "integer" || is_whole(number));
    validator.is_valid(&json!(text)) || number.is_some_and(|number| validator.is_valid(&number))
}

/// Values of a schema, with those at its bounds.
fn generated(schema: &Value, runner: &mut TestRunner) -> Vec<Value> {
    if let Some(target) = schema["$ref"].as_str() {
        return generated(DOCUMENT.pointer(target.trim_start_matches('#')).unwrap(), runner);
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[keyword].as_array() {
            return choices.iter().flat_map(|choice| generated(choice, runner)).collect();
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.clone();
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let of_type = |kind: &Value, runner: &mut TestRunner| match kind.as_str().unwrap_or("any") {
        "string" if schema["format"] == "date-time" => instants(runner),
        "string" => strings(schema, runner),
        "integer" => {
            let bound = |name: &str| schema[name].as_i64().unwrap();
            drawn(bound("minimum")..=bound("maximum"), runner, |value| json!(value))
        }
        "number" => numbers(schema, runner),
        "array" => {
            let items = generated(&schema["items"], runner);
            let most = schema["maxItems"].as_u64().map_or(3, |most| most as usize);
            let mut different = items.clone();
            different.sort_by_key(Value::to_string);
            different.dedup();
            different.truncate(most);
            vec![json!([items[0]]), json!(different)]
        }
        "null" => vec![Value::Null],
        "boolean" => vec![json!(true), json!(false)],
        "object" => vec![json!({}), json!({"channel": "web", "tries": 3})],
        _ => vec![json!("of any type"), json!(7), Value::Null],
    };
    types.iter().flat_map(|kind| of_type(kind, runner)).collect()
}

fn drawn<S: Strategy>(
    strategy: S,
    runner: &mut TestRunner,
    to_json: impl Fn(S::Value) -> Value,
) -> Vec<Value> {
    (0..VALUES).map(|_| to_json(strategy.new_tree(runner).unwrap().current())).collect()
}

fn strings(schema: &Value, runner: &mut TestRunner) -> Vec<Value> {
    // The generator knows no anchors and looks nowhere ahead; what it makes without them is judged as any text.
    let pattern = schema["pattern"].as_str().unwrap_or("^[^\\u0000-\\u001f]+$");
    let pattern = pattern.replace("(?=.*[1-9a-fA-F])", "");
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
    let strategy = proptest::string::string_regex(pattern).unwrap();
    let most = schema["maxLength"].as_u64().map_or(usize::MAX, |most| most as usize);
    let cut = |text: String| json!(text.chars().take(most).collect::<String>());
    let mut texts = drawn(strategy, runner, cut);
    let least = schema["minLength"].as_u64().unwrap_or(0) as usize;
    texts.retain(|text| text.as_str().unwrap().chars().count() >= least);
    // As long as may be, where a repeated character fits.
    texts.extend((most < 20_000).then(|| json!("a".repeat(most))));
    texts
}

fn numbers(schema: &Value, runner: &mut TestRunner) -> Vec<Value> {
    let bound = |closed: &str, open: &str| schema[closed].as_f64().or_else(|| schema[open].as_f64());
    let least = bound("minimum", "exclusiveMinimum").unwrap_or(-1e9);
    let most = bound("maximum", "exclusiveMaximum").unwrap_or(1e9);
    let mut numbers = drawn(least..most, runner, |value| json!(value));
    numbers.retain(|value| schema["exclusiveMinimum"].as_f64() != value.as_f64());
    numbers.extend(schema["minimum"].as_f64().map(|least| json!(least)));
    numbers.extend(schema["maximum"].as_f64().map(|most| json!(most)));
    numbers
}

fn instants(runner: &mut TestRunner) -> Vec<Value> {
    let parts = (0_i64..4_000_000_000, 0_u32..1_000, -14_i32..=14);
    drawn(parts, runner, |(seconds, milliseconds, hours)| {
        let zone = chrono::FixedOffset::east_opt(hours * 3_600).unwrap();
        let instant = chrono::DateTime::from_timestamp(seconds, milliseconds * 1_000_000).unwrap();
        json!(instant.with_timezone(&zone).to_rfc3339())
    })
}

/// JSON values that come near to what one field or another takes.
fn near_misses() -> Vec<Value> {
    let mut values: Vec<Value> = NEAR_MISSES.iter().map(|text| json!(text)).collect();
    values.extend([
        json!(null),
        json!(true),
        json!(0),
        json!(-1.5),
        json!(1e129),
        json!(1e131),
        json!([]),
        json!([1]),
    ]);
    values.extend([json!("2024-09-11T15:30:45Z"), json!("2024-09-11T17:30:45.5+02:00")]);
    values.extend([json!(""), json!("{}"), json!({}), json!({"a": {"b": [1]}}), json!("a\u{7f}")]);
    values.extend([50, 51, 100, 101, 200, 201, 10_000, 10_001].map(|length| json!("x".repeat(length))));
    let id = "0198f3c2a4b77e21b0c3d9a1f2e4c6d8";
    let parts = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
    let nil = "00000000-0000-0000-0000-000000000000";
    let ids = [
        id.to_owned(),
        id.to_uppercase(),
        parts.clone(),
        format!("{{{parts}}}"),
        format!("urn:uuid:{parts}"),
    ];
    values.extend(ids.map(Value::String));
    values.extend([nil.to_owned(), nil.replace('-', ""), parts.replacen('-', "", 1)].map(Value::String));
    values
}

/// Whether the decoder, which stands behind the recording routes, takes a row.
fn is_taken(schema: &str, row: &Value) -> bool {
    let limits = Limits { max_age_ms: i64::MAX, ..Limits::default() };
    let body = row.to_string();
    let rows = decode::split_rows(body.as_bytes(), Form::Json, &limits).unwrap();
    let log_time_ms = now().timestamp_millis();
    let origin = Origin { partition: 0, offset: 0, log_time_ms, limits: &limits };
    match schema {
        "Metric" => decode::metric(&rows[0], &origin).is_ok(),
        _ => decode::activity(&rows[0], &origin).is_ok(),
    }
}

#[test]
fn every_field_of_a_row_takes_what_its_schema_does_and_nothing_else() {
    let mut runner = TestRunner::deterministic();
    let rows = [
        ("Metric", json!({"metric_name": "response_time", "value": 1})),
        ("ActivityEvent", json!({"event_type": "user_interaction", "title": "Hello"})),
    ];
    let (mut taken, mut refused) = (0, 0);
    for (name, row) in rows {
        let schema = &DOCUMENT["components"]["schemas"][name];
        let validator = validator(schema);
        for (field, property) in schema["properties"].as_object().unwrap() {
            // When a row may be from depends on the log's clock, which no schema knows; `decode` has its own tests.
            let is_time = matches!(field.as_str(), "timestamp" | "created_at");
            let mut values = if is_time { Vec::new() } else { generated(property, &mut runner) };
            // Metadata, where unknown values go, has a bound in bytes that no schema tells.
            let is_bounded = property["maxLength"].is_u64();
            let is_short = |value: &Value| value.as_str().is_none_or(|text| text.len() < 1_000);
            let near = near_misses().into_iter().filter(|value| is_bounded || is_short(value));
            values.extend(near.filter(|value| !is_time || !value.is_number()));
            for value in values {
                let mut row = row.clone();
                row[field] = value.clone();
                if name == "ActivityEvent" && field == "id" {
                    // Else the time in a UUIDv7 would be the event's, and too far from the log's.
                    row["created_at"] = json!(now().to_rfc3339());
                }
                let (fits, is_taken) = (validator.is_valid(&row), is_taken(name, &row));
                assert_eq!(
                    fits, is_taken,
                    "{name} {field}: {value} fits the schema: {fits}, is taken: {is_taken}"
                );
                *(if fits { &mut taken } else { &mut refused }) += 1;
            }
        }
    }
    assert!(taken > 400 && refused > 400, "{taken} taken, {refused} refused");
}

/// A client made from the document has the rows of NDJSON as an array. It may write lines or the array.
#[tokio::test]
async fn generated_rows_can_be_sent_as_lines_or_as_the_array_that_describes_them() {
    let api = Api::new(Setup::default());
    let mut runner = TestRunner::deterministic();
    for (path, row) in [("metrics", "Metric"), ("activity", "ActivityEvent")] {
        let path = format!("/api/v1/kelly/monitoring/{path}/record");
        let content = &DOCUMENT["paths"][&path]["post"]["requestBody"]["content"]["application/x-ndjson"];
        let schema = &content["schema"];
        let properties = &DOCUMENT["components"]["schemas"][row]["properties"];
        let required = if row == "Metric" { ["metric_name", "value"] } else { ["event_type", "title"] };
        let rows: Vec<Value> = (0..VALUES)
            .map(|place| {
                let mut object = json!({});
                for name in required {
                    let values = generated(&properties[name], &mut runner);
                    object[name] = values[place % values.len()].clone();
                }
                object
            })
            .collect();
        let rows = json!(rows);
        assert!(validator(schema).is_valid(&rows), "{path}");
        for body in [lines(&rows), rows.to_string(), serde_json::to_string_pretty(&rows).unwrap()] {
            assert_eq!(api.post(&path, "application/x-ndjson", &body).await.status, 202);
            let sent = api.accept.taken.lock().unwrap().pop().unwrap();
            let form = match sent.form {
                kelly_api::BodyForm::Ndjson => Form::Ndjson,
                _ => Form::Json,
            };
            let found = decode::split_rows(&sent.body, form, &Limits::default()).unwrap();
            let found: Vec<Value> =
                found.iter().map(|row| serde_json::from_slice(row.bytes).unwrap()).collect();
            assert_eq!(json!(found), rows, "{path}");
        }
    }
}
