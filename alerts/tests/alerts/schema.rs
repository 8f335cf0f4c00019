//! The JSON Schema and the types say the same.

use kelly_alerts::rule::{JSON_SCHEMA, parse_json, parse_toml};
use serde_json::{Value, json};

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(JSON_SCHEMA).expect("the schema is JSON");
    jsonschema::draft202012::new(&schema).expect("the schema is one")
}

/// A rule with every field; no rule has all of them, and a file is read field by field.
const EVERY_FIELD: &str = r#"{"rule": [{
    "id": "r", "version": 3, "description": "d", "kind": "change", "metric": "m", "scope": "account",
    "filter": {"account_id": ["a", "b"], "metadata.tier": 2}, "exclude": {"metadata.test": true},
    "aggregation": "avg", "window": "5m", "direction": "above", "warning": 1.5, "critical": 2, "hysteresis": 0.1,
    "for": "1m", "keep_firing_for": "2m", "mute_for": "30m",
    "no_data": {"policy": "alert", "for": "10m", "severity": "critical"}, "late": "30s", "min_samples": 2,
    "schedule": {"days": ["mon", "sun"], "from": "08:00", "until": "18:00", "utc_offset": "-03:30"},
    "labels": {"team": "ai"}, "runbook": "https://wiki/x", "max_entities": 10, "inhibited_by": ["other"], "quiet": true,
    "over": "1h", "change": "percent",
    "slo": {"objective": 0.99, "total": "t", "bad_above": 1, "bad_below": 2,
            "pairs": [{"long": "1h", "short": "5m", "factor": 2, "severity": "warning"}]},
    "when": "a and b", "severity": "critical"
}]}"#;

#[test]
fn every_field_is_in_the_schema_and_in_the_types() {
    let file = parse_json(EVERY_FIELD).expect("every field is known");
    let value: Value = serde_json::from_str(EVERY_FIELD).unwrap();
    assert!(
        validator().is_valid(&value),
        "{:?}",
        validator().iter_errors(&value).map(|error| error.to_string()).collect::<Vec<_>>()
    );
    let schema: Value = serde_json::from_str(JSON_SCHEMA).unwrap();
    let of_schema: Vec<&String> = schema["$defs"]["rule"]["properties"].as_object().unwrap().keys().collect();
    let written = serde_json::to_value(&file).unwrap();
    let of_types: Vec<&String> = written["rule"][0].as_object().unwrap().keys().collect();
    let mut sorted = (of_schema.clone(), of_types.clone());
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1, "the schema and the types know the same fields");
    assert!(validator().is_valid(&written));
}

#[test]
fn a_file_is_the_same_in_toml_and_in_json() {
    let file = parse_json(EVERY_FIELD).unwrap();
    assert_eq!(parse_toml(&file.to_toml().unwrap()), Ok(file.clone()));
    assert_eq!(parse_json(&serde_json::to_string(&file).unwrap()), Ok(file));
    assert!(parse_toml("").unwrap().rules.is_empty());
}

#[test]
fn what_the_types_refuse_the_schema_refuses() {
    let changed = |field: &str, value: Value| {
        let mut file: Value = serde_json::from_str(EVERY_FIELD).unwrap();
        file["rule"][0][field] = value;
        file
    };
    for (field, value) in [
        ("unknown", json!(1)),
        ("kind", json!("magic")),
        ("scope", json!("user")),
        ("window", json!("5 minutes")),
        ("window", json!(300)),
        ("for", json!("-1m")),
        ("aggregation", json!("p42")),
        ("direction", json!("up")),
        ("warning", json!("high")),
        ("no_data", json!({"policy": "panic"})),
        ("no_data", json!({})),
        ("schedule", json!({"from": "08:00"})),
        ("slo", json!({"objective": 0.9, "pairs": [{"long": "1h"}]})),
        ("severity", json!("low")),
        ("quiet", json!("yes")),
    ] {
        let file = changed(field, value.clone());
        assert!(parse_json(&file.to_string()).is_err(), "the types take {field} = {value}");
        assert!(!validator().is_valid(&file), "the schema takes {field} = {value}");
    }
}

#[test]
fn a_fault_of_a_file_says_where() {
    let error = parse_toml("[[rule]]\nid = 'r'\nwindo = '5m'\n").unwrap_err().to_string();
    assert!(error.contains("line 3") && error.contains("windo"), "{error}");
    let error = parse_json("{\"rule\": [\n{\"id\": \"r\", \"window\": \"5x\"}]}").unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("1h30m"), "{error}");
}
