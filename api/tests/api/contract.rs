//! Holds every answer of these tests against the OpenAPI document: its status is documented there for
//! its route, and its body fits the schema.

use std::sync::LazyLock;

use kelly_api::openapi_document;
use serde_json::{Value, json};

use crate::support::Answer;

pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(openapi_document("0.0.0")).unwrap());

/// Fails when the document does not describe this answer. Routes and methods it does not list are pages
/// and what routing refuses.
pub(crate) fn check(method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap();
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let Some((template, item)) = paths.iter().find(|(template, _)| matches(template, path)) else {
        return;
    };
    let Some(operation) = item.get(method.to_ascii_lowercase()) else { return };
    let status = answer.status.as_str();
    let name = format!("{method} {template} {status}");
    let response = &operation["responses"][status];
    assert!(response.is_object(), "{name} is not documented");
    if status == "304" {
        return assert!(answer.body.is_empty(), "{name} sends again what is known");
    }
    let media_type = answer.header("content-type");
    let content = &response["content"][media_type];
    assert!(content.is_object(), "{name} as {} is not documented", answer.header("content-type"));
    if media_type == "application/json" || media_type.ends_with("+json") {
        assert_fits(&content["schema"], &answer.json(), &name);
    }
}

/// Fails when the value does not fit a schema of the document.
pub(crate) fn assert_fits(schema: &Value, value: &Value, name: &str) {
    let whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [schema],
        "components": DOCUMENT["components"],
    });
    let validator = jsonschema::validator_for(&whole).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name} does not fit its schema: {errors:#?}\n{value:#}");
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(part, given)| part.starts_with('{') || *part == given)
}

#[test]
#[should_panic(expected = "does not fit its schema")]
fn a_wrong_answer_is_noticed() {
    let schema = json!({"$ref": "#/components/schemas/ProblemDocument"});
    assert_fits(&schema, &json!({"title": 7}), "a broken problem");
}
