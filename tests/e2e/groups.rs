//! Groups of what names no account or no conversation: they add up alike on every tier.

use serde_json::{Value, json};

use crate::first_minutes::until;
use crate::kelly_process::{Kelly, Start};

const BASE: &str = "/api/v1/kelly/monitoring";

/// What must be the same whichever tier answers.
fn figures(answer: &Value) -> Value {
    let groups: Vec<Value> = answer["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .map(|group| json!([group["id"], group["count"], group["sum"], group["share_of_count"]]))
        .collect();
    json!({"total": answer["total"], "unassigned": answer["unassigned"], "groups": groups})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_account_or_conversation_counts_on_every_tier() {
    let directory = tempfile::tempdir().expect("a directory");
    let environment = [("KELLY_MONITORING_ENABLED", "false")];
    let kelly =
        Kelly::start(Start { arguments: &["up"], environment: &environment, data: directory.path() }).await;
    let rows = json!([
        {"metric_name": "un.a", "value": 1, "account_id": "a1", "conversation_id": "c1"},
        {"metric_name": "un.a", "value": 2},
        {"metric_name": "un.a", "value": 3},
        {"metric_name": "un.a", "value": 4},
        {"metric_name": "un.none", "value": 5},
        {"metric_name": "un.none", "value": 6},
    ]);
    let (status, answer) = kelly.post(&format!("{BASE}/metrics/record"), &rows).await.expect("an answer");
    assert_eq!(status, 202, "{answer}");
    for (group_by, older_tier) in [("account", "account_hour"), ("conversation", "conversation_day")] {
        for (metric, count, sum, unassigned, share) in
            [("un.a", 4, 10.0, json!([3, 9.0]), Some(0.25)), ("un.none", 2, 11.0, json!([2, 11.0]), None)]
        {
            let path = |timeframe: &str| {
                format!("{BASE}/metrics/detailed/{metric}?group_by={group_by}&timeframe={timeframe}")
            };
            let raw = until(&kelly, &path("24h"), |answer| answer["total"]["count"] == count).await;
            let rollups = until(&kelly, &path("7d"), |answer| answer["total"]["count"] == count).await;
            assert_eq!((&raw["tier"], &rollups["tier"]), (&json!("raw"), &json!(older_tier)));
            assert_eq!(raw["total"]["sum"], sum, "{raw}");
            let alone = &raw["unassigned"];
            assert_eq!(json!([alone["count"], alone["sum"]]), unassigned, "{raw}");
            assert_eq!(raw["groups"][0]["share_of_count"].as_f64(), share, "{raw}");
            assert_eq!(figures(&raw), figures(&rollups), "{group_by}: {rollups}");
        }
    }
    assert_eq!(kelly.terminate(), Some(0));
}
