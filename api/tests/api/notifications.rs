//! How notifications go, tests, and sending again.

use serde_json::json;

use crate::support::{Api, DEAD_NOTIFICATION, Setup};

const ALL: &str = "/api/v1/kelly/notifications";

#[tokio::test]
async fn it_is_told_how_they_go() {
    let api = Api::new(Setup::default());
    let report = api.get(ALL).await.json();
    assert_eq!(report["open"], 4);
    assert_eq!(report["destinations"][0]["health"], "ill");
    assert_eq!(report["destinations"][0]["problem"], "it answered invalid_auth");
    let dead = api.get(&format!("{ALL}/dead")).await.json();
    assert_eq!((&dead["count"], &dead["messages"][0]["id"]), (&json!(1), &json!(DEAD_NOTIFICATION)));
}

#[tokio::test]
async fn a_test_says_what_came_of_it() {
    let api = Api::new(Setup::default());
    let test = async |destination: &str| {
        let path = format!("{ALL}/destinations/{destination}/test");
        api.post(&path, "application/json", "").await
    };
    assert_eq!(test("mail").await.json(), json!({ "delivered": true }));
    assert_eq!(
        test("slack-ops").await.json(),
        json!({ "delivered": false, "problem": "it answered invalid_auth" })
    );
    let unknown = test("nobody").await;
    assert_eq!((unknown.status.as_u16(), unknown.json()["code"].clone()), (404, json!("not_found")));
}

#[tokio::test]
async fn what_was_given_up_is_sent_again() {
    let api = Api::new(Setup::default());
    let post = async |path: &str| {
        let answer = api.post(&format!("{ALL}/{path}/replay"), "application/json", "").await;
        (answer.status.as_u16(), answer.json())
    };
    assert_eq!(post(&format!("dead/{DEAD_NOTIFICATION}")).await, (200, json!({ "messages": 1 })));
    assert_eq!(post("destinations/slack-ops").await, (200, json!({ "messages": 1 })));
    assert_eq!(post("dead/00000000000000000000000000000000").await.1["code"], "not_found");
    let (status, problem) = post("destinations/away").await;
    assert_eq!((status, &problem["code"]), (503, &json!("log_unavailable")));
    assert!(!problem.to_string().contains("hunter2"));
}

#[tokio::test]
async fn without_a_file_every_route_says_what_is_missing() {
    let api = Api::new(Setup { has_notifications: false, ..Setup::default() });
    for path in [ALL.to_owned(), format!("{ALL}/dead")] {
        let answer = api.get(&path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["code"].clone()),
            (409, json!("notifications_off"))
        );
    }
    let answer = api.post(&format!("{ALL}/destinations/mail/test"), "application/json", "").await;
    assert_eq!(answer.json()["code"], "notifications_off");
    assert!(answer.json()["detail"].as_str().unwrap().contains("KELLY_NOTIFICATIONS"));
}
