//! Alerts: who sees which, what comes of what people do about them, and what is said where it cannot be done.

use axum::body::Body;
use kelly_auth::{Accounts, Identity, Role, Roles};
use kelly_control::{Actor, Command, Op, Outcome, SubmitError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::decisions::{EXAMPLE_ID, raise, recover};
use crate::support::{Answer, Api, Setup, everything, identity};

const BASE: &str = "/api/v1/kelly/alerts";

fn named(subject: &str, accounts: Accounts) -> Identity {
    Identity { subject: subject.into(), ..identity(Roles::of(&[Role::Operator]), accounts) }
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

impl Api {
    async fn alerts(&self, who: &Identity, path: &str) -> Answer {
        self.send_as(who, "GET", &format!("{BASE}/{path}"), &[], Body::empty()).await
    }

    async fn act(&self, who: &Identity, path: &str, body: Value) -> Answer {
        self.change(who, "POST", path, &[], body).await
    }

    async fn change(
        &self,
        who: &Identity,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send_as(who, method, &format!("{BASE}/{path}"), &headers, Body::from(body)).await
    }
}

/// An API with alerts of three accounts and one of none, beside that of the examples.
fn with_alerts() -> Api {
    let api = Api::new(Setup::default());
    for (number, account) in [(1, "a"), (2, "b"), (3, "b"), (4, "")] {
        assert!(api.decisions.put(&raise(id(number), account)).verdict.is_applied());
    }
    api
}

fn ids(page: &Value) -> Vec<&str> {
    page["alerts"].as_array().unwrap().iter().map(|alert| alert["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn alerts_are_listed_by_pages_and_filters_to_who_may_see_them() {
    let api = with_alerts();
    let everybody = everything();
    let page = api.alerts(&everybody, "active").await.json();
    assert_eq!(ids(&page).len(), 5);
    let counts = json!({"open": 5, "active": 5, "acknowledged": 0, "critical": 5, "warning": 0, "info": 0});
    assert_eq!(page["counts"], counts);
    // Pages of two neither repeat nor skip any.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.alerts(&everybody, &format!("active?limit=2{cursor}")).await.json();
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids(&page));
    for (filter, count) in [
        ("account_id=b", 2),
        ("conversation_id=a-c", 1),
        ("metric=response_time", 5),
        ("metric=other", 0),
        ("rule=high_response_time&severity=critical", 5),
        ("severity=warning", 0),
        ("status=acknowledged", 0),
        ("mine=true", 0),
        ("mine=false", 5),
    ] {
        let page = api.alerts(&everybody, &format!("active?{filter}")).await.json();
        assert_eq!(ids(&page).len(), count, "{filter}");
    }
    let of_b = named("bob", Accounts::only(["b"]).unwrap());
    let page = api.alerts(&of_b, "active").await.json();
    assert_eq!((ids(&page).len(), &page["counts"]["open"]), (2, &json!(2)));
    assert_eq!(api.alerts(&of_b, "active?account_id=a").await.code(), "account_not_permitted");
    assert_eq!(api.alerts(&everybody, "active?cursor=critical").await.code(), "invalid_cursor");
    // What somebody takes care of, or owns, is theirs.
    api.act(&of_b, &format!("acknowledge/{}", id(2)), Value::Null).await;
    api.act(&everybody, &format!("assign/{}", id(3)), json!({"to": "bob"})).await;
    let page = api.alerts(&of_b, "active?mine=true").await.json();
    assert_eq!(ids(&page).len(), 2);
    assert_eq!((&page["counts"]["active"], &page["counts"]["acknowledged"]), (&json!(1), &json!(1)));
    // Resolved ones are asked for by name.
    api.decisions.put(&recover(id(2), "b"));
    let page = api.alerts(&of_b, "active?status=resolved").await.json();
    assert_eq!(ids(&page), [id(2).to_string()]);
    let resolution = &page["alerts"][0]["resolution"];
    assert_eq!((&resolution["reason"], &resolution["value"]), (&json!("recovered"), &json!(900.0)));
}

#[tokio::test]
async fn one_alert_is_shown_with_its_history() {
    let api = with_alerts();
    let ada = named("ada", Accounts::All);
    let of_one = |what: &str| format!("{what}/{}", id(1));
    api.act(&ada, &of_one("acknowledge"), json!({"note": "on it"})).await;
    api.act(&ada, &of_one("note"), json!({"text": "the provider is down"})).await;
    api.act(&ada, &of_one("feedback"), json!({"kind": "poor_details"})).await;
    api.act(&ada, &of_one("escalate"), json!({"level": 2})).await;
    api.act(&ada, &of_one("deescalate"), Value::Null).await;
    api.act(&ada, &of_one("resolve"), json!({"note": "done"})).await;
    api.act(&ada, &of_one("reopen"), Value::Null).await;
    let shown = api.alerts(&ada, &id(1).to_string()).await.json();
    let steps: Vec<&Value> = shown["history"].as_array().unwrap().iter().map(|step| &step["step"]).collect();
    let expected =
        ["raised", "acknowledged", "noted", "rated", "escalated", "deescalated", "resolved", "reopened"];
    assert_eq!(steps, expected);
    assert_eq!(shown["history"][1]["done"]["by"]["name"], "ada");
    assert_eq!(shown["notes"][0]["text"], "the provider is down");
    assert_eq!(shown["feedback"], json!({"ada": "poor_details"}));
    assert_eq!((&shown["alert"]["status"], &shown["alert"]["level"]), (&json!("active"), &json!(0)));
    assert_eq!(shown["incident"]["alerts"], json!([id(1)]));
}

#[tokio::test]
async fn of_two_who_act_one_is_first_and_the_other_is_told_who() {
    let api = with_alerts();
    let (ada, ben) = (named("ada", Accounts::All), named("ben", Accounts::All));
    let path = format!("acknowledge/{}", id(1));
    let first = api.act(&ada, &path, json!({"note": "on it"})).await;
    assert_eq!(first.status, 200);
    let decided = first.json();
    assert_eq!(decided["decided"]["verdict"], "applied");
    assert_eq!(decided["alert"]["version"], decided["decided"]["version"]);
    let again = api.act(&ada, &path, Value::Null).await.json();
    assert_eq!(
        (&again["decided"]["verdict"], &again["decided"]["reason"]),
        (&json!("unchanged"), &json!("already_so"))
    );
    let second = api.act(&ben, &path, Value::Null).await;
    assert_eq!((second.status.as_u16(), second.code().as_str()), (409, "already_decided"));
    let fault = &second.json()["errors"][0];
    assert_eq!(
        (&fault["by"], &fault["what"], &fault["by_kind"]),
        (&json!("ada"), &json!("acknowledged"), &json!("person"))
    );
    assert_eq!(fault["version"], decided["decided"]["version"]);
    assert!(
        fault["since"].is_string()
            && second.json()["detail"].as_str().unwrap().contains("ada acknowledged it")
    );
    // Who saw the version may go on from it.
    let old = api.act(&ben, &format!("resolve/{}", id(1)), json!({"expected": 1})).await;
    assert_eq!(old.code(), "already_decided");
    let resolved = api.act(&ben, &format!("resolve/{}", id(1)), json!({"expected": fault["version"]})).await;
    assert_eq!(resolved.json()["alert"]["status"], "resolved");
    let refused = api.act(&ben, &format!("reopen/{}", id(2)), Value::Null).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["errors"][0]["refusal"]),
        (422, &json!("not_resolved"))
    );
}

#[tokio::test]
async fn a_key_makes_a_request_count_once() {
    let api = with_alerts();
    let ada = named("ada", Accounts::All);
    let key = id(77).to_string();
    let escalate = |number: u128| {
        let (api, ada, key) = (&api, &ada, &key);
        async move {
            let headers = [("idempotency-key", key.as_str())];
            api.change(ada, "POST", &format!("escalate/{}", id(number)), &headers, Value::Null).await
        }
    };
    let first = escalate(1).await.json();
    let again = escalate(1).await.json();
    assert_eq!(first["decided"], again["decided"], "what was decided the first time");
    assert_eq!((&again["alert"]["level"], &first["decided"]["command_id"]), (&json!(1), &json!(key)));
    let other = escalate(2).await;
    assert_eq!((other.status.as_u16(), other.code().as_str()), (422, "command_id_reused"));
    let wrong = [("idempotency-key", "once")];
    let refused = api.change(&ada, "POST", &format!("escalate/{}", id(1)), &wrong, Value::Null).await;
    assert_eq!(refused.code(), "invalid_parameter");
    let status = api.send_as(&ada, "GET", &format!("/api/v1/kelly/commands/{key}"), &[], Body::empty()).await;
    assert_eq!(status.json()["verdict"], "applied");
    let unheard = format!("/api/v1/kelly/commands/{}", id(78));
    assert_eq!(api.send_as(&ada, "GET", &unheard, &[], Body::empty()).await.code(), "not_found");
}

#[tokio::test]
async fn what_is_not_known_or_cannot_be_decided_is_said() {
    let api = with_alerts();
    let ada = named("ada", Accounts::All);
    let path = format!("acknowledge/{}", id(1));
    api.decisions.set_fate(Some(|command| Ok(Outcome::Unknown { id: command.id })));
    let key = id(5).to_string();
    let unknown = api.change(&ada, "POST", &path, &[("idempotency-key", &key)], Value::Null).await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (503, "decision_unknown"));
    assert_eq!(unknown.header("retry-after"), "", "to send another one could do it twice");
    let status_url = format!("/api/v1/kelly/commands/{key}");
    assert_eq!(unknown.json()["errors"][0], json!({"command_id": key, "status_url": status_url}));
    api.decisions.set_fate(Some(|_| Err(SubmitError::Busy)));
    let busy = api.act(&ada, &path, Value::Null).await;
    assert_eq!((busy.code().as_str(), busy.header("retry-after")), ("server_busy", "1"));
    api.decisions.set_fate(Some(|_| Err(SubmitError::Stopped("secret-of-the-house".into()))));
    let away = api.act(&ada, &path, Value::Null).await;
    assert_eq!((away.code().as_str(), away.header("retry-after")), ("decisions_unavailable", "5"));
    assert!(!String::from_utf8_lossy(&away.body).contains("secret"));
    api.decisions.set_fate(None);
    // It was taken back before it came: so it says whenever it is asked for.
    let cancel = kelly_control::op::Cancel { command: id(6) };
    api.decisions.put(&Command::new(Actor::system(), Op::Cancel(cancel)));
    let key = id(6).to_string();
    let late = api.change(&ada, "POST", &path, &[("idempotency-key", &key)], Value::Null).await;
    assert_eq!((late.status.as_u16(), late.code().as_str()), (503, "decision_taken_back"));
    for (path, body) in [
        (path.as_str(), json!({"expected": -1})),
        (&path, json!({"note": " "})),
        (&path, json!({"notes": "x"})),
        (&path, json!([])),
        (&path, json!({"note": "x".repeat(1_025)})),
    ] {
        assert_eq!(api.act(&ada, path, body.clone()).await.code(), "malformed_body", "{body}");
    }
    let text = api
        .send_as(&ada, "POST", &format!("{BASE}/{path}"), &[("content-type", "text/plain")], "{}".into())
        .await;
    assert_eq!(text.code(), "unsupported_media_type");
    assert_eq!(
        api.decisions.read(|state| state.alerts().book().get(&id(1)).unwrap().status.code()),
        "active"
    );
}

