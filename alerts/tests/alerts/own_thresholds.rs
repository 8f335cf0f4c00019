//! Thresholds in the metadata of rows, what is configured wrongly, and the cap on entities.

use kelly_alerts::Cause;

use crate::history::{History, ROW, Values, rule, rules};

const EXAMPLE: Values<'static> = Values {
    metric: "business_conversion_rate",
    account: "",
    metadata: r#"{"threshold_warning": 0.05, "threshold_critical": 0.02}"#,
    ..ROW
};

#[test]
fn a_row_brings_its_own_rule() {
    let mut history = History::of(rules(""));
    for (at_s, value) in [(1.0, 0.06), (2.0, 0.05), (3.0, 0.01), (4.0, 0.08)] {
        history.row(at_s, value, EXAMPLE);
    }
    assert_eq!(
        history.said[0].explanation,
        "business_conversion_rate is 0.05, ≤ 0.05 from its own metadata, by which less is worse"
    );
    assert_eq!(
        (history.said[0].metric.as_str(), history.said[0].threshold),
        ("business_conversion_rate", Some(0.05))
    );
    assert_eq!(history.take(), ["2 raised warning", "3 worsened critical", "4 resolved critical"]);
    history.row(5.0, 0.01, Values { account: "acme", ..EXAMPLE });
    history.row(6.0, 0.01, Values { metric: "another", ..EXAMPLE });
    assert_eq!(
        history.take(),
        ["5 raised critical", "6 raised critical"],
        "each account and each metric by itself"
    );
}

#[test]
fn what_contradicts_itself_is_an_alert_and_never_silence() {
    let mut history = History::of(rules(""));
    let wrong = Values { metadata: r#"{"threshold_warning": "high"}"#, ..EXAMPLE };
    history.row(1.0, 0.5, wrong);
    history.row(2.0, 0.5, wrong);
    assert_eq!(history.said[0].cause, Cause::Configuration);
    assert!(
        history.said[0].explanation.contains("`threshold_warning` must be a number"),
        "{}",
        history.said[0].explanation
    );
    assert_eq!(history.take(), ["1 raised warning"], "once, not with each row");
    history.row(3.0, 0.5, EXAMPLE);
    history.tick(700.0);
    assert_eq!(history.take(), ["603 resolved warning"], "when it was right for ten minutes");
}

#[test]
fn the_cap_on_entities_is_said_out_loud() {
    let mut history = History::of(rule(
        "metric = 'm'\nscope = 'account'\ndirection = 'above'\nwarning = 10\nmax_entities = 2",
    ));
    for account in ["a", "b", "c", "d"] {
        history.row(1.0, 11.0, Values { account, ..ROW });
    }
    let by_rule: Vec<(&str, String)> =
        history.said.iter().map(|said| (said.rule.as_str(), said.entity.to_string())).collect();
    assert_eq!(
        by_rule,
        [
            ("r", "account a".to_owned()),
            ("r", "account b".to_owned()),
            ("kelly.configuration", "rule `r`".to_owned())
        ]
    );
    assert!(history.said[2].explanation.contains("2 entities"), "{}", history.said[2].explanation);
    assert_eq!(history.engine.statistics().over_cap, 2);
}

#[test]
fn more_alerts_than_anybody_can_look_at_are_an_alert() {
    let rules = kelly_alerts::builtin::rules(None).expect("the built-in rules");
    let mut history = History::of(kelly_alerts::RuleSet::new(&rules).expect("they are right"));
    for number in 0..50_i64 {
        let at_ms = crate::history::BEGIN_MS + number * 1_000;
        let metric = kelly_alerts::builtin::raised_row(at_ms);
        let place = Some(kelly_alerts::Place { partition: 0, offset: number, row: 0 });
        history
            .engine
            .record(&kelly_alerts::Record { place, log_time_ms: at_ms, metric: &metric }, &mut history.said);
    }
    assert_eq!(history.said[0].rule, kelly_alerts::builtin::EXCESSIVE_VOLUME);
    assert_eq!(history.take(), ["49 raised warning"]);
}
