//! From layers of rules to one set. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kelly_alerts::rule::Fault;
use kelly_alerts::{Rule, RuleSet};

/// Faults of one file that are said; there may be thousands.
const FAULTS_SAID: usize = 5;

/// How the alerts about thresholds, files and rules of the API begin: who stops one of these knows that it is of this kind.
pub(crate) const THRESHOLDS: &str = "KELLY_ALERT_THRESHOLDS_CONFIG";
const FILE: &str = "rule file ";
const API: &str = "rule of the API ";

/// Where a rule comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// It is built in, or follows from the operator's thresholds.
    Builtin,
    /// A file.
    File(String),
    /// It was made over the API.
    Api,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("built in"),
            Self::File(path) => f.write_str(path),
            Self::Api => f.write_str("API"),
        }
    }
}

/// A rule and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Sourced {
    /// The rule.
    pub rule: Rule,
    /// From where.
    pub origin: Origin,
}

/// Something about rules that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about: the name of its configuration alert.
    pub what: String,
    /// What is wrong, and what is in force meanwhile.
    pub problem: String,
}

/// The rules that are judged by, and what is wrong about others.
#[derive(Debug, Clone)]
pub struct InForce {
    /// What the engine takes.
    pub set: RuleSet,
    /// The same with their origins, by name.
    pub rules: Vec<Sourced>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl InForce {
    /// Whether a configuration alert of this name is about what stands here, and so ends when it no longer does.
    pub(crate) fn tells_of(what: &str) -> bool {
        what == THRESHOLDS || what.starts_with(FILE) || what.starts_with(API)
    }
}

/// Rules that are good or bad together.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) rules: Vec<Rule>,
    /// Those of before, for a file whose rules turn out to be wrong.
    pub(super) before: Option<Vec<Rule>>,
}

/// The name of the alert about a file.
pub(super) fn file_alert(path: &str) -> String {
    format!("{FILE}{path}")
}

/// The name of the alert about a rule of the API.
pub(super) fn api_alert(rule: &str) -> String {
    format!("{API}`{rule}`")
}

/// Puts layers over each other, later ones over earlier ones, until what is left can be used. Returns the layers as they count.
pub(super) fn merge(mut layers: Vec<Layer>, mut problems: Vec<Problem>) -> (InForce, Vec<Layer>) {
    loop {
        let mut by_name: BTreeMap<&str, (&Rule, &Origin)> = BTreeMap::new();
        let mut twice: BTreeMap<Origin, Vec<String>> = BTreeMap::new();
        for layer in &layers {
            let mut seen = BTreeSet::new();
            for rule in &layer.rules {
                if !seen.insert(rule.id.as_str()) {
                    let words = format!("rule `{}` is there more than once", rule.id);
                    twice.entry(layer.origin.clone()).or_default().push(words);
                }
                by_name.insert(&rule.id, (rule, &layer.origin));
            }
        }
        let rules: Vec<Rule> = by_name.values().map(|(rule, _)| (*rule).clone()).collect();
        let faults = match RuleSet::new(&rules) {
            Ok(set) if twice.is_empty() => {
                let sourced = by_name
                    .into_values()
                    .map(|(rule, origin)| Sourced { rule: rule.clone(), origin: origin.clone() })
                    .collect();
                return (InForce { set, rules: sourced, problems }, layers);
            }
            Ok(_) => Vec::new(),
            Err(faults) => faults,
        };
        let origin_of = |fault: &Fault| by_name.get(fault.rule.as_str()).map(|(_, origin)| (*origin).clone());
        let mut bad: BTreeMap<Origin, Vec<String>> = twice;
        let mut bad_rules: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for fault in &faults {
            match origin_of(fault) {
                Some(Origin::Api) => {
                    bad_rules.entry(fault.rule.clone()).or_default().push(fault.to_string());
                }
                // A rule without a name, or too many rules: nobody knows whose. The last file is it.
                origin => {
                    let last = || layers.last().map_or(Origin::Builtin, |layer| layer.origin.clone());
                    bad.entry(origin.unwrap_or_else(last)).or_default().push(fault.to_string());
                }
            }
        }
        let before = layers.iter().map(|layer| layer.rules.len()).sum::<usize>();
        let mut changed = false;
        for layer in &mut layers {
            if layer.origin == Origin::Api {
                layer.rules.retain(|rule| !bad_rules.contains_key(&rule.id));
                continue;
            }
            let Some(words) = bad.get(&layer.origin) else { continue };
            let older = layer.before.take().filter(|older| *older != layer.rules);
            let meanwhile = match &older {
                Some(_) => "its rules of before stay in force",
                None => "none of its rules is in force",
            };
            layer.rules = older.unwrap_or_default();
            changed = true;
            let Origin::File(path) = &layer.origin else { continue };
            problems
                .push(Problem { what: file_alert(path), problem: format!("{}; {meanwhile}", said(words)) });
        }
        problems.extend(bad_rules.iter().map(|(rule, words)| Problem {
            what: api_alert(rule),
            problem: format!("{}; it is not in force", said(words)),
        }));
        let after = layers.iter().map(|layer| layer.rules.len()).sum::<usize>();
        if !changed && after == before {
            // Nothing that could be left out is wrong: a defect. Rather the built-in rules than none.
            layers.retain(|layer| layer.origin == Origin::Builtin);
            problems.push(Problem {
                what: file_alert("(all)"),
                problem: format!("{}; only built-in rules are in force", said(&texts(&faults))),
            });
            if layers.is_empty() || after == 0 {
                let set = RuleSet::new(&[]).unwrap_or_default();
                return (InForce { set, rules: Vec::new(), problems }, layers);
            }
        }
        // One alert for each thing, with what was found last.
        let mut seen = BTreeSet::new();
        problems.reverse();
        problems.retain(|problem| seen.insert(problem.what.clone()));
        problems.reverse();
    }
}