/// By the same words.
#[tokio::test]
async fn what_is_of_others_looks_as_if_it_were_not_there() {
    let api = with_alerts();
    let of_b = named("bob", Accounts::only(["b"]).unwrap());
    let next = api.decisions.read(kelly_control::State::next_offset);
    let mut answers = Vec::new();
    for alert in [id(1), id(4), id(99)] {
        let mut told = vec![api.alerts(&of_b, &alert.to_string()).await.json()["detail"].clone()];
        for (act, body) in [
            ("acknowledge", Value::Null),
            ("unacknowledge", Value::Null),
            ("resolve", Value::Null),
            ("reopen", Value::Null),
            ("escalate", Value::Null),
            ("deescalate", Value::Null),
            ("assign", json!({"to": "bob"})),
            ("note", json!({"text": "x"})),
            ("feedback", json!({"kind": "false_positive"})),
        ] {
            let answer = api.act(&of_b, &format!("{act}/{alert}"), body).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"), "{act}");
            told.push(answer.json()["detail"].clone());
        }
        let bulk =
            api.act(&of_b, "bulk", json!({"act": "resolve", "alerts": [{"alert_id": alert}]})).await.json();
        assert_eq!(bulk["results"][0]["status"], 404);
        told.push(bulk["results"][0]["detail"].clone());
        let silenced = format!("silences/{}", if alert == id(1) { EXAMPLE_ID } else { alert });
        let ended = api.change(&of_b, "DELETE", &silenced, &[], Value::Null).await;
        told.push(ended.json()["detail"].clone());
        answers.push(told);
    }
    assert_eq!((&answers[0], &answers[1]), (&answers[2], &answers[2]));
    assert_eq!(api.decisions.read(kelly_control::State::next_offset), next, "nothing came to the log");
    let seen = api.alerts(&of_b, "silences").await.json();
    assert_eq!(seen["silences"], json!([]));
    let incidents = api.alerts(&of_b, "incidents").await.json();
    let of: Vec<&Value> =
        incidents["incidents"].as_array().unwrap().iter().map(|found| &found["cause"]).collect();
    assert_eq!(of, ["conversation:b-c"]);
    let foreign = api.decisions.read(|state| state.alerts().book().get(&id(1)).unwrap().incident);
    assert_eq!(api.alerts(&of_b, &format!("incidents/{foreign}")).await.code(), "not_found");
}

