//! The rules of a preview: read, checked, and each together with the rules it needs.

use std::collections::{BTreeMap, BTreeSet};

use kelly_alerts::backtest::Budget;
use kelly_alerts::rule::{Fault, RAISED_METRIC, RuleSet, Scalar, Source, Values};
use kelly_alerts::{Rule, rule};
use kelly_auth::Accounts;
use serde_json::Value;

use crate::error::{QueryError, RuleFault};
use crate::range::RangeRequest;

/// Rules of one preview at most. Each is an engine over all rows, and so is the one beside it.
pub const MAX_TRIED_RULES: usize = 20;

/// What is to be tried.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviewRequest {
    /// The accounts that the asker may see.
    pub accounts: Accounts,
    /// The rules, each as the JSON object it is written as.
    pub rules: Vec<Value>,
    /// The ids of those to try; all where there is none. The others may be named by them.
    pub only: Vec<String>,
    /// Over which time.
    pub range: RangeRequest,
    /// What stands beside each.
    pub beside: Beside,
    /// How many alerts there may be, such as `2/week`: a threshold for it is suggested.
    pub budget: Option<String>,
}

/// What stands beside a rule that is tried.
#[derive(Debug, Clone, PartialEq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// The rule of the same id that is in force.
    InForce,
    /// The rule of the same id among these.
    These(Vec<Value>),
}

/// One rule with all that it needs to be judged.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    /// As it was written.
    pub(super) rule: Rule,
    /// It, and the rules it consists of or is held back by.
    pub(super) set: RuleSet,
}

/// A rule that is tried, and the one beside it.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) tried: Tried,
    pub(super) beside: Option<Tried>,
}

/// Which rows rules need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Needs {
    pub(super) metrics: BTreeSet<String>,
    /// `None` for any.
    pub(super) accounts: Option<BTreeSet<String>>,
    /// `None` for any.
    pub(super) conversations: Option<BTreeSet<String>>,
    pub(super) metadata: bool,
}

