//! Everything that is wrong with a set of rules: each by itself, and what they say of each other.

use std::collections::{BTreeMap, BTreeSet};

use super::compile::compile;
use super::compiled::{Compiled, Source};
use super::data::{Rule, Scope};
use super::fault::{Fault, Faults, Gravity};
use super::own::OWN_PREFIX;

/// Rules at most: every row is looked up among those of its metric.
pub const MOST_RULES: usize = 10_000;

/// Rules that hold each other back or consist of each other, one after the other, at most.
const DEEPEST: usize = 16;

/// More rules in one condition than this are not tried in every combination.
const TRIED_PARTS: usize = 12;

/// Everything that is wrong with the rules; empty where nothing is.
#[must_use]
pub fn check(rules: &[Rule]) -> Vec<Fault> {
    check_all(rules).1
}

/// The rules that can be used, in their order, and the faults. As soon as one fault is wrong, they are not all of them.
pub(super) fn check_all(rules: &[Rule]) -> (Vec<Compiled>, Vec<Fault>) {
    let mut compiled = Vec::with_capacity(rules.len());
    let mut faults = Vec::new();
    let mut seen = BTreeMap::new();
    if rules.len() > MOST_RULES {
        let mut fault = Faults::of("*".to_owned());
        fault.wrong("rule", format!("there are {} rules", rules.len()), format!("{MOST_RULES} are allowed"));
        return (Vec::new(), fault.into_found());
    }
    for (rule, number) in rules.iter().zip(1..) {
        let name = if rule.id.is_empty() { format!("#{number}") } else { rule.id.clone() };
        let (usable, found) = compile(rule, &name);
        faults.extend(found);
        compiled.extend(usable);
        let mut about = Faults::of(name);
        if let Some(first) = seen.insert(rule.id.as_str(), number)
            && !rule.id.is_empty()
        {
            about.wrong("id", format!("rule #{first} has it too"), "give each rule a name of its own");
        }
        if rule.id.starts_with(OWN_PREFIX) {
            about.wrong("id", "names that begin with `kelly.` are the engine's own", "take another name");
        }
        faults.extend(about.into_found());
    }
    let by_id: BTreeMap<&str, &Rule> = rules.iter().map(|rule| (rule.id.as_str(), rule)).collect();
    for rule in &compiled {
        let mut about = Faults::of(rule.rule.id.clone());
        parts(rule, &by_id, &mut about);
        causes(rule, &by_id, &mut about);
        faults.extend(about.into_found());
    }
    for id in circles(&compiled) {
        let mut about = Faults::of(id);
        about.wrong(
            "when",
            "through `when` and `inhibited_by` it depends on itself, or on too many rules after one another",
            "remove one of the references",
        );
        faults.extend(about.into_found());
    }
    twins(&compiled, &mut faults);
    (compiled, faults)
}

fn parts(rule: &Compiled, by_id: &BTreeMap<&str, &Rule>, faults: &mut Faults) {
    let Source::Composite(expression) = &rule.source else { return };
    let parts = expression.rules();
    for part in &parts {
        match by_id.get(part) {
            None => faults.wrong("when", format!("there is no rule `{part}`"), "name a rule of the same set"),
            Some(other) if other.scope != rule.scope && other.scope != Scope::Global => faults.wrong(
                "scope",
                format!("it differs from that of `{part}`, so they are never about the same entity"),
                "give both the same scope",
            ),
            Some(_) => {}
        }
    }
    if expression.holds(&mut |_| false) {
        faults.wrong(
            "when",
            "it holds when no rule fires, so it would always fire",
            "name a rule that must fire",
        );
        return;
    }
    let names: Vec<&str> = parts.into_iter().collect();
    if names.len() <= TRIED_PARTS {
        let ever = (0u32..1 << names.len()).any(|firing| {
            expression.holds(&mut |id| {
                names.iter().position(|name| *name == id).is_some_and(|bit| firing >> bit & 1 == 1)
            })
        });
        if !ever {
            faults.wrong(
                "when",
                "it contradicts itself, so it would never fire",
                "look for a rule and its `not`",
            );
        }
    }
}

fn causes(rule: &Compiled, by_id: &BTreeMap<&str, &Rule>, faults: &mut Faults) {
    for cause in &rule.rule.inhibited_by {
        match by_id.get(cause.as_str()) {
            None => faults.wrong(
                "inhibited_by",
                format!("there is no rule `{cause}`"),
                "name a rule of the same set",
            ),
            Some(other) if other.scope != rule.scope && other.scope != Scope::Global => faults.wrong(
                "inhibited_by",
                format!(
                    "the scope of `{cause}` is another one, so it never holds an alert of this rule back"
                ),
                "name a rule of the same scope, or of the global one",
            ),
            Some(_) => {}
        }
    }
}

