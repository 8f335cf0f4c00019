//! Rules that were made over the API. They are looked through before they are decided upon.

use axum::extract::{Request, State};
use axum::{Extension, Json};
use kelly_alerts::builtin;
use kelly_alerts::rule::{Fault as RuleProblem, Gravity, Rule, check};
use kelly_auth::Identity;
use kelly_control::Op;
use kelly_control::op::{DeleteRule, Document, MAX_DOCUMENT_BYTES, PutRule};
use kelly_control::rules::{RuleDocument, Rules};
use kelly_schemas::error_chain;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::words::Version;
use crate::alert_views::Done;
use crate::bodies::BodyBounds;
use crate::decisions::{Decided, Deciding, IdempotencyKey, not_found, read};
use crate::openapi::{MissingProblems, PlainProblems, RuleProblems};
use crate::parameters::{InPath, Offset, Parameters, RuleName, parameters};
use crate::problem::{Code, Fault, Problem, RuleFault};
use crate::routes::json_body;
use crate::state::HandlerState;

/// Faults that are told at most.
const MAX_FAULTS: usize = 20;

parameters! {
    /// Which rule.
    pub(crate) struct RuleInPath {
        /// Its id.
        rule: InPath<RuleName>,
    }
}

parameters! {
    /// Which rule to remove.
    pub(crate) struct DeleteParameters {
        /// Its id.
        rule: InPath<RuleName>,
        /// The rule's `version` that you saw: where it has another one by now, nothing is done.
        expected: Option<Offset>,
    }
}

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertRule)]
pub(crate) struct RuleView {
    /// Its id.
    rule: String,
    /// Its version: give it as `expected`.
    version: u64,
    /// Who made this version, and when.
    changed: Done,
    /// What it says, as in a file of rules (`kelly rules schema`).
    #[schema(value_type = Object)]
    document: Box<RawValue>,
}

impl RuleView {
    fn of(id: &str, rule: &RuleDocument) -> Self {
        Self {
            rule: id.to_owned(),
            version: rule.by.offset,
            changed: Done::of(&rule.by),
            // It was JSON when it was taken.
            document: RawValue::from_string(rule.document.clone()).unwrap_or_default(),
        }
    }
}

/// Rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleList {
    /// By id.
    rules: Vec<RuleView>,
    /// Where on the control log any of them last changed; null when none ever did.
    changed_at_offset: Option<u64>,
}

/// A rule to make, or what it is to become.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleBody {
    /// The rule's `version` that you saw; 0: there is none yet. Without it the rule is changed whatever happened since.
    expected: Option<Version>,
    /// The rule, as in a file of rules. Its `id` may be left out.
    #[schema(value_type = Object)]
    rule: serde_json::Map<String, Value>,
}

/// It was decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleAnswer {
    /// What was decided.
    decided: Decided,
    /// What works, and is likely not what was meant.
    doubtful: Vec<RuleFault>,
}

/// Alert rules
///
/// Those that were made over the API. The built-in ones and those of files are not among them; one of the API takes the place of one of the
/// same id.
#[utoipa::path(
    get, path = "/api/v1/kelly/alerts/rules", tag = "alerts", operation_id = "alert_rules",
    responses((status = 200, description = "The rules.", body = RuleList), PlainProblems)
)]
pub(crate) async fn list(
    State(shared): State<HandlerState>,
    _: Parameters<()>,
) -> Result<Json<RuleList>, Problem> {
    let list = read(&*shared.app.decisions, |state| {
        let rules = state.rules();
        RuleList {
            rules: rules.iter().map(|(id, rule)| RuleView::of(id, rule)).collect(),
            changed_at_offset: rules.changed(),
        }
    })?;
    Ok(Json(list))
}

/// One alert rule
#[utoipa::path(
    get, path = "/api/v1/kelly/alerts/rules/{rule}", tag = "alerts", operation_id = "alert_rule", params(RuleInPath),
    responses((status = 200, description = "The rule.", body = RuleView), MissingProblems)
)]
pub(crate) async fn one(
    State(shared): State<HandlerState>,
    Parameters(RuleInPath { rule: InPath(RuleName(id)) }): Parameters<RuleInPath>,
) -> Result<Json<RuleView>, Problem> {
    let found =
        read(&*shared.app.decisions, |state| state.rules().get(&id).map(|rule| RuleView::of(&id, rule)))?;
    found.map(Json).ok_or_else(|| not_found("rule"))
}

/// Make or change an alert rule
///
/// It is looked through together with the built-in rules and those made over the API. Where something is wrong with it, it is refused, with
/// what is wrong and how to fix it. It is in force a moment after this is answered.
#[utoipa::path(
    put, path = "/api/v1/kelly/alerts/rules/{rule}", tag = "alerts", operation_id = "put_alert_rule",
    params(RuleInPath, IdempotencyKey),
    request_body(content = RuleBody, example = json!({
        "rule": {"metric": "response_time", "scope": "account", "aggregation": "p95", "window": "5m", "warning": 2000}
    })),
    responses((status = 200, description = "It is decided.", body = RuleAnswer), RuleProblems)
)]
pub(crate) async fn put(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(RuleInPath { rule: InPath(RuleName(id)) }): Parameters<RuleInPath>,
    request: Request,
) -> Result<Json<RuleAnswer>, Problem> {
    let deciding = Deciding::of(&shared, &caller, request.headers())?;
    let bounds = BodyBounds { bytes: MAX_DOCUMENT_BYTES, time: shared.gates.limits().body_timeout };
    let RuleBody { expected, rule } = json_body::read_within(request, &shared.gates, bounds).await?;
    let rule = parse(&id, rule)?;
    let others = read(&*shared.app.decisions, |state| others(state.rules(), &id))?;
    let found = new_faults(&others, Some(&rule));
    let (wrong, doubtful): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|fault| fault.gravity == Gravity::Wrong);
    if !wrong.is_empty() {
        return Err(refused("The rule is refused", &wrong));
    }
    let document = serde_json::to_string(&rule)
        .map_err(|error| Problem::internal(format!("a rule cannot be written: {error}")))?;
    let expected = expected.map(|Version(version)| version);
    let op = Op::PutRule(PutRule { rule: id, expected, document: Document(document) });
    let decided = deciding.decide(op).await?;
    Ok(Json(RuleAnswer { decided, doubtful: doubtful.iter().take(MAX_FAULTS).map(fault).collect() }))
}