#[tokio::test]
async fn each_of_many_has_its_own_verdict() {
    let api = with_alerts();
    let (ada, ben) = (named("ada", Accounts::All), named("ben", Accounts::All));
    api.act(&ben, &format!("acknowledge/{}", id(2)), Value::Null).await;
    let alerts = [1, 2, 99].map(|number| json!({"alert_id": id(number)}));
    let body = json!({"act": "acknowledge", "alerts": alerts, "note": "all of them"});
    let key = id(5).to_string();
    let headers = [("idempotency-key", key.as_str())];
    let bulk = || api.change(&ada, "POST", "bulk", &headers, body.clone());
    let first = bulk().await.json();
    let results = first["results"].as_array().unwrap();
    let told: Vec<(u64, &Value)> =
        results.iter().map(|result| (result["status"].as_u64().unwrap(), &result["code"])).collect();
    assert_eq!(told, [(200, &Value::Null), (409, &json!("already_decided")), (404, &json!("not_found"))]);
    assert!(results[1]["detail"].as_str().unwrap().starts_with("ben acknowledged it"));
    assert_eq!(bulk().await.json()["results"][0], results[0], "sent again it counts once");
    for wrong in [json!([]), json!(vec![json!({"alert_id": id(1)}); 101])] {
        let answer = api.act(&ada, "bulk", json!({"act": "resolve", "alerts": wrong})).await;
        assert_eq!(answer.code(), "malformed_body");
    }
}

