//! The OpenAPI document: complete, served as committed.

use std::collections::BTreeSet;
use std::path::Path;

use kelly_api::openapi_document;
use kelly_schemas::decode::without_byte_order_mark;
use serde_json::Value;

use crate::contract::assert_fits;
use crate::support::{Api, Setup};

/// Stands in the committed file, so that a release does not change it.
const VERSION: &str = "0.0.0";

fn document() -> Value {
    serde_json::to_value(openapi_document(VERSION)).unwrap()
}

/// The pages' types are generated from `api/openapi.json`; it must follow the code.
#[test]
fn the_committed_document_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let current = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("KELLY_RENEW_OPENAPI").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "api/openapi.json is not what the code says. If the change is meant, renew it with\n  \
         KELLY_RENEW_OPENAPI=1 cargo test -p kelly-api --test api openapi\nand commit the file."
    );
}

#[tokio::test]
async fn the_served_document_is_the_same() {
    let api = Api::new(Setup::default());
    let answer = api.get("/api/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let mut served = answer.json();
    assert_eq!(served["info"]["version"], "1.2.3");
    served["info"]["version"] = VERSION.into();
    assert_eq!(served, document());
}

#[test]
fn every_operation_is_documented() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{name} has no summary");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{name}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("403") && responses.contains_key("500"), "{name}");
            for (status, response) in responses {
                if status == "304" || status == "101" {
                    assert!(response["content"].is_null(), "{name} has a body");
                    continue;
                }
                let content = response["content"].as_object().unwrap();
                if status.starts_with('2') {
                    let kinds =
                        ["application/json", "text/csv", "text/event-stream", "application/openmetrics-text"];
                    let is_known =
                        kinds.iter().any(|kind| content.keys().any(|known| known.starts_with(kind)));
                    assert!(is_known, "{name} {status}");
                } else {
                    assert!(content.contains_key("application/problem+json"), "{name} {status}");
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{name} {}", parameter["name"]);
            }
        }
    }
}

#[test]
fn every_reference_has_its_target() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    found.insert(target.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[test]
fn every_example_fits_its_schema() {
    fn examples(content: &Value) -> Vec<&Value> {
        let several = content["examples"].as_object().into_iter().flatten();
        several.map(|(_, example)| &example["value"]).chain(content.get("example")).collect()
    }
    let document = document();
    let mut found = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let bodies = operation["responses"].as_object().unwrap().values();
            let contents = bodies
                .chain(operation.get("requestBody"))
                .flat_map(|body| body["content"].as_object().into_iter().flatten());
            for (media_type, content) in contents {
                for example in examples(content) {
                    found += 1;
                    assert_fits(&content["schema"], example, &format!("{method} {path} {media_type}"));
                }
            }
        }
    }
    assert!(found > 50, "{found}");
}

/// The rows are described twice: for HTTP here, for the log in `schemas/json`. They must agree.
#[test]
fn rows_are_described_as_in_the_contract() {
    let document = document();
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let read = |path: &Path| -> Value {
        serde_json::from_slice(without_byte_order_mark(&std::fs::read(path).unwrap())).unwrap()
    };
    let cases = [
        ("metric.schema.json", "metric", "Metric", "metrics", "MetricRows"),
        ("activity.schema.json", "event", "ActivityEvent", "activity", "ActivityRows"),
    ];
    for (file, definition, row, directory, rows) in cases {
        let contract = read(&schemas.join("json").join(file));
        let contract_row = &contract["$defs"][definition];
        let our_row = &document["components"]["schemas"][row];
        assert_eq!(our_row["required"], contract_row["required"], "{row}");
        let names = |row: &Value| -> BTreeSet<String> {
            row["properties"].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(names(our_row), names(contract_row), "{row}");
        for (name, ours) in our_row["properties"].as_object().unwrap() {
            let theirs = &contract_row["properties"][name];
            let label = theirs["$ref"].as_str().map(|target| target.trim_start_matches('#'));
            let theirs = label.and_then(|label| contract.pointer(label)).unwrap_or(theirs);
            for bound in ["minLength", "maxLength", "pattern", "minimum", "maximum"] {
                assert_eq!(ours.get(bound), theirs.get(bound), "{row}.{name} {bound}");
            }
        }
        let examples = std::fs::read_dir(schemas.join("examples").join(directory)).unwrap();
        let schema = serde_json::json!({"$ref": format!("#/components/schemas/{rows}")});
        let mut count = 0;
        for example in examples {
            let path = example.unwrap().path();
            assert_fits(&schema, &read(&path), &path.display().to_string());
            count += 1;
        }
        assert!(count > 3, "{directory}");
    }
}
