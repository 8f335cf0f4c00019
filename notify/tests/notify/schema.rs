//! The schema and the reader agree.

use kelly_notify::{JSON_SCHEMA, Settings};
use serde_json::{Value, json};

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(JSON_SCHEMA).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("it is a schema")
}

fn whole() -> Value {
    json!({
        "destination": [
            { "id": "pd", "kind": "pagerduty", "secret_file": "/run/secrets/pd" },
            { "id": "slack", "kind": "slack", "secret_variable": "SLACK_TOKEN", "channel": "C024BE91L", "per_minute": 30 },
            { "id": "hook", "kind": "webhook", "url_file": "/run/secrets/hook", "secret_variable": "HOOK_SECRET" },
            { "id": "mail", "kind": "email", "server": "smtp.example.com:587", "user": "kelly", "secret_variable": "SMTP_PASSWORD",
              "from": "Kelly <kelly@example.com>", "to": ["ops@example.com"], "encryption": "tls" },
        ],
        "route": [
            { "id": "critical", "destinations": ["pd"], "severity": ["critical"], "last": true, "group_by": ["alert"] },
            { "id": "rest", "destinations": ["slack", "mail"], "labels": { "team": "voice" }, "accounts": ["a"], "rules": ["r"],
              "metrics": ["m"], "escalated_to": "admin", "group_by": ["rule", "label:team"], "wait_seconds": 10,
              "more_seconds": 60, "renotify_minutes": 0, "criticals_wait": true },
        ],
        "digest": { "over": 10, "window_seconds": 60, "every_seconds": 60 },
        "heartbeat": { "url": "https://hc.example.com/ping", "every_seconds": 30 },
    })
}

#[test]
fn what_is_right_is_taken_by_both() {
    let validator = validator();
    for document in [json!({}), whole()] {
        assert!(validator.is_valid(&document), "{document}");
        let settings = Settings::parse_json(&document.to_string()).unwrap();
        // What is read can be written and read again, in either form.
        let json = serde_json::to_value(&settings).unwrap();
        assert_eq!(Settings::parse_json(&json.to_string()).unwrap(), settings);
    }
    let toml = include_str!("example.toml");
    let settings = Settings::parse_toml(toml).unwrap();
    assert_eq!((settings.destinations.len(), settings.routes.len()), (4, 3));
}

#[test]
fn what_is_wrong_is_refused_by_both() {
    let validator = validator();
    let changes: &[(&str, Value)] = &[
        ("/else", json!(1)),
        ("/destination/0/else", json!(1)),
        ("/destination/0/id", json!("with space")),
        ("/destination/0/kind", json!("pager")),
        ("/destination/0/secret_file", Value::Null),
        ("/destination/0/secret_variable", json!("TWICE")),
        ("/destination/0/channel", json!("C1")),
        ("/destination/0/per_minute", json!(0)),
        ("/destination/0/url", json!("ftp://x/")),
        ("/destination/0/url_file", json!("x")),
        ("/destination/0/routing_key", json!("hunter2")),
        ("/destination/1/channel", json!("#general")),
        ("/destination/1/channel", Value::Null),
        ("/destination/2/url", json!("https://twice.example.com/")),
        ("/destination/2/url_file", Value::Null),
        ("/destination/3/server", json!("smtp.example.com")),
        ("/destination/3/to", json!([])),
        ("/destination/3/encryption", json!("ssl")),
        ("/route/0/destinations", json!([])),
        ("/route/0/severity", json!(["fatal"])),
        ("/route/0/group_by", json!(["severity"])),
        ("/route/0/wait_seconds", json!(-1)),
        ("/route/0/more_seconds", json!(0)),
        ("/route/0/renotify_minutes", json!(100_000)),
        ("/digest/over", json!(0)),
        ("/digest/every_seconds", json!(1)),
        ("/heartbeat/url", Value::Null),
        ("/heartbeat/every_seconds", json!(1)),
    ];
    for (place, value) in changes {
        let mut document = whole();
        let (parent, field) = place.rsplit_once('/').unwrap();
        let object = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            object.remove(field).unwrap();
        } else {
            object.insert(field.to_owned(), value.clone());
        }
        assert!(!validator.is_valid(&document), "{place} {value}: the schema takes it");
        let fault = Settings::parse_json(&document.to_string()).unwrap_err().to_string();
        assert!(!fault.contains("hunter2"), "{fault}");
    }
}

#[test]
fn a_fault_says_where_it_is_and_what_would_be_right() {
    let fault = |change: fn(&mut Value)| {
        let mut document = whole();
        change(&mut document);
        Settings::parse_json(&document.to_string()).unwrap_err().to_string()
    };
    let text = fault(|document| document["route"][0]["destinations"] = json!(["pdd"]));
    assert_eq!(text, r#"route "critical": there is no destination "pdd""#);
    let text = fault(|document| document["destination"][3]["encryption"] = json!("none"));
    assert_eq!(text, r#"destination "mail": a password would be sent in plain text: use starttls or tls"#);
    let text = fault(|document| document["destination"][1]["id"] = json!("pd"));
    assert!(text.contains(r#"destination "pd": another destination has this id"#), "{text}");
    let text =
        Settings::parse_toml("[[destination]]\nid = 'a'\nkind = 'webhook'\nurl = 'https://u:hunter2@x/'")
            .unwrap_err();
    assert!(!text.to_string().contains("hunter2"), "{text}");
}