#[tokio::test]
async fn silences_are_made_shown_and_ended() {
    let api = with_alerts();
    let (ada, of_b) = (named("ada", Accounts::All), named("bob", Accounts::only(["b"]).unwrap()));
    let put = |who: &Identity, number: u128, matcher: Value, ends_at: &str| {
        let body = json!({"matcher": matcher, "ends_at": ends_at, "reason": "moving"});
        let (api, who) = (&api, who.clone());
        async move { api.change(&who, "PUT", &format!("silences/{}", id(number)), &[], body).await }
    };
    const SOON: &str = "2024-09-11T18:00:00Z";
    let made = put(&ada, 50, json!({"account_id": "b"}), SOON).await.json();
    assert_eq!((&made["silence"]["ended"], &made["silence"]["stale"]), (&json!(false), &json!(false)));
    let alerts = api.alerts(&of_b, "active").await.json();
    assert_eq!(alerts["alerts"][0]["silenced_by"], json!(id(50)));
    api.decisions.put(&raise(id(7), "b"));
    let listed = api.alerts(&of_b, "silences").await.json();
    assert_eq!(
        (&listed["silences"][0]["matched"], &listed["silences"][0]["made"]["by"]["name"]),
        (&json!(1), &json!("ada"))
    );
    // Who is limited silences their accounts only.
    for matcher in [json!({"rule": "r"}), json!({"account_id": "a"})] {
        assert_eq!(put(&of_b, 51, matcher, SOON).await.code(), "account_not_permitted");
    }
    assert_eq!(put(&of_b, 51, json!({"account_id": "b", "severity": "critical"}), SOON).await.status, 200);
    assert_eq!(
        put(&of_b, 0x0198_f3c2_a4b7_7e21_b0c3_d9a1_f2e4_c6d8, json!({"account_id": "b"}), SOON).await.code(),
        "not_found"
    );
    for (matcher, ends_at) in [
        (json!({}), SOON),
        (json!({"rule": "r"}), "2020-01-01T00:00:00Z"),
        (json!({"labels": {"": "x"}}), SOON),
    ] {
        let refused = put(&ada, 52, matcher, ends_at).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "decision_refused"));
    }
    let ended = api.change(&of_b, "DELETE", &format!("silences/{}", id(51)), &[], Value::Null).await;
    assert_eq!(ended.json()["silence"], Value::Null);
    let over = api.alerts(&of_b, "silences?ended=true").await.json();
    assert_eq!(
        (&over["silences"][0]["id"], &over["silences"][0]["ended_by"]["by"]["name"]),
        (&json!(id(51)), &json!("bob"))
    );
}