fn texts(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

fn said(words: &[String]) -> String {
    let mut said = words.iter().take(FAULTS_SAID).map(String::as_str).collect::<Vec<_>>().join("; ");
    if words.len() > FAULTS_SAID {
        said.push_str(&format!("; and {} more", words.len() - FAULTS_SAID));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<Rule> {
        kelly_alerts::rule::parse_toml(text).expect(text).rules
    }

    fn rule(id: &str, warning: f64) -> String {
        format!("[[rule]]\nid = \"{id}\"\nmetric = \"m\"\ndirection = \"above\"\nwarning = {warning:?}\n")
    }

    fn composite(id: &str, when: &str) -> String {
        format!("[[rule]]\nid = \"{id}\"\nkind = \"composite\"\nwhen = \"{when}\"\nseverity = \"critical\"\n")
    }

    fn layer(origin: Origin, text: &str, before: Option<&str>) -> Layer {
        Layer { origin, rules: rules(text), before: before.map(rules) }
    }

    fn file(name: &str, text: &str, before: Option<&str>) -> Layer {
        layer(Origin::File(name.into()), text, before)
    }

    fn in_force(in_force: &InForce) -> Vec<(&str, Option<f64>)> {
        in_force.rules.iter().map(|one| (one.rule.id.as_str(), one.rule.warning)).collect()
    }

    #[test]
    fn later_layers_come_before_earlier_ones() {
        let layers = vec![
            layer(Origin::Builtin, &(rule("a", 1.0) + &rule("b", 1.0)), None),
            file("f", &(rule("b", 2.0) + &rule("c", 2.0)), None),
            layer(Origin::Api, &rule("c", 3.0), None),
        ];
        let (merged, _) = merge(layers, Vec::new());
        assert_eq!(in_force(&merged), [("a", Some(1.0)), ("b", Some(2.0)), ("c", Some(3.0))]);
        assert_eq!(merged.problems, []);
        assert_eq!(merged.rules[2].origin, Origin::Api);
    }

    #[test]
    fn a_wrong_file_leaves_its_rules_of_before_in_force_and_says_so() {
        let wrong = composite("x", "a and nobody");
        let before = rule("x", 5.0);
        let layers = vec![layer(Origin::Builtin, &rule("a", 1.0), None), file("f", &wrong, Some(&before))];
        let (merged, layers) = merge(layers, Vec::new());
        assert_eq!(in_force(&merged), [("a", Some(1.0)), ("x", Some(5.0))]);
        assert_eq!(layers[1].rules, rules(&before));
        let [problem] = &*merged.problems else { panic!("{:?}", merged.problems) };
        assert_eq!(problem.what, "rule file f");
        assert!(problem.problem.contains("nobody") && problem.problem.contains("of before"), "{problem:?}");
        assert!(InForce::tells_of(&problem.what));

        let layers = vec![layer(Origin::Builtin, &rule("a", 1.0), None), file("f", &wrong, None)];
        let (merged, _) = merge(layers, Vec::new());
        assert_eq!(in_force(&merged), [("a", Some(1.0))]);
        assert!(merged.problems[0].problem.contains("none of its rules"));
    }

    #[test]
    fn a_rule_that_is_there_twice_is_wrong() {
        let twice = rule("x", 1.0) + &rule("x", 2.0);
        let (merged, _) = merge(vec![file("f", &twice, None)], Vec::new());
        assert!(merged.rules.is_empty());
        assert!(merged.problems[0].problem.contains("more than once"));
    }

    #[test]
    fn rules_of_the_api_are_left_out_one_by_one_with_those_that_need_them() {
        let api = rule("good", 1.0) + &composite("bad", "gone") + &composite("needs", "bad and good");
        let layers = vec![layer(Origin::Builtin, &rule("a", 1.0), None), layer(Origin::Api, &api, None)];
        let (merged, _) = merge(layers, Vec::new());
        assert_eq!(in_force(&merged), [("a", Some(1.0)), ("good", Some(1.0))]);
        let what: Vec<&str> = merged.problems.iter().map(|problem| problem.what.as_str()).collect();
        assert_eq!(what, ["rule of the API `bad`", "rule of the API `needs`"]);
    }

    #[test]
    fn a_file_that_needs_another_ones_rule_is_wrong_once_that_is_gone() {
        let layers = vec![file("f", &composite("x", "gone"), None), file("g", &composite("y", "x"), None)];
        let (merged, _) = merge(layers, Vec::new());
        assert!(merged.rules.is_empty());
        assert_eq!(merged.problems.len(), 2);
    }
}
