//! Each kind of rule: what raises it, what does not, what ends it.

use kelly_alerts::Cause;

use crate::history::{History, ROW, Values, rule};

/// A rule, rows, time that passes then, and what is said.
fn says(fields: &str, rows: &[(f64, f64)], until_s: f64, expected: &[&str]) {
    let mut history = History::of(rule(fields));
    history.rows(rows);
    history.tick(until_s);
    assert_eq!(history.take(), expected, "{fields}");
}

#[test]
fn the_newest_value_in_every_direction() {
    for (direction, at_the_threshold, beyond) in
        [("above", false, 11.0), ("at_least", true, 11.0), ("below", false, 9.0), ("at_most", true, 9.0)]
    {
        let fields = format!("metric = 'm'\ndirection = '{direction}'\nwarning = 10");
        let none: &[&str] = &[];
        let raised: &[&str] = &["1 raised warning"];
        says(&fields, &[(1.0, 10.0)], 2.0, if at_the_threshold { raised } else { none });
        says(&fields, &[(1.0, beyond)], 2.0, raised);
        says(
            &fields,
            &[(1.0, beyond), (2.0, 20.0 - beyond)],
            3.0,
            &["1 raised warning", "2 resolved warning"],
        );
    }
}

#[test]
fn a_warning_becomes_critical_and_a_warning_again() {
    says(
        "metric = 'm'\ndirection = 'above'\nwarning = 10\ncritical = 20",
        &[(1.0, 15.0), (2.0, 25.0), (3.0, 15.0), (4.0, 5.0), (5.0, 25.0), (6.0, 5.0)],
        7.0,
        &[
            "1 raised warning",
            "2 worsened critical",
            "3 improved warning",
            "4 resolved warning",
            "5 raised critical",
            "6 resolved critical",
        ],
    );
}

#[test]
fn aggregations_of_a_window() {
    let rows = [(1.0, 10.0), (2.0, 2.0), (3.0, 6.0)];
    for (aggregation, warning, expected) in [
        ("avg", 9.5, vec!["1 raised warning", "2 resolved warning"]),
        ("max", 9.5, vec!["1 raised warning"]),
        ("min", 9.5, vec!["1 raised warning", "2 resolved warning"]),
        ("sum", 17.5, vec!["3 raised warning"]),
        ("count", 2.5, vec!["3 raised warning"]),
        ("rate", 17.5 / 20.0, vec!["3 raised warning"]),
        ("last", 9.5, vec!["1 raised warning", "2 resolved warning"]),
        ("p50", 5.5, vec!["1 raised warning", "2 resolved warning", "3 raised warning"]),
        ("p95", 9.5, vec!["1 raised warning"]),
        ("p99", 9.5, vec!["1 raised warning"]),
    ] {
        let fields = format!(
            "metric = 'm'\naggregation = '{aggregation}'\nwindow = '20s'\ndirection = 'above'\nwarning = {warning}"
        );
        says(&fields, &rows, 4.0, &expected);
    }
}

#[test]
fn what_leaves_the_window_ends_the_alert_without_a_row() {
    // The row of second 1 leaves at second 21, and a minute is allowed for late ones.
    says(
        "metric = 'm'\naggregation = 'sum'\nwindow = '20s'\ndirection = 'above'\nwarning = 5",
        &[(1.0, 10.0)],
        90.0,
        &["1 raised warning", "21 resolved warning"],
    );
}

#[test]
fn a_window_whose_part_decides_fires_at_once() {
    says(
        "metric = 'm'\naggregation = 'sum'\nwindow = '1h'\ndirection = 'above'\nwarning = 100",
        &[(1.0, 60.0), (1.5, 60.0)],
        2.0,
        &["1.5 raised warning"],
    );
}

#[test]
fn too_little_is_judged_when_the_window_is_over() {
    let fields = "metric = 'm'\nscope = 'global'\naggregation = 'count'\nwindow = '20s'\nlate = '5s'\ndirection = 'below'\nwarning = 2";
    // The first whole window with fewer than two rows is the one that ends at second 22; it is judged five seconds later.
    let mut history = History::of(rule(fields));
    history.rows(&[(1.0, 0.0), (2.0, 0.0)]);
    history.tick(26.9);
    assert_eq!(history.take(), [""; 0]);
    history.tick(27.0);
    assert_eq!(history.take(), ["22 raised warning"]);
    history.rows(&[(30.0, 0.0), (31.0, 0.0)]);
    history.tick(40.0);
    assert_eq!(history.take(), ["32 resolved warning"]);
}