#[tokio::test]
async fn rules_are_looked_through_before_they_are_taken() {
    let api = with_alerts();
    let ada = named("ada", Accounts::All);
    let put = |rule: &str, body: Value| {
        let (api, ada, path) = (&api, &ada, format!("rules/{rule}"));
        async move { api.change(ada, "PUT", &path, &[], body).await }
    };
    let rule = json!({"metric": "response_time", "scope": "account", "aggregation": "p95", "window": "5m", "warning": 2000});
    let made = put("slow", json!({"expected": 0, "rule": rule})).await.json();
    assert_eq!(made["decided"]["verdict"], "applied");
    let shown = api.alerts(&ada, "rules/slow").await.json();
    assert_eq!((&shown["version"], &shown["document"]["id"]), (&made["decided"]["version"], &json!("slow")));
    assert_eq!(
        put("slow", json!({"expected": 0, "rule": {"metric": "m", "warning": 1, "direction": "above"}}))
            .await
            .code(),
        "already_decided"
    );
    // What is wrong is named, and nothing of it comes to the log.
    let next = api.decisions.read(kelly_control::State::next_offset);
    for (rule, field) in [
        (
            json!({"metric": "response_time", "warning": 5000, "critical": 2000, "direction": "above"}),
            "critical",
        ),
        (json!({"kind": "composite", "when": "slow and nothing_of_this_name"}), "when"),
        (json!({"metric": "m", "wraning": 1}), ""),
        (json!({"id": "other", "metric": "m", "warning": 1, "direction": "above"}), "id"),
    ] {
        let refused = put("wrong", json!({"rule": rule})).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "rule_refused"), "{rule}");
        let faults = refused.json()["errors"].clone();
        assert!(faults.as_array().unwrap().iter().any(|fault| fault["field"] == field), "{faults}");
    }
    assert_eq!(api.decisions.read(kelly_control::State::next_offset), next);
    // One that another is made of stays.
    let both = json!({"kind": "composite", "scope": "account", "when": "slow"});
    assert_eq!(put("both", json!({"rule": both})).await.status, 200);
    let delete = |path: &'static str| {
        let (api, ada) = (&api, &ada);
        async move { api.change(ada, "DELETE", path, &[], Value::Null).await }
    };
    assert_eq!(delete("rules/slow").await.code(), "rule_refused");
    assert_eq!(delete("rules/both?expected=1").await.code(), "already_decided");
    assert_eq!(delete("rules/both").await.status, 200);
    assert_eq!(delete("rules/slow").await.status, 200);
    assert_eq!(delete("rules/slow").await.code(), "not_found");
    let left = api.alerts(&ada, "rules").await.json();
    assert_eq!(left["rules"].as_array().unwrap().len(), 1, "that of the examples");
    assert_eq!(
        api.alerts(&named("bob", Accounts::only(["b"]).unwrap()), "rules").await.code(),
        "not_permitted"
    );
}