/// The rules of a request, checked.
pub(super) fn pairs(request: &PreviewRequest, in_force: &[Rule]) -> Result<Vec<Pair>, QueryError> {
    let given = parse(&request.rules)?;
    let ids: Vec<&str> = match &request.only[..] {
        [] => given.iter().map(|rule| rule.id.as_str()).collect(),
        only => only.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = ids.iter().find(|id| !given.iter().any(|rule| rule.id == **id)) {
        return Err(QueryError::bad("only", format!("names `{unknown}`, which is none of `rules`")));
    }
    if ids.is_empty() || ids.len() > MAX_TRIED_RULES {
        let problem = format!(
            "has {} rules to try; try between 1 and {MAX_TRIED_RULES} at once, and name them in `only`",
            ids.len()
        );
        return Err(QueryError::bad("rules", problem));
    }
    let tried = tried(&given, in_force, &ids)?;
    let beside = match &request.beside {
        Beside::Nothing => BTreeMap::new(),
        Beside::InForce => of_those_there(in_force, &[], &ids)?,
        Beside::These(rules) => of_those_there(&parse(rules)?, in_force, &ids)?,
    };
    let mut beside = beside;
    Ok(tried
        .into_iter()
        .map(|tried| {
            let beside = beside.remove(&tried.rule.id);
            Pair { tried, beside }
        })
        .collect())
}

/// A budget as it was written.
pub(super) fn budget(request: &PreviewRequest) -> Result<Option<Budget>, QueryError> {
    let read = request.budget.as_deref().map(str::parse::<Budget>).transpose();
    read.map_err(|error| QueryError::bad("budget", format!("is wrong: {error}")))
}

fn parse(documents: &[Value]) -> Result<Vec<Rule>, QueryError> {
    let mut rules = Vec::with_capacity(documents.len());
    let mut faults = Vec::new();
    for (document, number) in documents.iter().zip(1..) {
        match serde_json::from_value::<Rule>(document.clone()) {
            Ok(rule) => rules.push(rule),
            Err(error) => {
                let id = document.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
                faults.push(RuleFault {
                    rule: id.map_or_else(|| format!("#{number}"), str::to_owned),
                    field: String::new(),
                    problem: error.to_string(),
                    fix: "`kelly rules schema` has every field".to_owned(),
                });
            }
        }
    }
    if faults.is_empty() { Ok(rules) } else { Err(QueryError::RulesRefused(faults)) }
}

fn of_those_there(
    rules: &[Rule],
    others: &[Rule],
    ids: &[&str],
) -> Result<BTreeMap<String, Tried>, QueryError> {
    let there: Vec<&str> = ids.iter().copied().filter(|id| rules.iter().any(|rule| rule.id == *id)).collect();
    let found = tried(rules, others, &there)?;
    Ok(found.into_iter().map(|tried| (tried.rule.id.clone(), tried)).collect())
}

/// Each of these rules with what it needs, which may also be among the others.
fn tried(rules: &[Rule], others: &[Rule], ids: &[&str]) -> Result<Vec<Tried>, QueryError> {
    let more = others.iter().filter(|other| !rules.iter().any(|rule| rule.id == other.id));
    let all: Vec<Rule> = rules.iter().chain(more).cloned().collect();
    let whole = RuleSet::new(&all).map_err(refused)?;
    ids.iter()
        .filter_map(|id| all.iter().find(|rule| rule.id == **id))
        .map(|rule| {
            let mut needed = BTreeSet::new();
            need(&whole, &rule.id, &mut needed);
            if rule.metric.as_deref() == Some(RAISED_METRIC) {
                // What it counts are the alerts of the rules that are tried with it.
                ids.iter().for_each(|id| need(&whole, id, &mut needed));
            }
            let set: Vec<Rule> = all.iter().filter(|rule| needed.contains(&rule.id)).cloned().collect();
            Ok(Tried { rule: rule.clone(), set: RuleSet::new(&set).map_err(refused)? })
        })
        .collect()
}

/// A rule with what it needs of the others.
pub(super) fn with_its_parts(rule: &Rule, others: &[Rule]) -> Result<Tried, QueryError> {
    let found = tried(std::slice::from_ref(rule), others, &[rule.id.as_str()])?.pop();
    found.ok_or(QueryError::NoSuchAlert)
}

/// Rules that are judged together, under the name of the first.
pub(super) fn together(rules: &[Rule]) -> Result<Tried, QueryError> {
    let rule = rules.first().cloned().unwrap_or_default();
    Ok(Tried { rule, set: RuleSet::new(rules).map_err(refused)? })
}

fn need(whole: &RuleSet, id: &str, needed: &mut BTreeSet<String>) {
    let Some(compiled) = whole.get(id).filter(|_| needed.insert(id.to_owned())) else { return };
    if let Source::Composite(expression) = &compiled.source {
        expression.rules().into_iter().for_each(|part| need(whole, part, needed));
    }
    compiled.rule.inhibited_by.iter().for_each(|cause| need(whole, cause, needed));
}

fn refused(faults: Vec<Fault>) -> QueryError {
    let fault = |fault: Fault| RuleFault {
        rule: fault.rule,
        field: fault.field,
        problem: fault.problem,
        fix: fault.fix,
    };
    QueryError::RulesRefused(faults.into_iter().map(fault).collect())
}

impl Pair {
    /// The rule that is tried and the one beside it.
    pub(super) fn each(&self) -> impl Iterator<Item = &Tried> {
        std::iter::once(&self.tried).chain(&self.beside)
    }
}

impl Tried {
    /// The rules that hear rows.
    pub(super) fn heard(&self) -> impl Iterator<Item = &rule::Compiled> {
        self.set
            .rules()
            .iter()
            .map(|compiled| &**compiled)
            .filter(|compiled| compiled.metrics().any(|metric| metric != RAISED_METRIC))
    }
}

/// Which rows these rules need together.
pub(super) fn needs<'t>(tried: impl Iterator<Item = &'t Tried>) -> Needs {
    let mut needs = Needs::default();
    let mut accounts = Some(BTreeSet::new());
    let mut conversations = Some(BTreeSet::new());
    for compiled in tried.flat_map(Tried::heard) {
        needs.metrics.extend(compiled.metrics().filter(|metric| *metric != RAISED_METRIC).map(str::to_owned));
        let rule = &compiled.rule;
        needs.metadata |=
            rule.filter.keys().chain(rule.exclude.keys()).any(|name| name.starts_with("metadata."));
        narrow(&mut accounts, rule.filter.get("account_id"));
        narrow(&mut conversations, rule.filter.get("conversation_id"));
    }
    Needs { accounts, conversations, ..needs }
}