#[test]
fn a_change_against_an_older_window() {
    let fields = |change: &str| {
        format!("metric = 'm'\nkind = 'change'\nwindow = '10s'\nover = '60s'\n{change}\nlate = '1s'")
    };
    let mut rows: Vec<(f64, f64)> = (0..50).map(|second| (f64::from(second), 100.0)).collect();
    rows.push((65.0, 150.0));
    says(
        &fields("direction = 'above'\nwarning = 40\nchange = 'percent'"),
        &rows,
        65.5,
        &["65 raised warning"],
    );
    says(&fields("direction = 'above'\nwarning = 60"), &rows, 65.5, &[]);
    rows[50].1 = 50.0;
    says(&fields("direction = 'below'\nwarning = -40"), &rows, 65.5, &["65 raised warning"]);
    let young = [(0.0, 100.0), (5.0, 500.0)];
    says(&fields("direction = 'above'\nwarning = 1"), &young, 6.0, &[]);
}

#[test]
fn silence_of_an_account_and_of_everything() {
    let fields = "metric = 'm'\nkind = 'no_data'\nscope = 'account'\nfor = '30s'\nseverity = 'critical'";
    let mut history = History::of(rule(fields));
    history.rows(&[(1.0, 0.0), (20.0, 0.0)]);
    history.tick(49.9);
    assert_eq!(history.take(), [""; 0]);
    history.tick(200.0);
    assert_eq!(history.said[0].cause, Cause::NoData);
    assert!(history.said[0].explanation.contains("no row for 30s"), "{}", history.said[0].explanation);
    assert_eq!(history.take(), ["50 raised critical"]);
    history.rows(&[(210.0, 0.0)]);
    assert_eq!(history.take(), ["210 resolved critical"]);

    let mut never = History::of(rule("metric = 'm'\nkind = 'no_data'\nscope = 'global'\nfor = '30s'"));
    never.engine.expect_rows(crate::history::BEGIN_MS, &mut never.said);
    never.tick(31.0);
    assert_eq!(never.take(), ["30 raised warning"], "a row that never came");
}

#[test]
fn silence_by_the_policy_of_a_rule() {
    let fields =
        |policy: &str| format!("metric = 'm'\ndirection = 'above'\nwarning = 10\nno_data = {policy}");
    let bad = [(1.0, 11.0)];
    says(
        &fields("{ policy = 'resolve', for = '30s' }"),
        &bad,
        60.0,
        &["1 raised warning", "1 ended NoData warning"],
    );
    says(&fields("{ policy = 'keep' }"), &bad, 60_000.0, &["1 raised warning"]);
    let mut history = History::of(rule(&fields("{ policy = 'alert', for = '30s', severity = 'critical' }")));
    history.rows(&bad);
    history.tick(60.0);
    let causes: Vec<Cause> = history.said.iter().map(|said| said.cause).collect();
    assert_eq!(causes, [Cause::Condition, Cause::Condition, Cause::NoData]);
    assert_eq!(history.take(), ["1 raised warning", "1 ended NoData warning", "31 raised critical"]);
}

#[test]
fn a_conversation_that_ends_is_not_silence() {
    let mut history = History::of(rule(
        "metric = 'm'\ndirection = 'above'\nwarning = 10\nno_data = { policy = 'alert', for = '30s' }",
    ));
    history.row(1.0, 11.0, Values { conversation: "c-1", ..ROW });
    history.row(1.0, 5.0, Values { conversation: "c-2", ..ROW });
    history.tick(60.0);
    assert_eq!(history.take(), ["1 raised warning", "1 ended Vanished warning"]);
    assert_eq!(history.engine.statistics().states, 2);
    history.tick(7.0 * 3_600.0);
    assert_eq!(history.take(), [""; 0]);
    assert_eq!(history.engine.statistics().states, 0, "conversations that ended are forgotten");
    let gone = history.engine.take_changed();
    assert!(gone.len() == 2 && gone.iter().all(|(_, state)| state.is_none()), "and their stored states too");
}