#[tokio::test]
async fn policies_noise_and_incidents_are_shown() {
    let api = with_alerts();
    let ada = named("ada", Accounts::All);
    let body = json!({"matcher": {"account_id": "b"}, "severity": "warning", "levels": [{"after_seconds": 60, "notify": ["ada"]}]});
    assert_eq!(api.change(&ada, "PUT", "policies/b%20first", &[], body).await.status, 200);
    let policies = api.alerts(&ada, "policies").await.json();
    let names: Vec<&Value> =
        policies["policies"].as_array().unwrap().iter().map(|policy| &policy["policy"]).collect();
    assert_eq!(names, ["b first", "default"]);
    assert_eq!(policies["policies"][0]["levels"][0]["after_seconds"], 60);
    let alert = api.alerts(&ada, &id(2).to_string()).await.json();
    assert!(alert["alert"]["next_level_at"].is_string());
    assert_eq!(api.change(&ada, "DELETE", "policies/b%20first", &[], Value::Null).await.status, 200);
    assert_eq!(api.change(&ada, "DELETE", "policies/b%20first", &[], Value::Null).await.code(), "not_found");
    api.act(&ada, &format!("feedback/{}", id(1)), json!({"kind": "false_positive"})).await;
    let noise = api.alerts(&ada, "noise?limit=1").await.json();
    let expected = json!({"rule": "high_response_time", "raised": 5, "false_positive": 1, "not_actionable": 0, "poor_details": 0});
    assert_eq!(noise["rules"], json!([expected]));
    let page = api.alerts(&ada, "incidents?limit=3&open=true").await.json();
    assert_eq!(page["incidents"].as_array().unwrap().len(), 3);
    let next = api.alerts(&ada, &format!("incidents?before={}", page["next_before"])).await.json();
    assert_eq!((next["incidents"].as_array().unwrap().len(), &next["next_before"]), (1, &Value::Null));
    let one = api.alerts(&ada, &format!("incidents/{}", page["incidents"][1]["id"])).await.json();
    assert_eq!((&one["count"], &one["timeline"][0]["step"]), (&json!(2), &json!("raised")));
}

#[tokio::test]
async fn the_overview_counts_the_alerts_that_are_open_and_seen() {
    let api = with_alerts();
    let path = "/api/v1/kelly/monitoring/metrics";
    for (accounts, count) in
        [(Accounts::All, 5), (Accounts::only(["b"]).unwrap(), 2), (Accounts::only(["c"]).unwrap(), 0)]
    {
        let who = identity(Roles::of(&[Role::Viewer]), accounts);
        assert_eq!(api.send_as(&who, "GET", path, &[], Body::empty()).await.json()["alert_count"], count);
    }
}

fn producer(accounts: Accounts) -> Identity {
    Identity { subject: "alertmanager".into(), ..identity(Roles::of(&[Role::Producer]), accounts) }
}

fn foreign(status: &str, severity: &str, starts_at: &str, ends_at: &str) -> Value {
    json!({
        "status": status,
        "labels": {"alertname": "ProviderDown", "severity": severity, "account_id": "b", "conversation_id": "c-7"},
        "annotations": {"summary": "the provider answers nothing", "runbook_url": "https://wiki.example/down", "other": "x"},
        "startsAt": starts_at, "endsAt": ends_at, "generatorURL": "http://prometheus.example", "fingerprint": "c2a4"
    })
}

const NEVER: &str = "0001-01-01T00:00:00Z";
const BEGAN: &str = "2024-09-11T15:20:00Z";