/// Takes the values that one more rule chooses rows by; any, if it does not.
fn narrow(all: &mut Option<BTreeSet<String>>, chosen: Option<&Values>) {
    let Some(chosen) = chosen else { return *all = None };
    if let Some(all) = all {
        all.extend(chosen.all().iter().filter_map(|value| match value {
            Scalar::Text(text) => Some(text.clone()),
            _ => None,
        }));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(rules: Value) -> PreviewRequest {
        PreviewRequest {
            accounts: Accounts::All,
            rules: rules.as_array().unwrap().clone(),
            only: Vec::new(),
            range: RangeRequest::default(),
            beside: Beside::InForce,
            budget: None,
        }
    }

    fn in_force() -> Vec<Rule> {
        kelly_alerts::builtin::rules(None).unwrap()
    }

    fn ids(tried: &Tried) -> Vec<&str> {
        tried
            .set
            .rules()
            .iter()
            .map(|rule| rule.rule.id.as_str())
            .filter(|id| !id.starts_with("kelly."))
            .collect()
    }

    #[test]
    fn a_rule_is_tried_with_what_it_names_and_beside_the_one_in_force() {
        let asked = request(json!([
            {"id": "both", "kind": "composite", "when": "low_ai_confidence and slow", "inhibited_by": ["high_system_load"]},
            {"id": "slow", "metric": "response_time", "direction": "above", "warning": 1},
            {"id": "low_ai_confidence", "metric": "ai_confidence", "direction": "below", "warning": 0.7},
        ]));
        let pairs = pairs(&asked, &in_force()).unwrap();
        assert_eq!(ids(&pairs[0].tried), ["both", "slow", "low_ai_confidence", "high_system_load"]);
        assert_eq!(pairs[0].tried.set.get("low_ai_confidence").unwrap().rule.warning, Some(0.7));
        assert_eq!(ids(&pairs[1].tried), ["slow"]);
        assert!(pairs[0].beside.is_none() && pairs[1].beside.is_none());
        let beside = pairs[2].beside.as_ref().unwrap();
        assert_eq!((ids(beside), beside.rule.warning), (vec!["low_ai_confidence"], Some(0.6)));
        let needs = needs(pairs.iter().flat_map(Pair::each));
        assert_eq!(
            needs.metrics.into_iter().collect::<Vec<_>>(),
            ["ai_confidence", "response_time", "system_load"]
        );
        let only = PreviewRequest { only: vec!["slow".into()], ..asked };
        assert_eq!(super::pairs(&only, &in_force()).unwrap().len(), 1);
    }

    #[test]
    fn rows_are_narrowed_to_what_all_rules_choose() {
        let rule = |filter: Value| json!({"id": "r", "metric": "m", "direction": "above", "warning": 1, "filter": filter});
        let needs_of = |rules: Vec<Value>| {
            needs(pairs(&request(json!(rules)), &[]).unwrap().iter().flat_map(Pair::each))
        };
        let of_two = needs_of(vec![
            rule(json!({"account_id": ["a", "b"], "metadata.region": "eu"})),
            json!({"id": "s", "metric": "m", "direction": "above", "warning": 1, "filter": {"account_id": "c"}}),
        ]);
        assert_eq!(of_two.accounts, Some(["a", "b", "c"].map(str::to_owned).into()));
        assert_eq!((of_two.conversations, of_two.metadata), (None, true));
        let of_any = needs_of(vec![
            rule(json!({"account_id": "a"})),
            json!({"id": "s", "metric": "n", "direction": "above", "warning": 1}),
        ]);
        assert_eq!((of_any.accounts, of_any.metadata), (None, false));
    }

    #[test]
    fn what_is_wrong_with_rules_is_all_said() {
        let refused = |rules: Value| match pairs(&request(rules), &in_force()).unwrap_err() {
            QueryError::RulesRefused(faults) => {
                faults.into_iter().map(|fault| (fault.rule, fault.field)).collect::<Vec<_>>()
            }
            other => panic!("{other}"),
        };
        let fault = |rule: &str, field: &str| (rule.to_owned(), field.to_owned());
        assert_eq!(refused(json!([7, {"id": "x", "metrik": "m"}])), [fault("#1", ""), fault("x", "")]);
        assert_eq!(refused(json!([{"id": "x", "direction": "above", "warning": 1}])), [fault("x", "metric")]);
        assert_eq!(
            refused(json!([{"id": "x", "kind": "composite", "when": "nobody"}])).first(),
            Some(&fault("x", "when"))
        );
        for (asked, parameter) in [
            (request(json!([])), "rules"),
            (PreviewRequest { only: vec!["z".into()], ..request(json!([])) }, "only"),
        ] {
            assert_eq!(pairs(&asked, &[]).unwrap_err().parameter(), Some(parameter));
        }
        let wrong = PreviewRequest { budget: Some("few".into()), ..request(json!([])) };
        assert!(budget(&wrong).unwrap_err().to_string().contains("2/week"));
    }
}