/// Remove an alert rule
///
/// Alerts that it raised end. A rule that others are made of is not removed.
#[utoipa::path(
    delete, path = "/api/v1/kelly/alerts/rules/{rule}", tag = "alerts", operation_id = "delete_alert_rule",
    params(DeleteParameters, IdempotencyKey),
    responses((status = 200, description = "It is decided.", body = RuleAnswer), RuleProblems)
)]
pub(crate) async fn delete(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<DeleteParameters>,
    request: Request,
) -> Result<Json<RuleAnswer>, Problem> {
    let DeleteParameters { rule: InPath(RuleName(id)), expected } = asked;
    let deciding = Deciding::of(&shared, &caller, request.headers())?;
    let (rules, removed) = read(&*shared.app.decisions, |state| {
        let removed =
            state.rules().get(&id).and_then(|rule| serde_json::from_str::<Rule>(&rule.document).ok());
        (others(state.rules(), &id), removed)
    })?;
    if let Some(removed) = removed {
        // A built-in rule of its id takes its place.
        let builtin = builtin::rules(None).unwrap_or_default().into_iter().find(|rule| rule.id == id);
        let before = faults_with(&rules, Some(&removed));
        let mut after = faults_with(&rules, builtin.as_ref());
        after.retain(|fault| fault.gravity == Gravity::Wrong && !before.contains(fault));
        if !after.is_empty() {
            return Err(refused("The rule cannot be removed: others need it", &after));
        }
    }
    let expected = expected.map(|Offset(version)| version);
    let op = Op::DeleteRule(DeleteRule { rule: id, expected });
    Ok(Json(RuleAnswer { decided: deciding.decide(op).await?, doubtful: Vec::new() }))
}

fn parse(id: &str, mut rule: serde_json::Map<String, Value>) -> Result<Rule, Problem> {
    rule.entry("id").or_insert_with(|| id.into());
    let rule: Rule = serde_json::from_value(rule.into()).map_err(|error| {
        // A rule is no secret, and without the name of its field nobody finds what is wrong.
        let fault = RuleFault {
            rule: id.to_owned(),
            field: String::new(),
            problem: error_chain(&error),
            fix: "`kelly rules schema` prints what a rule may have".to_owned(),
        };
        Problem::new(
            Code::RuleRefused,
            format!("The rule is refused: {}. Nothing was changed.", fault.problem),
        )
        .with_errors(vec![Fault::Rule(fault)], None)
    })?;
    if rule.id != id {
        let fault = RuleFault {
            rule: id.to_owned(),
            field: "id".to_owned(),
            problem: "it is another one than in the path".to_owned(),
            fix: "leave it out, or use the same".to_owned(),
        };
        return Err(Problem::new(
            Code::RuleRefused,
            "The rule is refused: its `id` is another one than in the path. Nothing was changed.",
        )
        .with_errors(vec![Fault::Rule(fault)], None));
    }
    Ok(rule)
}

/// Every other rule that it can be together with: those of the API, and built-in ones that none of the API takes the place of.
fn others(rules: &Rules, id: &str) -> Vec<Rule> {
    let mut others: Vec<Rule> = rules
        .iter()
        .filter(|(other, _)| *other != id)
        .filter_map(|(_, rule)| serde_json::from_str(&rule.document).ok())
        .collect();
    for rule in builtin::rules(None).unwrap_or_default() {
        if rule.id != id && rules.get(&rule.id).is_none() {
            others.push(rule);
        }
    }
    others
}

fn faults_with(others: &[Rule], rule: Option<&Rule>) -> Vec<RuleProblem> {
    let all: Vec<Rule> = others.iter().chain(rule).cloned().collect();
    check(&all)
}

/// What is wrong with this rule among the others that is not wrong without it.
fn new_faults(others: &[Rule], rule: Option<&Rule>) -> Vec<RuleProblem> {
    let before = check(others);
    let mut after = faults_with(others, rule);
    after.retain(|fault| !before.contains(fault));
    after
}

fn fault(found: &RuleProblem) -> RuleFault {
    let RuleProblem { rule, field, problem, fix, .. } = found.clone();
    RuleFault { rule, field, problem, fix }
}

fn refused(what: &str, wrong: &[RuleProblem]) -> Problem {
    let first = wrong.first().map(ToString::to_string).unwrap_or_default();
    let errors = wrong.iter().take(MAX_FAULTS).map(|found| Fault::Rule(fault(found))).collect();
    Problem::new(Code::RuleRefused, format!("{what}: {first}. Nothing was changed."))
        .with_errors(errors, Some(wrong.len() as u64))
}
