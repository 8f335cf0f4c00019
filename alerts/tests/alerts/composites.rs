//! Rules of rules, and causes that hold back their effects.

use kelly_alerts::rule::Scope;
use kelly_alerts::{Change, Engine, RuleSet};

use crate::history::{BEGIN_MS, History, ROW, Values, rules};

fn base() -> String {
    ["slow", "errors", "load"]
        .map(|id| {
            let scope = if id == "load" { "global" } else { "account" };
            format!("[[rule]]\nid = '{id}'\nmetric = '{id}'\nscope = '{scope}'\ndirection = 'above'\nwarning = 10\n")
        })
        .join("\n")
}

fn set(more: &str) -> RuleSet {
    rules(&format!("{}\n{more}", base()))
}

impl History {
    fn of_rule(&mut self, rule: &str) -> Vec<String> {
        let said = std::mem::take(&mut self.said);
        said.iter().filter(|said| said.rule == rule).map(crate::history::line).collect()
    }

    fn value(&mut self, at_s: f64, metric: &str, value: f64) {
        self.row(at_s, value, Values { metric, ..ROW });
    }
}

#[test]
fn and_or_not() {
    let mut history = History::of(set(
        "[[rule]]\nid = 'both'\nkind = 'composite'\nscope = 'account'\nwhen = 'slow and errors and not load'\nseverity = 'critical'",
    ));
    history.value(1.0, "slow", 11.0);
    assert_eq!(history.of_rule("both"), [""; 0]);
    history.value(2.0, "errors", 11.0);
    assert_eq!(
        history.said.last().map(|said| said.explanation.as_str()),
        Some("`slow and errors and not load` holds (account acme)")
    );
    assert_eq!(history.of_rule("both"), ["2 raised critical"]);
    history.row(3.0, 11.0, Values { metric: "errors", account: "other", ..ROW });
    assert_eq!(history.of_rule("both"), [""; 0], "another account has its own");
    history.value(4.0, "load", 11.0);
    assert_eq!(
        history.of_rule("both"),
        ["4 resolved critical"],
        "an alert about everything is one about each"
    );
    history.value(5.0, "load", 9.0);
    assert_eq!(history.of_rule("both"), ["5 raised critical"]);
    history.value(6.0, "slow", 9.0);
    assert_eq!(history.of_rule("both"), ["6 resolved critical"]);
}

#[test]
fn a_composite_waits_and_goes_on_as_other_rules_do() {
    let mut history = History::of(set(
        "[[rule]]\nid = 'any'\nkind = 'composite'\nscope = 'account'\nwhen = 'slow or errors'\nfor = '10s'\nkeep_firing_for = '5s'",
    ));
    history.value(1.0, "slow", 11.0);
    history.tick(10.9);
    assert_eq!(history.of_rule("any"), [""; 0]);
    history.tick(11.0);
    assert_eq!(history.of_rule("any"), ["11 raised warning"]);
    history.value(12.0, "slow", 9.0);
    history.tick(16.9);
    assert_eq!(history.of_rule("any"), [""; 0]);
    history.tick(17.0);
    assert_eq!(history.of_rule("any"), ["17 resolved warning"]);
}

#[test]
fn composites_of_composites() {
    let mut history = History::of(set(
        "[[rule]]\nid = 'pair'\nkind = 'composite'\nscope = 'account'\nquiet = true\nwhen = 'slow and errors'\n\
         [[rule]]\nid = 'top'\nkind = 'composite'\nscope = 'account'\nwhen = 'pair and not load'",
    ));
    history.value(1.0, "slow", 11.0);
    history.value(2.0, "errors", 11.0);
    assert!(history.said.iter().any(|said| said.rule == "pair" && said.quiet));
    assert_eq!(history.of_rule("top"), ["2 raised warning"]);
    history.value(3.0, "errors", 9.0);
    assert_eq!(history.of_rule("top"), ["3 resolved warning"]);
}

#[test]
fn a_cause_holds_back_its_effects() {
    let effect = "[[rule]]\nid = 'effect'\nmetric = 'm'\nscope = 'account'\ndirection = 'above'\nwarning = 10\ninhibited_by = ['slow', 'load']";
    for cause in ["slow", "load"] {
        let mut history = History::of(set(effect));
        history.value(1.0, cause, 11.0);
        history.value(2.0, "m", 11.0);
        assert_eq!(history.of_rule("effect"), [""; 0], "{cause} explains it");
        history.value(3.0, cause, 9.0);
        assert_eq!(history.of_rule("effect"), ["2 raised warning"], "without {cause} it is told");
        history.value(4.0, cause, 11.0);
        assert_eq!(history.of_rule("effect"), [""; 0], "what fires already goes on");
    }
    let mut history = History::of(set(effect));
    history.row(1.0, 11.0, Values { metric: "slow", account: "other", ..ROW });
    history.value(2.0, "m", 11.0);
    assert_eq!(history.of_rule("effect"), ["2 raised warning"], "another account's cause is none");
}

#[test]
fn an_alert_of_another_engine_counts_when_it_is_heard() {
    let set = set("[[rule]]\nid = 'both'\nkind = 'composite'\nscope = 'account'\nwhen = 'slow and load'");
    let mut elsewhere = History::of(set.clone());
    elsewhere.engine = Engine::of_scopes(set.clone(), &[Scope::Global]);
    elsewhere.value(0.0, "slow", 11.0);
    assert_eq!(elsewhere.take(), [""; 0], "accounts are the other engine's");
    elsewhere.value(1.0, "load", 11.0);
    elsewhere.value(5.0, "load", 9.0);
    let [raised, resolved] = &elsewhere.said[..] else { panic!("{:?}", elsewhere.said) };
    let mut history = History::of(set.clone());
    history.engine = Engine::of_scopes(set, &[Scope::Series, Scope::Conversation, Scope::Account]);
    history.value(1.5, "load", 11.0);
    assert_eq!(history.take(), [""; 0], "everything is the other engine's");
    history.value(2.0, "slow", 11.0);
    history.engine.hear(raised, BEGIN_MS + 3_000, &mut history.said);
    assert_eq!(history.of_rule("both"), ["3 raised warning"]);
    history.engine.hear(raised, BEGIN_MS + 4_000, &mut history.said);
    history.engine.hear(resolved, BEGIN_MS + 5_000, &mut history.said);
    assert_eq!(history.said.iter().filter(|said| matches!(said.change, Change::Resolved(_))).count(), 1);
}
