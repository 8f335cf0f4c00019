//! Policies: how alerts climb that nobody acknowledges.

use axum::extract::{Request, State};
use axum::{Extension, Json};
use kelly_auth::Identity;
use kelly_control::Op;
use kelly_control::op::{DeletePolicy, Level, PutPolicy};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::words::{NameText, whole};
use crate::alert_views::{AlertSeverity, MatcherView};
use crate::decisions::{Decided, Deciding, IdempotencyKey, read};
use crate::openapi::{DecisionProblems, PlainProblems};
use crate::parameters::{InPath, Parameters, PolicyName, parameters};
use crate::problem::Problem;
use crate::routes::json_body;
use crate::state::HandlerState;

parameters! {
    /// Which policy.
    pub(crate) struct PolicyInPath {
        /// Its name. Of several policies that mean an alert, the first by name counts; `default` comes last.
        policy: InPath<PolicyName>,
    }
}

/// A level of a policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyLevel)]
pub(crate) struct LevelView {
    /// How long an alert stays unacknowledged at the level before until it comes here.
    #[schema(example = 600)]
    after_seconds: u32,
    /// Whom it tells: names of people, roles or destinations.
    #[schema(example = json!(["supervisor"]))]
    notify: Vec<String>,
}

/// What a policy says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyBody {
    /// Which alerts; absent or naming nothing, all.
    #[serde(default)]
    matcher: MatcherView,
    /// From which severity on.
    severity: AlertSeverity,
    /// The levels, lowest first. None: these alerts do not climb.
    #[schema(max_items = 16)]
    levels: Vec<LevelBody>,
    /// How often all levels are gone through again.
    #[serde(default)]
    #[schema(value_type = u8, maximum = 255)]
    repeat: Repeats,
}

/// A level of a policy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyLevelBody)]
pub(crate) struct LevelBody {
    /// How long an alert stays unacknowledged at the level before until it comes here.
    #[schema(value_type = u32, minimum = 1, maximum = 31622400, example = 600)]
    after_seconds: Seconds,
    /// Whom it tells: names of people, roles or destinations.
    #[schema(max_items = 16)]
    notify: Vec<NameText>,
}

/// A number of rounds.
#[derive(Debug, Default)]
pub(crate) struct Repeats(u8);

impl<'de> Deserialize<'de> for Repeats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rounds = whole(deserializer, u8::MAX.into())?;
        u8::try_from(rounds).map(Self).map_err(D::Error::custom)
    }
}

/// A number of seconds.
#[derive(Debug)]
pub(crate) struct Seconds(u32);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = whole(deserializer, u32::MAX.into())?;
        u32::try_from(seconds).map(Self).map_err(D::Error::custom)
    }
}

/// A policy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyView {
    /// Its name.
    policy: String,
    /// Which alerts; naming nothing, all.
    matcher: MatcherView,
    /// From which severity on.
    #[schema(value_type = String, example = "critical")]
    severity: &'static str,
    /// The levels, lowest first.
    levels: Vec<LevelView>,
    /// How often all levels are gone through again.
    repeat: u8,
}

impl PolicyView {
    fn of(policy: &PutPolicy) -> Self {
        let level = |level: &Level| LevelView {
            after_seconds: u32::try_from(level.after_ms / 1_000).unwrap_or(u32::MAX),
            notify: level.notify.clone(),
        };
        Self {
            policy: policy.policy.clone(),
            matcher: MatcherView::of(&policy.matcher),
            severity: policy.severity.code(),
            levels: policy.levels.iter().map(level).collect(),
            repeat: policy.repeat,
        }
    }
}

/// The policies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyList {
    /// By name.
    policies: Vec<PolicyView>,
}

/// It was decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyAnswer {
    /// What was decided.
    decided: Decided,
}

/// Escalation policies
///
/// How alerts climb that nobody acknowledges.
#[utoipa::path(
    get, path = "/api/v1/kelly/alerts/policies", tag = "alerts", operation_id = "alert_policies",
    responses((status = 200, description = "The policies.", body = PolicyList), PlainProblems)
)]
pub(crate) async fn list(
    State(shared): State<HandlerState>,
    _: Parameters<()>,
) -> Result<Json<PolicyList>, Problem> {
    let policies =
        read(&*shared.app.decisions, |state| state.alerts().policies().iter().map(PolicyView::of).collect())?;
    Ok(Json(PolicyList { policies }))
}

/// Make or change an escalation policy
#[utoipa::path(
    put, path = "/api/v1/kelly/alerts/policies/{policy}", tag = "alerts", operation_id = "put_alert_policy",
    params(PolicyInPath, IdempotencyKey),
    request_body(content = PolicyBody, example = json!({
        "severity": "critical", "levels": [{"after_seconds": 300, "notify": ["supervisor"]}], "repeat": 0
    })),
    responses((status = 200, description = "It is decided.", body = PolicyAnswer), DecisionProblems)
)]
pub(crate) async fn put(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(PolicyInPath { policy: InPath(PolicyName(policy)) }): Parameters<PolicyInPath>,
    request: Request,
) -> Result<Json<PolicyAnswer>, Problem> {
    let deciding = Deciding::of(&shared, &caller, request.headers())?;
    let body: PolicyBody =
        json_body::read(request, &shared.gates, shared.gates.limits().body_timeout).await?;
    let level = |level: LevelBody| Level {
        after_ms: i64::from(level.after_seconds.0) * 1_000,
        notify: level.notify.into_iter().map(|NameText(name)| name).collect(),
    };
    let op = Op::PutPolicy(PutPolicy {
        policy,
        matcher: body.matcher.into(),
        severity: body.severity.into(),
        levels: body.levels.into_iter().map(level).collect(),
        repeat: body.repeat.0,
    });
    Ok(Json(PolicyAnswer { decided: deciding.decide(op).await? }))
}

/// Remove an escalation policy
#[utoipa::path(
    delete, path = "/api/v1/kelly/alerts/policies/{policy}", tag = "alerts", operation_id = "delete_alert_policy",
    params(PolicyInPath, IdempotencyKey),
    responses((status = 200, description = "It is decided.", body = PolicyAnswer), DecisionProblems)
)]
pub(crate) async fn delete(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(PolicyInPath { policy: InPath(PolicyName(policy)) }): Parameters<PolicyInPath>,
    request: Request,
) -> Result<Json<PolicyAnswer>, Problem> {
    let deciding = Deciding::of(&shared, &caller, request.headers())?;
    let op = Op::DeletePolicy(DeletePolicy { policy });
    Ok(Json(PolicyAnswer { decided: deciding.decide(op).await? }))
}
