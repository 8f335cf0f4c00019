//! Trying rules: what is asked of the port, what is refused before, and that the work ends with its client.

use std::sync::Arc;

use kelly_query::{QueryError, RuleFault};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{Api, Fate, Setup};

const PREVIEW: &str = "/api/v1/kelly/alerts/rules/preview";

fn rule() -> Value {
    json!({"id": "r", "metric": "m", "direction": "above", "warning": 1})
}

async fn asked(body: Value) -> Result<String, (u16, String)> {
    let api = Api::new(Setup::default());
    let answer = api.post(PREVIEW, "application/json", &body.to_string()).await;
    let asked = api.queries.asked.lock().unwrap().pop();
    match answer.status.as_u16() {
        200 => Ok(asked.expect("it was asked")),
        status => {
            assert_eq!(asked, None, "{body}");
            Err((status, answer.code()))
        }
    }
}

#[tokio::test]
async fn a_body_becomes_one_question() {
    for (body, expected) in [
        (
            json!({"rules": [rule()]}),
            vec!["range: Last(OneHour)", "beside: InForce", "only: []", "budget: None"],
        ),
        (
            json!({"rules": [rule()], "timeframe": "30d", "beside": "nothing"}),
            vec!["Last(ThirtyDays)", "beside: Nothing"],
        ),
        (
            json!({"rules": [rule()], "only": ["r"], "from": "2026-03-01T00:00:00Z", "against": [rule()], "budget": "2/week"}),
            vec![
                "Between { from: 2026-03-01T00:00:00Z, to: None }",
                "beside: These([Object",
                "only: [\"r\"]",
                "budget: Some(\"2/week\")",
            ],
        ),
    ] {
        let found = asked(body.clone()).await.unwrap_or_else(|refusal| panic!("{body}: {refusal:?}"));
        for part in expected {
            assert!(found.contains(part), "{body} asked {found}, without {part}");
        }
    }
}

#[tokio::test]
async fn what_contradicts_itself_is_refused_before_anything_is_asked() {
    for (body, code) in [
        (json!({}), "malformed_body"),
        (json!({"rules": [rule()], "rule": 1}), "malformed_body"),
        (json!({"rules": [rule()], "timeframe": "2h"}), "malformed_body"),
        (json!({"rules": [rule()], "timeframe": "1h", "from": "2026-03-01T00:00:00Z"}), "invalid_parameter"),
        (json!({"rules": [rule()], "to": "2026-03-01T00:00:00Z"}), "invalid_parameter"),
    ] {
        assert_eq!(asked(body.clone()).await, Err((400, code.to_owned())), "{body}");
    }
}

#[tokio::test]
async fn faults_of_rules_are_told_one_by_one() {
    let refused = || {
        let fault = |rule: &str| RuleFault {
            rule: rule.to_owned(),
            field: "window".to_owned(),
            problem: "40d is too long".to_owned(),
            fix: "take at most 30d".to_owned(),
        };
        QueryError::RulesRefused(vec![fault("a"), fault("b")])
    };
    let api = Api::new(Setup { queries: Fate::Fail(refused), ..Setup::default() });
    let answer = api.post(PREVIEW, "application/json", &json!({"rules": [rule()]}).to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "rule_refused"));
    let problem = answer.json();
    assert_eq!(
        problem["errors"][1],
        json!({"rule": "b", "field": "window", "problem": "40d is too long", "fix": "take at most 30d"})
    );
}

async fn until_asked(api: &Api, questions: usize) {
    while api.queries.asked.lock().unwrap().len() < questions {
        tokio::task::yield_now().await;
    }
}

/// It takes a place among the exports for as long as it goes on, and gives it back when its client goes away.
#[tokio::test]
async fn a_preview_takes_a_place_until_its_client_goes_away() {
    let gate = Arc::new(Semaphore::new(0));
    let api = Arc::new(Api::new(Setup { queries: Fate::Held(gate.clone()), ..Setup::default() }));
    let body = json!({"rules": [rule()]}).to_string();
    let begin = || {
        let (api, body) = (Arc::clone(&api), body.clone());
        tokio::spawn(async move { api.post(PREVIEW, "application/json", &body).await })
    };
    let (first, second) = (begin(), begin());
    until_asked(&api, 2).await;
    let answer = api.post(PREVIEW, "application/json", &body).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (429, "too_many_at_once"));
    first.abort();
    let _ = first.await;
    let third = begin();
    until_asked(&api, 3).await;
    gate.add_permits(2);
    assert_eq!(second.await.unwrap().status, 200);
    assert_eq!(third.await.unwrap().status, 200);
}
