//! One act for many alerts, each with a verdict of its own.

use axum::extract::{Request, State};
use axum::{Extension, Json};
use futures_util::future::join_all;
use kelly_auth::Identity;
use kelly_control::Op;
use kelly_control::op::{Assign, Handle, SetLevel};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::visible::check_visible;
use super::words::{AlertLevel, NameText, Version, Words};
use crate::decisions::{Decided, Deciding, IdempotencyKey};
use crate::openapi::DecisionProblems;
use crate::parameters::Parameters;
use crate::problem::{Code, Problem};
use crate::routes::json_body;
use crate::state::HandlerState;

/// Alerts of one request. With more it is refused.
const MAX_ALERTS: usize = 100;

/// What is done.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BulkAct {
    /// Somebody takes care.
    Acknowledge,
    /// Nobody does any more.
    Unacknowledge,
    /// They are over.
    Resolve,
    /// They are not.
    Reopen,
    /// To the next level, or to `level`.
    Escalate,
    /// To the level below, or to `level`.
    Deescalate,
    /// To the owner `to`, or to nobody.
    Assign,
}

/// An alert to act on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkAlert {
    /// The alert.
    alert_id: Uuid,
    /// Its `version` that you saw.
    expected: Option<Version>,
}

/// An act for many alerts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkBody {
    /// What is done.
    act: BulkAct,
    /// To which alerts.
    #[schema(min_items = 1, max_items = 100)]
    alerts: Vec<BulkAlert>,
    /// Why.
    note: Option<Words>,
    /// Of `escalate` and `deescalate`: the level.
    level: Option<AlertLevel>,
    /// Of `assign`: the owner.
    to: Option<NameText>,
}

/// What came of it for one alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkResult {
    /// The alert.
    alert_id: Uuid,
    /// The status that a request of its own would have been answered with.
    #[schema(example = 200)]
    status: u16,
    /// What was decided; null where a problem came of it.
    decided: Option<Decided>,
    /// The code of the problem, e.g. `already_decided`.
    #[schema(value_type = Option<String>)]
    code: Option<&'static str>,
    /// What is wrong.
    detail: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkAnswer {
    /// In the order of the request.
    results: Vec<BulkResult>,
}

/// One act for many alerts
///
/// 100 at most, each decided by itself: some may be done while for others somebody was first. With an Idempotency-Key the whole request can
/// be sent again; each of its acts counts once.
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/bulk", tag = "alerts", operation_id = "bulk_alerts", params(IdempotencyKey),
    request_body(content = BulkBody, example = json!({
        "act": "acknowledge", "alerts": [{"alert_id": "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d8"}], "note": "on it"
    })),
    responses((status = 200, description = "Each is decided.", body = BulkAnswer), DecisionProblems)
)]
pub(crate) async fn act(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    _: Parameters<()>,
    request: Request,
) -> Result<Json<BulkAnswer>, Problem> {
    let deciding = Deciding::of(&shared, &caller, request.headers())?;
    let body: BulkBody = json_body::read(request, &shared.gates, shared.gates.limits().body_timeout).await?;
    if body.alerts.is_empty() || body.alerts.len() > MAX_ALERTS {
        let detail = format!("`alerts` names 1 to {MAX_ALERTS} alerts. Nothing was done.");
        return Err(Problem::new(Code::MalformedBody, detail));
    }
    let (deciding, shared, caller, body) = (&deciding, &shared, &caller, &body);
    let acts = body.alerts.iter().zip(0_u32..).map(|(alert, number)| async move {
        check_visible(shared, caller, alert.alert_id)?;
        deciding.decide_part(number, body.op(alert)).await
    });
    let outcomes = join_all(acts).await;
    let results = body.alerts.iter().zip(outcomes).map(|(alert, outcome)| result(alert.alert_id, outcome));
    Ok(Json(BulkAnswer { results: results.collect() }))
}

fn result(alert_id: Uuid, outcome: Result<Decided, Problem>) -> BulkResult {
    match outcome {
        Ok(decided) => BulkResult { alert_id, status: 200, decided: Some(decided), code: None, detail: None },
        Err(problem) => {
            if let Some(cause) = problem.cause() {
                tracing::warn!(code = problem.code().name(), cause, "an act of several failed");
            }
            let definition = problem.code().definition();
            BulkResult {
                alert_id,
                status: definition.status.as_u16(),
                decided: None,
                code: Some(definition.name),
                detail: Some(problem.detail().to_owned()),
            }
        }
    }
}

impl BulkBody {
    fn op(&self, alert: &BulkAlert) -> Op {
        let BulkAlert { alert_id: alert, expected } = *alert;
        let expected = expected.map(|Version(version)| version);
        let level = self.level.map(|AlertLevel(level)| level);
        let note = self.note.clone().map(|Words(note)| note);
        let handle = || Handle { alert, expected, note: note.clone() };
        let set_level = || SetLevel { alert, expected, level, note: note.clone() };
        match self.act {
            BulkAct::Acknowledge => Op::Acknowledge(handle()),
            BulkAct::Unacknowledge => Op::Unacknowledge(handle()),
            BulkAct::Resolve => Op::Resolve(handle()),
            BulkAct::Reopen => Op::Reopen(handle()),
            BulkAct::Escalate => Op::Escalate(set_level()),
            BulkAct::Deescalate => Op::Deescalate(set_level()),
            BulkAct::Assign => {
                let to = self.to.clone().map(|NameText(to)| to);
                Op::Assign(Assign { alert, expected, to, note })
            }
        }
    }
}