impl Api {
    async fn ingest(&self, who: &Identity, alerts: &[Value]) -> Answer {
        // As Alertmanager writes it around them.
        let body = json!({"version": "4", "groupKey": "{}:{}", "receiver": "kelly", "status": "firing",
            "groupLabels": {}, "commonLabels": {}, "externalURL": "http://alertmanager", "alerts": alerts});
        self.act(who, "ingest", body).await
    }
}

#[tokio::test]
async fn alerts_of_others_are_raised_change_and_end_once() {
    let api = Api::new(Setup::default());
    let who = producer(Accounts::All);
    let told = |answer: Answer| {
        let counts = answer.json();
        ["raised", "changed", "resolved", "unchanged"].map(|name| counts[name].as_u64().unwrap())
    };
    let firing = foreign("firing", "warning", BEGAN, NEVER);
    assert_eq!(told(api.ingest(&who, std::slice::from_ref(&firing)).await), [1, 0, 0, 0]);
    let next = api.decisions.read(kelly_control::State::next_offset);
    assert_eq!(told(api.ingest(&who, &[firing.clone(), firing]).await), [0, 0, 0, 2]);
    assert_eq!(
        api.decisions.read(kelly_control::State::next_offset),
        next,
        "what is so already writes nothing"
    );
    // Worse, and though its sender has started anew: it is the same.
    let worse = foreign("firing", "page", "2024-09-11T15:25:00Z", NEVER);
    assert_eq!(told(api.ingest(&who, &[worse]).await), [0, 1, 0, 0]);
    let page = api.alerts(&everything(), "active?account_id=b").await.json();
    let alert = &page["alerts"][0];
    assert_eq!((&alert["rule"], &alert["severity"]), (&json!("external:ProviderDown"), &json!("critical")));
    assert_eq!(
        (&alert["conversation_id"], &alert["explanation"]),
        (&json!("c-7"), &json!("the provider answers nothing"))
    );
    assert_eq!((&alert["since"], &alert["runbook"]), (&json!(BEGAN), &json!("https://wiki.example/down")));
    assert_eq!(
        (&alert["labels"]["fingerprint"], &alert["labels"]["alertname"]),
        (&json!("c2a4"), &json!("ProviderDown"))
    );
    let over = foreign("resolved", "page", BEGAN, "2024-09-11T15:30:00Z");
    assert_eq!(told(api.ingest(&who, &[over.clone(), over]).await), [0, 0, 1, 1]);
    // It begins anew, later.
    let again = foreign("firing", "info", "2024-09-11T15:30:30Z", NEVER);
    assert_eq!(told(api.ingest(&who, &[again]).await), [1, 0, 0, 0]);
    let unheard = json!({"status": "resolved", "labels": {"alertname": "X"}, "startsAt": BEGAN});
    assert_eq!(told(api.ingest(&who, &[unheard]).await), [0, 0, 0, 1]);
    // Grafana's: a value, no severity, no fingerprint; much too much of everything.
    let mut labels: serde_json::Map<String, Value> =
        (0..60).map(|number| (format!("l{number:02}"), "x".repeat(400).into())).collect();
    labels.insert("alertname".into(), "Much".into());
    let grafana = json!({"status": "firing", "labels": labels, "annotations": {"description": "y".repeat(5_000)}, "startsAt": "2024-01-01T00:00:00Z",
        "endsAt": NEVER, "generatorURL": "javascript:x", "values": {"B": 7.5, "C": null}, "valueString": "…", "panelURL": "…"});
    assert_eq!(told(api.ingest(&who, &[grafana.clone(), grafana]).await)[0], 1);
    let page = api.alerts(&everything(), "active?rule=external:Much").await.json();
    let alert = &page["alerts"][0];
    assert_eq!(
        (&alert["severity"], &alert["value"], &alert["runbook"]),
        (&json!("warning"), &json!(7.5), &Value::Null)
    );
    assert_eq!(
        (alert["labels"].as_object().unwrap().len(), alert["explanation"].as_str().unwrap().len()),
        (32, 1_000)
    );
}

