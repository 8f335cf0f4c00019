//! The document's examples work as they stand: pages that offer to try a route fill them in.

use kelly_api::{BodyForm, openapi_document};
use kelly_schemas::decode::{self, Form, Origin};
use kelly_schemas::{Catalogue, Limits};
use serde_json::Value;

use crate::support::{Api, Setup};

pub(crate) fn operations() -> Vec<(String, String, Value)> {
    let document = serde_json::to_value(openapi_document("0.0.0")).unwrap();
    let paths = document["paths"].as_object().unwrap().clone();
    paths
        .into_iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().clone();
            methods.into_iter().map(move |(method, operation)| (path.clone(), method, operation))
        })
        .collect()
}

/// Examples of a body, each as a client sends it: lines as lines, and as the array that describes them.
fn request_examples(operation: &Value) -> Vec<(String, String)> {
    let contents = operation["requestBody"]["content"].as_object().into_iter().flatten();
    contents
        .flat_map(|(media_type, content)| {
            let several = content["examples"].as_object().into_iter().flatten().map(|(_, one)| &one["value"]);
            several.chain(content.get("example")).flat_map(move |example| {
                let as_lines = (media_type == "application/x-ndjson").then(|| lines(example));
                [Some(example.to_string()), as_lines]
                    .into_iter()
                    .flatten()
                    .map(move |body| (media_type.clone(), body))
            })
        })
        .collect()
}

/// The rows of an array, a line each.
pub(crate) fn lines(rows: &Value) -> String {
    rows.as_array().unwrap().iter().map(|row| format!("{row}\n")).collect()
}

#[tokio::test]
async fn every_request_example_is_accepted_today_and_next_year() {
    let api = Api::new(Setup::default());
    let limits = Limits::default();
    let mut count = 0;
    // Of the routes that record; what signs somebody in is no example that could work.
    for (path, _, operation) in operations().into_iter().filter(|(path, ..)| path.ends_with("/record")) {
        for (media_type, body) in request_examples(&operation) {
            count += 1;
            assert_eq!(api.post(&path, &media_type, &body).await.status, 202, "{path} {body}");
            let form = match api.accept.taken.lock().unwrap().pop().unwrap().form {
                BodyForm::Ndjson => Form::Ndjson,
                _ => Form::Json,
            };
            for row in decode::split_rows(body.as_bytes(), form, &limits).unwrap() {
                // Long after any date in it: an example with a date is refused once that is too old.
                let origin =
                    Origin { partition: 0, offset: 0, log_time_ms: 4_102_444_800_000, limits: &limits };
                if path.contains("/metrics/") {
                    decode::metric(&row, &origin).unwrap();
                } else {
                    decode::activity(&row, &origin).unwrap();
                }
            }
        }
    }
    assert!(count >= 5, "{count}");
}

#[tokio::test]
async fn every_route_answers_to_its_parameter_examples_together() {
    let api = Api::new(Setup::default());
    let mut count = 0;
    for (path, method, operation) in operations() {
        if method != "get" {
            continue;
        }
        let (mut url, mut query) = (path.clone(), Vec::new());
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let Some(example) = parameter.get("example") else { continue };
            let value = written(example);
            let name = parameter["name"].as_str().unwrap();
            match parameter["in"].as_str().unwrap() {
                "path" => url = url.replace(&format!("{{{name}}}"), &value),
                "header" => {}
                _ => query.push(format!("{name}={value}")),
            }
        }
        let url = format!("{url}?{}", query.join("&"));
        // A WebSocket answers to no plain request.
        let expected = if path.starts_with("/ws/") { 426 } else { 200 };
        assert_eq!(api.get(&url).await.status, expected, "{url}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}

/// A value as it stands in a URL; a list with commas.
pub(crate) fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(written).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Filters that are filled in would answer an empty page on every store but ours.
#[test]
fn no_filter_and_no_instant_is_filled_in() {
    for (path, _, operation) in operations() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let is_neutral = parameter["in"] == "path"
                || matches!(
                    name,
                    "timeframe"
                        | "format"
                        | "limit"
                        | "metric_type"
                        | "metrics"
                        | "code"
                        | "rooms"
                        | "component"
                        | "level"
                );
            assert!(is_neutral || parameter.get("example").is_none(), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn figures_are_described_and_answered_as_the_catalogue_defines_them() {
    let document = serde_json::to_value(openapi_document("0.0.0")).unwrap();
    let figures = &document["components"]["schemas"]["Overview"]["properties"];
    let catalogue = Catalogue::builtin();
    for figure in catalogue.overview() {
        assert_eq!(figures[&figure.field]["description"], format!("{}.", figure.meaning), "{}", figure.field);
    }
    assert_eq!(figures.as_object().unwrap().len(), catalogue.overview().len() + 1, "and the timestamp");
    let api = Api::new(Setup::default());
    let answer = api.get("/api/v1/kelly/monitoring/catalogue").await.json();
    assert_eq!(answer["overview"], serde_json::to_value(catalogue.overview()).unwrap());
    assert_eq!(answer["metrics"].as_array().unwrap().len(), catalogue.definitions().count());
}

#[test]
fn the_limits_are_named_where_rows_are_recorded() {
    let (rows, http) = (Limits::default(), kelly_api::Limits::default());
    let mebibytes = |bytes: usize| format!("{} MiB", bytes >> 20);
    let limits = [
        "10,000 rows".to_owned(),
        mebibytes(http.max_body_bytes),
        format!("a row {}", mebibytes(rows.max_message_bytes)),
        format!("{} KiB", rows.max_metadata_bytes >> 10),
        format!("{} levels", kelly_schemas::limits::METADATA_DEPTH),
        format!("{} unknown fields", kelly_schemas::limits::UNKNOWN_FIELDS),
        format!("{} minutes ahead", rows.max_future_ms / 60_000),
        format!("{}\ndays", rows.max_age_ms / 86_400_000),
    ];
    assert_eq!(rows.max_rows, 10_000);
    for (path, _, operation) in operations().into_iter().filter(|(path, ..)| path.ends_with("/record")) {
        let text = operation["description"].as_str().unwrap();
        for limit in &limits {
            assert!(text.contains(limit.as_str()), "{path} does not tell {limit:?}: {text}");
        }
    }
}