/// Rules that depend on themselves.
fn circles(rules: &[Compiled]) -> Vec<String> {
    let edges: BTreeMap<&str, BTreeSet<&str>> = rules
        .iter()
        .map(|rule| {
            let mut on: BTreeSet<&str> = rule.rule.inhibited_by.iter().map(String::as_str).collect();
            if let Source::Composite(expression) = &rule.source {
                on.extend(expression.rules());
            }
            (rule.rule.id.as_str(), on)
        })
        .collect();
    // Round by round those whose references are all settled are settled: what is left after the last round is in a circle,
    // behind one, or too deep.
    let mut open: BTreeSet<&str> = edges.keys().copied().collect();
    for _ in 0..DEEPEST {
        let still: BTreeSet<&str> =
            open.iter().copied().filter(|id| edges[id].iter().any(|on| open.contains(on))).collect();
        if still.len() == open.len() {
            break;
        }
        open = still;
    }
    open.into_iter().map(str::to_owned).collect()
}

/// Two rules that do the same tell of everything twice.
fn twins(rules: &[Compiled], faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for rule in rules {
        let Compiled { source, judge, timing, filter, scope, .. } = rule;
        let does = format!("{:?} {source:?} {judge:?} {timing:?} {filter:?} {scope:?}", rule.rule.metric);
        if let Some(first) = seen.insert(does, &rule.rule.id) {
            faults.push(Fault {
                rule: rule.rule.id.clone(),
                field: "metric".to_owned(),
                problem: format!("it does the same as `{first}`"),
                fix: "keep one of them".to_owned(),
                gravity: Gravity::Doubtful,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::parse_toml;
    use super::*;

    /// The faults of rules, each as `field: problem`.
    fn faults(toml: &str) -> Vec<String> {
        let file = parse_toml(toml).expect(toml);
        check(&file.rules).into_iter().map(|fault| format!("{}: {}", fault.field, fault.problem)).collect()
    }

    fn is_wrong(rule: &str, expected: &str) {
        let found = faults(&format!("[[rule]]\nid = 'r'\n{rule}"));
        assert!(found.iter().any(|fault| fault.contains(expected)), "{rule}: {found:?}");
    }

    const GOOD: &str = "metric = 'response_time'\nscope = 'account'\nwindow = '5m'\naggregation = 'p95'\ndirection = 'above'\n\
        warning = 2000\ncritical = 5000\nhysteresis = 100\nfor = '1m'\nkeep_firing_for = '2m'\nmute_for = '30m'\n\
        no_data = { policy = 'alert', for = '10m', severity = 'critical' }\nlate = '30s'\nmin_samples = 5\n\
        schedule = { days = ['mon'], from = '08:00', until = '18:00', utc_offset = '+02:00' }\nlabels = { team = 'ai' }\n\
        runbook = 'https://wiki/slow'\nmax_entities = 500";

    #[test]
    fn good_rules_have_no_faults() {
        for rule in [
            GOOD,
            "metric = 'm'\nwarning = 1\ncritical = 2",
            "metric = 'ai_confidence'\nwarning = 0.5",
            "metric = 'm'\nkind = 'no_data'\nscope = 'account'\nfor = '10m'\nseverity = 'critical'",
            "metric = 'm'\nkind = 'change'\nwindow = '5m'\nover = '1h'\nchange = 'percent'\ndirection = 'below'\nwarning = -30",
            "metric = 'errors'\nkind = 'burn_rate'\nscope = 'global'\nslo = { objective = 0.999, total = 'messages' }",
            "metric = 'm'\nkind = 'burn_rate'\nslo = { objective = 0.9, bad_above = 2000, pairs = [{ long = '1h', short = '5m', factor = 5, severity = 'warning' }] }",
            "metric = 'm'\nkind = 'anomaly'\ndirection = 'above'",
            "metric = 'm'\nwindow = '10m'\naggregation = 'count'\nscope = 'global'\ndirection = 'below'\nwarning = 1",
        ] {
            assert_eq!(faults(&format!("[[rule]]\nid = 'r'\n{rule}")), Vec::<String>::new(), "{rule}");
        }
    }

    #[test]
    fn each_contradiction_is_found() {
        for (rule, expected) in [
            ("", "metric: it is missing"),
            ("metric = 'a b'\nwarning = 1\ndirection = 'above'", "metric: no metric can be called"),
            ("metric = 'm'", "warning: neither"),
            ("metric = 'm'\nwarning = 1", "direction: nobody knows"),
            ("metric = 'm'\nwarning = 2\ncritical = 1\ndirection = 'above'", "critical: more is worse"),
            ("metric = 'm'\nwarning = 1\ncritical = 2\ndirection = 'below'", "critical: less is worse"),
            ("metric = 'm'\nwarning = 1\ncritical = 1\ndirection = 'below'", "warning: it equals"),
            ("metric = 'm'\nwarning = nan\ndirection = 'above'", "warning: no value"),
            ("metric = 'm'\ncritical = inf\ndirection = 'above'", "critical: no value"),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nhysteresis = -1",
                "hysteresis: it is no distance",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\naggregation = 'avg'",
                "window: this aggregation needs",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nwindow = '10ms'",
                "window: 10ms is out of bounds",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nwindow = '91d'",
                "window: 91d is out of bounds",
            ),
            ("metric = 'm'\nwarning = 1\ndirection = 'above'\nfor = '31d'", "for: 31d is too long"),
            ("metric = 'm'\nwarning = 1\ndirection = 'above'\nlate = '2d'", "late: 2d is too long"),
            ("metric = 'm'\nwarning = 1\ndirection = 'above'\nmin_samples = 0", "min_samples: nothing"),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nmin_samples = 3",
                "min_samples: the newest value",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nover = '1h'",
                "over: a rule of the kind `threshold`",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nseverity = 'critical'",
                "severity: a rule of the kind",
            ),
            ("metric = 'm'\nwarning = 1\ndirection = 'above'\nrunbook = 'wiki'", "runbook: it is no link"),
            ("metric = 'm'\nwarning = 1\ndirection = 'above'\nmax_entities = 0", "max_entities: it is out"),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nlabels = { 'a b' = 'x' }",
                "labels.a b: this is no name",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nfilter = { region = 'x' }",
                "filter.region: no row has",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nfilter = { account_id = [] }",
                "filter.account_id: it has 0",
            ),
            ("metric = 'm'\nwarning = 1\ndirection = 'above'\nfilter = { account_id = 7 }", "always a text"),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nscope = 'conversation'\nno_data = { policy = 'alert' }",
                "no_data.policy: a conversation",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nno_data = { policy = 'keep', for = '1h' }",
                "no_data.for: with the policy",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nno_data = { policy = 'resolve', severity = 'warning' }",
                "no_data.severity: only",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nno_data = { policy = 'resolve', for = '1ms' }",
                "no_data.for: 1ms is too short",
            ),
            (
                "metric = 'm'\nwarning = 1\ndirection = 'above'\nschedule = { from = '8', until = '18:00' }",
                "schedule.from: `8`",
            ),
            ("metric = 'm'\nwarning = 1\ndirection = 'above'\nversion = 0", "version: versions count"),
            (
                "metric = 'm'\nwindow = '5m'\naggregation = 'count'\ndirection = 'above'\nwarning = -1",
                "warning: a count is never less, so it would always",
            ),
            (
                "metric = 'm'\nwindow = '5m'\naggregation = 'count'\nscope = 'global'\ndirection = 'below'\nwarning = 0",
                "warning: a count is never less, so it would never",
            ),
            (
                "metric = 'm'\nwindow = '5m'\naggregation = 'sum'\nscope = 'conversation'\ndirection = 'below'\nwarning = 5",
                "scope: every conversation ends",
            ),
            (
                "metric = 'm'\nwindow = '5m'\naggregation = 'count'\nmin_samples = 2\ndirection = 'above'\nwarning = 5",
                "min_samples: the count",
            ),
            ("metric = 'ai_confidence'\nwarning = 60", "warning: values of this metric run from 0 to 1"),
            ("metric = 'm'\nkind = 'no_data'\nscope = 'account'", "for: it is missing"),
            (
                "metric = 'm'\nkind = 'no_data'\nscope = 'conversation'\nfor = '5m'",
                "scope: a conversation that ended",
            ),
            (
                "metric = 'm'\nkind = 'no_data'\nfor = '5m'\nwarning = 1",
                "warning: a rule of the kind `no_data`",
            ),
            (
                "metric = 'm'\nkind = 'change'\nwindow = '5m'\ndirection = 'above'\nwarning = 1",
                "over: it is missing",
            ),
            (
                "metric = 'm'\nkind = 'change'\nover = '1h'\ndirection = 'above'\nwarning = 1",
                "window: it is missing",
            ),
            (
                "metric = 'm'\nkind = 'change'\nwindow = '1m'\nover = '2h'\ndirection = 'above'\nwarning = 1",
                "over: 2h does not fit",
            ),
            (
                "metric = 'm'\nkind = 'change'\nwindow = '1m'\nover = '5m'\naggregation = 'p99'\ndirection = 'above'\nwarning = 1",
                "aggregation: changes of percentiles",
            ),
            ("metric = 'm'\nkind = 'burn_rate'", "slo: it is missing"),
            (
                "metric = 'm'\nkind = 'burn_rate'\nslo = { objective = 1.0, total = 't' }",
                "slo.objective: 1 leaves",
            ),
            ("metric = 'm'\nkind = 'burn_rate'\nslo = { objective = 0.9 }", "slo: nobody knows what failed"),
            (
                "metric = 'm'\nkind = 'burn_rate'\nslo = { objective = 0.9, total = 'm' }",
                "slo.total: it is the metric",
            ),
            (
                "metric = 'm'\nkind = 'burn_rate'\nslo = { objective = 0.9, total = 't', pairs = [{ long = '1h', short = '5m', factor = 14.4, severity = 'critical' }] }",
                "slo.pairs.1: it can never burn",
            ),
            (
                "metric = 'm'\nkind = 'burn_rate'\nslo = { objective = 0.9, total = 't', pairs = [{ long = '5m', short = '5m', factor = 2, severity = 'critical' }] }",
                "slo.pairs.1: 5m within 5m",
            ),
            ("metric = 'm'\nkind = 'anomaly'\nwarning = 0", "warning: every value surprises"),
            ("metric = 'm'\nkind = 'anomaly'\nwarning = 9\ncritical = 5", "critical: it comes before"),
            ("kind = 'composite'", "when: it is missing"),
            ("kind = 'composite'\nwhen = 'a and'", "when: a rule is missing"),
            ("kind = 'composite'\nwhen = 'nobody'", "when: there is no rule `nobody`"),
            ("kind = 'composite'\nmetric = 'm'\nwhen = 'r'", "metric: a composite watches rules"),
            ("kind = 'composite'\nwhen = 'r'", "when: through"),
        ] {
            is_wrong(rule, expected);
        }
    }

    #[test]
    fn contradictions_between_rules_are_found() {
        let base = "[[rule]]\nid='a'\nmetric='m'\nwarning=1\ndirection='above'\n[[rule]]\nid='b'\nmetric='m'\nscope='account'\nwarning=2\ndirection='above'\n";
        for (more, expected) in [
            ("[[rule]]\nid='a'\nmetric='x'\nwarning=1\ndirection='above'", "id: rule #1 has it too"),
            ("[[rule]]\nid='c'\nkind='composite'\nwhen='a and b'", "scope: it differs from that of `b`"),
            ("[[rule]]\nid='c'\nkind='composite'\nwhen='not a'", "when: it holds when no rule fires"),
            ("[[rule]]\nid='c'\nkind='composite'\nwhen='a and not a'", "when: it contradicts itself"),
            (
                "[[rule]]\nid='c'\nmetric='x'\nwarning=1\ndirection='above'\ninhibited_by=['b']",
                "inhibited_by: the scope of `b`",
            ),
            (
                "[[rule]]\nid='c'\nmetric='x'\nwarning=1\ndirection='above'\ninhibited_by=['z']",
                "inhibited_by: there is no rule",
            ),
            (
                "[[rule]]\nid='c'\nmetric='x'\nwarning=1\ndirection='above'\ninhibited_by=['c']",
                "when: through",
            ),
            (
                "[[rule]]\nid='c'\nkind='composite'\nwhen='a or d'\n[[rule]]\nid='d'\nkind='composite'\nwhen='a or c'",
                "when: through",
            ),
            ("[[rule]]\nid='c'\nmetric='m'\nwarning=1\ndirection='above'", "metric: it does the same as `a`"),
            ("[[rule]]\nid='kelly.mine'\nmetric='q'\nwarning=1\ndirection='above'", "id: names that begin"),
            ("[[rule]]\nid='and'\nmetric='q'\nwarning=1\ndirection='above'", "id: composite rules use"),
        ] {
            let found = faults(&format!("{base}{more}"));
            assert!(found.iter().any(|fault| fault.contains(expected)), "{more}: {found:?}");
        }
        assert_eq!(faults(base), Vec::<String>::new());
    }
}