/// Tokens of two accounts may have one subject, and their alerts one fingerprint.
#[tokio::test]
async fn alerts_of_others_are_told_apart_by_account() {
    let api = Api::new(Setup::default());
    let of = |account: &str| producer(Accounts::only([account]).unwrap());
    let alert = |account: &str, status: &str, severity: &str| {
        let mut alert = foreign(status, severity, BEGAN, NEVER);
        alert["labels"]["account_id"] = account.into();
        alert
    };
    let raised = api.ingest(&of("a"), &[alert("a", "firing", "warning")]).await.json();
    assert_eq!(raised["raised"], 1);
    for (status, severity) in [("resolved", "warning"), ("firing", "critical"), ("resolved", "critical")] {
        let told = api.ingest(&of("b"), &[alert("b", status, severity)]).await.json();
        // As if there were no other.
        let expected = [("raised", u64::from(status == "firing")), ("changed", 0)];
        assert!(expected.iter().all(|(name, count)| told[name] == *count), "{told}");
        let page = api.alerts(&everything(), "active?account_id=a").await.json();
        assert_eq!(
            (&page["alerts"][0]["severity"], &page["alerts"][0]["status"]),
            (&json!("warning"), &json!("active"))
        );
    }
}

/// Their senders repeat them in other words, and do not try again what is refused.
#[tokio::test]
async fn an_alert_that_a_person_resolved_keeps_no_other_one_out() {
    let api = Api::new(Setup::default());
    let who = producer(Accounts::All);
    let told = |answer: Answer| {
        let counts = answer.json();
        ["raised", "changed", "unchanged"].map(|name| counts[name].as_u64().unwrap_or(u64::MAX))
    };
    let mut firing = foreign("firing", "warning", BEGAN, NEVER);
    assert_eq!(told(api.ingest(&who, std::slice::from_ref(&firing)).await), [1, 0, 0]);
    let page = api.alerts(&everything(), "active").await.json();
    let id = page["alerts"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        api.act(&everything(), &format!("resolve/{id}"), json!({"note": "known"})).await.status.as_u16(),
        200
    );
    firing["annotations"]["summary"] = "it answers nothing since 7 minutes".into();
    let mut other = foreign("firing", "warning", BEGAN, NEVER);
    other["fingerprint"] = "d5b9".into();
    assert_eq!(told(api.ingest(&who, &[firing.clone(), other]).await), [1, 0, 1]);
    firing["labels"]["severity"] = "critical".into();
    assert_eq!(told(api.ingest(&who, &[firing]).await), [0, 1, 0]);
    assert_eq!(api.alerts(&everything(), "active").await.json()["alerts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn alerts_of_others_are_refused_whole_where_one_is_wrong() {
    let api = Api::new(Setup::default());
    let of_a = producer(Accounts::only(["a"]).unwrap());
    let next = api.decisions.read(kelly_control::State::next_offset);
    let mut own = foreign("firing", "warning", BEGAN, NEVER);
    own["labels"]["account_id"] = "a".into();
    let mut talks = own.clone();
    talks["labels"]["message_text"] = "Dear Sir".into();
    let refused = api.ingest(&of_a, &[own.clone(), foreign("firing", "warning", BEGAN, NEVER), talks]).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "rows_refused"));
    let faults = refused.json()["errors"].clone();
    let told: Vec<(u64, &str)> = faults
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| (fault["row"].as_u64().unwrap(), fault["code"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [(1, "account_not_permitted"), (2, "conversation_content")]);
    assert!(!String::from_utf8_lossy(&refused.body).contains("Dear Sir"));
    assert_eq!(api.decisions.read(kelly_control::State::next_offset), next);
    assert_eq!(api.ingest(&of_a, &vec![own.clone(); 501]).await.code(), "body_too_large");
    // Its sender tries again what does not pass now.
    api.decisions.set_fate(Some(|_| Err(SubmitError::Busy)));
    let busy = api.ingest(&of_a, std::slice::from_ref(&own)).await;
    assert_eq!((busy.status.as_u16(), busy.header("retry-after")), (503, "1"));
    api.decisions.set_fate(None);
    assert_eq!(api.ingest(&of_a, &[own]).await.json()["raised"], 1);
}