#[test]
fn a_service_level_burns_in_both_windows() {
    let fields = "metric = 'errors'\nscope = 'global'\nkind = 'burn_rate'\nlate = '1s'\nkeep_firing_for = '30s'\n\
        slo = { objective = 0.99, total = 'answers', pairs = [{ long = '10m', short = '1m', factor = 10, severity = 'critical' }] }";
    let mut history = History::of(rule(fields));
    let of = |metric| Values { metric, ..ROW };
    // A minute in which a fifth fails, after nine good ones: the short window burns twenty times too fast, the long one twice.
    let minutes = |history: &mut History, minutes: std::ops::Range<u32>, errors: f64| {
        for ten_seconds in minutes.start * 6..minutes.end * 6 {
            let at_s = f64::from(ten_seconds) * 10.0;
            if errors > 0.0 {
                history.row(at_s, errors, of("errors"));
            }
            history.row(at_s, 10.0, of("answers"));
        }
    };
    minutes(&mut history, 0..9, 0.0);
    minutes(&mut history, 9..10, 2.0);
    assert_eq!(history.take(), [""; 0]);
    // It goes on, until a tenth of the last ten minutes failed.
    minutes(&mut history, 10..20, 2.0);
    let said = history.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("raised critical"), "{said:?}");
    // The short window ends it as soon as it is good again.
    minutes(&mut history, 20..23, 0.0);
    let said = history.take();
    assert!(said.len() == 1 && said[0].ends_with("resolved critical"), "{said:?}");
}

#[test]
fn a_service_level_of_slow_answers() {
    let fields = "metric = 'm'\nkind = 'burn_rate'\nmin_samples = 10\n\
        slo = { objective = 0.9, bad_above = 2000, pairs = [{ long = '10m', short = '1m', factor = 5, severity = 'warning' }] }";
    let rows: Vec<(f64, f64)> = (0..10).map(|second| (f64::from(second), 3000.0)).collect();
    says(fields, &rows[..9], 10.0, &[]);
    says(fields, &rows, 10.0, &["9 raised warning"]);
}

#[test]
fn filters_and_scopes() {
    let mut history = History::of(rule(
        "metric = 'm'\nscope = 'conversation'\ndirection = 'above'\nwarning = 10\nfilter = { account_id = 'acme', 'metadata.region' = ['eu', 'us'] }\nexclude = { 'metadata.test' = true }",
    ));
    let eu = Values { conversation: "c", metadata: r#"{"region":"eu"}"#, ..ROW };
    history.row(1.0, 11.0, Values { account: "other", ..eu });
    history.row(1.0, 11.0, Values { conversation: "", ..eu });
    history.row(1.0, 11.0, Values { metadata: r#"{"region":"asia"}"#, ..eu });
    history.row(1.0, 11.0, Values { metadata: r#"{"region":"eu","test":true}"#, ..eu });
    assert_eq!(history.take(), [""; 0]);
    history.row(2.0, 11.0, eu);
    let said = &history.said[0];
    assert_eq!((said.entity.to_string(), said.account_id.as_str()), ("conversation c".to_owned(), "acme"));
    assert_eq!(history.take(), ["2 raised warning"]);
}

#[test]
fn the_narrowest_thing_a_row_is_about_has_the_alert() {
    let mut history = History::of(rule("metric = 'm'\ndirection = 'above'\nwarning = 10"));
    history.row(1.0, 11.0, Values { conversation: "c", ..ROW });
    history.row(1.0, 11.0, ROW);
    history.row(1.0, 11.0, Values { account: "", ..ROW });
    let entities: Vec<String> = history.said.iter().map(|said| said.entity.to_string()).collect();
    assert_eq!(entities, ["conversation c", "account acme", "everything"]);
    let ids: std::collections::BTreeSet<_> = history.said.iter().map(|said| said.alert).collect();
    assert_eq!(ids.len(), 3);
}
