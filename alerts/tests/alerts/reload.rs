//! Other rules while the engine runs.

use crate::history::{BEGIN_MS, History, ROW, Values, rule, rules};

const FIELDS: &str = "metric = 'm'\nscope = 'account'\ndirection = 'above'";

#[test]
fn another_threshold_goes_on_with_what_is_known() {
    let mut history = History::of(rule(&format!("{FIELDS}\nwarning = 10")));
    history.rows(&[(1.0, 15.0)]);
    history.engine.replace_rules(
        rule(&format!("version = 2\n{FIELDS}\nwarning = 12\ncritical = 14")),
        BEGIN_MS + 2_000,
        &mut history.said,
    );
    assert_eq!(history.said[0].alert, history.said[1].alert, "it is the same alert");
    assert_eq!(history.take(), ["1 raised warning", "1 worsened critical"]);
    history.engine.replace_rules(
        rule(&format!("version = 3\n{FIELDS}\nwarning = 20")),
        BEGIN_MS + 3_000,
        &mut history.said,
    );
    let said = history.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("resolved"), "{said:?}");
}

#[test]
fn a_rule_that_watches_something_else_or_is_gone_ends_its_alerts() {
    for (after, expected) in [
        (
            rule(
                "metric = 'm'\nscope = 'account'\naggregation = 'avg'\nwindow = '1m'\ndirection = 'above'\nwarning = 10",
            ),
            "RuleChanged",
        ),
        (rules(""), "RuleRemoved"),
    ] {
        let mut history = History::of(rule(&format!("{FIELDS}\nwarning = 10")));
        history.rows(&[(1.0, 15.0)]);
        history.row(1.0, 5.0, Values { account: "other", ..ROW });
        let _ = history.engine.take_changed();
        history.engine.replace_rules(after.clone(), BEGIN_MS + 2_000, &mut history.said);
        assert_eq!(history.take(), ["1 raised warning".to_owned(), format!("1 ended {expected} warning")]);
        let stored = history.engine.take_changed();
        assert!(stored.len() == 2 && stored.iter().all(|(_, state)| state.is_none()), "{stored:?}");
    }
}

#[test]
fn a_stored_state_whose_rule_changed_ends_its_alert() {
    let mut history = History::of(rule(&format!("{FIELDS}\nwarning = 10")));
    history.rows(&[(1.0, 15.0)]);
    let stored = history.engine.take_changed();
    let _ = history.take();
    let mut later = History::of(rules(""));
    for (key, state) in stored {
        later.engine.restore(key, &state.expect("it is there"), &mut later.said).expect("it can be read");
    }
    assert_eq!(later.take(), ["1 ended RuleRemoved warning"]);
    assert!(later.engine.take_changed().iter().all(|(_, state)| state.is_none()));
}

#[test]
fn a_damaged_state_is_refused_and_named() {
    let mut history = History::of(rule(&format!("{FIELDS}\nwarning = 10")));
    history.rows(&[(1.0, 15.0)]);
    let (key, state) = history.engine.take_changed().remove(0);
    let state = state.expect("it is there");
    for damaged in [&state[..state.len() / 2], &[9, 9, 9][..], &[]] {
        let fault =
            history.engine.restore(key.clone(), damaged, &mut history.said).expect_err("it is damaged");
        assert!(fault.to_string().contains("`r` for account acme"), "{fault}");
    }
}
