//! What alert rules would have done over history.

use axum::Json;
use axum::extract::Request;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use kelly_auth::Accounts;
use kelly_query::{Beside, Preview, PreviewRequest, RangeRequest, Timeframe};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::bodies::BodyBounds;
use crate::client::{Answered, Client};
use crate::openapi::{PreviewProblems, examples};
use crate::parameters::{Parameters, wrong_parameter};
use crate::problem::Problem;
use crate::routes::json_body;

/// Longest body: hundreds of rules.
const MAX_BODY_BYTES: usize = 512 << 10;

/// Which rules to try, over which time, and beside what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewRules {
    /// The rules, each with the fields of a file of rules (`kelly rules schema`).
    #[schema(value_type = Vec<Object>, min_items = 1, max_items = 1000)]
    rules: Vec<Value>,
    /// The ids of those to try, at most 20; all of them unless said. The others are there to be named by these.
    #[serde(default)]
    #[schema(max_items = 20)]
    only: Vec<String>,
    /// Length of time that ends now; 1h unless said. Not together with `from`.
    timeframe: Option<Timeframe>,
    /// First instant, included.
    from: Option<DateTime<Utc>>,
    /// End, excluded; now unless said. Needs `from`.
    to: Option<DateTime<Utc>>,
    /// What stands beside each rule: the one of the same id that is in force (unless said), or nothing.
    #[serde(default)]
    beside: BesideWhat,
    /// Rules to stand beside, by their ids, in place of those in force.
    #[schema(value_type = Option<Vec<Object>>, max_items = 1000)]
    against: Option<Vec<Value>>,
    /// How many alerts there may be in which time. For each rule the mildest threshold that keeps to it is suggested.
    #[schema(example = "2/week", pattern = "^[0-9]{1,6}/(hour|day|week|month|[1-9][0-9]{0,2}[dhm])$")]
    budget: Option<String>,
}

/// What stands beside a rule.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BesideWhat {
    /// The rule of the same id that is in force.
    #[default]
    InForce,
    /// Nothing.
    Nothing,
}

impl PreviewRules {
    fn request(self, accounts: &Accounts) -> Result<PreviewRequest, Problem> {
        let range = match (self.timeframe, self.from, self.to) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                return Err(wrong_parameter(
                    "timeframe",
                    "contradicts `from` and `to`; give the one or the others",
                ));
            }
            (None, None, Some(_)) => return Err(wrong_parameter("from", "is missing; `to` needs it")),
            (timeframe, None, None) => RangeRequest::Last(timeframe.unwrap_or_default()),
            (None, Some(from), to) => RangeRequest::Between { from, to },
        };
        let beside = match (self.against, self.beside) {
            (Some(rules), _) => Beside::These(rules),
            (None, BesideWhat::InForce) => Beside::InForce,
            (None, BesideWhat::Nothing) => Beside::Nothing,
        };
        let Self { rules, only, budget, .. } = self;
        Ok(PreviewRequest { accounts: accounts.clone(), rules, only, range, beside, budget })
    }
}

/// Try rules over history
///
/// The engine that judges live goes over what was recorded: over samples while they are kept, over rollups before, and the answer says
/// which part came from what and what that means for each rule. Rules that no rollup can be given to are judged over the samples alone,
/// and it says why. Each rule is shown beside the one of the same id that is in force. Nothing is changed and nobody is told.
///
/// It is a heavy question: it takes a place among the exports, and goes over 2,000,000 samples and rollups at most. It ends
/// when its client goes away. Who is limited to accounts has the rows of these alone judged, also by rules about everything.
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/rules/preview", tag = "alerts", operation_id = "preview_rules",
    request_body(content = PreviewRules, examples(
        ("one" = (summary = "A rule beside the one in force", value = json!({
            "rules": [{
                "id": "busy_hosts", "version": 2, "metric": "system_load", "aggregation": "avg", "window": "5m",
                "direction": "above", "warning": 85, "hysteresis": 3
            }],
            "timeframe": "7d",
            "budget": "2/week"
        }))),
        ("two" = (summary = "One of several rules, beside another version of it", value = json!({
            "rules": [
                {"id": "slow", "metric": "response_time", "direction": "above", "warning": 2000},
                {"id": "slow_and_unsure", "kind": "composite", "when": "slow and low_ai_confidence"}
            ],
            "only": ["slow"],
            "against": [{"id": "slow", "metric": "response_time", "direction": "above", "warning": 5000}],
            "from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"
        }))),
    )),
    responses(
        (status = 200, description = "What they would have done.", body = Preview, example = json!(examples::rule_preview())),
        PreviewProblems,
    )
)]
pub(crate) async fn preview(client: Client, _: Parameters<()>, request: Request) -> Answered {
    let gates = &client.shared.gates;
    let bounds = BodyBounds { bytes: MAX_BODY_BYTES, time: gates.limits().body_timeout };
    let asked: PreviewRules = json_body::read_within(request, gates, bounds).await?;
    let asked = asked.request(&client.accounts)?;
    let place = gates.export(client.caller.clone())?;
    let admitted = gates.admit(client.caller.clone())?;
    let preview = gates.query(admitted, 1, client.shared.app.queries.preview_rules(asked)).await??;
    drop(place);
    Ok(Json(preview).into_response())
}
